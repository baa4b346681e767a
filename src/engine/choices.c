// What the options of loading leave open: memory budget, threads, kernel tier, context.
#include "engine/model.h"

#include "os/cpu.h"
#include "os/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 256u

// What a job takes beside its KV blocks, for the context that is promised to be one that a job can fill: sampler and logits
// by the token of the vocabulary; lists of tokens (of the text, of the chains to look it up) and blocks, with what surrounds a
// block, by the block; all else at once.
#define JOB_BYTES 131072u
#define JOB_VOCABULARY_BYTES 16u
#define JOB_BLOCK_BYTES (2 * KV_BLOCK_TOKENS * sizeof(uint32_t) + 256)

// Of the memory that is free, the part that a model leaves to whatever else happens on the machine.
#define SPARED_PART 16

uint64_t model_memory_budget(const struct chord_model_options *options)
{
    if (options->memory != 0)
        return options->memory;
    const uint64_t available = os_memory_available();
    return available - available / SPARED_PART;
}

uint32_t model_choose_threads(const struct chord_model_options *options)
{
    const uint32_t n = options->n_threads != 0 ? options->n_threads : cpu_count();
    return n < MAX_THREADS ? n : MAX_THREADS;
}

enum chord_status model_choose_kernels(const struct chord_model_options *options, struct kernels *kernels,
                                       struct chord_error *err)
{
    const char *forced = options->cpu != NULL ? options->cpu : getenv("CHORD_CPU");
    uint32_t features = cpu_features();
    if (forced != NULL && forced[0] != '\0' && !kernels_features_of_tier(forced, features, &features)) {
        char known[256] = "", printable[64];
        uint32_t ignored;
        for (const char *const *tier = kernels_tier_names(); *tier != NULL; tier++) {
            const size_t used = strlen(known);
            if (kernels_features_of_tier(*tier, cpu_features(), &ignored))
                snprintf(known + used, sizeof known - used, "%s%s", used == 0 ? "" : ", ", *tier);
        }
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "the kernel tier '%s' cannot run here; this machine has %s",
                          chord_printable(printable, sizeof printable, forced, strlen(forced)), known);
    }
    kernels_init(kernels, features);
    return CHORD_OK;
}

uint64_t model_job_bytes(const struct hparams *hparams)
{
    return JOB_BYTES + (uint64_t)hparams->n_vocab * JOB_VOCABULARY_BYTES;
}

