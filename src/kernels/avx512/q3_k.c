// Q3_K: 110-byte super-blocks of 256, zero point 4. 128 - (code - 4) * (scale - 32) is a byte, 0 to 252: codes and scales are
// multiplied once for all columns, by looking the code up in a table of its sub-block's eight bytes.
#include "kernels/avx512/super_blocks.h"

// The 6-bit scales, 0..63: 128-bit lane s those of super-block s; `ends` are the last 16 bytes of the super-blocks: two
// others, 12 of scales, d. Nibble k of the first 8 bytes (low nibbles first) is the low part of scale k; bits
// 2 * (k / 4) of byte 8 + k % 4 are its high part.
ALWAYS_INLINE __m512i scales_of(__m512i ends)
{
    const __m128i low_bytes = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    const __m128i high_bytes = _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    const __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi8(ends, _mm512_broadcast_i32x4(low_bytes)),
                                          _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 4)));
    const __m512i high = _mm512_rorv_epi32(_mm512_shuffle_epi8(ends, _mm512_broadcast_i32x4(high_bytes)),
                                           _mm512_broadcast_i32x4(_mm_setr_epi32(28, 30, 0, 2)));
    return and_or(low, _mm512_set1_epi8(15), _mm512_and_si512(high, _mm512_set1_epi8(48)));
}

// Byte 8 * i + code of 128-bit lane l: what stands for that code in sub-block 8 * pair + 4 * i + l of super-block s. Each
// word is scale * (256 * (4 - odd code) + 4 - even code) + 256 * 32 * odd code + 32 * even code, in which nothing is carried.
ALWAYS_INLINE __m512i products_of(__m512i scales, int s, int pair)
{
    const __m512i order =
        _mm512_set_epi64(0x0007000700070007, 0x0003000300030003, 0x0006000600060006, 0x0002000200020002,
                         0x0005000500050005, 0x0001000100010001, 0x0004000400040004, 0);
    const __m512i scale = select_bytes(scales, s, _mm512_add_epi8(order, _mm512_set1_epi8((char)(8 * pair))));
    const __m512i product = _mm512_mullo_epi16(scale, _mm512_set1_epi64((long long)0xfcfeff0001020304ull));
    return _mm512_add_epi16(product, _mm512_set1_epi64((long long)0xe0c0a08060402000ull));
}

// Bits 2j, 2j+1 of qs and bit `plane` of hmask (lower half), 2j+2, 2j+3 and `plane` + 1 (upper half), as bits 0..2, and bit 3
// as `constant` has it.
#define INDEX_OF(qs, hmask, j, plane, constant) \
    _mm512_or_si512(move_bits(qs, 2 * (j), 2 * (j) + 2, 0, 2), MOVE_BITS_ADD(hmask, plane, (plane) + 1, 2, 1, constant))

// codes[v], multiplied: of elements 64v..64v+63 of super-block s.
ALWAYS_INLINE void load_codes(const struct block_q3_k *x, __m512i scales, int s, __m512i codes[4])
{
    const __m512i hmask = load_twice_32(x->hmask);
    const __m512i first = load_twice_32(x->qs), second = load_twice_32(x->qs + 32);
    const __m512i products[2] = {products_of(scales, s, 0), products_of(scales, s, 1)};
    codes[0] = _mm512_shuffle_epi8(products[0], INDEX_OF(first, hmask, 0, 0, 0));
    codes[1] = _mm512_shuffle_epi8(products[0], INDEX_OF(first, hmask, 2, 2, 8));
    codes[2] = _mm512_shuffle_epi8(products[1], INDEX_OF(second, hmask, 0, 4, 0));
    codes[3] = _mm512_shuffle_epi8(products[1], INDEX_OF(second, hmask, 2, 6, 8));
}

ALWAYS_INLINE void add_group(const struct block_q3_k *x, uint64_t count, uint64_t g, const void *const *columns,
                             const uint32_t n_columns, struct prefetch ahead, struct sums_256 *sums)
{
    const __m512i ends = load_lanes((const uint8_t *)(x + 1) - 16, sizeof *x, count);
    const __m512i scales = scales_of(ends);
    const __m512 d = select_halves(header_words(7, 8), ends);
    struct group_256 group;
    set_factors(&group, _mm512_sub_ps(_mm512_setzero_ps(), d), g, columns, n_columns);
    for (int s = 0; s < 4 && (uint64_t)s < count; s++) {
        prefetch_stream(ahead, x + s, sizeof *x);
        __m512i codes[4];
        load_codes(x + s, scales, s, codes);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = group_of(columns[c], g);
            __m512i dot = WIDE_BIAS == 128 ? _mm512_setzero_si512() : _mm512_load_si512(y->zero[s]);
            for (int v = 0; v < 4; v++)
                dot = add_dot_wide(dot, codes[v], _mm512_load_si512(y->q[s] + 64 * v));
            add_super_block(dot, &group, c, s, sums);
        }
    }
}

DEFINE_MATVEC_256(q3_k)
