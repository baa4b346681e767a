// Q6_K: 16 sub-blocks of 16 with int8 scales, w = d * scale * (q - 32), q 0..63.
// Dot product, per super-block: result += d * y.scale * float(sum over s of scale[s] * dot(q - 32, y.q)), the integer
// sum exact (at most 16 * 128 * 16 * 32 * 127).
#include "quant/blocks.h"
#include "quant/search.h"

// q[e] = code - 32
static void unpack(const struct block_q6_k *b, int8_t q[SUPER_BLOCK])
{
    for (int e = 0; e < SUPER_BLOCK; e++) {
        const int low = b->ql[e / 128 * 64 + e % 64] >> 4 * (e % 128 / 64) & 15;
        const int high = b->qh[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
        q[e] = (int8_t)((low | high << 4) - 32);
    }
}

static void pack(struct block_q6_k *b, const int8_t q[SUPER_BLOCK])
{
    for (int k = 0; k < 128; k++) {
        const int8_t *first = q + k / 64 * 128 + k % 64;
        b->ql[k] = (uint8_t)(((first[0] + 32) & 15) | ((first[64] + 32) & 15) << 4);
    }
    for (int k = 0; k < 64; k++) {
        const int8_t *first = q + k / 32 * 128 + k % 32;
        int bits = 0;
        for (int j = 0; j < 4; j++)
            bits |= (first[32 * j] + 32) >> 4 << 2 * j;
        b->qh[k] = (uint8_t)bits;
    }
}

void quant_dequantize_q6_k(const void *row, float *out, uint64_t n)
{
    const struct block_q6_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, out += SUPER_BLOCK) {
        const float d = block_half(b[i].d);
        int8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        for (int e = 0; e < SUPER_BLOCK; e++)
            out[e] = d * (float)b[i].scales[e / 16] * (float)q[e];
    }
}

// `importance`: [n] or NULL.
static void quantize(const float *x, const float *importance, void *row, uint64_t n)
{
    struct block_q6_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        struct symmetric_fit fit;
        search_symmetric(x, search_importance_at(importance, SUPER_BLOCK * i), 32, 128, &fit);
        block_set_u16(b[i].d, fit.d);
        for (int s = 0; s < 16; s++)
            b[i].scales[s] = fit.scales[s];
        pack(&b[i], fit.q);
    }
}

DEFINE_QUANTIZERS(q6_k)

float quant_dot_q6_k(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q6_k *b = row;
    const struct activation_q8_256 *y = activation_row;
    float result = 0.0f;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++) {
        int8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        int32_t sum = 0;
        for (int s = 0; s < 16; s++) {
            int32_t dot = 0;
            for (int e = 16 * s; e < 16 * s + 16; e++)
                dot += q[e] * y[i].q[e];
            sum += b[i].scales[s] * dot;
        }
        result += block_half(b[i].d) * y[i].scale * (float)sum;
    }
    return result;
}
