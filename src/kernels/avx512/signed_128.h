// What the coded types (quant/coded.h) share whose codes are magnitudes with signs: 256 elements at a time, as two groups of
// activation_group_32. Signs are applied to the activations.
#ifndef CHORD_KERNELS_AVX512_SIGNED_128_H
#define CHORD_KERNELS_AVX512_SIGNED_128_H

#include "kernels/avx512/avx512.h"

#include <string.h>

// 128 elements in the order of activation_group_32: magnitudes of at most 127, bit e of the signs set where element e is negative.
// Lane l of the scales belongs to block l / 4; of types with one scale per block only d_low counts.
struct signed_128 {
    __m512i low, high;
    __mmask64 low_signs, high_signs;
    __m512 d_low, d_high;
};

// Both scales of types with one per block.
#define SIGNED_128(low, high, low_signs, high_signs, d) ((struct signed_128){low, high, low_signs, high_signs, d, d})

ALWAYS_INLINE struct signed_128 split_signs(__m512i low, __m512i high, __m512 d_low, __m512 d_high)
{
    return (struct signed_128){
        _mm512_abs_epi8(low), _mm512_abs_epi8(high), _mm512_movepi8_mask(low), _mm512_movepi8_mask(high), d_low, d_high,
    };
}

// The half of a block's scale in all lanes.
ALWAYS_INLINE __m512 scale_of_half(const uint8_t d[2])
{
    return _mm512_set1_ps(load_half(d));
}

// Byte first + b of `bytes` in the four lanes of block b (b 0..3).
ALWAYS_INLINE __m512i lanes_of_bytes(__m128i bytes, const int first)
{
    const __m512i at = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i index = _mm512_or_si512(_mm512_add_epi32(at, _mm512_set1_epi32(first)), _mm512_set1_epi32(-256));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), index);
}

// d * (2 * code + 1)
ALWAYS_INLINE __m512 odd_scales(__m512i codes, __m512 d)
{
    const __m512i odd = _mm512_add_epi32(_mm512_add_epi32(codes, codes), _mm512_set1_epi32(1));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(odd), d);
}

// sum + the products of one group. `halves`: two scales per block.
ALWAYS_INLINE __m512 add_signed_128(__m512 sum, struct signed_128 codes, const struct activation_group_32 *y,
                                    const bool halves)
{
    const __m512i zero = _mm512_setzero_si512();
    const __m512i y_low = _mm512_load_si512(y->low), y_high = _mm512_load_si512(y->high);
    const __m512i low = _mm512_mask_sub_epi8(y_low, codes.low_signs, zero, y_low);
    const __m512i high = _mm512_mask_sub_epi8(y_high, codes.high_signs, zero, y_high);
    const __m512 scale = _mm512_load_ps(y->scale);
    const __m512i dot = add_dot(zero, codes.low, low);
    if (!halves) {
        const __m512i both = add_dot(dot, codes.high, high);
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(both), _mm512_mul_ps(codes.d_low, scale), sum);
    }
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(codes.d_low, scale), sum);
    const __m512i upper = add_dot(zero, codes.high, high);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(upper), _mm512_mul_ps(codes.d_high, scale), sum);
}

// Defines matvec_<type> from
//     void codes_<type>(const struct block_<type> *x, struct signed_128 codes[2])
// which unpacks 256 elements. Of a row whose length is no multiple of 256 the last blocks are padded with zeros on the stack.
#define DEFINE_MATVEC_SIGNED_128(type, block_size, halves)                                                    \
    ALWAYS_INLINE void add_256_##type(const struct block_##type *x, uint64_t g, const uint32_t n_groups,      \
                                      const void *const *columns, const uint32_t n_columns,                   \
                                      __m512(*sums)[MATVEC_MAX_COLUMNS])                                      \
    {                                                                                                         \
        struct signed_128 codes[2];                                                                           \
        codes_##type(x, codes);                                                                               \
        for (uint32_t i = 0; i < n_groups; i++)                                                               \
            for (uint32_t c = 0; c < n_columns; c++) {                                                        \
                const struct activation_group_32 *y = (const struct activation_group_32 *)columns[c] + g + i; \
                sums[i][c] = add_signed_128(sums[i][c], codes[i], y, halves);                                 \
            }                                                                                                 \
    }                                                                                                         \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                 \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)               \
    {                                                                                                         \
        enum { N_BLOCKS = 256 / (block_size) };                                                               \
        const struct block_##type *x = (const struct block_##type *)row;                                      \
        __m512 sums[2][MATVEC_MAX_COLUMNS];                                                                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                              \
            sums[0][c] = sums[1][c] = _mm512_setzero_ps();                                                    \
        for (uint64_t i = 0; i < n / 256; i++, x += N_BLOCKS) {                                               \
            prefetch_stream(ahead, x, N_BLOCKS * sizeof *x);                                                  \
            add_256_##type(x, 2 * i, 2, columns, n_columns, sums);                                            \
        }                                                                                                     \
        if ((block_size) < 256 && n % 256 != 0) {                                                             \
            struct block_##type rest[N_BLOCKS];                                                               \
            memset(rest, 0, sizeof rest);                                                                     \
            memcpy(rest, x, n % 256 / (block_size) * sizeof *x);                                              \
            if (n % 256 <= 128)                                                                               \
                add_256_##type(rest, n / 256 * 2, 1, columns, n_columns, sums);                               \
            else                                                                                              \
                add_256_##type(rest, n / 256 * 2, 2, columns, n_columns, sums);                               \
        }                                                                                                     \
        for (uint32_t c = 0; c < n_columns; c++)                                                              \
            dots[c] = _mm512_reduce_add_ps(_mm512_add_ps(sums[0][c], sums[1][c]));                            \
    }                                                                                                         \
    DEFINE_MATVEC(type)

#endif
