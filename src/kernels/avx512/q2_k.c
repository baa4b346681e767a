// Q2_K: 84-byte super-blocks of 256 with mins. A code times its scale is at most 3 * 15, a byte: they are multiplied once
// for all columns, by looking the code up in a table of its sub-block's four products.
#include "kernels/avx512/super_blocks.h"

// Byte 4 * v + code of 128-bit lane l: code * the scale of sub-block 4 * v + l.
ALWAYS_INLINE __m512i products_of(const struct block_q2_k *x)
{
    const __m512i headers = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)x->scales));
    const __m512i order = _mm512_add_epi8(
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, -16, 0, -16, 4, -16, 4, -16, 8, -16, 8, -16, 12, -16, 12, -16)),
        _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002, 0x0002000200020002,
                         0x0001000100010001, 0x0001000100010001, 0, 0));
    const __m512i scales = _mm512_and_si512(_mm512_shuffle_epi8(headers, order), _mm512_set1_epi16(15));
    return _mm512_mullo_epi16(scales, _mm512_set1_epi32(0x03020100));
}

// codes[v], multiplied: of elements 64v..64v+63.
ALWAYS_INLINE void load_codes(const struct block_q2_k *x, __m512i codes[4])
{
    const __m512i products = products_of(x);
    const __m512i first = load_twice_32(x->qs), second = load_twice_32(x->qs + 32);
    codes[0] = _mm512_shuffle_epi8(products, MOVE_BITS_ADD(first, 0, 2, 0, 2, 0));
    codes[1] = _mm512_shuffle_epi8(products, MOVE_BITS_ADD(first, 4, 6, 0, 2, 4));
    codes[2] = _mm512_shuffle_epi8(products, MOVE_BITS_ADD(second, 0, 2, 0, 2, 8));
    codes[3] = _mm512_shuffle_epi8(products, MOVE_BITS_ADD(second, 4, 6, 0, 2, 12));
}

ALWAYS_INLINE void add_group(const struct block_q2_k *x, uint64_t count, uint64_t g, const void *const *columns,
                             const uint32_t n_columns, struct prefetch ahead, struct sums_256 *sums)
{
    const __m512i headers = load_lanes(x->scales, sizeof *x, count);
    const __m512i ends =
        load_lanes((const uint8_t *)(x + 1) - 16, sizeof *x, count); // d and dmin are the last two halves
    const __m512i zero = _mm512_setzero_si512();
    const __m512i mins = move_bits(headers, 4, 4, 0, 4);
    const __m512i words[2] = {_mm512_unpacklo_epi8(mins, zero), _mm512_unpackhi_epi8(mins, zero)};
    struct group_256 group;
    set_factors(&group, select_halves(header_words(6, 8), ends), g, columns, n_columns);
    add_mins_16(words, select_halves(header_words(7, 8), ends), g, columns, n_columns, sums);
    for (int s = 0; s < 4 && (uint64_t)s < count; s++) {
        prefetch_stream(ahead, x + s, sizeof *x);
        __m512i codes[4];
        load_codes(x + s, codes);
        for (uint32_t c = 0; c < n_columns; c++) {
            const int8_t *q = group_of(columns[c], g)->q[s];
            __m512i dot = zero;
            for (int v = 0; v < 4; v++)
                dot = add_dot(dot, codes[v], _mm512_load_si512(q + 64 * v));
            add_super_block(dot, &group, c, s, sums);
        }
    }
}

DEFINE_MATVEC_256(q2_k)
