// What of decode depends on the machine and not on the model: how far ahead weights are prefetched, and how many threads read
// them. Found by trying, one choice per step, while the first tokens are generated; no effect on results.
//
// A choice is judged by the median time per byte of its steps, which a core that is lost for a while does not move. The
// choices take turns, so that what changes slowly changes for all.
#ifndef CHORD_BACKEND_TUNING_H
#define CHORD_BACKEND_TUNING_H

#include "kernels/kernels.h"

#include <stdbool.h>
#include <stdint.h>

#define TUNING_MAX_CHOICES 5
#define TUNING_SAMPLES 7

struct tuning_choice {
    struct prefetch prefetch;
    uint32_t n_threads;
};

struct tuning {
    enum { TUNING_PREFETCH, TUNING_THREADS, TUNING_SETTLED } stage;
    struct tuning_choice choices[TUNING_MAX_CHOICES]; // the first stays unless another is clearly better
    uint32_t n_choices;
    uint32_t turn; // steps of this stage so far; the first of each choice is not counted
    double samples[TUNING_MAX_CHOICES][TUNING_SAMPLES];
    struct tuning_choice best; // of the stages before
};

void tuning_init(struct tuning *tuning, uint32_t n_threads);

// What the next step is to use.
struct tuning_choice tuning_current(const struct tuning *tuning);

// A step with tuning_current took `ns` for the matrices that count, of `bytes` (> 0) in all.
void tuning_step_done(struct tuning *tuning, uint64_t ns, uint64_t bytes);

#endif
