// Q5_0: 22-byte blocks of 32, zero point 16.
#include "kernels/avx512/blocks_32.h"

ALWAYS_INLINE struct codes_32 unpack_q5_0(const struct block_q5_0 *x)
{
    const __m512i headers = load_four_16(x, sizeof *x); // d at byte 0, qh at 2
    const __m512i bytes = load_four_16(x->qs, sizeof *x);
    return (struct codes_32){
        .low = _mm512_or_si512(low_nibbles(bytes), fifth_bits(headers, 2)),
        .high = _mm512_or_si512(high_nibbles(bytes), fifth_bits(headers, 4)),
        .d = select_halves(header_words(0, 8), headers),
    };
}

DEFINE_MATVEC_32(q5_0, 1, false)
