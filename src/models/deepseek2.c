// deepseek2: DeepSeek V2 Lite, V3 and kin. Mixtures of experts as in deepseek; V3 gates them by sigmoids, with a bias for the choice
// alone, and chooses in groups. Multi-head latent attention: keys and values of all heads come from one narrow vector (attn_kv_a_mqa,
// a norm), and beside it one key of n_rot elements, the only one that turns, serves all heads; queries may come from a narrow vector
// too (attn_q_a, attn_q_b). Files are of two kinds:
//   attn_kv_b makes keys and values of each head from that vector: the KV cache holds them whole, values padded to the width of keys;
//   attn_k_b (with attention.key_length_mla) takes each head's query to the width of the vector, attn_v_b each head's result from there: the vector itself, beside
//   the key that turns, is the one key, and alone the one value, of all heads (converters since April 2025).
#include "models/blocks.h"

#include <math.h>

static void load_groups(struct hparams_reader *r, struct hparams *h)
{
    const uint32_t n_groups = hparams_u32_or(r, "expert_group_count", 1, 0, h->n_expert),
                   n_used = hparams_u32_or(r, "expert_group_used_count", n_groups, 0, n_groups);
    if (r->status != CHORD_OK || n_groups <= 1 || n_used == n_groups)
        return;
    h->n_expert_groups = n_groups;
    h->n_expert_groups_used = n_used;
    const uint32_t n_each = h->n_expert / n_groups;
    if (!h->expert_sigmoid)
        hparams_fail(r, "experts are chosen by their softmax in %u groups, as in DeepSeek V2: not supported", n_groups);
    else if (h->n_expert % n_groups != 0 || n_used * n_each < h->n_expert_used)
        hparams_fail(r, "%u experts of %u cannot be chosen from %u of %u groups", h->n_expert_used, h->n_expert, n_used,
                     n_groups);
}

static void load_widths(struct hparams_reader *r, struct hparams *h)
{
    h->n_q_lora = hparams_u32_or(r, "attention.q_lora_rank", 0, 0, 1 << 20);
    h->n_kv_lora = hparams_u32(r, "attention.kv_lora_rank", 1, 1 << 20);
    h->key_dim_mla = hparams_u32_or(r, "attention.key_length_mla", 0, 0, 1024);
    h->value_dim_mla = hparams_u32_or(r, "attention.value_length_mla", h->value_dim, 1, 1024);
    if (r->status != CHORD_OK)
        return;
    h->split_latent = h->key_dim_mla != 0;
    if (!h->split_latent)
        h->key_dim_mla = h->head_dim;
    const bool fits = h->split_latent ? h->n_head_kv == 1 && h->head_dim == h->n_kv_lora + h->n_rot &&
                                            h->value_dim == h->n_kv_lora && h->n_rot < h->key_dim_mla
                                      : h->n_head_kv == h->n_head && h->n_rot < h->head_dim &&
                                            h->value_dim <= h->head_dim && h->value_dim_mla == h->value_dim;
    if (!fits)
        hparams_fail(r, "%u KV heads of %u (RoPE %u) and %u elements for %u heads: not what latent attention has",
                     h->n_head_kv, h->head_dim, h->n_rot, h->value_dim, h->n_head);
}

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    require_experts(r, h);
    use_shared_experts(r, h);
    h->expert_norm = hparams_bool_or(r, "expert_weights_norm", false);
    if (r->status == CHORD_OK)
        load_groups(r, h);
    if (r->status == CHORD_OK)
        load_widths(r, h);
    if (r->status != CHORD_OK)
        return;
    // YaRN scales queries and keys by its magnitude, of which the part that does not turn must have its share.
    const float log_factor = logf(h->rope_factor);
    const float multiplier = hparams_f32_or(r, "rope.scaling.yarn_log_multiplier", 0, 0, 1e3f);
    const float magnitude = h->rope_attn_factor * (1 + multiplier * log_factor);
    h->attention_scale = magnitude * magnitude / sqrtf((float)h->key_dim_mla);
    if (h->rope_scaling == ROPE_SCALING_YARN)
        h->rope_attn_factor = 1 / (1 + 0.1f * log_factor);
}

static graph_value build_queries(struct graph_builder *b, const struct hparams *h, graph_value x)
{
    const uint32_t n_q = h->n_head * h->key_dim_mla;
    if (h->n_q_lora == 0)
        return graph_linear1(b, x, layer_linear(b, "attn_q", h->n_embd, n_q, ABSENT));
    const graph_value narrow = graph_linear1(b, x, layer_linear(b, "attn_q_a", h->n_embd, h->n_q_lora, ABSENT));
    const float *norm = graph_vector(b, layer_tensor(b, "attn_q_a_norm.weight").text, h->n_q_lora);
    return graph_linear1(b, graph_rms_norm(b, narrow, norm, h->n_q_lora, h->norm_rms_eps),
                         layer_linear(b, "attn_q_b", h->n_q_lora, n_q, ABSENT));
}

