// Q1_0: 128 elements of one bit, w = d or -d.
#include "quant/coded.h"

static void unpack(const struct block_q1_0 *b, int8_t *q, float *scale)
{
    for (int e = 0; e < 128; e++)
        q[e] = (int8_t)(2 * (b->qs[e / 8] >> e % 8 & 1) - 1);
    coded_fill_scale(scale, 8, block_half(b->d));
}

DEFINE_CODED_PER_32(q1_0, 128)
