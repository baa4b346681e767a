// What Q2_K, Q3_K and Q6_K share: super-blocks of 16 sub-blocks of 16 elements, one super-block per step.
#ifndef CHORD_KERNELS_AVX512_BLOCKS_16_H
#define CHORD_KERNELS_AVX512_BLOCKS_16_H

#include "kernels/avx512/avx512.h"

// The 16 scales in the order that packs leaves them in: vector v of 64 codes has sub-blocks 4v..4v+3, one per 128-bit
// lane, and packs puts two vectors' lanes beside each other.
struct pair_scales {
    __m512i v01, v23;
};

ALWAYS_INLINE struct pair_scales spread_scales(__m256i scales)
{
    const __m512i order =
        _mm512_set_epi64(0x0007000700070007, 0x0003000300030003, 0x0006000600060006, 0x0002000200020002,
                         0x0005000500050005, 0x0001000100010001, 0x0004000400040004, 0);
    const __m512i wide = _mm512_castsi256_si512(scales);
    return (struct pair_scales){
        .v01 = _mm512_permutexvar_epi16(order, wide),
        .v23 = _mm512_permutexvar_epi16(_mm512_add_epi16(order, _mm512_set1_epi16(8)), wide),
    };
}

// start + sum over sub-blocks of scale * (codes . q), spread over 16 lanes. Codes are at most 63, so that four products
// fit 16 bits: 4 * 63 * 127 < 2^15.
ALWAYS_INLINE __m512i scaled_dot_16(__m512i start, const __m512i codes[4], struct pair_scales scales, const int8_t *q)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i p[4];
    for (int v = 0; v < 4; v++)
        p[v] = add_dot(zero, codes[v], _mm512_load_si512(q + 64 * v));
    const __m512i dot = add_dot_words(start, _mm512_packs_epi32(p[0], p[1]), scales.v01);
    return add_dot_words(dot, _mm512_packs_epi32(p[2], p[3]), scales.v23);
}

// -(zero point) * sum over sub-blocks of scale * sum(q), in 8 lanes; zero_shift = log2(zero point).
ALWAYS_INLINE __m512i zero_point_16(__m256i scales, const int16_t *sums_16, int zero_shift)
{
    const __m256i sums = _mm256_madd_epi16(scales, _mm256_load_si256((const __m256i *)(const void *)sums_16));
    const __m256i share = _mm256_slli_epi32(sums, zero_shift);
    return _mm512_zextsi256_si512(_mm256_sub_epi32(_mm256_setzero_si256(), share));
}

// d * scale of the activations' super-block, in all lanes.
ALWAYS_INLINE __m512 block_factor(float d, const struct activation_group_256 *y, uint64_t s)
{
    return _mm512_set1_ps(d * y->scale[4 * s]);
}

// The half at p.
ALWAYS_INLINE float load_half(const uint8_t p[2])
{
    return _cvtsh_ss(block_u16(p));
}

#endif