// Keys and values of each head from the latent vector.
static graph_value attend_whole(struct graph_builder *b, const struct hparams *h, graph_value q, graph_value latent,
                                graph_value turned, const struct graph_attention *attention)
{
    const uint32_t n_nope = h->head_dim - h->n_rot, n_kv = n_nope + h->value_dim;
    const graph_value kv =
        graph_linear1(b, latent, layer_linear(b, "attn_kv_b", h->n_kv_lora, (uint64_t)h->n_head * n_kv, ABSENT));
    const struct graph_heads keys = {h->n_head, n_kv, 0, n_nope, h->head_dim};
    const struct graph_heads values = {h->n_head, n_kv, n_nope, h->value_dim, h->head_dim};
    const struct graph_heads result = {h->n_head, h->head_dim, 0, h->value_dim, h->value_dim};
    const graph_value k = graph_heads_with(b, kv, &turned, &keys);
    const graph_value v = graph_heads_with(b, kv, NULL, &values);
    return graph_heads_with(b, graph_attention(b, q, k, v, attention), NULL, &result);
}

// The latent vector as the one key and value of all heads.
static graph_value attend_split(struct graph_builder *b, const struct hparams *h, graph_value q, graph_value latent,
                                graph_value turned, const struct graph_attention *attention)
{
    const uint32_t n_nope = h->key_dim_mla - h->n_rot;
    const struct weight *k_b = graph_expert_matrices(b, layer_tensor(b, "attn_k_b.weight").text, n_nope, h->n_kv_lora,
                                                     h->n_head),
                        *v_b = graph_expert_matrices(b, layer_tensor(b, "attn_v_b.weight").text, h->n_kv_lora,
                                                     h->value_dim_mla, h->n_head);
    const struct graph_heads still = {h->n_head, h->key_dim_mla, 0, n_nope, n_nope};
    const struct graph_heads turning = {h->n_head, h->key_dim_mla, n_nope, h->n_rot, h->n_rot};
    const struct graph_heads key = {1, h->n_kv_lora, 0, h->n_kv_lora, h->head_dim};
    const struct graph_heads result = {h->n_head, h->head_dim, 0, h->n_kv_lora, h->n_kv_lora};
    const graph_value wide = graph_linear_heads(b, graph_heads_with(b, q, NULL, &still), k_b, h->n_head);
    const graph_value queries = graph_join_heads(b, wide, graph_heads_with(b, q, NULL, &turning), h->n_head);
    const graph_value k = graph_heads_with(b, latent, &turned, &key), v = graph_heads_with(b, latent, NULL, &key);
    const graph_value mixed = graph_attention(b, queries, k, v, attention);
    return graph_linear_heads(b, graph_heads_with(b, mixed, NULL, &result), v_b, h->n_head);
}

static graph_value build_latent_attention(struct graph_builder *b, const struct hparams *h, graph_value x,
                                          const struct attention_options *options)
{
    const struct graph_attention attention = {
        .n_head = h->n_head, .n_head_kv = h->n_head_kv, .head_dim = h->head_dim, .scale = h->attention_scale};
    const graph_value q = build_queries(b, h, x);
    const graph_value narrow =
        graph_linear1(b, x, layer_linear(b, "attn_kv_a_mqa", h->n_embd, (uint64_t)h->n_kv_lora + h->n_rot, ABSENT));
    const graph_value turned = graph_slice(b, narrow, h->n_kv_lora, h->n_rot);
    graph_rope(b, q, h->n_head, h->key_dim_mla, h->key_dim_mla - h->n_rot, options->rope);
    graph_rope(b, turned, 1, h->n_rot, 0, options->rope);
    const float *norm = graph_vector(b, layer_tensor(b, "attn_kv_a_norm.weight").text, h->n_kv_lora);
    const graph_value latent =
        graph_rms_norm(b, graph_slice(b, narrow, 0, h->n_kv_lora), norm, h->n_kv_lora, h->norm_rms_eps);
    const graph_value mixed = h->split_latent ? attend_split(b, h, q, latent, turned, &attention)
                                              : attend_whole(b, h, q, latent, turned, &attention);
    return graph_linear1(b, mixed,
                         layer_linear(b, "attn_output", (uint64_t)h->n_head * h->value_dim_mla, h->n_embd, ABSENT));
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {
        .rope = ROPE_NORMAL, .experts = {.shared = SHARED_PLAIN}, .build_attention = build_latent_attention};
    return build_transformer(b, h, &t);
}

const struct arch arch_deepseek2 = {
    .name = "deepseek2", .values_differ = true, .sigmoid_gating = true, .load_hparams = load_hparams, .build = build};
