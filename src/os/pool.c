#include "os/pool.h"

#include "os/core.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <stdbool.h>

// How long a thread that finds nothing to do stays awake: longer than the serial pieces between two jobs of a step
// (microseconds), shorter than anything a user would notice as a busy core.
#define SPIN_NS 60000u
#define SPINS_PER_CLOCK_LOOK 64u

// A thread that has nothing left to claim looks whether one that has lost its core holds the others up: for so long, and
// again whenever it has slept for so long.
#define WATCH_NS 30000u
#define LOOK_AGAIN_NS 500000u
#define MOST_WATCHED 64u

// A thread takes this fraction of what is left for each thread: the first piece holds a quarter of the work of two threads.
#define SHARES_PER_THREAD 2u

// What the threads of a pool know of each other. Number 0 is the caller.
struct member {
    _Alignas(64) _Atomic os_thread_name thread;
    _Atomic bool works;          // has chunks that are not done
    _Atomic int core;            // where it claimed them
    _Atomic int home;            // where it goes when they are done; -1: stays
    _Atomic uint32_t helped_job; // in which it was given a core last
};

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
    struct member *members; // [n_threads]
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

// The scheduler likes to wake a thread where the one that wakes it runs. Where every other core has a stranger, the two
// would then share one and leave the strangers theirs whole.
static void leave_core_of_caller(const struct pool *pool)
{
    const int core = os_this_core();
    if (core >= 0 && core == atomic_load_explicit(&pool->members[0].core, memory_order_relaxed))
        (void)os_leave_core();
}

// Works on the current job until none of its chunks is left to claim.
static void work_on_current_job(struct pool *pool, uint32_t thread)
{
    struct member *self = &pool->members[thread];
    atomic_store_explicit(&self->core, os_this_core(), memory_order_relaxed);
    atomic_store(&self->works, true);
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
    atomic_store(&self->works, false);
    const int home = atomic_exchange(&self->home, -1);
    if (home >= 0)
        (void)os_move_thread(atomic_load_explicit(&self->thread, memory_order_relaxed), home);
    else if (thread != 0)
        leave_core_of_caller(pool);
}

static bool is_done(const struct pool *pool)
{
    return atomic_load(&pool->n_done) == atomic_load(&pool->n_chunks);
}

// Brings a thread that waits for its core to the core of the calling one, which is about to sleep. A thread of the pool
// goes back when it is done. The caller stays, for it has more to do than the others: the calling thread goes where it was.
static void give_core(struct pool *pool, uint32_t self, uint32_t to)
{
    struct member *member = &pool->members[to];
    const int core = atomic_load_explicit(&member->core, memory_order_relaxed);
    const int mine = os_this_core();
    if (core < 0 || mine < 0 || core == mine)
        return; // on one core, sleeping is enough
    if (to != 0)
        atomic_store(&member->home, core);
    if (os_move_thread(atomic_load(&member->thread), mine) && to == 0)
        (void)os_move_thread(atomic_load(&pool->members[self].thread), core);
}

// Looks for threads that have chunks and whose CPU time stands still, and gives the calling thread's core to one.
static void help_who_waits_for_a_core(struct pool *pool, uint32_t self)
{
    struct {
        uint32_t member;
        uint64_t cpu_time;
    } watched[MOST_WATCHED];
    uint32_t n_watched = 0;
    const uint32_t job = job_of(atomic_load(&pool->ticket));
    for (uint32_t i = 0; i < pool->n_threads && n_watched < MOST_WATCHED; i++) {
        watched[n_watched].member = i;
        n_watched += i != self && atomic_load(&pool->members[i].works) &&
                     os_thread_cpu_time(atomic_load(&pool->members[i].thread), &watched[n_watched].cpu_time);
    }
    for (const uint64_t end = os_now_ns() + WATCH_NS; os_now_ns() < end;) {
        if (is_done(pool))
            return;
        os_pause();
    }
    for (uint32_t i = 0; i < n_watched; i++) {
        struct member *member = &pool->members[watched[i].member];
        uint64_t cpu_time;
        if (atomic_load(&member->works) && os_thread_cpu_time(atomic_load(&member->thread), &cpu_time) &&
            cpu_time == watched[i].cpu_time && atomic_exchange(&member->helped_job, job) != job) {
            give_core(pool, self, watched[i].member);
            return;
        }
    }
}

static bool can_move_threads(const struct pool *pool)
{
    return atomic_load_explicit(&pool->members[0].thread, memory_order_relaxed) != 0;
}

static bool is_invited(const struct pool_thread *self)
{
    return self->index < atomic_load_explicit(&self->pool->n_invited, memory_order_relaxed);
}

// Holds the mutex before and after. May return early.
static void sleep_on(uv_cond_t *condition, struct pool *pool, bool look_again)
{
    if (look_again)
        (void)uv_cond_timedwait(condition, &pool->mutex, LOOK_AGAIN_NS);
    else
        uv_cond_wait(condition, &pool->mutex);
}

// Whether a job other than `seen` is there for the thread.
static bool is_wanted(const struct pool_thread *self, uint32_t seen)
{
    const struct pool *pool = self->pool;
    return job_of(atomic_load(&pool->ticket)) != seen && (is_invited(self) || atomic_load(&pool->closing));
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

    while (!is_wanted(self, seen) && !atomic_load(&pool->closing)) {
        const bool watches = !is_done(pool) && is_invited(self) && can_move_threads(pool);
        if (watches)
            help_who_waits_for_a_core(pool, self->index);
        uv_mutex_lock(&pool->mutex);
        atomic_store(&self->sleeps, true);
        if (!is_wanted(self, seen) && !atomic_load(&pool->closing))
            sleep_on(&self->wake, pool, watches);
        atomic_store(&self->sleeps, false);
        uv_mutex_unlock(&pool->mutex);
        leave_core_of_caller(pool);
    }
}

static void thread_main(void *arg)
{
    struct pool_thread *self = arg;
    struct pool *pool = self->pool;
    atomic_store(&pool->members[self->index].thread, os_this_thread());
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
    pool->members = memory_alloc(account, MEMORY_SCRATCH, n_threads * sizeof *pool->members, 64);
    if (pool->threads == NULL || pool->members == NULL) {
        enum chord_status status = memory_account_fail(
            account, err, n_threads * (sizeof *pool->threads + sizeof *pool->members), "the thread pool");
        pool_free(pool);
        return status;
    }
    for (uint32_t i = 0; i < n_threads; i++)
        pool->members[i] = (struct member){.home = -1};
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
    memory_free(pool->account, pool->members);
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

    while (!is_done(pool)) {
        if (can_move_threads(pool))
            help_who_waits_for_a_core(pool, 0);
        uv_mutex_lock(&pool->mutex);
        atomic_store(&pool->caller_sleeps, true);
        if (!is_done(pool))
            sleep_on(&pool->finished, pool, can_move_threads(pool));
        atomic_store(&pool->caller_sleeps, false);
        uv_mutex_unlock(&pool->mutex);
    }
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
    atomic_store_explicit(&pool->members[0].thread, os_this_thread(), memory_order_relaxed);
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
