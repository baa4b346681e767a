// What the kernels of types with 32-element blocks share: four blocks per step, the group of activation_group_32.
#ifndef CHORD_KERNELS_AVX512_BLOCKS_32_H
#define CHORD_KERNELS_AVX512_BLOCKS_32_H

#include "kernels/avx512/avx512.h"

#include <string.h>

// Four blocks: unsigned codes in the order of activation_group_32, lane l of d and m belonging to block l / 4.
struct codes_32 {
    __m512i low, high;
    __m512 d, m; // m: only of types with mins
};

// The nibbles of 16 bytes of each of four blocks: low ones are elements 0..15, high ones 16..31.
ALWAYS_INLINE __m512i low_nibbles(__m512i bytes)
{
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}

ALWAYS_INLINE __m512i high_nibbles(__m512i bytes)
{
    return move_bits(bytes, 4, 4, 0, 4);
}

// Bit 4 of 16 codes per block from `qh`, in whose 128-bit lane b the bytes `first` and `first` + 1 are the high bits of
// elements 0..7 and 8..15 of block b. With GFNI the bits are the matrix: byte 3 of a qword is the row of result bit 4,
// and the source byte 1 << i picks element i's.
ALWAYS_INLINE __m512i fifth_bits(__m512i qh, int first)
{
    const char a = (char)first, b = (char)(first + 1);
    const __m512i elements = _mm512_set1_epi64((long long)0x8040201008040201ull);
#ifdef __GFNI__
    const __m512i place =
        _mm512_broadcast_i32x4(_mm_setr_epi8(-1, -1, -1, a, -1, -1, -1, -1, -1, -1, -1, b, -1, -1, -1, -1));
    return _mm512_gf2p8affine_epi64_epi8(elements, _mm512_shuffle_epi8(qh, place), 0);
#else
    const __m512i place = _mm512_broadcast_i32x4(_mm_setr_epi8(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b));
    const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(qh, place), elements);
    return _mm512_maskz_mov_epi8(set, _mm512_set1_epi8(16));
#endif
}

// The half at p, p + stride, ... of four blocks.
ALWAYS_INLINE __m512 load_four_halves(const void *p, uint64_t stride)
{
    uint64_t words = 0;
    for (uint64_t b = 0; b < 4; b++) {
        uint16_t half;
        memcpy(&half, (const uint8_t *)p + b * stride, sizeof half);
        words |= (uint64_t)half << 16 * b;
    }
    return select_halves(header_words(0, 1), _mm512_castsi128_si512(_mm_cvtsi64_si128((long long)words)));
}

// sum + the products of one group: d * scale * (codes . q + zero), zero being the share of the codes' zero point,
// 8 << zero_shift; codes are at most 31 unless it is 128;
// for types with mins + m * scale * sum(q), from -2 * sum(q) in each of four lanes.
#define ZERO_SHIFT_128 4
ALWAYS_INLINE __m512 add_products_32(__m512 sum, struct codes_32 codes, const struct activation_group_32 *y,
                                     const int zero_shift, const bool has_min)
{
    const __m512i zero = _mm512_load_si512(y->zero);
    const __m512 scale = _mm512_load_ps(y->scale);
    const __m512i low = _mm512_load_si512(y->low), high = _mm512_load_si512(y->high);
    __m512i dot = _mm512_setzero_si512();
    if (zero_shift == ZERO_SHIFT_128) {
        if (WIDE_BIAS == 0)
            dot = _mm512_slli_epi32(zero, ZERO_SHIFT_128);
        dot = add_dot_wide(add_dot_wide(dot, codes.low, low), codes.high, high);
    } else {
        if (!has_min)
            dot = _mm512_slli_epi32(zero, (unsigned)zero_shift);
        dot = add_dot(add_dot(dot, codes.low, low), codes.high, high);
    }
    if (has_min) {
        const __m512 m = _mm512_mul_ps(_mm512_mul_ps(codes.m, _mm512_set1_ps(-0.125f)), scale);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(zero), m, sum);
    }
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(codes.d, scale), sum);
}

// Defines dot_<type> and matvec_<type> from `struct codes_32 unpack_<type>(const struct block_<type> x[4])`.
// zero_shift: log2(zero point / 8). A last group of fewer than four blocks is padded with zeros on the stack.
#define DEFINE_MATVEC_32(type, zero_shift, has_min)                                                              \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                    \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                  \
    {                                                                                                            \
        const struct block_##type *x = (const struct block_##type *)row;                                         \
        const uint64_t n_groups = n / 128;                                                                       \
        const uint64_t n_rest = n / 32 % 4;                                                                      \
        __m512 sums[MATVEC_MAX_COLUMNS];                                                                         \
        for (uint32_t c = 0; c < n_columns; c++)                                                                 \
            sums[c] = _mm512_setzero_ps();                                                                       \
        for (uint64_t g = 0; g < n_groups; g++, x += 4) {                                                        \
            if (g % 2 == 0)                                                                                      \
                prefetch_stream(ahead, x, 8 * sizeof *x);                                                        \
            const struct codes_32 codes = unpack_##type(x);                                                      \
            for (uint32_t c = 0; c < n_columns; c++) {                                                           \
                const struct activation_group_32 *y = (const struct activation_group_32 *)columns[c] + g;        \
                sums[c] = add_products_32(sums[c], codes, y, zero_shift, has_min);                               \
            }                                                                                                    \
        }                                                                                                        \
        if (n_rest != 0) {                                                                                       \
            struct block_##type rest[4];                                                                         \
            memset(rest, 0, sizeof rest);                                                                        \
            memcpy(rest, x, n_rest * sizeof *x);                                                                 \
            const struct codes_32 codes = unpack_##type(rest);                                                   \
            for (uint32_t c = 0; c < n_columns; c++) {                                                           \
                const struct activation_group_32 *y = (const struct activation_group_32 *)columns[c] + n_groups; \
                sums[c] = add_products_32(sums[c], codes, y, zero_shift, has_min);                               \
            }                                                                                                    \
        }                                                                                                        \
        for (uint32_t c = 0; c < n_columns; c++)                                                                 \
            dots[c] = _mm512_reduce_add_ps(sums[c]);                                                             \
    }                                                                                                            \
    DEFINE_MATVEC(type)

#endif
