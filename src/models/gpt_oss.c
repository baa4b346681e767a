// gpt-oss: a mixture of experts in every layer, biases everywhere, RoPE over halves with YaRN, a sliding window in every other layer,
// the first one included; the softmax of each head sums over a learned score, its sink, beside those of its keys. The norm before
// the experts is called post_attention_norm.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    require_experts(r, h);
    h->n_window = hparams_u32(r, "attention.sliding_window", 1, UINT32_MAX);
    h->window_period = 2;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {
        .rope = ROPE_NEOX,
        .attention = {.bias = REQUIRED, .output_bias = REQUIRED, .sinks = true},
        .experts = {.activation = GLU_CLAMPED, .bias = REQUIRED, .renormalized = true},
        .ffn_norm = "post_attention_norm",
    };
    return build_transformer(b, h, &t);
}

const struct arch arch_gpt_oss = {.name = "gpt-oss", .load_hparams = load_hparams, .build = build};
