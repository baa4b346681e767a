// GEMM of Q2_K: a table for 8 sub-blocks.
#include "kernels/amx/bf16_panel.h"

// Entry 4 * s + q: the weight of code q in sub-block s of 8.
ALWAYS_INLINE __m512i table_of_8(__m512 scales, __m512 mins, const int first)
{
    const __m512i four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i lower = _mm512_add_epi32(four, _mm512_set1_epi32(first));
    const __m512i upper = _mm512_add_epi32(four, _mm512_set1_epi32(first + 4));
    const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    return round_to_bf16(
        _mm512_fmadd_ps(steps, _mm512_permutexvar_ps(lower, scales), _mm512_permutexvar_ps(lower, mins)),
        _mm512_fmadd_ps(steps, _mm512_permutexvar_ps(upper, scales), _mm512_permutexvar_ps(upper, mins)));
}

ALWAYS_INLINE void round_row(const struct block_q2_k *x, uint32_t n_blocks, uint16_t *to)
{
    (void)n_blocks;
    const __m128i bytes = _mm_loadu_si128((const __m128i *)x->scales), nibble = _mm_set1_epi8(15);
    const __m512i s = _mm512_cvtepu8_epi32(_mm_and_si128(bytes, nibble));
    const __m512i m = _mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    const __m512 scales = _mm512_mul_ps(_mm512_cvtepi32_ps(s), _mm512_set1_ps(load_half(x->d)));
    const __m512 mins = _mm512_mul_ps(_mm512_cvtepi32_ps(m), _mm512_set1_ps(-load_half(x->dmin)));
    const __m512i code = _mm512_set1_epi16(3);
    const __m512i sub_block = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    UNROLL
    for (int half = 0; half < 2; half++) {
        const __m512i table = table_of_8(scales, mins, 8 * half);
        const __m512i qs = load_32_codes(x->qs + 32 * half);
        UNROLL
        for (int j = 0; j < 4; j++) {
            const __m512i entry = _mm512_add_epi16(sub_block, _mm512_set1_epi16((short)(8 * j)));
            store_looked_up(table, select_bits(code, _mm512_srli_epi16(qs, (unsigned)(2 * j)), entry),
                            to + 128 * half + 32 * j);
        }
    }
}

DEFINE_BF16_GEMM(q2_k, 256)
