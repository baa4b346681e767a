// Q5_1: 24-byte blocks of 32 with a min.
#include "kernels/avx512/blocks_32.h"

ALWAYS_INLINE struct codes_32 unpack_q5_1(const struct block_q5_1 *x)
{
    const __m512i headers = load_four_16(x, sizeof *x); // d at byte 0, m at 2, qh at 4
    const __m512i bytes = load_four_16(x->qs, sizeof *x);
    return (struct codes_32){
        .low = _mm512_or_si512(low_nibbles(bytes), fifth_bits(headers, 4)),
        .high = _mm512_or_si512(high_nibbles(bytes), fifth_bits(headers, 6)),
        .d = select_halves(header_words(0, 8), headers),
        .m = select_halves(header_words(1, 8), headers),
    };
}

DEFINE_MATVEC_32(q5_1, 0, true)
