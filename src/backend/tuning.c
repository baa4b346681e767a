#include "backend/tuning.h"

// A choice must be better by this much than the first: less is noise.
#define CLEARLY_BETTER 0.99
// Fewer threads are as good when they take at most so much longer: the cores are of use to others.
#define AS_GOOD 1.01

static void begin_threads(struct tuning *tuning)
{
    const uint32_t all = tuning->best.n_threads;
    const uint32_t counts[] = {all, all - 1, all - all / 4, all / 2};
    tuning->stage = all > 2 ? TUNING_THREADS : TUNING_SETTLED;
    tuning->n_choices = 0;
    tuning->turn = 0;
    for (uint32_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const uint32_t n = tuning->n_choices;
        if (n > 0 && tuning->choices[n - 1].n_threads <= counts[i])
            continue;
        tuning->choices[n] = (struct tuning_choice){.prefetch = tuning->best.prefetch, .n_threads = counts[i]};
        tuning->n_choices++;
    }
}

void tuning_init(struct tuning *tuning, uint32_t n_threads)
{
    static const struct prefetch prefetches[] = {{.far = 1024, .near = 512},
                                                 {.far = 2048, .near = 1024},
                                                 {.far = 4096, .near = 1024},
                                                 {.far = 8192, .near = 1024}};
    _Static_assert(sizeof prefetches / sizeof *prefetches + 1 == TUNING_MAX_CHOICES, "with the default they fit");
    *tuning = (struct tuning){.best = {.prefetch = PREFETCH_DEFAULT, .n_threads = n_threads}, .n_choices = 1};
    tuning->choices[0] = tuning->best;
    for (uint32_t i = 0; i < sizeof prefetches / sizeof *prefetches; i++)
        tuning->choices[tuning->n_choices++] =
            (struct tuning_choice){.prefetch = prefetches[i], .n_threads = n_threads};
}

struct tuning_choice tuning_current(const struct tuning *tuning)
{
    return tuning->stage == TUNING_SETTLED ? tuning->best : tuning->choices[tuning->turn % tuning->n_choices];
}

static double median(const double samples[TUNING_SAMPLES])
{
    double sorted[TUNING_SAMPLES];
    for (uint32_t i = 0; i < TUNING_SAMPLES; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > samples[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = samples[i];
    }
    return sorted[TUNING_SAMPLES / 2];
}

static void end_stage(struct tuning *tuning)
{
    double medians[TUNING_MAX_CHOICES];
    uint32_t fastest = 0, last_as_good = 0;
    for (uint32_t i = 0; i < tuning->n_choices; i++) {
        medians[i] = median(tuning->samples[i]);
        fastest = medians[i] < medians[fastest] ? i : fastest;
    }
    for (uint32_t i = 0; i < tuning->n_choices; i++)
        last_as_good = medians[i] <= medians[fastest] * AS_GOOD ? i : last_as_good;
    if (tuning->stage == TUNING_THREADS) // ever fewer
        tuning->best = tuning->choices[last_as_good];
    else if (medians[fastest] < medians[0] * CLEARLY_BETTER)
        tuning->best = tuning->choices[fastest];
}

void tuning_step_done(struct tuning *tuning, uint64_t ns, uint64_t bytes)
{
    if (tuning->stage == TUNING_SETTLED)
        return;
    const uint32_t choice = tuning->turn % tuning->n_choices, round = tuning->turn / tuning->n_choices;
    if (round > 0)
        tuning->samples[choice][round - 1] = (double)ns / (double)bytes;
    if (++tuning->turn < tuning->n_choices * (TUNING_SAMPLES + 1))
        return;
    end_stage(tuning);
    if (tuning->stage == TUNING_PREFETCH)
        begin_threads(tuning);
    else
        tuning->stage = TUNING_SETTLED;
}
