#include "models/blocks.h"

#include <math.h>
#include <stdio.h>

struct tensor_name layer_tensor(const struct graph_builder *b, const char *name)
{
    struct tensor_name full;
    snprintf(full.text, sizeof full.text, "blk.%u.%s", b->layer, name);
    return full;
}

static const float *presence_vector(struct graph_builder *b, const char *name, uint64_t n, enum presence presence)
{
    return presence == ABSENT     ? NULL
           : presence == OPTIONAL ? graph_optional_vector(b, name, n)
                                  : graph_vector(b, name, n);
}

struct graph_linear layer_linear(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out,
                                 enum presence bias)
{
    char part[64];
    struct graph_linear linear = {0};
    snprintf(part, sizeof part, "%s.weight", name);
    linear.weight = graph_matrix(b, layer_tensor(b, part).text, n_in, n_out);
    snprintf(part, sizeof part, "%s.bias", name);
    linear.bias = presence_vector(b, layer_tensor(b, part).text, n_out, bias);
    return linear;
}

static graph_value scaled(struct graph_builder *b, graph_value x, float factor)
{
    return factor == 0 || factor == 1 ? x : graph_scale(b, x, factor);
}

static graph_value norm_of(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name,
                           uint32_t n)
{
    char part[96];
    snprintf(part, sizeof part, "%s.weight", name);
    const float *weight = graph_vector(b, part, n);
    if (!h->layer_norm)
        return graph_rms_norm(b, x, weight, n, h->norm_rms_eps);
    snprintf(part, sizeof part, "%s.bias", name);
    return graph_layer_norm(b, x, weight, h->norm_bias ? graph_vector(b, part, n) : NULL, n, h->norm_eps);
}

graph_value build_norm(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name)
{
    return norm_of(b, h, x, name, h->n_embd);
}

graph_value build_layer_norm(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name)
{
    return norm_of(b, h, x, layer_tensor(b, name).text, h->n_embd);
}

// ---- Attention ----------------------------------------------------------------------------------------------------------

static void project_qkv(struct graph_builder *b, const struct hparams *h, graph_value x,
                        const struct attention_options *options, graph_value qkv[3])
{
    const uint32_t n_q = h->n_head * h->head_dim, n_kv = h->n_head_kv * h->head_dim;
    const enum presence bias = options->bias;
    if (options->fused && !graph_has_tensor(b, layer_tensor(b, "attn_q.weight").text)) {
        const graph_value all = graph_linear1(b, x, layer_linear(b, "attn_qkv", h->n_embd, n_q + 2 * n_kv, bias));
        qkv[0] = graph_slice(b, all, 0, n_q);
        qkv[1] = graph_slice(b, all, n_q, n_kv);
        qkv[2] = graph_slice(b, all, n_q + n_kv, n_kv);
        return;
    }
    const struct graph_linear three[3] = {
        layer_linear(b, "attn_q", h->n_embd, n_q, bias),
        layer_linear(b, "attn_k", h->n_embd, n_kv, bias),
        layer_linear(b, "attn_v", h->n_embd, n_kv, bias),
    };
    graph_linear(b, x, three, 3, qkv);
}

static graph_value norm_heads(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name,
                              uint32_t n_heads, enum qk_norm kind)
{
    if (kind == QK_NORM_NONE)
        return x;
    if (kind == QK_NORM_EACH_HEAD) {
        if (!graph_has_tensor(b, layer_tensor(b, name).text))
            return x;
        const float *weights = graph_vectors(b, layer_tensor(b, name).text, h->head_dim, n_heads);
        return graph_layer_norm_each(b, x, weights, h->head_dim, h->norm_eps);
    }
    const uint32_t n = kind == QK_NORM_HEADS ? h->head_dim : n_heads * h->head_dim;
    return graph_rms_norm(b, x, graph_vector(b, layer_tensor(b, name).text, n), n, h->norm_rms_eps);
}

