// qwen2: Qwen 1.5, 2, 2.5. As llama, with biases on q, k, v and RoPE over halves.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_prenorm_transformer(b, h, ROPE_NEOX, (struct attention_options){.bias = true},
                                     (struct experts_options){0});
}

const struct arch arch_qwen2 = {.name = "qwen2", .build = build};
