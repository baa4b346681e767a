// IQ2_S: 82-byte super-blocks of 256, ten bits of entry for each 8.
#include "kernels/avx512/codebooks.h"

// Two bits of qh[s] for each group of block s, above eight of its own.
ALWAYS_INLINE __m512i load_index(const struct block_iq2_s *x)
{
    const __m512i low = _mm512_cvtepu8_epi16(load_32(x->qs));
    const __m512i qh = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)x->qh));
    const __m512i four = _mm512_shuffle_epi8(
        qh, _mm512_broadcast_i32x4(_mm_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 8, -1, 8, -1, 8, -1, 8, -1)));
    const __m512i moved = _mm512_sllv_epi16(four, _mm512_set1_epi64(0x0002000400060008));
    return _mm512_ternarylogic_epi64(low, moved, _mm512_set1_epi16(0x300), 0xf8);
}

ALWAYS_INLINE void codes_iq2_s(const struct block_iq2_s *x, struct signed_128 codes[2])
{
    uint16_t index[32];
    _mm512_storeu_si512(index, load_index(x));
    READ_AS_STORED(index);
    const struct sign_bits signs = order_signs(load_32(x->signs));
    codes_of_entries(codebook_iq2_s, index, signs, x->scales, scale_of_half(x->d), codes);
}

DEFINE_MATVEC_SIGNED_128(iq2_s, 256, true)
