// Q8_0: 34-byte blocks of 32 signed codes. VPDPBUSD wants them unsigned: 128 is added, which makes a zero point of 128
// (and -128 as good as any other code).
#include "kernels/avx512/blocks_32.h"

ALWAYS_INLINE struct codes_32 unpack_q8_0(const struct block_q8_0 *x)
{
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    return (struct codes_32){
        .low = _mm512_xor_si512(load_four_16(x->qs, sizeof *x), sign),
        .high = _mm512_xor_si512(load_four_16(x->qs + 16, sizeof *x), sign),
        .d = load_four_halves(x->d, sizeof *x),
    };
}

DEFINE_MATVEC_32(q8_0, ZERO_SHIFT_128, false)
