// Attention on the paged KV layout of kernels/kernels.h, by online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867):
// block by block, with the running maximum, and the sum and output rescaled whenever it grows.
#include "kernels/scalar/scalar.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

// ---- where an element lies -------------------------------------------------------------------------------------------

static size_t key_at(uint32_t head_dim, uint32_t slot, uint32_t d)
{
    return ((size_t)(slot / KV_PANEL_KEYS) * head_dim + d) * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
}

static size_t value_at(uint32_t head_dim, uint32_t slot, uint32_t d)
{
    return (size_t)slot * head_dim + d;
}

static const uint16_t *scales_of(const void *part, uint32_t head_dim)
{
    return (const uint16_t *)(const void *)((const int8_t *)part + (size_t)KV_BLOCK_TOKENS * head_dim);
}

static float load_key(enum kv_type type, const void *keys, uint32_t head_dim, uint32_t slot, uint32_t d)
{
    const size_t at = key_at(head_dim, slot, d);
    if (type == KV_F16)
        return float_from_half(((const uint16_t *)keys)[at]);
    const size_t scale = key_at(kv_scale_groups(head_dim), slot, d / KV_SCALE_DIMS);
    return (float)((const int8_t *)keys)[at] * float_from_half(scales_of(keys, head_dim)[scale]);
}

static float load_value(enum kv_type type, const void *values, uint32_t head_dim, uint32_t slot, uint32_t d)
{
    const size_t at = value_at(head_dim, slot, d);
    if (type == KV_F16)
        return float_from_half(((const uint16_t *)values)[at]);
    const size_t scale = value_at(kv_scale_groups(head_dim), slot, d / KV_SCALE_DIMS);
    return (float)((const int8_t *)values)[at] * float_from_half(scales_of(values, head_dim)[scale]);
}

// ---- storing ---------------------------------------------------------------------------------------------------------

void kv_store_f16_scalar(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    for (uint32_t d = 0; d < head_dim; d++) {
        ((uint16_t *)keys)[key_at(head_dim, slot, d)] = half_from_float(k[d]);
        ((uint16_t *)values)[value_at(head_dim, slot, d)] = half_from_float(v[d]);
    }
}

static void store_q8_0(const float *x, uint32_t head_dim, uint32_t slot, int8_t *part,
                       size_t (*at)(uint32_t head_dim, uint32_t slot, uint32_t d))
{
    uint16_t *scales = (uint16_t *)(void *)(part + (size_t)KV_BLOCK_TOKENS * head_dim);
    for (uint32_t begin = 0; begin < head_dim; begin += KV_SCALE_DIMS) {
        const uint32_t end = head_dim - begin < KV_SCALE_DIMS ? head_dim : begin + KV_SCALE_DIMS;
        float most = 0.0f;
        for (uint32_t d = begin; d < end; d++)
            most = fabsf(x[d]) > most ? fabsf(x[d]) : most;
        const uint16_t scale = half_from_float(most / 127.0f);
        const float inverse = float_from_half(scale) == 0.0f ? 0.0f : 1.0f / float_from_half(scale);
        scales[at(kv_scale_groups(head_dim), slot, begin / KV_SCALE_DIMS)] = scale;
        for (uint32_t d = begin; d < end; d++) {
            const float code = fminf(127.0f, fmaxf(-127.0f, x[d] * inverse));
            part[at(head_dim, slot, d)] = (int8_t)lrintf(code);
        }
    }
}

void kv_store_q8_0_scalar(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    store_q8_0(k, head_dim, slot, keys, key_at);
    store_q8_0(v, head_dim, slot, values, value_at);
}

// ---- attention -------------------------------------------------------------------------------------------------------

struct partial {
    float *out, *max, *sum;
};

static struct partial partial_of(float *floats, uint32_t head_dim)
{
    float *end = floats + attention_partial_floats(head_dim) - 16;
    return (struct partial){floats, end, end + 1};
}

static void attend_block(const struct attention_args *args, enum kv_type type, const float *q, uint32_t b, uint32_t low,
                         uint32_t high, struct partial p)
{
    const uint32_t head_dim = args->head_dim;
    const char *block = args->blocks[b];
    const void *keys = block + args->k_offset, *values = block + args->v_offset;
    float scores[KV_BLOCK_TOKENS];
    float max = *p.max;
    for (uint32_t t = low; t < high; t++) {
        float sum = 0.0f;
        for (uint32_t d = 0; d < head_dim; d++)
            sum += q[d] * load_key(type, keys, head_dim, t, d);
        scores[t] = args->scale * sum;
        if (args->soft_cap != 0.0f)
            scores[t] = args->soft_cap * tanhf(scores[t] / args->soft_cap);
        if (scores[t] > max)
            max = scores[t];
    }
    if (max > *p.max) {
        const float shrink = expf(*p.max - max);
        *p.sum *= shrink;
        for (uint32_t d = 0; d < head_dim; d++)
            p.out[d] *= shrink;
        *p.max = max;
    }
    for (uint32_t t = low; t < high; t++) {
        const float weight = expf(scores[t] - max);
        *p.sum += weight;
        for (uint32_t d = 0; d < head_dim; d++)
            p.out[d] += weight * load_value(type, values, head_dim, t, d);
    }
}

