// Headers of Q4_K and Q5_K: {half d, half dmin, 12 bytes with 8 scales and 8 mins of 6 bits}, four super-blocks at once.
#ifndef CHORD_KERNELS_AVX512_Q4_K_SCALES_H
#define CHORD_KERNELS_AVX512_Q4_K_SCALES_H

#include "kernels/avx512/super_blocks.h"

struct q4_k_scales {
    __m512 d, dmin; // lane l: of super-block l / 4
    __m512i bytes;  // 128-bit lane s: 8 scales, then 8 mins of super-block s
};

// The 16-byte headers of `count` (1..4) super-blocks `stride` bytes apart; zeros for the rest.
ALWAYS_INLINE struct q4_k_scales load_q4_k_scales(const void *first, uint64_t stride, uint64_t count)
{
    const __m512i h = load_lanes(first, stride, count);

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

// For scaled_dot: the scales of super-block s, whose codes[2 * i] and codes[2 * i + 1] have sub-blocks 4 * i and 4 * i + 2 in
// their lower halves, 4 * i + 1 and 4 * i + 3 in the upper.
ALWAYS_INLINE void q4_k_pair_scales(struct q4_k_scales scales, int s, __m512i pairs[2])
{
    const __m512i order = _mm512_set_epi64(0x0003000300030003, 0x0001000100010001, 0x0003000300030003,
                                           0x0001000100010001, 0x0002000200020002, 0, 0x0002000200020002, 0);
    pairs[0] = select_bytes(scales.bytes, s, order);
    pairs[1] = select_bytes(scales.bytes, s, _mm512_add_epi8(order, _mm512_set1_epi8(4)));
}

// Adds what the mins of a group's super-blocks give.
ALWAYS_INLINE void q4_k_add_mins(struct q4_k_scales scales, uint64_t g, const void *const *columns,
                                 const uint32_t n_columns, struct sums_256 *sums)
{
    const __m512i mins = q4_k_mins(scales);
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_group_256 *y = group_of(columns[c], g);
        const __m512i m = _mm512_madd_epi16(mins, _mm512_load_si512(y->sums_32));
        sums->mins[c] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(m), _mm512_mul_ps(scales.dmin, _mm512_load_ps(y->scale)), sums->mins[c]);
    }
}

// Defines the matvec of a type with Q4_K's headers from `void load_codes(const struct block_<type> *x, __m512i codes[4])`,
// codes[v] being elements 64v..64v+63, at most 31.
#define DEFINE_MATVEC_Q4_K(type)                                                                                       \
    ALWAYS_INLINE void add_group(const struct block_##type *x, uint64_t count, uint64_t g, const void *const *columns, \
                                 const uint32_t n_columns, struct prefetch ahead, struct sums_256 *sums)               \
    {                                                                                                                  \
        prefetch_stream(ahead, x, 4 * sizeof *x);                                                                      \
        const struct q4_k_scales scales = load_q4_k_scales(x, sizeof *x, count);                                       \
        struct group_256 group;                                                                                        \
        set_factors(&group, scales.d, g, columns, n_columns);                                                          \
        q4_k_add_mins(scales, g, columns, n_columns, sums);                                                            \
        for (int s = 0; s < 4 && (uint64_t)s < count; s++) {                                                           \
            __m512i codes[4], pairs[2];                                                                                \
            load_codes(x + s, codes);                                                                                  \
            q4_k_pair_scales(scales, s, pairs);                                                                        \
            for (uint32_t c = 0; c < n_columns; c++) {                                                                 \
                const int8_t *q = group_of(columns[c], g)->q[s];                                                       \
                add_super_block(scaled_dot(_mm512_setzero_si512(), codes, pairs, q), &group, c, s, sums);              \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    DEFINE_MATVEC_256(type)

#endif
