// I2_S of bitnet.cpp: ternary elements of two bits, one scale for the whole tensor, which whoever uses the results multiplies them
// with. A dot product with activations of one scale per row is one integer: y.scale * float(sum of (q - 1) * y.q), the sum modulo
// 2^32, which a row of less than 8 million elements does not reach.
#include "quant/i2_s.h"

#include "quant/blocks.h"

#include <math.h>
#include <string.h>

static int code_at(const struct block_i2_s *b, uint64_t e)
{
    return (b[e / 128].qs[e % 32] >> (6 - 2 * (e % 128 / 32)) & 3) - 1;
}

void quant_dequantize_i2_s(const void *row, float *out, uint64_t n)
{
    for (uint64_t e = 0; e < n; e++)
        out[e] = (float)code_at(row, e);
}

float quant_dot_i2_s(const void *row, const void *activation_row, uint64_t n)
{
    const struct activation_q8_row *y = activation_row;
    uint32_t dot = 0;
    for (uint64_t e = 0; e < n; e++)
        dot += (uint32_t)(code_at(row, e) * y->q[e]);
    return y->scale * (float)(int32_t)dot;
}

void quant_quantize_i2_s(const float *x, float scale, void *row, uint64_t n)
{
    struct block_i2_s *b = row;
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    memset(b, 0, n / 128 * sizeof *b);
    for (uint64_t e = 0; e < n; e++) {
        const float quotient = inverse < INFINITY ? x[e] * inverse : 0.0f;
        const int code = 1 + (quotient >= 0.5f) - (quotient <= -0.5f);
        b[e / 128].qs[e % 32] |= (uint8_t)(code << (6 - 2 * (e % 128 / 32)));
    }
}
