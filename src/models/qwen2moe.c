// qwen2moe: Qwen 1.5 and 2 with experts. Attention as qwen2; the routed experts' weights are those of the softmax over all
// experts, and a shared expert runs for every token, scaled by the sigmoid of a gate.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_prenorm_transformer(b, h, ROPE_NEOX, (struct attention_options){.bias = true},
                                     (struct experts_options){.shared = true});
}

const struct arch arch_qwen2moe = {.name = "qwen2moe", .load_hparams = require_experts, .build = build};
