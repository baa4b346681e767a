// Memory that is read from end to end comes faster from large pages than from small ones.
#ifndef CHORD_OS_LARGE_PAGES_H
#define CHORD_OS_LARGE_PAGES_H

#include <stdint.h>

// Asks for large pages behind memory that is the caller's and has not been touched yet. Nothing changes where the system
// has none, or n_bytes are too few for one.
void os_prefer_large_pages(void *memory, uint64_t n_bytes);

#endif
