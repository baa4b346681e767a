// Routes of a mixture of experts: recorded from a model, and replayed through the policies of the expert cache.
//
//   bench_experts record MODEL MIB SEED N   writes the routes of N generated tokens, the model within MIB MiB
//   bench_experts replay FILE N...          JSON: hits of each policy with N frames, for each N
//
// A trace is text: "layers experts used", then a line of experts for each layer of each token. Layers: those that have experts.
#include "chord.h"
#include "engine/model.h"
#include "graph/uses.h"
#include "weights/expert_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "bench_experts: %s\n", what);
    return 1;
}

// ---- Recording ----------------------------------------------------------------------------------------------------------

static void print_route(void *user, uint32_t layer, const uint32_t *experts, uint32_t n_used)
{
    const bool *is_on = user;
    (void)layer;
    for (uint32_t k = 0; *is_on && k < n_used; k++)
        printf("%u%c", experts[k], k + 1 == n_used ? '\n' : ' ');
}

static int record(const char *path, uint64_t memory, uint64_t seed, uint32_t n_tokens)
{
    const struct chord_model_options options = {.memory = memory, .n_ctx = n_tokens + 64};
    uint32_t prompt[] = {17, (uint32_t)(1000 + seed % 1000), 23};
    struct chord_generate_options generate;
    struct chord_model *model;
    struct chord_job *job;
    struct chord_error err;
    struct chord_output out;
    bool is_on = false;
    if (chord_model_open(path, &options, &model, &err) != CHORD_OK)
        return fail(err.message);
    if (model->graph->n_expert == 0) {
        chord_model_close(model);
        return fail("the model has no experts");
    }
    prompt[1] %= model->hparams.n_vocab;
    chord_generate_options_init(&generate);
    generate.has_seed = true;
    generate.seed = seed;
    generate.max_tokens = n_tokens;
    generate.ignore_eos = true;
    if (chord_generate(model, prompt, 3, &generate, &job, &err) != CHORD_OK) {
        chord_model_close(model);
        return fail(err.message);
    }
    printf("%u %u %u\n", graph_count_experts(model->graph), model->graph->n_expert, model->graph->n_expert_used);
    backend_trace_routes(model->backend, print_route, &is_on);
    do {
        chord_model_run(model, 0, NULL);
        is_on = true; // the prompt's step is over
        chord_job_take(job, &out);
    } while (out.finish == CHORD_RUNNING);
    chord_job_free(job);
    chord_model_close(model);
    return 0;
}

// ---- Replaying ----------------------------------------------------------------------------------------------------------

struct trace {
    uint32_t n_layers, n_experts, n_used;
    uint32_t *experts; // [n_steps, n_used]
    uint64_t n_steps;
};

static bool read_trace(const char *path, struct trace *trace)
{
    FILE *file = fopen(path, "r");
    uint64_t capacity = 0, n = 0;
    uint32_t expert;
    *trace = (struct trace){0};
    bool good = file != NULL && fscanf(file, "%u %u %u", &trace->n_layers, &trace->n_experts, &trace->n_used) == 3 &&
                trace->n_layers > 0 && trace->n_experts > 0 && trace->n_used > 0;
    while (good && fscanf(file, "%u", &expert) == 1) {
        if (n == capacity) {
            capacity = capacity == 0 ? 1u << 16 : capacity * 2;
            uint32_t *grown = realloc(trace->experts, capacity * sizeof *grown);
            good = grown != NULL;
            trace->experts = good ? grown : trace->experts;
        }
        good = good && expert < trace->n_experts;
        if (good)
            trace->experts[n++] = expert;
    }
    if (file != NULL)
        fclose(file);
    trace->n_steps = trace->n_used == 0 ? 0 : n / trace->n_used;
    return good;
}

static bool replay(const struct trace *trace, uint32_t n_frames, enum expert_cache_policy policy, uint64_t *hits)
{
    struct memory_account account;
    struct expert_cache *cache;
    memory_account_init(&account, UINT64_MAX);
    if (expert_cache_create(&cache, trace->n_layers, trace->n_experts, n_frames, policy, &account, NULL) != CHORD_OK)
        return false;
    *hits = 0;
    for (uint64_t step = 0; step < trace->n_steps; step++) {
        const uint32_t layer = (uint32_t)(step % trace->n_layers);
        const uint32_t *experts = trace->experts + step * trace->n_used;
        expert_cache_begin_layer(cache, layer);
        // As the pager does it: those that are there are held before any is evicted.
        for (int present = 1; present >= 0; present--)
            for (uint32_t k = 0; k < trace->n_used; k++) {
                uint32_t frame = expert_cache_find(cache, layer, experts[k]);
                if ((frame != EXPERT_CACHE_NONE) != present)
                    continue;
                *hits += expert_cache_use(cache, layer, experts[k], &frame);
            }
        for (uint32_t k = 0; k < trace->n_used; k++)
            expert_cache_release(cache, layer, experts[k]);
    }
    expert_cache_free(cache);
    return true;
}

static int replay_all(const char *path, char **frames, int n)
{
    struct trace trace;
    if (!read_trace(path, &trace))
        return fail("no such trace, or not one");
    printf("{\"uses\":%llu,\"rows\":[", (unsigned long long)(trace.n_steps * trace.n_used));
    for (int i = 0; i < n; i++) {
        const uint32_t n_frames = (uint32_t)strtoul(frames[i], NULL, 10);
        uint64_t predicted, lru;
        if (n_frames == 0 || !replay(&trace, n_frames, EXPERT_CACHE_PREDICTED, &predicted) ||
            !replay(&trace, n_frames, EXPERT_CACHE_LRU, &lru))
            return fail("frames: a number of at least 1");
        printf("%s{\"frames\":%u,\"predicted\":%llu,\"lru\":%llu}", i == 0 ? "" : ",", n_frames,
               (unsigned long long)predicted, (unsigned long long)lru);
    }
    printf("]}\n");
    free(trace.experts);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "record") == 0)
        return record(argv[2], strtoull(argv[3], NULL, 10) << 20, strtoull(argv[4], NULL, 10),
                      (uint32_t)strtoul(argv[5], NULL, 10));
    if (argc >= 4 && strcmp(argv[1], "replay") == 0)
        return replay_all(argv[2], argv + 3, argc - 3);
    return fail("usage: record MODEL MIB SEED N | replay FILE N...");
}
