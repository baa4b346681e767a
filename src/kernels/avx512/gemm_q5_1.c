// GEMM of Q5_1.
#include "kernels/avx512/gemm_unpack_32.h"

ALWAYS_INLINE __m512i codes_of_two(const struct block_q5_1 *x, const struct block_q5_1 *next)
{
    const __m512i low = nibbles_of_two(x->qs, next->qs);
    return _mm512_mask_add_epi8(low, high_bits_of_two(x->qh, next->qh), low, _mm512_set1_epi8(16));
}

DEFINE_UNPACK_ROW_32_MIN(q5_1)
DEFINE_UNPACK_BY_ROW(q5_1, 32)
DEFINE_GEMM(q5_1, PANEL_BLOCKS_32_MIN, 32)
