// IQ2_XXS: 66-byte super-blocks of 256, a word of 4 entries and a word of signs and scale for each 32.
#include "kernels/avx512/codebooks.h"

// From the two bits of each of 64 elements.
ALWAYS_INLINE __m512i magnitudes_of(const uint64_t planes[2])
{
    const __m512i middle = _mm512_mask_blend_epi8(planes[0], _mm512_set1_epi8(8), _mm512_set1_epi8(25));
    return _mm512_mask_blend_epi8(planes[1], middle, _mm512_set1_epi8(43));
}

ALWAYS_INLINE void codes_iq2_xxs(const struct block_iq2_xxs *x, struct signed_128 codes[2])
{
    const __m512i pairs = _mm512_loadu_si512(x->qs);
    const __m512i even_odd = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i parted = _mm512_permutexvar_epi32(even_odd, pairs);
    const __m512i words = words_of_256(codebook_planes_iq2_xxs, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(parted)));
    // Of each 128-bit lane, two blocks, the lower bytes of the words of both their first halves, then the upper bytes, then those
    // of their second halves.
    const __m128i order = _mm_setr_epi8(0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15);
    const __m512i bytes = _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order));
    uint64_t planes[2][2][2]; // of groups, halves: both planes
    const __m512i joined =
        _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), bytes);
    _mm512_storeu_si512(planes, joined);
    READ_AS_STORED(planes);
    const struct sign_bits signs = order_signs(signs_of_words(_mm512_extracti64x4_epi64(parted, 1)));
    const __m512 d = _mm512_mul_ps(_mm512_set1_ps(0.125f), scale_of_half(x->d));
    const __m512i four = _mm512_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7);
    for (int g = 0; g < 2; g++) {
        const __m512i lanes = _mm512_permutexvar_epi32(_mm512_add_epi32(four, _mm512_set1_epi32(8 * g)), pairs);
        codes[g] = SIGNED_128(magnitudes_of(planes[g][0]), magnitudes_of(planes[g][1]), signs.of[g][0], signs.of[g][1],
                              odd_scales(_mm512_srli_epi32(lanes, 28), d));
    }
}

DEFINE_MATVEC_SIGNED_128(iq2_xxs, 256, false)
