// IQ3_S: 110-byte super-blocks of 256, nine bits of entry for each 4.
#include "kernels/avx512/codebooks.h"

// Magnitudes 1 + 2 * nibble.
ALWAYS_INLINE __m512i magnitudes_of(__m512i entries, const int half)
{
    const __m512i nibbles = spread_nibbles(entries, half);
    return _mm512_add_epi8(_mm512_add_epi8(nibbles, nibbles), _mm512_set1_epi8(1));
}

ALWAYS_INLINE void codes_iq3_s(const struct block_iq3_s *x, struct signed_128 codes[2])
{
    const struct sign_bits signs = order_signs(load_32(x->signs));
    const __m512 d = scale_of_half(x->d);
    const __m128i scales = _mm_cvtsi32_si128((int)block_u32(x->scales));
    for (int g = 0; g < 2; g++) {
        const __m512i index = _mm512_cvtepu8_epi16(load_32(x->qs + 32 * g));
        const __m512i entries =
            _mm512_mask_blend_epi16(block_u32(x->qh + 4 * g), words_of_256(codebook_nibbles_iq3_s, index),
                                    words_of_256(codebook_nibbles_iq3_s + 256, index));
        // Bytes 2g and 2g + 1, a nibble for each block.
        const __m128i pairs = _mm_unpacklo_epi8(scales, scales);
        const __m512i bytes = _mm512_srlv_epi32(lanes_of_bytes(pairs, 4 * g),
                                                _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4));
        codes[g] = SIGNED_128(magnitudes_of(entries, 0), magnitudes_of(entries, 1), signs.of[g][0], signs.of[g][1],
                              odd_scales(_mm512_and_si512(bytes, _mm512_set1_epi32(15)), d));
    }
}

DEFINE_MATVEC_SIGNED_128(iq3_s, 256, false)
