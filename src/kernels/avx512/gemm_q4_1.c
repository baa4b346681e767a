// GEMM of Q4_1.
#include "kernels/avx512/gemm_unpack_32.h"

ALWAYS_INLINE __m512i codes_of_two(const struct block_q4_1 *x, const struct block_q4_1 *next)
{
    return nibbles_of_two(x->qs, next->qs);
}

DEFINE_UNPACK_ROW_32_MIN(q4_1)
DEFINE_UNPACK_BY_ROW(q4_1, 32)
DEFINE_GEMM(q4_1, PANEL_BLOCKS_32_MIN, 32)
