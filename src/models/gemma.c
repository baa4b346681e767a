// gemma: Gemma 1. As llama with RoPE over halves, a gated GELU, and embeddings times sqrt(n_embd).
#include "models/blocks.h"

#include <math.h>

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->embedding_scale = sqrtf((float)h->n_embd);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX, .ffn = {.activation = GLU_GELU}};
    return build_transformer(b, h, &t);
}

const struct arch arch_gemma = {.name = "gemma", .load_hparams = load_hparams, .build = build};
