#include "os/pool.h"

#include "os/thread.h"

#include <stdatomic.h>
#include <stdbool.h>

// How long a thread that finds nothing to do stays awake: longer than the serial pieces between two jobs of a step
// (microseconds), shorter than anything a user would notice as a busy core.
#define SPIN_NS 60000u
#define SPINS_PER_CLOCK_LOOK 64u

// A thread takes this fraction of what is left for each thread: the first piece holds a quarter of the work of two threads.
#define SHARES_PER_THREAD 2u

struct pool {
    // A job is published by storing its number (high half) and how many of its chunks are left to claim (low half) at
    // once. The fields below it change only when every chunk has been claimed and done. So who claims a chunk, by
    // compare-and-swap on the whole, knows that what it read of them between the load and the swap is of its own job.
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint32_t n_done;
    _Alignas(64) _Atomic(pool_range_work *) work;
    _Atomic(void *) context;
    _Atomic uint32_t n_chunks;
    _Atomic uint32_t most_at_once;
    _Atomic uint32_t n_invited; // threads that take part: those of a lower number
    _Atomic bool closing;

    uv_mutex_t mutex; // guards sleeping and waking only
    uv_cond_t finished;
    _Atomic bool caller_sleeps;

    struct memory_account *account;
    uint32_t n_threads;
    uint32_t n_started;
    struct pool_thread {
        struct pool *pool;
        uint32_t index;
        _Atomic bool sleeps;
        uv_cond_t wake;
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

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Claims chunks of the current job for `thread`. *n_left: chunks that were left before. 0: none is for it.
static uint32_t claim(struct pool *pool, uint32_t thread, uint32_t *n_left)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    uint32_t n;
    do {
        const uint32_t n_invited = atomic_load_explicit(&pool->n_invited, memory_order_relaxed);
        *n_left = (uint32_t)ticket;
        if (*n_left == 0 || thread >= n_invited)
            return 0;
        const uint32_t share = *n_left / (SHARES_PER_THREAD * n_invited);
        n = least(share > 1 ? share : 1, atomic_load_explicit(&pool->most_at_once, memory_order_relaxed));
    } while (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - n, memory_order_acquire,
                                                    memory_order_acquire));
    return n;
}

// Works on the current job until none of its chunks is left to claim.
static void work_on_current_job(struct pool *pool, uint32_t thread)
{
    uint32_t n_left, n;
    while ((n = claim(pool, thread, &n_left)) != 0) {
        const uint32_t n_chunks = atomic_load_explicit(&pool->n_chunks, memory_order_relaxed);
        pool_range_work *work = atomic_load_explicit(&pool->work, memory_order_relaxed);
        work(atomic_load_explicit(&pool->context, memory_order_relaxed), n_chunks - n_left, n, thread);
        if (atomic_fetch_add(&pool->n_done, n) + n == n_chunks && atomic_load(&pool->caller_sleeps)) {
            uv_mutex_lock(&pool->mutex);
            uv_cond_signal(&pool->finished);
            uv_mutex_unlock(&pool->mutex);
        }
    }
}

// Whether a job other than `seen` is there for the thread.
static bool is_wanted(const struct pool_thread *self, uint32_t seen)
{
    const struct pool *pool = self->pool;
    return job_of(atomic_load(&pool->ticket)) != seen &&
           (self->index < atomic_load_explicit(&pool->n_invited, memory_order_relaxed) || atomic_load(&pool->closing));
}

// Returns when a job other than `seen` is published for the thread or the pool closes.
static void wait_for_job(struct pool_thread *self, uint32_t seen)
{
    struct pool *pool = self->pool;
    const uint64_t deadline = os_now_ns() + SPIN_NS;
    do {
        for (uint32_t i = 0; i < SPINS_PER_CLOCK_LOOK; i++) {
            if (is_wanted(self, seen))
                return;
            os_pause();
        }
    } while (os_now_ns() < deadline);

    uv_mutex_lock(&pool->mutex);
    atomic_store(&self->sleeps, true);
    while (!is_wanted(self, seen) && !atomic_load(&pool->closing))
        uv_cond_wait(&self->wake, &pool->mutex);
    atomic_store(&self->sleeps, false);
    uv_mutex_unlock(&pool->mutex);
}

