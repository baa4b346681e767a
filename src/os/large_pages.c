#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // madvise
#endif
#include "os/large_pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#define LARGE_PAGE_BYTES (UINT64_C(2) << 20)

void os_prefer_large_pages(void *memory, uint64_t n_bytes)
{
#if defined(MADV_HUGEPAGE)
    const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t to_page = (page_bytes - (uintptr_t)memory % page_bytes) % page_bytes;
    if (n_bytes >= 2 * LARGE_PAGE_BYTES)
        (void)madvise((char *)memory + to_page, (size_t)(n_bytes - to_page), MADV_HUGEPAGE);
#else
    (void)memory;
    (void)n_bytes;
#endif
}
