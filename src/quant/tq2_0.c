// TQ2_0: 256 ternary elements of two bits, w = d * (q - 1); q = 3 reads as 2 * d.
#include "quant/coded.h"
#include "quant/ternary.h"

static void unpack(const struct block_tq2_0 *b, int8_t *q, float *scale)
{
    for (int e = 0; e < SUPER_BLOCK; e++)
        q[e] = (int8_t)((b->qs[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3) - 1);
    coded_fill_scale(scale, 16, block_half(b->d));
}

DEFINE_CODED_PER_256(tq2_0)

void quant_quantize_tq2_0(const float *x, void *row, uint64_t n)
{
    struct block_tq2_0 *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        block_set_u16(b[i].d, ternary_quantize(x, q));
        for (int k = 0; k < 64; k++) {
            const uint8_t *first = q + k / 32 * 128 + k % 32;
            b[i].qs[k] = (uint8_t)(first[0] | first[32] << 2 | first[64] << 4 | first[96] << 6);
        }
    }
}
