// Models of JavaScript: opening, planning, figures, tensors, closing.
#include "addon/wraps.h"

#include <stdlib.h>
#include <string.h>

static void model_finalize(napi_env env, void *data, void *hint)
{
    (void)hint;
    model_box_release(env, data);
}

// ---- Opening and planning --------------------------------------------------------------------------------------------

// Progress goes from the thread that loads to JavaScript through a ring with one writer and one reader; the threadsafe function
// only wakes the reader. A full ring drops: progress is news, not a record.
#define PROGRESS_SLOTS 32u

struct progress {
    const char *phase;
    uint64_t done, total;
};

struct open_task {
    struct task task;
    char *path;
    struct chord_model_options options;
    bool plan_only;
    struct chord_routes routes; // for a plan; experts are its own
    struct chord_model *model;
    struct chord_plan plan;
    napi_threadsafe_function on_progress; // NULL without a listener
    napi_ref listener;
    struct progress ring[PROGRESS_SLOTS];
    _Atomic uint32_t n_written, n_read;
};

static void progress_write(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct open_task *open = user;
    uint32_t at = open->n_written;
    if (at - open->n_read == PROGRESS_SLOTS)
        return;
    open->ring[at % PROGRESS_SLOTS] = (struct progress){phase, done, total};
    open->n_written = at + 1;
    napi_call_threadsafe_function(open->on_progress, NULL, napi_tsfn_nonblocking);
}

static void progress_read(napi_env env, struct open_task *open)
{
    napi_value listener;
    napi_value receiver;
    napi_value arguments[3];
    if (open->listener == NULL || napi_get_reference_value(env, open->listener, &listener) != napi_ok ||
        napi_get_undefined(env, &receiver) != napi_ok)
        return;
    while (open->n_read != open->n_written) {
        struct progress news = open->ring[open->n_read % PROGRESS_SLOTS];
        open->n_read++;
        if (napi_create_string_utf8(env, news.phase, NAPI_AUTO_LENGTH, &arguments[0]) != napi_ok ||
            napi_create_double(env, (double)news.done, &arguments[1]) != napi_ok ||
            napi_create_double(env, (double)news.total, &arguments[2]) != napi_ok)
            return;
        if (napi_call_function(env, receiver, listener, 3, arguments, NULL) != napi_ok && !util_report_exception(env))
            return;
    }
}

static void progress_call(napi_env env, napi_value callback, void *context, void *data)
{
    (void)callback, (void)data;
    if (env != NULL)
        progress_read(env, context);
}

static void open_free(struct open_task *open)
{
    chord_model_close(open->model);
    free((char *)open->options.cpu);
    free((uint32_t *)open->routes.experts);
    free((char *)open->options.kv_spill);
    free(open->path);
    free(open);
}

static void progress_finalize(napi_env env, void *data, void *context)
{
    (void)env, (void)data;
    open_free(context);
}

static void open_destroy(napi_env env, struct task *task)
{
    struct open_task *open = (struct open_task *)task;
    if (open->listener != NULL)
        napi_delete_reference(env, open->listener);
    open->listener = NULL;
    // Wake-ups may still be on their way and carry the pointer: then the task goes when the last one has arrived.
    if (open->on_progress != NULL)
        napi_release_threadsafe_function(open->on_progress, napi_tsfn_abort);
    else
        open_free(open);
}

static enum chord_status open_execute(struct task *task, struct chord_error *error)
{
    struct open_task *open = (struct open_task *)task;
    open->options.cancel = task_cancel(task);
    if (open->on_progress != NULL) {
        open->options.progress = progress_write;
        open->options.progress_user = open;
    }
    if (open->plan_only)
        return chord_model_plan(open->path, &open->options, &open->routes, &open->plan, error);
    return chord_model_open(open->path, &open->options, &open->model, error);
}

