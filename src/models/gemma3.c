// gemma3: Gemma 3, text. As gemma2 with RMS norms of each head's query and key in place of the soft caps; five layers with a
// sliding window, then one without. Layers with a window have a RoPE base of their own and no scaling.
#include "models/blocks.h"

#include <math.h>

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->embedding_scale = sqrtf((float)h->n_embd);
    h->n_window = hparams_u32_or(r, "attention.sliding_window", 1024, 1, UINT32_MAX);
    h->window_period = 6;
    h->window_rope_base = hparams_f32_or(r, "rope.freq_base_swa", 10000, 1, 1e12f);
    h->logit_cap = hparams_f32_or(r, "final_logit_softcapping", 0, 0, 1e6f);
    if (h->n_layer == 62) // 27B: the width that a head would have without attention.key_length
        h->attention_scale = 1 / sqrtf((float)h->n_embd / (float)h->n_head);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NEOX,
                                  .attention = {.qk_norm = QK_NORM_HEADS},
                                  .ffn = {.activation = GLU_GELU},
                                  .post_norms = true};
    return build_transformer(b, h, &t);
}

const struct arch arch_gemma3 = {.name = "gemma3", .load_hparams = load_hparams, .build = build};
