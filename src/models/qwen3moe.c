// qwen3moe: Qwen 3 with experts, every layer. Attention as qwen3; the chosen experts' weights add up to 1.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_prenorm_transformer(b, h, ROPE_NEOX, (struct attention_options){.qk_norm = true},
                                     (struct experts_options){.renormalized = true});
}

const struct arch arch_qwen3moe = {.name = "qwen3moe", .load_hparams = require_experts, .build = build};
