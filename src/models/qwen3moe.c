// qwen3moe: Qwen 3 with experts, every layer. Attention as qwen3; the chosen experts' weights add up to 1.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {
        .rope = ROPE_NEOX, .attention = {.qk_norm = QK_NORM_HEADS}, .experts = {.renormalized = true}};
    return build_transformer(b, h, &t);
}

const struct arch arch_qwen3moe = {.name = "qwen3moe", .load_hparams = require_experts, .build = build};
