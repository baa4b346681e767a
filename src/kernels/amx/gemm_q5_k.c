// GEMM of Q5_K.
#include "kernels/amx/bf16_unpack_16.h"

ALWAYS_INLINE void unpack_16(const struct block_q5_k *x, uint64_t stride, bf16_tile *to)
{
    byte_lanes lanes[44];
    __m512 scales[8], mins[8];
    transpose_bytes(x, stride, sizeof *x, lanes);
    scales_of_q4_k(lanes, scales, mins);
    const __m512 codes[2] = {steps_from(0), steps_from(16)};
    for (uint32_t v = 0; v < 4; v++) {
        const byte_lanes *qh = lanes + 4, *qs = lanes + 12 + 8 * v;
        UNROLL
        for (uint32_t high = 0; high < 2; high++, to++) {
            const __m512 scale = scales[2 * v + high], min = mins[2 * v + high];
            UNROLL
            for (uint32_t i = 0; i < 16; i++) {
                const __m512i bits = _mm512_srl_epi32(qh[i / 2], _mm_cvtsi32_si128((int)(2 * v + high)));
                const uint32_t from = 16 * (i % 2);
                store_pair(*to, i, _mm512_fmadd_ps(five_bits_at(qs, 2 * i, 4 * high, bits, from, codes), scale, min),
                           _mm512_fmadd_ps(five_bits_at(qs, 2 * i + 1, 4 * high, bits, from + 8, codes), scale, min));
            }
        }
    }
}

DEFINE_BF16_GEMM_BY_16(q5_k, 256)
