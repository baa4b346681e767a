// What the fuzz targets share.
#ifndef CHORD_FUZZ_TARGET_H
#define CHORD_FUZZ_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// What libFuzzer calls with each input; 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// Ends the process, which libFuzzer reports with the input.
static inline void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

// The same, of a condition that says it itself.
#define REQUIRE(holds) require(holds, #holds)

#endif
