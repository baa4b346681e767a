// phi3: Phi 3, 3.5 and 4, dense. As llama with RoPE over halves, q, k and v in one matrix, gate and up in one; contexts longer
// than the original one by RoPE factors. Files that name a sliding window have it in every layer.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->n_window = hparams_u32_or(r, "attention.sliding_window", 0, 0, UINT32_MAX);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX, .attention = {.fused = true}, .ffn = {.kind = FFN_GATED_FUSED}};
    return build_transformer(b, h, &t);
}

const struct arch arch_phi3 = {.name = "phi3", .load_hparams = load_hparams, .build = build};
