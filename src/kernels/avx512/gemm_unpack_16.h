// What the unpackers that go by 16 rows share: bytes are transposed as they lie in the file and taken apart afterwards, a
// 32-bit lane for each row.
#ifndef CHORD_KERNELS_AVX512_GEMM_UNPACK_16_H
#define CHORD_KERNELS_AVX512_GEMM_UNPACK_16_H

#include "kernels/avx512/gemm_panel.h"

// Of every byte the low or the high nibble.
ALWAYS_INLINE __m512i low_nibbles(__m512i bytes)
{
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}
ALWAYS_INLINE __m512i high_nibbles(__m512i bytes)
{
    return move_bits(bytes, 4, 4, 0, 4);
}

// ---- integer scales --------------------------------------------------------------------------------------------------

// params[s] = d * scale, of 16 rows.
ALWAYS_INLINE void store_scale(struct panel_block *to, uint32_t s, __m512i scale, __m512 d)
{
    _mm512_store_ps(to->params[s], _mm512_mul_ps(_mm512_cvtepi32_ps(scale), d));
}

// Elements 4 * step to 4 * step + 3.
ALWAYS_INLINE void store_codes(struct panel_block *to, uint32_t step, __m512i codes)
{
    _mm512_store_si512(to->codes[step], codes);
}

// Bytes j of all lanes.
ALWAYS_INLINE __m512i unsigned_bytes(__m512i lanes, const unsigned j)
{
    return _mm512_and_si512(_mm512_srli_epi32(lanes, 8 * j), _mm512_set1_epi32(255));
}
ALWAYS_INLINE __m512i signed_bytes(__m512i lanes, const unsigned j)
{
    return _mm512_srai_epi32(_mm512_slli_epi32(lanes, 24 - 8 * j), 24);
}

// ---- headers of Q4_K and Q5_K ----------------------------------------------------------------------------------------

// Words `first` and `second` of every lane: these bytes of the same lane.
ALWAYS_INLINE __m512i bytes_as_words(__m512i v, const unsigned first, const unsigned second)
{
    const int32_t pattern = (int32_t)(0x80008000u | first | second << 16);
    const __m128i index = _mm_setr_epi32(pattern, pattern + 0x00040004, pattern + 0x00080008, pattern + 0x000c000c);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(index));
}

// `header`: the first 16 bytes of a block of the first row. Parameters: [0..7] = d * scale (exact: 11 bits by 6), [8..11] =
// mins as 16-bit pairs, [12] = -dmin. quant/blocks.h: q4_k_scale_min, four sub-blocks at a time.
ALWAYS_INLINE void unpack_header(const void *header, uint64_t stride, struct panel_block *to)
{
    __m512i h[4];
    transpose_16x4(header, stride, h);
    const __m512i six = _mm512_set1_epi8(0x3f), low = _mm512_set1_epi8(0x0f), top = _mm512_set1_epi8(0x30);
    const __m512i a = h[1], b = h[2], c = h[3];
    const __m512i scales[2] = {_mm512_and_si512(a, six),
                               and_or(c, low, _mm512_and_si512(_mm512_srli_epi32(a, 2), top))};
    const __m512i mins[2] = {_mm512_and_si512(b, six),
                             and_or(_mm512_srli_epi32(c, 4), low, _mm512_and_si512(_mm512_srli_epi32(b, 2), top))};
    const __m512 d = floats_of_halves(h[0]), dmin = floats_of_halves(_mm512_srli_epi32(h[0], 16));
    UNROLL
    for (uint32_t s = 0; s < 8; s++)
        store_scale(to, s, unsigned_bytes(scales[s / 4], s % 4), d);
    UNROLL
    for (uint32_t i = 0; i < 4; i++)
        _mm512_store_si512(to->params[8 + i], bytes_as_words(mins[i / 2], i % 2 * 2, i % 2 * 2 + 1));
    _mm512_store_ps(to->params[12], _mm512_xor_ps(dmin, _mm512_set1_ps(-0.0f)));
}

#endif
