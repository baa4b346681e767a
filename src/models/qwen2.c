// qwen2: Qwen 1.5, 2, 2.5. As llama, with biases on q, k, v and RoPE over halves.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX, .attention = {.bias = OPTIONAL, .output_bias = OPTIONAL}};
    return build_transformer(b, h, &t);
}

const struct arch arch_qwen2 = {.name = "qwen2", .build = build};
