// bitnet: BitNet b1.58, a llama with RoPE over halves and norms before the last matrix of attention and of feed-forward. Files of
// "bitnet-b1.58" (and "bitnet-25") gate by the square of max(x, 0), those of "bitnet" by SiLU.
#include "models/blocks.h"

static graph_value build_with(struct graph_builder *b, const struct hparams *h, enum glu_kind activation)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.sub_norm = "attn_sub_norm"},
                                  .ffn = {.activation = activation, .sub_norm = "ffn_sub_norm"}};
    return build_transformer(b, h, &t);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_with(b, h, GLU_SILU);
}

static graph_value build_relu2(struct graph_builder *b, const struct hparams *h)
{
    return build_with(b, h, GLU_RELU2);
}

const struct arch arch_bitnet = {.name = "bitnet", .build = build};
const struct arch arch_bitnet_25 = {.name = "bitnet-25", .build = build_relu2};
const struct arch arch_bitnet_b158 = {.name = "bitnet-b1.58", .build = build_relu2};
