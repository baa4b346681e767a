// GEMM of Q5_K.
#include "kernels/avx512/gemm_unpack_16.h"

// Bit s of every byte, as bit 4.
ALWAYS_INLINE __m512i fifth_bits(__m512i qh, const uint32_t s)
{
    return move_bits(qh, (int)s, (int)s, 4, 1);
}

ALWAYS_INLINE void unpack_16(const struct block_q5_k *x, uint64_t stride, uint32_t n_blocks, struct panel_block *to)
{
    (void)n_blocks;
    unpack_header(x, stride, to);
    __m512i qh[8];
    transpose_16x4(x->qh, stride, qh);
    transpose_16x4(x->qh + 16, stride, qh + 4);
    UNROLL
    for (uint32_t piece = 0; piece < 8; piece++) {
        __m512i qs[4];
        transpose_16x4(x->qs + 16 * piece, stride, qs);
        const uint32_t s = piece / 2 * 2, step = 8 * s + 4 * (piece % 2);
        UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            const __m512i high = qh[4 * (piece % 2) + i];
            store_codes(to, step + i, _mm512_or_si512(low_nibbles(qs[i]), fifth_bits(high, s)));
            store_codes(to, step + 8 + i, _mm512_or_si512(high_nibbles(qs[i]), fifth_bits(high, s + 1)));
        }
    }
}

DEFINE_UNPACK_BY_16(q5_k, 256)
DEFINE_GEMM(q5_k, PANEL_SUB_32_MIN, 256)