graph_value build_attention(struct graph_builder *b, const struct hparams *h, graph_value x,
                            struct attention_options options)
{
    const uint32_t n_q = h->n_head * h->head_dim;
    graph_value qkv[3];
    project_qkv(b, h, x, &options, qkv);
    const struct graph_linear output = layer_linear(b, "attn_output", n_q, h->n_embd, options.output_bias);
    const graph_value q = norm_heads(b, h, qkv[0], "attn_q_norm.weight", h->n_head, options.qk_norm);
    const graph_value k = norm_heads(b, h, qkv[1], "attn_k_norm.weight", h->n_head_kv, options.qk_norm);
    if (!options.no_rope) {
        graph_rope(b, q, h->n_head, h->head_dim, 0, options.rope);
        graph_rope(b, k, h->n_head_kv, h->head_dim, 0, options.rope);
    }
    const struct graph_attention attention = {
        .n_head = h->n_head,
        .n_head_kv = h->n_head_kv,
        .head_dim = h->head_dim,
        .window = options.window,
        .scale = h->attention_scale != 0 ? h->attention_scale : 1.0f / sqrtf((float)h->head_dim),
        .soft_cap = h->attention_cap,
        .is_encoder = h->is_encoder,
        .sinks = options.sinks ? graph_vector(b, layer_tensor(b, "attn_sinks.weight").text, h->n_head) : NULL,
    };
    graph_value mixed = graph_attention(b, q, k, qkv[2], &attention);
    if (options.sub_norm != NULL)
        mixed = norm_of(b, h, mixed, layer_tensor(b, options.sub_norm).text, n_q);
    return graph_linear1(b, mixed, output);
}

// ---- Feed-forward -------------------------------------------------------------------------------------------------------

graph_value build_ffn(struct graph_builder *b, const struct hparams *h, graph_value x, const char *suffix,
                      uint32_t n_ff, struct ffn_options options)
{
    char gate[32], up[32], down[32];
    snprintf(gate, sizeof gate, "ffn_gate%s", suffix);
    snprintf(up, sizeof up, "ffn_up%s", suffix);
    snprintf(down, sizeof down, "ffn_down%s", suffix);
    graph_value hidden, projected[2];
    if (options.kind == FFN_PLAIN) {
        hidden = graph_linear1(b, x, layer_linear(b, up, h->n_embd, n_ff, options.bias));
        hidden = graph_activation(b, hidden, options.activation);
    } else {
        if (options.kind == FFN_GATED_FUSED) {
            const graph_value both = graph_linear1(b, x, layer_linear(b, up, h->n_embd, 2 * (uint64_t)n_ff, ABSENT));
            projected[0] = graph_slice(b, both, 0, n_ff);
            projected[1] = graph_slice(b, both, n_ff, n_ff);
        } else {
            const struct graph_linear gate_up[2] = {
                layer_linear(b, gate, h->n_embd, n_ff, options.bias),
                layer_linear(b, up, h->n_embd, n_ff, options.bias),
            };
            graph_linear(b, x, gate_up, 2, projected);
        }
        hidden = graph_glu(b, projected[0], projected[1], options.activation);
    }
    if (options.sub_norm != NULL)
        hidden = norm_of(b, h, hidden, layer_tensor(b, options.sub_norm).text, n_ff);
    return graph_linear1(b, hidden, layer_linear(b, down, n_ff, h->n_embd, options.bias));
}

static struct graph_experts expert_tensors(struct graph_builder *b, const struct hparams *h,
                                           struct experts_options options)
{
    static const char *const names[3] = {"gate", "up", "down"};
    const struct weight *weights[3];
    struct graph_experts experts = {.n_expert = h->n_expert, .glu = options.activation};
    for (int i = 0; i < 3; i++) {
        const uint32_t n_in = i == 2 ? h->n_ff_expert : h->n_embd, n_out = i == 2 ? h->n_embd : h->n_ff_expert;
        char name[64];
        snprintf(name, sizeof name, "ffn_%s_exps.weight", names[i]);
        weights[i] = graph_expert_matrices(b, layer_tensor(b, name).text, n_in, n_out, h->n_expert);
        snprintf(name, sizeof name, "ffn_%s_exps.bias", names[i]);
        if (options.bias == REQUIRED)
            experts.biases[i] = graph_vectors(b, layer_tensor(b, name).text, n_out, h->n_expert);
    }
    experts.gate = weights[0];
    experts.up = weights[1];
    experts.down = weights[2];
    return experts;
}

// What converters call exp_probs_b, with or without ".bias".
static const float *choice_bias(struct graph_builder *b, uint32_t n_expert)
{
    const char *name = graph_has_tensor(b, layer_tensor(b, "exp_probs_b").text) ? "exp_probs_b" : "exp_probs_b.bias";
    return graph_optional_vector(b, layer_tensor(b, name).text, n_expert);
}

