// Compute threads: runs a function over chunks of work, handed out one by one through an atomic counter, so that a thread
// that loses its core delays the others by no more than the one chunk it holds.
//
// A pool has n_threads - 1 threads of its own; the thread that calls pool_run works too. Between jobs the threads spin for
// some tens of microseconds, then sleep. One pool_run at a time.
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

#endif