// Keys first..end-1, all of one span.
static void attend_span(const struct attention_args *args, enum kv_type type, const float *q, uint32_t first,
                        uint32_t end, float *partial)
{
    const struct partial p = partial_of(partial, args->head_dim);
    memset(p.out, 0, args->head_dim * sizeof *p.out);
    *p.max = -INFINITY;
    *p.sum = 0.0f;
    for (uint32_t at = first; at < end;) {
        const uint32_t b = at / KV_BLOCK_TOKENS, start = b * KV_BLOCK_TOKENS;
        const uint32_t stop = end - start < KV_BLOCK_TOKENS ? end : start + KV_BLOCK_TOKENS;
        attend_block(args, type, q, b, at - start, stop - start, p);
        at = stop;
    }
}

static void merge(struct partial into, struct partial from, uint32_t head_dim)
{
    if (*from.sum == 0.0f)
        return;
    const float max = *into.max > *from.max ? *into.max : *from.max;
    const float a = *into.sum == 0.0f ? 0.0f : expf(*into.max - max), b = expf(*from.max - max);
    for (uint32_t d = 0; d < head_dim; d++)
        into.out[d] = into.out[d] * a + from.out[d] * b;
    *into.sum = *into.sum * a + *from.sum * b;
    *into.max = max;
}

void attention_merge_scalar(float *partials, uint32_t n, uint32_t head_dim, float *out)
{
    const struct partial into = partial_of(partials, head_dim);
    for (uint32_t i = 1; i < n; i++)
        merge(into, partial_of(partials + (size_t)i * attention_partial_floats(head_dim), head_dim), head_dim);
    for (uint32_t d = 0; out != NULL && d < head_dim; d++)
        out[d] = into.out[d] / *into.sum;
}

void attention_add_sink(float *partial, uint32_t head_dim, float sink)
{
    const struct partial p = partial_of(partial, head_dim);
    const float max = *p.max > sink ? *p.max : sink, shrink = expf(*p.max - max);
    for (uint32_t d = 0; d < head_dim; d++)
        p.out[d] *= shrink;
    *p.sum = *p.sum * shrink + expf(sink - max);
    *p.max = max;
}

static void attend(const struct attention_args *args, enum kv_type type, uint32_t row, uint32_t head)
{
    const uint64_t at = row * args->row_stride + (uint64_t)head * args->head_dim;
    const uint32_t floats = attention_partial_floats(args->head_dim);
    const uint32_t end = args->n_keys != 0 ? args->n_keys : args->position + row + 1;
    const uint32_t first = args->window != 0 && end > args->window ? end - args->window : 0;
    float *partials = args->partials != NULL ? args->partials + head * args->partial_stride : args->scratch;
    const uint32_t begin_span = args->partials != NULL ? args->span : first / KV_SPAN_TOKENS;
    const uint32_t last_span = args->partials != NULL ? args->span : (end - 1) / KV_SPAN_TOKENS;
    for (uint32_t span = begin_span; span <= last_span; span++) {
        const uint32_t low = span * KV_SPAN_TOKENS, high = low + KV_SPAN_TOKENS;
        attend_span(args, type, args->q + at, first > low ? first : low, end < high ? end : high,
                    span == begin_span ? partials : partials + floats);
        if (span != begin_span)
            attention_merge_scalar(partials, 2, args->head_dim, NULL);
    }
    if (args->partials == NULL && args->sinks != NULL)
        attention_add_sink(partials, args->head_dim, args->sinks[head]);
    if (args->partials == NULL)
        attention_merge_scalar(partials, 1, args->head_dim, args->out + at);
}

static void attention(const struct attention_args *args, enum kv_type type)
{
    for (uint32_t row = 0; row < args->n_rows; row++)
        for (uint32_t head = 0; head < args->n_q; head++)
            attend(args, type, row, head);
}

void attention_f16_scalar(const struct attention_args *args)
{
    attention(args, KV_F16);
}

void attention_q8_0_scalar(const struct attention_args *args)
{
    attention(args, KV_Q8_0);
}
