// GEMM of Q8_0.
#include "kernels/amx/bf16_panel.h"

ALWAYS_INLINE void round_row(const struct block_q8_0 *x, uint32_t n_blocks, uint16_t *to)
{
    for (uint32_t b = 0; b < n_blocks; b++) {
        const __m512 d = _mm512_set1_ps(half_at(x[b].d));
        const __m512i low = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x[b].qs));
        const __m512i high = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(x[b].qs + 16)));
        _mm512_store_si512(to + 32 * b, round_to_bf16(_mm512_mul_ps(_mm512_cvtepi32_ps(low), d),
                                                      _mm512_mul_ps(_mm512_cvtepi32_ps(high), d)));
    }
}

DEFINE_BF16_GEMM(q8_0, 32)
