// What the kernels of the K-quants share: super-blocks of 256, 32 codes to a register, integer sums over a super-block.
#ifndef CHORD_KERNELS_AVX2_SUPER_BLOCKS_H
#define CHORD_KERNELS_AVX2_SUPER_BLOCKS_H

#include "kernels/avx2/avx2.h"

// sum + scale * (codes . q): codes up to 63, two products fit 16 bits. `scale` in every 16-bit word.
ALWAYS_INLINE __m256i add_scaled_dot(__m256i sum, __m256i codes, __m256i scale, const int8_t *q)
{
    const __m256i products = _mm256_maddubs_epi16(codes, _mm256_load_si256((const __m256i *)(const void *)q));
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(sum, products, scale);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(products, scale));
#endif
}

ALWAYS_INLINE const struct activation_group_256 *group_of(const void *column, uint64_t block)
{
    return (const struct activation_group_256 *)column + block / 4;
}

// ---- Q4_K, Q5_K: 8 sub-blocks of 32 with 6-bit scales and mins ---------------------------------------------------------

struct scales_32 {
    __m256i scales; // 8 of 16 bits, in both lanes
    __m128i mins;   // 8 of 16 bits
};

ALWAYS_INLINE struct scales_32 load_scales_32(const uint8_t bytes[12])
{
    uint32_t u[3];
    memcpy(u, bytes, sizeof u);
    const uint32_t scales_low = u[0] & 0x3f3f3f3fu;
    const uint32_t scales_high = (u[2] & 0x0f0f0f0fu) | (u[0] >> 6 & 0x03030303u) << 4;
    const uint32_t mins_low = u[1] & 0x3f3f3f3fu;
    const uint32_t mins_high = (u[2] >> 4 & 0x0f0f0f0fu) | (u[1] >> 6 & 0x03030303u) << 4;
    const __m256i words =
        _mm256_cvtepu8_epi16(_mm_set_epi32((int)mins_high, (int)mins_low, (int)scales_high, (int)scales_low));
    return (struct scales_32){
        .scales = _mm256_permute4x64_epi64(words, 0x44),
        .mins = _mm256_extracti128_si256(words, 1),
    };
}

// Scale j of 8 in every word.
ALWAYS_INLINE __m256i scale_of_32(__m256i scales, int j)
{
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)((2 * j + 1) << 8 | 2 * j)));
}

ALWAYS_INLINE __m128 mins_of_32(struct scales_32 scales, const int16_t sums_32[8])
{
    return _mm_cvtepi32_ps(_mm_madd_epi16(scales.mins, _mm_load_si128((const __m128i *)(const void *)sums_32)));
}

// ---- Q2_K, Q3_K, Q6_K: 16 sub-blocks of 16 -----------------------------------------------------------------------------

// `first` holds scales 0..7 in both lanes, `second` 8..15.
struct scales_16 {
    __m256i first, second;
};

ALWAYS_INLINE struct scales_16 spread_scales_16(__m256i scales)
{
    return (struct scales_16){
        .first = _mm256_permute4x64_epi64(scales, 0x44),
        .second = _mm256_permute4x64_epi64(scales, 0xee),
    };
}

// For register v (0..7) of 32 codes: scale 2v in the words of the lower lane, 2v + 1 in the upper.
ALWAYS_INLINE __m256i scale_of_16(struct scales_16 scales, int v)
{
    const short lower = (short)((4 * (v % 4) + 1) << 8 | 4 * (v % 4));
    const short upper = (short)(lower + 0x0202);
    const __m256i pick = _mm256_setr_epi16(lower, lower, lower, lower, lower, lower, lower, lower, upper, upper, upper,
                                           upper, upper, upper, upper, upper);
    return _mm256_shuffle_epi8(v < 4 ? scales.first : scales.second, pick);
}

// Sum over sub-blocks of scale * sum(q), spread over 8 lanes.
ALWAYS_INLINE __m256i scaled_sums_16(__m256i scales, const int16_t sums_16[16])
{
    return _mm256_madd_epi16(scales, _mm256_load_si256((const __m256i *)(const void *)sums_16));
}

#endif
