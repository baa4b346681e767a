// Speed of the GEMM by itself: one thread, weights in the layout of the file, unpacking included; beside the rate of a
// plain loop of the tier's widest integer and float multiply-adds in the same run.
//
//     bench_gemm [--tier NAME] [--type NAME] [--rows N] [--n N] [--columns N,N,...] [--chunk ROWS] [--seconds S] [--rounds N]
//
// GOPS are 10^9 multiplications and additions per second of the thread's CPU time, so that a core taken away by
// another program does not count. Rounds are interleaved and medians printed, the share of the peak in parentheses.
#include "kernels/kernels.h"
#include "os/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAX_COUNTS 8
#define MAX_ROUNDS 16
#define MAX_TYPES 16

static struct {
    const char *tier, *type;
    uint64_t rows, n, chunk;
    uint64_t columns[MAX_COUNTS];
    uint32_t n_counts, rounds;
    double seconds;
} options = {
    .rows = 4096, .n = 4096, .chunk = 64, .columns = {6, 16, 64, 128, 512}, .n_counts = 5, .rounds = 1, .seconds = 0.1};

static void *checked_alloc(uint64_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (p == NULL) {
        fprintf(stderr, "out of memory: %llu bytes\n", (unsigned long long)bytes);
        exit(1);
    }
    return p;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- peaks -----------------------------------------------------------------------------------------------------------

static volatile float sink;

#if defined(__x86_64__)
// 12 independent chains keep both multiplying ports busy; the empty asm keeps the compiler from seeing that they are
// equal.
#define CHAINS 12

__attribute__((target("avx512f,avx512vnni"))) static double peak_vpdpbusd(uint64_t steps)
{
    __m512i v[CHAINS];
    _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) v[i] = _mm512_set1_epi32(i);
    __m512i w = _mm512_set1_epi32(0x01020304);
    for (uint64_t s = 0; s < steps; s++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)
        {
            v[i] = _mm512_dpbusd_epi32(v[i], w, w);
            __asm__("" : "+v"(v[i]));
        }
    }
    _Pragma("GCC unroll 12") for (int i = 1; i < CHAINS; i++) v[0] = _mm512_add_epi32(v[0], v[i]);
    sink = (float)_mm512_reduce_add_epi32(v[0]);
    return 2.0 * 64 * CHAINS * (double)steps;
}

__attribute__((target("avx512f"))) static double peak_fma_512(uint64_t steps)
{
    __m512 v[CHAINS], w = _mm512_set1_ps(1e-30f);
    _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) v[i] = _mm512_set1_ps((float)i);
    for (uint64_t s = 0; s < steps; s++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)
        {
            v[i] = _mm512_fmadd_ps(w, w, v[i]);
            __asm__("" : "+v"(v[i]));
        }
    }
    _Pragma("GCC unroll 12") for (int i = 1; i < CHAINS; i++) v[0] = _mm512_add_ps(v[0], v[i]);
    sink = _mm512_reduce_add_ps(v[0]);
    return 2.0 * 16 * CHAINS * (double)steps;
}

__attribute__((target("avx2"))) static double peak_maddubs(uint64_t steps)
{
    __m256i v[CHAINS], w = _mm256_set1_epi32(0x01020304);
    _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) v[i] = _mm256_set1_epi32(i);
    for (uint64_t s = 0; s < steps; s++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)
        {
            __asm__("" : "+x"(w));
            const __m256i p = _mm256_maddubs_epi16(w, w);
            v[i] = _mm256_add_epi16(v[i], p);
            __asm__("" : "+x"(v[i]));
        }
    }
    _Pragma("GCC unroll 12") for (int i = 1; i < CHAINS; i++) v[0] = _mm256_add_epi16(v[0], v[i]);
    sink = (float)_mm256_extract_epi32(v[0], 0);
    return 2.0 * 32 * CHAINS * (double)steps;
}

__attribute__((target("avx2,fma"))) static double peak_fma_256(uint64_t steps)
{
    __m256 v[CHAINS], w = _mm256_set1_ps(1e-30f);
    _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) v[i] = _mm256_set1_ps((float)i);
    for (uint64_t s = 0; s < steps; s++) {
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)
        {
            v[i] = _mm256_fmadd_ps(w, w, v[i]);
            __asm__("" : "+x"(v[i]));
        }
    }
    _Pragma("GCC unroll 12") for (int i = 1; i < CHAINS; i++) v[0] = _mm256_add_ps(v[0], v[i]);
    sink = _mm_cvtss_f32(_mm256_castps256_ps128(v[0]));
    return 2.0 * 8 * CHAINS * (double)steps;
}
#endif

typedef double peak_loop(uint64_t steps);

struct peak {
    const char *name;
    peak_loop *loop; // NULL: none known for the tier
    double gops[MAX_ROUNDS];
};

static double measure_peak(peak_loop *loop)
{
    if (loop == NULL)
        return 0.0;
    const double start = cpu_seconds();
    double ops = 0.0, spent;
    do {
        ops += loop(1 << 18);
        spent = cpu_seconds() - start;
    } while (spent < options.seconds);
    return ops / spent * 1e-9;
}

// ---- the GEMM --------------------------------------------------------------------------------------------------------

static struct kernels kernels;

