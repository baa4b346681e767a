// GEMM of Q4_1.
#include "kernels/amx/bf16_unpack_16.h"

ALWAYS_INLINE void unpack_16(const struct block_q4_1 *x, uint64_t stride, bf16_tile *to)
{
    byte_lanes lanes[40];
    transpose_bytes(x, stride, 8 * sizeof *x, lanes);
    const __m512 codes = steps_from(0);
    for (uint32_t b = 0; b < 8; b++) {
        const byte_lanes *block = lanes + 5 * b;
        const __m512 d = halves_at(block, 0), m = halves_at(block, 2);
        UNROLL
        for (uint32_t i = 0; i < 16; i++) {
            const uint32_t qs = 4 + 2 * (i % 8), bit = i / 8 * 4;
            store_pair(to[b], i, _mm512_fmadd_ps(nibble_at(block, qs, bit, codes), d, m),
                       _mm512_fmadd_ps(nibble_at(block, qs + 1, bit, codes), d, m));
        }
    }
}

DEFINE_BF16_GEMM_BY_16(q4_1, 32)