static bool set_plan_experts(napi_env env, napi_value out, const struct chord_plan *plan)
{
    napi_value experts;
    NAPI_TRY(env, napi_get_null(env, &experts));
    if (plan->expert_step_bytes != 0) {
        NAPI_TRY(env, napi_create_object(env, &experts));
        if (!util_set_double(env, experts, "bytesPerToken", (double)plan->expert_step_bytes) ||
            !util_set_double(env, experts, "memoryBytes", (double)plan->expert_memory_bytes) ||
            !util_set_double(env, experts, "hitShare", plan->expert_hit_share) ||
            !util_set_double(env, experts, "diskBandwidth", plan->expert_bandwidth))
            return false;
    }
    return util_set(env, out, "experts", experts);
}

static bool set_plan_layers(napi_env env, napi_value out, const struct chord_plan *plan)
{
    napi_value list, layer;
    NAPI_TRY(env, napi_create_array_with_length(env, plan->n_plan_layers, &list));
    for (uint32_t i = 0; i < plan->n_plan_layers; i++) {
        NAPI_TRY(env, napi_create_object(env, &layer));
        if (!util_set_double(env, layer, "stepBytes", (double)plan->layers[i].step_bytes) ||
            !util_set_double(env, layer, "pinnedBytes", (double)plan->layers[i].pinned_bytes))
            return false;
        NAPI_TRY(env, napi_set_element(env, list, i, layer));
    }
    return util_set(env, out, "layerBytes", list);
}

// By KV type; null where nothing is predicted.
static bool set_plan_kv(napi_env env, napi_value out, const struct chord_plan *plan)
{
    static const char *const names[] = {[CHORD_KV_F16] = "f16", [CHORD_KV_Q8_0] = "q8_0"};
    napi_value types, type, null;
    NAPI_TRY(env, napi_create_object(env, &types));
    NAPI_TRY(env, napi_get_null(env, &null));
    for (int i = CHORD_KV_F16; i <= CHORD_KV_Q8_0; i++) {
        const struct chord_plan_kv *kv = &plan->kv[i];
        NAPI_TRY(env, napi_create_object(env, &type));
        bool predicts = kv->seconds_per_token > 0;
        if (!util_set_double(env, type, "bytesPerToken", (double)kv->bytes_per_token) ||
            !util_set_double(env, type, "bytes", (double)kv->bytes) || !util_set_bool(env, type, "fits", kv->fits) ||
            !(predicts ? util_set_double(env, type, "pinnedBytes", (double)kv->pinned_bytes)
                       : util_set(env, type, "pinnedBytes", null)) ||
            !(predicts ? util_set_double(env, type, "secondsPerToken", kv->seconds_per_token)
                       : util_set(env, type, "secondsPerToken", null)) ||
            !util_set(env, types, names[i], type))
            return false;
    }
    return util_set(env, out, "kv", types);
}

static napi_value make_plan(napi_env env, const struct chord_plan *plan)
{
    napi_value out;
    napi_value warnings;
    NAPI_TRY(env, napi_create_object(env, &out));
    NAPI_TRY(env, napi_create_array(env, &warnings));
    for (uint32_t i = 0; i < 4 && plan->warnings[i][0] != '\0'; i++) {
        napi_value text = util_make_string(env, plan->warnings[i], strlen(plan->warnings[i]));
        if (text == NULL)
            return NULL;
        NAPI_TRY(env, napi_set_element(env, warnings, i, text));
    }
    bool ok =
        util_set_string(env, out, "architecture", plan->architecture) &&
        util_set_string(env, out, "mode", plan->mode) && util_set_bool(env, out, "fits", plan->fits) &&
        util_set_double(env, out, "memoryBytes", (double)plan->memory_budget) &&
        util_set_double(env, out, "weightsBytes", (double)plan->weights_bytes) &&
        util_set_double(env, out, "weightsBytesPerToken", (double)plan->step_bytes) &&
        util_set_double(env, out, "kvBytes", (double)plan->kv_bytes) &&
        util_set_double(env, out, "kvBytesPerToken", (double)plan->kv_bytes_per_token) &&
        util_set_double(env, out, "scratchBytes", (double)plan->scratch_bytes) &&
        util_set_double(env, out, "metadataBytes", (double)plan->metadata_bytes) &&
        util_set_double(env, out, "context", plan->n_ctx) &&
        util_set_double(env, out, "contextTrained", plan->n_ctx_train) &&
        util_set_double(env, out, "layers", plan->n_layer) && util_set_double(env, out, "threads", plan->n_threads) &&
        util_set_double(env, out, "readBandwidth", plan->read_bandwidth) &&
        util_set_double(env, out, "diskBandwidth", plan->disk_bandwidth) &&
        util_set_double(env, out, "pinnedBytes", (double)plan->pinned_bytes) &&
        util_set_double(env, out, "ringBytes", (double)plan->ring_bytes) &&
        util_set_double(env, out, "secondsPerToken", plan->seconds_per_token) && set_plan_layers(env, out, plan) &&
        set_plan_kv(env, out, plan) && set_plan_experts(env, out, plan) && util_set(env, out, "warnings", warnings);
    return ok ? out : NULL;
}

