// IQ1_S: 8 sub-blocks of 32, w = (d / 8) * (2 * s + 1) * (8 * t + delta), s 0..7, t -1..1 by entries of 8, delta 1 or -1.
#include "quant/codebook_groups.h"

static void unpack(const struct block_iq1_s *b, int8_t *q, float *scale)
{
    const float d = 0.125f * block_half(b->d);
    for (int s = 0; s < 8; s++) {
        const uint32_t word = block_u16(b->qh + 2 * s);
        for (int g = 0; g < 4; g++) {
            const uint32_t index = b->qs[4 * s + g] | (word >> 3 * g & 7) << 8;
            codebook_shifted_8(codebook_iq1[index], word >> 15 ? -1 : 1, q + 32 * s + 8 * g);
        }
        coded_fill_scale(scale + 2 * s, 2, d * (float)(2 * (word >> 12 & 7) + 1));
    }
}

DEFINE_CODED_PER_32(iq1_s, SUPER_BLOCK)
