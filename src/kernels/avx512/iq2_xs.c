// IQ2_XS: 74-byte super-blocks of 256, a word of entry and signs for each 8.
#include "kernels/avx512/codebooks.h"

ALWAYS_INLINE void codes_iq2_xs(const struct block_iq2_xs *x, struct signed_128 codes[2])
{
    const __m512i words = _mm512_loadu_si512(x->qs);
    uint16_t index[32];
    _mm512_storeu_si512(index, _mm512_and_si512(words, _mm512_set1_epi16(511)));
    READ_AS_STORED(index);
    const struct sign_bits signs = order_signs(complete_signs(_mm512_cvtepi16_epi8(_mm512_srli_epi16(words, 9))));
    codes_of_entries(codebook_iq2_xs, index, signs, x->scales, scale_of_half(x->d), codes);
}

DEFINE_MATVEC_SIGNED_128(iq2_xs, 256, true)
