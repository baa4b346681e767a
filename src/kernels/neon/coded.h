// What the kernels of the coded types share (quant/coded.h): 32 signed codes at a time, with a scale for each half.
#ifndef CHORD_KERNELS_NEON_CODED_H
#define CHORD_KERNELS_NEON_CODED_H

#include "kernels/neon/blocks_32.h"
#include "quant/codebooks.h"
#include "quant/coded.h"

struct signed_codes {
    struct codes_32 q;
    float low, high;
};

// sum + the products of block i of 32.
ALWAYS_INLINE float32x4_t add_signed(float32x4_t sum, const struct signed_codes *codes, const void *column, uint64_t i,
                                     const bool halves)
{
    const struct activation_group_32 *y = (const struct activation_group_32 *)column + i / 4;
    const int8x16_t y0 = vld1q_s8(y->q[i % 4]), y1 = vld1q_s8(y->q[i % 4] + 16);
    const float scale = y->scale[i % 4];
    const int32x4_t low = add_dot_16(vdupq_n_s32(0), codes->q.low, y0);
    if (!halves)
        return vfmaq_n_f32(sum, vcvtq_f32_s32(add_dot_16(low, codes->q.high, y1)), codes->low * scale);
    const int32x4_t high = add_dot_16(vdupq_n_s32(0), codes->q.high, y1);
    sum = vfmaq_n_f32(sum, vcvtq_f32_s32(low), codes->low * scale);
    return vfmaq_n_f32(sum, vcvtq_f32_s32(high), codes->high * scale);
}

// Defines dot_<type> and matvec_<type> of the tier from
//     void signed_<type>(const struct block_<type> *x, uint32_t s, struct signed_codes *)
// elements 32 * s and up of a block.
#define DEFINE_MATVEC_SIGNED(type, block_size, halves)                                          \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,   \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots) \
    {                                                                                           \
        enum { PER_BLOCK = (block_size) / 32 };                                                 \
        const struct block_##type *x = (const struct block_##type *)row;                        \
        float32x4_t sums[MATVEC_MAX_COLUMNS];                                                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                \
            sums[c] = vdupq_n_f32(0.0f);                                                        \
        for (uint64_t i = 0; i < n / 32; i++) {                                                 \
            if (i % 8 == 0)                                                                     \
                prefetch_stream(ahead, x + i / PER_BLOCK, (256 / (block_size)) * sizeof *x);    \
            struct signed_codes codes;                                                          \
            signed_##type(x + i / PER_BLOCK, (uint32_t)(i % PER_BLOCK), &codes);                \
            for (uint32_t c = 0; c < n_columns; c++)                                            \
                sums[c] = add_signed(sums[c], &codes, columns[c], i, halves);                   \
        }                                                                                       \
        for (uint32_t c = 0; c < n_columns; c++)                                                \
            dots[c] = vaddvq_f32(sums[c]);                                                      \
    }                                                                                           \
    DEFINE_MATVEC(type)

// And gemm_<type>.
#define DEFINE_GEMM_SIGNED(type, block_size, halves)                                                             \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row) \
    {                                                                                                            \
        enum { PER_BLOCK = (block_size) / 32 };                                                                  \
        for (uint32_t i = 0; i < n_blocks * PER_BLOCK; i++) {                                                    \
            struct signed_codes codes;                                                                           \
            signed_##type(x + i / PER_BLOCK, i % PER_BLOCK, &codes);                                             \
            vst1q_s8(row->codes + 32 * i, codes.q.low);                                                          \
            vst1q_s8(row->codes + 32 * i + 16, codes.q.high);                                                    \
            row->params[(halves) ? 2 * i : i] = bits_from_float(codes.low);                                      \
            if (halves)                                                                                          \
                row->params[2 * i + 1] = bits_from_float(codes.high);                                            \
        }                                                                                                        \
    }                                                                                                            \
    DEFINE_GEMM(type, (halves) ? PANEL_HALVES_32 : PANEL_BLOCKS_32, block_size)

// Both from quant_unpack_<type>: for formats that no vector takes apart any faster to speak of.
#define DEFINE_KERNELS_UNPACKED(type, block_size, halves)                                                        \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                    \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                  \
    {                                                                                                            \
        const struct block_##type *x = (const struct block_##type *)row;                                         \
        float32x4_t sums[MATVEC_MAX_COLUMNS];                                                                    \
        for (uint32_t c = 0; c < n_columns; c++)                                                                 \
            sums[c] = vdupq_n_f32(0.0f);                                                                         \
        for (uint64_t k = 0; k < n; k += SUPER_BLOCK, x += SUPER_BLOCK / (block_size)) {                         \
            const uint32_t count = n - k < SUPER_BLOCK ? (uint32_t)(n - k) : SUPER_BLOCK;                        \
            struct coded_values values;                                                                          \
            prefetch_stream(ahead, x, SUPER_BLOCK / (block_size) * sizeof *x);                                   \
            quant_unpack_##type(x, count, &values);                                                              \
            for (uint32_t e = 0; e < count; e += 32) {                                                           \
                const struct signed_codes codes = {{vld1q_s8(values.q + e), vld1q_s8(values.q + e + 16)},        \
                                                   values.scale[e / 16],                                         \
                                                   values.scale[e / 16 + 1]};                                    \
                for (uint32_t c = 0; c < n_columns; c++)                                                         \
                    sums[c] = add_signed(sums[c], &codes, columns[c], (k + e) / 32, halves);                     \
            }                                                                                                    \
        }                                                                                                        \
        for (uint32_t c = 0; c < n_columns; c++)                                                                 \
            dots[c] = vaddvq_f32(sums[c]);                                                                       \
    }                                                                                                            \
    DEFINE_MATVEC(type)                                                                                          \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row) \
    {                                                                                                            \
        struct coded_values values;                                                                              \
        quant_unpack_##type(x, n_blocks *(block_size), &values);                                                 \
        memcpy(row->codes, values.q, n_blocks *(block_size));                                                    \
        for (uint32_t i = 0; i < n_blocks * ((block_size) / 32); i++) {                                          \
            row->params[(halves) ? 2 * i : i] = bits_from_float(values.scale[2 * i]);                            \
            if (halves)                                                                                          \
                row->params[2 * i + 1] = bits_from_float(values.scale[2 * i + 1]);                               \
        }                                                                                                        \
    }                                                                                                            \
    DEFINE_GEMM(type, (halves) ? PANEL_HALVES_32 : PANEL_BLOCKS_32, block_size)

#endif
