// GEMM of Q4_0.
#include "kernels/amx/bf16_unpack_16.h"

ALWAYS_INLINE void unpack_16(const struct block_q4_0 *x, uint64_t stride, bf16_tile *to)
{
    byte_lanes lanes[36];
    transpose_bytes(x, stride, 8 * sizeof *x, lanes);
    const __m512 codes = steps_from(-8), zero = _mm512_setzero_ps();
    for (uint32_t two = 0; two < 4; two++) {
        UNROLL
        for (uint32_t b = 0; b < 2; b++, to++) {
            const byte_lanes *of_two = lanes + 9 * two;
            const uint32_t at = 18 * b;
            const __m512 d = halves_at(of_two, at);
            UNROLL
            for (uint32_t i = 0; i < 16; i++) {
                const uint32_t qs = at + 2 + 2 * (i % 8), bit = i / 8 * 4;
                store_pair(*to, i, _mm512_fmadd_ps(nibble_at(of_two, qs, bit, codes), d, zero),
                           _mm512_fmadd_ps(nibble_at(of_two, qs + 1, bit, codes), d, zero));
            }
        }
    }
}

DEFINE_BF16_GEMM_BY_16(q4_0, 32)
