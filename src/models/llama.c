// llama: Llama 2 and 3, Mistral, TinyLlama and kin. Pre-norm, GQA, SwiGLU, RoPE over adjacent pairs; biases of attention
// where the file has them; output tied to the embedding where the file has no output.weight.
#include "models/blocks.h"

static enum chord_status load_hparams(const struct gguf *gguf, struct hparams *h, struct chord_error *err)
{
    uint32_t n_expert;
    (void)h;
    const enum chord_status status = gguf_get_u32_or(gguf, "llama.expert_count", 0, &n_expert, err);
    if (status == CHORD_OK && n_expert != 0)
        return chord_fail(err, CHORD_UNSUPPORTED_ARCHITECTURE,
                          "a llama model with %u experts (Mixtral) is not supported: chord runs dense llama models",
                          n_expert);
    return status;
}

static graph_value build(struct graph_builder *b, const struct hparams *h)
{
    return build_prenorm_transformer(b, h, ROPE_NORMAL, (struct attention_options){.bias = true});
}

const struct arch arch_llama = {.name = "llama", .load_hparams = load_hparams, .build = build};
