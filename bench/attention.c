// Speed of attention by itself: bytes of keys and values read per second for generated tokens, beside a plain read of memory;
// multiplications and additions per second for tiles of prompt rows, beside the tier's fp32 multiply-adds.
//
//     bench_attention [--tier NAME] [--threads N] [--head-dim N] [--tokens N] [--seconds S] [--rounds N]
//         [--decode 0|1] [--prompt 0|1] [--json]
//
// Decoding runs over as many layers as make more than the cache holds, KV heads side by side as graph/kv.h lays them out, on
// all threads; the rates of the threads are added up. Prompts run on one thread. Rates are by the CPU time of a thread, so that
// a core taken away by another program does not count. Rounds are interleaved and medians printed. --tokens: one context and prompt
// instead of several.
#include "graph/kv.h"
#include "kernels/kernels.h"
#include "machine.h"
#include "os/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUNDS 16
#define N_HEAD_KV 32
#define MAX_TIERS 8

static struct {
    const char *tier;
    uint32_t threads, head_dim, tokens, rounds, decode, prompt;
    double seconds;
    bool json;
} options = {.threads = 2, .head_dim = 128, .rounds = 3, .decode = 1, .prompt = 1, .seconds = 0.2};

static const uint32_t contexts[] = {512, 4096, 16384};
static const uint32_t groups[] = {1, 4, 8};
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

// ---- a cache ---------------------------------------------------------------------------------------------------------

// n_tokens of n_layer layers, in blocks of memory of their own.
struct cache {
    struct kv_layout layout;
    void **blocks;
    uint32_t n_blocks;
};

