// What this machine can do: memory read by one thread and by more, and the peaks of arithmetic, as medians of interleaved
// rounds.
//
//     bench_machine [--threads N] [--mb N] [--seconds S] [--rounds N]
//
// Prints one JSON object. "tiers" says by which instructions the kernels of each tier are to be measured.
#include "kernels/kernels.h"
#include "machine.h"
#include "os/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUNDS 16
#define MAX_MEASURED 32

static struct {
    uint32_t threads, rounds;
    uint64_t mb;
    double seconds;
} options = {.rounds = 3, .seconds = 0.1};

struct measured {
    const struct machine_peak *peak; // NULL: reading
    const char *kind;
    uint32_t threads;
    double rates[MAX_ROUNDS];
};

static struct measured measured[MAX_MEASURED];
static uint32_t n_measured;

static void add(const struct machine_peak *peak, const char *kind, uint32_t threads)
{
    if (n_measured < MAX_MEASURED)
        measured[n_measured++] = (struct measured){.peak = peak, .kind = kind, .threads = threads};
}

static void add_peaks(const struct machine_peak *peaks, const char *kind)
{
    for (; peaks->instruction != NULL; peaks++) {
        add(peaks, kind, 1);
        if (options.threads > 1)
            add(peaks, kind, options.threads);
    }
}

static void parse_options(int argc, char **argv)
{
    options.threads = cpu_count();
    for (int i = 1; i < argc; i += 2) {
        const double value = i + 1 < argc ? strtod(argv[i + 1], NULL) : 0.0;
        if (strcmp(argv[i], "--threads") == 0 && value >= 1 && value <= MACHINE_MAX_THREADS)
            options.threads = (uint32_t)value;
        else if (strcmp(argv[i], "--mb") == 0 && value >= 16 && value <= 1 << 20)
            options.mb = (uint64_t)value;
        else if (strcmp(argv[i], "--seconds") == 0 && value > 0)
            options.seconds = value;
        else if (strcmp(argv[i], "--rounds") == 0 && value >= 1 && value <= MAX_ROUNDS)
            options.rounds = (uint32_t)value;
        else {
            fprintf(stderr, "unknown or incomplete option %s; see the head of bench/probe.c\n", argv[i]);
            exit(2);
        }
    }
}

static void print_tiers(void)
{
    printf("  \"tiers\": [");
    bool first = true;
    for (const char *const *name = kernels_tier_names(); *name != NULL; name++) {
        uint32_t features;
        if (!kernels_features_of_tier(*name, cpu_features(), &features))
            continue;
        const struct machine_peak *quantized = machine_product_peak(features, false);
        const struct machine_peak *floats = machine_product_peak(features, true);
        printf("%s\n    {\"tier\": \"%s\", \"quantized\": \"%s\", \"float\": \"%s\"}", first ? "" : ",", *name,
               quantized != NULL ? quantized->instruction : "", floats != NULL ? floats->instruction : "");
        first = false;
    }
    printf("\n  ]\n");
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    for (uint32_t threads = 1; threads < options.threads; threads *= 2)
        add(NULL, "read", threads);
    add(NULL, "read", options.threads);
    add_peaks(machine_int8_peaks(), "int8");
    add_peaks(machine_bf16_peaks(), "bf16");
    add_peaks(machine_fp32_peaks(), "fp32");

    const uint64_t bytes = options.mb != 0 ? options.mb << 20 : machine_buffer_bytes();
    const uint8_t *buffer = machine_buffer(bytes);
    machine_read *read = machine_widest_read();
    for (uint32_t round = 0; round < options.rounds; round++) {
        for (uint32_t i = 0; i < n_measured; i++) {
            struct measured *m = &measured[i];
            m->rates[round] = m->peak == NULL ? machine_read_rate(read, buffer, bytes, m->threads, options.seconds)
                                              : machine_peak_rate(m->peak, m->threads, options.seconds);
        }
    }

    char cpu[64];
    cpu_name(cpu, sizeof cpu);
    printf("{\n  \"cpu\": \"%s\", \"threads\": %u, \"cacheBytes\": %llu, \"bufferBytes\": %llu,\n  \"measured\": [",
           cpu, options.threads, (unsigned long long)machine_cache_bytes(), (unsigned long long)bytes);
    for (uint32_t i = 0; i < n_measured; i++) {
        struct measured *m = &measured[i];
        const double median = machine_median(m->rates, options.rounds);
        printf("%s\n    {\"kind\": \"%s\", \"instruction\": \"%s\", \"threads\": %u, \"rate\": %.0f, \"least\": %.0f, "
               "\"most\": %.0f}",
               i == 0 ? "" : ",", m->kind, m->peak != NULL ? m->peak->instruction : "", m->threads, median, m->rates[0],
               m->rates[options.rounds - 1]);
    }
    printf("\n  ],\n");
    print_tiers();
    printf("}\n");
    return 0;
}
