// Speed of the kernels by themselves: weights streamed from memory by each type's matvec on each tier, beside the rate at
// which a loop that does nothing else reads the same memory in the same run; and the time of the other operations on data in cache.
//
//     kernels [--tier NAME] [--type NAME] [--mb N] [--n N] [--columns N] [--threads N] [--seconds S] [--rounds N] [--json]
//
// Rates are bytes of weights per second of CPU time of each thread, added up over threads, so that a core taken away by
// another program does not count. With several rounds all measurements are interleaved and medians are printed.
#include "base/half.h"
#include "kernels/kernels.h"
#include "machine.h"
#include "os/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUNDS 16
#define MAX_RESULTS 256
#define CHUNK_BYTES (256u << 10)

static struct {
    const char *tier, *type;
    uint64_t mb, n;
    uint32_t columns, threads, rounds;
    double seconds;
    bool json;
} options = {.n = 4096, .columns = 1, .rounds = 1, .seconds = 0.1};

// ---- streaming -------------------------------------------------------------------------------------------------------

static uint8_t *memory; // options.mb MiB of weights
static uint64_t memory_bytes;
static machine_read *read_alone;
// Results of operations go here, which keeps the compiler from leaving them out.
static volatile uint64_t sink;

// What to stream: a type on a tier, or (kernels == NULL) the read alone.
struct stream {
    const struct kernels *kernels;
    const struct quant_traits *traits;
    const void *columns[MATVEC_MAX_COLUMNS];
};

// Each thread streams its own contiguous part in chunks, round and round.
static double stream_part(void *context, uint32_t index, uint32_t n_threads)
{
    const struct stream *s = context;
    const uint64_t row_bytes = options.n / s->traits->block_size * s->traits->block_bytes;
    const uint64_t rows_per_chunk = (CHUNK_BYTES + row_bytes - 1) / row_bytes;
    const uint64_t n_chunks = memory_bytes / n_threads / (rows_per_chunk * row_bytes);
    const uint8_t *part = memory + index * (memory_bytes / n_threads);
    float *out[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++)
        out[c] = machine_alloc(rows_per_chunk * sizeof(float));

    const double start = machine_seconds(), cpu_start = machine_cpu_seconds();
    uint64_t bytes = 0;
    // Starts in the middle of its part, which the measurement before did not leave in a cache.
    for (uint64_t chunk = n_chunks / 2; machine_seconds() - start < options.seconds; chunk = (chunk + 1) % n_chunks) {
        const uint8_t *p = part + chunk * rows_per_chunk * row_bytes;
        s->kernels->matvec[s->traits->type](p, row_bytes, rows_per_chunk, options.n, s->columns, options.columns, out,
                                            PREFETCH_DEFAULT);
        bytes += rows_per_chunk * row_bytes;
    }
    const double rate = (double)bytes / (machine_cpu_seconds() - cpu_start);
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++)
        free(out[c]);
    return rate;
}

// Bytes per second of all threads together.
static double stream_rate(struct stream *s, uint32_t n_threads)
{
    if (s->kernels == NULL)
        return machine_read_rate(read_alone, memory, memory_bytes, n_threads, options.seconds);
    return machine_on_threads(n_threads, stream_part, s);
}

// ---- results ---------------------------------------------------------------------------------------------------------

struct result {
    struct stream stream;
    double one[MAX_ROUNDS], all[MAX_ROUNDS]; // bytes per second: one thread, options.threads
};

static void print_stream(const struct result *r, double one, double all, double read_one, double read_all, bool first)
{
    const char *tier = r->stream.kernels != NULL ? r->stream.kernels->tier : "read";
    const char *type = r->stream.kernels != NULL ? r->stream.traits->name : "";
    if (options.json)
        printf("%s\n    {\"tier\": \"%s\", \"type\": \"%s\", \"gbps1\": %.3f, \"share1\": %.3f, \"gbps\": %.3f, "
               "\"share\": %.3f}",
               first ? "" : ",", tier, type, one * 1e-9, one / read_one, all * 1e-9, all / read_all);
    else
        printf("%-11s %-5s %8.2f GB/s %4.0f %%   %8.2f GB/s %4.0f %%\n", tier, type, one * 1e-9, 100 * one / read_one,
               all * 1e-9, 100 * all / read_all);
}

