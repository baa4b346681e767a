// KV cache: blocks of KV_BLOCK_TOKENS tokens, allocated as the text grows, never all at once.
//
// A block holds the keys and values of its tokens for all layers and KV heads; within it, for layer l and KV head h, first the
// keys and then the values as kernels/kernels.h defines them. Blocks are reference-counted (atomically), so that
// sequences can share those of an equal prefix.
//
// A kv_cache belongs to one sequence and is used by one thread at a time.
#ifndef CHORD_GRAPH_KV_H
#define CHORD_GRAPH_KV_H

#include "base/alloc.h"
#include "base/status.h"
#include "kernels/kernels.h"

#include <stdint.h>

struct kv_layout {
    enum kv_type type;
    uint32_t n_layer, n_head_kv, head_dim;
    uint64_t keys_bytes; // of one layer and head, and as many of values: kv_part_bytes()
    uint64_t block_bytes;
};

void kv_layout_init(struct kv_layout *layout, enum kv_type type, uint32_t n_layer, uint32_t n_head_kv,
                    uint32_t head_dim);

// Bytes of cache that one token takes, and that n tokens hold (whole blocks).
uint64_t kv_token_bytes(const struct kv_layout *layout);
uint64_t kv_bytes(const struct kv_layout *layout, uint64_t n_tokens);

// Bytes from a block's start to the keys / values of a layer and KV head.
static inline uint64_t kv_keys_at(const struct kv_layout *layout, uint32_t layer, uint32_t head)
{
    return ((uint64_t)layer * layout->n_head_kv + head) * 2 * layout->keys_bytes;
}
static inline uint64_t kv_values_at(const struct kv_layout *layout, uint32_t layer, uint32_t head)
{
    return kv_keys_at(layout, layer, head) + layout->keys_bytes;
}

struct kv_cache {
    const struct kv_layout *layout;
    struct memory_account *account;
    void **blocks; // [n_blocks], what struct attention_args takes
    uint32_t n_blocks, capacity;
};

void kv_cache_init(struct kv_cache *cache, const struct kv_layout *layout, struct memory_account *account);
void kv_cache_free(struct kv_cache *cache); // may be called on a zeroed cache

// Makes room for positions 0 .. n_tokens - 1, keeping what is there. On failure the cache is as before.
enum chord_status kv_cache_reserve(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err);

#endif
