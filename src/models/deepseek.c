// deepseek: DeepSeek-MoE 16B. As llama; after leading dense layers, mixtures of experts whose weights are those of the softmax over
// all of them, beside a shared expert that every token takes as it is.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    require_experts(r, h);
    use_shared_experts(r, h);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NORMAL, .experts = {.shared = SHARED_PLAIN}};
    return build_transformer(b, h, &t);
}

const struct arch arch_deepseek = {.name = "deepseek", .load_hparams = load_hparams, .build = build};
