// IQ1_M: 16 sub-blocks of 16, w = (d / 8) * (2 * s + 1) * (8 * t + delta), s 0..7, t -1..1 by entries of 8, delta 1 or -1
// for each of them.
#include "quant/codebook_groups.h"

static void unpack(const struct block_iq1_m *b, int8_t *q, float *scale)
{
    const float d = 0.125f * iq1_m_d(b);
    for (int g = 0; g < 32; g++) {
        const uint32_t bits = (uint32_t)b->qh[g / 2] >> 4 * (g % 2);
        const uint32_t index = b->qs[g] | (bits & 7) << 8;
        codebook_shifted_8(codebook_iq1[index], bits & 8 ? -1 : 1, q + 8 * g);
    }
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)(2 * (block_u16(b->scales + s / 4 * 2) >> 3 * (s % 4) & 7) + 1);
}

DEFINE_CODED_PER_32(iq1_m, SUPER_BLOCK)
