// Q4_0: 32 elements, w = d * (q - 8).
// Quantizing: d = (the value of largest magnitude) / -8, so that this value gets code 0 exactly and the codes reach one
// step further on its side; q = x / d + 8 rounded to nearest.
// Dot product, per block: result += d * y.scale * float(sum q * y.q - 8 * y.sum), the integers exact.
#include "quant/blocks.h"
#include "quant/codes.h"
#include "quant/search.h"

static void unpack(const struct block_q4_0 *b, uint8_t q[32])
{
    for (int j = 0; j < 16; j++) {
        q[j] = b->qs[j] & 15;
        q[j + 16] = b->qs[j] >> 4;
    }
}

static void pack(struct block_q4_0 *b, const uint8_t q[32])
{
    for (int j = 0; j < 16; j++)
        b->qs[j] = (uint8_t)(q[j] | q[j + 16] << 4);
}

void quant_dequantize_q4_0(const void *row, float *out, uint64_t n)
{
    const struct block_q4_0 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, out += 32) {
        const float d = block_half(b[i].d);
        uint8_t q[32];
        unpack(&b[i], q);
        for (int j = 0; j < 32; j++)
            out[j] = d * (float)(q[j] - 8);
    }
}

void quant_quantize_q4_0(const float *x, void *row, uint64_t n)
{
    struct block_q4_0 *b = row;
    for (uint64_t i = 0; i < n / 32; i++, x += 32) {
        uint8_t q[32] = {0};
        if (!all_finite(x, 32)) {
            block_set_u16(b[i].d, HALF_NAN);
            pack(&b[i], q);
            continue;
        }
        float largest = 0.0f;
        for (int j = 0; j < 32; j++) {
            const float magnitude = x[j] < 0.0f ? -x[j] : x[j];
            if (magnitude > (largest < 0.0f ? -largest : largest))
                largest = x[j];
        }
        const float d = largest / -8.0f;
        const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
        block_set_u16(b[i].d, half_from_float(d));
        for (int j = 0; j < 32; j++)
            q[j] = truncate_to_code(x[j] * inverse + 8.5f, 15);
        pack(&b[i], q);
    }
}

DEFINE_WEIGHTED_SYMMETRIC_32(q4_0, 8)

float quant_dot_q4_0(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q4_0 *b = row;
    const struct activation_q8_32 *y = activation_row;
    float result = 0.0f;
    for (uint64_t i = 0; i < n / 32; i++) {
        uint8_t q[32];
        unpack(&b[i], q);
        int32_t sum = 0;
        for (int j = 0; j < 32; j++)
            sum += q[j] * y[i].q[j];
        result += block_half(b[i].d) * y[i].scale * (float)(sum - 8 * y[i].sum);
    }
    return result;
}
