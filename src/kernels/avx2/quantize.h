// Codes and scales of activations (quant/quant.h) by 256-bit registers.
#ifndef CHORD_KERNELS_AVX2_QUANTIZE_H
#define CHORD_KERNELS_AVX2_QUANTIZE_H

#ifdef __AVX512F__
#include "kernels/avx512/avx512.h"
#else
#include "kernels/avx2/avx2.h"
#endif
#include "kernels/block_scale.h"

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
