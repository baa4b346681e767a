// GEMM of Q8_0: flipping the sign bit adds 128.
#include "kernels/avx512/gemm_unpack_32.h"

ALWAYS_INLINE __m512i codes_of_two(const struct block_q8_0 *x, const struct block_q8_0 *next)
{
    const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)x->qs));
    const __m512i both = _mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i *)next->qs), 1);
    return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
}

DEFINE_UNPACK_ROW_32(q8_0)
DEFINE_UNPACK_BY_ROW(q8_0, 32)
DEFINE_GEMM(q8_0, PANEL_BLOCKS_32, 32)
