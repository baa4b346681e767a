// Q4_0: 18-byte blocks of 32, zero point 8. The four halves d of a group lie within its first 64 bytes.
#include "kernels/avx512/blocks_32.h"

ALWAYS_INLINE struct codes_32 unpack_q4_0(const struct block_q4_0 *x)
{
    const __m512i bytes = load_four_16(x->qs, sizeof *x);
    return (struct codes_32){
        .low = low_nibbles(bytes),
        .high = high_nibbles(bytes),
        .d = select_halves(header_words(0, sizeof *x / 2), _mm512_loadu_si512(x)),
    };
}

DEFINE_MATVEC_32(q4_0, 0, false)
