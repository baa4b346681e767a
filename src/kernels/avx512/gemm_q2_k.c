// GEMM of Q2_K: codes times their 4-bit scales are at most 45. params[0] = d, [1..8] = mins as 16-bit pairs, [9] =
// -dmin.
#include "kernels/avx512/gemm_unpack_256.h"

// Bits 2j, 2j+1 of qs (lower half) and 2j+2, 2j+3 (upper half).
ALWAYS_INLINE __m512i codes_of(__m512i qs, int j)
{
    return move_bits(qs, 2 * j, 2 * j + 2, 0, 2);
}

ALWAYS_INLINE void unpack_row(const struct block_q2_k *x, uint32_t n_blocks, struct row_block *row)
{
    (void)n_blocks;
    const __m128i bytes = _mm_loadu_si128((const __m128i *)x->scales);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m256i scales = _mm256_cvtepu8_epi16(_mm_and_si128(bytes, nibble));
    const __m256i mins = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    for (int v = 0; v < 4; v++) {
        const __m512i codes = codes_of(load_twice_32(x->qs + 32 * (v / 2)), 2 * (v % 2));
        store_codes(row, v, _mm512_shuffle_epi8(scaled_codes(scales, v, 0, 0), codes));
    }
    row->params[0] = bits_from_float(load_half(x->d));
    _mm256_storeu_si256((__m256i *)(void *)(row->params + 1), mins);
    row->params[9] = bits_from_float(-load_half(x->dmin));
}

DEFINE_UNPACK_BY_ROW(q2_k, 256)
DEFINE_GEMM(q2_k, PANEL_WHOLE_MIN, 256)
