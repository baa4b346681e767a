// CHORD_TEST_QUICK in the environment: fewer repetitions on the same paths, for sanitizers and emulators, which are slow.
#ifndef CHORD_TEST_QUICK_H
#define CHORD_TEST_QUICK_H

#include <stdbool.h>
#include <stdlib.h>

static inline bool quick(void)
{
    return getenv("CHORD_TEST_QUICK") != NULL;
}

#endif
