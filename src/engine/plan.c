// chord_model_plan: what opening a model would do, from its header and a measurement of the machine.
#include "engine/model.h"

#include <stdio.h>
#include <string.h>

// Larger than the caches that one process may count on; small enough to be read in some tens of milliseconds.
#define PROBE_BYTES (192u << 20)
#define PROBE_CHUNK_BYTES (1u << 20)
#define PROBE_PASSES 3

struct probe {
    uint64_t *memory;
    _Atomic uint64_t sink; // keeps the reads from being optimised away
};

static void probe_fill(void *context, uint32_t chunk, uint32_t thread)
{
    struct probe *probe = context;
    (void)thread;
    memset((char *)probe->memory + (uint64_t)chunk * PROBE_CHUNK_BYTES, (int)(chunk + 1), PROBE_CHUNK_BYTES);
}

static void probe_read(void *context, uint32_t chunk, uint32_t thread)
{
    struct probe *probe = context;
    const uint64_t *p = probe->memory + (uint64_t)chunk * (PROBE_CHUNK_BYTES / sizeof *p);
    uint64_t sums[8] = {0};
    (void)thread;
    for (uint32_t i = 0; i < PROBE_CHUNK_BYTES / sizeof *p; i += 8)
        for (uint32_t k = 0; k < 8; k++)
            sums[k] += p[i + k];
    for (uint32_t k = 1; k < 8; k++)
        sums[0] += sums[k];
    atomic_fetch_add_explicit(&probe->sink, sums[0], memory_order_relaxed);
}

// Bytes per second that n_threads threads read from memory: the best of a few passes. 0 when it cannot be measured.
static double measure_read_bandwidth(uint32_t n_threads)
{
    struct memory_account account;
    struct pool *pool;
    struct probe probe = {0};
    double best = 0;
    memory_account_init(&account, UINT64_MAX);
    probe.memory = memory_alloc(&account, MEMORY_SCRATCH, PROBE_BYTES, 4096);
    if (probe.memory == NULL || pool_create(&pool, n_threads, &account, NULL) != CHORD_OK) {
        memory_free(&account, probe.memory);
        return 0;
    }
    pool_run(pool, probe_fill, &probe, PROBE_BYTES / PROBE_CHUNK_BYTES);
    for (int pass = 0; pass < PROBE_PASSES; pass++) {
        const double begin = os_now_seconds();
        pool_run(pool, probe_read, &probe, PROBE_BYTES / PROBE_CHUNK_BYTES);
        const double rate = PROBE_BYTES / (os_now_seconds() - begin);
        best = rate > best ? rate : best;
    }
    pool_free(pool);
    memory_free(&account, probe.memory);
    return best;
}

static void warn(struct chord_plan *plan, const char *format, ...)
{
    const size_t n = sizeof plan->warnings / sizeof *plan->warnings;
    va_list args;
    for (size_t i = 0; i < n; i++) {
        if (plan->warnings[i][0] != '\0')
            continue;
        va_start(args, format);
        vsnprintf(plan->warnings[i], sizeof plan->warnings[i], format, args);
        va_end(args);
        return;
    }
}

static void add_warnings(struct chord_plan *plan)
{
    if (!plan->fits)
        warn(plan,
             "weights, KV cache and scratch take %.2f GiB and the memory budget is %.2f GiB: weights will be read from "
             "disk "
             "again and again",
             (double)(plan->weights_bytes + plan->kv_bytes + plan->scratch_bytes + plan->metadata_bytes) / 0x1p30,
             (double)plan->memory_budget / 0x1p30);
    if (plan->n_ctx > plan->n_ctx_train)
        warn(plan, "the context of %u tokens is longer than the %u the model was trained on", plan->n_ctx,
             plan->n_ctx_train);
    if (plan->n_ctx < plan->n_ctx_train)
        warn(plan, "the context is %u of the %u tokens that the model was trained on", plan->n_ctx, plan->n_ctx_train);
}

struct plan_parts {
    struct gguf *gguf;
    struct weights *weights;
    struct graph *graph;
    struct tokenizer *tokenizer;
};

static enum chord_status fill_plan(struct chord_plan *plan, struct plan_parts *parts, const char *path,
                                   const struct chord_model_options *options, struct memory_account *account,
                                   struct chord_error *err)
{
    struct hparams h;
    const struct arch *arch;
    struct kernels kernels;
    struct kv_layout kv;
    enum chord_status status = gguf_open(&parts->gguf, path, account, err);
    if (status == CHORD_OK)
        status = hparams_load(parts->gguf, &h, &arch, err);
    if (status == CHORD_OK)
        status = tokenizer_create(&parts->tokenizer, parts->gguf, account, err);
    if (status == CHORD_OK)
        status = weights_open(&parts->weights, parts->gguf, WEIGHTS_DIRECTORY, account, err);
    if (status == CHORD_OK)
        status = arch_build_graph(arch, &h, parts->weights, parts->gguf, account, &parts->graph, err);
    if (status == CHORD_OK)
        status = model_choose_kernels(options, &kernels, err);
    if (status != CHORD_OK)
        return status;
    kv_layout_init(&kv, options->kv_type == CHORD_KV_Q8_0 ? KV_Q8_0 : KV_F16, parts->graph->n_layer,
                   parts->graph->n_head_kv, parts->graph->head_dim);
    plan->architecture = arch->name;
    plan->mode = "mapped";
    plan->metadata_bytes = atomic_load(&account->total);
    plan->n_threads = model_choose_threads(options);
    plan->scratch_bytes =
        backend_scratch_bytes(parts->graph, &kernels, plan->n_threads, BATCH_MAX_ROWS, BATCH_MAX_OUTPUTS);
    plan->step_bytes = parts->graph->weight_bytes;
    plan->kv_bytes_per_token = kv_token_bytes(&kv);
    plan->n_ctx_train = h.n_ctx_train;
    plan->n_layer = h.n_layer;
    for (uint64_t i = 0; i < gguf_n_tensors(parts->gguf); i++)
        plan->weights_bytes += gguf_tensor(parts->gguf, i)->n_bytes;
    status = model_choose_context(options, &h, &kv, plan->memory_budget, plan->metadata_bytes + plan->scratch_bytes,
                                  &plan->n_ctx, err);
    plan->kv_bytes = kv_bytes(&kv, plan->n_ctx);
    return status;
}

enum chord_status chord_model_plan(const char *path, const struct chord_model_options *options, struct chord_plan *out,
                                   struct chord_error *err)
{
    struct memory_account account;
    struct plan_parts parts = {0};
    memory_account_init(&account, UINT64_MAX);
    *out = (struct chord_plan){.memory_budget = model_memory_budget(options)};
    const enum chord_status status = fill_plan(out, &parts, path, options, &account, err);
    graph_free(parts.graph);
    weights_close(parts.weights);
    tokenizer_free(parts.tokenizer);
    gguf_close(parts.gguf);
    if (status != CHORD_OK)
        return status;
    out->fits = out->weights_bytes + out->kv_bytes + out->scratch_bytes + out->metadata_bytes <= out->memory_budget;
    out->read_bandwidth = measure_read_bandwidth(out->n_threads);
    out->seconds_per_token = out->read_bandwidth > 0 ? (double)out->step_bytes / out->read_bandwidth : 0;
    add_warnings(out);
    return CHORD_OK;
}
