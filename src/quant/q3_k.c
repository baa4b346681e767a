// Q3_K: 16 sub-blocks of 16 with signed 6-bit scales, w = d * scale * q, q -4..3.
// Dot product, per super-block: result += d * y.scale * float(sum over s of scale[s] * dot(q, y.q)), the integer sum
// exact (at most 16 * 32 * 16 * 4 * 127).
#include "quant/blocks.h"
#include "quant/search.h"

#include <string.h>

static void unpack(const struct block_q3_k *b, int8_t q[SUPER_BLOCK])
{
    for (int e = 0; e < SUPER_BLOCK; e++) {
        const int low = b->qs[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
        const int high = b->hmask[e % 32] >> e / 32 & 1;
        q[e] = (int8_t)(low + 4 * high - 4);
    }
}

static void pack(struct block_q3_k *b, const int8_t q[SUPER_BLOCK])
{
    memset(b->qs, 0, sizeof b->qs);
    memset(b->hmask, 0, sizeof b->hmask);
    for (int e = 0; e < SUPER_BLOCK; e++) {
        const uint8_t code = (uint8_t)(q[e] + 4);
        uint8_t *low = &b->qs[e / 128 * 32 + e % 32];
        *low = (uint8_t)(*low | (code & 3) << 2 * (e % 128 / 32));
        b->hmask[e % 32] = (uint8_t)(b->hmask[e % 32] | code >> 2 << e / 32);
    }
}

static void pack_scales(uint8_t packed[12], const int8_t scales[16])
{
    memset(packed, 0, 12);
    for (int s = 0; s < 16; s++) {
        const uint8_t level = (uint8_t)(scales[s] + 32);
        packed[s % 8] = (uint8_t)(packed[s % 8] | (level & 15) << 4 * (s / 8));
        packed[8 + s % 4] = (uint8_t)(packed[8 + s % 4] | level >> 4 << 2 * (s / 4));
    }
}

void quant_dequantize_q3_k(const void *row, float *out, uint64_t n)
{
    const struct block_q3_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, out += SUPER_BLOCK) {
        const float d = block_half(b[i].d);
        int8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        for (int e = 0; e < SUPER_BLOCK; e++)
            out[e] = d * (float)q3_k_scale(b[i].scales, e / 16) * (float)q[e];
    }
}

// `importance`: [n] or NULL.
static void quantize(const float *x, const float *importance, void *row, uint64_t n)
{
    struct block_q3_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        struct symmetric_fit fit;
        search_symmetric(x, search_importance_at(importance, SUPER_BLOCK * i), 4, 32, &fit);
        block_set_u16(b[i].d, fit.d);
        pack_scales(b[i].scales, fit.scales);
        pack(&b[i], fit.q);
    }
}

DEFINE_QUANTIZERS(q3_k)

float quant_dot_q3_k(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q3_k *b = row;
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
            sum += q3_k_scale(b[i].scales, s) * dot;
        }
        result += block_half(b[i].d) * y[i].scale * (float)sum;
    }
    return result;
}