static void thread_main(void *arg)
{
    struct pool_thread *self = arg;
    struct pool *pool = self->pool;
    uint32_t seen = 0;
    while (!atomic_load(&pool->closing)) {
        wait_for_job(self, seen);
        seen = job_of(atomic_load_explicit(&pool->ticket, memory_order_acquire));
        if (atomic_load(&pool->closing))
            break;
        work_on_current_job(pool, self->index);
    }
}

// Wakes those of the first n threads of the pool's own that sleep.
static void wake_threads(struct pool *pool, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!atomic_load(&pool->threads[i].sleeps))
            continue;
        uv_mutex_lock(&pool->mutex);
        uv_cond_signal(&pool->threads[i].wake);
        uv_mutex_unlock(&pool->mutex);
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
        int code = uv_cond_init(&pool->threads[i].wake);
        if (code == 0) {
            code = uv_thread_create(&pool->threads[i].handle, thread_main, &pool->threads[i]);
            if (code != 0)
                uv_cond_destroy(&pool->threads[i].wake);
        }
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
    uv_mutex_destroy(&pool->mutex);
no_mutex:
    memory_free(account, pool);
    return chord_fail(err, CHORD_THREAD, "the system refused a lock for the thread pool");
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store(&pool->closing, true);
    // To those that still spin a closing pool looks like a job without chunks.
    atomic_store(&pool->ticket, ticket_of(job_of(atomic_load(&pool->ticket)) + 1, 0));
    wake_threads(pool, pool->n_started);
    for (uint32_t i = 0; i < pool->n_started; i++) {
        uv_thread_join(&pool->threads[i].handle);
        uv_cond_destroy(&pool->threads[i].wake);
    }
    uv_cond_destroy(&pool->finished);
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

void pool_run_ranges(struct pool *pool, pool_range_work *work, void *context, uint32_t n_chunks,
                     struct pool_split split)
{
    const uint32_t n_threads = split.n_threads == 0 ? pool->n_threads : least(split.n_threads, pool->n_threads);
    if (n_chunks == 0)
        return;
    if (n_threads == 1 || n_chunks == 1) {
        for (uint32_t first = 0; first < n_chunks; first += least(split.most_at_once, n_chunks - first))
            work(context, first, least(split.most_at_once, n_chunks - first), 0);
        return;
    }
    atomic_store_explicit(&pool->work, work, memory_order_relaxed);
    atomic_store_explicit(&pool->context, context, memory_order_relaxed);
    atomic_store_explicit(&pool->n_chunks, n_chunks, memory_order_relaxed);
    atomic_store_explicit(&pool->most_at_once, split.most_at_once, memory_order_relaxed);
    atomic_store_explicit(&pool->n_invited, n_threads, memory_order_relaxed);
    atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
    const uint32_t job = job_of(atomic_load_explicit(&pool->ticket, memory_order_relaxed)) + 1;
    atomic_store(&pool->ticket, ticket_of(job, n_chunks));
    wake_threads(pool, n_threads - 1);
    work_on_current_job(pool, 0);
    wait_until_done(pool, n_chunks);
}

struct single_chunks {
    pool_work *work;
    void *context;
};

static void run_single_chunks(void *context, uint32_t first, uint32_t n, uint32_t thread)
{
    const struct single_chunks *single = context;
    for (uint32_t chunk = first; chunk < first + n; chunk++)
        single->work(single->context, chunk, thread);
}

void pool_run(struct pool *pool, pool_work *work, void *context, uint32_t n_chunks)
{
    struct single_chunks single = {.work = work, .context = context};
    pool_run_ranges(pool, run_single_chunks, &single, n_chunks, (struct pool_split){.most_at_once = 1});
}
