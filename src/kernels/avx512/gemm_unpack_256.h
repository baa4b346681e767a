// What the unpackers of super-blocks share. Codes come 64 at a time in natural order.
#ifndef CHORD_KERNELS_AVX512_GEMM_UNPACK_256_H
#define CHORD_KERNELS_AVX512_GEMM_UNPACK_256_H

#include "kernels/avx512/gemm_panel.h"

#include "base/half.h"

#include <string.h>

ALWAYS_INLINE float half_at(const uint8_t p[2])
{
    return _cvtsh_ss(block_u16(p));
}

ALWAYS_INLINE void store_codes(struct row_block *row, int v, __m512i codes)
{
    _mm512_store_si512(row->codes + 64 * v, codes);
}

#if TILE_UNIT
// Multiplies the row's codes, less `zero`, by the 16-bit scales of their 16 sub-blocks of 16 and splits the products.
ALWAYS_INLINE void split_codes(struct row_block *row, __m256i scales, int zero)
{
    const __m512i lanes = _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
                                           0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
    const __m512i none = _mm512_setzero_si512(), low = _mm512_set1_epi16(127), z = _mm512_set1_epi16((short)zero);
    for (int v = 0; v < 4; v++) {
        const __m512i scale = _mm512_permutexvar_epi16(_mm512_add_epi16(lanes, _mm512_set1_epi16((short)(4 * v))),
                                                       _mm512_castsi256_si512(scales));
        const __m512i codes = _mm512_load_si512(row->codes + 64 * v);
        const __m512i a = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_unpacklo_epi8(codes, none), z), scale);
        const __m512i b = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_unpackhi_epi8(codes, none), z), scale);
        _mm512_store_si512(row->codes + 64 * v,
                           _mm512_packus_epi16(_mm512_and_si512(a, low), _mm512_and_si512(b, low)));
        _mm512_store_si512(row->high + 64 * v, _mm512_packs_epi16(_mm512_srai_epi16(a, 7), _mm512_srai_epi16(b, 7)));
    }
}
#endif

// The parameters of Q4_K and Q5_K: params[0..7] = d * scale (exact: 11 bits by 6), or, split, params[0] = d; [8..11] = mins as
// 16-bit pairs, [12] = -dmin. `bytes` is the 12 of quant/blocks.h: q4_k_scale_min, four sub-blocks at a time.
ALWAYS_INLINE void unpack_q4_k_params(const uint8_t d[2], const uint8_t dmin[2], const uint8_t bytes[12],
                                      struct row_block *row)
{
    uint32_t a, b, c;
    memcpy(&a, bytes, sizeof a);
    memcpy(&b, bytes + 4, sizeof b);
    memcpy(&c, bytes + 8, sizeof c);
    const uint32_t six = 0x3f3f3f3f, low = 0x0f0f0f0f, top = 0x30303030;
    const uint64_t s = (a & six) | (uint64_t)((c & low) | (a >> 2 & top)) << 32;
    const uint64_t m = (b & six) | (uint64_t)((c >> 4 & low) | (b >> 2 & top)) << 32;
    const __m128i scales = _mm_cvtsi64_si128((long long)s);
#if TILE_UNIT
    split_codes(row, _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(scales, scales)), 0);
    row->params[0] = bits_from_float(half_at(d));
#else
    const __m256 floats = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(scales));
    _mm256_storeu_ps((float *)row->params, _mm256_mul_ps(floats, _mm256_set1_ps(half_at(d))));
#endif
    _mm_storeu_si128((__m128i *)(void *)(row->params + 8), _mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)m)));
    row->params[12] = bits_from_float(-half_at(dmin));
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
