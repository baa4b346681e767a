// The forward pass of a tiny model once more, as the formulas say it: in double precision, one position after the other, with
// nothing shared with src/ but the conversions that it imitates on request.
#ifndef CHORD_TEST_TINY_REFERENCE_H
#define CHORD_TEST_TINY_REFERENCE_H

#include "base/half.h"
#include "tiny_model.h"

#define REFERENCE_MOST_WIDTH 1024

// What goes into products of quantized matrices.
enum reference_products {
    PRODUCTS_EXACT,
    PRODUCTS_8_BITS, // activations of 8 bits
    // Weights and activations of bfloat16, but in the head; with one scale per row, activations of 8 bits. Of F16 and BF16: both in
    // two parts, whose second ones do not meet.
    PRODUCTS_BF16,
};

struct reference_options {
    bool round_kv; // keys and values to halves, as the cache stores them
    enum reference_products products;
    bool neox; // pairs (i, i + n_rot/2) instead of (2i, 2i + 1)
};

// To nearest, ties to even: of the 53 bits of the significand the first 8.
static inline double reference_bf16(double x)
{
    const uint64_t one = UINT64_C(1) << 45;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += one / 2 - 1 + (bits / one & 1);
    bits &= ~(one - 1);
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline void reference_round_to_8_bits(double *x, uint64_t n, uint64_t step)
{
    for (uint64_t at = 0; at < n; at += step) {
        double largest = 0;
        for (uint64_t i = at; i < at + step; i++)
            largest = fmax(largest, fabs(x[i]));
        for (uint64_t i = at; i < at + step; i++)
            x[i] = largest > 0 ? largest / 127 * nearbyint(x[i] * 127 / largest) : 0;
    }
}

// w x, with both in two parts of bfloat16: all but the product of the second parts.
static inline double reference_product_of_parts(double w, double x)
{
    const double w0 = reference_bf16(w), x0 = reference_bf16((float)x), x1 = reference_bf16((float)x - x0);
    return w0 * (x0 + x1) + reference_bf16(w - w0) * x0;
}

// out[n_rows] = w x (+ bias), with matrix `expert` of the tensor.
static inline void reference_linear_of(struct tiny_model *m, const char *name, uint32_t expert, const double *x,
                                       double *out, const struct reference_options *options)
{
    char full[80];
    double prepared[REFERENCE_MOST_WIDTH];
    snprintf(full, sizeof full, "%s.weight", name);
    const struct tiny_tensor *w = tiny_tensor(m, full);
    snprintf(full, sizeof full, "%s.bias", name);
    const float *bias = tiny_values(m, full);
    const uint64_t n = w->ne[0];
    memcpy(prepared, x, n * sizeof *x);
    const enum activation_type type = quant_traits(w->type)->activation;
    const bool head = strcmp(name, "output") == 0 || strcmp(name, "token_embd") == 0;
    const bool bf16 =
        type != ACTIVATION_F32 && type != ACTIVATION_Q8_PER_ROW && options->products == PRODUCTS_BF16 && !head;
    const bool in_parts = type == ACTIVATION_F32 && w->type != QUANT_F32 && options->products == PRODUCTS_BF16 && !head;
    for (uint64_t i = 0; bf16 && i < n; i++)
        prepared[i] = reference_bf16((float)x[i]);
    if (type != ACTIVATION_F32 && options->products != PRODUCTS_EXACT && !bf16)
        reference_round_to_8_bits(prepared, n,
                                  type == ACTIVATION_Q8_PER_32    ? 32
                                  : type == ACTIVATION_Q8_PER_256 ? 256
                                                                  : n);
    for (uint64_t r = 0; r < w->ne[1]; r++) {
        double sum = bias != NULL ? bias[r] : 0;
        for (uint64_t i = 0; i < n; i++) {
            const double value = w->values[(expert * w->ne[1] + r) * n + i];
            sum += in_parts ? reference_product_of_parts(value, prepared[i])
                            : (bf16 ? reference_bf16(value) : value) * prepared[i];
        }
        out[r] = sum;
    }
}

static inline void reference_linear(struct tiny_model *m, const char *name, const double *x, double *out,
                                    const struct reference_options *options)
{
    reference_linear_of(m, name, 0, x, out, options);
}

// out += scale * down(silu(gate x) * up x), of matrix `expert` of "blk.<layer>.ffn_{gate,up,down}<suffix>".
static inline void reference_swiglu(struct tiny_model *m, uint32_t layer, const char *suffix, uint32_t expert,
                                    const double *x, double scale, double *out, const struct reference_options *options)
{
    double gate[REFERENCE_MOST_WIDTH], up[REFERENCE_MOST_WIDTH], down[REFERENCE_MOST_WIDTH];
    char name[64];
#define PART_NAME(part) (snprintf(name, sizeof name, "blk.%u.ffn_%s%s", layer, part, suffix), name)
    reference_linear_of(m, PART_NAME("gate"), expert, x, gate, options);
    reference_linear_of(m, PART_NAME("up"), expert, x, up, options);
    snprintf(name, sizeof name, "blk.%u.ffn_down%s.weight", layer, suffix);
    const struct tiny_tensor *w = tiny_tensor(m, name);
    for (uint32_t i = 0; i < w->ne[0]; i++)
        gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    reference_linear_of(m, PART_NAME("down"), expert, gate, down, options);
    for (uint32_t i = 0; i < w->ne[1]; i++)
        out[i] += scale * down[i];
#undef PART_NAME
}

// out += the mixture of experts of x. The weights of the chosen ones add up to 1, except in qwen2moe.
static inline void reference_experts(struct tiny_model *m, uint32_t layer, const double *x, double *out,
                                     const struct reference_options *options)
{
    const struct tiny_options *o = &m->options;
    double p[REFERENCE_MOST_WIDTH], sum = 0, chosen_sum = 0, gate;
    uint32_t chosen[REFERENCE_MOST_WIDTH];
    char name[64];
    snprintf(name, sizeof name, "blk.%u.ffn_gate_inp", layer);
    reference_linear(m, name, x, p, options);
    for (uint32_t e = 0; e < o->n_expert; e++)
        sum += p[e] = exp(p[e]);
    for (uint32_t e = 0; e < o->n_expert; e++) {
        uint32_t rank = 0; // experts before this one
        for (uint32_t other = 0; other < o->n_expert; other++)
            rank += p[other] > p[e] || (p[other] == p[e] && other < e);
        if (rank < o->n_expert_used) {
            chosen[rank] = e;
            chosen_sum += p[e];
        }
    }
    if (strcmp(o->arch, "qwen2moe") != 0)
        sum = chosen_sum;
    for (uint32_t k = 0; k < o->n_expert_used; k++)
        reference_swiglu(m, layer, "_exps", chosen[k], x, p[chosen[k]] / sum, out, options);
    if (o->n_ff_shared == 0)
        return;
    snprintf(name, sizeof name, "blk.%u.ffn_gate_inp_shexp", layer);
    reference_linear(m, name, x, &gate, options);
    reference_swiglu(m, layer, "_shexp", 0, x, 1 / (1 + exp(-gate)), out, options);
}

static inline void reference_norm(const double *x, const float *weight, double eps, double *out, uint32_t n)
{
    double squares = 0;
    for (uint32_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    const double scale = 1 / sqrt(squares / n + eps);
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static inline void reference_rope(struct tiny_model *m, double *head, uint32_t position,
                                  const struct reference_options *options)
{
    const uint32_t n_rot = m->options.n_rot;
    const float *factors = tiny_values(m, "rope_freqs.weight");
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        const double angle = position * pow(10000, -2.0 * i / n_rot) / (factors != NULL ? factors[i] : 1);
        double *a = &head[options->neox ? i : 2 * i], *b = &head[options->neox ? i + n_rot / 2 : 2 * i + 1];
        const double x = *a, y = *b;
        *a = x * cos(angle) - y * sin(angle);
        *b = x * sin(angle) + y * cos(angle);
    }
}

// logits [n_tokens, n_vocab], after each token.
static inline void reference_run(struct tiny_model *m, const uint32_t *tokens, uint32_t n_tokens,
                                 struct reference_options options, double *logits)
{
    const struct tiny_options *o = &m->options;
    const uint32_t n_kv = o->n_head_kv * o->head_dim, shared = o->n_head / o->n_head_kv;
    const double eps = (double)1e-5f;
    double *k_cache = calloc((size_t)o->n_layer * n_tokens * n_kv, sizeof *k_cache);
    double *v_cache = calloc((size_t)o->n_layer * n_tokens * n_kv, sizeof *v_cache);
    double *scores = calloc(n_tokens, sizeof *scores);
    double x[REFERENCE_MOST_WIDTH], normed[REFERENCE_MOST_WIDTH], q[REFERENCE_MOST_WIDTH], mixed[REFERENCE_MOST_WIDTH];
    char name[64];
#define LAYER_NAME(suffix) (snprintf(name, sizeof name, "blk.%u.%s", layer, suffix), name)
    for (uint32_t t = 0; t < n_tokens; t++) {
        const float *embedding = tiny_values(m, "token_embd.weight") + (size_t)tokens[t] * o->n_embd;
        for (uint32_t i = 0; i < o->n_embd; i++)
            x[i] = embedding[i];
        for (uint32_t layer = 0; layer < o->n_layer; layer++) {
            double *k = k_cache + ((size_t)layer * n_tokens + t) * n_kv,
                   *v = v_cache + ((size_t)layer * n_tokens + t) * n_kv;
            reference_norm(x, tiny_values(m, LAYER_NAME("attn_norm.weight")), eps, normed, o->n_embd);
            reference_linear(m, LAYER_NAME("attn_q"), normed, q, &options);
            reference_linear(m, LAYER_NAME("attn_k"), normed, k, &options);
            reference_linear(m, LAYER_NAME("attn_v"), normed, v, &options);
            const float *q_norm = tiny_values(m, LAYER_NAME("attn_q_norm.weight"));
            const float *k_norm = tiny_values(m, LAYER_NAME("attn_k_norm.weight"));
            for (uint32_t h = 0; h < o->n_head; h++) {
                if (q_norm != NULL)
                    reference_norm(q + h * o->head_dim, q_norm, eps, q + h * o->head_dim, o->head_dim);
                reference_rope(m, q + h * o->head_dim, t, &options);
            }
            for (uint32_t h = 0; h < o->n_head_kv; h++) {
                if (k_norm != NULL)
                    reference_norm(k + h * o->head_dim, k_norm, eps, k + h * o->head_dim, o->head_dim);
                reference_rope(m, k + h * o->head_dim, t, &options);
            }
            for (uint32_t i = 0; options.round_kv && i < n_kv; i++) {
                k[i] = float_from_half(half_from_float((float)k[i]));
                v[i] = float_from_half(half_from_float((float)v[i]));
            }
            for (uint32_t h = 0; h < o->n_head; h++) {
                const uint32_t at = h / shared * o->head_dim;
                double sum = 0, most = -INFINITY;
                for (uint32_t s = 0; s <= t; s++) {
                    const double *key = k_cache + ((size_t)layer * n_tokens + s) * n_kv + at;
                    scores[s] = 0;
                    for (uint32_t i = 0; i < o->head_dim; i++)
                        scores[s] += q[h * o->head_dim + i] * key[i];
                    scores[s] /= sqrt(o->head_dim);
                    most = fmax(most, scores[s]);
                }
                for (uint32_t s = 0; s <= t; s++)
                    sum += scores[s] = exp(scores[s] - most);
                for (uint32_t i = 0; i < o->head_dim; i++) {
                    double value = 0;
                    for (uint32_t s = 0; s <= t; s++)
                        value += scores[s] / sum * v_cache[((size_t)layer * n_tokens + s) * n_kv + at + i];
                    mixed[h * o->head_dim + i] = value;
                }
            }
            reference_linear(m, LAYER_NAME("attn_output"), mixed, normed, &options);
            for (uint32_t i = 0; i < o->n_embd; i++)
                x[i] += normed[i];
            reference_norm(x, tiny_values(m, LAYER_NAME("ffn_norm.weight")), eps, normed, o->n_embd);
            if (o->n_expert != 0)
                reference_experts(m, layer, normed, x, &options);
            else
                reference_swiglu(m, layer, "", 0, normed, 1, x, &options);
        }
        reference_norm(x, tiny_values(m, "output_norm.weight"), eps, normed, o->n_embd);
        reference_linear(m, tiny_tensor(m, "output.weight") != NULL ? "output" : "token_embd", normed,
                         logits + (size_t)t * o->n_vocab, &options);
    }
#undef LAYER_NAME
    free(k_cache);
    free(v_cache);
    free(scores);
}

#endif
