// What the kernels of types with 32-element blocks share: four blocks per step, the group of activation_group_32, whose
// four sums end up in one register.
#ifndef CHORD_KERNELS_NEON_BLOCKS_32_H
#define CHORD_KERNELS_NEON_BLOCKS_32_H

#include "kernels/neon/gemm_panel.h"

// One block: codes of elements 0..15 and 16..31.
struct codes_32 {
    int8x16_t low, high;
};

// 16 bytes: low nibbles are elements 0..15, high ones 16..31.
ALWAYS_INLINE struct codes_32 nibbles(const uint8_t qs[16])
{
    const uint8x16_t bytes = vld1q_u8(qs);
    return (struct codes_32){
        .low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))),
        .high = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)),
    };
}

// Nibbles with bit e of qh as fifth bit of element e, less 16: where the bit is not set, ones above the nibble.
ALWAYS_INLINE struct codes_32 five_bits_less_16(const uint8_t qs[16], const uint8_t qh[4])
{
    const uint8x16_t spread = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    uint32_t word;
    memcpy(&word, qh, sizeof word);
    const uint8x16_t unset = vmvnq_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)));
    const uint8x16_t low = vtstq_u8(vqtbl1q_u8(unset, spread), bit);
    const uint8x16_t high = vtstq_u8(vqtbl1q_u8(unset, vorrq_u8(spread, vdupq_n_u8(2))), bit);
    const struct codes_32 four = nibbles(qs);
    return (struct codes_32){
        .low = vsliq_n_s8(four.low, vreinterpretq_s8_u8(low), 4),
        .high = vsliq_n_s8(four.high, vreinterpretq_s8_u8(high), 4),
    };
}

enum codes_kind {
    CODES_SMALL, // of magnitude below 64
    CODES_ANY,
};

// The sums of codes times activations, one block to a lane.
ALWAYS_INLINE int32x4_t dot_blocks(const struct codes_32 codes[4], const struct activation_group_32 *y,
                                   const enum codes_kind kind)
{
    int32x4_t dots[4];
    UNROLL
    for (int b = 0; b < 4; b++) {
        const int8x16_t y0 = vld1q_s8(y->q[b]), y1 = vld1q_s8(y->q[b] + 16);
        dots[b] = kind == CODES_SMALL ? dot_32_small(codes[b].low, codes[b].high, y0, y1)
                                      : add_dot_16(add_dot_16(vdupq_n_s32(0), codes[b].low, y0), codes[b].high, y1);
    }
    return vpaddq_s32(vpaddq_s32(dots[0], dots[1]), vpaddq_s32(dots[2], dots[3]));
}

// Defines dot_<type> and matvec_<type> of the tier from `struct codes_32 codes_<type>(const struct block_<type> *)`.
// zero: the codes' zero point. min_at: where a block's m is, 0 for types without. A last group of fewer than four blocks
// is padded with zeros on the stack.
#define DEFINE_MATVEC_32(type, kind, zero, min_at)                                                         \
    ALWAYS_INLINE void add_group_##type(float32x4_t *sums, const struct block_##type *x, uint64_t group,   \
                                        const void *const *columns, const uint32_t n_columns)              \
    {                                                                                                      \
        struct codes_32 codes[4];                                                                          \
        UNROLL                                                                                             \
        for (int b = 0; b < 4; b++)                                                                        \
            codes[b] = codes_##type(x + b);                                                                \
        const float32x4_t d = load_4_halves(x->d, sizeof *x);                                              \
        const float32x4_t m = (min_at) != 0 ? load_4_halves((const uint8_t *)x + (min_at), sizeof *x) : d; \
        UNROLL                                                                                             \
        for (uint32_t c = 0; c < n_columns; c++) {                                                         \
            const struct activation_group_32 *y = (const struct activation_group_32 *)columns[c] + group;  \
            const int32x4_t of_codes = vld1q_s32(y->sum);                                                  \
            const float32x4_t scale = vld1q_f32(y->scale);                                                 \
            int32x4_t products = dot_blocks(codes, y, kind);                                               \
            if ((zero) != 0)                                                                               \
                products = vmlsq_n_s32(products, of_codes, zero);                                          \
            if ((min_at) != 0)                                                                             \
                sums[c] = vfmaq_f32(sums[c], vcvtq_f32_s32(of_codes), vmulq_f32(m, scale));                \
            sums[c] = vfmaq_f32(sums[c], vcvtq_f32_s32(products), vmulq_f32(d, scale));                    \
        }                                                                                                  \
    }                                                                                                      \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,              \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)            \
    {                                                                                                      \
        const struct block_##type *x = (const struct block_##type *)row;                                   \
        const uint64_t n_groups = n / 128;                                                                 \
        const uint64_t n_rest = n / 32 % 4;                                                                \
        float32x4_t sums[MATVEC_MAX_COLUMNS];                                                              \
        for (uint32_t c = 0; c < n_columns; c++)                                                           \
            sums[c] = vdupq_n_f32(0.0f);                                                                   \
        for (uint64_t g = 0; g < n_groups; g++, x += 4) {                                                  \
            if (g % 2 == 0)                                                                                \
                prefetch_stream(ahead, x, 8 * sizeof *x);                                                  \
            add_group_##type(sums, x, g, columns, n_columns);                                              \
        }                                                                                                  \
        if (n_rest != 0) {                                                                                 \
            struct block_##type rest[4];                                                                   \
            memset(rest, 0, sizeof rest);                                                                  \
            memcpy(rest, x, n_rest * sizeof *x);                                                           \
            add_group_##type(sums, rest, n_groups, columns, n_columns);                                    \
        }                                                                                                  \
        for (uint32_t c = 0; c < n_columns; c++)                                                           \
            dots[c] = vaddvq_f32(sums[c]);                                                                 \
    }                                                                                                      \
    DEFINE_MATVEC(type)

// Defines the tier's gemm_<type> from the same.
#define DEFINE_GEMM_32(type, zero, min_at)                                                                       \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row) \
    {                                                                                                            \
        for (uint32_t b = 0; b < n_blocks; b++, x++) {                                                           \
            const struct codes_32 codes = codes_##type(x);                                                       \
            vst1q_s8(row->codes + 32 * b, vsubq_s8(codes.low, vdupq_n_s8(zero)));                                \
            vst1q_s8(row->codes + 32 * b + 16, vsubq_s8(codes.high, vdupq_n_s8(zero)));                          \
            row->params[b] = bits_from_float(load_half(x->d));                                                   \
            if ((min_at) != 0)                                                                                   \
                row->params[8 + b] = bits_from_float(load_half((const uint8_t *)x + (min_at)));                  \
        }                                                                                                        \
    }                                                                                                            \
    DEFINE_GEMM(type, (min_at) != 0 ? PANEL_BLOCKS_32_MIN : PANEL_BLOCKS_32, 32)

#endif
