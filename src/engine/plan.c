// chord_model_plan: what opening a model would do, from its header and a measurement of the machine.
#include "engine/budget.h"
#include "weights/probe.h"

#include <stdio.h>
#include <string.h>

// Larger than the caches that one process may count on; small enough to be read in some tens of milliseconds.
#define PROBE_BYTES (192u << 20)
#define PROBE_CHUNK_BYTES (1u << 20)
#define PROBE_PASSES 3
#define DISK_PROBE_SECONDS 0.3

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
    if (!plan->fits && plan->pinned_bytes == plan->step_bytes)
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
    struct tokenizer *tokenizer;
    struct weights_layer_plan *layers;
    double expert_hit_share[N_KV_TYPES]; // at the end of the context
};

static enum chord_status check_routes(const struct chord_routes *routes, const struct hparams *h,
                                      struct chord_error *err)
{
    if (routes->kind != CHORD_ROUTES_RECORDED)
        return CHORD_OK;
    const uint32_t n_layers = h->n_expert != 0 ? h->n_layer - h->n_dense_layers : 0;
    if (routes->n_layers != n_layers || routes->n_experts != h->n_expert || routes->n_used != h->n_expert_used)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "the routes are of a model with %u layers that use %u of %u experts; this one has %u layers "
                          "that use %u of %u",
                          routes->n_layers, routes->n_used, routes->n_experts, n_layers, h->n_expert_used, h->n_expert);
    if (routes->n_tokens < 2)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "routes of one token tell nothing: record some hundred");
    const uint64_t n = (uint64_t)routes->n_tokens * routes->n_layers * routes->n_used;
    for (uint64_t i = 0; i < n; i++)
        if (routes->experts[i] >= routes->n_experts)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "the routes name expert %u of %u", routes->experts[i],
                              routes->n_experts);
    return CHORD_OK;
}

static enum chord_status fill_plan(struct chord_plan *plan, struct plan_parts *parts, const char *path,
                                   const struct chord_model_options *options, const struct chord_routes *routes,
                                   struct memory_account *account, struct chord_error *err)
{
    struct expert_routes expected = {.kind = EXPERT_ROUTES_SCATTERED};
    struct hparams h;
    const struct arch *arch;
    struct budget budget;
    enum chord_status status = gguf_open(&parts->gguf, path, account, err);
    if (status == CHORD_OK)
        status = hparams_load(parts->gguf, &h, &arch, err);
    if (status == CHORD_OK)
        status = tokenizer_create(&parts->tokenizer, parts->gguf, account, err);
    if (status == CHORD_OK && routes != NULL) {
        status = check_routes(routes, &h, err);
        expected = (struct expert_routes){
            .kind = (enum expert_routes_kind)routes->kind, .experts = routes->experts, .n_tokens = routes->n_tokens};
    }
    if (status == CHORD_OK)
        status = budget_decide(&budget, parts->gguf, arch, &h, options, &expected, atomic_load(&account->total),
                               account, &parts->layers, err);
    if (status != CHORD_OK)
        return status;
    *plan = (struct chord_plan){
        .architecture = arch->name,
        .mode = budget.is_paged ? "paged" : "mapped",
        .memory_budget = budget.bytes,
        .weights_bytes = budget.weights_bytes,
        .step_bytes = budget.step_bytes,
        .kv_bytes_per_token = kv_token_bytes(&budget.kv),
        .kv_bytes = kv_bytes(&budget.kv, budget.n_ctx),
        .scratch_bytes = budget.scratch_bytes,
        .metadata_bytes = budget.metadata_bytes,
        .n_ctx = budget.n_ctx,
        .n_ctx_train = h.n_ctx_train,
        .n_layer = h.n_layer,
        .n_threads = budget.n_threads,
        .fits = budget.fits,
        .pinned_bytes = budget.is_paged ? budget.paging.pinned_bytes : budget.step_bytes,
        .ring_bytes = budget.paging.ring_bytes,
        .expert_step_bytes = budget.paging.expert_step_bytes,
        .expert_memory_bytes = budget.paging.expert_frame_bytes,
        .expert_hit_share = budget.paging.expert_hit_share,
        .n_plan_layers = h.n_layer + 1,
    };
    for (uint32_t type = 0; type < N_KV_TYPES; type++) {
        const struct budget_at_context *at = &budget.at_context[type];
        plan->kv[type] = (struct chord_plan_kv){
            .bytes_per_token = at->token_bytes,
            .bytes = at->kv_bytes,
            .fits = at->fits,
            .pinned_bytes = budget.is_paged ? at->paging.pinned_bytes
                            : at->fits      ? budget.step_bytes
                                            : 0,
        };
        parts->expert_hit_share[type] = at->paging.expert_hit_share;
    }
    for (uint32_t i = 0; i <= h.n_layer; i++)
        plan->layers[i] = (struct chord_plan_layer){parts->layers[i].n_bytes, parts->layers[i].pinned_bytes};
    if (budget.is_paged)
        plan->disk_bandwidth = probe_disk(parts->gguf, PROBE_PIECE_BYTES, 0, DISK_PROBE_SECONDS);
    if (budget.is_paged && plan->expert_step_bytes != 0)
        plan->expert_bandwidth = probe_disk(parts->gguf, budget.paging.expert_tile_bytes,
                                            budget.paging.expert_reads_per_wave, DISK_PROBE_SECONDS);
    return CHORD_OK;
}

