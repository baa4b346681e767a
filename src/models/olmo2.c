// olmo2: OLMo 2 and 3. As llama with RoPE over halves, no norms before attention and feed-forward but after them, and RMS norms
// over whole rows of queries and keys. OLMo 3 has a sliding window in three of four layers; RoPE scaling is for the fourth.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->n_window = hparams_u32_or(r, "attention.sliding_window", 0, 0, UINT32_MAX);
    h->window_period = 4;
    h->window_rope_base = h->n_window != 0 ? h->rope_base : 0;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {
        .rope = ROPE_NEOX, .attention = {.qk_norm = QK_NORM_ROWS}, .only_post_norms = true, .post_norms = true};
    return build_transformer(b, h, &t);
}

const struct arch arch_olmo2 = {.name = "olmo2", .load_hparams = load_hparams, .build = build};
