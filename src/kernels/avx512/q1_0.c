// Q1_0: 18-byte blocks of 128, a bit for each element.
#include "kernels/avx512/signed_128.h"

ALWAYS_INLINE void codes_q1_0(const struct block_q1_0 *x, struct signed_128 codes[2])
{
    const __m512i one = _mm512_set1_epi8(1);
    const __m128i halves = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    for (int g = 0; g < 2; g++) {
        uint64_t set[2];
        const __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)x[g].qs);
        _mm_storeu_si128((__m128i *)(void *)set, _mm_shuffle_epi8(bits, halves));
        codes[g] = SIGNED_128(one, one, ~set[0], ~set[1], scale_of_half(x[g].d));
    }
}

DEFINE_MATVEC_SIGNED_128(q1_0, 128, false)
