// IQ2_XXS: 8 sub-blocks of 32, w = (d / 8) * (2 * s + 1) * code, s 0..15; codes are entries of 8 magnitudes with signs.
#include "quant/codebook_groups.h"

static void unpack(const struct block_iq2_xxs *b, int8_t *q, float *scale)
{
    const float d = 0.125f * block_half(b->d);
    for (int s = 0; s < 8; s++) {
        const uint8_t *qs = b->qs + 8 * s;
        const uint32_t word = block_u32(qs + 4);
        const uint32_t signs = codebook_signs(word);
        for (int g = 0; g < 4; g++)
            codebook_signed_8(codebook_iq2_xxs[qs[g]], signs >> 8 * g, q + 32 * s + 8 * g);
        coded_fill_scale(scale + 2 * s, 2, d * (float)(2 * (word >> 28) + 1));
    }
}

DEFINE_CODED_PER_32(iq2_xxs, SUPER_BLOCK)
