// chord.h's view of a model's weights and figures: single tensors, preloading, statistics.
#include "engine/draft.h"
#include "weights/expert_pager.h"
#include "weights/pager.h"

#include <stdatomic.h>
#include <string.h>

// Rows dequantized between two looks at the cancel flag.
#define ROWS_PER_LOOK 256u

static const struct weight *find(const struct chord_model *model, const char *name, struct chord_error *err)
{
    const struct weight *weight = weights_find(model->weights, name);
    char printable[80];
    if (weight == NULL)
        chord_fail(err, CHORD_NOT_FOUND, "the model has no tensor '%s'",
                   chord_printable(printable, sizeof printable, name, strlen(name)));
    return weight;
}

enum chord_status chord_model_tensor(const struct chord_model *model, const char *name, struct chord_tensor_info *out,
                                     struct chord_error *err)
{
    const struct weight *weight = find(model, name, err);
    if (weight == NULL)
        return CHORD_NOT_FOUND;
    *out = (struct chord_tensor_info){
        .name = name,
        .type = weight->type->name,
        .n_dimensions = weight->tensor->n_dimensions,
        .n_elements = weight->n * weight->n_rows,
    };
    memcpy(out->ne, weight->tensor->ne, sizeof out->ne);
    return CHORD_OK;
}

enum chord_status chord_model_tensor_read(struct chord_model *model, const char *name, float *out,
                                          struct chord_cancel *cancel, struct chord_error *err)
{
    const struct weight *weight = find(model, name, err);
    if (weight == NULL)
        return CHORD_NOT_FOUND;
    for (uint64_t row = 0; row < weight->n_rows; row += ROWS_PER_LOOK) {
        const uint64_t left = weight->n_rows - row;
        if (cancel != NULL && atomic_load(&cancel->requested))
            return chord_fail(err, CHORD_CANCELLED, "reading '%s' was cancelled", name);
        const enum chord_status status = weights_read_rows(
            model->weights, weight, row, left < ROWS_PER_LOOK ? left : ROWS_PER_LOOK, out + row * weight->n, err);
        if (status != CHORD_OK)
            return status;
    }
    return CHORD_OK;
}

enum chord_status chord_model_preload(struct chord_model *model, double seconds, struct chord_cancel *cancel,
                                      uint64_t *done, uint64_t *total, struct chord_error *err)
{
    enum chord_status status = weights_check_unchanged(model->weights, err);
    if (status == CHORD_OK)
        status = weights_preload(model->weights, seconds, cancel != NULL ? &cancel->requested : NULL, done, total, err);
    if (status != CHORD_OK)
        return status;
    if (cancel != NULL && atomic_load(&cancel->requested))
        return chord_fail(err, CHORD_CANCELLED, "preloading was cancelled");
    return CHORD_OK;
}

void chord_model_clear_cache(struct chord_model *model)
{
    weights_clear_cache(model->weights);
}

static void add_paging(const struct chord_model *model, struct chord_stats *out)
{
    struct pager *pager = weights_pager(model->weights);
    struct expert_pager *experts = weights_expert_pager(model->weights);
    struct pager_totals totals;
    if (pager == NULL)
        return;
    pager_get_totals(pager, &totals);
    if (experts != NULL)
        expert_pager_add_totals(experts, &totals);
    out->policy = totals.policy == PAGER_LRU ? "lru" : "pin";
    if (experts != NULL)
        out->policy = expert_pager_policy(experts) == EXPERT_CACHE_LRU ? "lru" : "expert";
    out->hits = totals.all.hits;
    out->misses = totals.all.misses;
    out->hit_bytes = totals.all.hit_bytes;
    out->miss_bytes = totals.all.miss_bytes;
    out->evictions = totals.all.evictions;
    out->read_bytes = totals.all.read_bytes;
    out->read_seconds = (double)totals.busy_ns * 1e-9;
    out->step_bytes = model->graph->weight_bytes;
    out->pinned_bytes = totals.pinned_bytes;
    out->ring_bytes = totals.frame_bytes_held;
    out->n_tiles = totals.n_tiles;
    out->n_pinned = totals.n_pinned;
    out->stall_seconds = (double)totals.all.stall_ns * 1e-9 / model->n_threads;
    out->compute_seconds = out->compute_seconds > out->stall_seconds ? out->compute_seconds - out->stall_seconds : 0;
}