// Pseudo-random bytes; scales of every type end up as halves of about 0.01 to 0.1, which is all that matters to the
// time.
static void fill_weights(const struct quant_traits *traits, uint8_t *w, uint64_t rows, uint64_t row_bytes, uint64_t n)
{
    float *x = checked_alloc(n * sizeof *x);
    uint64_t state = 88172645463325252u;
    for (uint64_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        x[i] = (float)(int64_t)state * 0x1p-63f;
    }
    traits->quantize_row(x, w, n);
    for (uint64_t r = 1; r < rows; r++)
        memcpy(w + r * row_bytes, w, row_bytes);
    free(x);
}

static double measure_gemm(const struct quant_traits *traits, const uint8_t *w, uint64_t row_bytes, const void *columns,
                           uint64_t column_bytes, uint64_t n_columns, float *out, void *scratch)
{
    gemm_kernel *multiply = kernels.gemm.multiply[traits->type];
    double ops = 0.0, spent;
    const double start = cpu_seconds();
    uint64_t r = 0;
    do {
        const uint64_t n_rows = options.rows - r < options.chunk ? options.rows - r : options.chunk;
        multiply(w + r * row_bytes, row_bytes, n_rows, options.n, columns, column_bytes, n_columns, out + r,
                 options.rows, scratch);
        ops += 2.0 * (double)(n_rows * n_columns) * (double)options.n;
        r = r + n_rows == options.rows ? 0 : r + n_rows;
        spent = cpu_seconds() - start;
    } while (spent < options.seconds || (r != 0 && spent < 4 * options.seconds));
    return ops / spent * 1e-9;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, options.rounds, sizeof *values, compare_doubles);
    return values[options.rounds / 2];
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
    m->w = checked_alloc(options.rows * m->row_bytes);
    m->columns = checked_alloc(n_columns * m->column_bytes);
    fill_weights(m->traits, m->w, options.rows, m->row_bytes, options.n);
    float *x = checked_alloc(options.n * sizeof *x);
    for (uint64_t c = 0; c < n_columns; c++) {
        for (uint64_t i = 0; i < options.n; i++)
            x[i] = (float)(((i * 2654435761u + c * 40503u) >> 7) % 255) - 127.0f;
        column->prepare(x, (uint8_t *)m->columns + c * m->column_bytes, options.n);
    }
    free(x);
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
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

int main(int argc, char **argv)
{
    parse(argc, argv);
    uint32_t features = cpu_features();
    if (options.tier != NULL && !kernels_features_of_tier(options.tier, cpu_features(), &features)) {
        fprintf(stderr, "this CPU or this build has no tier %s\n", options.tier);
        return 1;
    }
    kernels_init(&kernels, features);

    struct peak peaks[2] = {{.name = "none"}, {.name = "none"}};
#if defined(__x86_64__)
    if (strcmp(kernels.tier, "avx2") == 0) {
        peaks[0] = (struct peak){.name = "vpmaddubsw + vpaddw, 256 bits", .loop = peak_maddubs};
        peaks[1] = (struct peak){.name = "vfmadd, 256 bits", .loop = peak_fma_256};
    } else if (strcmp(kernels.tier, "avx512gfni") == 0) {
        peaks[0] = (struct peak){.name = "vpdpbusd, 512 bits", .loop = peak_vpdpbusd};
        peaks[1] = (struct peak){.name = "vfmadd, 512 bits", .loop = peak_fma_512};
    }
#endif

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
    float *out = checked_alloc(options.rows * max_columns * sizeof *out);
    memset(out, 0, options.rows * max_columns * sizeof *out);
    void *scratch = checked_alloc(kernels.gemm.scratch_bytes + 64);

    for (uint32_t round = 0; round < options.rounds; round++) {
        for (int p = 0; p < 2; p++)
            peaks[p].gops[round] = measure_peak(peaks[p].loop);
        for (uint32_t t = 0; t < n_types; t++)
            for (uint32_t i = 0; i < options.n_counts; i++)
                all[t].gops[i][round] = measure_gemm(all[t].traits, all[t].w, all[t].row_bytes, all[t].columns,
                                                     all[t].column_bytes, options.columns[i], out, scratch);
    }

    printf("tier %s, %llu x %llu weights, chunks of %llu rows, one thread, GOPS\n", kernels.tier,
           (unsigned long long)options.rows, (unsigned long long)options.n, (unsigned long long)options.chunk);
    double peak_gops[2];
    for (int p = 0; p < 2; p++) {
        peak_gops[p] = median(peaks[p].gops);
        printf("peak for %s: %.0f (%s)\n", p == 0 ? "quantized types" : "float types", peak_gops[p], peaks[p].name);
    }
    printf("%-6s", "");
    for (uint32_t i = 0; i < options.n_counts; i++)
        printf("  N=%-8llu", (unsigned long long)options.columns[i]);
    printf("\n");
    for (uint32_t t = 0; t < n_types; t++) {
        printf("%-6s", all[t].traits->name);
        for (uint32_t i = 0; i < options.n_counts; i++) {
            const double gops = median(all[t].gops[i]);
            const double peak = peak_gops[all[t].traits->activation == ACTIVATION_F32];
            printf("  %4.0f (%2.0f%%)", gops, peak > 0.0 ? 100.0 * gops / peak : 0.0);
        }
        printf("\n");
        free(all[t].w);
        free(all[t].columns);
    }
    free(out);
    free(scratch);
    return 0;
}
