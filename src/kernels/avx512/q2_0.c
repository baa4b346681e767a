// Q2_0: 18-byte blocks of 64, codes of two bits with zero point 1: four blocks of 32 per step, as in blocks_32.h.
#include "kernels/avx512/signed_128.h"

// 16 codes of each 128-bit lane, from its four bytes `order` 0 or 1.
ALWAYS_INLINE __m512i two_bits(__m512i bytes, const int order)
{
    const __m512i four = order == 0 ? _mm512_shuffle_epi32(bytes, 0x00) : _mm512_shuffle_epi32(bytes, 0x55);
    const __m512i shifts = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 4, 6));
    const __m512i codes = _mm512_and_si512(_mm512_srlv_epi32(four, shifts), _mm512_set1_epi8(3));
    const __m128i transposed = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_shuffle_epi8(codes, _mm512_broadcast_i32x4(transposed));
}

ALWAYS_INLINE void codes_q2_0(const struct block_q2_0 *x, struct signed_128 codes[2])
{
    const __m512i one = _mm512_set1_epi8(1);
    for (int g = 0; g < 2; g++, x += 2) {
        const __m256i both =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)x[0].qs)),
                                    _mm_loadu_si128((const __m128i *)(const void *)x[1].qs), 1);
        const __m512i bytes =
            _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3), _mm512_castsi256_si512(both));
        const __m512 d = _mm512_mask_blend_ps(0xff00, scale_of_half(x[0].d), scale_of_half(x[1].d));
        codes[g] =
            split_signs(_mm512_sub_epi8(two_bits(bytes, 0), one), _mm512_sub_epi8(two_bits(bytes, 1), one), d, d);
    }
}

DEFINE_MATVEC_SIGNED_128(q2_0, 64, false)