void chord_model_layer_stats(struct chord_model *model, uint32_t layer, struct chord_layer_stats *out)
{
    struct pager *pager = weights_pager(model->weights);
    struct pager_stats stats = {0};
    if (pager != NULL)
        pager_get_layer(pager, layer, &stats);
    if (weights_expert_pager(model->weights) != NULL)
        expert_pager_add_layer(weights_expert_pager(model->weights), layer, &stats);
    const double stall = (double)stats.stall_ns * 1e-9 / model->n_threads;
    const double all = (double)backend_layer_ns(model->backend, layer) * 1e-9;
    *out = (struct chord_layer_stats){
        .hits = stats.hits,
        .misses = stats.misses,
        .hit_bytes = stats.hit_bytes,
        .miss_bytes = stats.miss_bytes,
        .evictions = stats.evictions,
        .read_bytes = stats.read_bytes,
        .compute_seconds = all > stall ? all - stall : 0,
        .stall_seconds = stall,
    };
}

void chord_model_stats(struct chord_model *model, struct chord_stats *out)
{
    const struct memory_account *account = &model->account;
    const uint64_t held_kv = atomic_load(&account->held[MEMORY_KV]);
    *out = (struct chord_stats){
        .mode = model_mode_name(model),
        .memory_budget = model->budget,
        .memory_held = atomic_load(&account->total),
        .memory_peak = atomic_load(&account->peak),
        .held_metadata = atomic_load(&account->held[MEMORY_METADATA]),
        .held_tokenizer = atomic_load(&account->held[MEMORY_TOKENIZER]),
        .held_weights = atomic_load(&account->held[MEMORY_WEIGHTS]),
        .held_kv = held_kv,
        .ceiling_weights = account->region_ceiling[MEMORY_WEIGHTS],
        .ceiling_kv = account->region_ceiling[MEMORY_KV],
        .ceiling_scratch = account->region_ceiling[MEMORY_SCRATCH],
        .held_scratch = atomic_load(&account->held[MEMORY_SCRATCH]),
        .mapped_bytes = weights_mapped_bytes(model->weights),
        .resident_bytes = weights_resident_bytes(model->weights),
        .kv_blocks = atomic_load(&model->kv_blocks) + atomic_load(&model->host->kv_blocks),
        .kv_block_bytes = model->kv_layout.block_bytes,
        .kv_tokens = atomic_load(&model->kv_tokens) + atomic_load(&model->host->kv_tokens),
        .n_steps = atomic_load(&model->n_steps),
        .n_prompt_tokens = atomic_load(&model->n_prompt_tokens),
        .n_generated_tokens = atomic_load(&model->n_generated_tokens),
        .n_guessed_tokens = atomic_load(&model->n_guessed_tokens),
        .n_reused_tokens = atomic_load(&model->n_reused_tokens),
        .n_accepted_tokens = atomic_load(&model->n_accepted_tokens),
        .n_drafted_tokens = atomic_load(&model->n_drafted_tokens),
        .n_accepted_draft_tokens = atomic_load(&model->n_accepted_draft_tokens),
        .weight_bytes_used = backend_weight_bytes(model->backend),
        .decode_threads = backend_tuning(model->backend).n_threads,
        .prefetch_bytes = backend_tuning(model->backend).prefetch.far,
        .compute_seconds = (double)atomic_load(&model->compute_ns) * 1e-9,
        .n_layer = model->hparams.n_layer,
    };
    struct kv_spill_stats spilled;
    kv_spill_get_stats(model->kv_spill, &spilled);
    out->kv_spilled_blocks = spilled.n_blocks;
    out->kv_spill_written_bytes = spilled.written_bytes;
    out->kv_spill_read_bytes = spilled.read_bytes;
    add_paging(model, out);
    uv_mutex_lock(&model->scheduler.mutex);
    out->n_jobs = model->scheduler.n_jobs;
    uv_mutex_unlock(&model->scheduler.mutex);
}

uint64_t chord_model_held(const struct chord_model *model)
{
    return atomic_load(&model->account.total);
}
