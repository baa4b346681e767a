// gemma2: Gemma 2. As gemma, with norms of what attention and feed-forward add, soft caps on scores and logits, and a sliding
// window in every other layer, the first one included. The 27B model scales scores by the width that a head would have without
// attention.key_length.
#include "models/blocks.h"

#include <math.h>

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->embedding_scale = sqrtf((float)h->n_embd);
    h->n_window = hparams_u32_or(r, "attention.sliding_window", 4096, 1, UINT32_MAX);
    h->window_period = 2;
    h->attention_cap = hparams_f32_or(r, "attn_logit_softcapping", 50, 0, 1e6f);
    h->logit_cap = hparams_f32_or(r, "final_logit_softcapping", 30, 0, 1e6f);
    if (h->n_layer == 46)
        h->attention_scale = 1 / sqrtf((float)h->n_embd / (float)h->n_head);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX, .ffn = {.activation = GLU_GELU}, .post_norms = true};
    return build_transformer(b, h, &t);
}

const struct arch arch_gemma2 = {.name = "gemma2", .load_hparams = load_hparams, .build = build};