static void cache_make(struct cache *c, const struct kernels *k, enum kv_type type, uint32_t n_tokens, uint32_t n_layer,
                       uint32_t n_head_kv, uint32_t head_dim)
{
    kv_layout_init(&c->layout, type, n_layer, n_head_kv, head_dim);
    c->n_blocks = (n_tokens + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
    c->blocks = calloc(c->n_blocks, sizeof *c->blocks);
    float *x = machine_alloc(head_dim * sizeof *x);
    for (uint32_t b = 0; b < c->n_blocks; b++) {
        char *block = c->blocks[b] = machine_alloc(c->layout.block_bytes);
        const uint64_t part = c->layout.keys_bytes;
        for (uint32_t slot = 0; slot < KV_BLOCK_TOKENS; slot++) {
            for (uint32_t d = 0; d < head_dim; d++)
                x[d] = (float)((slot * 31 + d * 7 + b) % 17) * 0.125f - 1.0f;
            k->kv_store[type](x, x, head_dim, slot, block, block + part);
        }
        for (uint64_t at = 2 * part; at < c->layout.block_bytes; at += 2 * part)
            memcpy(block + at, block, 2 * part);
    }
    free(x);
}

static void cache_free(struct cache *c)
{
    for (uint32_t b = 0; b < c->n_blocks; b++)
        free(c->blocks[b]);
    free(c->blocks);
}

// ---- generated tokens ------------------------------------------------------------------------------------------------

struct decode {
    const struct kernels *kernels;
    const struct cache *cache;
    uint32_t n_q, n_tokens;
    double seconds;
    _Atomic uint32_t next; // chunk: layer, span, head
};

static double decode_on_thread(void *context, uint32_t index, uint32_t n_threads)
{
    struct decode *job = context;
    const struct kv_layout *kv = &job->cache->layout;
    const uint32_t n_spans = (job->n_tokens + KV_SPAN_TOKENS - 1) / KV_SPAN_TOKENS, head_dim = kv->head_dim;
    const uint32_t n_chunks = kv->n_layer * n_spans * kv->n_head_kv;
    (void)index;
    (void)n_threads;
    float *q = machine_alloc(job->n_q * head_dim * sizeof *q);
    float *partials = machine_alloc((uint64_t)job->n_q * attention_partial_floats(head_dim) * sizeof *partials);
    void *scratch = machine_alloc(attention_scratch_bytes(head_dim));
    for (uint32_t i = 0; i < job->n_q * head_dim; i++)
        q[i] = (float)(i % 13) * 0.1f - 0.6f;
    double bytes = 0.0;
    const double start = machine_cpu_seconds();
    do {
        const uint32_t first = atomic_fetch_add(&job->next, 4);
        for (uint32_t i = first; i < first + 4; i++) {
            const uint32_t chunk = i % n_chunks, head = chunk % kv->n_head_kv, span = chunk / kv->n_head_kv % n_spans;
            const uint32_t layer = chunk / kv->n_head_kv / n_spans;
            const uint32_t end = job->n_tokens - span * KV_SPAN_TOKENS;
            const struct attention_args args = {
                .q = q,
                .n_rows = 1,
                .n_q = job->n_q,
                .head_dim = head_dim,
                .scale = 0.088f,
                .position = job->n_tokens - 1,
                .blocks = (const void *const *)job->cache->blocks,
                .k_offset = kv_keys_at(kv, layer, head),
                .v_offset = kv_values_at(kv, layer, head),
                .partials = partials,
                .partial_stride = attention_partial_floats(head_dim),
                .span = span,
                .next = i + 1 < first + 4 && head + 1 < kv->n_head_kv
                            ? (const char *)job->cache->blocks[span * (KV_SPAN_TOKENS / KV_BLOCK_TOKENS)] +
                                  kv_keys_at(kv, layer, head + 1)
                            : NULL,
                .scratch = scratch,
            };
            job->kernels->attention[kv->type](&args);
            bytes += 2.0 * (double)kv->keys_bytes / KV_BLOCK_TOKENS * (end < KV_SPAN_TOKENS ? end : KV_SPAN_TOKENS);
        }
    } while (machine_cpu_seconds() - start < job->seconds);
    const double rate = bytes / (machine_cpu_seconds() - start);
    free(q);
    free(partials);
    free(scratch);
    return rate;
}

// What separates one object of a JSON list from the one before; `first` is cleared.
static const char *separator(bool *first)
{
    const char *text = *first ? "" : ",";
    *first = false;
    return text;
}

static const char *name_of(enum kv_type type)
{
    return type == KV_F16 ? "f16" : "q8_0";
}

// Of one query head for each byte of keys and values: a product and a sum for each element of both.
static double operations_per_byte(const struct cache *cache)
{
    return 4.0 * cache->layout.head_dim * KV_BLOCK_TOKENS / (2.0 * (double)cache->layout.keys_bytes);
}

// peaks[t]: GFLOPS of all threads together.
static void print_decode(const struct kernels *const *tiers, const double *peaks, uint32_t n_tiers)
{
    static double rates[MAX_TIERS][LENGTH(groups)][MAX_ROUNDS], reads[MAX_ROUNDS];
    const uint64_t buffer_bytes = machine_buffer_bytes();
    uint8_t *buffer = machine_buffer(buffer_bytes);
    machine_read *read = machine_widest_read();
    bool first = true;
    if (options.json)
        printf(",\n  \"decode\": [");
    for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++)
        for (uint32_t i = 0; i < (options.tokens != 0 ? 1 : LENGTH(contexts)); i++) {
            struct cache cache;
            const uint32_t n_tokens = options.tokens != 0 ? options.tokens : contexts[i];
            // At least a GiB of cache, however long the context.
            const uint64_t layer_bytes =
                2 * N_HEAD_KV * kv_part_bytes(type, options.head_dim) / KV_BLOCK_TOKENS * n_tokens;
            const uint32_t n_layer = (uint32_t)((1u << 30) / layer_bytes) + 1;
            cache_make(&cache, tiers[0], type, n_tokens, n_layer, N_HEAD_KV, options.head_dim);
            for (uint32_t round = 0; round < options.rounds; round++) {
                reads[round] = machine_read_rate(read, buffer, buffer_bytes, options.threads, options.seconds);
                for (uint32_t t = 0; t < n_tiers; t++)
                    for (uint32_t g = 0; g < LENGTH(groups); g++) {
                        struct decode job = {.kernels = tiers[t],
                                             .cache = &cache,
                                             .n_q = groups[g],
                                             .n_tokens = n_tokens,
                                             .seconds = options.seconds};
                        rates[t][g][round] = machine_on_threads(options.threads, decode_on_thread, &job);
                    }
            }
            const double plain = machine_median(reads, options.rounds), per_byte = operations_per_byte(&cache);
            if (!options.json)
                printf("%s, %u tokens, %u threads; plain read %.1f GB/s\n", name_of(type), n_tokens, options.threads,
                       plain * 1e-9);
            for (uint32_t t = 0; t < n_tiers; t++) {
                if (!options.json)
                    printf("  %-11s", tiers[t]->tier);
                for (uint32_t g = 0; g < LENGTH(groups); g++) {
                    const double rate = machine_median(rates[t][g], options.rounds);
                    const double gflops = rate * per_byte * groups[g] * 1e-9;
                    if (options.json)
                        printf("%s\n    {\"tier\": \"%s\", \"kv\": \"%s\", \"tokens\": %u, \"queries\": %u, \"gbps\": "
                               "%.2f, "
                               "\"share\": %.3f, \"gflops\": %.2f, \"peakShare\": %.3f}",
                               separator(&first), tiers[t]->tier, name_of(type), n_tokens, groups[g], rate * 1e-9,
                               rate / plain, gflops, peaks[t] > 0.0 ? gflops / peaks[t] : 0.0);
                    else
                        printf("  G=%u %5.1f GB/s (%2.0f%%)", groups[g], rate * 1e-9, 100.0 * rate / plain);
                }
                if (!options.json)
                    printf("\n");
            }
            cache_free(&cache);
        }
    if (options.json)
        printf("\n  ]");
}

