// GEMM of Q8_0.
#include "kernels/amx/bf16_unpack_16.h"

ALWAYS_INLINE void unpack_16(const struct block_q8_0 *x, uint64_t stride, bf16_tile *to)
{
    byte_lanes lanes[68];
    transpose_bytes(x, stride, 8 * sizeof *x, lanes);
    const __m512 unit = _mm512_set1_ps(0x1p-24f);
    for (uint32_t two = 0; two < 4; two++) {
        UNROLL
        for (uint32_t b = 0; b < 2; b++, to++) {
            const byte_lanes *of_two = lanes + 17 * two;
            const uint32_t at = 34 * b;
            const __m512 d = _mm512_mul_ps(halves_at(of_two, at), unit);
            UNROLL
            for (uint32_t i = 0; i < 16; i++) {
                const uint32_t qs = at + 2 + 2 * i;
                store_pair(*to, i, _mm512_mul_ps(signed_byte_high(of_two[qs / 4], qs % 4), d),
                           _mm512_mul_ps(signed_byte_high(of_two[qs / 4], qs % 4 + 1), d));
            }
        }
    }
}

DEFINE_BF16_GEMM_BY_16(q8_0, 32)
