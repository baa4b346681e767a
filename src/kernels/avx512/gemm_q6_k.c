// GEMM of Q6_K: params[s] = d * scale of sub-block s (exact: 11 bits by 8).
#include "kernels/avx512/gemm_unpack_256.h"

// Moves bits 2j, 2j+1 of qh (lower half) and 2j+2, 2j+3 (upper half) to bits 4 and 5.
ALWAYS_INLINE __m512i high_bits(__m512i qh, int j)
{
    return move_bits(qh, 2 * j, 2 * j + 2, 4, 2);
}

ALWAYS_INLINE void unpack_row(const struct block_q6_k *x, uint32_t n_blocks, struct row_block *row)
{
    (void)n_blocks;
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int half = 0; half < 2; half++) {
        const __m512i ql = _mm512_loadu_si512(x->ql + 64 * half);
        const __m512i qh = load_twice_32(x->qh + 32 * half);
        store_codes(row, 2 * half, and_or(ql, nibble, high_bits(qh, 0)));
        store_codes(row, 2 * half + 1, and_or(_mm512_srli_epi16(ql, 4), nibble, high_bits(qh, 2)));
    }
    const __m128i scales = _mm_loadu_si128((const __m128i *)x->scales);
#if TILE_UNIT
    split_codes(row, _mm256_cvtepi8_epi16(scales), 32);
    row->params[0] = bits_from_float(half_at(x->d));
#else
    const __m512 floats = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scales));
    _mm512_store_ps(row->params, _mm512_mul_ps(floats, _mm512_set1_ps(half_at(x->d))));
#endif
}

DEFINE_GEMM_SPLIT(q6_k, PANEL_SUB_16)
