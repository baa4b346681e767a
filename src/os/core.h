// Which core a thread is on, whether it runs, and moving it: so that threads that work together can give a free core to one
// of theirs that waits for a core taken by a stranger. The scheduler of Linux leaves such a thread waiting for milliseconds
// rather than move it; other systems are left to their own schedulers.
#ifndef CHORD_OS_CORE_H
#define CHORD_OS_CORE_H

#include <stdbool.h>
#include <stdint.h>

// A thread of this process, small enough for an atomic. 0: none, or a system where threads are not moved.
typedef uint64_t os_thread_name;

os_thread_name os_this_thread(void);

// The core that the calling thread is on; -1: unknown.
int os_this_core(void);

// CPU time that the thread has used, in ns: it stands still while the thread does not run. false: unknown.
bool os_thread_cpu_time(os_thread_name thread, uint64_t *ns);

// Moves a thread, the calling one or another, to a core; where it may run otherwise stays as it is. false: it must not run
// there, is gone, or the system does not move threads.
bool os_move_thread(os_thread_name thread, int core);

// Moves the calling thread from the core that it is on to any other that it may run on. false: there is none.
bool os_leave_core(void);

#endif
