// Threads and cores: CPU time of another thread, moving it, and that where it may run stays as it was.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // sched_setaffinity
#endif

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h> // cmocka.h needs these four before it
#include <cmocka.h>

#include "os/core.h"
#include "os/thread.h"

#include <stdatomic.h>

#if defined(__linux__)

#include <sched.h>

static void spin_for_ns(uint64_t ns)
{
    for (const uint64_t end = os_now_ns() + ns; os_now_ns() < end;)
        os_pause();
}

struct sleeper {
    _Atomic os_thread_name name;
    uv_sem_t ready, end;
    uv_thread_t thread;
};

static void sleep_until_told(void *arg)
{
    struct sleeper *sleeper = arg;
    atomic_store(&sleeper->name, os_this_thread());
    uv_sem_post(&sleeper->ready);
    uv_sem_wait(&sleeper->end);
}

static void start(struct sleeper *sleeper)
{
    assert_int_equal(uv_sem_init(&sleeper->ready, 0), 0);
    assert_int_equal(uv_sem_init(&sleeper->end, 0), 0);
    assert_int_equal(uv_thread_create(&sleeper->thread, sleep_until_told, sleeper), 0);
    uv_sem_wait(&sleeper->ready);
}

static void stop(struct sleeper *sleeper)
{
    uv_sem_post(&sleeper->end);
    uv_thread_join(&sleeper->thread);
    uv_sem_destroy(&sleeper->ready);
    uv_sem_destroy(&sleeper->end);
}

static void cpu_time_tells_who_runs(void **state)
{
    (void)state;
    struct sleeper sleeper;
    start(&sleeper);
    const os_thread_name name = atomic_load(&sleeper.name);
    assert_true(name != 0 && name != os_this_thread());
    uint64_t before = 0, after = 0, own_before = 0, own_after = 0;
    uv_sleep(20); // until it sleeps
    assert_true(os_thread_cpu_time(name, &before));
    assert_true(os_thread_cpu_time(os_this_thread(), &own_before));
    spin_for_ns(2000000);
    assert_true(os_thread_cpu_time(name, &after));
    assert_true(os_thread_cpu_time(os_this_thread(), &own_after));
    assert_int_equal(before, after);
    assert_true(own_after > own_before);
    stop(&sleeper);
    assert_false(os_thread_cpu_time(0, &before));
}

static cpu_set_t allowed(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return set;
}

static void moving_keeps_where_it_may_run(void **state)
{
    (void)state;
    const cpu_set_t before = allowed();
    uint32_t n_moved = 0;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        const bool moved = os_move_thread(os_this_thread(), core);
        assert_int_equal(moved, CPU_ISSET(core, &before) != 0);
        n_moved += moved;
        const cpu_set_t after = allowed();
        assert_true(CPU_EQUAL(&before, &after));
    }
    assert_int_equal(n_moved, CPU_COUNT(&before));
    assert_false(os_move_thread(os_this_thread(), -1));
    assert_false(os_move_thread(os_this_thread(), CPU_SETSIZE));
    assert_false(os_move_thread(0, os_this_core()));
    assert_int_equal(os_leave_core(), CPU_COUNT(&before) > 1);
    const cpu_set_t after = allowed();
    assert_true(CPU_EQUAL(&before, &after));
}

static void a_thread_bound_to_one_core_stays(void **state)
{
    (void)state;
    const cpu_set_t before = allowed();
    cpu_set_t one;
    CPU_ZERO(&one);
    const int core = os_this_core();
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_false(os_leave_core());
    for (int other = 0; other < CPU_SETSIZE; other++)
        assert_int_equal(os_move_thread(os_this_thread(), other), other == core);
    assert_int_equal(os_this_core(), core);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

#else

static void nothing_is_moved(void **state)
{
    (void)state;
    uint64_t ns;
    assert_int_equal(os_this_thread(), 0);
    assert_int_equal(os_this_core(), -1);
    assert_false(os_thread_cpu_time(0, &ns));
    assert_false(os_move_thread(0, 0));
    assert_false(os_leave_core());
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(__linux__)
        cmocka_unit_test(cpu_time_tells_who_runs),
        cmocka_unit_test(moving_keeps_where_it_may_run),
        cmocka_unit_test(a_thread_bound_to_one_core_stays),
#else
        cmocka_unit_test(nothing_is_moved),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
