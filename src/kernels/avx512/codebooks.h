// What the kernels of IQ2 and IQ3 share: super-blocks whose elements are entries of a codebook.
#ifndef CHORD_KERNELS_AVX512_CODEBOOKS_H
#define CHORD_KERNELS_AVX512_CODEBOOKS_H

#include "kernels/avx512/signed_128.h"
#include "kernels/avx2/coded.h"

// Of each half (0..15 and 16..31 of every block) of each group of activation_group_32.
struct sign_bits {
    uint64_t of[2][2];
};

// From the bits of the 32 groups in natural order.
ALWAYS_INLINE struct sign_bits order_signs(__m256i bits)
{
    const __m256i halves =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    struct sign_bits signs;
    _mm256_storeu_si256((__m256i *)(void *)signs.of, _mm256_shuffle_epi8(bits, halves));
    READ_AS_STORED(signs);
    return signs;
}

// Entries of 8 elements of group `g`: of half `h` of its four blocks. Processors with AMX gather faster than they load entries one by
// one; of those without it many have to keep gathers from leaking data, which makes them several times slower.
ALWAYS_INLINE __m512i entries_of_half(const uint64_t *codebook, const uint16_t index[32], const int g, const int h)
{
    const uint16_t *at = index + 16 * g;
#ifdef __AMX_TILE__
    const __m256i pairs = load_32(at);
    const __m256i of_half = _mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(h, 2 + h, 4 + h, 6 + h, 0, 0, 0, 0));
    return _mm512_i64gather_epi64(_mm512_cvtepu16_epi64(_mm256_castsi256_si128(of_half)), codebook, 8);
#else
#define PAIR(b) _mm_set_epi64x((long long)codebook[at[4 * (b) + 2 * h + 1]], (long long)codebook[at[4 * (b) + 2 * h]])
    const __m256i lower = _mm256_inserti128_si256(_mm256_castsi128_si256(PAIR(0)), PAIR(1), 1);
    const __m256i upper = _mm256_inserti128_si256(_mm256_castsi128_si256(PAIR(2)), PAIR(3), 1);
#undef PAIR
    return _mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1);
#endif
}

// IQ2_XS and IQ2_S, whose blocks have a scale for each half: d / 8 times 2 * nibble + 1, the low nibble of scales[s] first.
ALWAYS_INLINE void codes_of_entries(const uint64_t *codebook, const uint16_t index[32], struct sign_bits signs,
                                    const uint8_t scales[8], __m512 d, struct signed_128 codes[2])
{
    const __m512 eighth = _mm512_mul_ps(_mm512_set1_ps(0.125f), d);
    for (int g = 0; g < 2; g++) {
        const __m512i bytes = lanes_of_bytes(_mm_loadl_epi64((const __m128i *)(const void *)scales), 4 * g);
        codes[g] = (struct signed_128){
            .low = entries_of_half(codebook, index, g, 0),
            .high = entries_of_half(codebook, index, g, 1),
            .low_signs = signs.of[g][0],
            .high_signs = signs.of[g][1],
            .d_low = odd_scales(_mm512_and_si512(bytes, _mm512_set1_epi32(15)), eighth),
            .d_high = odd_scales(_mm512_srli_epi32(bytes, 4), eighth),
        };
    }
}

// 32 entries of a table of 256, each a 16-bit word, by the lower 8 bits of the words of `index`.
ALWAYS_INLINE __m512i words_of_256(const uint16_t table[256], __m512i index)
{
    __m512i parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = _mm512_permutex2var_epi16(_mm512_loadu_si512(table + 64 * i), index,
                                             _mm512_loadu_si512(table + 64 * i + 32));
    const __mmask32 odd = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
    const __mmask32 upper = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
    const __m512i lower_parts = _mm512_mask_blend_epi16(odd, parts[0], parts[1]);
    return _mm512_mask_blend_epi16(upper, lower_parts, _mm512_mask_blend_epi16(odd, parts[2], parts[3]));
}

// 16 bytes per 128-bit lane, from the nibbles of the first (half 0) or the last four words of the lane.
ALWAYS_INLINE __m512i spread_nibbles(__m512i words, const int half)
{
    const char h = (char)(8 * half);
    const __m128i order = _mm_add_epi8(_mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), _mm_set1_epi8(h));
    const __m512i twice = _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order));
    const __m512i both = _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, twice, _mm512_srli_epi16(twice, 4));
    return _mm512_and_si512(both, _mm512_set1_epi8(15));
}

#endif
