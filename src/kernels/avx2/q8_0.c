// Q8_0: 34-byte blocks of 32 signed codes.
#include "kernels/avx2/blocks_32.h"

ALWAYS_INLINE void unpack_q8_0(const struct block_q8_0 *x, struct codes_32 *codes)
{
    for (int h = 0; h < 2; h++) {
        codes->low[h] = load_two_16(x[2 * h].qs, x[2 * h + 1].qs);
        codes->high[h] = load_two_16(x[2 * h].qs + 16, x[2 * h + 1].qs + 16);
    }
    load_four_halves(x->d, sizeof *x, codes->d);
}

DEFINE_MATVEC_32(q8_0, CODES_SIGNED)