static napi_value open_resolve(napi_env env, struct task *task)
{
    struct open_task *open = (struct open_task *)task;
    progress_read(env, open);
    if (open->plan_only)
        return make_plan(env, &open->plan);
    struct model_box *box = model_box_make(env, open->model);
    if (box == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for a model");
    open->model = NULL;
    napi_value handle = util_make_handle(env, HANDLE_MODEL, box, model_finalize);
    if (handle == NULL)
        model_box_release(env, box);
    return handle;
}

static bool read_options(napi_env env, napi_value value, struct chord_model_options *options)
{
    napi_value cpu;
    if (util_is_nullish(env, value))
        return true;
    if (!util_option_u64(env, value, "memory", &options->memory) ||
        !util_option_u64(env, value, "memoryWeights", &options->memory_weights) ||
        !util_option_u64(env, value, "memoryKv", &options->memory_kv) ||
        !util_option_u64(env, value, "memoryScratch", &options->memory_scratch) ||
        !util_option_u32(env, value, "context", &options->n_ctx) ||
        !util_option_u32(env, value, "threads", &options->n_threads))
        return false;
    bool mapped = false, paged = false, lru = false, q8_0 = false;
    if (!util_option_bool(env, value, "mapped", &mapped) || !util_option_bool(env, value, "paged", &paged) ||
        !util_option_bool(env, value, "lru", &lru) || !util_option_bool(env, value, "kvQ8_0", &q8_0))
        return false;
    options->kv_type = q8_0 ? CHORD_KV_Q8_0 : CHORD_KV_F16;
    options->mode = mapped ? CHORD_MODE_MAPPED : paged ? CHORD_MODE_PAGED : CHORD_MODE_AUTO;
    options->policy = lru ? CHORD_POLICY_LRU : CHORD_POLICY_AUTO;
    napi_value spill;
    NAPI_TRY(env, napi_get_named_property(env, value, "kvSpill", &spill));
    if (!util_is_nullish(env, spill)) {
        options->kv_spill = util_get_string(env, spill, NULL);
        if (options->kv_spill == NULL)
            return false;
    }
    NAPI_TRY(env, napi_get_named_property(env, value, "cpu", &cpu));
    if (util_is_nullish(env, cpu))
        return true;
    options->cpu = util_get_string(env, cpu, NULL);
    return options->cpu != NULL;
}

// routes: { repeating } or { layers, experts, used, steps: Uint32Array }, as lib/routes.js makes them
static bool read_routes(napi_env env, napi_value value, struct chord_routes *routes)
{
    napi_value steps;
    bool repeating = false;
    NAPI_TRY(env, napi_get_named_property(env, value, "routes", &value));
    if (util_is_nullish(env, value))
        return true;
    if (!util_option_bool(env, value, "repeating", &repeating) ||
        !util_option_u32(env, value, "layers", &routes->n_layers) ||
        !util_option_u32(env, value, "experts", &routes->n_experts) ||
        !util_option_u32(env, value, "used", &routes->n_used))
        return false;
    routes->kind = repeating ? CHORD_ROUTES_REPEATING : CHORD_ROUTES_SCATTERED;
    NAPI_TRY(env, napi_get_named_property(env, value, "steps", &steps));
    if (util_is_nullish(env, steps))
        return true;
    const uint32_t *values;
    size_t n;
    routes->kind = CHORD_ROUTES_RECORDED;
    if (!util_get_u32s(env, steps, &values, &n))
        return false;
    if (routes->n_layers == 0 || routes->n_used == 0) {
        util_throw_code(env, CHORD_INVALID_ARGUMENT, "routes: expected layers and used above 0");
        return false;
    }
    uint32_t *copy = malloc(n * sizeof *copy + 1);
    if (copy == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left for routes");
        return false;
    }
    memcpy(copy, values, n * sizeof *copy);
    routes->experts = copy;
    routes->n_tokens = (uint32_t)(n / routes->n_layers / routes->n_used);
    return true;
}

static bool listen_to_progress(napi_env env, struct open_task *open, napi_value listener)
{
    napi_value name = util_make_string(env, "chord progress", 14);
    if (name == NULL)
        return false;
    NAPI_TRY(env, napi_create_reference(env, listener, 1, &open->listener));
    NAPI_TRY(env, napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, progress_finalize, open,
                                                  progress_call, &open->on_progress));
    return true;
}

