// What the unpackers of super-blocks that go row by row share. Codes come 64 at a time in natural order.
#ifndef CHORD_KERNELS_AVX512_GEMM_UNPACK_256_H
#define CHORD_KERNELS_AVX512_GEMM_UNPACK_256_H

#include "kernels/avx512/gemm_panel.h"

#include "base/half.h"

ALWAYS_INLINE void store_codes(struct row_block *row, int v, __m512i codes)
{
    _mm512_store_si512(row->codes + 64 * v, codes);
}

// The 16 scales of Q3_K, -32..31. Nibble k of the first 8 bytes (low nibbles first) is the low part of scale k; bits 2 * (k / 4)
// of byte 8 + k % 4 are its high part. The load takes the two bytes before the scales too, so that it ends within the block.
ALWAYS_INLINE __m128i load_q3_k_scales(const struct block_q3_k *x)
{
    const __m128i bytes =
        _mm_loadu_si128((const __m128i *)((const uint8_t *)x + offsetof(struct block_q3_k, scales) - 2));
    const __m128i low = _mm_shuffle_epi8(bytes, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    const __m128i high =
        _mm_shuffle_epi8(bytes, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const __m128i nibbles = _mm_and_si128(_mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 4, 4)), _mm_set1_epi8(15));
    const __m128i twos = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const __m128i scales = _mm_or_si128(nibbles, _mm_slli_epi16(twos, 4));
    return _mm_sub_epi8(scales, _mm_set1_epi8(32));
}

// scales: 16-bit integers of 16 sub-blocks. Lane i of table v: the bytes scale[4v + i] * (q - zero) + bias for q =
// 0..7, twice; all must lie in 0..255.
ALWAYS_INLINE __m512i scaled_codes(__m256i scales, int v, int zero, int bias)
{
    const __m512i lanes = _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
                                           0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
    const __m512i scale = _mm512_permutexvar_epi16(_mm512_add_epi16(lanes, _mm512_set1_epi16((short)(4 * v))),
                                                   _mm512_castsi256_si512(scales));
    const __m512i steps =
        _mm512_broadcast_i32x4(_mm_sub_epi16(_mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7), _mm_set1_epi16((short)zero)));
    const __m512i products = _mm512_add_epi16(_mm512_mullo_epi16(scale, steps), _mm512_set1_epi16((short)bias));
    return _mm512_packus_epi16(products, products);
}

#endif
