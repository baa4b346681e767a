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

// Nibble k of the first 8 bytes (low nibbles first) is the low part of scale k; bits 2 * (k / 4) of byte 8 + k % 4 are
// its high part. The load takes the two bytes before the scales too, so that it ends within the block.
ALWAYS_INLINE __m256i load_scales(const struct block_q3_k *x)
{
    const __m128i bytes =
        _mm_loadu_si128((const __m128i *)((const uint8_t *)x + offsetof(struct block_q3_k, scales) - 2));
    const __m128i low = _mm_shuffle_epi8(bytes, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    const __m128i high =
        _mm_shuffle_epi8(bytes, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const __m128i nibbles = _mm_and_si128(_mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 4, 4)), _mm_set1_epi8(15));
    const __m128i twos = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const __m128i scales = _mm_or_si128(nibbles, _mm_slli_epi16(twos, 4));
    return _mm256_cvtepi8_epi16(_mm_sub_epi8(scales, _mm_set1_epi8(32)));
}

ALWAYS_INLINE void unpack_row(const struct block_q3_k *x, uint32_t n_blocks, struct row_block *row)
{
    (void)n_blocks;
    const __m512i hmask = load_twice_32(x->hmask);
    const __m256i scales = load_scales(x);
    for (int v = 0; v < 4; v++) {
        const __m512i qs = load_twice_32(x->qs + 32 * (v / 2));
        const __m512i codes = codes_of(qs, hmask, 2 * (v % 2), 2 * v);
        store_codes(row, v, _mm512_shuffle_epi8(scaled_codes(scales, v, 4, 124), codes));
    }
    row->params[0] = bits_from_float(half_at(x->d));
}

DEFINE_UNPACK_BY_ROW(q3_k, 256)
DEFINE_GEMM(q3_k, PANEL_WHOLE, 256)
