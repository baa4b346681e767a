// The scale of a block of activations by its largest magnitude, as quant/activation.c has it, for the vector tiers.
#ifndef CHORD_KERNELS_BLOCK_SCALE_H
#define CHORD_KERNELS_BLOCK_SCALE_H

#include "base/half.h"
#include "kernels/tier.h"
#include "quant/quant.h"

// `largest`: the bits of absmax. *inverse = 127 / absmax; returns absmax / 127. Special blocks: NaN for one with a NaN or
// infinity, 0 for one that counts as all zero; both with *inverse = 0 and the codes to be all zero.
ALWAYS_INLINE float block_scale(uint32_t largest, float *inverse)
{
    const float absmax = float_from_bits(largest);
    *inverse = 0.0f;
    if (largest >= 0x7f800000u)
        return float_from_bits(0x7fc00000u);
    if (absmax < ACTIVATION_ABSMAX_MIN)
        return 0.0f;
    *inverse = 127.0f / absmax;
    return absmax / 127.0f;
}

#endif
