// Codes and scales of activations (quant/quant.h) by 256-bit registers.
#ifndef CHORD_KERNELS_AVX2_QUANTIZE_H
#define CHORD_KERNELS_AVX2_QUANTIZE_H

#ifdef __AVX512F__
#include "kernels/avx512/avx512.h"
#else
#include "kernels/avx2/avx2.h"
#endif
#include "base/half.h"

// Bits of the largest magnitude: they order like the magnitudes, infinities and NaNs above every number.
ALWAYS_INLINE __m256i max_magnitude_8(__m256i max, __m256 x)
{
    return _mm256_max_epu32(max, _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)));
}

ALWAYS_INLINE uint32_t largest_lane(__m256i v)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

// *inverse = 127 / absmax; returns absmax / 127. Special blocks: NaN for one with a NaN or infinity, 0 for one that counts
// as all zero; both with *inverse = 0 and the codes to be all zero.
ALWAYS_INLINE float block_scale(uint32_t largest, float *inverse)
{
    const float absmax = float_from_bits(largest);
    *inverse = 0.0f;
    if (largest >= 0x7f800000u)
        return float_from_bits(0x7fc00000u);
    if (absmax < ACTIVATION_ABSMAX_MIN)
        return 0.0f;
    *inverse = 127.0f / absmax;
    return absmax / 127.0f;
}

// 32 codes, to nearest, ties to even. All zero where inverse is 0, whatever x holds.
ALWAYS_INLINE __m256i quantize_32(const float *x, float inverse)
{
    const __m256 factor = _mm256_set1_ps(inverse);
    const __m256i keep = _mm256_set1_epi32(inverse != 0.0f ? -1 : 0);
    __m256i q[4];
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_and_si256(keep, _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), factor)));
    // packs works within lanes: bring the eight groups of four back in order.
    const __m256i words = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(words, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// Sums of each 4 consecutive codes.
ALWAYS_INLINE __m256i sums_of_4(__m256i q)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
}

#endif
