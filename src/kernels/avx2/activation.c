// Quantization of activations: the integers and scales of quant/activation.c, in the order of kernels/layout_x86.h.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/quantize.h"

#include <string.h>

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
        __m256i max = _mm256_setzero_si256();
        for (int i = 0; i < 4; i++)
            max = max_magnitude_8(max, _mm256_loadu_ps(x + 8 * i));
        float inverse;
        const float scale = block_scale(largest_lane(max), &inverse);
        const __m256i q = quantize_32(x, inverse);
        _mm_store_si128((__m128i *)y->low[k], _mm256_castsi256_si128(q));
        _mm_store_si128((__m128i *)y->high[k], _mm256_extracti128_si256(q, 1));
        const __m256i s4 = sums_of_4(q);
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(s4), _mm256_extracti128_si256(s4, 1));
        s = _mm_hadd_epi32(s, s);
        s = _mm_hadd_epi32(s, s); // the sum, in all lanes
        _mm_store_si128((__m128i *)(y->zero + 4 * k), _mm_sub_epi32(_mm_setzero_si128(), _mm_slli_epi32(s, 1)));
        _mm_store_ps(y->scale + 4 * k, _mm_set1_ps(scale));
    }
}

uint64_t TIER(activation_q8_256_bytes)(uint64_t n)
{
    return (n / SUPER_BLOCK + 3) / 4 * sizeof(struct activation_group_256);
}

// Sums of each 16 consecutive codes of 256, and lanes[2]: of every 64th 4 of them.
ALWAYS_INLINE __m256i sums_of_16(const int8_t *q, __m256i lanes[2])
{
    lanes[0] = lanes[1] = _mm256_setzero_si256();
    __m256i half[2]; // lower lane: of elements 0..15 of four vectors of 32; upper lane: of 16..31
    for (int h = 0; h < 2; h++) {
        __m256i s[4];
        for (int v = 0; v < 4; v++) {
            s[v] = sums_of_4(_mm256_load_si256((const __m256i *)(const void *)(q + 128 * h + 32 * v)));
            lanes[v % 2] = _mm256_add_epi32(lanes[v % 2], s[v]);
        }
        half[h] = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
    }
    const __m256i words = _mm256_packs_epi32(half[0], half[1]);
    const __m128i even = _mm256_castsi256_si128(words), odd = _mm256_extracti128_si256(words, 1);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(even, odd)), _mm_unpackhi_epi16(even, odd),
                                   1);
}

void TIER(activation_q8_256)(const float *x, void *out, uint64_t n)
{
    struct activation_group_256 *group = out;
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x += SUPER_BLOCK) {
        struct activation_group_256 *y = &group[b / 4];
        const uint32_t k = b % 4;
        if (k == 0 && n / SUPER_BLOCK - b < 4)
            memset(y, 0, sizeof *y);
        __m256i max = _mm256_setzero_si256();
        for (int i = 0; i < 32; i++)
            max = max_magnitude_8(max, _mm256_loadu_ps(x + 8 * i));
        float inverse;
        const float scale = block_scale(largest_lane(max), &inverse);
        for (int i = 0; i < 8; i++)
            _mm256_store_si256((__m256i *)(void *)(y->q[k] + 32 * i), quantize_32(x + 32 * i, inverse));
        __m256i lanes[2];
        const __m256i sums = sums_of_16(y->q[k], lanes);
        for (int i = 0; i < 2; i++)
            _mm256_store_si256((__m256i *)(void *)(y->zero[k] + 8 * i),
                               _mm256_mullo_epi32(lanes[i], _mm256_set1_epi32(-128)));
        _mm_store_si128((__m128i *)(void *)y->sums_16[0][k], _mm256_castsi256_si128(sums));
        _mm_store_si128((__m128i *)(void *)y->sums_16[1][k], _mm256_extracti128_si256(sums, 1));
        const __m256i pairs = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
        _mm_store_si128((__m128i *)(void *)y->sums_32[k],
                        _mm_packs_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
        _mm_store_ps(y->scale + 4 * k, _mm_set1_ps(scale));
    }
}
