// Headers of Q4_K and Q5_K: {half d, half dmin, 12 bytes with 8 scales and 8 mins of 6 bits}, four super-blocks at once.
#ifndef CHORD_KERNELS_AVX512_Q4_K_SCALES_H
#define CHORD_KERNELS_AVX512_Q4_K_SCALES_H

#include "kernels/avx512/avx512.h"

struct q4_k_scales {
    __m512 d, dmin; // lane l: of super-block l / 4
    __m512i bytes;  // 128-bit lane s: 8 scales, then 8 mins of super-block s
};

// The 16-byte headers of `count` (1..4) super-blocks `stride` bytes apart; zeros for the rest.
ALWAYS_INLINE struct q4_k_scales load_q4_k_scales(const void *first, uint64_t stride, uint64_t count)
{
    const uint8_t *p = first;
    __m512i h = _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)p));
    if (count > 1)
        h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(p + stride)), 1);
    if (count > 2)
        h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(p + 2 * stride)), 2);
    if (count > 3)
        h = _mm512_inserti32x4(h, _mm_loadu_si128((const __m128i *)(p + 3 * stride)), 3);

    // Lower dword of each qword: scales (lower qword) or mins (upper) 0..3, the lower 6 bits of four bytes. Upper dword:
    // the same bytes shifted, so that their top two bits, the high part of scale or min j + 4, come to bits 4 and 5, and
    // the low part, a low nibble (scales) or a high one (mins) of the last four bytes.
    const __m512i own_bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 10, 11));
    const __m512i own_shift = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 0, 2));
    const __m512i own_mask = _mm512_set1_epi64(0x303030303f3f3f3f);
    const __m512i low_bytes =
        _mm512_broadcast_i32x4(_mm_setr_epi8(-1, -1, -1, -1, 12, 13, 14, 15, -1, -1, -1, -1, 12, 13, 14, 15));
    const __m512i low_shift = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 0, 4));
    const __m512i low_mask = _mm512_set1_epi64(0x0f0f0f0f00000000);

    const __m512i own = _mm512_and_si512(_mm512_srlv_epi32(_mm512_shuffle_epi8(h, own_bytes), own_shift), own_mask);
    const __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi8(h, low_bytes), low_shift);
    return (struct q4_k_scales){
        .d = select_halves(header_words(0, 8), h),
        .dmin = select_halves(header_words(1, 8), h),
        .bytes = and_or(low, low_mask, own),
    };
}

// The mins as 16-bit numbers: 128-bit lane s holds the 8 mins of super-block s.
ALWAYS_INLINE __m512i q4_k_mins(struct q4_k_scales scales)
{
    return _mm512_unpackhi_epi8(scales.bytes, _mm512_setzero_si512());
}

// dot = sum over sub-blocks of scale * (codes . activations), spread over 16 lanes. codes[v]: elements 64v..64v+63 of
// super-block s of the group, at most 31, so that four products fit 16 bits: 4 * 31 * 127 < 2^15.
ALWAYS_INLINE __m512i q4_k_scaled_dot(const __m512i codes[4], __m512i scales_01, __m512i scales_23, const int8_t *q)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i p[4];
    for (int v = 0; v < 4; v++)
        p[v] = add_dot(zero, codes[v], _mm512_load_si512(q + 64 * v));
    const __m512i dot = add_dot_words(zero, _mm512_packs_epi32(p[0], p[1]), scales_01);
    return add_dot_words(dot, _mm512_packs_epi32(p[2], p[3]), scales_23);
}

// The scales of super-block s as 16-bit numbers in the order that packs leaves: of vectors 2 * pair and 2 * pair + 1,
// whose lower halves are sub-blocks 4 * pair and 4 * pair + 2, whose upper halves are 4 * pair + 1 and 4 * pair + 3.
ALWAYS_INLINE __m512i q4_k_pair_scales(struct q4_k_scales scales, int s, int pair)
{
    const __m512i order = _mm512_set_epi64(0x0303030303030303, 0x0101010101010101, 0x0303030303030303,
                                           0x0101010101010101, 0x0202020202020202, 0, 0x0202020202020202, 0);
#ifdef __AVX512VBMI__
    const __m512i index = _mm512_add_epi8(order, _mm512_set1_epi8((char)(16 * s + 4 * pair)));
    return _mm512_maskz_permutexvar_epi8(0x5555555555555555, index, scales.bytes);
#else
    const __m512i qwords = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 0, 1, 0, 1, 0, 1), _mm512_set1_epi64(2 * s));
    const __m512i of_block = _mm512_permutexvar_epi64(qwords, scales.bytes);
    const __m512i index = _mm512_add_epi8(order, _mm512_set1_epi8((char)(4 * pair)));
    return _mm512_maskz_shuffle_epi8(0x5555555555555555, of_block, index);
