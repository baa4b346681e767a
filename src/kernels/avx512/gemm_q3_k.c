// GEMM of Q3_K: a scale is at least -32 and at most 31, a code stands for -4..3, so their product is -124..128 and
// fits a byte with zero point 124. params[0] = d.
#include "kernels/avx512/gemm_unpack_256.h"

// Bits 2j, 2j+1 of qs and bit `plane` of hmask (lower half), 2j+2, 2j+3 and `plane` + 1 (upper half), as bits 0..2.
ALWAYS_INLINE __m512i codes_of(__m512i qs, __m512i hmask, int j, int plane)
{
    const __m512i low = move_bits(qs, 2 * j, 2 * j + 2, 0, 2);
    const __m512i high = move_bits(hmask, plane, plane + 1, 2, 1);
    return _mm512_or_si512(low, high);
}

ALWAYS_INLINE void unpack_row(const struct block_q3_k *x, uint32_t n_blocks, struct row_block *row)
{
    (void)n_blocks;
    const __m512i hmask = load_twice_32(x->hmask);
    const __m256i scales = _mm256_cvtepi8_epi16(load_q3_k_scales(x));
    for (int v = 0; v < 4; v++) {
        const __m512i qs = load_twice_32(x->qs + 32 * (v / 2));
        const __m512i codes = codes_of(qs, hmask, 2 * (v % 2), 2 * v);
        store_codes(row, v, _mm512_shuffle_epi8(scaled_codes(scales, v, 4, 124), codes));
    }
    row->params[0] = bits_from_float(load_half(x->d));
}

DEFINE_UNPACK_BY_ROW(q3_k, 256)
DEFINE_GEMM(q3_k, PANEL_WHOLE, 256)
