// What F32, F16 and BF16 share: 16 elements per step in four sums. The activations are padded with zeros to a multiple of
// 16, a last step of fewer than 4 weights is padded on the stack.
#ifndef CHORD_KERNELS_NEON_FLOATS_H
#define CHORD_KERNELS_NEON_FLOATS_H

#include "kernels/neon/neon.h"

// Defines the matvec of a float type from `float32x4_t load_<type>(const uint8_t *p)`, 4 elements.
#define DEFINE_MATVEC_FLOAT(type)                                                                                  \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                      \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                    \
    {                                                                                                              \
        const uint64_t element = sizeof(struct block_##type);                                                      \
        float32x4_t sums[MATVEC_MAX_COLUMNS][4];                                                                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            for (int k = 0; k < 4; k++)                                                                            \
                sums[c][k] = vdupq_n_f32(0.0f);                                                                    \
        uint64_t i = 0;                                                                                            \
        for (; i + 16 <= n; i += 16) {                                                                             \
            if (i % 32 == 0)                                                                                       \
                prefetch_stream(ahead, row + i * element, 32 * sizeof(struct block_##type));                       \
            UNROLL                                                                                                 \
            for (uint64_t k = 0; k < 4; k++) {                                                                     \
                const float32x4_t w = load_##type(row + (i + 4 * k) * element);                                    \
                UNROLL                                                                                             \
                for (uint32_t c = 0; c < n_columns; c++)                                                           \
                    sums[c][k] = vfmaq_f32(sums[c][k], w, vld1q_f32((const float *)columns[c] + i + 4 * k));       \
            }                                                                                                      \
        }                                                                                                          \
        for (; i < n; i += 4) {                                                                                    \
            uint8_t rest[4 * sizeof(struct block_##type)];                                                         \
            memset(rest, 0, sizeof rest);                                                                          \
            memcpy(rest, row + i * element, (n - i < 4 ? n - i : 4) * element);                                    \
            const float32x4_t w = load_##type(rest);                                                               \
            for (uint32_t c = 0; c < n_columns; c++)                                                               \
                sums[c][0] = vfmaq_f32(sums[c][0], w, vld1q_f32((const float *)columns[c] + i));                   \
        }                                                                                                          \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            dots[c] = vaddvq_f32(vaddq_f32(vaddq_f32(sums[c][0], sums[c][1]), vaddq_f32(sums[c][2], sums[c][3]))); \
    }                                                                                                              \
    DEFINE_MATVEC(type)

ALWAYS_INLINE float32x4_t load_f32(const uint8_t *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

ALWAYS_INLINE float32x4_t load_f16(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

ALWAYS_INLINE float32x4_t load_bf16(const uint8_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

#endif