// ---- operations in cache ---------------------------------------------------------------------------------------------

enum operation {
    OP_QUANTIZE_32,
    OP_QUANTIZE_256,
    OP_RMS_NORM,
    OP_ROPE_NORMAL,
    OP_ROPE_NEOX,
    OP_SILU,
    OP_GELU,
    OP_ADD,
    OP_MAX,
    OP_SUM_EXP,
    OP_ATTENTION_1,
    OP_ATTENTION_4,
    OP_ATTENTION_8,
    N_OPERATIONS
};

static const struct {
    const char *name;
    uint64_t n; // elements; keys for attention
} operations[N_OPERATIONS] = {
    [OP_QUANTIZE_32] = {"quantize per 32, 4096", 4096},
    [OP_QUANTIZE_256] = {"quantize per 256, 4096", 4096},
    [OP_RMS_NORM] = {"rms_norm 4096", 4096},
    [OP_ROPE_NORMAL] = {"rope normal 32 x 128", 4096},
    [OP_ROPE_NEOX] = {"rope neox 32 x 128", 4096},
    [OP_SILU] = {"silu 11008", 11008},
    [OP_GELU] = {"gelu 11008", 11008},
    [OP_ADD] = {"add 4096", 4096},
    [OP_MAX] = {"max 131072", 131072},
    [OP_SUM_EXP] = {"sum_exp 131072", 131072},
    [OP_ATTENTION_1] = {"attention 1 x 128, 1024 keys", 1024},
    [OP_ATTENTION_4] = {"attention 4 x 128, 1024 keys", 1024},
    [OP_ATTENTION_8] = {"attention 8 x 128, 1024 keys", 1024},
};

#define HEAD_DIM 128
#define MAX_ELEMENTS 131072

struct operands {
    float *a, *b, *out;
    void *prepared;
    const void *blocks[1024 / KV_BLOCK_TOKENS];
    void *scratch; // of attention
};

static void run_operation(const struct kernels *k, enum operation op, const struct operands *o)
{
    const uint64_t n = operations[op].n;
    switch (op) {
    case OP_QUANTIZE_32:
        k->activation[ACTIVATION_Q8_PER_32].quantize(o->a, o->prepared, n);
        break;
    case OP_QUANTIZE_256:
        k->activation[ACTIVATION_Q8_PER_256].quantize(o->a, o->prepared, n);
        break;
    case OP_RMS_NORM:
        k->rms_norm(o->a, o->b, 1e-5f, o->out, n);
        break;
    case OP_ROPE_NORMAL:
    case OP_ROPE_NEOX: // sines and cosines of the same number: lengths stay bounded, as 0.6^2 + 0.8^2 = 1
        k->rope(o->out, 32, HEAD_DIM, HEAD_DIM, op == OP_ROPE_NORMAL ? ROPE_NORMAL : ROPE_NEOX, o->b + 4096,
                o->b + 8192);
        break;
    case OP_SILU:
        k->glu[GLU_SILU](o->a, o->b, o->out, n);
        break;
    case OP_GELU:
        k->glu[GLU_GELU](o->a, o->b, o->out, n);
        break;
    case OP_ADD:
        k->add(o->a, o->b, o->out, n);
        break;
    case OP_MAX:
        sink = (uint64_t)k->max(o->a, n);
        break;
    case OP_SUM_EXP:
        sink = (uint64_t)k->sum_exp(o->a, 4.0f, n);
        break;
    default: {
        const struct attention_args args = {
            .q = o->a,
            .n_q = op == OP_ATTENTION_1   ? 1
                   : op == OP_ATTENTION_4 ? 4
                                          : 8,
            .head_dim = HEAD_DIM,
            .scale = 0.088f,
            .blocks = o->blocks,
            .v_offset = (uint64_t)KV_BLOCK_TOKENS * HEAD_DIM * sizeof(uint16_t),
            .n_rows = 1,
            .position = (uint32_t)n - 1,
            .out = o->out,
            .scratch = o->scratch,
        };
        k->attention[KV_F16](&args);
        break;
    }
    }
}

