// Memory by the page: large pages where the system has them, given back in parts.
#ifndef CHORD_OS_PAGES_H
#define CHORD_OS_PAGES_H

#include <stdint.h>

#define LARGE_PAGE_BYTES (UINT64_C(2) << 20)

// Address space for n_bytes, aligned to LARGE_PAGE_BYTES, zeroed, no memory behind it before it is touched. NULL: none.
void *os_pages_reserve(uint64_t n_bytes);
void os_pages_free(void *pages, uint64_t n_bytes); // NULL is fine

// Gives the memory behind whole 4096-byte pages back; they read as zero when touched again.
void os_pages_discard(void *first, uint64_t n_bytes);

#endif
