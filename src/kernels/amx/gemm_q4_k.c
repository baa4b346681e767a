// GEMM of Q4_K: a table for two sub-blocks.
#include "kernels/amx/bf16_panel.h"

ALWAYS_INLINE void round_row(const struct block_q4_k *x, uint32_t n_blocks, uint16_t *to)
{
    (void)n_blocks;
    const __m512i nibble = _mm512_set1_epi16(15), second = _mm512_set1_epi16(16);
    float scales[8], mins[8];
    store_q4_k_scales(x->d, x->dmin, x->scales, scales, mins);
    for (int v = 0; v < 4; v++, to += 64) {
        const __m512i table = table_of_two(scales + 2 * v, mins + 2 * v, 0);
        const __m512i qs = load_32_codes(x->qs + 32 * v);
        store_looked_up(table, _mm512_and_si512(nibble, qs), to);
        store_looked_up(table, _mm512_or_si512(_mm512_srli_epi16(qs, 4), second), to + 32);
    }
}

DEFINE_BF16_GEMM(q4_k, 256)
