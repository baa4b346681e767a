// Q2_K: 16 sub-blocks of 16 with 4-bit scales and mins, w = d * scale * q - dmin * min, q 0..3.
// Dot product, per super-block, with y.sums of the same 16 elements:
//   result += y.scale * (d * float(sum over s of scale[s] * dot(q, y.q))
//                        - dmin * float(sum over s of min[s] * y.sums[s]))
// Both integer sums fit in 32 bits (at most 16 * 15 * 16 * 3 * 127).
#include "quant/blocks.h"
#include "quant/search.h"

static void unpack(const struct block_q2_k *b, uint8_t q[SUPER_BLOCK])
{
    for (int e = 0; e < SUPER_BLOCK; e++)
        q[e] = b->qs[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
}

static void pack(struct block_q2_k *b, const uint8_t q[SUPER_BLOCK])
{
    for (int k = 0; k < 64; k++) {
        const uint8_t *first = q + k / 32 * 128 + k % 32;
        b->qs[k] = (uint8_t)(first[0] | first[32] << 2 | first[64] << 4 | first[96] << 6);
    }
}

void quant_dequantize_q2_k(const void *row, float *out, uint64_t n)
{
    const struct block_q2_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, out += SUPER_BLOCK) {
        const float d = block_half(b[i].d);
        const float dmin = block_half(b[i].dmin);
        uint8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        for (int e = 0; e < SUPER_BLOCK; e++) {
            const float scale = d * (float)(b[i].scales[e / 16] & 15);
            const float min = dmin * (float)(b[i].scales[e / 16] >> 4);
            out[e] = scale * (float)q[e] - min;
        }
    }
}

// `importance`: [n] or NULL.
static void quantize(const float *x, const float *importance, void *row, uint64_t n)
{
    struct block_q2_k *b = row;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++, x += SUPER_BLOCK) {
        struct affine_fit fit;
        search_affine(x, search_importance_at(importance, SUPER_BLOCK * i), 16, 3, 15, &fit);
        block_set_u16(b[i].d, fit.d);
        block_set_u16(b[i].dmin, fit.dmin);
        for (int s = 0; s < 16; s++)
            b[i].scales[s] = (uint8_t)(fit.scales[s] | fit.mins[s] << 4);
        pack(&b[i], fit.q);
    }
}

DEFINE_QUANTIZERS(q2_k)

float quant_dot_q2_k(const void *row, const void *activation_row, uint64_t n)
{
    const struct block_q2_k *b = row;
    const struct activation_q8_256 *y = activation_row;
    float result = 0.0f;
    for (uint64_t i = 0; i < n / SUPER_BLOCK; i++) {
        uint8_t q[SUPER_BLOCK];
        unpack(&b[i], q);
        int32_t sum = 0;
        int32_t min_sum = 0;
        for (int s = 0; s < 16; s++) {
            int32_t dot = 0;
            for (int e = 16 * s; e < 16 * s + 16; e++)
                dot += q[e] * y[i].q[e];
            sum += (b[i].scales[s] & 15) * dot;
            min_sum += (b[i].scales[s] >> 4) * y[i].sums[s];
        }
        result += y[i].scale * (block_half(b[i].d) * (float)sum - block_half(b[i].dmin) * (float)min_sum);
    }
    return result;
}
