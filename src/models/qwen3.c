// qwen3: Qwen 3, dense. As qwen2 without biases, with an RMS norm on each head's query and key before RoPE.
#include "models/blocks.h"

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX, .attention = {.qk_norm = QK_NORM_HEADS}};
    return build_transformer(b, h, &t);
}

const struct arch arch_qwen3 = {.name = "qwen3", .build = build};
