// Q6_K: 210-byte super-blocks of 256, zero point 32.
#include "kernels/avx512/super_blocks.h"

// Moves bits 2j, 2j+1 of qh (lower half) and 2j+2, 2j+3 (upper half) to bits 4 and 5.
ALWAYS_INLINE __m512i high_bits(__m512i qh, int j)
{
    return move_bits(qh, 2 * j, 2 * j + 2, 4, 2);
}

ALWAYS_INLINE void load_codes(const struct block_q6_k *x, __m512i codes[4])
{
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int half = 0; half < 2; half++) {
        const __m512i ql = _mm512_loadu_si512(x->ql + 64 * half);
        const __m512i qh = load_twice_32(x->qh + 32 * half);
        codes[2 * half] = and_or(ql, nibble, high_bits(qh, 0));
        codes[2 * half + 1] = and_or(_mm512_srli_epi16(ql, 4), nibble, high_bits(qh, 2));
    }
}

// The scales for scaled_dot: codes[v] has sub-blocks 4v..4v+3, one per 128-bit lane.
ALWAYS_INLINE void load_scales(const struct block_q6_k *x, __m512i pairs[2])
{
    const __m512i order =
        _mm512_set_epi64(0x0007000700070007, 0x0003000300030003, 0x0006000600060006, 0x0002000200020002,
                         0x0005000500050005, 0x0001000100010001, 0x0004000400040004, 0);
    const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x->scales));
    const __m512i wide = _mm512_castsi256_si512(words);
    pairs[0] = _mm512_permutexvar_epi16(order, wide);
    pairs[1] = _mm512_permutexvar_epi16(_mm512_add_epi16(order, _mm512_set1_epi16(8)), wide);
}

// group->start = -32 * the sum over sub-blocks of scale * sum(q).
ALWAYS_INLINE void set_starts(struct group_256 *group, __m512i scales, uint64_t g, const void *const *columns,
                              const uint32_t n_columns)
{
    const __m512i zero = _mm512_setzero_si512();
    const __m512i first = _mm512_sub_epi16(zero, _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, scales), 3));
    const __m512i second = _mm512_sub_epi16(zero, _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, scales), 3));
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_group_256 *y = group_of(columns[c], g);
        const __m512i share = _mm512_madd_epi16(first, _mm512_load_si512(y->sums_16[0]));
        _mm512_store_si512(group->start[c], add_dot_words(share, second, _mm512_load_si512(y->sums_16[1])));
    }
}

ALWAYS_INLINE void add_group(const struct block_q6_k *x, uint64_t count, uint64_t g, const void *const *columns,
                             const uint32_t n_columns, struct prefetch ahead, struct sums_256 *sums)
{
    const __m512i ends = load_lanes((const uint8_t *)(x + 1) - 16, sizeof *x, count); // d is the last half
    struct group_256 group;
    set_factors(&group, select_halves(header_words(7, 8), ends), g, columns, n_columns);
    set_starts(&group, load_lanes(x->scales, sizeof *x, count), g, columns, n_columns);
    for (int s = 0; s < 4 && (uint64_t)s < count; s++) {
        prefetch_stream(ahead, x + s, sizeof *x);
        __m512i codes[4], pairs[2];
        load_codes(x + s, codes);
        load_scales(x + s, pairs);
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512i dot = scaled_dot(start_of(&group, c, s), codes, pairs, group_of(columns[c], g)->q[s]);
            add_super_block(dot, &group, c, s, sums);
        }
    }
}

DEFINE_MATVEC_256(q6_k)
