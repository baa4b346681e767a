// IQ2_XS: 16 sub-blocks of 16, w = (d / 8) * (2 * s + 1) * code, s 0..15; codes are entries of 8 magnitudes with signs.
#include "quant/codebook_groups.h"

static void unpack(const struct block_iq2_xs *b, int8_t *q, float *scale)
{
    const float d = 0.125f * block_half(b->d);
    for (int g = 0; g < 32; g++) {
        const uint16_t word = block_u16(b->qs + 2 * g);
        codebook_signed_8(codebook_iq2_xs[word & 511], codebook_signs(word >> 9), q + 8 * g);
    }
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)(2 * (b->scales[s / 2] >> 4 * (s % 2) & 15) + 1);
}

DEFINE_CODED_PER_32(iq2_xs, SUPER_BLOCK)
