// BF16: each value is a bfloat16; quantizing rounds to nearest, ties to even.
// Dot product: sum = sum + w * x in element order, in f32.
#include "quant/blocks.h"

void quant_dequantize_bf16(const void *row, float *out, uint64_t n)
{
    const struct block_bf16 *w = row;
    for (uint64_t i = 0; i < n; i++)
        out[i] = float_from_bf16(block_u16(w[i].bits));
}

void quant_quantize_bf16(const float *x, void *row, uint64_t n)
{
    struct block_bf16 *w = row;
    for (uint64_t i = 0; i < n; i++)
        block_set_u16(w[i].bits, bf16_from_float(x[i]));
}

float quant_dot_bf16(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_bf16 *w = row;
    const float *x = activation_row;
    float sum = 0.0f;
    for (uint64_t i = 0; i < n; i++)
        sum += float_from_bf16(block_u16(w[i].bits)) * x[i];
    return sum;
}
