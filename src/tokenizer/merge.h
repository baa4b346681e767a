// The merge loop that both kinds of BPE share: a row of symbols, of which again and again the adjacent pair of
// the lowest rank becomes one symbol (the leftmost of equals), until no pair has a rank.
//
// Short rows are scanned for the lowest rank, which is fastest for words. Long ones take a heap: O(n log n) and
// 40 bytes a symbol, so that a megabyte without a space is no problem either. Both give the same symbols.
//
// The functions are inline so that each tokenizer gets its own copy with its `find` in place.
#ifndef CHORD_TOKENIZER_MERGE_H
#define CHORD_TOKENIZER_MERGE_H

#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MERGE_NONE UINT32_MAX // no such merge
#define MERGE_SHORT 32        // symbols that a row may have to be scanned

struct merge_pair {
    uint32_t rank;   // lower goes first; MERGE_NONE
    uint32_t result; // the symbol's id
};

// What a merge of two adjacent symbols would give. A symbol is known by its id and by the bytes from[0 .. n) that
// both cover together.
typedef struct merge_pair merge_find(const void *context, uint32_t left, uint32_t right, const char *from,
                                     uint32_t n_bytes);

// Buffers of one call to tokenizer_encode, grown as needed. Zero-initialise, set the account.
struct merge_scratch {
    struct memory_account *account;
    uint32_t capacity;        // symbols
    uint32_t *ids;            // [capacity]
    uint32_t *starts;         // [capacity + 1] byte offsets
    uint32_t *next, *before;  // [capacity] row order; MERGE_NONE at the ends
    struct merge_pair *pairs; // [capacity] of a symbol with the next
    uint64_t *heap;           // [2 * capacity] rank << 32 | symbol
};

bool merge_scratch_reserve(struct merge_scratch *scratch, uint32_t n); // false: out of memory
void merge_scratch_free(struct merge_scratch *scratch);

static inline void merge_heap_sift_down(uint64_t *heap, uint32_t n, uint32_t at)
{
    const uint64_t moving = heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moving)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static inline void merge_heap_push(uint64_t *heap, uint32_t *n, uint64_t item)
{
    uint32_t at = (*n)++;
    while (at > 0 && heap[(at - 1) / 2] > item) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
}

// Merges a row of n <= MERGE_SHORT symbols. ids[n] and starts[n + 1] (offsets into `text`) are compacted in
// place; returns how many are left.
static inline uint32_t merge_short(const void *context, merge_find *find, const char *text, uint32_t *ids,
                                   uint32_t *starts, uint32_t n)
{
    struct merge_pair pairs[MERGE_SHORT];
    for (uint32_t i = 0; i + 1 < n; i++)
        pairs[i] = find(context, ids[i], ids[i + 1], text + starts[i], starts[i + 2] - starts[i]);
    for (;;) {
        uint32_t best = 0, rank = MERGE_NONE;
        for (uint32_t i = 0; i + 1 < n; i++)
            if (pairs[i].rank < rank) {
                rank = pairs[i].rank;
                best = i;
            }
        if (rank == MERGE_NONE)
            return n;
        ids[best] = pairs[best].result;
        n--;
        for (uint32_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            starts[i] = starts[i + 1];
            pairs[i - 1] = pairs[i];
        }
        starts[n] = starts[n + 1];
        if (best + 1 < n)
            pairs[best] = find(context, ids[best], ids[best + 1], text + starts[best], starts[best + 2] - starts[best]);
        if (best > 0)
            pairs[best - 1] =
                find(context, ids[best - 1], ids[best], text + starts[best - 1], starts[best + 1] - starts[best - 1]);
    }
}

// Merges the row of n >= 1 symbols in scratch->ids and scratch->starts, compacted in place. Returns how many are
// left.
static inline uint32_t merge_long(const void *context, merge_find *find, const char *text,
                                  struct merge_scratch *scratch, uint32_t n)
{
    uint32_t *const ids = scratch->ids, *const starts = scratch->starts;
    uint32_t *const next = scratch->next, *const before = scratch->before;
    struct merge_pair *const pairs = scratch->pairs;
    uint64_t *const heap = scratch->heap;
    uint32_t n_heap = 0;

    for (uint32_t i = 0; i < n; i++) {
        next[i] = i + 1 < n ? i + 1 : MERGE_NONE;
        before[i] = i > 0 ? i - 1 : MERGE_NONE;
        pairs[i] = (struct merge_pair){.rank = MERGE_NONE};
        if (i + 1 < n)
            pairs[i] = find(context, ids[i], ids[i + 1], text + starts[i], starts[i + 2] - starts[i]);
        if (pairs[i].rank != MERGE_NONE)
            heap[n_heap++] = (uint64_t)pairs[i].rank << 32 | i;
    }
    for (uint32_t i = n_heap / 2; i-- > 0;)
        merge_heap_sift_down(heap, n_heap, i);

    while (n_heap > 0) {
        const uint64_t top = heap[0];
        heap[0] = heap[--n_heap];
        if (n_heap > 0)
            merge_heap_sift_down(heap, n_heap, 0);
        const uint32_t left = (uint32_t)top;
        // An entry whose pair has changed is out of date. One of an earlier pair with the same rank stands for the
        // present one as well as that one's own.
        if (pairs[left].rank != (uint32_t)(top >> 32))
            continue;
        const uint32_t right = next[left], after = next[right];
        ids[left] = pairs[left].result;
        next[left] = after;
        pairs[right].rank = MERGE_NONE;
        pairs[left].rank = MERGE_NONE;
        if (after != MERGE_NONE) {
            before[after] = left;
            const uint32_t end = next[after] == MERGE_NONE ? starts[n] : starts[next[after]];
            pairs[left] = find(context, ids[left], ids[after], text + starts[left], end - starts[left]);
            if (pairs[left].rank != MERGE_NONE)
                merge_heap_push(heap, &n_heap, (uint64_t)pairs[left].rank << 32 | left);
        }
        const uint32_t previous = before[left];
        if (previous != MERGE_NONE) {
            const uint32_t end = after == MERGE_NONE ? starts[n] : starts[after];
            pairs[previous] = find(context, ids[previous], ids[left], text + starts[previous], end - starts[previous]);
            if (pairs[previous].rank != MERGE_NONE)
                merge_heap_push(heap, &n_heap, (uint64_t)pairs[previous].rank << 32 | previous);
        }
    }

    uint32_t n_left = 0;
    for (uint32_t i = 0; i != MERGE_NONE; i = next[i]) {
        ids[n_left] = ids[i];
        starts[n_left++] = starts[i];
    }
    starts[n_left] = starts[n];
    return n_left;
}

#endif
