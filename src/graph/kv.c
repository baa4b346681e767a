#include "graph/kv.h"

#include "os/large_pages.h"

#include <stdatomic.h>
#include <string.h>

// Stands before the data of a block, one cache line, so that the data stays aligned for the kernels.
struct kv_block {
    _Alignas(64) _Atomic uint32_t n_references;
    uint32_t stamp; // of the last count that met it
};

static struct kv_block *block_of(void *data)
{
    return (struct kv_block *)data - 1;
}

void kv_layout_init(struct kv_layout *layout, enum kv_type type, uint32_t n_layer, uint32_t n_head_kv,
                    uint32_t head_dim)
{
    layout->type = type;
    layout->n_layer = n_layer;
    layout->n_head_kv = n_head_kv;
    layout->head_dim = head_dim;
    layout->keys_bytes = kv_part_bytes(type, head_dim);
    layout->block_bytes = (uint64_t)n_layer * n_head_kv * 2 * layout->keys_bytes;
}

uint64_t kv_token_bytes(const struct kv_layout *layout)
{
    return layout->block_bytes / KV_BLOCK_TOKENS;
}

uint64_t kv_bytes(const struct kv_layout *layout, uint64_t n_tokens)
{
    return (n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS * layout->block_bytes;
}

// Of `width` elements for each token: of keys, in panels whose lanes are tokens.
static unsigned char *clear_keys(unsigned char *at, uint32_t width, uint64_t element_bytes, uint32_t first)
{
    for (uint32_t panel = 0; panel < KV_BLOCK_TOKENS / KV_PANEL_KEYS; panel++)
        for (uint32_t i = 0; i < width; i++, at += KV_PANEL_KEYS * element_bytes) {
            const uint32_t before = panel * KV_PANEL_KEYS;
            const uint32_t n_kept = first <= before                  ? 0
                                    : first - before < KV_PANEL_KEYS ? first - before
                                                                     : KV_PANEL_KEYS;
            memset(at + n_kept * element_bytes, 0, (KV_PANEL_KEYS - n_kept) * element_bytes);
        }
    return at;
}

static unsigned char *clear_values(unsigned char *at, uint32_t width, uint64_t element_bytes, uint32_t first)
{
    memset(at + first * width * element_bytes, 0, (KV_BLOCK_TOKENS - first) * width * element_bytes);
    return at + KV_BLOCK_TOKENS * width * element_bytes;
}

void kv_block_clear(const struct kv_layout *layout, void *block, uint32_t first)
{
    const uint32_t n_parts = layout->n_layer * layout->n_head_kv, groups = kv_scale_groups(layout->head_dim);
    const bool has_scales = layout->type == KV_Q8_0;
    unsigned char *at = block;
    for (uint32_t part = 0; part < n_parts; part++) {
        at = clear_keys(at, layout->head_dim, has_scales ? 1 : 2, first);
        at = has_scales ? clear_keys(at, groups, 2, first) : at;
        at = clear_values(at, layout->head_dim, has_scales ? 1 : 2, first);
        at = has_scales ? clear_values(at, groups, 2, first) : at;
    }
}

void kv_cache_init(struct kv_cache *cache, const struct kv_layout *layout, struct memory_account *account)
{
    *cache = (struct kv_cache){.layout = layout, .account = account};
}

static void *block_create(struct kv_cache *cache)
{
    struct kv_block *block =
        memory_alloc(cache->account, MEMORY_KV, sizeof(struct kv_block) + cache->layout->block_bytes, 64);
    if (block == NULL)
        return NULL;
    os_prefer_large_pages(block + 1, cache->layout->block_bytes);
    atomic_init(&block->n_references, 1);
    block->stamp = 0;
    return block + 1;
}

static void block_release(struct kv_cache *cache, void *data)
{
    if (atomic_fetch_sub(&block_of(data)->n_references, 1) == 1)
        memory_free(cache->account, block_of(data));
}

void kv_cache_free(struct kv_cache *cache)
{
    for (uint32_t i = 0; i < cache->n_blocks; i++)
        block_release(cache, cache->blocks[i]);
    if (cache->account != NULL)
        memory_free(cache->account, (void *)cache->blocks);
    cache->blocks = NULL;
    cache->n_blocks = cache->capacity = cache->n_shared = 0;
}

static enum chord_status reserve_table(struct kv_cache *cache, uint32_t n_blocks, struct chord_error *err)
{
    if (n_blocks <= cache->capacity)
        return CHORD_OK;
    uint32_t capacity = cache->capacity == 0 ? 8 : cache->capacity;
    while (capacity < n_blocks)
        capacity *= 2;
    void **blocks = memory_resize(cache->account, MEMORY_KV, (void *)cache->blocks, capacity * sizeof *blocks);
    if (blocks == NULL)
        return memory_account_fail(cache->account, err, capacity * sizeof *blocks, "the KV cache");
    cache->blocks = blocks;
    cache->capacity = capacity;
    return CHORD_OK;
}

enum chord_status kv_cache_reserve(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err)
{
    const uint32_t wanted = (uint32_t)((n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS);
    const uint32_t before = cache->n_blocks;
    const enum chord_status status = reserve_table(cache, wanted, err);
    if (status != CHORD_OK)
        return status;
    while (cache->n_blocks < wanted) {
        void *data = block_create(cache);
        if (data == NULL) {
            // Before the release: what is held now tells whether the budget was the cause.
            const enum chord_status failure =
                memory_account_fail(cache->account, err, cache->layout->block_bytes, "another 64 tokens of KV cache");
            while (cache->n_blocks > before)
                block_release(cache, cache->blocks[--cache->n_blocks]);
            return failure;
        }
        cache->blocks[cache->n_blocks++] = data;
    }
    return CHORD_OK;
}

enum chord_status kv_cache_share(struct kv_cache *cache, struct kv_cache *from, uint32_t first, uint32_t n_blocks,
                                 struct chord_error *err)
{
    const enum chord_status status = reserve_table(cache, n_blocks, err);
    if (status != CHORD_OK)
        return status;
    for (uint32_t i = first; i < n_blocks; i++)
        atomic_fetch_add(&block_of(from->blocks[i])->n_references, 1);
    while (cache->n_blocks > first)
        block_release(cache, cache->blocks[--cache->n_blocks]);
    memcpy((void *)(cache->blocks + first), (void *)(from->blocks + first), (n_blocks - first) * sizeof *cache->blocks);
    cache->n_blocks = cache->n_shared = n_blocks;
    if (from->n_shared < n_blocks)
        from->n_shared = n_blocks;
    return CHORD_OK;
}

void kv_cache_drop(struct kv_cache *cache, uint32_t n_blocks)
{
    while (cache->n_blocks > n_blocks)
        block_release(cache, cache->blocks[--cache->n_blocks]);
    if (cache->n_shared > cache->n_blocks)
        cache->n_shared = cache->n_blocks;
}

enum chord_status kv_cache_truncate(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err)
{
    const uint32_t n_blocks = (uint32_t)((n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS);
    if (n_tokens % KV_BLOCK_TOKENS != 0 && atomic_load(&block_of(cache->blocks[n_blocks - 1])->n_references) > 1) {
        void *own = block_create(cache);
        if (own == NULL)
            return memory_account_fail(cache->account, err, cache->layout->block_bytes,
                                       "a copy of 64 tokens of KV cache");
        memcpy(own, cache->blocks[n_blocks - 1], cache->layout->block_bytes);
        block_release(cache, cache->blocks[n_blocks - 1]);
        cache->blocks[n_blocks - 1] = own;
    }
    kv_cache_drop(cache, n_blocks);
    return CHORD_OK;
}

uint32_t kv_cache_count(struct kv_cache *cache, uint32_t stamp)
{
    uint32_t n = cache->n_blocks - cache->n_shared;
    for (uint32_t i = 0; i < cache->n_shared; i++) {
        struct kv_block *block = block_of(cache->blocks[i]);
        n += block->stamp != stamp;
        block->stamp = stamp;
    }
    return n;
}