graph_value build_experts(struct graph_builder *b, const struct hparams *h, graph_value x,
                          struct experts_options options)
{
    const struct graph_linear router = layer_linear(b, "ffn_gate_inp", h->n_embd, h->n_expert, options.bias);
    if (b->status == CHORD_OK && graph_has_tensor(b, layer_tensor(b, "ffn_gate.0.weight").text))
        graph_build_fail(b, CHORD_MODEL_TENSOR,
                         "the file has each expert in a tensor of its own, as converters wrote them until April 2024; "
                         "convert the model again");
    const struct graph_experts experts = expert_tensors(b, h, options);
    const struct graph_routing routing = {.n_used = h->n_expert_used,
                                          .renormalized = options.renormalized || h->expert_norm,
                                          .is_sigmoid = h->expert_sigmoid,
                                          .bias = h->expert_sigmoid ? choice_bias(b, h->n_expert) : NULL,
                                          .n_groups = h->n_expert_groups,
                                          .n_groups_used = h->n_expert_groups_used};
    const graph_value route = graph_route(b, graph_linear1(b, x, router), &routing);
    const graph_value routed = scaled(b, graph_experts(b, x, route, &experts), h->expert_scale);
    if (options.shared == SHARED_NONE)
        return routed;
    const struct ffn_options ffn = {.activation = options.activation};
    const graph_value shared = build_ffn(b, h, x, "_shexp", h->n_ff_shared, ffn);
    if (options.shared == SHARED_PLAIN)
        return graph_add(b, routed, shared);
    const graph_value gate = graph_linear1(b, x, layer_linear(b, "ffn_gate_inp_shexp", h->n_embd, 1, ABSENT));
    return graph_add(b, routed, graph_sigmoid_scale(b, gate, shared));
}

// ---- The whole ----------------------------------------------------------------------------------------------------------

static graph_value build_input(struct graph_builder *b, const struct hparams *h, bool learned_positions,
                               const struct weight **embedding)
{
    *embedding = graph_matrix(b, "token_embd.weight", h->n_embd, h->n_vocab);
    const graph_value x = scaled(b, graph_embed(b, *embedding), h->embedding_scale);
    if (!learned_positions)
        return x;
    return graph_position(b, x, graph_matrix(b, "position_embd.weight", h->n_embd, h->n_ctx_most));
}

static uint32_t window_of(const struct hparams *h, uint32_t layer)
{
    const bool is_last = h->window_period != 0 && layer % h->window_period == h->window_period - 1;
    return is_last ? 0 : h->n_window;
}

// What attention or feed-forward adds to the residual stream.
static graph_value add_update(struct graph_builder *b, const struct hparams *h, const struct transformer *t,
                              graph_value x, graph_value update, const char *post_norm)
{
    if (t->post_norms)
        update = build_layer_norm(b, h, update, post_norm);
    return graph_add(b, x, scaled(b, update, h->residual_scale));
}

static bool layer_has(const struct graph_builder *b, const char *name, const char *suffix)
{
    char part[64];
    if (name == NULL)
        return false;
    snprintf(part, sizeof part, "%s%s", name, suffix);
    return graph_has_tensor(b, layer_tensor(b, part).text);
}

static graph_value build_layer(struct graph_builder *b, const struct hparams *h, const struct transformer *t,
                               uint32_t rope, uint32_t window_rope, graph_value x)
{
    const char *ffn_norm = t->ffn_norm != NULL ? t->ffn_norm : "ffn_norm";
    struct attention_options attention = t->attention;
    attention.window = window_of(h, b->layer);
    attention.rope = attention.window != 0 && h->window_rope_base != 0 ? window_rope : rope;
    if (t->layer != NULL)
        t->layer(h, b->layer, &attention);
    graph_value normed = t->only_post_norms ? x : build_layer_norm(b, h, x, "attn_norm");
    const bool has_own_norm = layer_has(b, t->attention_norm, ".weight");
    const graph_value attended = has_own_norm ? build_layer_norm(b, h, x, t->attention_norm) : normed;
    const graph_value mixed = t->build_attention != NULL ? t->build_attention(b, h, attended, &attention)
                                                         : build_attention(b, h, attended, attention);
    const graph_value before = x;
    x = add_update(b, h, t, x, mixed, "post_attention_norm");
    if (!t->parallel)
        normed = t->only_post_norms ? x : build_layer_norm(b, h, x, ffn_norm);
    else if (layer_has(b, ffn_norm, ".weight"))
        normed = build_layer_norm(b, h, before, ffn_norm);
    const graph_value update = h->n_expert != 0 && b->layer >= h->n_dense_layers
                                   ? build_experts(b, h, normed, t->experts)
                                   : build_ffn(b, h, normed, "", h->n_ff, t->ffn);
    return add_update(b, h, t, x, update, "post_ffw_norm");
}

