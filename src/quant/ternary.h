// The quantizer of TQ1_0 and TQ2_0: d = the largest magnitude, each value to the nearest of -d, 0, d (halves away from
// zero). A block with a NaN or an infinity gets a NaN scale.
#ifndef CHORD_QUANT_TERNARY_H
#define CHORD_QUANT_TERNARY_H

#include "quant/blocks.h"
#include "quant/codes.h"

#include <math.h>

// Returns d, a half; q[256] 0, 1, 2.
static inline uint16_t ternary_quantize(const float x[SUPER_BLOCK], uint8_t q[SUPER_BLOCK])
{
    const bool finite = all_finite(x, SUPER_BLOCK);
    float absmax = 0.0f;
    for (int e = 0; e < SUPER_BLOCK; e++)
        absmax = finite && fabsf(x[e]) > absmax ? fabsf(x[e]) : absmax;
    const float inverse = absmax > 0.0f ? 1.0f / absmax : 0.0f;
    for (int e = 0; e < SUPER_BLOCK; e++) {
        const float quotient = finite && inverse < INFINITY ? x[e] * inverse : 0.0f;
        q[e] = (uint8_t)(1 + (quotient >= 0.5f) - (quotient <= -0.5f));
    }
    return finite ? half_from_float(absmax < 65504.0f ? absmax : 65504.0f) : HALF_NAN;
}

#endif
