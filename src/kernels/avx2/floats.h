// What F32, F16 and BF16 share: 32 elements per step in four sums. The activations are padded with zeros to a multiple of
// 16, a last step of fewer than 8 weights is padded on the stack.
#ifndef CHORD_KERNELS_AVX2_FLOATS_H
#define CHORD_KERNELS_AVX2_FLOATS_H

#include "kernels/avx2/avx2.h"

// Defines the matvec of a float type from `__m256 load_<type>(const uint8_t *p)`, 8 elements.
#define DEFINE_MATVEC_FLOAT(type)                                                                              \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                  \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                \
    {                                                                                                          \
        const uint64_t element = sizeof(struct block_##type);                                                  \
        __m256 sums[MATVEC_MAX_COLUMNS][4];                                                                    \
        for (uint32_t c = 0; c < n_columns; c++)                                                               \
            for (int k = 0; k < 4; k++)                                                                        \
                sums[c][k] = _mm256_setzero_ps();                                                              \
        uint64_t i = 0;                                                                                        \
        for (; i + 32 <= n; i += 32) {                                                                         \
            prefetch_stream(ahead, row + i * element, 32 * sizeof(struct block_##type));                       \
            for (uint64_t k = 0; k < 4; k++) {                                                                 \
                const __m256 w = load_##type(row + (i + 8 * k) * element);                                     \
                for (uint32_t c = 0; c < n_columns; c++)                                                       \
                    sums[c][k] =                                                                               \
                        _mm256_fmadd_ps(w, _mm256_load_ps((const float *)columns[c] + i + 8 * k), sums[c][k]); \
            }                                                                                                  \
        }                                                                                                      \
        for (; i < n; i += 8) {                                                                                \
            uint8_t rest[8 * sizeof(struct block_##type)];                                                     \
            memset(rest, 0, sizeof rest);                                                                      \
            memcpy(rest, row + i * element, (n - i < 8 ? n - i : 8) * element);                                \
            const __m256 w = load_##type(rest);                                                                \
            for (uint32_t c = 0; c < n_columns; c++)                                                           \
                sums[c][0] = _mm256_fmadd_ps(w, _mm256_load_ps((const float *)columns[c] + i), sums[c][0]);    \
        }                                                                                                      \
        for (uint32_t c = 0; c < n_columns; c++)                                                               \
            dots[c] = sum_of_lanes(                                                                            \
                _mm256_add_ps(_mm256_add_ps(sums[c][0], sums[c][1]), _mm256_add_ps(sums[c][2], sums[c][3])));  \
    }                                                                                                          \
    DEFINE_MATVEC(type)

#endif
