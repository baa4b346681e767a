#ifndef _GNU_SOURCE
#define _GNU_SOURCE // sched_getcpu, affinities
#endif
#include "os/core.h"

#if defined(__linux__)

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// High half: clock of its CPU time; low half: its number.
static pid_t number_of(os_thread_name thread)
{
    return (pid_t)(uint32_t)thread;
}

static clockid_t clock_of(os_thread_name thread)
{
    return (clockid_t)(uint32_t)(thread >> 32);
}

os_thread_name os_this_thread(void)
{
    static _Thread_local os_thread_name name; // it is asked for at every job, and costs a system call
    clockid_t clock;
    if (name == 0 && pthread_getcpuclockid(pthread_self(), &clock) == 0)
        name = (uint64_t)(uint32_t)clock << 32 | (uint32_t)syscall(SYS_gettid);
    return name;
}

int os_this_core(void)
{
    return sched_getcpu();
}

bool os_thread_cpu_time(os_thread_name thread, uint64_t *ns)
{
    struct timespec t;
    if (thread == 0 || clock_gettime(clock_of(thread), &t) != 0)
        return false;
    *ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    return true;
}

// Moves the thread into `where`, then lets it run where it was allowed to before: a wider set moves nothing by itself.
static bool move_into(pid_t thread, const cpu_set_t *where, const cpu_set_t *allowed)
{
    return CPU_COUNT(where) != 0 && sched_setaffinity(thread, sizeof *where, where) == 0 &&
           sched_setaffinity(thread, sizeof *allowed, allowed) == 0;
}

// Fails where there are more cores than a cpu_set_t holds.
static bool get_allowed(pid_t thread, cpu_set_t *allowed)
{
    return sched_getaffinity(thread, sizeof *allowed, allowed) == 0;
}

bool os_move_thread(os_thread_name thread, int core)
{
    cpu_set_t allowed, where;
    if (thread == 0 || core < 0 || core >= CPU_SETSIZE || !get_allowed(number_of(thread), &allowed))
        return false;
    CPU_ZERO(&where);
    if (CPU_ISSET(core, &allowed))
        CPU_SET(core, &where);
    return move_into(number_of(thread), &where, &allowed);
}

bool os_leave_core(void)
{
    cpu_set_t allowed, where;
    const int core = os_this_core();
    if (core < 0 || core >= CPU_SETSIZE || !get_allowed(0, &allowed))
        return false;
    where = allowed;
    CPU_CLR(core, &where);
    return move_into(0, &where, &allowed);
}

#else

os_thread_name os_this_thread(void)
{
    return 0;
}

int os_this_core(void)
{
    return -1;
}

bool os_thread_cpu_time(os_thread_name thread, uint64_t *ns)
{
    (void)thread;
    (void)ns;
    return false;
}

bool os_move_thread(os_thread_name thread, int core)
{
    (void)thread;
    (void)core;
    return false;
}

bool os_leave_core(void)
{
    return false;
}

#endif
