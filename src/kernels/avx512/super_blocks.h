// What the K types share: super-blocks of 256 elements, four per step, the group of activation_group_256.
#ifndef CHORD_KERNELS_AVX512_SUPER_BLOCKS_H
#define CHORD_KERNELS_AVX512_SUPER_BLOCKS_H

#include "kernels/avx512/avx512.h"

// The 16 bytes at p of `count` (1..4) super-blocks `stride` bytes apart, one per 128-bit lane; zeros for the rest.
ALWAYS_INLINE __m512i load_lanes(const void *p, uint64_t stride, uint64_t count)
{
    const uint8_t *bytes = p;
    __m512i v = _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)bytes));
    if (count > 1)
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(bytes + stride)), 1);
    if (count > 2)
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(bytes + 2 * stride)), 2);
    if (count > 3)
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(bytes + 3 * stride)), 3);
    return v;
}

// Byte `order` of 128-bit lane s of `bytes`, as 16-bit numbers: `order` in the even bytes, whatever in the odd ones.
ALWAYS_INLINE __m512i select_bytes(__m512i bytes, int s, __m512i order)
{
#ifdef __AVX512VBMI__
    const __m512i index = _mm512_add_epi8(order, _mm512_set1_epi8((char)(16 * s)));
    return _mm512_maskz_permutexvar_epi8(0x5555555555555555, index, bytes);
#else
    const __m512i qwords = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 0, 1, 0, 1, 0, 1), _mm512_set1_epi64(2 * s));
    return _mm512_maskz_shuffle_epi8(0x5555555555555555, _mm512_permutexvar_epi64(qwords, bytes), order);
#endif
}

// move_bits with `constant` (0..255, none of the moved bits) added to every byte. All but `bytes` constants.
#ifdef __GFNI__
#define MOVE_BITS_ADD(bytes, lower, upper, to, width, constant) \
    _mm512_gf2p8affine_epi64_epi8(bytes, move_matrix(lower, upper, to, width), constant)
#else
#define MOVE_BITS_ADD(bytes, lower, upper, to, width, constant) \
    _mm512_or_si512(move_bits(bytes, lower, upper, to, width), _mm512_set1_epi8(constant))
#endif

struct sums_256 {
    __m512 products[MATVEC_MAX_COLUMNS], mins[MATVEC_MAX_COLUMNS];
};

// What the super-blocks of one group need for each column.
struct group_256 {
    float d[MATVEC_MAX_COLUMNS][16];       // [c][4 * s]: the factor of super-block s
    int32_t start[MATVEC_MAX_COLUMNS][16]; // [c][4 * s ...]: what its integer sum starts with, in four lanes
} __attribute__((aligned(64)));

ALWAYS_INLINE const struct activation_group_256 *group_of(const void *column, uint64_t g)
{
    return (const struct activation_group_256 *)column + g;
}

// d: of the group's super-blocks, lane l of super-block l / 4.
ALWAYS_INLINE void set_factors(struct group_256 *group, __m512 d, uint64_t g, const void *const *columns,
                               const uint32_t n_columns)
{
    for (uint32_t c = 0; c < n_columns; c++)
        _mm512_store_ps(group->d[c], _mm512_mul_ps(d, _mm512_load_ps(group_of(columns[c], g)->scale)));
}

// Adds dmin * the sum over sub-blocks of min * sum(q). 128-bit lane s of mins[0]: the mins of the first 8 sub-blocks of
// super-block s as 16-bit numbers, of mins[1]: of the last 8.
ALWAYS_INLINE void add_mins_16(const __m512i mins[2], __m512 dmin, uint64_t g, const void *const *columns,
                               const uint32_t n_columns, struct sums_256 *sums)
{
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_group_256 *y = group_of(columns[c], g);
        const __m512i first = _mm512_madd_epi16(mins[0], _mm512_load_si512(y->sums_16[0]));
        const __m512i m = add_dot_words(first, mins[1], _mm512_load_si512(y->sums_16[1]));
        sums->mins[c] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(m), _mm512_mul_ps(dmin, _mm512_load_ps(y->scale)), sums->mins[c]);
    }
}

ALWAYS_INLINE __m512i start_of(const struct group_256 *group, uint32_t c, int s)
{
    return _mm512_zextsi128_si512(_mm_load_si128((const __m128i *)(group->start[c] + 4 * s)));
}

// Adds super-block s, whose integer sum for column c is `dot`.
ALWAYS_INLINE void add_super_block(__m512i dot, const struct group_256 *group, uint32_t c, int s, struct sums_256 *sums)
{
    sums->products[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(group->d[c][4 * s]), sums->products[c]);
}

// start + sum over sub-blocks of scale * (codes . q), spread over 16 lanes. Codes are at most 63, so that four products
// fit 16 bits: 4 * 63 * 127 < 2^15. pairs[i]: the scales in the order that packs leaves, which puts the 128-bit lanes of
// codes[2 * i] and codes[2 * i + 1] beside each other.
ALWAYS_INLINE __m512i scaled_dot(__m512i start, const __m512i codes[4], const __m512i pairs[2], const int8_t *q)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i p[4];
    for (int v = 0; v < 4; v++)
        p[v] = add_dot(zero, codes[v], _mm512_load_si512(q + 64 * v));
    const __m512i dot = add_dot_words(start, _mm512_packs_epi32(p[0], p[1]), pairs[0]);
    return add_dot_words(dot, _mm512_packs_epi32(p[2], p[3]), pairs[1]);
}

// Defines dot_<type> and matvec_<type> from
//     add_group(const struct block_<type> *x, uint64_t count, uint64_t g, const void *const *columns, uint32_t n_columns,
//               struct prefetch ahead, struct sums_256 *sums)
// which adds `count` (1..4) super-blocks, those of group g, to the sums. The result is the lanes of products - mins.
#define DEFINE_MATVEC_256(type)                                                                 \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,   \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots) \
    {                                                                                           \
        const struct block_##type *x = (const struct block_##type *)row;                        \
        const uint64_t n_groups = n / (4 * SUPER_BLOCK);                                        \
        const uint64_t n_rest = n / SUPER_BLOCK % 4;                                            \
        struct sums_256 sums;                                                                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                \
            sums.products[c] = sums.mins[c] = _mm512_setzero_ps();                              \
        for (uint64_t g = 0; g < n_groups; g++, x += 4)                                         \
            add_group(x, 4, g, columns, n_columns, ahead, &sums);                               \
        if (n_rest != 0)                                                                        \
            add_group(x, n_rest, n_groups, columns, n_columns, ahead, &sums);                   \
        for (uint32_t c = 0; c < n_columns; c++)                                                \
            dots[c] = _mm512_reduce_add_ps(_mm512_sub_ps(sums.products[c], sums.mins[c]));      \
    }                                                                                           \
    DEFINE_MATVEC(type)

#endif