static double operation_seconds(const struct kernels *k, enum operation op, const struct operands *o)
{
    const double wanted = options.seconds / 5;
    uint64_t runs = 1;
    for (;;) {
        const double start = machine_cpu_seconds();
        for (uint64_t i = 0; i < runs; i++)
            run_operation(k, op, o);
        const double took = machine_cpu_seconds() - start;
        if (took >= wanted)
            return took / (double)runs;
        runs *= took < wanted / 16 ? 8 : 2;
    }
}

static struct operands make_operands(void)
{
    const uint64_t block_bytes = (uint64_t)2 * KV_BLOCK_TOKENS * HEAD_DIM * sizeof(uint16_t);
    struct operands o = {
        .a = machine_alloc(MAX_ELEMENTS * sizeof(float)),
        .b = machine_alloc(MAX_ELEMENTS * sizeof(float)),
        .out = machine_alloc(MAX_ELEMENTS * sizeof(float)),
        .prepared = machine_alloc(MAX_ELEMENTS * sizeof(float)),
    };
    for (uint64_t i = 0; i < MAX_ELEMENTS; i++) {
        o.a[i] = (float)(i % 257) / 32.0f - 4.0f;
        o.b[i] = i >= 8192 ? 0.6f : i >= 4096 ? 0.8f : (float)(i % 31) / 32.0f;
        o.out[i] = 0.5f;
    }
    o.scratch = machine_alloc(attention_scratch_bytes(HEAD_DIM));
    for (size_t b = 0; b < sizeof o.blocks / sizeof o.blocks[0]; b++) {
        uint16_t *block = machine_alloc(block_bytes);
        for (uint64_t i = 0; i < block_bytes / sizeof *block; i++)
            block[i] = half_from_float((float)(i % 101) / 64.0f - 0.7f);
        o.blocks[b] = block;
    }
    return o;
}

static void bench_operations(const struct kernels *tiers, size_t n_tiers)
{
    const struct operands o = make_operands();
    if (options.json)
        printf(",\n  \"operations\": [");
    else
        printf("\nnanoseconds per call, one thread, data in cache\n");
    bool first = true;
    for (size_t t = 0; t < n_tiers; t++) {
        for (int op = 0; op < N_OPERATIONS; op++) {
            const double ns = 1e9 * operation_seconds(&tiers[t], (enum operation)op, &o);
            if (options.json)
                printf("%s\n    {\"tier\": \"%s\", \"operation\": \"%s\", \"ns\": %.1f}", first ? "" : ",",
                       tiers[t].tier, operations[op].name, ns);
            else
                printf("%-11s %-30s %12.0f ns %8.3f per element\n", tiers[t].tier, operations[op].name, ns,
                       ns / (double)operations[op].n);
            first = false;
        }
    }
    if (options.json)
        printf("\n  ]");
    free(o.a);
    free(o.b);
    free(o.out);
    free(o.prepared);
    free(o.scratch);
    for (size_t b = 0; b < sizeof o.blocks / sizeof o.blocks[0]; b++)
        free((void *)(uintptr_t)o.blocks[b]);
}

// ---- main ------------------------------------------------------------------------------------------------------------

static void prepare_columns(struct stream *s)
{
    const struct activation_kernel *prepare = &s->kernels->activation[s->traits->activation];
    float *x = machine_alloc(options.n * sizeof *x);
    for (uint32_t c = 0; c < options.columns; c++) {
        for (uint64_t i = 0; i < options.n; i++)
            x[i] = (float)((i * 7 + c) % 255) / 64.0f - 2.0f;
        void *column = machine_alloc(prepare->bytes(options.n));
        prepare->quantize(x, column, options.n);
        s->columns[c] = column;
    }
    free(x);
}

static uint64_t number(const char *option, const char *text, uint64_t low, uint64_t high)
{
    char *end;
    const unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;
    if (text == NULL || *end != '\0' || value < low || value > high) {
        fprintf(stderr, "%s takes a number from %llu to %llu\n", option, (unsigned long long)low,
                (unsigned long long)high);
        exit(2);
    }
    return value;
}

