// Q8_0: 32 elements, w = d * q.
// Quantizing: d = absmax / 127, q = x / d rounded to nearest, halves away from zero.
// Dot product, per block: result += d * y.scale * float(sum q * y.q), the integer sum exact.
#include "quant/blocks.h"
#include "quant/codes.h"

#include <string.h>

void quant_dequantize_q8_0(const void *row, float *out, uint64_t n)
{
    const struct block_q8_0 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, out += 32) {
        const float d = block_half(b[i].d);
        for (int j = 0; j < 32; j++)
            out[j] = d * (float)b[i].qs[j];
    }
}

void quant_quantize_q8_0(const float *x, void *row, uint64_t n)
{
    struct block_q8_0 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, x += 32) {
        if (!all_finite(x, 32)) {
            memset(b[i].qs, 0, sizeof b[i].qs);
            block_set_u16(b[i].d, HALF_NAN);
            continue;
        }
        float absmax = 0.0f;
        for (int j = 0; j < 32; j++) {
            const float magnitude = x[j] < 0.0f ? -x[j] : x[j];
            absmax = magnitude > absmax ? magnitude : absmax;
        }
        const float d = absmax / 127.0f;
        const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
        block_set_u16(b[i].d, half_from_float(d));
        for (int j = 0; j < 32; j++)
            b[i].qs[j] = round_to_code(x[j] * inverse, 127);
    }
}

float quant_dot_q8_0(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q8_0 *b = row;
    const struct activation_q8_32 *y = activation_row;
    float result = 0.0f;
    for (uint64_t i = 0; i < n / 32; i++) {
        int32_t sum = 0;
        for (int j = 0; j < 32; j++)
            sum += b[i].qs[j] * y[i].q[j];
        result += block_half(b[i].d) * y[i].scale * (float)sum;
    }
    return result;
}
