// TQ1_0 and TQ2_0: one scale per 256.
#include "kernels/neon/gemm_panel.h"
#include "quant/coded.h"

// Codes -1 .. 2 of elements 16v .. 16v + 15.
ALWAYS_INLINE void codes_tq2_0(const struct block_tq2_0 *x, int8x16_t q[16])
{
    UNROLL
    for (int v = 0; v < 16; v++) {
        const uint8x16_t bytes = vld1q_u8(x->qs + 32 * (v / 8) + 16 * (v % 2));
        q[v] = vsubq_s8(vreinterpretq_s8_u8(move_bits(bytes, 2 * (v / 2 % 4), 0, 3)), vdupq_n_s8(1));
    }
}

// The first ternary digit of each byte, less 1: 86 is the first byte of digit 1, 171 of digit 2.
ALWAYS_INLINE int8x16_t first_digits(uint8x16_t bytes)
{
    const uint8x16_t one = vcgeq_u8(bytes, vdupq_n_u8(86)), two = vcgeq_u8(bytes, vdupq_n_u8(171));
    return vsubq_s8(vdupq_n_s8(-1), vreinterpretq_s8_u8(vaddq_u8(one, two)));
}

ALWAYS_INLINE uint8x16_t thrice(uint8x16_t bytes)
{
    return vaddq_u8(bytes, vaddq_u8(bytes, bytes));
}

// quant/tq1_0.c
ALWAYS_INLINE void codes_tq1_0(const struct block_tq1_0 *x, int8x16_t q[16])
{
    uint8x16_t a = vld1q_u8(x->qs), b = vld1q_u8(x->qs + 16), c = vld1q_u8(x->qs + 32);
    const uint8x16_t h0 = vreinterpretq_u8_u32(vdupq_n_u32(block_u32(x->qh)));
    const uint8x16_t h1 = thrice(h0), h2 = thrice(h1), h3 = thrice(h2);
    UNROLL
    for (int k = 0; k < 5; k++) {
        q[2 * k] = first_digits(a);
        q[2 * k + 1] = first_digits(b);
        q[10 + k] = first_digits(c);
        a = thrice(a);
        b = thrice(b);
        c = thrice(c);
    }
    const uint32x4_t h01 = vzip1q_u32(vreinterpretq_u32_u8(h0), vreinterpretq_u32_u8(h1));
    const uint32x4_t h23 = vzip1q_u32(vreinterpretq_u32_u8(h2), vreinterpretq_u32_u8(h3));
    const uint64x2_t h = vzip1q_u64(vreinterpretq_u64_u32(h01), vreinterpretq_u64_u32(h23));
    q[15] = first_digits(vreinterpretq_u8_u64(h));
}

#define DEFINE_TERNARY(type)                                                                                       \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                      \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                    \
    {                                                                                                              \
        const struct block_##type *x = (const struct block_##type *)row;                                           \
        float32x4_t sums[MATVEC_MAX_COLUMNS];                                                                      \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            sums[c] = vdupq_n_f32(0.0f);                                                                           \
        for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {                                                      \
            prefetch_stream(ahead, x, sizeof *x);                                                                  \
            int8x16_t q[16];                                                                                       \
            codes_##type(x, q);                                                                                    \
            const float d = load_half(x->d);                                                                       \
            for (uint32_t c = 0; c < n_columns; c++) {                                                             \
                const struct activation_block_256 *y = (const struct activation_block_256 *)columns[c] + b;        \
                int32x4_t dot = vdupq_n_s32(0);                                                                    \
                UNROLL                                                                                             \
                for (int v = 0; v < 16; v += 2)                                                                    \
                    dot = vaddq_s32(                                                                               \
                        dot, dot_32_small(q[v], q[v + 1], vld1q_s8(y->q + 16 * v), vld1q_s8(y->q + 16 * v + 16))); \
                sums[c] = vfmaq_n_f32(sums[c], vcvtq_f32_s32(dot), d * y->scale);                                  \
            }                                                                                                      \
        }                                                                                                          \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            dots[c] = vaddvq_f32(sums[c]);                                                                         \
    }                                                                                                              \
    DEFINE_MATVEC(type)                                                                                            \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row)   \
    {                                                                                                              \
        int8x16_t q[16];                                                                                           \
        (void)n_blocks; /* 1 */                                                                                    \
        codes_##type(x, q);                                                                                        \
        for (int v = 0; v < 16; v++) {                                                                             \
            vst1q_s8(row->codes + 16 * v, q[v]);                                                                   \
            row->params[v] = 1;                                                                                    \
        }                                                                                                          \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                                   \
    }                                                                                                              \
    DEFINE_GEMM(type, PANEL_SUPER_16, 256)

DEFINE_TERNARY(tq1_0)
DEFINE_TERNARY(tq2_0)
