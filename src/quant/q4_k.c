// Q4_K: 8 sub-blocks of 32 with 6-bit scales and mins, w = d * scale * q - dmin * min, q 0..15.
#include "quant/affine_32.h"
#include "quant/blocks.h"
#include "quant/search.h"

static void unpack(const struct block_q4_k *b, uint8_t q[SUPER_BLOCK])
{
    for (int e = 0; e < SUPER_BLOCK; e++)
        q[e] = b->qs[e / 64 * 32 + e % 32] >> 4 * (e % 64 / 32) & 15;
}

static void pack(struct block_q4_k *b, const uint8_t q[SUPER_BLOCK])
{
    for (int k = 0; k < 128; k++) {
        const uint8_t *first = q + k / 32 * 64 + k % 32;
        b->qs[k] = (uint8_t)(first[0] | first[32] << 4);
    }
}

void quant_dequantize_q4_k(const void *row, float *out, uint64_t n)
{
    const struct block_q4_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, out += SUPER_BLOCK) {
        uint8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        affine_32_dequantize(b[i].d, b[i].dmin, b[i].scales, q, out);
    }
}

// `importance`: [n] or NULL.
static void quantize(const float *x, const float *importance, void *row, uint64_t n)
{
    struct block_q4_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        struct affine_fit fit;
        search_affine(x, search_importance_at(importance, SUPER_BLOCK * i), 32, 15, 63, &fit);
        block_set_u16(b[i].d, fit.d);
        block_set_u16(b[i].dmin, fit.dmin);
        q4_k_pack_scales(b[i].scales, fit.scales, fit.mins);
        pack(&b[i], fit.q);
    }
}

DEFINE_QUANTIZERS(q4_k)

float quant_dot_q4_k(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q4_k *b = row;
    const struct activation_q8_256 *y = activation_row;
    float result = 0.0f;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++) {
        uint8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        result += affine_32_dot(b[i].d, b[i].dmin, b[i].scales, q, &y[i]);
    }
    return result;
}
