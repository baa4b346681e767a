// Q4_1: 20-byte blocks of 32 with a min.
#include "kernels/avx2/blocks_32.h"

ALWAYS_INLINE void unpack_q4_1(const struct block_q4_1 *x, struct codes_32 *codes)
{
    for (int h = 0; h < 2; h++) {
        const __m256i bytes = load_two_16(x[2 * h].qs, x[2 * h + 1].qs);
        codes->low[h] = low_nibbles(bytes);
        codes->high[h] = high_nibbles(bytes);
    }
    load_four_halves(x->d, sizeof *x, codes->d);
    load_four_halves(x->m, sizeof *x, codes->m);
}

DEFINE_MATVEC_32(q4_1, CODES_MIN)
