#include "graph/kv_spill.h"

#include "os/large_pages.h"

#include <stdatomic.h>
#include <string.h>

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

void kv_cache_init(struct kv_cache *cache, const struct kv_layout *layout, struct memory_account *account,
                   struct kv_spill *spill)
{
    *cache = (struct kv_cache){.layout = layout, .account = account, .spill = spill};
}

// ---- Blocks ----------------------------------------------------------------------------------------------------------

// After an allocation of n_bytes failed: gives memory of blocks that rest. False, with the error, where there is none to be had.
static bool find_memory(const struct kv_cache *cache, uint64_t n_bytes, const char *what, struct chord_error *err)
{
    // Before anything is given back: what is held now tells whether the budget was the cause.
    memory_account_fail(cache->account, err, n_bytes, what);
    return cache->spill != NULL && kv_spill_first(cache->spill, err) == CHORD_OK;
}

// NULL with the error.
static void *data_create(const struct kv_cache *cache, const char *what, struct chord_error *err)
{
    const uint64_t n_bytes = cache->layout->block_bytes;
    void *data;
    if (cache->spill != NULL)
        kv_spill_make_room(cache->spill, n_bytes);
    do
        data = memory_alloc(cache->account, MEMORY_KV, n_bytes, 64);
    while (data == NULL && find_memory(cache, n_bytes, what, err));
    if (data != NULL)
        os_prefer_large_pages(data, n_bytes);
    return data;
}

static struct kv_block *block_create(struct kv_cache *cache, const char *what, struct chord_error *err)
{
    struct kv_block *block;
    do
        block = memory_zalloc(cache->account, MEMORY_KV, 1, sizeof *block);
    while (block == NULL && find_memory(cache, cache->layout->block_bytes, what, err));
    if (block == NULL)
        return NULL;
    block->data = data_create(cache, what, err);
    if (block->data == NULL) {
        memory_free(cache->account, block);
        return NULL;
    }
    atomic_init(&block->n_references, 1);
    block->n_users = cache->spill != NULL;
    block->slot = KV_SPILL_NO_SLOT;
    return block;
}

static void block_use(struct kv_cache *cache, struct kv_block *block)
{
    if (cache->spill == NULL)
        return;
    kv_spill_remove(cache->spill, block);
    block->n_users++;
}

static void block_rest(struct kv_cache *cache, struct kv_block *block)
{
    if (cache->spill != NULL && --block->n_users == 0)
        kv_spill_append(cache->spill, block);
}

// The cache gives up a block, which it uses or not.
static void block_release(struct kv_cache *cache, struct kv_block *block, bool used)
{
    if (atomic_fetch_sub(&block->n_references, 1) != 1) {
        if (used)
            block_rest(cache, block);
        return;
    }
    if (cache->spill != NULL)
        kv_spill_remove(cache->spill, block);
    if (block->data == NULL)
        kv_spill_forget(cache->spill, block);
    memory_free(cache->account, block->data);
    memory_free(cache->account, block);
}

static void drop_last(struct kv_cache *cache)
{
    const uint32_t index = --cache->n_blocks;
    block_release(cache, cache->owned[index], index < cache->n_used);
    if (cache->n_used > cache->n_blocks)
        cache->n_used = cache->n_blocks;
}

static void put(struct kv_cache *cache, uint32_t index, struct kv_block *block)
{
    cache->owned[index] = block;
    cache->blocks[index] = block->data;
}

void kv_cache_free(struct kv_cache *cache)
{
    while (cache->n_blocks > 0)
        drop_last(cache);
    if (cache->account != NULL) {
        memory_free(cache->account, (void *)cache->blocks);
        memory_free(cache->account, (void *)cache->owned);
    }
    cache->blocks = NULL;
    cache->owned = NULL;
    cache->capacity = cache->n_shared = 0;
}

// ---- Growing and sharing ---------------------------------------------------------------------------------------------

static void *resize_table(const struct kv_cache *cache, void *table, uint64_t n_bytes, struct chord_error *err)
{
    void *resized;
    do
        resized = memory_resize(cache->account, MEMORY_KV, table, n_bytes);
    while (resized == NULL && find_memory(cache, n_bytes, "the KV cache", err));
    return resized;
}

static enum chord_status reserve_table(struct kv_cache *cache, uint32_t n_blocks, struct chord_error *err)
{
    struct chord_error error;
    if (n_blocks <= cache->capacity)
        return CHORD_OK;
    uint32_t capacity = cache->capacity == 0 ? 8 : cache->capacity;
    while (capacity < n_blocks)
        capacity *= 2;
    void **blocks = resize_table(cache, (void *)cache->blocks, capacity * sizeof *blocks, &error);
    if (blocks != NULL)
        cache->blocks = blocks;
    struct kv_block **owned =
        blocks != NULL ? resize_table(cache, (void *)cache->owned, capacity * sizeof *owned, &error) : NULL;
    if (owned == NULL) {
        if (err != NULL)
            *err = error;
        return error.code;
    }
    cache->owned = owned;
    cache->capacity = capacity;
    return CHORD_OK;
}