// open(path, options, onProgress | undefined, cancel | undefined) -> Promise<model handle>
static napi_value open_or_plan(napi_env env, napi_callback_info info, bool plan_only)
{
    napi_value arguments[4];
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct open_task *open = calloc(1, sizeof *open);
    if (open == NULL)
        return util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
    open->task.execute = open_execute;
    open->task.resolve = open_resolve;
    open->task.destroy = open_destroy;
    open->plan_only = plan_only;
    open->path = util_get_string(env, arguments[0], NULL);
    if (open->path == NULL || !read_options(env, arguments[1], &open->options) ||
        (plan_only && !read_routes(env, arguments[1], &open->routes)) ||
        (!util_is_nullish(env, arguments[2]) && !listen_to_progress(env, open, arguments[2]))) {
        open_destroy(env, &open->task);
        return NULL;
    }
    napi_value promise = task_prepare(env, &open->task, arguments[3]);
    return promise != NULL ? task_queue(env, &open->task, promise) : NULL;
}

napi_value wrap_model_open(napi_env env, napi_callback_info info)
{
    return open_or_plan(env, info, false);
}

napi_value wrap_model_plan(napi_env env, napi_callback_info info)
{
    return open_or_plan(env, info, true);
}

// ---- Figures ---------------------------------------------------------------------------------------------------------

// The open model that is the only argument.
static struct model_box *only_model(napi_env env, napi_callback_info info)
{
    napi_value argument;
    return util_arguments(env, info, 1, &argument) ? model_box_get(env, argument) : NULL;
}

// modelInfo(model) -> object
napi_value wrap_model_info(napi_env env, napi_callback_info info)
{
    struct chord_model_info i;
    napi_value out;
    struct model_box *box = only_model(env, info);
    if (box == NULL)
        return NULL;
    chord_model_info(box->model, &i);
    static const char *const poolings[] = {
        [CHORD_POOLING_MEAN] = "mean", [CHORD_POOLING_CLS] = "cls", [CHORD_POOLING_LAST] = "last"};
    NAPI_TRY(env, napi_create_object(env, &out));
    bool ok = util_set_string(env, out, "architecture", i.architecture) && util_set_string(env, out, "name", i.name) &&
              util_set_string(env, out, "quantization", i.quantization) &&
              util_set_double(env, out, "parameters", (double)i.n_params) &&
              util_set_double(env, out, "fileBytes", (double)i.file_bytes) &&
              util_set_double(env, out, "context", i.n_ctx) &&
              util_set_double(env, out, "contextTrained", i.n_ctx_train) &&
              util_set_double(env, out, "vocabulary", i.n_vocab) && util_set_double(env, out, "layers", i.n_layer) &&
              util_set_double(env, out, "embedding", i.n_embd) && util_set_double(env, out, "feedForward", i.n_ff) &&
              util_set_double(env, out, "heads", i.n_head) && util_set_double(env, out, "headsKv", i.n_head_kv) &&
              util_set_string(env, out, "mode", i.mode) && util_set_string(env, out, "cpu", i.cpu) &&
              util_set_double(env, out, "threads", i.n_threads) && util_set_bool(env, out, "encoder", i.is_encoder) &&
              util_set_string(env, out, "pooling", i.n_labels > 0 ? "rank" : poolings[i.pooling]);
    return ok ? out : NULL;
}

