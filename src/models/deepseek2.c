// deepseek2: DeepSeek V2 Lite. Mixtures of experts as in deepseek. Multi-head latent attention: keys and values of all heads come
// from one narrow vector (attn_kv_a_mqa, a norm, attn_kv_b), and beside it one key of n_rot elements, the only one that turns, serves
// all heads; queries may come from a narrow vector too (attn_q_a, attn_q_b). The KV cache holds whole keys and values: values are
// padded to the width of keys.
#include "models/blocks.h"

#include <math.h>

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    require_experts(r, h);
    use_shared_experts(r, h);
    h->n_q_lora = hparams_u32_or(r, "attention.q_lora_rank", 0, 0, 1 << 20);
    h->n_kv_lora = hparams_u32(r, "attention.kv_lora_rank", 1, 1 << 20);
    const uint32_t n_groups = hparams_u32_or(r, "expert_group_count", 1, 0, UINT32_MAX);
    if (n_groups > 1 && hparams_u32_or(r, "expert_group_used_count", n_groups, 0, UINT32_MAX) < n_groups)
        hparams_fail(r, "experts are chosen in %u groups, as in DeepSeek V2 and V3: not supported", n_groups);
    if (r->status != CHORD_OK)
        return;
    if (gguf_find_tensor(r->gguf, "blk.0.attn_k_b.weight") != NULL)
        hparams_fail(
            r, "the file has attn_kv_b in two parts, as converters write it since April 2025: chord runs files that "
               "have it whole");
    else if (h->n_head_kv != h->n_head || h->n_rot >= h->head_dim || h->value_dim > h->head_dim)
        hparams_fail(r, "%u KV heads of %u (RoPE %u) and %u elements for %u heads: not what latent attention has",
                     h->n_head_kv, h->head_dim, h->n_rot, h->value_dim, h->n_head);
    // YaRN scales queries and keys by its magnitude, of which the part that does not turn must have its share.
    const float log_factor = logf(h->rope_factor);
    const float multiplier = hparams_f32_or(r, "rope.scaling.yarn_log_multiplier", 0, 0, 1e3f);
    const float magnitude = h->rope_attn_factor * (1 + multiplier * log_factor);
    h->attention_scale = magnitude * magnitude / sqrtf((float)h->head_dim);
    if (h->rope_scaling == ROPE_SCALING_YARN)
        h->rope_attn_factor = 1 / (1 + 0.1f * log_factor);
}

static graph_value build_queries(struct graph_builder *b, const struct hparams *h, graph_value x)
{
    const uint32_t n_q = h->n_head * h->head_dim;
    if (h->n_q_lora == 0)
        return graph_linear1(b, x, layer_linear(b, "attn_q", h->n_embd, n_q, ABSENT));
    const graph_value narrow = graph_linear1(b, x, layer_linear(b, "attn_q_a", h->n_embd, h->n_q_lora, ABSENT));
    const float *norm = graph_vector(b, layer_tensor(b, "attn_q_a_norm.weight").text, h->n_q_lora);
    return graph_linear1(b, graph_rms_norm(b, narrow, norm, h->n_q_lora, h->norm_rms_eps),
                         layer_linear(b, "attn_q_b", h->n_q_lora, n_q, ABSENT));
}

static graph_value build_latent_attention(struct graph_builder *b, const struct hparams *h, graph_value x,
                                          const struct attention_options *options)
{
    const uint32_t n_nope = h->head_dim - h->n_rot, n_kv = n_nope + h->value_dim;
    const graph_value q = build_queries(b, h, x);
    const graph_value narrow =
        graph_linear1(b, x, layer_linear(b, "attn_kv_a_mqa", h->n_embd, (uint64_t)h->n_kv_lora + h->n_rot, ABSENT));
    const graph_value turned = graph_slice(b, narrow, h->n_kv_lora, h->n_rot);
    graph_rope(b, q, h->n_head, h->head_dim, n_nope, options->rope);
    graph_rope(b, turned, 1, h->n_rot, 0, options->rope);
    const float *norm = graph_vector(b, layer_tensor(b, "attn_kv_a_norm.weight").text, h->n_kv_lora);
    const graph_value latent =
        graph_rms_norm(b, graph_slice(b, narrow, 0, h->n_kv_lora), norm, h->n_kv_lora, h->norm_rms_eps);
    const graph_value kv =
        graph_linear1(b, latent, layer_linear(b, "attn_kv_b", h->n_kv_lora, (uint64_t)h->n_head * n_kv, ABSENT));
    const struct graph_heads keys = {h->n_head, n_kv, 0, n_nope, h->head_dim};
    const struct graph_heads values = {h->n_head, n_kv, n_nope, h->value_dim, h->head_dim};
    const struct graph_heads result = {h->n_head, h->head_dim, 0, h->value_dim, h->value_dim};
    const struct graph_attention attention = {
        .n_head = h->n_head, .n_head_kv = h->n_head, .head_dim = h->head_dim, .scale = h->attention_scale};
    const graph_value k = graph_heads_with(b, kv, &turned, &keys);
    const graph_value v = graph_heads_with(b, kv, NULL, &values);
    const graph_value mixed = graph_attention(b, q, k, v, &attention);
    return graph_linear1(b, graph_heads_with(b, mixed, NULL, &result),
                         layer_linear(b, "attn_output", (uint64_t)h->n_head * h->value_dim, h->n_embd, ABSENT));
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {
        .rope = ROPE_NORMAL, .experts = {.shared = SHARED_PLAIN}, .build_attention = build_latent_attention};
    return build_transformer(b, h, &t);
}

const struct arch arch_deepseek2 = {
    .name = "deepseek2", .values_differ = true, .load_hparams = load_hparams, .build = build};
