// llama: Llama 2 and 3, Mistral, TinyLlama and kin; with experts: Mixtral. Pre-norm, GQA, SwiGLU, RoPE over adjacent pairs;
// biases of attention where the file has them; output tied to the embedding where the file has no output.weight. Files that name a
// sliding window (Mistral 7B v0.1) have it in every layer.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    h->n_ff_expert = h->n_ff;
    h->n_window = hparams_u32_or(r, "attention.sliding_window", 0, 0, UINT32_MAX);
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    const struct transformer t = {.rope = ROPE_NORMAL,
                                  .attention = {.bias = OPTIONAL, .output_bias = OPTIONAL},
                                  .experts = {.renormalized = true}};
    return build_transformer(b, h, &t);
}

const struct arch arch_llama = {.name = "llama", .load_hparams = load_hparams, .build = build};
