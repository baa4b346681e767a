// KV cache: blocks of KV_BLOCK_TOKENS tokens, allocated as the text grows, never all at once.
//
// A block holds the keys and values of its tokens for all layers and KV heads; within it, for layer l and KV head h, first the
// keys and then the values as kernels/kernels.h defines them.
//
// Blocks are reference-counted (atomically), so that sequences share those of an equal prefix. A block that has several owners never
// changes: what a sequence that works shares is whole blocks whose every position has been computed, and one that has shared its
// last, unfinished block while it rested calls kv_cache_truncate before it goes on.
//
// A kv_cache belongs to one sequence and is used by one thread at a time; those that share blocks, or a spill file, by one thread in
// all. Where there is a spill file, blocks that no cache uses may be there instead of in memory (kv_spill.h).
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

// Zeros in a block (aligned to 2 bytes) at all positions from first < KV_BLOCK_TOKENS on.
void kv_block_clear(const struct kv_layout *layout, void *block, uint32_t first);

struct kv_block;
struct kv_spill;

struct kv_cache {
    const struct kv_layout *layout;
    struct memory_account *account;
    struct kv_spill *spill;  // kv_spill.h; NULL: blocks are always in memory
    void **blocks;           // [n_blocks], what struct attention_args takes: of blocks in use
    struct kv_block **owned; // [n_blocks]
    uint32_t n_blocks, capacity;
    uint32_t n_shared; // of the blocks, none but the first ones that have been shared with another cache
    uint32_t n_used;   // of the blocks, the first ones, that are in use: in memory, and staying there
};

// `spill` may be NULL. All blocks of a cache are in use unless it says kv_cache_rest, or shares.
void kv_cache_init(struct kv_cache *cache, const struct kv_layout *layout, struct memory_account *account,
                   struct kv_spill *spill);
void kv_cache_free(struct kv_cache *cache); // may be called on a zeroed cache

// The blocks may go to the spill file from now on, when memory is wanted and no other cache uses them. With spill, nothing but
// sharing, dropping, peeking, counting and freeing is then allowed before kv_cache_wake.
void kv_cache_rest(struct kv_cache *cache);

// Sees to it that the first n_blocks blocks are in use, but reads no more than `most_reads` of them from the spill file: n_used
// tells how many are. On failure (MEMORY_BUDGET, OUT_OF_MEMORY, IO, FILE_CHANGED: the file gave back other bytes) those that are stay so.
enum chord_status kv_cache_wake(struct kv_cache *cache, uint32_t n_blocks, uint32_t most_reads,
                                struct chord_error *err);

// The bytes of block `index`, also of one that rests: NULL with the error of a wake. *buffer is NULL, or of an earlier call with a cache
// of this account; a block that is in the spill file is read to there. It is the caller's, for memory_free.
void *kv_cache_peek(struct kv_cache *cache, uint32_t index, void **buffer, struct chord_error *err);

// Makes room for positions 0 .. n_tokens - 1, keeping what is there. On failure the cache is as before.
enum chord_status kv_cache_reserve(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err);

// Lets the cache have exactly the blocks first .. n_blocks - 1 of `from`, which has as many, behind its own first ones; what it held there
// and behind is given up. first <= cache->n_blocks; both are of one layout and account. The blocks are not in use by the cache
// before kv_cache_wake if there is a spill. On failure the cache is as before.
enum chord_status kv_cache_share(struct kv_cache *cache, struct kv_cache *from, uint32_t first, uint32_t n_blocks,
                                 struct chord_error *err);

// Keeps the first n_tokens positions (no more than there is room for) and gives up the blocks behind them. The last block is copied
// if it is not full and has other owners, so that the next positions may be written. On failure the cache is as before.
enum chord_status kv_cache_truncate(struct kv_cache *cache, uint64_t n_tokens, struct chord_error *err);

// Gives up the blocks behind the first n_blocks, if there are more.
void kv_cache_drop(struct kv_cache *cache, uint32_t n_blocks);

// The blocks of the cache, in memory, that no earlier call with the same `stamp` counted: summed over caches, each shared block
// counts once. Stamps are not 0, and a new count takes one that differs from that of the last.
uint32_t kv_cache_count(struct kv_cache *cache, uint32_t stamp);

#endif
