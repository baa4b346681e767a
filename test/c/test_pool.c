// The thread pool: every chunk once, on threads of its own, with memory visible to the caller. Also run under ThreadSanitizer,
// which is why results are written without atomics: the pool must order them.

#include "os/pool.h"
#include "os/thread.h"
#include "account_helpers.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MOST_THREADS 8
#define MOST_CHUNKS 3000

struct job {
    uint32_t n_threads;
    uint32_t runs[MOST_CHUNKS];        // of each chunk
    uint64_t per_thread[MOST_THREADS]; // chunks that each thread ran
    uint32_t calls[MOST_CHUNKS];       // chunks of the range that begins here
    uint32_t pause_every;              // a chunk in so many takes long; 0: none does
};

static void count_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    struct job *job = context;
    if (thread >= job->n_threads)
        return; // shows as a chunk that did not run
    if (job->pause_every != 0 && chunk % job->pause_every == 0) {
        const uint64_t until = os_now_ns() + 200 * 1000;
        while (os_now_ns() < until)
            continue;
    }
    job->runs[chunk]++;
    job->per_thread[thread]++;
}

static bool runs_each_once(struct pool *pool, struct job *job, uint32_t n_chunks)
{
    memset(job->runs, 0, sizeof job->runs);
    memset(job->per_thread, 0, sizeof job->per_thread);
    pool_run(pool, count_chunk, job, n_chunks);
    uint64_t total = 0;
    for (uint32_t i = 0; i < MOST_CHUNKS; i++)
        if (job->runs[i] != (i < n_chunks))
            return false;
    for (uint32_t i = 0; i < MOST_THREADS; i++)
        total += job->per_thread[i];
    return total == n_chunks;
}

static void run_and_check(struct pool *pool, struct job *job, uint32_t n_chunks)
{
    assert_true(runs_each_once(pool, job, n_chunks));
}

static struct pool *pool_of(uint32_t n_threads)
{
    struct pool *pool;
    struct chord_error err;
    assert_int_equal(pool_create(&pool, n_threads, &account, &err), CHORD_OK);
    assert_int_equal(pool_n_threads(pool), n_threads);
    return pool;
}

static void every_chunk_runs_once(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 2, 3, 7, 64, 1000, MOST_CHUNKS};
    static struct job job;
    for (uint32_t n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
        struct pool *pool = pool_of(n_threads);
        job = (struct job){.n_threads = n_threads};
        for (int round = 0; round < 20; round++)
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                run_and_check(pool, &job, sizes[i]);
        pool_free(pool);
    }
}

static void add_to_sum(void *context, uint32_t chunk, uint32_t thread)
{
    uint64_t(*sums)[MOST_THREADS][8] = context;
    (*sums)[thread][0] += chunk + 1;
}

// Short jobs one upon the other: where a thread that is late for one job could take a chunk of the next.
static void many_short_jobs(void **state)
{
    (void)state;
    uint64_t sums[MOST_THREADS][8] = {{0}};
    struct pool *pool = pool_of(3);
    uint64_t expected = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        const uint32_t n_chunks = i % 5;
        pool_run(pool, add_to_sum, &sums, n_chunks);
        expected += (uint64_t)n_chunks * (n_chunks + 1) / 2;
    }
    assert_int_equal(sums[0][0] + sums[1][0] + sums[2][0], expected);
    pool_free(pool);
}

static void every_number_of_chunks(void **state)
{
    (void)state;
    static struct job job;
    for (uint32_t n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
        struct pool *pool = pool_of(n_threads);
        job = (struct job){.n_threads = n_threads};
        for (uint32_t n_chunks = 0; n_chunks <= 1000; n_chunks += 1 + n_chunks / 16)
            run_and_check(pool, &job, n_chunks);
        pool_free(pool);
    }
}

static void count_range(void *context, uint32_t first, uint32_t n, uint32_t thread)
{
    struct job *job = context;
    if (n == 0 || thread >= job->n_threads)
        return;
    for (uint32_t chunk = first; chunk < first + n; chunk++)
        count_chunk(job, chunk, thread);
    job->calls[first] = n;
}

// Ranges: every chunk in one of them, none larger than allowed, single chunks at the end, and no thread beyond the limit.
static void ranges_cover_all(void **state)
{
    (void)state;
    static struct job job;
    static const uint32_t most[] = {1, 3, 64, UINT32_MAX};
    for (uint32_t n_threads = 1; n_threads <= MOST_THREADS; n_threads += 2) {
        struct pool *pool = pool_of(n_threads);
        for (uint32_t limit = 0; limit <= n_threads + 1; limit++)
            for (size_t i = 0; i < 4; i++)
                for (uint32_t n_chunks = 0; n_chunks <= 1000; n_chunks += 1 + n_chunks / 4) {
                    const uint32_t n_invited = limit == 0 || limit > n_threads ? n_threads : limit;
                    job = (struct job){.n_threads = n_invited};
                    pool_run_ranges(pool, count_range, &job, n_chunks,
                                    (struct pool_split){.most_at_once = most[i], .n_threads = limit});
                    for (uint32_t c = 0; c < MOST_CHUNKS; c++)
                        assert_int_equal(job.runs[c], c < n_chunks);
                    for (uint32_t c = 0; c < n_chunks; c += job.calls[c]) {
                        assert_true(job.calls[c] >= 1 && job.calls[c] <= most[i]);
                        if (n_invited > 1)
                            assert_true(job.calls[c] == 1 || job.calls[c] <= (n_chunks - c) / n_invited);
                    }
                }
        pool_free(pool);
    }
}

