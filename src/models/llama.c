// llama: Llama 2 and 3, Mistral, TinyLlama and kin; with experts: Mixtral. Pre-norm, GQA, SwiGLU, RoPE over adjacent pairs;
// biases of attention where the file has them; output tied to the embedding where the file has no output.weight.
#include "models/blocks.h"

static enum chord_status load_hparams(const struct gguf *gguf, struct hparams *h, struct chord_error *err)
{
    (void)gguf, (void)err;
    h->n_ff_expert = h->n_ff;
    return CHORD_OK;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_prenorm_transformer(b, h, ROPE_NORMAL, (struct attention_options){.bias = true},
                                     (struct experts_options){.renormalized = true});
}

const struct arch arch_llama = {.name = "llama", .load_hparams = load_hparams, .build = build};
