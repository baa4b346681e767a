// What the kernels of the K-quants share: super-blocks of 256, 16 codes to a register, integer sums over a super-block.
#ifndef CHORD_KERNELS_NEON_SUPER_BLOCKS_H
#define CHORD_KERNELS_NEON_SUPER_BLOCKS_H

#include "kernels/neon/gemm_panel.h"

// The integers of one super-block's sub-blocks, 8 of 32 or 16 of 16.
struct scales {
    int32x4_t scale[4];
    int16x8_t
        side[2]; // what multiplies the sums of activations: mins, or the scales again where codes have a zero point
};

// ---- Q4_K, Q5_K: 8 sub-blocks of 32 with 6-bit scales and mins ---------------------------------------------------------

ALWAYS_INLINE int16x8_t widen(uint32_t low, uint32_t high)
{
    return vreinterpretq_s16_u16(vmovl_u8(vcreate_u8((uint64_t)high << 32 | low)));
}

ALWAYS_INLINE struct scales load_scales_32(const uint8_t bytes[12])
{
    uint32_t u[3];
    memcpy(u, bytes, sizeof u);
    const int16x8_t scales = widen(u[0] & 0x3f3f3f3fu, (u[2] & 0x0f0f0f0fu) | (u[0] >> 6 & 0x03030303u) << 4);
    const int16x8_t mins = widen(u[1] & 0x3f3f3f3fu, (u[2] >> 4 & 0x0f0f0f0fu) | (u[1] >> 6 & 0x03030303u) << 4);
    return (struct scales){
        .scale = {vmovl_s16(vget_low_s16(scales)), vmovl_high_s16(scales)},
        .side = {mins},
    };
}

// ---- Q2_K, Q3_K, Q6_K: 16 sub-blocks of 16 -----------------------------------------------------------------------------

ALWAYS_INLINE struct scales spread_scales_16(int8x16_t scales, int8x16_t side)
{
    const int16x8_t first = vmovl_s8(vget_low_s8(scales)), second = vmovl_high_s8(scales);
    return (struct scales){
        .scale = {vmovl_s16(vget_low_s16(first)), vmovl_high_s16(first), vmovl_s16(vget_low_s16(second)),
                  vmovl_high_s16(second)},
        .side = {vmovl_s8(vget_low_s8(side)), vmovl_high_s8(side)},
    };
}

// ---- sums ------------------------------------------------------------------------------------------------------------

ALWAYS_INLINE int32x4_t add_pairs(int32x4_t sum, int16x8_t a, const int16_t *b)
{
    const int16x8_t v = vld1q_s16(b);
    return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(a), vget_low_s16(v)), a, v);
}

// Sum over sub-blocks of side * sum(q), spread over 4 lanes.
ALWAYS_INLINE int32x4_t side_sums(const struct scales *s, const struct activation_block_256 *y, const int sub_block)
{
    const int32x4_t none = vdupq_n_s32(0);
    if (sub_block == 32)
        return add_pairs(none, s->side[0], y->sums_32);
    return add_pairs(add_pairs(none, s->side[0], y->sums_16), s->side[1], y->sums_16 + 8);
}

