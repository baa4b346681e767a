#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // MAP_ANONYMOUS, madvise
#endif
#include "os/pages.h"

#include "base/checked.h"

#include <stddef.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

void *os_pages_reserve(uint64_t n_bytes)
{
    // Committed at once: pages are backed on first touch all the same. Allocations begin at multiples of 64 KiB.
    return n_bytes > SIZE_MAX ? NULL : VirtualAlloc(NULL, (SIZE_T)n_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void os_pages_free(void *pages, uint64_t n_bytes)
{
    (void)n_bytes;
    if (pages != NULL)
        VirtualFree(pages, 0, MEM_RELEASE);
}

void os_pages_discard(void *first, uint64_t n_bytes)
{
    VirtualFree(first, (SIZE_T)n_bytes, MEM_DECOMMIT);
    VirtualAlloc(first, (SIZE_T)n_bytes, MEM_COMMIT, PAGE_READWRITE);
}

#else
#include <sys/mman.h>

void *os_pages_reserve(uint64_t n_bytes)
{
    uint64_t with_slack;
    if (!checked_add(n_bytes, LARGE_PAGE_BYTES, &with_slack) || with_slack > SIZE_MAX)
        return NULL;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
    flags |= MAP_NORESERVE;
#endif
    char *base = mmap(NULL, (size_t)with_slack, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    const uint64_t before = (LARGE_PAGE_BYTES - (uintptr_t)base % LARGE_PAGE_BYTES) % LARGE_PAGE_BYTES;
    if (before != 0)
        munmap(base, (size_t)before);
    if (before != LARGE_PAGE_BYTES)
        munmap(base + before + n_bytes, (size_t)(LARGE_PAGE_BYTES - before));
#if defined(MADV_HUGEPAGE)
    madvise(base + before, (size_t)n_bytes, MADV_HUGEPAGE);
#endif
    return base + before;
}

void os_pages_free(void *pages, uint64_t n_bytes)
{
    if (pages != NULL)
        munmap(pages, (size_t)n_bytes);
}

void os_pages_discard(void *first, uint64_t n_bytes)
{
#if defined(__APPLE__)
    madvise(first, (size_t)n_bytes, MADV_FREE);
#else
    madvise(first, (size_t)n_bytes, MADV_DONTNEED);
#endif
}

#endif
