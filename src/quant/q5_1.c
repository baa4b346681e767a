// Q5_1: 32 elements, w = d * q + m.
// Quantizing: m = min, d = (max - min) / 31, q = (x - min) / d rounded to nearest.
// Dot product, per block: result += y.scale * (d * float(sum q * y.q) + m * float(y.sum)), the integers exact.
#include "quant/blocks.h"
#include "quant/codes.h"
#include "quant/search.h"

static void unpack(const struct block_q5_1 *b, uint8_t q[32])
{
    const uint32_t high = (uint32_t)block_u16(b->qh) | (uint32_t)block_u16(b->qh + 2) << 16;
    for (int j = 0; j < 16; j++) {
        q[j] = (uint8_t)((b->qs[j] & 15u) | (high >> j & 1u) << 4);
        q[j + 16] = (uint8_t)(b->qs[j] >> 4 | (high >> (j + 16) & 1u) << 4);
    }
}

static void pack(struct block_q5_1 *b, const uint8_t q[32])
{
    uint32_t high = 0;
    for (int j = 0; j < 32; j++)
        high |= (uint32_t)(q[j] >> 4) << j;
    block_set_u16(b->qh, (uint16_t)high);
    block_set_u16(b->qh + 2, (uint16_t)(high >> 16));
    for (int j = 0; j < 16; j++)
        b->qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

void quant_dequantize_q5_1(const void *row, float *out, uint64_t n)
{
    const struct block_q5_1 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, out += 32) {
        const float d = block_half(b[i].d);
        const float m = block_half(b[i].m);
        uint8_t q[32];
        unpack(&b[i], q);
        for (int j = 0; j < 32; j++)
            out[j] = d * (float)q[j] + m;
    }
}

void quant_quantize_q5_1(const float *x, void *row, uint64_t n)
{
    struct block_q5_1 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, x += 32) {
        uint8_t q[32] = {0};
        if (!all_finite(x, 32)) {
            block_set_u16(b[i].d, HALF_NAN);
            block_set_u16(b[i].m, 0);
            pack(&b[i], q);
            continue;
        }
        float min = x[0];
        float max = x[0];
        for (int j = 1; j < 32; j++) {
            min = x[j] < min ? x[j] : min;
            max = x[j] > max ? x[j] : max;
        }
        const float d = (max - min) / 31.0f;
        const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
        block_set_u16(b[i].d, half_from_float(d));
        block_set_u16(b[i].m, half_from_float(min));
        for (int j = 0; j < 32; j++)
            q[j] = truncate_to_code((x[j] - min) * inverse + 0.5f, 31);
        pack(&b[i], q);
    }
}

DEFINE_WEIGHTED_AFFINE_32(q5_1, 31)

float quant_dot_q5_1(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q5_1 *b = row;
    const struct activation_q8_32 *y = activation_row;
    float result = 0.0f;
    for (uint64_t i = 0; i < n / 32; i++) {
        uint8_t q[32];
        unpack(&b[i], q);
        int32_t sum = 0;
        for (int j = 0; j < 32; j++)
            sum += q[j] * y[i].q[j];
        result += y[i].scale * (block_half(b[i].d) * (float)sum + block_half(b[i].m) * (float)y[i].sum);
    }
    return result;
}
