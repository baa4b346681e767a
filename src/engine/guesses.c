// What generations guess of their own future, and how much of it the next step computes ahead.
#include "engine/job.h"

enum chord_status job_create_guesses(struct chord_job *job, const struct chord_speculation *options,
                                     struct chord_error *err)
{
    struct memory_account *account = &job->model->account;
    if (options->max_guesses > CHORD_MAX_GUESSES)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "at most %u guesses can be computed in a step, not %u",
                          CHORD_MAX_GUESSES, options->max_guesses);
    if (!options->lookup)
        return CHORD_OK;
    struct job_guesses *guesses = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *guesses);
    if (guesses == NULL)
        return memory_account_fail(account, err, sizeof *guesses, "the guesses of a generation");
    job->guesses = guesses;
    guesses->options = *options;
    if (guesses->options.max_guesses == 0)
        guesses->options.max_guesses = CHORD_MAX_GUESSES;
    if (!lookup_init(&guesses->lookup, job->capacity, account))
        return memory_account_fail(account, err, job->capacity * sizeof(uint32_t), "the index of a generation's text");
    return CHORD_OK;
}

void job_free_guesses(struct chord_job *job)
{
    if (job->guesses == NULL)
        return;
    lookup_free(&job->guesses->lookup, &job->model->account);
    memory_free(&job->model->account, job->guesses);
}

// Guesses the next tokens, but no more than have room beside the one that the last of them leads to.
static void guess(struct chord_job *job)
{
    struct job_guesses *g = job->guesses;
    const uint64_t room = job->capacity - job->n_tokens - 1;
    const uint32_t max = g->options.max_guesses < room ? g->options.max_guesses : (uint32_t)room;
    uint32_t n_match = 0;
    if (!g->has_rates) {
        g->rates = job->model->scheduler.rates;
        g->has_rates = true;
    }
    g->n_in_step = g->n_true = 0;
    g->wrong = false;
    g->n = lookup_guess(&g->lookup, job->tokens, job->n_tokens, g->tokens, max, &n_match);
    for (uint32_t i = 0; i < g->n; i++)
        g->classes[i] = guess_class_of_match(n_match + i);
}

void job_check_guess(struct chord_job *job, uint32_t token)
{
    struct job_guesses *g = job->guesses;
    if (g == NULL || g->wrong || g->n_true == g->n)
        return;
    const enum guess_class class = g->classes[g->n_true];
    const bool came_true = g->tokens[g->n_true] == token;
    guess_rates_learn(&g->rates, class, came_true);
    guess_rates_learn(&job->model->scheduler.rates, class, came_true);
    g->n_true += came_true;
    g->wrong = !came_true;
}

// The offers of all jobs, most probable first, and whose they are.
struct offers {
    struct guess_offer offers[SPECULATE_MAX_ROWS * CHORD_MAX_GUESSES];
    struct chord_job *jobs[SPECULATE_MAX_ROWS * CHORD_MAX_GUESSES];
    uint32_t n;
};

static void add_offers(struct offers *all, struct chord_job *job)
{
    const struct job_guesses *g = job->guesses;
    float probability = 1;
    for (uint32_t i = 0; i < g->n; i++) {
        probability *= g->rates.rate[g->classes[i]];
        uint32_t at = all->n++;
        for (; at > 0 && all->offers[at - 1].probability < probability; at--) {
            all->offers[at] = all->offers[at - 1];
            all->jobs[at] = all->jobs[at - 1];
        }
        all->offers[at] = (struct guess_offer){.probability = probability};
        all->jobs[at] = job;
    }
}

void jobs_choose_guesses(struct step_costs *costs, struct chord_job *const *jobs, uint32_t n_jobs, bool beside_prompts)
{
    struct offers all;
    uint32_t n_rows = n_jobs;
    all.n = 0;
    for (uint32_t i = 0; i < n_jobs; i++) {
        struct job_guesses *g = jobs[i]->guesses;
        if (g == NULL)
            continue;
        guess(jobs[i]);
        if (g->options.always) {
            const uint32_t room = n_rows < SPECULATE_MAX_ROWS ? SPECULATE_MAX_ROWS - n_rows : 0;
            g->n_in_step = g->n < room ? g->n : room;
            n_rows += g->n_in_step;
        } else if (n_jobs < SPECULATE_MAX_ROWS && !beside_prompts) {
            add_offers(&all, jobs[i]);
        }
    }
    const uint32_t n = all.n > 0 ? speculate_choose(costs, n_rows, all.offers, all.n) : 0;
    for (uint32_t i = 0; i < n; i++)
        all.jobs[i]->guesses->n_in_step++;
}
