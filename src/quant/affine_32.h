// What Q4_K and Q5_K share: super-blocks of 8 sub-blocks of 32 with 6-bit scales and mins, w = d * scale * q - dmin * min.
// Of a block: its halves d and dmin, its 12 bytes of scales (blocks.h: q4_k_scale_min) and its unpacked codes.
#ifndef CHORD_QUANT_AFFINE_32_H
#define CHORD_QUANT_AFFINE_32_H

#include "quant/blocks.h"
#include "quant/quant.h"

static inline void affine_32_dequantize(const uint8_t d[2], const uint8_t dmin[2], const uint8_t scales[12],
                                        const uint8_t q[SUPER_BLOCK], float out[SUPER_BLOCK])
{
    for (int s = 0; s < 8; s++) {
        int32_t scale, min;
        q4_k_scale_min(scales, s, &scale, &min);
        const float sub_scale = block_half(d) * (float)scale;
        const float sub_min = block_half(dmin) * (float)min;
        for (int e = 32 * s; e < 32 * s + 32; e++)
            out[e] = sub_scale * (float)q[e] - sub_min;
    }
}

// What the super-block adds to a dot product; ysum is the sum of a sub-block's y.q (two of y.sums):
//   y.scale * (d * float(sum over s of scale[s] * dot(q, y.q)) - dmin * float(sum over s of min[s] * ysum[s]))
// Both integer sums fit in 32 bits (at most 8 * 63 * 32 * 31 * 127).
static inline float affine_32_dot(const uint8_t d[2], const uint8_t dmin[2], const uint8_t scales[12],
                                  const uint8_t q[SUPER_BLOCK], const struct activation_q8_256 *y)
{
    int32_t sum = 0;
    int32_t min_sum = 0;
    for (int s = 0; s < 8; s++) {
        int32_t scale, min;
        q4_k_scale_min(scales, s, &scale, &min);
        int32_t dot = 0;
        for (int e = 32 * s; e < 32 * s + 32; e++)
            dot += q[e] * y->q[e];
        sum += scale * dot;
        min_sum += min * (y->sums[2 * s] + y->sums[2 * s + 1]);
    }
    return y->scale * (block_half(d) * (float)sum - block_half(dmin) * (float)min_sum);
}

#endif
