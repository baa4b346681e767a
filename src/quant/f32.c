// F32: the values themselves. Dot product: sum = sum + w * x in element order.
#include "quant/blocks.h"

#include <string.h>

void quant_dequantize_f32(const void *row, float *out, uint64_t n)
{
    if (n != 0)
        memcpy(out, row, n * sizeof(float));
}

void quant_quantize_f32(const float *x, void *row, uint64_t n)
{
    if (n != 0)
        memcpy(row, x, n * sizeof(float));
}

float quant_dot_f32(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_f32 *w = row;
    const float *x = activation_row;
    float sum = 0.0f;
    for (uint64_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, w[i].bits, sizeof value);
        sum += value * x[i];
    }
    return sum;
}