// Defines dot_<type> and matvec_<type> of the tier from
//     int8x16_t codes_<type>(const struct block_<type> *, int v)          elements 16v..16v+15, unsigned
//     struct scales scales_<type>(const struct block_<type> *)
// sub_block: 16 or 32 elements. zero: the codes' zero point. min_at: where a block's dmin is, 0 for types without.
#define DEFINE_MATVEC_256(type, sub_block, zero, min_at)                                                        \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                   \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                 \
    {                                                                                                           \
        const struct block_##type *x = (const struct block_##type *)row;                                        \
        float32x4_t sums[MATVEC_MAX_COLUMNS];                                                                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                                \
            sums[c] = vdupq_n_f32(0.0f);                                                                        \
        for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {                                                   \
            const struct activation_block_256 *y[MATVEC_MAX_COLUMNS];                                           \
            int32x4_t products[MATVEC_MAX_COLUMNS];                                                             \
            prefetch_stream(ahead, x, sizeof *x);                                                               \
            UNROLL                                                                                              \
            for (uint32_t c = 0; c < n_columns; c++) {                                                          \
                y[c] = (const struct activation_block_256 *)columns[c] + b;                                     \
                products[c] = vdupq_n_s32(0);                                                                   \
            }                                                                                                   \
            const struct scales s = scales_##type(x);                                                           \
            UNROLL                                                                                              \
            for (int j = 0; j < SUPER_BLOCK / (sub_block); j++) {                                               \
                const int8x16_t q0 = codes_##type(x, (sub_block) / 16 * j);                                     \
                const int8x16_t q1 = (sub_block) == 32 ? codes_##type(x, 2 * j + 1) : q0;                       \
                UNROLL                                                                                          \
                for (uint32_t c = 0; c < n_columns; c++) {                                                      \
                    const int8_t *q = y[c]->q + (sub_block)*j;                                                  \
                    const int32x4_t dot = (sub_block) == 32                                                     \
                                              ? dot_32_small(q0, q1, vld1q_s8(q), vld1q_s8(q + (sub_block)-16)) \
                                              : add_dot_16(vdupq_n_s32(0), q0, vld1q_s8(q));                    \
                    products[c] = add_scaled(products[c], dot, s.scale[j / 4], j % 4);                          \
                }                                                                                               \
            }                                                                                                   \
            const float d = load_half(x->d);                                                                    \
            const float dmin = (min_at) != 0 ? load_half((const uint8_t *)x + (min_at)) : 0.0f;                 \
            UNROLL                                                                                              \
            for (uint32_t c = 0; c < n_columns; c++) {                                                          \
                const int32x4_t side = side_sums(&s, y[c], sub_block);                                          \
                if ((zero) != 0)                                                                                \
                    products[c] = vmlsq_n_s32(products[c], side, zero);                                         \
                sums[c] = vfmaq_n_f32(sums[c], vcvtq_f32_s32(products[c]), d * y[c]->scale);                    \
                if ((min_at) != 0)                                                                              \
                    sums[c] = vfmsq_n_f32(sums[c], vcvtq_f32_s32(side), dmin * y[c]->scale);                    \
            }                                                                                                   \
        }                                                                                                       \
        for (uint32_t c = 0; c < n_columns; c++)                                                                \
            dots[c] = vaddvq_f32(sums[c]);                                                                      \
    }                                                                                                           \
    DEFINE_MATVEC(type)

// Defines the tier's gemm_<type> from the same.
#define DEFINE_GEMM_256(type, kind, sub_block, zero, min_at)                                                     \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row) \
    {                                                                                                            \
        (void)n_blocks; /* 1 */                                                                                  \
        UNROLL                                                                                                   \
        for (int v = 0; v < 16; v++)                                                                             \
            vst1q_s8(row->codes + 16 * v, vsubq_s8(codes_##type(x, v), vdupq_n_s8(zero)));                       \
        const struct scales s = scales_##type(x);                                                                \
        for (int i = 0; i < SUPER_BLOCK / (sub_block) / 4; i++)                                                  \
            vst1q_u32(row->params + 4 * i, vreinterpretq_u32_s32(s.scale[i]));                                   \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                                 \
        if ((min_at) != 0) {                                                                                     \
            row->params[PARAM_DMIN] = bits_from_float(-load_half((const uint8_t *)x + (min_at)));                \
            vst1_s8(row->mins, vmovn_s16(s.side[0]));                                                            \
            vst1_s8(row->mins + 8, vmovn_s16(s.side[(sub_block) == 16]));                                        \
        }                                                                                                        \
    }                                                                                                            \
    DEFINE_GEMM(type, kind, 256)

#endif
