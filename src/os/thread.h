// Threads, locks and clocks, over libuv so that every platform of Node has them.
#ifndef CHORD_OS_THREAD_H
#define CHORD_OS_THREAD_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

// Monotonic time.
uint64_t os_now_ns(void);
double os_now_seconds(void);

// A value that an attacker cannot predict, for hash seeds and sampling seeds. From the system's generator.
uint64_t os_random_u64(void);

// Tells the core that this is a spin-wait loop.
static inline void os_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
