#include "engine/budget.h"

#include "graph/uses.h"

// Without a context asked for, a model is mapped if that leaves room for this many tokens; else paged, with room for more.
#define MAPPED_LEAST_TOKENS 4096u

#define LEAST_SPARE (UINT64_C(256) << 10)
#define MOST_SPARE (UINT64_C(8) << 20)

static uint64_t choose_spare(uint64_t budget)
{
    const uint64_t part = budget / 64;
    return part < LEAST_SPARE ? LEAST_SPARE : part > MOST_SPARE ? MOST_SPARE : part;
}

static enum weights_policy policy_of(const struct chord_model_options *options)
{
    return options->policy == CHORD_POLICY_LRU ? WEIGHTS_LRU : WEIGHTS_PIN;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// The order of the weights of a step.
struct uses {
    struct weights_use *list;
    struct weights_experts *experts;
    uint32_t n, n_expert_layers;
};

// What a survey of the model needs for a while.
struct survey {
    struct weights *weights;
    struct graph *graph;
    struct uses uses;
    const struct expert_routes *routes;
    enum weights_policy policy;
};

static void free_uses(struct uses *uses, struct memory_account *account)
{
    memory_free(account, uses->list);
    memory_free(account, uses->experts);
}

static enum chord_status list_uses(const struct graph *graph, struct memory_account *account, struct uses *uses,
                                   struct chord_error *err)
{
    const uint32_t n = graph_max_uses(graph), n_experts = graph_count_experts(graph);
    *uses = (struct uses){.list = memory_zalloc(account, MEMORY_METADATA, n, sizeof *uses->list),
                          .experts = memory_zalloc(account, MEMORY_METADATA, n_experts, sizeof *uses->experts)};
    if (uses->list == NULL || uses->experts == NULL) {
        free_uses(uses, account);
        *uses = (struct uses){0};
        return memory_account_fail(account, err, n * sizeof *uses->list, "the order of the weights");
    }
    uses->n = graph_list_uses(graph, uses->list);
    uses->n_expert_layers = graph_list_experts(graph, uses->experts);
    return CHORD_OK;
}

static enum chord_status look_around(struct survey *survey, const struct gguf *gguf, const struct arch *arch,
                                     const struct hparams *hparams, struct memory_account *account,
                                     struct chord_error *err)
{
    enum chord_status status = weights_open(&survey->weights, gguf, WEIGHTS_DIRECTORY, account, err);
    if (status == CHORD_OK)
        status = arch_build_graph(arch, hparams, survey->weights, gguf, account, &survey->graph, err);
    return status;
}

static void survey_free(struct survey *survey, struct memory_account *account)
{
    free_uses(&survey->uses, account);
    graph_free(survey->graph);
    weights_close(survey->weights);
}

// Memory for tiles while one text is generated whose KV cache has so many bytes.
static uint64_t planned_tile_bytes(const struct budget *budget, const struct survey *survey, uint64_t n_kv_bytes)
{
    const uint64_t held = budget->metadata_bytes + n_kv_bytes +
                          backend_scratch_bytes(survey->graph, &budget->kernels, budget->n_threads, 1, 1) +
                          budget->spare;
    return at_most(budget->bytes > held ? budget->bytes - held : 0, budget->tile_ceiling);
}

static enum chord_status plan_paging(struct budget *budget, const struct survey *survey, uint64_t memory,
                                     struct weights_layer_plan *layers, struct memory_account *account,
                                     struct chord_error *err)
{
    const struct uses *uses = &survey->uses;
    return weights_plan_paging(uses->list, uses->n, memory, uses->experts, uses->n_expert_layers, survey->routes,
                               survey->policy, budget->n_threads, layers, &budget->paging, account, err);
}

static enum chord_status decide_paged(struct budget *budget, struct survey *survey, const struct hparams *hparams,
                                      const struct chord_model_options *options, struct memory_account *account,
                                      struct weights_layer_plan *layers, struct chord_error *err)
{
    budget->is_paged = true;
    budget->spare = choose_spare(budget->bytes);
    enum chord_status status = plan_paging(budget, survey, 0, NULL, account, err);
    if (status != CHORD_OK)
        return status;
    budget->metadata_bytes += budget->paging.metadata_bytes;
    if (budget->paging.least_bytes > budget->tile_ceiling)
        return chord_fail(err, CHORD_MEMORY_BUDGET,
                          "the weights are more than the %.1f MiB that memory.weights allows, and paging them needs "
                          "more too. Allow at least %.1f MiB",
                          (double)options->memory_weights / 0x1p20,
                          (double)(budget->paging.least_bytes + budget->vector_bytes) / 0x1p20 + 0.05);
    const uint64_t fixed = budget->metadata_bytes + budget->scratch_bytes + budget->spare + budget->paging.least_bytes;
    status = model_choose_context(options, hparams, &budget->kv, budget->bytes, fixed, &budget->n_ctx, err);
    if (status != CHORD_OK)
        return status;
    const uint64_t planned_kv = kv_bytes(&budget->kv, at_most(budget->n_ctx, PLANNED_TOKENS));
    return plan_paging(budget, survey, planned_tile_bytes(budget, survey, planned_kv), layers, account, err);
}

static enum chord_status compare_kv_types(struct budget *budget, const struct survey *survey,
                                          const struct chord_model_options *options, struct memory_account *account,
                                          struct chord_error *err)
{
    for (uint32_t type = 0; type < N_KV_TYPES; type++) {
        struct budget_at_context *at = &budget->at_context[type];
        struct budget other = *budget;
        kv_layout_init(&other.kv, (enum kv_type)type, survey->graph->n_kv_layers, survey->graph->n_head_kv,
                       survey->graph->head_dim);
        at->token_bytes = kv_token_bytes(&other.kv);
        at->kv_bytes = kv_bytes(&other.kv, budget->n_ctx);
        at->fits = options->memory_kv == 0 || at->kv_bytes <= options->memory_kv;
        if (!budget->is_paged) {
            at->fits =
                at->fits &&
                budget->weights_bytes + at->kv_bytes + budget->scratch_bytes + budget->metadata_bytes <= budget->bytes;
            continue;
        }
        const uint64_t tile_bytes = planned_tile_bytes(&other, survey, at->kv_bytes);
        at->fits = at->fits && tile_bytes >= budget->paging.least_bytes;
        if (!at->fits)
            continue;
        const enum chord_status status = plan_paging(&other, survey, tile_bytes, NULL, account, err);
        if (status != CHORD_OK)
            return status;
        at->paging = other.paging;
    }
    return CHORD_OK;
}

static enum chord_status decide(struct budget *budget, struct survey *survey, const struct hparams *hparams,
                                const struct chord_model_options *options, struct memory_account *account,
                                struct weights_layer_plan *layers, struct chord_error *err)
{
    const uint32_t n_wanted =
        options->n_ctx != 0 ? options->n_ctx : (uint32_t)at_most(hparams->n_ctx_train, MAPPED_LEAST_TOKENS);
    const uint64_t beside = budget->metadata_bytes + budget->scratch_bytes;
    const bool can_map =
        model_context_bytes(hparams, &budget->kv, n_wanted) + beside + budget->weights_bytes <= budget->bytes &&
        (options->memory_weights == 0 || budget->weights_bytes <= options->memory_weights);
    if (options->mode == CHORD_MODE_PAGED || (options->mode == CHORD_MODE_AUTO && !can_map))
        return decide_paged(budget, survey, hparams, options, account, layers, err);
    if (layers != NULL) {
        const enum chord_status status = plan_paging(budget, survey, UINT64_MAX, layers, account, err);
        budget->paging = (struct weights_paging_plan){0};
        if (status != CHORD_OK)
            return status;
    }
    // Mapped against the budget, the page cache is the system's to keep or to drop.
    const uint64_t fixed = beside + (can_map ? budget->weights_bytes : 0);
    return model_choose_context(options, hparams, &budget->kv, budget->bytes, fixed, &budget->n_ctx, err);
}

// What the model takes whatever is decided.
static void measure(struct budget *budget, const struct gguf *gguf, const struct hparams *hparams,
                    const struct graph *graph, const struct chord_model_options *options)
{
    kv_layout_init(&budget->kv, options->kv_type == CHORD_KV_Q8_0 ? KV_Q8_0 : KV_F16, graph->n_kv_layers,
                   graph->n_head_kv, graph->head_dim);
    for (uint64_t i = 0; i < gguf_n_tensors(gguf); i++)
        budget->weights_bytes += gguf_tensor(gguf, i)->n_bytes;
    budget->step_bytes = graph->weight_bytes;
    const uint32_t n_rows = model_batch_rows(hparams, options->n_ctx != 0 ? options->n_ctx : hparams->n_ctx_train);
    budget->metadata_bytes += model_batch_bytes(n_rows);
    budget->scratch_bytes =
        backend_scratch_bytes(graph, &budget->kernels, budget->n_threads, n_rows, BATCH_MAX_OUTPUTS);
}

static enum chord_status make_layers(const struct graph *graph, struct memory_account *account,
                                     struct weights_layer_plan **layers, struct chord_error *err)
{
    if (layers == NULL)
        return CHORD_OK;
    *layers = memory_zalloc(account, MEMORY_METADATA, graph->n_layer + 1, sizeof **layers);
    return *layers != NULL ? CHORD_OK
                           : memory_account_fail(account, err, (graph->n_layer + 1) * sizeof **layers, "a plan");
}

enum chord_status budget_decide(struct budget *out, const struct gguf *gguf, const struct arch *arch,
                                const struct hparams *hparams, const struct chord_model_options *options,
                                const struct expert_routes *routes, uint64_t held_bytes, struct memory_account *account,
                                struct weights_layer_plan **layers, struct chord_error *err)
{
    struct survey survey = {.routes = routes, .policy = policy_of(options)};
    *out = (struct budget){
        .bytes = model_memory_budget(options), .n_threads = model_choose_threads(options), .tile_ceiling = UINT64_MAX};
    const uint64_t held_before = atomic_load(&account->total);
    enum chord_status status = model_choose_kernels(options, &out->kernels, err);
    if (status == CHORD_OK)
        status = look_around(&survey, gguf, arch, hparams, account, err);
    if (status == CHORD_OK) {
        out->metadata_bytes = held_bytes + atomic_load(&account->total) - held_before;
        measure(out, gguf, hparams, survey.graph, options);
        out->vector_bytes = atomic_load(&account->held[MEMORY_WEIGHTS]);
        if (options->memory_weights != 0)
            out->tile_ceiling =
                options->memory_weights > out->vector_bytes ? options->memory_weights - out->vector_bytes : 0;
        status = model_check_scratch(options, hparams, out->scratch_bytes, err);
    }
    if (status == CHORD_OK)
        status = list_uses(survey.graph, account, &survey.uses, err);
    if (status == CHORD_OK)
        status = make_layers(survey.graph, account, layers, err);
    if (status == CHORD_OK)
        status = decide(out, &survey, hparams, options, account, layers != NULL ? *layers : NULL, err);
    if (status == CHORD_OK && layers != NULL)
        status = compare_kv_types(out, &survey, options, account, err);
    out->fits =
        out->weights_bytes + kv_bytes(&out->kv, out->n_ctx) + out->scratch_bytes + out->metadata_bytes <= out->bytes &&
        !(out->is_paged && out->tile_ceiling < out->weights_bytes);
    survey_free(&survey, account);
    return status;
}

enum chord_status budget_start_paging(struct chord_model *model, const struct chord_model_options *options,
                                      struct chord_error *err)
{
    struct uses uses;
    enum chord_status status = list_uses(model->graph, &model->account, &uses, err);
    if (status == CHORD_OK) {
        const struct weights_paging paging = {
            .spare = model->spare,
            .n_threads = model->n_threads,
            .n_layers = model->graph->n_layer + 1,
            .policy = policy_of(options),
            .experts = uses.experts,
            .n_expert_layers = uses.n_expert_layers,
        };
        status = weights_start_paging(model->weights, uses.list, uses.n, &paging, err);
    }
    free_uses(&uses, &model->account);
    return status;
}
