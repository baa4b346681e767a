// IQ1_M: 56-byte super-blocks of 256, eleven bits of entry and the sign of a delta for each 8.
#include "kernels/avx512/codebooks.h"

// The nibbles of qh, one for each group.
ALWAYS_INLINE __m512i load_nibbles(const struct block_iq1_m *x)
{
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)x->qh));
    return _mm512_and_si512(_mm512_or_si512(bytes, _mm512_slli_epi32(bytes, 12)), _mm512_set1_epi16(15));
}

ALWAYS_INLINE __m512i moved_entries(const uint16_t index[32], const int g, const int h, __mmask64 down)
{
    const __m512i delta = _mm512_mask_blend_epi8(down, _mm512_set1_epi8(1), _mm512_set1_epi8(-1));
    return _mm512_add_epi8(entries_of_half(codebook_iq1, index, g, h), delta);
}

ALWAYS_INLINE void codes_iq1_m(const struct block_iq1_m *x, struct signed_128 codes[2])
{
    uint16_t index[32];
    const __m512i nibbles = load_nibbles(x);
    const __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)x->qs));
    const __m512i high = _mm512_and_si512(_mm512_slli_epi16(nibbles, 8), _mm512_set1_epi16(0x700));
    _mm512_storeu_si512(index, _mm512_or_si512(low, high));
    READ_AS_STORED(index);
    const __mmask32 groups_down = _mm512_test_epi16_mask(nibbles, _mm512_set1_epi16(8));
    const struct sign_bits down = order_signs(_mm256_movm_epi8(groups_down));
    const __m128i scales = _mm_loadl_epi64((const __m128i *)(const void *)x->scales);
    const __m512 d = _mm512_set1_ps(0.125f * iq1_m_d(x));
    for (int g = 0; g < 2; g++) {
        // Words 2g and 2g + 1, six bits for each block.
        const __m512i words = _mm512_srlv_epi32(lanes_of_words(_mm_unpacklo_epi16(scales, scales), 4 * g),
                                                _mm512_setr_epi32(0, 0, 0, 0, 6, 6, 6, 6, 0, 0, 0, 0, 6, 6, 6, 6));
        const __m512i seven = _mm512_set1_epi32(7);
        codes[g] = split_signs(moved_entries(index, g, 0, down.of[g][0]), moved_entries(index, g, 1, down.of[g][1]),
                               odd_scales(_mm512_and_si512(words, seven), d),
                               odd_scales(_mm512_and_si512(_mm512_srli_epi32(words, 3), seven), d));
    }
}

DEFINE_MATVEC_SIGNED_128(iq1_m, 256, true)
