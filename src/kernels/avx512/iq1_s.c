// IQ1_S: 50-byte super-blocks of 256, eleven bits of entry for each 8, all moved by one delta for each 32.
#include "kernels/avx512/codebooks.h"

// Three bits of qh[s] for each group of block s, above eight of its own.
ALWAYS_INLINE __m512i load_index(const struct block_iq1_s *x)
{
    const __m512i low = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)x->qs));
    const __m512i qh = _mm512_cvtepu16_epi64(_mm_loadu_si128((const __m128i *)(const void *)x->qh));
    const __m512i four =
        _mm512_shuffle_epi8(qh, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 8, 9, 8, 9, 8, 9, 8, 9)));
    const __m512i bits =
        _mm512_and_si512(_mm512_srlv_epi16(four, _mm512_set1_epi64(0x0009000600030000)), _mm512_set1_epi16(7));
    return _mm512_or_si512(low, _mm512_slli_epi16(bits, 8));
}

ALWAYS_INLINE void codes_iq1_s(const struct block_iq1_s *x, struct signed_128 codes[2])
{
    uint16_t index[32];
    _mm512_storeu_si512(index, load_index(x));
    READ_AS_STORED(index);
    const __m128i qh = _mm_loadu_si128((const __m128i *)(const void *)x->qh);
    const __m512 d = _mm512_mul_ps(_mm512_set1_ps(0.125f), scale_of_half(x->d));
    for (int g = 0; g < 2; g++) {
        const __m512i words = lanes_of_words(qh, 4 * g);
        const __mmask16 down = _mm512_test_epi32_mask(words, _mm512_set1_epi32(0x8000));
        const __m512i delta = _mm512_mask_blend_epi32(down, _mm512_set1_epi8(1), _mm512_set1_epi8(-1));
        const __m512i scales = _mm512_and_si512(_mm512_srli_epi32(words, 12), _mm512_set1_epi32(7));
        const __m512 both = odd_scales(scales, d);
        codes[g] = split_signs(_mm512_add_epi8(entries_of_half(codebook_iq1, index, g, 0), delta),
                               _mm512_add_epi8(entries_of_half(codebook_iq1, index, g, 1), delta), both, both);
    }
}

DEFINE_MATVEC_SIGNED_128(iq1_s, 256, false)
