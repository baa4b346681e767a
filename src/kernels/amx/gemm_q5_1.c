// GEMM of Q5_1.
#include "kernels/amx/bf16_panel.h"

ALWAYS_INLINE void round_row(const struct block_q5_1 *x, uint32_t n_blocks, uint16_t *to)
{
    const __m512i nibble = _mm512_set1_epi16(15), high = _mm512_set1_epi16(16);
    for (uint32_t b = 0; b < n_blocks; b++) {
        uint32_t qh;
        memcpy(&qh, x[b].qh, sizeof qh);
        const __m512i codes = select_bits(nibble, load_nibbles_16(x[b].qs), _mm512_maskz_mov_epi16(qh, high));
        store_looked_up(table_of_32(load_half(x[b].d), load_half(x[b].m), 0), codes, to + 32 * b);
    }
}

DEFINE_BF16_GEMM(q5_1, 32)