static void parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--json") == 0) {
            options.json = true;
            continue;
        }
        i++;
        if (strcmp(name, "--tier") == 0 && value != NULL)
            options.tier = value;
        else if (strcmp(name, "--type") == 0 && value != NULL)
            options.type = value;
        else if (strcmp(name, "--mb") == 0)
            options.mb = number(name, value, 16, 1 << 20);
        else if (strcmp(name, "--n") == 0)
            options.n = number(name, value, 256, 65536) / 256 * 256;
        else if (strcmp(name, "--columns") == 0)
            options.columns = (uint32_t)number(name, value, 1, MATVEC_MAX_COLUMNS);
        else if (strcmp(name, "--threads") == 0)
            options.threads = (uint32_t)number(name, value, 1, MACHINE_MAX_THREADS);
        else if (strcmp(name, "--rounds") == 0)
            options.rounds = (uint32_t)number(name, value, 1, MAX_ROUNDS);
        else if (strcmp(name, "--seconds") == 0 && value != NULL && strtod(value, NULL) > 0.0)
            options.seconds = strtod(value, NULL);
        else {
            fprintf(stderr, "unknown or incomplete option %s; see the head of bench/kernels.c\n", name);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct kernels tiers[8];
    static struct result results[MAX_RESULTS];
    size_t n_tiers = 0, n_results = 1; // results[0]: the read alone
    options.threads = cpu_count();
    parse_options(argc, argv);
    for (const char *const *name = kernels_tier_names(); *name != NULL; name++) {
        uint32_t features;
        if ((options.tier == NULL || strcmp(options.tier, *name) == 0) &&
            kernels_features_of_tier(*name, cpu_features(), &features))
            kernels_init(&tiers[n_tiers++], features);
    }
    for (size_t t = 0; t < n_tiers; t++) {
        for (uint32_t id = 0; id < N_QUANT_TYPE_IDS; id++) {
            const struct quant_traits *traits = quant_traits(id);
            if (traits == NULL || (options.type != NULL && strcmp(options.type, traits->name) != 0) ||
                n_results == MAX_RESULTS)
                continue;
            results[n_results].stream = (struct stream){.kernels = &tiers[t], .traits = traits};
            prepare_columns(&results[n_results++].stream);
        }
    }
    if (n_results == 1) {
        fprintf(stderr, "nothing to measure: no such tier on this machine, or no such type\n");
        return 2;
    }
    memory_bytes = options.mb != 0 ? options.mb << 20 : machine_buffer_bytes();
    memory = machine_buffer(memory_bytes);
    read_alone = machine_widest_read();
    for (uint32_t round = 0; round < options.rounds; round++) {
        for (size_t i = 0; i < n_results; i++) {
            results[i].one[round] = stream_rate(&results[i].stream, 1);
            results[i].all[round] = stream_rate(&results[i].stream, options.threads);
        }
    }

    char cpu[64];
    cpu_name(cpu, sizeof cpu);
    if (options.json)
        printf("{\n  \"cpu\": \"%s\", \"mb\": %llu, \"n\": %llu, \"columns\": %u, \"threads\": %u, \"rounds\": %u,\n  "
               "\"matvec\": [",
               cpu, (unsigned long long)(memory_bytes >> 20), (unsigned long long)options.n, options.columns,
               options.threads, options.rounds);
    else
        printf("%s: rows of %llu, %u column(s), %llu MiB\n%-17s %13s      %10u thread(s)\n", cpu,
               (unsigned long long)options.n, options.columns, (unsigned long long)(memory_bytes >> 20), "", "1 thread",
               options.threads);
    const double read_one = machine_median(results[0].one, options.rounds),
                 read_all = machine_median(results[0].all, options.rounds);
    for (size_t i = 0; i < n_results; i++) {
        const double one = i == 0 ? read_one : machine_median(results[i].one, options.rounds);
        const double all = i == 0 ? read_all : machine_median(results[i].all, options.rounds);
        print_stream(&results[i], one, all, read_one, read_all, i == 0);
    }
    if (options.json)
        printf("\n  ]");
    if (options.type == NULL)
        bench_operations(tiers, n_tiers);
    if (options.json)
        printf("\n}\n");
    for (size_t i = 1; i < n_results; i++)
        for (uint32_t c = 0; c < options.columns; c++)
            free((void *)(uintptr_t)results[i].stream.columns[c]);
    return 0;
}
