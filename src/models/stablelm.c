// stablelm: StableLM 3B and 2. As llama with LayerNorm and RoPE on a part of each head. Models without ffn_norm (2 12B) have
// attention and feed-forward side by side, and a LayerNorm on each head's query and key, with weights of its own.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, true);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.bias = OPTIONAL, .qk_norm = QK_NORM_EACH_HEAD},
                                  .parallel = !graph_has_tensor(b, "blk.0.ffn_norm.weight")};
    return build_transformer(b, h, &t);
}

const struct arch arch_stablelm = {.name = "stablelm", .load_hparams = load_hparams, .build = build};
