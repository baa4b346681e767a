// A file for KV blocks that no one uses now, so that their memory serves others. They come back byte for byte.
//
// The blocks that rest wait in a line in the order in which they came to rest; when memory is wanted, the first goes to the file.
// Used by one thread at a time, with all caches that have it; figures from any thread.
#ifndef CHORD_GRAPH_KV_SPILL_H
#define CHORD_GRAPH_KV_SPILL_H

#include "graph/kv.h"

// Creates the file, which must not exist, and which vanishes with the spill (os/scratch.h). `layout` and `account` must outlive it.
// Blocks go to the file before less than `spare` bytes of the account are left, so that what is no block finds its memory, too; where
// the account has a reclaim, who answers that sees to it.
enum chord_status kv_spill_create(struct kv_spill **out, const char *path, const struct kv_layout *layout,
                                  uint64_t spare, struct memory_account *account, struct chord_error *err);
// After all caches. NULL is fine.
void kv_spill_free(struct kv_spill *spill);

struct kv_spill_stats {
    uint64_t n_blocks;                  // in the file now
    uint64_t written_bytes, read_bytes; // ever
};
void kv_spill_get_stats(const struct kv_spill *spill, struct kv_spill_stats *out); // NULL: zeros

// ---- For kv.c --------------------------------------------------------------------------------------------------------

#define KV_SPILL_NO_SLOT UINT32_MAX

struct kv_block {
    _Atomic uint32_t n_references; // of caches
    uint32_t n_users;              // of them, those that use the block; counted only with a spill
    uint32_t stamp;                // of the last count that met it
    uint32_t slot;                 // in the file, where the bytes are when `data` is NULL
    void *data;
    uint64_t check;                   // of the bytes in the file
    struct kv_block *earlier, *later; // in the line, while in memory and unused
    bool waits;                       // in the line
};

// The block, whose last user has gone, waits at the end of the line; or leaves it.
void kv_spill_append(struct kv_spill *spill, struct kv_block *block);
void kv_spill_remove(struct kv_spill *spill, struct kv_block *block);
// Writes the first of the line to the file and frees its memory. NOT_FOUND: no one waits (*err is not filled); IO: it stays.
enum chord_status kv_spill_first(struct kv_spill *spill, struct chord_error *err);
// Writes blocks to the file until n_bytes and the spare are left, or no one waits, or the file cannot be written.
void kv_spill_make_room(struct kv_spill *spill, uint64_t n_bytes);
// Reads a block that is in the file into `data`; it stays in the file until kv_spill_forget.
enum chord_status kv_spill_read(struct kv_spill *spill, const struct kv_block *block, void *data,
                                struct chord_error *err);
void kv_spill_forget(struct kv_spill *spill, struct kv_block *block);

#endif
