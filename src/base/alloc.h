// Accounted allocation. Every byte that chord holds is counted in a `memory_account`, by region, under one
// ceiling: that is what makes a memory budget a ceiling and not a hint.
//
// An account belongs to one model (or one test). There is no global account and no global state.
// Thread-safe: counters are atomic; an allocation that would pass the ceiling fails and changes nothing.
#ifndef CHORD_BASE_ALLOC_H
#define CHORD_BASE_ALLOC_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// X(enumerator, name in stats)
#define MEMORY_REGION_MAP(X)                                                                \
    X(MEMORY_METADATA, "metadata")   /* GGUF directory, model structures, graph */          \
    X(MEMORY_TOKENIZER, "tokenizer") /* vocabulary, merges, tables */                       \
    X(MEMORY_WEIGHTS, "weights")     /* weight bytes owned by chord (not the page cache) */ \
    X(MEMORY_KV, "kv")               /* KV cache blocks */                                  \
    X(MEMORY_SCRATCH, "scratch")     /* activations, logits, per-step buffers, sampler state */

enum memory_region {
#define X(id, name) id,
    MEMORY_REGION_MAP(X)
#undef X
        N_MEMORY_REGIONS
};

struct memory_account {
    uint64_t ceiling;                          // bytes; UINT64_MAX: none
    uint64_t region_ceiling[N_MEMORY_REGIONS]; // of each by itself, likewise; set before anything is held
    _Atomic uint64_t total;                    // bytes held now
    _Atomic uint64_t peak;                     // the most `total` has been
    _Atomic uint64_t held[N_MEMORY_REGIONS];   // bytes held now, by region
    _Atomic int refused;                       // the region whose ceiling refused memory last; -1: none did
    _Atomic int64_t fail_after;                // tests: the allocation that brings this to 0 fails; < 0: never
    _Atomic uint64_t n_allocations;            // calls that succeeded, so that tests can assert "none in decode"
    // Asked when `bytes` more than the ceiling allows are wanted: gives back (memory_unreserve) what it can do without. From
    // any thread, so it is set while there is one only. NULL: nobody is asked.
    void (*reclaim)(void *user, uint64_t bytes);
    void *reclaim_user;
};

const char *memory_region_name(enum memory_region region);

void memory_account_init(struct memory_account *account, uint64_t ceiling);

// `bytes` of memory aligned to `alignment` (a power of two, at least 1; the result is always aligned to 16
// at least), counted in `region`. Contents are unspecified. `bytes` may be 0: the result is then a unique
// pointer that must be freed too. NULL when the system has none or the ceiling would be passed:
// memory_account_fail() tells which in an error.
void *memory_alloc(struct memory_account *account, enum memory_region region, uint64_t bytes, uint64_t alignment);

// The same, filled with zero, for `count` elements of `bytes` each; NULL also when the product overflows.
void *memory_zalloc(struct memory_account *account, enum memory_region region, uint64_t count, uint64_t bytes);

// Grows or shrinks a block from memory_alloc/memory_zalloc/memory_resize, keeping its contents. NULL on
// failure, with the old block untouched. `block` may be NULL. Alignment 16.
void *memory_resize(struct memory_account *account, enum memory_region region, void *block, uint64_t bytes);

// Frees a block and gives its bytes back to the region it was counted in. `block` may be NULL.
void memory_free(struct memory_account *account, void *block);

// Counts bytes that chord holds by other means (mapped frames, huge pages): false, and nothing counted,
// when the ceiling would be passed.
bool memory_reserve(struct memory_account *account, enum memory_region region, uint64_t bytes);
// The same, but nobody is asked to give memory back: for what can also be done with less.
bool memory_reserve_spare(struct memory_account *account, enum memory_region region, uint64_t bytes);
void memory_unreserve(struct memory_account *account, enum memory_region region, uint64_t bytes);

// Bytes of `region` that no ceiling refuses now.
uint64_t memory_left(const struct memory_account *account, enum memory_region region);

// Fills an error after a failed allocation of `bytes` for `what`: MEMORY_BUDGET with the ceiling, of all or of a region, and
// what is held when that was the cause, OUT_OF_MEMORY otherwise. Returns the code.
enum chord_status memory_account_fail(const struct memory_account *account, struct chord_error *err, uint64_t bytes,
                                      const char *what);

#endif
