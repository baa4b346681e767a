#include "base/arena.h"

#include "base/checked.h"

#include <string.h>

#define BLOCK_BYTES (32u * 1024)

struct arena_block {
    struct arena_block *older;
    uint64_t n_bytes; // of `bytes`
    _Alignas(16) unsigned char bytes[];
};

void arena_init(struct arena *arena, struct memory_account *account, enum memory_region region)
{
    *arena = (struct arena){.account = account, .region = region};
}

void *arena_alloc(struct arena *arena, uint64_t count, uint64_t bytes)
{
    uint64_t n;
    if (!checked_mul(count, bytes, &n) || !checked_align(n, 16, &n))
        return NULL;
    if (arena->blocks == NULL || n > arena->n_free) {
        const uint64_t n_block = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        uint64_t n_all;
        if (!checked_add(n_block, sizeof(struct arena_block), &n_all))
            return NULL;
        struct arena_block *block = memory_alloc(arena->account, arena->region, n_all, 16);
        if (block == NULL)
            return NULL;
        *block = (struct arena_block){.older = arena->blocks, .n_bytes = n_block};
        arena->blocks = block;
        arena->n_free = n_block;
    }
    unsigned char *result = arena->blocks->bytes + (arena->blocks->n_bytes - arena->n_free);
    arena->n_free -= n;
    memset(result, 0, (size_t)n);
    return result;
}

void arena_free(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *older = arena->blocks->older;
        memory_free(arena->account, arena->blocks);
        arena->blocks = older;
    }
    arena->n_free = 0;
}
