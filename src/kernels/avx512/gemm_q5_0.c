// GEMM of Q5_0: codes moved so that their zero point 16 becomes 128.
#include "kernels/avx512/gemm_unpack_32.h"

ALWAYS_INLINE __m512i codes_of_two(const struct block_q5_0 *x, const struct block_q5_0 *next)
{
    const __m512i low = _mm512_add_epi8(nibbles_of_two(x->qs, next->qs), _mm512_set1_epi8(112));
    return _mm512_mask_add_epi8(low, high_bits_of_two(x->qh, next->qh), low, _mm512_set1_epi8(16));
}

DEFINE_UNPACK_ROW_32(q5_0)
DEFINE_UNPACK_BY_ROW(q5_0, 32)
DEFINE_GEMM(q5_0, PANEL_BLOCKS_32, 32)