static bool set_bytes(napi_env env, napi_value object, const char *name, uint64_t value)
{
    napi_value null;
    if (value != UINT64_MAX)
        return util_set_double(env, object, name, (double)value);
    NAPI_TRY(env, napi_get_null(env, &null));
    return util_set(env, object, name, null);
}

// What the weight store did in paged mode, else null.
static bool set_paging(napi_env env, napi_value out, const struct chord_stats *s)
{
    napi_value paging;
    if (s->policy == NULL) {
        NAPI_TRY(env, napi_get_null(env, &paging));
        return util_set(env, out, "paging", paging);
    }
    NAPI_TRY(env, napi_create_object(env, &paging));
    return util_set(env, out, "paging", paging) && util_set_string(env, paging, "policy", s->policy) &&
           util_set_double(env, paging, "stepBytes", (double)s->step_bytes) &&
           util_set_double(env, paging, "pinnedBytes", (double)s->pinned_bytes) &&
           util_set_double(env, paging, "ringBytes", (double)s->ring_bytes) &&
           util_set_double(env, paging, "tiles", (double)s->n_tiles) &&
           util_set_double(env, paging, "pinnedTiles", (double)s->n_pinned) &&
           util_set_double(env, paging, "hits", (double)s->hits) &&
           util_set_double(env, paging, "misses", (double)s->misses) &&
           util_set_double(env, paging, "hitBytes", (double)s->hit_bytes) &&
           util_set_double(env, paging, "missBytes", (double)s->miss_bytes) &&
           util_set_double(env, paging, "evictions", (double)s->evictions) &&
           util_set_double(env, paging, "readBytes", (double)s->read_bytes) &&
           util_set_double(env, paging, "readSeconds", s->read_seconds) &&
           util_set_double(env, paging, "readBandwidth",
                           s->read_seconds > 0 ? (double)s->read_bytes / s->read_seconds : 0);
}

static bool set_layers(napi_env env, napi_value out, struct chord_model *model, uint32_t n_layer)
{
    napi_value list, layer;
    NAPI_TRY(env, napi_create_array_with_length(env, n_layer + 1, &list));
    for (uint32_t i = 0; i <= n_layer; i++) {
        struct chord_layer_stats s;
        chord_model_layer_stats(model, i, &s);
        NAPI_TRY(env, napi_create_object(env, &layer));
        if (!util_set_double(env, layer, "hits", (double)s.hits) ||
            !util_set_double(env, layer, "misses", (double)s.misses) ||
            !util_set_double(env, layer, "hitBytes", (double)s.hit_bytes) ||
            !util_set_double(env, layer, "missBytes", (double)s.miss_bytes) ||
            !util_set_double(env, layer, "evictions", (double)s.evictions) ||
            !util_set_double(env, layer, "readBytes", (double)s.read_bytes) ||
            !util_set_double(env, layer, "computeSeconds", s.compute_seconds) ||
            !util_set_double(env, layer, "stallSeconds", s.stall_seconds))
            return false;
        NAPI_TRY(env, napi_set_element(env, list, i, layer));
    }
    return util_set(env, out, "layers", list);
}

