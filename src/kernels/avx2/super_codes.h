// The codes and scales of the K-quants: 32 codes to a register, in natural order.
#ifndef CHORD_KERNELS_AVX2_SUPER_CODES_H
#define CHORD_KERNELS_AVX2_SUPER_CODES_H

#include "kernels/avx2/avx2.h"

// ---- codes of elements 32v..32v+31 ---------------------------------------------------------------------------------------

// Elements 32v..32v+31.
ALWAYS_INLINE __m256i codes_of_q2_k(const struct block_q2_k *x, int v)
{
    return _mm256_and_si256(_mm256_srli_epi16(load_32(x->qs + 32 * (v / 4)), 2 * (v % 4)), _mm256_set1_epi8(3));
}

// Elements 32v..32v+31: two bits of qs, bit v of hmask.
ALWAYS_INLINE __m256i codes_of_q3_k(const struct block_q3_k *x, int v)
{
    const __m256i qs = load_32(x->qs + 32 * (v / 4));
    const __m256i plane = load_32(x->hmask);
    const __m256i low = _mm256_and_si256(_mm256_srli_epi16(qs, 2 * (v % 4)), _mm256_set1_epi8(3));
    const __m256i moved = v < 2 ? _mm256_slli_epi16(plane, 2 - v) : _mm256_srli_epi16(plane, v - 2);
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(4)));
}

// Sub-block v: the low (even v) or high nibbles of 32 bytes.
ALWAYS_INLINE __m256i codes_of_q4_k(const struct block_q4_k *x, int v)
{
    const __m256i bytes = load_32(x->qs + 32 * (v / 2));
    return _mm256_and_si256(v % 2 == 0 ? bytes : _mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}

// Sub-block v: the low (even v) or high nibbles of 32 bytes, and bit v of the plane moved to bit 4.
ALWAYS_INLINE __m256i codes_of_q5_k(const struct block_q5_k *x, int v)
{
    const __m256i bytes = load_32(x->qs + 32 * (v / 2));
    const __m256i plane = load_32(x->qh);
    const __m256i moved = v < 4 ? _mm256_slli_epi16(plane, 4 - v) : _mm256_srli_epi16(plane, v - 4);
    const __m256i nibbles = _mm256_and_si256(v % 2 == 0 ? bytes : _mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    return _mm256_or_si256(nibbles, _mm256_and_si256(moved, _mm256_set1_epi8(16)));
}

// Elements 32v..32v+31: a nibble of ql, two bits of qh.
ALWAYS_INLINE __m256i codes_of_q6_k(const struct block_q6_k *x, int v)
{
    const int half = v / 4, j = v % 4;
    const __m256i ql = load_32(x->ql + 64 * half + 32 * (j % 2));
    const __m256i qh = load_32(x->qh + 32 * half);
    const __m256i low = _mm256_and_si256(j < 2 ? ql : _mm256_srli_epi16(ql, 4), _mm256_set1_epi8(15));
    const __m256i moved = j < 2 ? _mm256_slli_epi16(qh, 4 - 2 * j) : _mm256_srli_epi16(qh, 2 * j - 4);
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
}

// ---- scales of 16 sub-blocks, 16 bits each -------------------------------------------------------------------------------

struct scales_mins_16 {
    __m256i scales, mins;
};

ALWAYS_INLINE struct scales_mins_16 scales_of_q2_k(const struct block_q2_k *x)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)x->scales), nibble = _mm_set1_epi8(15);
    return (struct scales_mins_16){
        .scales = _mm256_cvtepu8_epi16(_mm_and_si128(bytes, nibble)),
        .mins = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), nibble)),
    };
}

// Nibble k of the first 8 bytes (low nibbles first) is the low part of scale k; bits 2 * (k / 4) of byte 8 + k % 4 are
// its high part. The load takes the two bytes before the scales too, so that it ends with the block.
ALWAYS_INLINE __m256i scales_of_q3_k(const struct block_q3_k *x)
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

ALWAYS_INLINE __m256i scales_of_q6_k(const struct block_q6_k *x)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x->scales));
}

// ---- scales and mins of 8 sub-blocks ------------------------------------------------------------------------------------

struct scales_32 {
    __m256i scales; // 8 of 16 bits, in both lanes
    __m128i mins;   // 8 of 16 bits
};

ALWAYS_INLINE struct scales_32 load_scales_32(const uint8_t bytes[12])
{
    uint32_t u[3];
    memcpy(u, bytes, sizeof u);
    const uint32_t scales_low = u[0] & 0x3f3f3f3fu;
    const uint32_t scales_high = (u[2] & 0x0f0f0f0fu) | (u[0] >> 6 & 0x03030303u) << 4;
    const uint32_t mins_low = u[1] & 0x3f3f3f3fu;
    const uint32_t mins_high = (u[2] >> 4 & 0x0f0f0f0fu) | (u[1] >> 6 & 0x03030303u) << 4;
    const __m256i words =
        _mm256_cvtepu8_epi16(_mm_set_epi32((int)mins_high, (int)mins_low, (int)scales_high, (int)scales_low));
    return (struct scales_32){
        .scales = _mm256_permute4x64_epi64(words, 0x44),
        .mins = _mm256_extracti128_si256(words, 1),
    };
}

#endif
