// qwen2moe: Qwen 1.5 and 2 with experts. Attention as qwen2; the routed experts' weights are those of the softmax over all
// experts, and a shared expert runs for every token, scaled by the sigmoid of a gate.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.bias = OPTIONAL, .output_bias = OPTIONAL},
                                  .experts = {.shared = SHARED_GATED}};
    return build_transformer(b, h, &t);
}

const struct arch arch_qwen2moe = {.name = "qwen2moe", .load_hparams = require_experts, .build = build};
