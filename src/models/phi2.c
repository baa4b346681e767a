// phi2: Phi 1, 1.5 and 2. Attention and feed-forward side by side on one LayerNorm, biases everywhere, RoPE on a part of each
// head, plain GELU.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, true);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.fused = true, .bias = REQUIRED, .output_bias = REQUIRED},
                                  .ffn = {.kind = FFN_PLAIN, .activation = GLU_GELU, .bias = REQUIRED},
                                  .parallel = true,
                                  .head_bias = REQUIRED};
    return build_transformer(b, h, &t);
}

const struct arch arch_phi2 = {.name = "phi2", .load_hparams = load_hparams, .build = build};
