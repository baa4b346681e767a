// How a model is run within its memory budget: mapped or paged, and with which context. Decided from the header alone, alike by
// chord_model_open and chord_model_plan.
#ifndef CHORD_ENGINE_BUDGET_H
#define CHORD_ENGINE_BUDGET_H

#include "engine/model.h"

struct budget {
    uint64_t bytes; // of memory, for everything
    bool is_paged;
    bool fits; // weights, KV cache of the context, scratch and metadata are within the budget
    uint32_t n_ctx, n_threads;
    struct kernels kernels;
    struct kv_layout kv;
    uint64_t weights_bytes;            // of all tensors
    uint64_t step_bytes;               // of them, used by one step over one token
    uint64_t metadata_bytes;           // header, tokenizer, graph, lists
    uint64_t scratch_bytes;            // for the largest batch
    uint64_t vector_bytes;             // of memory for norms and biases, which count as weights in every mode
    uint64_t tile_ceiling;             // paged: of memory for tiles, by options->memory_weights; UINT64_MAX: none
    uint64_t spare;                    // paged: what the account keeps free for what comes between steps
    struct weights_paging_plan paging; // paged: while one text of PLANNED_TOKENS tokens is generated
    // For plans: what each KV type would make of it at the end of the context.
    struct budget_at_context {
        uint64_t token_bytes, kv_bytes;
        bool fits;                         // paged: what paging needs is left; mapped: as budget.fits
        struct weights_paging_plan paging; // paged, if it fits
    } at_context[N_KV_TYPES];
};

// Tokens of context for which a plan counts KV cache: those of a short conversation.
#define PLANNED_TOKENS 128u

// Routes are for plans: how often experts are expected in memory; NULL: not of interest.
// gguf, arch, hparams of the model; held_bytes: what is allocated for it already. *layers, when wanted, is of
// budget->paging: [n_layer + 1], allocated in `account`, which also holds what is needed for a while.
// MEMORY_BUDGET with the number that would do.
enum chord_status budget_decide(struct budget *out, const struct gguf *gguf, const struct arch *arch,
                                const struct hparams *hparams, const struct chord_model_options *options,
                                const struct expert_routes *routes, uint64_t held_bytes, struct memory_account *account,
                                struct weights_layer_plan **layers, struct chord_error *err);

// Lets the store page: it gets what is left of the account but for budget->spare.
enum chord_status budget_start_paging(struct chord_model *model, const struct chord_model_options *options,
                                      struct chord_error *err);

#endif
