// IQ3_XXS: 8 sub-blocks of 32, w = (d / 4) * (2 * s + 1) * code, s 0..15; codes are entries of 4 magnitudes with signs.
#include "quant/codebook_groups.h"

static void unpack(const struct block_iq3_xxs *b, int8_t *q, float *scale)
{
    const float d = 0.25f * block_half(b->d);
    for (int s = 0; s < 8; s++) {
        const uint32_t word = block_u32(b->signs_scales + 4 * s);
        const uint32_t signs = codebook_signs(word);
        for (int g = 0; g < 4; g++) {
            const uint8_t *qs = b->qs + 8 * s + 2 * g;
            const uint64_t entry = codebook_iq3_xxs[qs[0]] | (uint64_t)codebook_iq3_xxs[qs[1]] << 32;
            codebook_signed_8(entry, signs >> 8 * g, q + 32 * s + 8 * g);
        }
        coded_fill_scale(scale + 2 * s, 2, d * (float)(2 * (word >> 28) + 1));
    }
}

DEFINE_CODED_PER_32(iq3_xxs, SUPER_BLOCK)