// modelStats(model) -> object
napi_value wrap_model_stats(napi_env env, napi_callback_info info)
{
    struct chord_stats s;
    napi_value out, memory, regions, metadata, tokenizer, weights, kv, scratch, work;
    struct model_box *box = only_model(env, info);
    if (box == NULL)
        return NULL;
    chord_model_stats(box->model, &s);
    napi_value *const objects[] = {&out, &memory, &regions, &metadata, &tokenizer, &weights, &kv, &scratch, &work};
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        NAPI_TRY(env, napi_create_object(env, objects[i]));
    bool ok =
        util_set_string(env, out, "mode", s.mode) && util_set(env, out, "memory", memory) &&
        util_set_double(env, memory, "budgetBytes", (double)s.memory_budget) &&
        util_set_double(env, memory, "heldBytes", (double)s.memory_held) &&
        util_set_double(env, memory, "peakBytes", (double)s.memory_peak) && util_set(env, out, "regions", regions) &&
        util_set(env, regions, "metadata", metadata) &&
        util_set_double(env, metadata, "heldBytes", (double)s.held_metadata) &&
        util_set(env, regions, "tokenizer", tokenizer) &&
        util_set_double(env, tokenizer, "heldBytes", (double)s.held_tokenizer) &&
        util_set(env, regions, "weights", weights) &&
        util_set_double(env, weights, "heldBytes", (double)s.held_weights) &&
        util_set_double(env, weights, "mappedBytes", (double)s.mapped_bytes) &&
        set_bytes(env, weights, "residentBytes", s.resident_bytes) && util_set(env, regions, "kv", kv) &&
        util_set_double(env, kv, "heldBytes", (double)s.held_kv) &&
        set_bytes(env, weights, "ceilingBytes", s.ceiling_weights) &&
        set_bytes(env, kv, "ceilingBytes", s.ceiling_kv) &&
        set_bytes(env, scratch, "ceilingBytes", s.ceiling_scratch) &&
        util_set_double(env, kv, "blocks", (double)s.kv_blocks) &&
        util_set_double(env, kv, "blockBytes", (double)s.kv_block_bytes) &&
        util_set_double(env, kv, "tokens", (double)s.kv_tokens) &&
        util_set_double(env, kv, "spilledBlocks", (double)s.kv_spilled_blocks) &&
        util_set_double(env, kv, "spillWrittenBytes", (double)s.kv_spill_written_bytes) &&
        util_set_double(env, kv, "spillReadBytes", (double)s.kv_spill_read_bytes) &&
        util_set(env, regions, "scratch", scratch) &&
        util_set_double(env, scratch, "heldBytes", (double)s.held_scratch) && util_set(env, out, "work", work) &&
        util_set_double(env, work, "running", s.n_jobs) && util_set_double(env, work, "steps", (double)s.n_steps) &&
        util_set_double(env, work, "promptTokens", (double)s.n_prompt_tokens) &&
        util_set_double(env, work, "generatedTokens", (double)s.n_generated_tokens) &&
        util_set_double(env, work, "guessedTokens", (double)s.n_guessed_tokens) &&
        util_set_double(env, work, "reusedTokens", (double)s.n_reused_tokens) &&
        util_set_double(env, work, "acceptedTokens", (double)s.n_accepted_tokens) &&
        util_set_double(env, work, "draftedTokens", (double)s.n_drafted_tokens) &&
        util_set_double(env, work, "acceptedDraftTokens", (double)s.n_accepted_draft_tokens) &&
        util_set_double(env, work, "weightBytesUsed", (double)s.weight_bytes_used) &&
        util_set_double(env, work, "computeSeconds", s.compute_seconds) &&
        util_set_double(env, work, "stallSeconds", s.stall_seconds) && set_paging(env, out, &s) &&
        set_layers(env, out, box->model, s.n_layer) && util_set_double(env, work, "decodeThreads", s.decode_threads) &&
        util_set_double(env, work, "prefetchBytes", s.prefetch_bytes);
    return ok ? out : NULL;
}

// checkDraft(model, draft model): throws where the one cannot draft for the other.
napi_value wrap_model_check_draft(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    napi_value arguments[2];
    if (!util_arguments(env, info, 2, arguments))
        return NULL;
    struct model_box *box = model_box_get(env, arguments[0]);
    struct model_box *draft = box != NULL ? model_box_get(env, arguments[1]) : NULL;
    if (draft != NULL && chord_model_check_draft(box->model, draft->model, &error) != CHORD_OK)
        return util_throw(env, &error);
    return NULL;
}

