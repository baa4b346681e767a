// cohere2: Command R7B and A. As command-r; three layers with a sliding window and RoPE, then one with neither.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, false);
    h->logit_scale = hparams_f32_or(r, "logit_scale", 0, 0, 1e6f);
    h->n_window = hparams_u32(r, "attention.sliding_window", 1, UINT32_MAX);
    h->window_period = 4;
}

static void leave_out_rope(const struct hparams *h, uint32_t layer, struct attention_options *attention)
{
    (void)h, (void)layer;
    attention->no_rope = attention->window == 0;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NORMAL, .parallel = true, .layer = leave_out_rope};
    return build_transformer(b, h, &t);
}

const struct arch arch_cohere2 = {.name = "cohere2", .load_hparams = load_hparams, .build = build};
