#include "models/blocks.h"

#include <math.h>
#include <stdio.h>

struct tensor_name layer_tensor(const struct graph_builder *b, const char *name)
{
    struct tensor_name full;
    snprintf(full.text, sizeof full.text, "blk.%u.%s", b->layer, name);
    return full;
}

struct graph_linear layer_linear(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out,
                                 bool with_bias)
{
    char part[64];
    struct graph_linear linear = {0};
    snprintf(part, sizeof part, "%s.weight", name);
    linear.weight = graph_matrix(b, layer_tensor(b, part).text, n_in, n_out);
    snprintf(part, sizeof part, "%s.bias", name);
    if (with_bias)
        linear.bias = graph_optional_vector(b, layer_tensor(b, part).text, n_out);
    return linear;
}

graph_value build_embedding(struct graph_builder *b, const struct hparams *h, const struct weight **embedding)
{
    *embedding = graph_matrix(b, "token_embd.weight", h->n_embd, h->n_vocab);
    return graph_embed(b, *embedding);
}

graph_value build_layer_norm(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name)
{
    return graph_rms_norm(b, x, graph_vector(b, layer_tensor(b, name).text, h->n_embd), h->n_embd, h->norm_rms_eps);
}

graph_value build_attention(struct graph_builder *b, const struct hparams *h, graph_value x,
                            struct attention_options options)
{
    const uint32_t n_q = h->n_head * h->head_dim, n_kv = h->n_head_kv * h->head_dim;
    const struct graph_linear qkv[3] = {
        layer_linear(b, "attn_q", h->n_embd, n_q, options.bias),
        layer_linear(b, "attn_k", h->n_embd, n_kv, options.bias),
        layer_linear(b, "attn_v", h->n_embd, n_kv, options.bias),
    };
    const struct graph_linear output = layer_linear(b, "attn_output", n_q, h->n_embd, options.bias);
    graph_value projected[3];
    graph_linear(b, x, qkv, 3, projected);
    graph_value q = projected[0], k = projected[1];
    if (options.qk_norm) {
        const float *q_norm = graph_vector(b, layer_tensor(b, "attn_q_norm.weight").text, h->head_dim);
        const float *k_norm = graph_vector(b, layer_tensor(b, "attn_k_norm.weight").text, h->head_dim);
        q = graph_rms_norm(b, q, q_norm, h->head_dim, h->norm_rms_eps);
        k = graph_rms_norm(b, k, k_norm, h->head_dim, h->norm_rms_eps);
    }
    graph_rope(b, q, h->n_head, h->head_dim);
    graph_rope(b, k, h->n_head_kv, h->head_dim);
    const struct graph_attention attention = {
        .n_head = h->n_head,
        .n_head_kv = h->n_head_kv,
        .head_dim = h->head_dim,
        .scale = 1.0f / sqrtf((float)h->head_dim),
    };
    return graph_linear1(b, graph_attention(b, q, k, projected[2], &attention), output);
}

graph_value build_swiglu(struct graph_builder *b, const struct hparams *h, graph_value x, const char *suffix,
                         uint32_t n_ff)
{
    char gate[32], up[32], down[32];
    snprintf(gate, sizeof gate, "ffn_gate%s", suffix);
    snprintf(up, sizeof up, "ffn_up%s", suffix);
    snprintf(down, sizeof down, "ffn_down%s", suffix);
    const struct graph_linear gate_up[2] = {
        layer_linear(b, gate, h->n_embd, n_ff, false),
        layer_linear(b, up, h->n_embd, n_ff, false),
    };
    const struct graph_linear last = layer_linear(b, down, n_ff, h->n_embd, false);
    graph_value projected[2];
    graph_linear(b, x, gate_up, 2, projected);
    return graph_linear1(b, graph_silu_mul(b, projected[0], projected[1]), last);
}

graph_value build_experts(struct graph_builder *b, const struct hparams *h, graph_value x,
                          struct experts_options options)
{
    const struct graph_linear router = {
        .weight = graph_matrix(b, layer_tensor(b, "ffn_gate_inp.weight").text, h->n_embd, h->n_expert)};
    if (b->status == CHORD_OK && graph_has_tensor(b, layer_tensor(b, "ffn_gate.0.weight").text))
        graph_build_fail(b, CHORD_MODEL_TENSOR,
                         "the file has each expert in a tensor of its own, as converters wrote them until April 2024; "
                         "convert the model again");
    const struct graph_experts experts = {
        .gate = graph_expert_matrices(b, layer_tensor(b, "ffn_gate_exps.weight").text, h->n_embd, h->n_ff_expert,
                                      h->n_expert),
        .up = graph_expert_matrices(b, layer_tensor(b, "ffn_up_exps.weight").text, h->n_embd, h->n_ff_expert,
                                    h->n_expert),
        .down = graph_expert_matrices(b, layer_tensor(b, "ffn_down_exps.weight").text, h->n_ff_expert, h->n_embd,
                                      h->n_expert),
        .n_expert = h->n_expert,
    };
    const graph_value route = graph_route(b, graph_linear1(b, x, router), h->n_expert_used, options.renormalized);
    const graph_value routed = graph_experts(b, x, route, &experts);
    if (!options.shared)
        return routed;
    const graph_value gate = graph_linear1(b, x, layer_linear(b, "ffn_gate_inp_shexp", h->n_embd, 1, false));
    const graph_value shared = build_swiglu(b, h, x, "_shexp", h->n_ff_shared);
    return graph_add(b, routed, graph_sigmoid_scale(b, gate, shared));
}

