// Compute threads: runs a function over chunks of work, handed out through an atomic counter, so that a thread that loses
// its core delays the others by no more than what it holds.
//
// A pool has n_threads - 1 threads of its own; the thread that calls pool_run works too. Between jobs the threads spin for
// some tens of microseconds, then sleep. One run at a time.
//
// Beside other programs' threads: a thread that holds chunks and has lost its core is brought to the core of one that has
// nothing left to do, and threads of the pool that were put on the caller's core leave it (os/core.h; Linux only). Where the
// threads may run stays as the user has it.
#ifndef CHORD_OS_POOL_H
#define CHORD_OS_POOL_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdint.h>

struct pool; // opaque

// n_threads >= 1 in all. THREAD or a memory code on failure.
enum chord_status pool_create(struct pool **out, uint32_t n_threads, struct memory_account *account,
                              struct chord_error *err);
void pool_free(struct pool *pool); // joins the threads; NULL is fine

uint32_t pool_n_threads(const struct pool *pool);

// Calls work(context, chunk, thread) once for every chunk in 0..n_chunks-1, in any order, on any of the threads
// (thread in 0..n_threads-1 names the one it runs on: for per-thread scratch), and returns when all have returned.
// Everything written by the chunks is visible to the caller afterwards.
typedef void pool_work(void *context, uint32_t chunk, uint32_t thread);
void pool_run(struct pool *pool, pool_work *work, void *context, uint32_t n_chunks);

// The same with several neighbouring chunks at a time: many while much is left, fewer towards the end, so that the threads
// end together at the price of few calls. Calls work(context, first, n, thread), n >= 1, so that every chunk is in one of
// first .. first + n - 1.
typedef void pool_range_work(void *context, uint32_t first, uint32_t n, uint32_t thread);
struct pool_split {
    uint32_t most_at_once; // chunks of one call; >= 1
    uint32_t n_threads;    // that take part at most, the caller included; 0: all. The others are not woken
};
void pool_run_ranges(struct pool *pool, pool_range_work *work, void *context, uint32_t n_chunks,
                     struct pool_split split);

#endif
