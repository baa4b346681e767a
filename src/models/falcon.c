// falcon: Falcon 7B, 40B and kin. Attention and feed-forward side by side, LayerNorm, q, k and v in one matrix, plain GELU, no biases
// beside those of norms. 40B has a norm of its own before attention, attn_norm_2.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, true);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.fused = true},
                                  .ffn = {.kind = FFN_PLAIN, .activation = GLU_GELU},
                                  .parallel = true,
                                  .attention_norm = "attn_norm_2"};
    return build_transformer(b, h, &t);
}

const struct arch arch_falcon = {.name = "falcon", .load_hparams = load_hparams, .build = build};