// clearCache(model)
napi_value wrap_model_clear_cache(napi_env env, napi_callback_info info)
{
    struct model_box *box = only_model(env, info);
    if (box != NULL)
        chord_model_clear_cache(box->model);
    return NULL;
}

// ---- Tasks of a model ------------------------------------------------------------------------------------------------

struct model_task {
    struct task task;
    struct model_box *box; // held by the slice that runs the task
    uint64_t done, total;  // preload
    double seconds;
    char *name; // tensor
    struct chord_tensor_info tensor;
    float *data; // in the array behind `array`
    napi_ref array;
};

static void model_task_destroy(napi_env env, struct task *task)
{
    struct model_task *t = (struct model_task *)task;
    if (t->array != NULL)
        napi_delete_reference(env, t->array);
    free(t->name);
    free(t);
}

static struct model_task *model_task_make(napi_env env, struct model_box *box)
{
    struct model_task *t = calloc(1, sizeof *t);
    if (t == NULL) {
        util_throw_code(env, CHORD_OUT_OF_MEMORY, "no memory left");
        return NULL;
    }
    t->box = box;
    t->task.destroy = model_task_destroy;
    return t;
}

static enum chord_status preload_execute(struct task *task, struct chord_error *error)
{
    struct model_task *t = (struct model_task *)task;
    return chord_model_preload(t->box->model, t->seconds, task_cancel(task), &t->done, &t->total, error);
}

static napi_value preload_resolve(napi_env env, struct task *task)
{
    struct model_task *t = (struct model_task *)task;
    napi_value out;
    NAPI_TRY(env, napi_create_object(env, &out));
    bool ok =
        util_set_double(env, out, "done", (double)t->done) && util_set_double(env, out, "total", (double)t->total);
    return ok ? out : NULL;
}

// preload(model, done, seconds, cancel | undefined) -> Promise<{ done, total }>: one stretch
napi_value wrap_model_preload(napi_env env, napi_callback_info info)
{
    napi_value arguments[4];
    if (!util_arguments(env, info, 4, arguments))
        return NULL;
    struct model_box *box = model_box_get(env, arguments[0]);
    struct model_task *t = box != NULL ? model_task_make(env, box) : NULL;
    if (t == NULL)
        return NULL;
    t->task.execute = preload_execute;
    t->task.resolve = preload_resolve;
    if (!util_get_count(env, arguments[1], &t->done) || !util_get_double(env, arguments[2], &t->seconds)) {
        model_task_destroy(env, &t->task);
        return NULL;
    }
    napi_value promise = task_prepare(env, &t->task, arguments[3]);
    return promise != NULL ? model_queue_task(env, box, &t->task, promise) : NULL;
}

static enum chord_status tensor_execute(struct task *task, struct chord_error *error)
{
    struct model_task *t = (struct model_task *)task;
    return chord_model_tensor_read(t->box->model, t->name, t->data, task_cancel(task), error);
}

static napi_value tensor_resolve(napi_env env, struct task *task)
{
    struct model_task *t = (struct model_task *)task;
    napi_value out, shape, dimension, array;
    NAPI_TRY(env, napi_create_object(env, &out));
    NAPI_TRY(env, napi_create_array_with_length(env, t->tensor.n_dimensions, &shape));
    for (uint32_t i = 0; i < t->tensor.n_dimensions; i++) {
        NAPI_TRY(env, napi_create_double(env, (double)t->tensor.ne[i], &dimension));
        // JavaScript's order is that of most libraries: the dimension that runs fastest comes last.
        NAPI_TRY(env, napi_set_element(env, shape, t->tensor.n_dimensions - 1 - i, dimension));
    }
    NAPI_TRY(env, napi_get_reference_value(env, t->array, &array));
    bool ok = util_set_string(env, out, "name", t->name) && util_set_string(env, out, "type", t->tensor.type) &&
              util_set(env, out, "shape", shape) && util_set(env, out, "data", array);
    return ok ? out : NULL;
}

