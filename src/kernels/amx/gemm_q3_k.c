// GEMM of Q3_K: a table for 4 sub-blocks.
#include "kernels/amx/bf16_panel.h"

// Entry 8 * s + q: the weight of code q, which stands for q - 4, in sub-block s of 4.
ALWAYS_INLINE __m512i table_of_4(__m512 scales, const int first)
{
    const __m512i two = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512 steps = _mm512_setr_ps(-4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1, 0, 1, 2, 3);
    const __m512 lower = _mm512_permutexvar_ps(_mm512_add_epi32(two, _mm512_set1_epi32(first)), scales);
    const __m512 upper = _mm512_permutexvar_ps(_mm512_add_epi32(two, _mm512_set1_epi32(first + 2)), scales);
    return round_to_bf16(_mm512_mul_ps(steps, lower), _mm512_mul_ps(steps, upper));
}

// Bit b of each, moved to bit 2.
ALWAYS_INLINE __m512i high_bits(__m512i hmask, int b)
{
    return b < 2 ? _mm512_slli_epi16(hmask, (unsigned)(2 - b)) : _mm512_srli_epi16(hmask, (unsigned)(b - 2));
}

ALWAYS_INLINE void round_row(const struct block_q3_k *x, uint32_t n_blocks, uint16_t *to)
{
    (void)n_blocks;
    const __m512i integers = _mm512_cvtepi8_epi32(load_q3_k_scales(x));
    const __m512 scales = _mm512_mul_ps(_mm512_cvtepi32_ps(integers), _mm512_set1_ps(load_half(x->d)));
    const __m512i hmask = load_32_codes(x->hmask), two_bits = _mm512_set1_epi16(3), code = _mm512_set1_epi16(7);
    const __m512i sub_block = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(8), 1);
    UNROLL
    for (int v = 0; v < 4; v++) {
        const __m512i table = table_of_4(scales, 4 * v);
        const __m512i qs = load_32_codes(x->qs + 32 * (v / 2));
        UNROLL
        for (int j = 0; j < 2; j++) {
            const __m512i low = _mm512_srli_epi16(qs, (unsigned)(4 * (v % 2) + 2 * j));
            const __m512i codes = select_bits(two_bits, low, high_bits(hmask, 2 * v + j));
            const __m512i entry = _mm512_add_epi16(sub_block, _mm512_set1_epi16((short)(16 * j)));
            store_looked_up(table, select_bits(code, codes, entry), to + 64 * v + 32 * j);
        }
    }
}

DEFINE_BF16_GEMM(q3_k, 256)
