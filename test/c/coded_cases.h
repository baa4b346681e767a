// What the tests of quant and of the kernels need to know of the coded types' blocks (quant/coded.h): where their scales are.
#ifndef CHORD_TEST_CODED_CASES_H
#define CHORD_TEST_CODED_CASES_H

#include "quant/blocks.h"
#include "quant/coded.h"
#include "quant/quant.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool is_coded(uint32_t type)
{
    switch (type) {
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) case id:
        QUANT_CODED_TYPE_MAP(X)
#undef X
        return true;
    default:
        return false;
    }
}

static inline void unpack_coded(uint32_t type, const void *blocks, uint32_t n, struct coded_values *out)
{
    switch (type) {
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) \
    case id:                                                          \
        quant_unpack_##name(blocks, n, out);                          \
        break;
        QUANT_CODED_TYPE_MAP(X)
#undef X
    default:
        break;
    }
}

// The half d for which all values are integers.
static inline uint16_t coded_unit(uint32_t type)
{
    switch (type) {
    case QUANT_IQ1_S:
    case QUANT_IQ1_M:
    case QUANT_IQ2_XXS:
    case QUANT_IQ2_XS:
    case QUANT_IQ2_S:
    case QUANT_IQ3_XXS:
        return 0x4800; // 8
    default:
        return 0x3c00; // 1
    }
}

// Makes `half` the block's scale, or the nearest thing to it that the format has: a power of two, a float of 8 bits, no sign.
static inline void set_coded_scale(uint32_t type, uint8_t *block, uint16_t half)
{
    const int exponent = half >> 10 & 31;
    switch (type) {
    case QUANT_MXFP4:
        block[0] = (uint8_t)(exponent == 0 ? half & 1 : exponent + 113);
        break;
    case QUANT_NVFP4:
        for (int s = 0; s < 4; s++)
            block[s] = (uint8_t)(exponent < 8 ? half & 7 : exponent > 22 ? 126 : (exponent - 7) << 3 | (half >> 7 & 7));
        break;
    case QUANT_IQ1_M:
        for (int i = 0; i < 4; i++) {
            uint8_t *byte = block + offsetof(struct block_iq1_m, scales) + 2 * i + 1;
            *byte = (uint8_t)((*byte & 15) | (half >> 4 * i & 15) << 4);
        }
        break;
    case QUANT_TQ1_0:
        block_set_u16(block + offsetof(struct block_tq1_0, d), half);
        break;
    case QUANT_TQ2_0:
        block_set_u16(block + offsetof(struct block_tq2_0, d), half);
        break;
    default: // all others begin with it
        block_set_u16(block, half);
        break;
    }
}

// Cuts random sub-scales down, so that sums of integers stay below 2^24.
static inline void shrink_coded_scales(uint32_t type, uint8_t *block)
{
    switch (type) {
    case QUANT_IQ4_XS: { // -1 or 0
        struct block_iq4_xs *b = (struct block_iq4_xs *)block;
        uint16_t high = 0;
        for (int s = 0; s < 8; s++) {
            const int code = 31 + (b->scales_l[s / 2] >> 4 * (s % 2) & 1);
            high = (uint16_t)(high | code >> 4 << 2 * s);
            b->scales_l[s / 2] = (uint8_t)((b->scales_l[s / 2] & 15 << 4 * (1 - s % 2)) | (code & 15) << 4 * (s % 2));
        }
        block_set_u16(b->scales_h, high);
        break;
    }
    case QUANT_IQ2_XXS:
        for (int s = 0; s < 8; s++)
            ((struct block_iq2_xxs *)block)->qs[8 * s + 7] &= 0x1f;
        break;
    case QUANT_IQ2_XS:
        for (int s = 0; s < 8; s++)
            ((struct block_iq2_xs *)block)->scales[s] &= 0x11;
        break;
    case QUANT_IQ2_S:
        for (int s = 0; s < 8; s++)
            ((struct block_iq2_s *)block)->scales[s] &= 0x11;
        break;
    case QUANT_IQ3_XXS:
        for (int s = 0; s < 8; s++)
            ((struct block_iq3_xxs *)block)->signs_scales[4 * s + 3] &= 0x1f;
        break;
    case QUANT_IQ3_S:
        for (int s = 0; s < 4; s++)
            ((struct block_iq3_s *)block)->scales[s] &= 0x11;
        break;
    default:
        break;
    }
}

#endif
