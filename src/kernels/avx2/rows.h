// Activations of one scale per row and the codes of I2_S by 256-bit registers, for the tiers of this folder, avx512 and amx.
#ifndef CHORD_KERNELS_AVX2_ROWS_H
#define CHORD_KERNELS_AVX2_ROWS_H

#include "base/half.h"
#include "kernels/avx2/quantize.h"
#include "kernels/layout_x86.h"
#include "quant/blocks.h"

#include <string.h>

// The scale of x[n], n a multiple of 8.
ALWAYS_INLINE float row_scale(const float *x, uint64_t n, float *inverse)
{
    __m256i max = _mm256_setzero_si256();
    for (uint64_t i = 0; i < n; i += 8)
        max = max_magnitude_8(max, _mm256_loadu_ps(x + i));
    return block_scale(largest_lane(max), inverse);
}

// Four sums that add up to that of 32 codes, twice.
ALWAYS_INLINE __m256i partial_sums(__m256i sum, __m256i q)
{
    return _mm256_add_epi32(sum, sums_of_4(q));
}

ALWAYS_INLINE int32_t sum_of_8(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static inline uint64_t activation_row_bytes(uint64_t n)
{
    return sizeof(struct activation_row) + (n + 255) / 256 * 256;
}

ALWAYS_INLINE void prepare_activation_row(const float *x, struct activation_row *y, uint64_t n)
{
    float inverse;
    __m256i sums = _mm256_setzero_si256();
    memset(y, 0, sizeof *y);
    y->scale = row_scale(x, n, &inverse);
    for (uint64_t i = 0; i < n / 32; i++) {
        const __m256i q = quantize_32(x + 32 * i, inverse);
        _mm256_store_si256((__m256i *)(void *)(y->q[i / 8][i % 4] + 32 * (i / 4 % 2)), q);
        sums = partial_sums(sums, q);
    }
    y->sum = sum_of_8(sums);
    for (uint64_t g = 0; n % 256 != 0 && g < 4; g++)
        memset(y->q[n / 256][g] + 32, 0, 32);
}

// ---- weights ---------------------------------------------------------------------------------------------------------

// Codes 0..3 of elements 32 * g and up of a block.
ALWAYS_INLINE __m256i codes_of_i2_s(__m256i bytes, const int g)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 6 - 2 * g), _mm256_set1_epi8(3));
}

ALWAYS_INLINE __m256i load_i2_s(const struct block_i2_s *x)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)x->qs);
}

// ---- the GEMM --------------------------------------------------------------------------------------------------------
//
// It multiplies codes, and its sums are exact: floats hold every integer below 2^24, which takes rows of more than 60000
// elements to reach. A column's scale lies behind its codes, in the last line of the column.

static inline float *scale_of_column(const void *column, uint64_t column_bytes)
{
    return (float *)(uintptr_t)((const uint8_t *)column + column_bytes - 64);
}

// Zeroes a column that is to hold the codes of x[n], stores its scale and returns its inverse.
ALWAYS_INLINE float begin_column(const float *x, uint64_t n, void *column, uint64_t column_bytes)
{
    float inverse;
    memset(column, 0, column_bytes);
    *scale_of_column(column, column_bytes) = row_scale(x, n, &inverse);
    return inverse;
}

static inline void multiply_by_scales(const void *columns, uint64_t column_stride, uint64_t column_bytes,
                                      uint64_t n_columns, float *out, uint64_t out_stride, uint64_t n_rows)
{
    for (uint64_t c = 0; c < n_columns; c++, out += out_stride) {
        const float scale = *scale_of_column((const uint8_t *)columns + c * column_stride, column_bytes);
        for (uint64_t r = 0; r < n_rows; r++)
            out[r] *= scale;
    }
}

// Defines gemm_i2_s from the tier's gemm_i2_s_codes.
#define DEFINE_GEMM_I2_S                                                                                             \
    void TIER(gemm_i2_s)(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *columns,        \
                         uint64_t column_stride, uint64_t n_columns, float *out, uint64_t out_stride, void *scratch) \
    {                                                                                                                \
        TIER(gemm_i2_s_codes)                                                                                        \
        (w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride, scratch);                      \
        multiply_by_scales(columns, column_stride, TIER(gemm_q8_row_bytes)(n), n_columns, out, out_stride, n_rows);  \
    }

#endif