// ---- prompts ---------------------------------------------------------------------------------------------------------

// A whole prompt of n_tokens in tiles, for one KV head. Operations are those of the visible keys.
static double prompt_gflops(const struct kernels *k, const struct cache *cache, uint32_t n_q, uint32_t n_tokens)
{
    const uint32_t head_dim = cache->layout.head_dim, tile = ATTENTION_MAX_COLUMNS / n_q;
    const uint64_t stride = (uint64_t)n_q * head_dim;
    float *q = machine_alloc(n_tokens * stride * sizeof *q), *out = machine_alloc(n_tokens * stride * sizeof *out);
    void *scratch = machine_alloc(attention_scratch_bytes(head_dim));
    for (uint64_t i = 0; i < n_tokens * stride; i++)
        q[i] = (float)(i % 13) * 0.1f - 0.6f;
    double ops = 0.0, spent;
    const double start = machine_cpu_seconds();
    do {
        for (uint32_t row = 0; row < n_tokens; row += tile) {
            const struct attention_args args = {
                .q = q + row * stride,
                .out = out + row * stride,
                .row_stride = stride,
                .n_rows = n_tokens - row < tile ? n_tokens - row : tile,
                .n_q = n_q,
                .head_dim = head_dim,
                .scale = 0.088f,
                .position = row,
                .blocks = (const void *const *)cache->blocks,
                .k_offset = kv_keys_at(&cache->layout, 0, 0),
                .v_offset = kv_values_at(&cache->layout, 0, 0),
                .scratch = scratch,
            };
            k->attention[cache->layout.type](&args);
        }
        ops += 4.0 * n_q * head_dim * ((double)n_tokens * (n_tokens + 1) / 2);
        spent = machine_cpu_seconds() - start;
    } while (spent < options.seconds);
    free(q);
    free(out);
    free(scratch);
    return ops / spent * 1e-9;
}

static void print_prompts(const struct kernels *k, double peak, bool *first)
{
    static const uint32_t lengths[] = {128, 512, 2048};
    static double rates[N_KV_TYPES][2][LENGTH(lengths)][LENGTH(groups)][MAX_ROUNDS];
    static const uint32_t head_dims[2] = {64, 128};
    struct cache caches[N_KV_TYPES][2];
    const uint32_t n_lengths = options.tokens != 0 ? 1 : LENGTH(lengths);
    for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++)
        for (int d = 0; d < 2; d++)
            cache_make(&caches[type][d], k, type, options.tokens > 2048 ? options.tokens : 2048, 1, 1, head_dims[d]);
    for (uint32_t round = 0; round < options.rounds; round++)
        for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++)
            for (int d = 0; d < 2; d++)
                for (uint32_t i = 0; i < n_lengths; i++)
                    for (uint32_t g = 0; g < LENGTH(groups); g++)
                        rates[type][d][i][g][round] = prompt_gflops(k, &caches[type][d], groups[g],
                                                                    options.tokens != 0 ? options.tokens : lengths[i]);
    for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++)
        for (int d = 0; d < 2; d++) {
            for (uint32_t i = 0; i < n_lengths; i++) {
                const uint32_t n_tokens = options.tokens != 0 ? options.tokens : lengths[i];
                if (!options.json)
                    printf("  %-4s head_dim %3u, %4u tokens", name_of(type), head_dims[d], n_tokens);
                for (uint32_t g = 0; g < LENGTH(groups); g++) {
                    const double rate = machine_median(rates[type][d][i][g], options.rounds);
                    const double share = peak > 0.0 ? rate / peak : 0.0;
                    if (options.json)
                        printf("%s\n    {\"tier\": \"%s\", \"kv\": \"%s\", \"headDim\": %u, \"tokens\": %u, "
                               "\"queries\": %u, "
                               "\"gflops\": %.2f, \"share\": %.3f}",
                               separator(first), k->tier, name_of(type), head_dims[d], n_tokens, groups[g], rate,
                               share);
                    else
                        printf("  G=%u %5.1f (%2.0f%%)", groups[g], rate, 100.0 * share);
                }
                if (!options.json)
                    printf("\n");
            }
            cache_free(&caches[type][d]);
        }
}