// Threads that a run did not invite sleep through it and take part in the next one again.
static void limits_alternate(void **state)
{
    (void)state;
    static struct job job;
    struct pool *pool = pool_of(4);
    for (uint32_t i = 0; i < 5000; i++) {
        job = (struct job){.n_threads = 1 + i % 4};
        pool_run_ranges(pool, count_range, &job, 7, (struct pool_split){.most_at_once = 2, .n_threads = job.n_threads});
        for (uint32_t c = 0; c < 7; c++)
            assert_int_equal(job.runs[c], 1);
    }
    pool_free(pool);
}

struct growing {
    _Atomic uint32_t runs[16];
};

static void count_and_linger(void *context, uint32_t chunk, uint32_t thread)
{
    struct growing *job = context;
    (void)thread;
    atomic_fetch_add(&job->runs[chunk], 1);
    for (volatile uint32_t i = 0; i < chunk * 37 % 151; i++)
        continue;
}

// A thread that stopped at the end of a job when the next, of more chunks, is being published: it must claim none of these in
// the name of the old one. Where it does, a chunk runs twice and the count of finished ones is wrong for good.
static void a_larger_job_follows_a_smaller(void **state)
{
    (void)state;
    static struct growing job;
    struct pool *pool = pool_of(2);
    alarm(300); // a lost count shows as a pool_run that never returns
    for (uint32_t i = 0; i < 300000; i++) {
        const uint32_t n_chunks = i % 2 == 0 ? 2 : 2 + i % 7;
        for (uint32_t k = 0; k < 16; k++)
            atomic_store_explicit(&job.runs[k], 0, memory_order_relaxed);
        pool_run(pool, count_and_linger, &job, n_chunks);
        for (uint32_t k = 0; k < 16; k++)
            if (atomic_load(&job.runs[k]) != (k < n_chunks))
                fail_msg("job %u: chunk %u of %u ran %u times", i, k, n_chunks, atomic_load(&job.runs[k]));
    }
    alarm(0);
    pool_free(pool);
}

// Threads that have gone to sleep are woken, and a caller that sleeps on a slow chunk too.
static void wakes_from_sleep(void **state)
{
    (void)state;
    static struct job job;
    struct pool *pool = pool_of(4);
    for (int round = 0; round < 20; round++) {
        const uint64_t until = os_now_ns() + 2 * 1000 * 1000;
        while (os_now_ns() < until)
            continue;
        job = (struct job){.n_threads = 4, .pause_every = 3};
        run_and_check(pool, &job, 9);
    }
    pool_free(pool);
}

// A pool of its own per model: two at once know nothing of each other.
static void pools_are_independent(void **state)
{
    (void)state;
    static struct job a, b;
    struct pool *first = pool_of(2), *second = pool_of(3);
    a = (struct job){.n_threads = 2};
    b = (struct job){.n_threads = 3};
    for (int round = 0; round < 100; round++) {
        run_and_check(first, &a, 10);
        run_and_check(second, &b, 20);
    }
    pool_free(first);
    run_and_check(second, &b, 20);
    pool_free(second);
    pool_free(NULL);
}

struct runner {
    struct job job;
    struct pool *pool;
    bool right;
    uv_thread_t thread;
};

static void run_many(void *arg)
{
    struct runner *runner = arg;
    runner->right = true;
    for (uint32_t round = 0; round < 300; round++)
        runner->right &= runs_each_once(runner->pool, &runner->job, round % 50);
}

static void pools_run_at_once(void **state)
{
    (void)state;
    static struct runner runners[3];
    for (uint32_t i = 0; i < 3; i++) {
        runners[i].pool = pool_of(i + 1);
        runners[i].job = (struct job){.n_threads = i + 1, .pause_every = 40};
        assert_int_equal(uv_thread_create(&runners[i].thread, run_many, &runners[i]), 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        uv_thread_join(&runners[i].thread);
        pool_free(runners[i].pool);
    }
    for (uint32_t i = 0; i < 3; i++)
        assert_true(runners[i].right);
}

static void created_and_freed_often(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++)
        pool_free(pool_of(1 + (uint32_t)round % 4));
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        struct pool *pool = NULL;
        struct chord_error err;
        fail_allocation(n);
        const enum chord_status status = pool_create(&pool, 3, &account, &err);
        if (!allocation_failed(status)) {
            assert_true(n >= 1);
            pool_free(pool);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_chunk_runs_once),
        TEST(every_number_of_chunks),
        TEST(many_short_jobs),
        TEST(ranges_cover_all),
        TEST(limits_alternate),
        TEST(a_larger_job_follows_a_smaller),
        TEST(wakes_from_sleep),
        TEST(pools_are_independent),
        TEST(pools_run_at_once),
        TEST(created_and_freed_often),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
