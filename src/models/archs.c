#include "models/arch.h"

#include <string.h>

static const struct arch *const archs[] = {
    &arch_llama,       &arch_qwen2,      &arch_qwen2moe,   &arch_qwen3,     &arch_qwen3moe, &arch_gemma,
    &arch_gemma2,      &arch_gemma3,     &arch_phi3,       &arch_phi2,      &arch_olmo2,    &arch_smollm3,
    &arch_granite,     &arch_starcoder2, &arch_stablelm,   &arch_gpt2,      &arch_falcon,   &arch_command_r,
    &arch_cohere2,     &arch_gpt_oss,    &arch_deepseek,   &arch_deepseek2, &arch_bitnet,   &arch_bitnet_25,
    &arch_bitnet_b158, &arch_bert,       &arch_nomic_bert,
};

#define N_ARCHS (sizeof archs / sizeof *archs)

const struct arch *arch_find(const char *name, uint64_t n_bytes)
{
    for (size_t i = 0; i < N_ARCHS; i++)
        if (strlen(archs[i]->name) == n_bytes && memcmp(archs[i]->name, name, (size_t)n_bytes) == 0)
            return archs[i];
    return NULL;
}

const struct arch *arch_at(uint32_t index)
{
    return index < N_ARCHS ? archs[index] : NULL;
}

enum chord_status arch_build_graph(const struct arch *arch, const struct hparams *h, struct weights *weights,
                                   const struct gguf *gguf, struct memory_account *account, struct graph **out,
                                   struct chord_error *err)
{
    struct graph_builder b;
    const enum chord_status status = graph_begin(&b, weights, gguf, account, err);
    if (status != CHORD_OK)
        return status;
    const graph_value logits = arch->build(&b, h);
    return graph_finish(&b, logits, out);
}