// tensor(model, name, cancel | undefined) -> Promise<{ name, type, shape, data }>
napi_value wrap_model_tensor(napi_env env, napi_callback_info info)
{
    struct chord_error error = {0};
    napi_value arguments[3];
    napi_value buffer, array;
    void *data = NULL;
    if (!util_arguments(env, info, 3, arguments))
        return NULL;
    struct model_box *box = model_box_get(env, arguments[0]);
    char *name = box != NULL ? util_get_string(env, arguments[1], NULL) : NULL;
    struct model_task *t = name != NULL ? model_task_make(env, box) : NULL;
    if (t == NULL) {
        free(name);
        return NULL;
    }
    t->name = name;
    if (chord_model_tensor(box->model, name, &t->tensor, &error) != CHORD_OK) {
        model_task_destroy(env, &t->task);
        return util_throw(env, &error);
    }
    t->task.execute = tensor_execute;
    t->task.resolve = tensor_resolve;
    // The numbers go straight into the array that JavaScript will get; it learns of it when they are there.
    size_t n = (size_t)t->tensor.n_elements;
    if (napi_create_arraybuffer(env, n * sizeof(float), &data, &buffer) != napi_ok ||
        napi_create_typedarray(env, napi_float32_array, n, buffer, 0, &array) != napi_ok ||
        napi_create_reference(env, array, 1, &t->array) != napi_ok) {
        util_throw_last(env);
        model_task_destroy(env, &t->task);
        return NULL;
    }
    t->data = data;
    napi_value promise = task_prepare(env, &t->task, arguments[2]);
    return promise != NULL ? model_queue_task(env, box, &t->task, promise) : NULL;
}

// ---- Closing ---------------------------------------------------------------------------------------------------------

static enum chord_status close_execute(struct task *task, struct chord_error *error)
{
    (void)task, (void)error;
    return CHORD_OK;
}

static napi_value close_resolve(napi_env env, struct task *task)
{
    struct model_task *t = (struct model_task *)task;
    napi_value undefined;
    model_box_close(env, t->box);
    NAPI_TRY(env, napi_get_undefined(env, &undefined));
    return undefined;
}

// close(model) -> Promise: cancels the jobs, waits for them and for the tasks, frees the model. Once only.
napi_value wrap_model_close(napi_env env, napi_callback_info info)
{
    struct model_box *box = only_model(env, info);
    struct model_task *t = box != NULL ? model_task_make(env, box) : NULL;
    if (t == NULL)
        return NULL;
    t->task.execute = close_execute;
    t->task.resolve = close_resolve;
    napi_value promise = task_prepare(env, &t->task, NULL);
    if (promise == NULL)
        return NULL;
    box->closing = true;
    for (struct job_box *job = box->jobs; job != NULL; job = job->next)
        chord_job_cancel(job->job);
    box->jobs_wait = false;
    return model_queue_task(env, box, &t->task, promise);
}

// systemInfo() -> object
napi_value wrap_system_info(napi_env env, napi_callback_info info)
{
    (void)info;
    struct chord_system_info s;
    napi_value out, tiers;
    chord_system_info(&s);
    NAPI_TRY(env, napi_create_object(env, &out));
    NAPI_TRY(env, napi_create_array(env, &tiers));
    for (uint32_t i = 0; s.tiers[i] != NULL; i++) {
        napi_value tier = util_make_string(env, s.tiers[i], strlen(s.tiers[i]));
        if (tier == NULL)
            return NULL;
        NAPI_TRY(env, napi_set_element(env, tiers, i, tier));
    }
    bool ok = util_set_string(env, out, "cpu", s.cpu_name) && util_set_string(env, out, "tier", s.tier) &&
              util_set(env, out, "tiers", tiers) && util_set_double(env, out, "processors", s.n_processors) &&
              util_set_double(env, out, "memoryFreeBytes", (double)s.memory_free);
    return ok ? out : NULL;
}