// Seconds for n_bytes of weights of which n_absent are read from disk, at the same time. A rate of 0 is not known.
static double seconds_for(double n_bytes, double memory_rate, double n_absent, double disk_rate)
{
    const double computing = memory_rate > 0 ? n_bytes / memory_rate : 0;
    const double reading = disk_rate > 0 ? n_absent / disk_rate : 0;
    return computing > reading ? computing : reading;
}

static double seconds_per_token(const struct chord_plan *plan)
{
    const double experts = (double)plan->expert_step_bytes, others = (double)plan->step_bytes - experts;
    const double absent = (double)(plan->step_bytes - plan->pinned_bytes);
    const double absent_experts = plan->disk_bandwidth > 0 ? experts * (1 - plan->expert_hit_share) : 0;
    const double absent_others = absent > absent_experts ? absent - absent_experts : 0;
    return seconds_for(others, plan->read_bandwidth, absent_others, plan->disk_bandwidth) +
           seconds_for(experts, plan->read_bandwidth, absent_experts, plan->expert_bandwidth);
}

static void predict_for_kv_types(struct chord_plan *plan, const double *expert_hit_share)
{
    for (uint32_t type = 0; type < N_KV_TYPES; type++) {
        struct chord_plan_kv *kv = &plan->kv[type];
        struct chord_plan at_end = *plan;
        if (!kv->fits || plan->read_bandwidth <= 0)
            continue;
        at_end.pinned_bytes = kv->pinned_bytes;
        at_end.expert_hit_share = expert_hit_share[type];
        kv->seconds_per_token = seconds_per_token(&at_end) + (double)kv->bytes / plan->read_bandwidth;
    }
}

enum chord_status chord_model_plan(const char *path, const struct chord_model_options *options,
                                   const struct chord_routes *routes, struct chord_plan *out, struct chord_error *err)
{
    struct memory_account account;
    struct plan_parts parts = {0};
    memory_account_init(&account, UINT64_MAX);
    const enum chord_status status = fill_plan(out, &parts, path, options, routes, &account, err);
    memory_free(&account, parts.layers);
    tokenizer_free(parts.tokenizer);
    gguf_close(parts.gguf);
    if (status != CHORD_OK)
        return status;
    out->read_bandwidth = measure_read_bandwidth(out->n_threads);
    out->seconds_per_token = seconds_per_token(out);
    predict_for_kv_types(out, parts.expert_hit_share);
    add_warnings(out);
    return CHORD_OK;
}
