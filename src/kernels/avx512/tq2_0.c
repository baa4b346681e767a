// TQ2_0: 66-byte super-blocks of 256, codes of two bits with zero point 1.
#include "kernels/avx512/super_blocks.h"

#include <string.h>

ALWAYS_INLINE void load_codes(const struct block_tq2_0 *x, __m512i codes[4])
{
    const __m512i first = load_twice_32(x->qs), second = load_twice_32(x->qs + 32);
    codes[0] = move_bits(first, 0, 2, 0, 2);
    codes[1] = move_bits(first, 4, 6, 0, 2);
    codes[2] = move_bits(second, 0, 2, 0, 2);
    codes[3] = move_bits(second, 4, 6, 0, 2);
}

ALWAYS_INLINE void add_group(const struct block_tq2_0 *x, uint64_t count, uint64_t g, const void *const *columns,
                             const uint32_t n_columns, struct prefetch ahead, struct sums_256 *sums)
{
    struct group_256 group;
    uint64_t halves = 0;
    prefetch_stream(ahead, x, 4 * sizeof *x);
    for (uint64_t s = 0; s < count; s++)
        halves |= (uint64_t)block_u16(x[s].d) << 16 * s;
    const __m512i words = _mm512_castsi128_si512(_mm_cvtsi64_si128((long long)halves));
    set_factors(&group, select_halves(header_words(0, 1), words), g, columns, n_columns);
    for (uint32_t c = 0; c < n_columns; c++) {
        const __m512i of_codes = _mm512_load_si512(group_of(columns[c], g)->sums_32);
        _mm512_store_si512(group.start[c], _mm512_madd_epi16(of_codes, _mm512_set1_epi16(-1)));
    }
    for (int s = 0; s < 4 && (uint64_t)s < count; s++) {
        __m512i codes[4];
        load_codes(x + s, codes);
        for (uint32_t c = 0; c < n_columns; c++) {
            const int8_t *q = group_of(columns[c], g)->q[s];
            __m512i dot = start_of(&group, c, s);
            for (int v = 0; v < 4; v++)
                dot = add_dot(dot, codes[v], _mm512_load_si512(q + 64 * v));
            add_super_block(dot, &group, c, s, sums);
        }
    }
}

DEFINE_MATVEC_256(tq2_0)
