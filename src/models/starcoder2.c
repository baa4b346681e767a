// starcoder2: StarCoder 2. LayerNorm, biases everywhere, RoPE over halves, plain GELU.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, true);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.bias = REQUIRED, .output_bias = REQUIRED},
                                  .ffn = {.kind = FFN_PLAIN, .activation = GLU_GELU, .bias = REQUIRED}};
    return build_transformer(b, h, &t);
}

const struct arch arch_starcoder2 = {.name = "starcoder2", .load_hparams = load_hparams, .build = build};
