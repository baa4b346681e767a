// Times one choice of the sampler on a vocabulary of 151936 tokens (Qwen's), by the filters that are on.
//   build/Release/bench_sampler
// Prints microseconds per choice: median and range of 9 runs of 20 choices.

#include "os/thread.h"
#include "sampler/random.h"
#include "sampler/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_VOCAB 151936
#define N_RUNS 9
#define N_CHOICES 20

// Logits as a trained model gives them: most tokens far below a few likely ones.
static void fill(float *logits, struct random_state *random, double spread)
{
    for (uint32_t i = 0; i < N_VOCAB; i++) {
        const double radius = sqrt(-2 * log(1 - random_unit(random)));
        logits[i] = (float)(spread * radius * cos(6.283185307179586 * random_unit(random)));
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(const char *name, const struct sampler_options *options, const float *logits, float *copy)
{
    struct memory_account account;
    struct chord_error err;
    struct sampler *sampler;
    double runs[N_RUNS];
    memory_account_init(&account, UINT64_MAX);
    if (sampler_create(&sampler, options, N_VOCAB, &account, &err) != CHORD_OK) {
        fprintf(stderr, "%s: %s\n", name, err.message);
        return 1;
    }
    for (uint32_t i = 0; i < options->dry_last_n; i++) // a text that repeats itself a little
        sampler_accept(sampler, i * 7919 % 1021);
    for (int run = 0; run < N_RUNS; run++) {
        uint64_t ns = 0;
        for (int i = 0; i < N_CHOICES; i++) {
            struct sampler_choice choice;
            memcpy(copy, logits, N_VOCAB * sizeof *copy);
            const uint64_t started = os_now_ns();
            sampler_choose(sampler, copy, &choice);
            ns += os_now_ns() - started;
        }
        runs[run] = (double)ns / N_CHOICES / 1000;
    }
    qsort(runs, N_RUNS, sizeof *runs, ascending);
    printf("%-44s %8.0f us  (%.0f to %.0f)\n", name, runs[N_RUNS / 2], runs[0], runs[N_RUNS - 1]);
    sampler_free(sampler, &account);
    return 0;
}

int main(void)
{
    const struct sampler_options plain = {
        .temperature = 0.8f, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .seed = 1, .n_logprobs = -1};
    struct sampler_options o;
    struct random_state random;
    int failed = 0;
    float *logits = malloc(N_VOCAB * sizeof *logits);
    float *copy = malloc(N_VOCAB * sizeof *copy);
    if (logits == NULL || copy == NULL) {
        fprintf(stderr, "no memory\n");
        free(logits);
        free(copy);
        return 1;
    }
    random_seed(&random, 1);
    fill(logits, &random, 3);
#define MEASURE(name, ...)                         \
    do {                                           \
        o = plain;                                 \
        __VA_ARGS__;                               \
        failed |= measure(name, &o, logits, copy); \
    } while (0)
    MEASURE("greedy", o.temperature = 0);
    MEASURE("greedy, 5 log-probabilities", o.temperature = 0; o.n_logprobs = 5);
    MEASURE("top-k 40, top-p 0.95, min-p 0.05 (defaults)", o.top_k = 40; o.top_p = 0.95f; o.min_p = 0.05f);
    MEASURE("the same with penalties over 64", o.top_k = 40; o.top_p = 0.95f; o.min_p = 0.05f; o.repeat_penalty = 1.1f;
            o.penalty_last_n = 64);
    MEASURE("top-k 10000", o.top_k = 10000);
    MEASURE("min-p 0.05", o.min_p = 0.05f);
    MEASURE("top-p 0.95", o.top_p = 0.95f);
    MEASURE("typical 0.95", o.typical_p = 0.95f);
    MEASURE("no filter", (void)0);
    MEASURE("top-n-sigma 1", o.top_n_sigma = 1);
    MEASURE("mirostat", o.mirostat_tau = 5; o.mirostat_eta = 0.1f);
    MEASURE("dynamic temperature", o.dynamic_range = 0.5f; o.dynamic_exponent = 1);
    MEASURE("defaults with XTC", o.top_k = 40; o.top_p = 0.95f; o.min_p = 0.05f; o.xtc_probability = 1;
            o.xtc_threshold = 0.1f);
    MEASURE("defaults with DRY over 8192", o.top_k = 40; o.top_p = 0.95f; o.min_p = 0.05f; o.dry_multiplier = 0.8f;
            o.dry_base = 1.75f; o.dry_allowed_length = 2; o.dry_last_n = 8192);
    fill(logits, &random, 0.01);
    MEASURE("top-p 0.95, flat distribution (the worst)", o.top_p = 0.95f);
    free(logits);
    free(copy);
    return failed;
}