enum chord_status require_experts(const struct gguf *gguf, struct hparams *h, struct chord_error *err)
{
    (void)gguf;
    if (h->n_expert == 0)
        return chord_fail(err, CHORD_MODEL_HPARAMS,
                          "the metadata lacks '%s.expert_count', or has 0: this architecture is a mixture of experts",
                          h->arch);
    if (h->n_ff_expert == 0)
        h->n_ff_expert = h->n_ff / h->n_expert_used;
    return CHORD_OK;
}

graph_value build_head(struct graph_builder *b, const struct hparams *h, graph_value x, const struct weight *embedding)
{
    struct graph_linear output = {.weight = embedding};
    if (graph_has_tensor(b, "output.weight"))
        output.weight = graph_matrix(b, "output.weight", h->n_embd, h->n_vocab);
    const float *norm = graph_vector(b, "output_norm.weight", h->n_embd);
    x = graph_begin_head(b, x);
    x = graph_rms_norm(b, x, norm, h->n_embd, h->norm_rms_eps);
    return graph_linear1(b, x, output);
}

// The element of a head at which a wave has turned `turns` times over n_ctx positions (YaRN, arXiv 2309.00071, section 3.2).
static double yarn_dimension(const struct hparams *h, double turns)
{
    const double pi = 3.14159265358979323846;
    return h->n_rot * log(h->rope_n_ctx_orig / (turns * 2 * pi)) / (2 * log(h->rope_base));
}

// YaRN: high frequencies stay, low ones are interpolated, those between are blended by a ramp.
static void apply_yarn(const struct hparams *h, double *inverse_frequency)
{
    const double beta_fast = 32, beta_slow = 1;
    const uint32_t half = h->n_rot / 2;
    double low = floor(yarn_dimension(h, beta_fast)), high = ceil(yarn_dimension(h, beta_slow));
    low = low < 0 ? 0 : low;
    high = high > h->n_rot - 1 ? h->n_rot - 1 : high;
    for (uint32_t i = 0; i < half; i++) {
        double ramp = (i - low) / fmax(0.001, high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse_frequency[i] *= 1 - ramp + ramp / h->rope_factor;
    }
}

void build_rope(struct graph_builder *b, const struct hparams *h, enum rope_kind kind)
{
    double inverse_frequency[256]; // n_rot is at most 512
    const uint32_t half = h->n_rot / 2;
    double magnitude = 1;
    for (uint32_t i = 0; i < half; i++)
        inverse_frequency[i] = pow(h->rope_base, -2.0 * i / h->n_rot);
    if (h->rope_scaling == ROPE_SCALING_YARN) {
        apply_yarn(h, inverse_frequency);
        magnitude = h->rope_attn_factor * (1 + 0.1 * log(h->rope_factor));
    } else if (h->rope_scaling == ROPE_SCALING_LINEAR) {
        for (uint32_t i = 0; i < half; i++)
            inverse_frequency[i] /= h->rope_factor;
    }
    const float *factors = graph_optional_vector(b, "rope_freqs.weight", half);
    for (uint32_t i = 0; factors != NULL && b->status == CHORD_OK && i < half; i++) {
        if (!(factors[i] > 0) || isinf(factors[i])) {
            graph_build_fail(b, CHORD_MODEL_TENSOR, "'rope_freqs.weight' holds %g; factors must be positive",
                             (double)factors[i]);
            return;
        }
        inverse_frequency[i] /= factors[i];
    }
    graph_set_rope(b, kind, h->n_rot, inverse_frequency, (float)magnitude);
}

graph_value build_prenorm_transformer(struct graph_builder *b, const struct hparams *h, enum rope_kind kind,
                                      struct attention_options attention, struct experts_options experts)
{
    const struct weight *embedding;
    build_rope(b, h, kind);
    graph_value x = build_embedding(b, h, &embedding);
    for (uint32_t layer = 0; layer < h->n_layer && b->status == CHORD_OK; layer++) {
        graph_set_layer(b, layer);
        const graph_value normed = build_layer_norm(b, h, x, "attn_norm.weight");
        x = graph_add(b, x, build_attention(b, h, normed, attention));
        const graph_value normed2 = build_layer_norm(b, h, x, "ffn_norm.weight");
        x = graph_add(
            b, x, h->n_expert != 0 ? build_experts(b, h, normed2, experts) : build_swiglu(b, h, normed2, "", h->n_ff));
    }
    return build_head(b, h, x, embedding);
}
