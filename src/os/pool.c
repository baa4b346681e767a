#include "os/pool.h"

#include "os/thread.h"

#include <stdatomic.h>
#include <stdbool.h>

// How long a thread that finds nothing to do stays awake: longer than the serial pieces between two jobs of a step
// (microseconds), shorter than anything a user would notice as a busy core.
#define SPIN_NS 60000u
#define SPINS_PER_CLOCK_LOOK 64u

struct pool {
    // A job is published by storing its number (high half) and how many of its chunks are left to claim (low half) at
    // once. A chunk is claimed by compare-and-swap on the whole, and only then are the fields below read: they change
    // only when every claimed chunk has been done, so whoever holds a chunk reads those of its own job.
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint32_t n_done;
    _Alignas(64) _Atomic(pool_work *) work;
    _Atomic(void *) context;
    _Atomic uint32_t n_chunks;
    _Atomic bool closing;

    uv_mutex_t mutex; // guards sleeping and waking only
    uv_cond_t published;
    uv_cond_t finished;
    _Atomic uint32_t n_sleeping;
    _Atomic bool caller_sleeps;

    struct memory_account *account;
    uint32_t n_threads;
    uint32_t n_started;
    struct pool_thread {
        struct pool *pool;
        uint32_t index;
        uv_thread_t handle;
    } * threads; // [n_threads - 1]
};

static uint64_t ticket_of(uint32_t job, uint32_t n_left)
{
    return (uint64_t)job << 32 | n_left;
}

static uint32_t job_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

