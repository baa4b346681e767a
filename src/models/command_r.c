// command-r: Command R and R+. Attention and feed-forward side by side on one LayerNorm without bias, SwiGLU, RoPE over adjacent
// pairs, logits times a factor. R+ has a LayerNorm on each head's query and key, with weights of its own.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, false);
    h->logit_scale = hparams_f32_or(r, "logit_scale", 0, 0, 1e6f);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NORMAL, .attention = {.qk_norm = QK_NORM_EACH_HEAD}, .parallel = true};
    return build_transformer(b, h, &t);
}

const struct arch arch_command_r = {.name = "command-r", .load_hparams = load_hparams, .build = build};
