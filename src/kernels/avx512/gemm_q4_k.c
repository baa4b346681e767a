// GEMM of Q4_K.
#include "kernels/avx512/gemm_unpack_256.h"

ALWAYS_INLINE void unpack_row(const struct block_q4_k *x, uint32_t n_blocks, struct row_block *row)
{
    (void)n_blocks;
    for (int v = 0; v < 4; v++) {
        const __m512i qs = _mm512_srlv_epi64(load_twice_32(x->qs + 32 * v), _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
        store_codes(row, v, _mm512_and_si512(qs, _mm512_set1_epi8(15)));
    }
    unpack_q4_k_params(x->d, x->dmin, x->scales, row);
}

DEFINE_GEMM_SPLIT(q4_k, PANEL_SUB_32_MIN)
