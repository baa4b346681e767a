// GEMM of Q4_1.
#include "kernels/amx/bf16_panel.h"

ALWAYS_INLINE void round_row(const struct block_q4_1 *x, uint32_t n_blocks, uint16_t *to)
{
    const __m512i nibble = _mm512_set1_epi16(15), second = _mm512_set1_epi16(16);
    for (uint32_t b = 0; b < n_blocks; b += 2) {
        const struct block_q4_1 *next = x + (b + 1 < n_blocks ? b + 1 : b);
        const float scales[2] = {half_at(x[b].d), half_at(next->d)};
        const float mins[2] = {half_at(x[b].m), half_at(next->m)};
        const __m512i table = table_of_two(scales, mins, 0);
        store_looked_up(table, _mm512_and_si512(nibble, load_nibbles_16(x[b].qs)), to + 32 * b);
        store_looked_up(table, select_bits(nibble, load_nibbles_16(next->qs), second), to + 32 * b + 32);
    }
}

DEFINE_BF16_GEMM(q4_1, 32)
