// IQ4_NL: 18-byte blocks of 32, codes from a table. The four halves d of a group lie within its first 64 bytes.
#include "kernels/avx512/iq4.h"

ALWAYS_INLINE struct codes_32 unpack_iq4_nl(const struct block_iq4_nl *x)
{
    const __m512i bytes = load_four_16(x->qs, sizeof *x);
    return (struct codes_32){
        .low = iq4_unsigned(low_nibbles(bytes)),
        .high = iq4_unsigned(high_nibbles(bytes)),
        .d = select_halves(header_words(0, sizeof *x / 2), _mm512_loadu_si512(x)),
    };
}

DEFINE_MATVEC_32(iq4_nl, ZERO_SHIFT_128, false)
