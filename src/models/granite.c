// granite: Granite 3, dense. As llama with factors on embeddings, scores and what layers add; logits are divided by theirs.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->attention_scale = hparams_f32_or(r, "attention.scale", 0, 0, 1e6f);
    h->embedding_scale = hparams_f32_or(r, "embedding_scale", 0, 0, 1e6f);
    h->residual_scale = hparams_f32_or(r, "residual_scale", 0, 0, 1e6f);
    h->logit_scale = hparams_f32_or(r, "logit_scale", 0, 0, 1e6f);
    if (h->logit_scale != 0)
        h->logit_scale = 1 / h->logit_scale;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NORMAL, .attention = {.bias = OPTIONAL, .output_bias = OPTIONAL}};
    return build_transformer(b, h, &t);
}

const struct arch arch_granite = {.name = "granite", .load_hparams = load_hparams, .build = build};