// Claims a chunk of the current job. *n_left: chunks that were left before. False: none was.
static bool claim(struct pool *pool, uint32_t *n_left)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_relaxed);
    do {
        *n_left = (uint32_t)ticket;
        if (*n_left == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

// Works on the current job until none of its chunks is left to claim.
static void work_on_current_job(struct pool *pool, uint32_t thread)
{
    uint32_t n_left;
    while (claim(pool, &n_left)) {
        const uint32_t n_chunks = atomic_load_explicit(&pool->n_chunks, memory_order_relaxed);
        pool_work *work = atomic_load_explicit(&pool->work, memory_order_relaxed);
        work(atomic_load_explicit(&pool->context, memory_order_relaxed), n_chunks - n_left, thread);
        if (atomic_fetch_add(&pool->n_done, 1) + 1 == n_chunks && atomic_load(&pool->caller_sleeps)) {
            uv_mutex_lock(&pool->mutex);
            uv_cond_signal(&pool->finished);
            uv_mutex_unlock(&pool->mutex);
        }
    }
}

// Returns when a job other than `seen` is published or the pool closes.
static void wait_for_job(struct pool *pool, uint32_t seen)
{
    const uint64_t deadline = os_now_ns() + SPIN_NS;
    do {
        for (uint32_t i = 0; i < SPINS_PER_CLOCK_LOOK; i++) {
            if (job_of(atomic_load_explicit(&pool->ticket, memory_order_acquire)) != seen)
                return;
            os_pause();
        }
    } while (os_now_ns() < deadline);

    uv_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_sleeping, 1);
    while (job_of(atomic_load(&pool->ticket)) == seen && !atomic_load(&pool->closing))
        uv_cond_wait(&pool->published, &pool->mutex);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    uv_mutex_unlock(&pool->mutex);
}

static void thread_main(void *arg)
{
    struct pool_thread *self = arg;
    struct pool *pool = self->pool;
    uint32_t seen = 0;
    while (!atomic_load(&pool->closing)) {
        wait_for_job(pool, seen);
        seen = job_of(atomic_load_explicit(&pool->ticket, memory_order_acquire));
        if (atomic_load(&pool->closing))
            break;
        work_on_current_job(pool, self->index);
    }
}

enum chord_status pool_create(struct pool **out, uint32_t n_threads, struct memory_account *account,
                              struct chord_error *err)
{
    struct pool *pool = memory_alloc(account, MEMORY_SCRATCH, sizeof *pool, 64);
    if (pool == NULL)
        return memory_account_fail(account, err, sizeof *pool, "the thread pool");
    *pool = (struct pool){.account = account, .n_threads = n_threads};
    if (uv_mutex_init(&pool->mutex) != 0)
        goto no_mutex;
    if (uv_cond_init(&pool->published) != 0)
        goto no_published;
    if (uv_cond_init(&pool->finished) != 0)
        goto no_finished;
    pool->threads = memory_zalloc(account, MEMORY_SCRATCH, n_threads, sizeof *pool->threads);
    if (pool->threads == NULL) {
        enum chord_status status =
            memory_account_fail(account, err, n_threads * sizeof *pool->threads, "the thread pool");
        pool_free(pool);
        return status;
    }
    for (uint32_t i = 0; i + 1 < n_threads; i++) {
        pool->threads[i] = (struct pool_thread){.pool = pool, .index = i + 1};
        const int code = uv_thread_create(&pool->threads[i].handle, thread_main, &pool->threads[i]);
        if (code != 0) {
            pool_free(pool);
            return chord_fail(err, CHORD_THREAD, "cannot start compute thread %u of %u: %s; ask for fewer `threads`",
                              (unsigned)i + 2, (unsigned)n_threads, uv_strerror(code));
        }
        pool->n_started++;
    }
    *out = pool;
    return CHORD_OK;

no_finished:
    uv_cond_destroy(&pool->published);
no_published:
    uv_mutex_destroy(&pool->mutex);
no_mutex:
    memory_free(account, pool);
    return chord_fail(err, CHORD_THREAD, "the system refused a lock for the thread pool");
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    uv_mutex_lock(&pool->mutex);
    atomic_store(&pool->closing, true);
    uv_cond_broadcast(&pool->published);
    uv_mutex_unlock(&pool->mutex);
    // Wakes those that still spin: to them a closing pool looks like a job without chunks.
    atomic_store(&pool->ticket, ticket_of(job_of(atomic_load(&pool->ticket)) + 1, 0));
    for (uint32_t i = 0; i < pool->n_started; i++)
        uv_thread_join(&pool->threads[i].handle);
    uv_cond_destroy(&pool->finished);
    uv_cond_destroy(&pool->published);
    uv_mutex_destroy(&pool->mutex);
    memory_free(pool->account, pool->threads);
    memory_free(pool->account, pool);
}

uint32_t pool_n_threads(const struct pool *pool)
{
    return pool->n_threads;
}

static void wait_until_done(struct pool *pool, uint32_t n_chunks)
{
    const uint64_t deadline = os_now_ns() + SPIN_NS;
    do {
        for (uint32_t i = 0; i < SPINS_PER_CLOCK_LOOK; i++) {
            if (atomic_load_explicit(&pool->n_done, memory_order_acquire) == n_chunks)
                return;
            os_pause();
        }
    } while (os_now_ns() < deadline);

    uv_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->n_done) != n_chunks)
        uv_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    uv_mutex_unlock(&pool->mutex);
}

void pool_run(struct pool *pool, pool_work *work, void *context, uint32_t n_chunks)
{
    if (pool->n_threads == 1 || n_chunks == 1) {
        for (uint32_t chunk = 0; chunk < n_chunks; chunk++)
            work(context, chunk, 0);
        return;
    }
    if (n_chunks == 0)
        return;
    atomic_store_explicit(&pool->work, work, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    atomic_store_explicit(&pool->n_chunks, n_chunks, memory_order_relaxed);
    atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
    const uint32_t job = job_of(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) + 1;
    atomic_store(&pool->ticket, ticket_of(job, n_chunks));
    if (atomic_load(&pool->n_sleeping) != 0) {
        uv_mutex_lock(&pool->mutex);
        uv_cond_broadcast(&pool->published);
        uv_mutex_unlock(&pool->mutex);
    }
    work_on_current_job(pool, 0);
    wait_until_done(pool, n_chunks);
}
