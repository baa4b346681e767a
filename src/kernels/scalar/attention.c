// Attention on the paged KV layout of kernels/kernels.h, by online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867):
// block by block, with the running maximum, and the sum and output rescaled whenever it grows.
#include "kernels/scalar/scalar.h"

#include "base/half.h"

#include <math.h>

void kv_store_scalar(const float *k, const float *v, uint32_t head_dim, uint32_t slot, uint16_t *k_panels,
                     uint16_t *v_rows)
{
    uint16_t *key = k_panels + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value = v_rows + (size_t)slot * head_dim;
    for (uint32_t d = 0; d < head_dim; d++) {
        key[(size_t)d * KV_PANEL_KEYS] = half_from_float(k[d]);
        value[d] = half_from_float(v[d]);
    }
}

static float score(const float *q, const uint16_t *panels, uint32_t head_dim, uint32_t slot)
{
    const uint16_t *key = panels + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    float sum = 0.0f;
    for (uint32_t d = 0; d < head_dim; d++)
        sum += q[d] * float_from_half(key[(size_t)d * KV_PANEL_KEYS]);
    return sum;
}

static void attend(const struct attention_args *args, const float *q, float *out)
{
    const uint32_t head_dim = args->head_dim;
    float max = -INFINITY;
    float sum = 0.0f;
    for (uint32_t d = 0; d < head_dim; d++)
        out[d] = 0.0f;
    for (uint32_t b = args->first / KV_BLOCK_TOKENS; b <= (args->end - 1) / KV_BLOCK_TOKENS; b++) {
        const uint32_t start = b * KV_BLOCK_TOKENS;
        const uint32_t low = args->first > start ? args->first - start : 0;
        const uint32_t high = args->end - start < KV_BLOCK_TOKENS ? args->end - start : KV_BLOCK_TOKENS;
        const uint8_t *block = args->blocks[b];
        const uint16_t *keys = (const uint16_t *)(const void *)(block + args->k_offset);
        const uint16_t *values = (const uint16_t *)(const void *)(block + args->v_offset);
        float p[KV_BLOCK_TOKENS];
        float block_max = max;
        for (uint32_t t = low; t < high; t++) {
            p[t] = args->scale * score(q, keys, head_dim, t);
            if (p[t] > block_max)
                block_max = p[t];
        }
        if (block_max > max) {
            const float shrink = expf(max - block_max);
            sum *= shrink;
            for (uint32_t d = 0; d < head_dim; d++)
                out[d] *= shrink;
            max = block_max;
        }
        for (uint32_t t = low; t < high; t++) {
            p[t] = expf(p[t] - max);
            sum += p[t];
            for (uint32_t d = 0; d < head_dim; d++)
                out[d] += p[t] * float_from_half(values[(size_t)t * head_dim + d]);
        }
    }
    for (uint32_t d = 0; d < head_dim; d++)
        out[d] /= sum;
}

void attention_scalar(const struct attention_args *args)
{
    for (uint32_t h = 0; h < args->n_q; h++)
        attend(args, args->q + (size_t)h * args->head_dim, args->out + (size_t)h * args->head_dim);
}
