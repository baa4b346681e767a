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

// The share of the mins, from -2 * sum(q) in each of four lanes, but for m.
ALWAYS_INLINE __m512 min_factor(const struct activation_group_32 *y)
{
    const __m512 scale = _mm512_mul_ps(_mm512_load_ps(y->scale), _mm512_set1_ps(-0.125f));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(y->zero)), scale);
}

// sum + the products of one group: d * scale * (codes . q + zero), zero being the share of the codes' zero point,
// 8 << zero_shift; codes are at most 31 unless it is 128; for types with mins + m * scale * sum(q), of which mins is all but m.
#define ZERO_SHIFT_128 4
ALWAYS_INLINE __m512 add_products_32(__m512 sum, struct codes_32 codes, const struct activation_group_32 *y,
                                     __m512 mins, const int zero_shift, const bool has_min)
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
    if (has_min)
        sum = _mm512_fmadd_ps(mins, codes.m, sum);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(codes.d, scale), sum);
}

// Prefetch distances for two rows read side by side at `offset` from their starts: the bytes of both count, and behind the end of a
// row comes the next but one.
ALWAYS_INLINE struct prefetch ahead_of_pair(struct prefetch ahead, uint64_t offset, uint64_t row_bytes)
{
    const uint32_t far = ahead.far / 2, near = ahead.near / 2;
    return (struct prefetch){
        .far = far + (offset + far < row_bytes ? 0 : (uint32_t)row_bytes),
        .near = near + (offset + near < row_bytes ? 0 : (uint32_t)row_bytes),
    };
}

// Elements of all columns that take 40 KB prepared.
#define PAIR_ELEMENTS (40u * 1024 / sizeof(struct activation_group_32) * 128)

// Defines rows_<type> and matvec_<type> from `struct codes_32 unpack_<type>(const struct block_<type> x[4])`.
// zero_shift: log2(zero point / 8). A last group of fewer than four blocks is padded with zeros on the stack. Columns too large
// for L1 are multiplied with two rows at a time, which halves what is read of them: 13 to 27 % faster with 4 columns of 11264
// elements. With smaller ones it is not: the weights come best as one stream.
#define DEFINE_MATVEC_32(type, zero_shift, has_min)                                                             \
    ALWAYS_INLINE struct codes_32 load_##type(const uint8_t *x, const uint64_t count)                           \
    {                                                                                                           \
        struct block_##type rest[4];                                                                            \
        if (count == 4)                                                                                         \
            return unpack_##type((const struct block_##type *)x);                                               \
        memset(rest, 0, sizeof rest);                                                                           \
        memcpy(rest, x, count * sizeof *rest);                                                                  \
        return unpack_##type(rest);                                                                             \
    }                                                                                                           \
    ALWAYS_INLINE void add_group_##type(const uint8_t *x, uint64_t count, uint64_t row_bytes, const bool pair,  \
                                        uint64_t g, const void *const *columns, const uint32_t n_columns,       \
                                        __m512 *sums, __m512 *second_sums)                                      \
    {                                                                                                           \
        const struct codes_32 codes = load_##type(x, count);                                                    \
        const struct codes_32 second = pair ? load_##type(x + row_bytes, count) : codes;                        \
        for (uint32_t c = 0; c < n_columns; c++) {                                                              \
            const struct activation_group_32 *y = (const struct activation_group_32 *)columns[c] + g;           \
            const __m512 mins = has_min ? min_factor(y) : _mm512_setzero_ps();                                  \
            sums[c] = add_products_32(sums[c], codes, y, mins, zero_shift, has_min);                            \
            if (pair)                                                                                           \
                second_sums[c] = add_products_32(second_sums[c], second, y, mins, zero_shift, has_min);         \
        }                                                                                                       \
    }                                                                                                           \
    ALWAYS_INLINE void dots_##type(const uint8_t *row, uint64_t row_bytes, const bool pair, uint64_t n,         \
                                   const void *const *columns, const uint32_t n_columns, struct prefetch ahead, \
                                   float *const *out, uint64_t r)                                               \
    {                                                                                                           \
        const uint64_t n_groups = n / 128, n_rest = n / 32 % 4, step = 4 * sizeof(struct block_##type);         \
        __m512 sums[MATVEC_MAX_COLUMNS], second_sums[MATVEC_MAX_COLUMNS];                                       \
        const uint8_t *x = row;                                                                                 \
        for (uint32_t c = 0; c < n_columns; c++)                                                                \
            sums[c] = second_sums[c] = _mm512_setzero_ps();                                                     \
        for (uint64_t g = 0; g < n_groups; g++, x += step) {                                                    \
            if (g % 2 == 0) {                                                                                   \
                const struct prefetch next = pair ? ahead_of_pair(ahead, g * step, row_bytes) : ahead;          \
                prefetch_stream(next, x, 2 * step);                                                             \
                if (pair)                                                                                       \
                    prefetch_stream(next, x + row_bytes, 2 * step);                                             \
            }                                                                                                   \
            add_group_##type(x, 4, row_bytes, pair, g, columns, n_columns, sums, second_sums);                  \
        }                                                                                                       \
        if (n_rest != 0)                                                                                        \
            add_group_##type(x, n_rest, row_bytes, pair, n_groups, columns, n_columns, sums, second_sums);      \
        for (uint32_t c = 0; c < n_columns; c++) {                                                              \
            out[c][r] = _mm512_reduce_add_ps(sums[c]);                                                          \
            if (pair)                                                                                           \
                out[c][r + 1] = _mm512_reduce_add_ps(second_sums[c]);                                           \
        }                                                                                                       \
    }                                                                                                           \
    ALWAYS_INLINE void rows_##type(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,              \
                                   const void *const *columns, const uint32_t n_columns, float *const *out,     \
                                   struct prefetch ahead)                                                       \
    {                                                                                                           \
        const uint8_t *row = w;                                                                                 \
        uint64_t r = 0;                                                                                         \
        if (n_columns > 1 && n_columns * n > PAIR_ELEMENTS)                                                     \
            for (; r + 2 <= n_rows; r += 2, row += 2 * row_bytes)                                               \
                dots_##type(row, row_bytes, true, n, columns, n_columns, ahead, out, r);                        \
        for (; r < n_rows; r++, row += row_bytes)                                                               \
            dots_##type(row, row_bytes, false, n, columns, n_columns, ahead, out, r);                           \
    }                                                                                                           \
    DEFINE_MATVEC_OF_ROWS(type)

#endif