// GFLOPS of fp32 on vectors: what the products of attention are.
static double peak_gflops(uint32_t features, uint32_t n_threads)
{
    double rates[MAX_ROUNDS];
    for (uint32_t round = 0; round < options.rounds; round++)
        rates[round] = machine_peak_rate(machine_fp32_peak(features), n_threads, options.seconds) * 1e-9;
    return machine_median(rates, options.rounds);
}

int main(int argc, char **argv)
{
    // The only option without a value comes last.
    if (argc > 1 && strcmp(argv[argc - 1], "--json") == 0) {
        options.json = true;
        argc--;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        const uint32_t number = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--tier") == 0)
            options.tier = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0)
            options.threads = number;
        else if (strcmp(argv[i], "--head-dim") == 0)
            options.head_dim = number;
        else if (strcmp(argv[i], "--tokens") == 0)
            options.tokens = number;
        else if (strcmp(argv[i], "--rounds") == 0)
            options.rounds = number;
        else if (strcmp(argv[i], "--decode") == 0)
            options.decode = number;
        else if (strcmp(argv[i], "--prompt") == 0)
            options.prompt = number;
        else if (strcmp(argv[i], "--seconds") == 0)
            options.seconds = strtod(argv[i + 1], NULL);
        else
            argc = 0;
    }
    if (argc % 2 != 1 || options.threads == 0 || options.threads > MACHINE_MAX_THREADS || options.head_dim == 0 ||
        options.head_dim > 512 || options.rounds == 0 || options.rounds > MAX_ROUNDS) {
        fprintf(stderr, "see the head of bench/attention.c for the options; --rounds 1 to %d\n", MAX_ROUNDS);
        return 1;
    }
    static struct kernels tables[MAX_TIERS];
    const struct kernels *tiers[MAX_TIERS];
    uint32_t n_tiers = 0, features[MAX_TIERS];
    for (const char *const *name = kernels_tier_names(); *name != NULL && n_tiers < MAX_TIERS; name++) {
        // The scalar tier is slow: only when asked for.
        if (options.tier != NULL ? strcmp(*name, options.tier) != 0 : strcmp(*name, "scalar") == 0)
            continue;
        if (!kernels_features_of_tier(*name, cpu_features(), &features[n_tiers]))
            continue;
        kernels_init(&tables[n_tiers], features[n_tiers]);
        // Tiers of the same functions count once.
        if (n_tiers > 0 && tables[n_tiers].attention[KV_F16] == tables[n_tiers - 1].attention[KV_F16])
            continue;
        tiers[n_tiers] = &tables[n_tiers];
        n_tiers++;
    }
    if (n_tiers == 0) {
        fprintf(stderr, "this CPU or this build has no such tier\n");
        return 1;
    }
    double peaks[MAX_TIERS][2]; // of one thread, of all
    for (uint32_t t = 0; t < n_tiers; t++) {
        peaks[t][0] = peak_gflops(features[t], 1);
        peaks[t][1] = peak_gflops(features[t], options.threads);
    }
    bool first = true;
    if (options.json)
        printf("{\n  \"threads\": %u, \"headDim\": %u, \"peak\": {", options.threads, options.head_dim);
    for (uint32_t t = 0; t < n_tiers; t++) {
        const struct machine_peak *peak = machine_fp32_peak(features[t]);
        const char *instruction = peak != NULL ? peak->instruction : "none";
        if (options.json)
            printf("%s\"%s\": {\"instruction\": \"%s\", \"gflops1\": %.1f, \"gflops\": %.1f}", t == 0 ? "" : ", ",
                   tiers[t]->tier, instruction, peaks[t][0], peaks[t][1]);
    }
    if (options.json)
        printf("},\n  \"prompt\": [");
    for (uint32_t t = 0; options.prompt != 0 && t < n_tiers; t++) {
        if (!options.json)
            printf("prompts, %s, one thread, GFLOPS; peak %.0f\n", tiers[t]->tier, peaks[t][0]);
        print_prompts(tiers[t], peaks[t][0], &first);
    }
    if (options.json)
        printf("\n  ]");
    double all[MAX_TIERS];
    for (uint32_t t = 0; t < n_tiers; t++)
        all[t] = peaks[t][1];
    if (options.decode != 0)
        print_decode(tiers, all, n_tiers);
    if (options.json)
        printf("\n}\n");
    return 0;
}
