// How much memory a new model may take.
#ifndef CHORD_OS_LIMITS_H
#define CHORD_OS_LIMITS_H

#include <stdint.h>

// Bytes that this process may still allocate without harming itself or its neighbours: the least of what the machine has
// available (free and reclaimable), what its container (cgroup v1 or v2) and what its own limits (ulimit) allow beyond what it holds.
uint64_t os_memory_available(void);

// Bytes of physical memory, cut to the container's limit.
uint64_t os_memory_total(void);

#endif
