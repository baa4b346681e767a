// NVFP4: blocks of 64 in four sub-blocks of 16 floats of 4 bits, each with an unsigned float of 8 bits as scale.
#include "quant/codebooks.h"
#include "quant/coded.h"

static const int8_t table[16] = CODES_FP4;

static void unpack(const struct block_nvfp4 *b, int8_t *q, float *scale)
{
    for (int s = 0; s < 4; s++) {
        for (int j = 0; j < 8; j++) {
            q[16 * s + j] = table[b->qs[8 * s + j] & 15];
            q[16 * s + j + 8] = table[b->qs[8 * s + j] >> 4];
        }
        scale[s] = nvfp4_scale(b->d[s]);
    }
}

DEFINE_CODED_PER_32(nvfp4, 64)
