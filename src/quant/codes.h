// What the quantizers of the block types share: rounding to codes, and blocks that cannot be represented.
//
// A block that holds a NaN or an infinity is written with a NaN scale and codes of zero, so it dequantizes to NaN
// throughout: it shows, and it cannot be taken for weights.
#ifndef CHORD_QUANT_CODES_H
#define CHORD_QUANT_CODES_H

#include "base/half.h"

#include <stdbool.h>
#include <stdint.h>

#define HALF_NAN 0x7e00u

static inline bool all_finite(const float *x, uint32_t n)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t magnitude = bits_from_float(x[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest < 0x7f800000u;
}

// x cut to an integer 0..max; anything that is not above 0 gives 0, a NaN included.
static inline uint8_t truncate_to_code(float x, uint8_t max)
{
    if (!(x > 0.0f))
        return 0;
    return x >= (float)max ? max : (uint8_t)x;
}

// x to the nearest integer, halves away from zero, cut to -max..max; a NaN gives 0.
static inline int8_t round_to_code(float x, int8_t max)
{
    if (!(x > (float)-max))
        return x <= (float)-max ? (int8_t)-max : 0;
    if (x >= (float)max)
        return max;
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole; // exact
    return (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
}

#endif
