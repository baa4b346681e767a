// qwen3: Qwen 3, dense. As qwen2 without biases, with an RMS norm on each head's query and key before RoPE.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_prenorm_transformer(b, h, ROPE_NEOX, (struct attention_options){.qk_norm = true},
                                     (struct experts_options){0});
}

const struct arch arch_qwen3 = {.name = "qwen3", .build = build};
