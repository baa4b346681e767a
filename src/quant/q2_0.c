// Q2_0: 64 elements of two bits, w = d * (q - 1).
#include "quant/coded.h"

static void unpack(const struct block_q2_0 *b, int8_t *q, float *scale)
{
    for (int e = 0; e < 64; e++)
        q[e] = (int8_t)((b->qs[e / 4] >> 2 * (e % 4) & 3) - 1);
    coded_fill_scale(scale, 4, block_half(b->d));
}

DEFINE_CODED_PER_32(q2_0, 64)
