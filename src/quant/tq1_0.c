// TQ1_0: 256 ternary elements, five to a byte, w = d * (t - 1).
#include "quant/coded.h"
#include "quant/ternary.h"

// Elements that share a byte: digit k of byte j of a run is element first + k * bytes + j.
static const struct {
    uint8_t at, bytes, digits, first;
} runs[] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

static void unpack(const struct block_tq1_0 *b, int8_t *q, float *scale)
{
    const uint8_t *bytes = (const uint8_t *)b;
    for (int r = 0; r < 3; r++) {
        for (uint32_t j = 0; j < runs[r].bytes; j++) {
            uint8_t rest = bytes[runs[r].at + j];
            for (uint32_t k = 0; k < runs[r].digits; k++, rest = (uint8_t)(3 * rest))
                q[runs[r].first + k * runs[r].bytes + j] = (int8_t)((rest * 3 >> 8) - 1);
        }
    }
    coded_fill_scale(scale, 16, block_half(b->d));
}

DEFINE_CODED_PER_256(tq1_0)

// A byte is the number of its digits, the first one highest, in units of 1 / 243, as a fraction of 256 rounded up: then
// multiplying by 3 brings digit after digit above the 256.
void quant_quantize_tq1_0(const float *x, void *row, uint64_t n)
{
    struct block_tq1_0 *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        uint8_t *bytes = (uint8_t *)&b[i];
        block_set_u16(b[i].d, ternary_quantize(x, q));
        for (int r = 0; r < 3; r++) {
            for (uint32_t j = 0; j < runs[r].bytes; j++) {
                uint32_t number = 0;
                for (uint32_t k = 0; k < 5; k++)
                    number = 3 * number + (k < runs[r].digits ? q[runs[r].first + k * runs[r].bytes + j] : 0);
                bytes[runs[r].at + j] = (uint8_t)((number * 256 + 242) / 243);
            }
        }
    }
}
