// Speed of the GEMM by itself: one thread, weights in the layout of the file, unpacking included; beside the rate of a
// plain loop of the products that the tier uses in the same run.
//
//     bench_gemm [--tier NAME] [--type NAME] [--rows N] [--n N] [--columns N,N,...] [--chunk ROWS] [--seconds S] [--rounds N]
//           [--json]
//
// GOPS are 10^9 multiplications and additions per second of the thread's CPU time, so that a core taken away by
// another program does not count. Rounds are interleaved and medians printed, the share of the peak in parentheses.
#include "base/half.h"
#include "kernels/kernels.h"
#include "machine.h"
#include "os/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COUNTS 8
#define MAX_ROUNDS 16
#define MAX_TYPES 16

static struct {
    const char *tier, *type;
    uint64_t rows, n, chunk;
    uint64_t columns[MAX_COUNTS];
    uint32_t n_counts, rounds;
    double seconds;
    bool json;
} options = {
    .rows = 4096, .n = 4096, .chunk = 64, .columns = {6, 16, 64, 128, 512}, .n_counts = 5, .rounds = 1, .seconds = 0.1};

// ---- the GEMM --------------------------------------------------------------------------------------------------------

static struct kernels kernels;

// Blocks of pseudo-random values; of types that chord does not write, pseudo-random bytes, whatever scales they give.
static void fill_weights(const struct quant_traits *traits, uint8_t *w, uint64_t rows, uint64_t row_bytes, uint64_t n)
{
    float *x = machine_alloc(n * sizeof *x);
    uint64_t state = 88172645463325252u;
    for (uint64_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        x[i] = (float)(int64_t)state * 0x1p-63f;
    }
    if (traits->quantize_row != NULL)
        traits->quantize_row(x, w, n);
    else
        for (uint64_t i = 0; i < row_bytes; i++)
            w[i] = (uint8_t)(bits_from_float(x[i % n]) >> 8);
    for (uint64_t r = 1; r < rows; r++)
        memcpy(w + r * row_bytes, w, row_bytes);
    free(x);
}

static double measure_gemm(const struct quant_traits *traits, const uint8_t *w, uint64_t row_bytes, const void *columns,
                           uint64_t column_bytes, uint64_t n_columns, float *out, void *scratch)
{
    gemm_kernel *multiply = kernels.gemm.multiply[traits->type];
    double ops = 0.0, spent;
    const double start = machine_cpu_seconds();
    uint64_t r = 0;
    do {
        const uint64_t n_rows = options.rows - r < options.chunk ? options.rows - r : options.chunk;
        multiply(w + r * row_bytes, row_bytes, n_rows, options.n, columns, column_bytes, n_columns, out + r,
                 options.rows, scratch);
        ops += 2.0 * (double)(n_rows * n_columns) * (double)options.n;
        r = r + n_rows == options.rows ? 0 : r + n_rows;
        spent = machine_cpu_seconds() - start;
    } while (spent < options.seconds || (r != 0 && spent < 4 * options.seconds));
    return ops / spent * 1e-9;
}

struct measured {
    const struct quant_traits *traits;
    uint8_t *w;
    uint64_t row_bytes, column_bytes;
    void *columns;
    double gops[MAX_COUNTS][MAX_ROUNDS];
};

static void prepare(struct measured *m, uint64_t n_columns)
{
    const struct gemm_column_kernel *column = &kernels.gemm.columns[m->traits->activation];
    m->row_bytes = options.n / m->traits->block_size * m->traits->block_bytes;
    m->column_bytes = column->bytes(options.n);
    m->w = machine_alloc(options.rows * m->row_bytes);
    m->columns = machine_alloc(n_columns * m->column_bytes);
    fill_weights(m->traits, m->w, options.rows, m->row_bytes, options.n);
    float *x = machine_alloc(options.n * sizeof *x);
    for (uint64_t c = 0; c < n_columns; c++) {
        for (uint64_t i = 0; i < options.n; i++)
            x[i] = (float)(((i * 2654435761u + c * 40503u) >> 7) % 255) - 127.0f;
        column->prepare(x, (uint8_t *)m->columns + c * m->column_bytes, options.n);
    }
    free(x);
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
            i--;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--tier") == 0) {
            options.tier = value;
        } else if (strcmp(argv[i], "--type") == 0) {
            options.type = value;
        } else if (strcmp(argv[i], "--rows") == 0) {
            options.rows = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--n") == 0) {
            options.n = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--chunk") == 0) {
            options.chunk = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            options.seconds = strtod(value, NULL);
        } else if (strcmp(argv[i], "--rounds") == 0) {
            options.rounds = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "--columns") == 0) {
            options.n_counts = 0;
            for (char *end; *value != '\0' && options.n_counts < MAX_COUNTS; value = *end == ',' ? end + 1 : end) {
                options.columns[options.n_counts++] = strtoull(value, &end, 10);
                if (end == value)
                    break;
            }
        } else {
            fprintf(stderr, "unknown option %s; see the head of bench/gemm.c\n", argv[i]);
            exit(1);
        }
    }
    if (options.n == 0 || options.n % 256 != 0 || options.rows == 0 || options.chunk == 0 || options.rounds == 0 ||
        options.rounds > MAX_ROUNDS || options.n_counts == 0) {
        fprintf(stderr, "--n is a multiple of 256, --rounds 1 to %d\n", MAX_ROUNDS);
        exit(1);
    }
}

