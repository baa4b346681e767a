// IQ3_S: 8 sub-blocks of 32, w = d * (2 * s + 1) * code, s 0..15; codes are entries of 4 magnitudes with signs.
#include "quant/codebook_groups.h"

static void unpack(const struct block_iq3_s *b, int8_t *q, float *scale)
{
    const float d = block_half(b->d);
    for (int s = 0; s < 8; s++) {
        for (int g = 0; g < 4; g++) {
            const uint8_t *qs = b->qs + 8 * s + 2 * g;
            const uint32_t high = (uint32_t)b->qh[s] >> 2 * g;
            const uint64_t low_entry = codebook_iq3_s[qs[0] | (high & 1) << 8];
            const uint64_t high_entry = codebook_iq3_s[qs[1] | (high & 2) << 7];
            codebook_signed_8(low_entry | high_entry << 32, b->signs[4 * s + g], q + 32 * s + 8 * g);
        }
        coded_fill_scale(scale + 2 * s, 2, d * (float)(2 * (b->scales[s / 2] >> 4 * (s % 2) & 15) + 1));
    }
}

DEFINE_CODED_PER_32(iq3_s, SUPER_BLOCK)
