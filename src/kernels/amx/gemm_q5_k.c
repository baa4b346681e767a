// GEMM of Q5_K: a table per sub-block.
#include "kernels/amx/bf16_panel.h"

// Bit b of each, moved to bit 4.
ALWAYS_INLINE __m512i high_bits(__m512i qh, int b)
{
    return b < 4 ? _mm512_slli_epi16(qh, (unsigned)(4 - b)) : _mm512_srli_epi16(qh, (unsigned)(b - 4));
}

ALWAYS_INLINE void round_row(const struct block_q5_k *x, uint32_t n_blocks, uint16_t *to)
{
    (void)n_blocks;
    const __m512i nibble = _mm512_set1_epi16(15), qh = load_32_codes(x->qh);
    float scales[8], mins[8];
    store_q4_k_scales(x->d, x->dmin, x->scales, scales, mins);
    UNROLL
    for (int v = 0; v < 4; v++) {
        const __m512i qs = load_32_codes(x->qs + 32 * v);
        const __m512i low = select_bits(nibble, qs, high_bits(qh, 2 * v));
        const __m512i high = select_bits(nibble, _mm512_srli_epi16(qs, 4), high_bits(qh, 2 * v + 1));
        store_looked_up(table_of_32(scales[2 * v], mins[2 * v], 0), low, to + 64 * v);
        store_looked_up(table_of_32(scales[2 * v + 1], mins[2 * v + 1], 0), high, to + 64 * v + 32);
    }
}

DEFINE_BF16_GEMM(q5_k, 256)