enum chord_status kv_cache_reserve(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err)
{
    const uint32_t wanted = (uint32_t)((n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS);
    const uint32_t before = cache->n_blocks;
    struct chord_error error;
    enum chord_status status = reserve_table(cache, wanted, err);
    if (status != CHORD_OK)
        return status;
    while (cache->n_blocks < wanted) {
        struct kv_block *block = block_create(cache, "another 64 tokens of KV cache", &error);
        if (block == NULL) {
            kv_cache_drop(cache, before);
            if (err != NULL)
                *err = error;
            return error.code;
        }
        put(cache, cache->n_blocks++, block);
        cache->n_used = cache->n_blocks;
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
        atomic_fetch_add(&from->owned[i]->n_references, 1);
    while (cache->n_blocks > first)
        drop_last(cache);
    for (uint32_t i = first; i < n_blocks; i++)
        put(cache, i, from->owned[i]);
    cache->n_blocks = cache->n_shared = n_blocks;
    if (cache->spill == NULL)
        cache->n_used = n_blocks;
    if (from->n_shared < n_blocks)
        from->n_shared = n_blocks;
    return CHORD_OK;
}

void kv_cache_drop(struct kv_cache *cache, uint32_t n_blocks)
{
    while (cache->n_blocks > n_blocks)
        drop_last(cache);
    if (cache->n_shared > cache->n_blocks)
        cache->n_shared = cache->n_blocks;
}

enum chord_status kv_cache_truncate(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err)
{
    const uint32_t n_blocks = (uint32_t)((n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS);
    if (n_tokens % KV_BLOCK_TOKENS != 0) {
        struct kv_block *shared = cache->owned[n_blocks - 1];
        if (atomic_load(&shared->n_references) > 1) {
            struct chord_error error;
            struct kv_block *own = block_create(cache, "a copy of 64 tokens of KV cache", &error);
            if (own == NULL) {
                if (err != NULL)
                    *err = error;
                return error.code;
            }
            memcpy(own->data, shared->data, cache->layout->block_bytes);
            block_release(cache, shared, true);
            put(cache, n_blocks - 1, own);
        }
    }
    kv_cache_drop(cache, n_blocks);
    return CHORD_OK;
}

uint32_t kv_cache_count(struct kv_cache *cache, uint32_t stamp)
{
    const uint32_t n_looked_at = cache->spill != NULL ? cache->n_blocks : cache->n_shared;
    uint32_t n = cache->n_blocks - n_looked_at;
    for (uint32_t i = 0; i < n_looked_at; i++) {
        struct kv_block *block = cache->owned[i];
        n += block->stamp != stamp && block->data != NULL;
        block->stamp = stamp;
    }
    return n;
}

// ---- Rest ------------------------------------------------------------------------------------------------------------

// The last blocks wait first: of a text that goes on from another's beginning, the beginning is what is wanted again.
void kv_cache_rest(struct kv_cache *cache)
{
    if (cache->spill == NULL)
        return;
    while (cache->n_used > 0)
        block_rest(cache, cache->owned[--cache->n_used]);
}

enum chord_status kv_cache_wake(struct kv_cache *cache, uint32_t n_blocks, uint32_t most_reads, struct chord_error *err)
{
    struct chord_error error;
    for (; cache->n_used < n_blocks; cache->n_used++) {
        struct kv_block *block = cache->owned[cache->n_used];
        if (block->data == NULL) {
            if (most_reads-- == 0)
                return CHORD_OK;
            void *data = data_create(cache, "64 tokens of KV cache that were in the spill file", &error);
            if (data != NULL && kv_spill_read(cache->spill, block, data, &error) != CHORD_OK) {
                memory_free(cache->account, data);
                data = NULL;
            }
            if (data == NULL) {
                if (err != NULL)
                    *err = error;
                return error.code;
            }
            kv_spill_forget(cache->spill, block);
            block->data = data;
        }
        block_use(cache, block);
        cache->blocks[cache->n_used] = block->data;
    }
    return CHORD_OK;
}

void *kv_cache_peek(struct kv_cache *cache, uint32_t index, void **buffer, struct chord_error *err)
{
    const struct kv_block *block = cache->owned[index];
    if (block->data != NULL)
        return block->data;
    if (*buffer == NULL)
        *buffer = data_create(cache, "a block of the spill file", err);
    if (*buffer == NULL || kv_spill_read(cache->spill, block, *buffer, err) != CHORD_OK)
        return NULL;
    return *buffer;
}
