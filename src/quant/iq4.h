// What IQ4_NL and IQ4_XS share: 32 nibbles that choose from a table, and the search for their scale.
#ifndef CHORD_QUANT_IQ4_H
#define CHORD_QUANT_IQ4_H

#include "quant/codebooks.h"
#include "quant/coded.h"
#include "quant/lanes.h"

#include <math.h>

static const int8_t iq4_table[16] = CODES_IQ4;

static inline void iq4_unpack_32(const uint8_t qs[16], int8_t q[32])
{
    for (int j = 0; j < 16; j++) {
        q[j] = iq4_table[qs[j] & 15];
        q[j + 16] = iq4_table[qs[j] >> 4];
    }
}

static inline void iq4_pack_32(const uint8_t q[32], uint8_t qs[16])
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)(q[j] | q[j + 16] << 4);
}

// The code whose step is nearest to x, the lower one of two as near.
static inline uint8_t iq4_nearest(double x)
{
    uint8_t code = 0;
    while (code < 15 && x > 0.5 * (iq4_table[code] + iq4_table[code + 1]))
        code++;
    return code;
}

static inline void iq4_choose_codes(const float x[32], double scale, uint8_t q[32])
{
    for (int e = 0; e < 32; e++)
        q[e] = iq4_nearest(scale != 0.0 ? (double)x[e] / scale : 0.0);
}

// The steps of iq4_table nearest to x, the lower one of two as near, four values at once.
static inline f32x4 iq4_nearest_steps(f32x4 x)
{
    f32x4 steps = lanes_of(iq4_table[0]);
    for (int code = 0; code < 15; code++) {
        const i32x4 above = x > 0.5f * (float)(iq4_table[code] + iq4_table[code + 1]);
        steps += (f32x4)((i32x4)lanes_of((float)(iq4_table[code + 1] - iq4_table[code])) & above);
    }
    return steps;
}

// The scale of 32 finite values, of either sign; 0 when they are all zero. `weights` of their squared errors: [32], or NULL, which
// counts them alike, and, as a constant, leaves the inner loop without them.
static inline __attribute__((always_inline)) double iq4_search_scale(const float x[32], const float *weights)
{
    double largest = 0.0;
    double best = 0.0;
    double best_gain = 0.0; // by how much the squared error is less than that of zeros
    for (int e = 0; e < 32; e++)
        largest = fabs((double)x[e]) > fabs(largest) ? (double)x[e] : largest;
    if (largest == 0.0)
        return 0.0;
    // Brought near 1, so that no product leaves the range of floats.
    const double unit = ldexp(1.0, -ilogb(largest));
    f32x4 values[8], weight[8];
    for (int e = 0; e < 32; e++) {
        values[e / 4][e % 4] = (float)((double)x[e] * unit);
        weight[e / 4][e % 4] = weights != NULL ? weights[e] : 1.0f;
    }
    for (int i = -24; i <= 24; i++) {
        const float inverse = (float)((i % 2 == 0 ? -127.0 - i : 113.0 + i) / (largest * unit));
        f32x4 product = lanes_of(0.0f), square = product;
        for (int v = 0; v < 8; v++) {
            const f32x4 steps = iq4_nearest_steps(values[v] * inverse);
            const f32x4 weighted = weights != NULL ? weight[v] * steps : steps;
            product += values[v] * weighted;
            square += steps * weighted;
        }
        const double products = (double)lanes_sum(product), squares = (double)lanes_sum(square);
        if (products * products > best_gain * squares) {
            best_gain = products * products / squares;
            best = products / squares;
        }
    }
    return best / unit;
}

#endif
