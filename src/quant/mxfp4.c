// MXFP4 of the Open Compute Project's Microscaling Formats: 32 floats of 4 bits with a power of two as scale.
// Quantizing: the scale that brings the largest magnitude to at most 1.5 times the largest float below its own power of
// two's end, as the specification has it: 2^(floor(log2(absmax)) - 2); each value to the nearest float, the smaller of two
// as near. There is no NaN: a block with one, or with an infinity, gets the largest scale and codes, which is infinite.
#include "quant/codebooks.h"
#include "quant/coded.h"
#include "quant/codes.h"

#include <math.h>
#include <string.h>

static const int8_t table[16] = CODES_FP4;

static void unpack(const struct block_mxfp4 *b, int8_t *q, float *scale)
{
    for (int j = 0; j < 16; j++) {
        q[j] = table[b->qs[j] & 15];
        q[j + 16] = table[b->qs[j] >> 4];
    }
    coded_fill_scale(scale, 2, mxfp4_scale(b->e));
}

DEFINE_CODED_PER_32(mxfp4, 32)

// x in units of the scale, which are halves of the format's.
static uint8_t nearest(double x)
{
    const double magnitude = fabs(x);
    uint8_t code = 0;
    while (code < 7 && magnitude > 0.5 * (table[code] + table[code + 1]))
        code++;
    return code != 0 && x < 0.0 ? (uint8_t)(code | 8) : code;
}

void quant_quantize_mxfp4(const float *x, void *row, uint64_t n)
{
    struct block_mxfp4 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, x += 32) {
        if (!all_finite(x, 32)) {
            b[i].e = 255;
            memset(b[i].qs, 0x77, sizeof b[i].qs);
            continue;
        }
        float absmax = 0.0f;
        for (int e = 0; e < 32; e++)
            absmax = fabsf(x[e]) > absmax ? fabsf(x[e]) : absmax;
        int exponent;
        frexp((double)absmax, &exponent); // absmax < 2^exponent
        const int biased = exponent - 3 + 127;
        b[i].e = absmax == 0.0f || biased < 0 ? 0 : (uint8_t)biased;
        const double scale = (double)mxfp4_scale(b[i].e);
        for (int j = 0; j < 16; j++)
            b[i].qs[j] = (uint8_t)(nearest((double)x[j] / scale) | nearest((double)x[j + 16] / scale) << 4);
    }
}
