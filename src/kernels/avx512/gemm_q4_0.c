// GEMM of Q4_0: codes moved so that their zero point 8 becomes 128.
#include "kernels/avx512/gemm_unpack_32.h"

ALWAYS_INLINE __m512i codes_of_two(const struct block_q4_0 *x, const struct block_q4_0 *next)
{
    return _mm512_add_epi8(nibbles_of_two(x->qs, next->qs), _mm512_set1_epi8(120));
}

DEFINE_UNPACK_ROW_32(q4_0)
DEFINE_UNPACK_BY_ROW(q4_0, 32)
DEFINE_GEMM(q4_0, PANEL_BLOCKS_32, 32)
