// What F32, F16 and BF16 share: 64 elements per step in four sums, the tail by masked loads. The activations are padded
// with zeros to a multiple of 16.
#ifndef CHORD_KERNELS_AVX512_FLOATS_H
#define CHORD_KERNELS_AVX512_FLOATS_H

#include "kernels/avx512/avx512.h"

// Defines the matvec of a float type from
//     __m512 load_<type>(const uint8_t *p)                       16 elements
//     __m512 load_<type>_tail(const uint8_t *p, __mmask16 lanes) the first of them, zeros for the rest
#define DEFINE_MATVEC_FLOAT(type)                                                                             \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                 \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)               \
    {                                                                                                         \
        const uint64_t element = sizeof(struct block_##type);                                                 \
        __m512 sums[MATVEC_MAX_COLUMNS][4];                                                                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                              \
            for (int k = 0; k < 4; k++)                                                                       \
                sums[c][k] = _mm512_setzero_ps();                                                             \
        uint64_t i = 0;                                                                                       \
        for (; i + 64 <= n; i += 64) {                                                                        \
            prefetch_stream(ahead, row + i * element, 64 * sizeof(struct block_##type));                      \
            __m512 w[4];                                                                                      \
            for (uint64_t k = 0; k < 4; k++)                                                                  \
                w[k] = load_##type(row + (i + 16 * k) * element);                                             \
            for (uint32_t c = 0; c < n_columns; c++) {                                                        \
                const float *y = (const float *)columns[c] + i;                                               \
                for (int k = 0; k < 4; k++)                                                                   \
                    sums[c][k] = _mm512_fmadd_ps(w[k], _mm512_load_ps(y + 16 * k), sums[c][k]);               \
            }                                                                                                 \
        }                                                                                                     \
        for (; i < n; i += 16) {                                                                              \
            const __m512 w = load_##type##_tail(row + i * element, first_lanes_16(n - i));                    \
            for (uint32_t c = 0; c < n_columns; c++)                                                          \
                sums[c][0] = _mm512_fmadd_ps(w, _mm512_load_ps((const float *)columns[c] + i), sums[c][0]);   \
        }                                                                                                     \
        for (uint32_t c = 0; c < n_columns; c++)                                                              \
            dots[c] = _mm512_reduce_add_ps(                                                                   \
                _mm512_add_ps(_mm512_add_ps(sums[c][0], sums[c][1]), _mm512_add_ps(sums[c][2], sums[c][3]))); \
    }                                                                                                         \
    DEFINE_MATVEC(type)

#endif
