// Many small allocations that live and die together: a bump allocator over accounted memory.
#ifndef CHORD_BASE_ARENA_H
#define CHORD_BASE_ARENA_H

#include "base/alloc.h"

struct arena_block; // opaque

struct arena {
    struct memory_account *account;
    enum memory_region region;
    struct arena_block *blocks; // newest first
    uint64_t n_free;            // bytes left in the newest
};

void arena_init(struct arena *arena, struct memory_account *account, enum memory_region region);

// `count` elements of `bytes` each, zeroed, aligned to 16, valid until arena_free. NULL when there is no memory: then
// memory_account_fail tells why.
void *arena_alloc(struct arena *arena, uint64_t count, uint64_t bytes);

// Gives everything back; the arena may be used again.
void arena_free(struct arena *arena);

#endif