#endif
}

struct q4_k_sums {
    __m512 products[MATVEC_MAX_COLUMNS], mins[MATVEC_MAX_COLUMNS];
};

// What a group's headers give for all its super-blocks: adds the mins' part, and d[c][4 * s] = the factor of super-block s
// for column c.
ALWAYS_INLINE void q4_k_add_mins(struct q4_k_scales scales, uint64_t g, const void *const *columns,
                                 const uint32_t n_columns, struct q4_k_sums *sums, float d[MATVEC_MAX_COLUMNS][16])
{
    const __m512i mins = q4_k_mins(scales);
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_group_256 *y = (const struct activation_group_256 *)columns[c] + g;
        const __m512 scale = _mm512_load_ps(y->scale);
        _mm512_store_ps(d[c], _mm512_mul_ps(scales.d, scale));
        const __m512i m = _mm512_madd_epi16(mins, _mm512_load_si512(y->sums_32));
        sums->mins[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(m), _mm512_mul_ps(scales.dmin, scale), sums->mins[c]);
    }
}

// Adds super-block s of group g.
ALWAYS_INLINE void q4_k_add_products(const __m512i codes[4], struct q4_k_scales scales, int s, uint64_t g,
                                     const void *const *columns, const uint32_t n_columns,
                                     float d[MATVEC_MAX_COLUMNS][16], struct q4_k_sums *sums)
{
    const __m512i scales_01 = q4_k_pair_scales(scales, s, 0);
    const __m512i scales_23 = q4_k_pair_scales(scales, s, 1);
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_group_256 *y = (const struct activation_group_256 *)columns[c] + g;
        const __m512i dot = q4_k_scaled_dot(codes, scales_01, scales_23, y->q[s]);
        sums->products[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(d[c][4 * s]), sums->products[c]);
    }
}

// Defines the matvec of a type with Q4_K's headers from `void load_codes(const struct block_<type> *x, __m512i codes[4])`.
#define DEFINE_MATVEC_Q4_K(type)                                                                                       \
    ALWAYS_INLINE void add_group(const struct block_##type *x, uint64_t count, uint64_t g, const void *const *columns, \
                                 const uint32_t n_columns, struct prefetch ahead, struct q4_k_sums *sums)              \
    {                                                                                                                  \
        float d[MATVEC_MAX_COLUMNS][16] __attribute__((aligned(64)));                                                  \
        prefetch_stream(ahead, x, 4 * sizeof *x);                                                                      \
        const struct q4_k_scales scales = load_q4_k_scales(x, sizeof *x, count);                                       \
        q4_k_add_mins(scales, g, columns, n_columns, sums, d);                                                         \
        for (int s = 0; s < 4 && (uint64_t)s < count; s++) {                                                           \
            __m512i codes[4];                                                                                          \
            load_codes(x + s, codes);                                                                                  \
            q4_k_add_products(codes, scales, s, g, columns, n_columns, d, sums);                                       \
        }                                                                                                              \
    }                                                                                                                  \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                          \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                        \
    {                                                                                                                  \
        const struct block_##type *x = (const struct block_##type *)row;                                               \
        const uint64_t n_groups = n / (4 * SUPER_BLOCK);                                                               \
        const uint64_t n_rest = n / SUPER_BLOCK % 4;                                                                   \
        struct q4_k_sums sums;                                                                                         \
        for (uint32_t c = 0; c < n_columns; c++)                                                                       \
            sums.products[c] = sums.mins[c] = _mm512_setzero_ps();                                                     \
        for (uint64_t g = 0; g < n_groups; g++, x += 4)                                                                \
            add_group(x, 4, g, columns, n_columns, ahead, &sums);                                                      \
        if (n_rest != 0)                                                                                               \
            add_group(x, n_rest, n_groups, columns, n_columns, ahead, &sums);                                          \
        for (uint32_t c = 0; c < n_columns; c++)                                                                       \
            dots[c] = _mm512_reduce_add_ps(_mm512_sub_ps(sums.products[c], sums.mins[c]));                             \
    }                                                                                                                  \
    DEFINE_MATVEC(type)

#endif
