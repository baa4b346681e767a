// Quantization of activations: the integers and scales of quant/activation.c, in this tier's order.
#include "kernels/avx512/avx512.h"

#include "kernels/block_scale.h"

#include <string.h>

// Bits of the largest magnitude: they order like the magnitudes, infinities and NaNs above every number.
ALWAYS_INLINE __m512i max_magnitude(__m512i max, __m512 x)
{
    return _mm512_max_epu32(max, _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}

// 16 codes, to nearest, ties to even. All zero where inverse is 0, whatever x holds.
ALWAYS_INLINE __m512i quantize_16(const float *x, float inverse)
{
    const __mmask16 keep = inverse != 0.0f ? 0xffff : 0;
    return _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse)));
}

uint64_t TIER(activation_f32_bytes)(uint64_t n)
{
    return (n + 15) / 16 * 64;
}

void TIER(activation_f32)(const float *x, void *out, uint64_t n)
{
    if (n == 0)
        return;
    memcpy(out, x, n * sizeof(float));
    memset((float *)out + n, 0, TIER(activation_f32_bytes)(n) - n * sizeof(float));
}

uint64_t TIER(activation_q8_32_bytes)(uint64_t n)
{
    return (n / 32 + 3) / 4 * sizeof(struct activation_group_32);
}

void TIER(activation_q8_32)(const float *x, void *out, uint64_t n)
{
    struct activation_group_32 *group = out;
    for (uint64_t b = 0; b < n / 32; b++, x += 32) {
        struct activation_group_32 *y = &group[b / 4];
        const uint32_t k = b % 4;
        if (k == 0)
            memset(y, 0, sizeof *y);
        __m512i max = max_magnitude(_mm512_setzero_si512(), _mm512_loadu_ps(x));
        max = max_magnitude(max, _mm512_loadu_ps(x + 16));
        float inverse;
        const float scale = block_scale(_mm512_reduce_max_epu32(max), &inverse);
        const __m512i low = quantize_16(x, inverse);
        const __m512i high = quantize_16(x + 16, inverse);
        _mm_store_si128((__m128i *)y->low[k], _mm512_cvtepi32_epi8(low));
        _mm_store_si128((__m128i *)y->high[k], _mm512_cvtepi32_epi8(high));
        const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
        _mm_store_si128((__m128i *)(y->zero + 4 * k), _mm_set1_epi32(-2 * sum));
        _mm_store_ps(y->scale + 4 * k, _mm_set1_ps(scale));
    }
}

uint64_t TIER(activation_q8_256_bytes)(uint64_t n)
{
    return (n / SUPER_BLOCK + 3) / 4 * sizeof(struct activation_group_256);
}

// Sums of each 16 consecutive codes of 256, and *lanes: of every 64th 4 of them.
ALWAYS_INLINE __m256i sums_of_16(const int8_t *q, __m512i *lanes)
{
    const __m512i ones_8 = _mm512_set1_epi8(1);
    const __m512i ones_16 = _mm512_set1_epi16(1);
    const __m512i zero = _mm512_setzero_si512();
    __m512i s[4];
    for (int v = 0; v < 4; v++)
        s[v] = add_dot(zero, ones_8, _mm512_load_si512(q + 64 * v));
    *lanes = _mm512_add_epi32(_mm512_add_epi32(s[0], s[1]), _mm512_add_epi32(s[2], s[3]));
    const __m512i s01 = add_dot_words(zero, _mm512_packs_epi32(s[0], s[1]), ones_16);
    const __m512i s23 = add_dot_words(zero, _mm512_packs_epi32(s[2], s[3]), ones_16);
    // 128-bit lane i, 32-bit lane v: the sum of elements 64v + 16i ... 64v + 16i + 15.
    const __m512i sums = add_dot_words(zero, _mm512_packs_epi32(s01, s23), ones_16);
    const __m512i transpose = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_cvtepi32_epi16(_mm512_permutexvar_epi32(transpose, sums));
}

void TIER(activation_q8_256)(const float *x, void *out, uint64_t n)
{
    struct activation_group_256 *group = out;
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x += SUPER_BLOCK) {
        struct activation_group_256 *y = &group[b / 4];
        const uint32_t k = b % 4;
        if (k == 0 && n / SUPER_BLOCK - b < 4)
            memset(y, 0, sizeof *y);
        __m512i max = _mm512_setzero_si512();
        for (int i = 0; i < 16; i++)
            max = max_magnitude(max, _mm512_loadu_ps(x + 16 * i));
        float inverse;
        const float scale = block_scale(_mm512_reduce_max_epu32(max), &inverse);
        for (int i = 0; i < 16; i++)
            _mm_store_si128((__m128i *)(y->q[k] + 16 * i), _mm512_cvtepi32_epi8(quantize_16(x + 16 * i, inverse)));
        __m512i lanes;
        const __m256i sums = sums_of_16(y->q[k], &lanes);
        _mm512_store_si512(y->zero[k], _mm512_mullo_epi32(lanes, _mm512_set1_epi32(-128)));
        _mm_store_si128((__m128i *)y->sums_16[0][k], _mm256_castsi256_si128(sums));
        _mm_store_si128((__m128i *)y->sums_16[1][k], _mm256_extracti128_si256(sums, 1));
        const __m256i pairs = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
        _mm_store_si128((__m128i *)y->sums_32[k], _mm256_cvtepi32_epi16(pairs));
        _mm_store_ps(y->scale + 4 * k, _mm_set1_ps(scale));
    }
}
