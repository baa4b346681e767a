// IQ3_XXS: 98-byte super-blocks of 256, a byte of entry for each 4, a word of signs and scale for each 32.
#include "kernels/avx512/codebooks.h"

ALWAYS_INLINE void codes_iq3_xxs(const struct block_iq3_xxs *x, struct signed_128 codes[2])
{
    const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(4, 12, 20, 28, 36, 44, 52, 62, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i words = load_32(x->signs_scales);
    const struct sign_bits signs = order_signs(signs_of_words(words));
    const __m512 d = _mm512_mul_ps(_mm512_set1_ps(0.25f), scale_of_half(x->d));
    const __m512i four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (int g = 0; g < 2; g++) {
        const __m256i index = load_32(x->qs + 32 * g);
        const __m512i entries = words_of_256(codebook_nibbles_iq3_xxs, _mm512_cvtepu8_epi16(index));
        const __m512i at = _mm512_add_epi32(four, _mm512_set1_epi32(4 * g));
        const __m512i scales = _mm512_srli_epi32(_mm512_permutexvar_epi32(at, _mm512_castsi256_si512(words)), 28);
        codes[g] = SIGNED_128(_mm512_shuffle_epi8(table, spread_nibbles(entries, 0)),
                              _mm512_shuffle_epi8(table, spread_nibbles(entries, 1)), signs.of[g][0], signs.of[g][1],
                              odd_scales(scales, d));
    }
}

DEFINE_MATVEC_SIGNED_128(iq3_xxs, 256, false)
