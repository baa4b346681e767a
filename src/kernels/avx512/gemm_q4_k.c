// GEMM of Q4_K.
#include "kernels/avx512/gemm_unpack_16.h"

ALWAYS_INLINE void unpack_16(const struct block_q4_k *x, uint64_t stride, uint32_t n_blocks, struct panel_block *to)
{
    (void)n_blocks;
    unpack_header(x, stride, to);
    UNROLL
    for (uint32_t piece = 0; piece < 8; piece++) {
        __m512i qs[4];
        transpose_16x4(x->qs + 16 * piece, stride, qs);
        const uint32_t s = piece / 2 * 2, step = 8 * s + 4 * (piece % 2);
        UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            store_codes(to, step + i, low_nibbles(qs[i]));
            store_codes(to, step + 8 + i, high_nibbles(qs[i]));
        }
    }
}

DEFINE_UNPACK_BY_16(q4_k, 256)
DEFINE_GEMM(q4_k, PANEL_SUB_32_MIN, 256)
