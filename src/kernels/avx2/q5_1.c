// Q5_1: 24-byte blocks of 32 with a min.
#include "kernels/avx2/blocks_32.h"

ALWAYS_INLINE void unpack_q5_1(const struct block_q5_1 *x, struct codes_32 *codes)
{
    for (int h = 0; h < 2; h++) {
        const struct block_q5_1 *a = &x[2 * h], *b = &x[2 * h + 1];
        const __m256i bytes = load_two_16(a->qs, b->qs);
        codes->low[h] = _mm256_or_si256(low_nibbles(bytes), fifth_bits(load_u16(a->qh), load_u16(b->qh)));
        codes->high[h] = _mm256_or_si256(high_nibbles(bytes), fifth_bits(load_u16(a->qh + 2), load_u16(b->qh + 2)));
    }
    load_four_halves(x->d, sizeof *x, codes->d);
    load_four_halves(x->m, sizeof *x, codes->m);
}

DEFINE_MATVEC_32(q5_1, CODES_MIN)