uint64_t model_context_bytes(const struct hparams *hparams, const struct kv_layout *kv, uint64_t n_tokens)
{
    const uint64_t n_blocks = (n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
    return n_blocks * (kv->block_bytes + JOB_BLOCK_BYTES) + model_job_bytes(hparams);
}

enum chord_status model_check_scratch(const struct chord_model_options *options, const struct hparams *hparams,
                                      uint64_t scratch_bytes, struct chord_error *err)
{
    const uint64_t wanted = scratch_bytes + JOB_BYTES + (uint64_t)hparams->n_vocab * JOB_VOCABULARY_BYTES;
    if (options->memory_scratch == 0 || wanted <= options->memory_scratch)
        return CHORD_OK;
    return chord_fail(
        err, CHORD_MEMORY_BUDGET,
        "activations and logits of the largest batch need %.1f MiB; memory.scratch allows %.1f MiB. Allow "
        "at least %.1f MiB",
        (double)scratch_bytes / 0x1p20, (double)options->memory_scratch / 0x1p20, (double)wanted / 0x1p20 + 0.05);
}

enum chord_status model_choose_context(const struct chord_model_options *options, const struct hparams *hparams,
                                       const struct kv_layout *kv, uint64_t budget, uint64_t fixed_bytes,
                                       uint32_t *n_ctx, struct chord_error *err)
{
    const uint64_t beside = fixed_bytes + JOB_BYTES + (uint64_t)hparams->n_vocab * JOB_VOCABULARY_BYTES;
    const uint64_t left = budget > beside ? budget - beside : 0;
    uint64_t fit = left / (kv->block_bytes + JOB_BLOCK_BYTES) * KV_BLOCK_TOKENS;
    const uint32_t wanted = options->n_ctx != 0 ? options->n_ctx : hparams->n_ctx_train;
    if (hparams->n_ctx_most != 0 && wanted > hparams->n_ctx_most)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "a context of %u tokens: the model has learned each position by itself and knows %u of them; "
                          "ask for a context of at most %u",
                          wanted, hparams->n_ctx_most, hparams->n_ctx_most);
    const uint64_t least = options->n_ctx != 0 || wanted < KV_BLOCK_TOKENS ? wanted : KV_BLOCK_TOKENS;
    if (options->memory_kv != 0) {
        const uint64_t block = kv->block_bytes + JOB_BLOCK_BYTES, fit_kv = options->memory_kv / block * KV_BLOCK_TOKENS;
        const uint64_t n_blocks = (least + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
        if (fit_kv < least)
            return chord_fail(
                err, CHORD_MEMORY_BUDGET,
                "a context of %llu tokens needs %.1f MiB of KV cache; memory.kv allows %.1f MiB. Allow at "
                "least %.1f MiB",
                (unsigned long long)least, (double)kv_bytes(kv, least) / 0x1p20, (double)options->memory_kv / 0x1p20,
                (double)(n_blocks * block) / 0x1p20 + 0.05);
        fit = fit < fit_kv ? fit : fit_kv;
    }
    if (fit < least) {
        const uint64_t n_blocks = (least + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
        char smaller[64] = "";
        if (fit > 0)
            snprintf(smaller, sizeof smaller, ", or ask for a context of at most %llu", (unsigned long long)fit);
        return chord_fail(
            err, CHORD_MEMORY_BUDGET,
            "a context of %llu tokens needs %.1f MiB of KV cache beside %.1f MiB for the rest; the memory "
            "budget is %.1f MiB. Allow at least %.1f MiB%s",
            (unsigned long long)least, (double)kv_bytes(kv, least) / 0x1p20, (double)beside / 0x1p20,
            (double)budget / 0x1p20,
            ((double)beside + (double)n_blocks * (double)(kv->block_bytes + JOB_BLOCK_BYTES)) / 0x1p20 + 0.05, smaller);
    }
    *n_ctx = fit < wanted ? (uint32_t)fit : wanted;
    return CHORD_OK;
}

// Values of general.file_type, as written by the converters of llama.cpp.
static const struct {
    uint32_t value;
    const char *name;
} file_types[] = {
    {0, "F32"},     {1, "F16"},     {2, "Q4_0"},     {3, "Q4_1"},    {7, "Q8_0"},    {8, "Q5_0"},    {9, "Q5_1"},
    {10, "Q2_K"},   {11, "Q3_K_S"}, {12, "Q3_K_M"},  {13, "Q3_K_L"}, {14, "Q4_K_S"}, {15, "Q4_K_M"}, {16, "Q5_K_S"},
    {17, "Q5_K_M"}, {18, "Q6_K"},   {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {21, "Q2_K_S"}, {22, "IQ3_XS"}, {23, "IQ3_XXS"},
    {24, "IQ1_S"},  {25, "IQ4_NL"}, {26, "IQ3_S"},   {27, "IQ3_M"},  {28, "IQ2_S"},  {29, "IQ2_M"},  {30, "IQ4_XS"},
    {31, "IQ1_M"},  {32, "BF16"},   {36, "TQ1_0"},   {37, "TQ2_0"},  {38, "MXFP4"},
};

const char *model_quantization(const struct gguf *gguf)
{
    uint32_t file_type;
    uint64_t bytes[N_QUANT_TYPE_IDS] = {0};
    uint32_t most = 0;
    if (gguf_get_u32(gguf, "general.file_type", &file_type, NULL) == CHORD_OK)
        for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
            if (file_types[i].value == file_type)
                return file_types[i].name;
    for (uint64_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        bytes[tensor->type] += tensor->n_bytes;
        if (bytes[tensor->type] > bytes[most])
            most = tensor->type;
    }
    return quant_traits(most) != NULL ? quant_traits(most)->name : "none";
}
