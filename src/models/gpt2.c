// gpt2: GPT-2. Learned positions, LayerNorm, biases everywhere, q, k and v in one matrix, plain GELU.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, true);
    h->n_ctx_most = h->n_ctx_train;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.attention = {.fused = true, .bias = REQUIRED, .output_bias = REQUIRED},
                                  .ffn = {.kind = FFN_PLAIN, .activation = GLU_GELU, .bias = REQUIRED},
                                  .learned_positions = true};
    return build_transformer(b, h, &t);
}

const struct arch arch_gpt2 = {.name = "gpt2", .load_hparams = load_hparams, .build = build};