static graph_value build_classifier(struct graph_builder *b, const struct hparams *h, graph_value x)
{
    static const char output_name[] = "cls.output.weight";
    char key[96];
    snprintf(key, sizeof key, "%s.classifier.output_labels", h->arch);
    const struct gguf_value *labels = gguf_find(b->gguf, key);
    const uint64_t n_labels = labels != NULL ? labels->n_elements : 1;
    struct graph_linear linear;
    if (n_labels < 1 || n_labels > 2) {
        graph_build_fail(b, CHORD_MODEL_HPARAMS,
                         "'%s' has %llu labels: a classifier of texts; chord runs models for ranking, which have one "
                         "label, or two, of yes and no",
                         key, (unsigned long long)n_labels);
        return x;
    }
    if (graph_has_tensor(b, "cls.weight")) {
        linear.weight = graph_matrix(b, "cls.weight", h->n_embd, h->n_embd);
        linear.bias = graph_optional_vector(b, "cls.bias", h->n_embd);
        x = graph_soft_cap(b, graph_linear1(b, x, linear), 1); // tanh
    }
    linear.weight = graph_matrix(b, output_name, h->n_embd, n_labels);
    linear.bias = graph_optional_vector(b, "cls.output.bias", n_labels);
    return graph_linear1(b, x, linear);
}

void build_embedding(struct graph_builder *b, const struct hparams *h, graph_value x, bool normed)
{
    x = graph_begin_embedding(b, x);
    if (normed)
        x = build_norm(b, h, x, "output_norm");
    graph_end_embedding(b, h->pooling == POOLING_RANK ? build_classifier(b, h, x) : x);
}

graph_value build_head(struct graph_builder *b, const struct hparams *h, graph_value x, const struct weight *embedding,
                       enum presence bias)
{
    struct graph_linear output = {.weight = embedding};
    if (graph_has_tensor(b, "output.weight"))
        output.weight = graph_matrix(b, "output.weight", h->n_embd, h->n_vocab);
    output.bias = presence_vector(b, "output.bias", h->n_vocab, bias);
    graph_value logits = graph_begin_head(b, x);
    logits = graph_linear1(b, build_norm(b, h, logits, "output_norm"), output);
    logits = scaled(b, logits, h->logit_scale);
    if (h->logit_cap != 0)
        logits = graph_soft_cap(b, logits, h->logit_cap);
    build_embedding(b, h, x, true);
    return logits;
}

graph_value build_transformer(struct graph_builder *b, const struct hparams *h, const struct transformer *t)
{
    const struct weight *embedding;
    struct transformer own = *t;
    uint32_t rope = 0, window_rope = 0;
    own.attention.no_rope |= t->learned_positions;
    if (!own.attention.no_rope)
        rope = build_rope(b, h, t->rope);
    if (h->window_rope_base != 0)
        window_rope = build_plain_rope(b, t->rope, h->n_rot, h->window_rope_base);
    graph_value x = build_input(b, h, t->learned_positions, &embedding);
    for (uint32_t layer = 0; layer < h->n_layer && b->status == CHORD_OK; layer++) {
        graph_set_layer(b, layer);
        x = build_layer(b, h, &own, rope, window_rope, x);
    }
    return build_head(b, h, x, embedding, t->head_bias);
}

// ---- Hyperparameters ----------------------------------------------------------------------------------------------------

void use_layer_norm(struct hparams_reader *r, struct hparams *h, bool bias)
{
    h->layer_norm = true;
    h->norm_bias = bias;
    h->norm_eps = hparams_f32_or(r, "attention.layer_norm_epsilon", 1e-5f, 0, 1);
}

void require_experts(struct hparams_reader *r, struct hparams *h)
{
    if (h->n_expert == 0)
        hparams_fail(r, "the metadata lacks '%s.expert_count', or has 0: this architecture is a mixture of experts",
                     h->arch);
    else if (h->n_ff_expert == 0)
        h->n_ff_expert = h->n_ff / h->n_expert_used;
}

void use_shared_experts(struct hparams_reader *r, struct hparams *h)
{
    const uint32_t n_shared = hparams_u32_or(r, "expert_shared_count", 1, 1, 1024);
    h->n_dense_layers = hparams_u32_or(r, "leading_dense_block_count", 0, 0, h->n_layer);
    h->expert_scale = hparams_f32_or(r, "expert_weights_scale", 0, 0, 1e6f);
    h->n_ff_shared = h->n_ff_expert * n_shared; // at most 2^30
}
