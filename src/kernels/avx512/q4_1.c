// Q4_1: 20-byte blocks of 32 with a min. The four headers of a group lie within its first 64 bytes.
#include "kernels/avx512/blocks_32.h"

ALWAYS_INLINE struct codes_32 unpack_q4_1(const struct block_q4_1 *x)
{
    const __m512i bytes = load_four_16(x->qs, sizeof *x);
    const __m512i headers = _mm512_loadu_si512(x);
    return (struct codes_32){
        .low = low_nibbles(bytes),
        .high = high_nibbles(bytes),
        .d = select_halves(header_words(0, sizeof *x / 2), headers),
        .m = select_halves(header_words(1, sizeof *x / 2), headers),
    };
}

DEFINE_MATVEC_32(q4_1, 0, true)