static void print_head(const struct machine_peak *const *peaks, const double *peak_gops)
{
    const char *names[2];
    for (int p = 0; p < 2; p++)
        names[p] = peaks[p] != NULL ? peaks[p]->instruction : "none";
    if (options.json) {
        printf("{\n  \"tier\": \"%s\", \"rows\": %llu, \"n\": %llu, \"chunk\": %llu, \"rounds\": %u,\n"
               "  \"quantized\": {\"instruction\": \"%s\", \"gops\": %.1f}, \"float\": {\"instruction\": \"%s\", "
               "\"gops\": "
               "%.1f},\n"
               "  \"gemm\": [",
               kernels.tier, (unsigned long long)options.rows, (unsigned long long)options.n,
               (unsigned long long)options.chunk, options.rounds, names[0], peak_gops[0], names[1], peak_gops[1]);
        return;
    }
    printf("tier %s, %llu x %llu weights, chunks of %llu rows, one thread, GOPS\n", kernels.tier,
           (unsigned long long)options.rows, (unsigned long long)options.n, (unsigned long long)options.chunk);
    for (int p = 0; p < 2; p++)
        printf("peak for %s: %.0f (%s)\n", p == 0 ? "quantized types" : "float types", peak_gops[p], names[p]);
    printf("%-6s", "");
    for (uint32_t i = 0; i < options.n_counts; i++)
        printf("  N=%-8llu", (unsigned long long)options.columns[i]);
    printf("\n");
}

static void print_type(struct measured *m, double peak_gops, bool first)
{
    if (!options.json)
        printf("%-6s", m->traits->name);
    for (uint32_t i = 0; i < options.n_counts; i++) {
        const double gops = machine_median(m->gops[i], options.rounds);
        const double share = peak_gops > 0.0 ? gops / peak_gops : 0.0;
        if (options.json)
            printf("%s\n    {\"type\": \"%s\", \"columns\": %llu, \"gops\": %.1f, \"share\": %.3f}",
                   first && i == 0 ? "" : ",", m->traits->name, (unsigned long long)options.columns[i], gops, share);
        else
            printf("  %4.0f (%2.0f%%)", gops, 100.0 * share);
    }
    if (!options.json)
        printf("\n");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    uint32_t features = cpu_features();
    if (options.tier != NULL && !kernels_features_of_tier(options.tier, cpu_features(), &features)) {
        fprintf(stderr, "this CPU or this build has no tier %s\n", options.tier);
        return 1;
    }
    kernels_init(&kernels, features);

    // Of quantized types and of float types.
    const struct machine_peak *peaks[2] = {machine_product_peak(features, false), machine_product_peak(features, true)};
    double peak_rates[2][MAX_ROUNDS];

    static struct measured all[MAX_TYPES];
    uint32_t n_types = 0;
    uint64_t max_columns = 0;
    for (uint32_t i = 0; i < options.n_counts; i++)
        max_columns = options.columns[i] > max_columns ? options.columns[i] : max_columns;
    for (uint32_t id = 0; id < GEMM_TYPE_IDS; id++) {
        const struct quant_traits *traits = quant_traits(id);
        if (traits == NULL || (options.type != NULL && strcmp(options.type, traits->name) != 0))
            continue;
        all[n_types].traits = traits;
        prepare(&all[n_types++], max_columns);
    }
    float *out = machine_alloc(options.rows * max_columns * sizeof *out);
    memset(out, 0, options.rows * max_columns * sizeof *out);
    void *scratch = machine_alloc(kernels.gemm.scratch_bytes + 64);

    for (uint32_t round = 0; round < options.rounds; round++) {
        for (int p = 0; p < 2; p++)
            peak_rates[p][round] = machine_peak_rate(peaks[p], 1, options.seconds);
        for (uint32_t t = 0; t < n_types; t++)
            for (uint32_t i = 0; i < options.n_counts; i++)
                all[t].gops[i][round] = measure_gemm(all[t].traits, all[t].w, all[t].row_bytes, all[t].columns,
                                                     all[t].column_bytes, options.columns[i], out, scratch);
    }

    double peak_gops[2];
    for (int p = 0; p < 2; p++)
        peak_gops[p] = machine_median(peak_rates[p], options.rounds) * 1e-9;
    print_head(peaks, peak_gops);
    for (uint32_t t = 0; t < n_types; t++) {
        print_type(&all[t], peak_gops[all[t].traits->activation == ACTIVATION_F32], t == 0);
        free(all[t].w);
        free(all[t].columns);
    }
    if (options.json)
        printf("\n  ]\n}\n");
    free(out);
    free(scratch);
    return 0;
}
