// What generations guess of their own future, and how much of it the next step computes ahead. Guesses of the text's own past
// cost nothing and are made first; a draft model is run for those of its guesses that have been chosen.
#include "engine/job.h"

#include <stdatomic.h>
#include <string.h>

// Drafts that do not pay by what is known are tried again, as hopefully as this, for this share of the time.
#define HOPEFUL_RATE 0.8f
#define HOPEFUL_GUESSES 4u
#define TRIAL_SHARE 0.01
#define MOST_TRIAL_STEPS 32 // of this time, saved up
// A text is brought into a draft model's cache if that is paid back within so many tokens.
#define PAID_BACK_WITHIN 256u
// What a row that is only to be known takes before it has been measured, as a share of a step of the draft model.
#define FIRST_GUESS_OF_ROW 0.25
// Time to bring texts into the cache of a draft model, in steps; as good as endless where guesses are made whether they pay or not.
#define CATCH_UP_STEPS 1
#define ENDLESS_NS 1e15

enum chord_status job_create_guesses(struct chord_job *job, const struct chord_speculation *options,
                                     struct chord_error *err)
{
    struct memory_account *account = &job->model->account;
    if (options->max_guesses > CHORD_MAX_GUESSES)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "at most %u guesses can be computed in a step, not %u",
                          CHORD_MAX_GUESSES, options->max_guesses);
    if (!options->lookup && options->draft == NULL)
        return CHORD_OK;
    if (options->draft != NULL) {
        const enum chord_status status = chord_model_check_draft(job->model, options->draft, err);
        if (status != CHORD_OK)
            return status;
    }
    struct job_guesses *guesses = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *guesses);
    if (guesses == NULL)
        return memory_account_fail(account, err, sizeof *guesses, "the guesses of a generation");
    job->guesses = guesses;
    guesses->options = *options;
    if (guesses->options.max_guesses == 0)
        guesses->options.max_guesses = CHORD_MAX_GUESSES;
    if (options->lookup && !lookup_init(&guesses->lookup, job->capacity, account))
        return memory_account_fail(account, err, job->capacity * sizeof(uint32_t), "the index of a generation's text");
    if (options->draft != NULL)
        draft_init(&guesses->draft, options->draft);
    return CHORD_OK;
}

void job_end_guesses(struct chord_job *job)
{
    if (job->guesses != NULL)
        draft_end(&job->guesses->draft);
}

void job_free_guesses(struct chord_job *job)
{
    if (job->guesses == NULL)
        return;
    draft_free(&job->guesses->draft);
    lookup_free(&job->guesses->lookup, &job->model->account);
    memory_free(&job->model->account, job->guesses);
}

// What is known of the drafts of one model says nothing of another's.
static void init_rates(struct chord_job *job)
{
    struct job_guesses *g = job->guesses;
    struct scheduler *s = &job->model->scheduler;
    if (g->draft.host != NULL && g->draft.host != s->rated_host) {
        struct guess_rates first;
        guess_rates_init(&first);
        s->rates.rate[GUESS_DRAFT] = first.rate[GUESS_DRAFT];
        s->rated_host = g->draft.host;
    }
    g->rates = s->rates;
    g->has_rates = true;
}

// The guesses that have room beside the token that the last of them leads to.
static uint32_t most_guesses(const struct chord_job *job)
{
    const uint64_t room = job->capacity - job->n_tokens - 1;
    return job->guesses->options.max_guesses < room ? job->guesses->options.max_guesses : (uint32_t)room;
}

// Guesses the next tokens from the text.
static void look_up(struct chord_job *job)
{
    struct job_guesses *g = job->guesses;
    uint32_t n_match = 0;
    if (!g->has_rates)
        init_rates(job);
    g->n = g->n_in_step = g->n_true = 0;
    g->wrong = g->from_draft = false;
    if (g->options.lookup)
        g->n = lookup_guess(&g->lookup, job->tokens, job->n_tokens, g->tokens, most_guesses(job), &n_match);
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
    if (class != GUESS_DRAFT || g->draft.host == job->model->scheduler.rated_host)
        guess_rates_learn(&job->model->scheduler.rates, class, came_true);
    g->n_true += came_true;
    g->wrong = !came_true;
}

// ---- What a step could have --------------------------------------------------------------------------------------------------

// One job's.
struct job_offers {
    struct guess_offer offers[CHORD_MAX_GUESSES];
    uint32_t n;
    bool by_draft;
    bool is_trial;
    double catch_up_ns; // before the draft model can go on
};

// The choice for one step.
struct choice {
    struct chord_model *model;
    struct chord_job *const *jobs; // [n_jobs]
    uint32_t n_jobs;
    const struct chord_cancel *cancel;
    struct draft_host *hosts[SPECULATE_MAX_ROWS]; // locked
    uint32_t n_hosts;
    struct job_offers of_job[SPECULATE_MAX_ROWS];
    double without_ns; // a step that has no guesses; 0: not measured
    bool always;       // for one job at least
};

static void offer_lookups(struct job_offers *out, const struct job_guesses *g)
{
    float probability = 1;
    *out = (struct job_offers){.n = g->n};
    for (uint32_t i = 0; i < g->n; i++)
        out->offers[i].probability = probability *= g->rates.rate[g->classes[i]];
}

static void offer_drafts(struct job_offers *out, uint32_t n, float rate, double ns)
{
    float probability = 1;
    out->by_draft = true;
    out->n = n;
    for (uint32_t i = 0; i < n; i++)
        out->offers[i] = (struct guess_offer){.probability = probability *= rate, .ns = ns};
}

// Of the time of the model's steps, that in which no thread waited for weights to be read.
static double computing_share(struct chord_model *model)
{
    struct chord_stats stats;
    if (weights_mode(model->weights) != WEIGHTS_PAGED)
        return 1; // without asking the system about every page of the mapping, as the figures do
    chord_model_stats(model, &stats);
    const double all = stats.compute_seconds + stats.stall_seconds;
    return all > 0 ? stats.compute_seconds / all : 1;
}

// A step of the draft model: measured, or by the bytes that it takes from memory.
static double draft_step_ns(const struct choice *choice, const struct chord_model *drafter)
{
    const double measured = drafter->scheduler.costs.ns[1];
    if (measured > 0)
        return measured;
    return choice->without_ns * computing_share(choice->model) * (double)drafter->graph->weight_bytes /
           (double)choice->model->graph->weight_bytes;
}

// Puts the draft model's guesses in the place of those from the text, where they are the better choice.
static void consider_draft(struct choice *choice, struct chord_job *job, struct job_offers *out)
{
    struct scheduler *s = &choice->model->scheduler;
    const struct job_guesses *g = job->guesses;
    const struct chord_model *drafter = g->draft.host->model;
    const double step_ns = draft_step_ns(choice, drafter);
    const double row_ns =
        g->draft.host->prompt_row_ns > 0 ? g->draft.host->prompt_row_ns : step_ns * FIRST_GUESS_OF_ROW;
    struct job_offers drafts = {0};
    uint64_t n_behind;
    if (!draft_is_alive(&job->guesses->draft, job->tokens, job->n_tokens, &n_behind))
        return;
    const double catch_up_ns = drafts.catch_up_ns = (double)n_behind * row_ns;
    offer_drafts(&drafts, most_guesses(job), g->rates.rate[GUESS_DRAFT], step_ns);
    const uint64_t left = job->capacity - job->n_tokens;
    const double horizon = left < PAID_BACK_WITHIN ? (double)left : PAID_BACK_WITHIN;
    const double gain = speculate_gain(&s->costs, choice->n_jobs, drafts.offers, drafts.n);
    const double saved_ns = horizon * choice->without_ns / choice->n_jobs * (1 - 1 / gain);
    if (gain > 1 && catch_up_ns <= saved_ns) {
        if (gain > speculate_gain(&s->costs, choice->n_jobs, out->offers, out->n))
            *out = drafts;
        return;
    }
    s->trial_ns += choice->without_ns / choice->n_jobs * TRIAL_SHARE;
    if (s->trial_ns > choice->without_ns * MOST_TRIAL_STEPS)
        s->trial_ns = choice->without_ns * MOST_TRIAL_STEPS;
    drafts.is_trial = true;
    offer_drafts(&drafts, drafts.n < HOPEFUL_GUESSES ? drafts.n : HOPEFUL_GUESSES, HOPEFUL_RATE, step_ns);
    const double most_ns = catch_up_ns + drafts.n * step_ns + choice->without_ns;
    if (most_ns <= s->trial_ns && speculate_gain(&s->costs, choice->n_jobs, drafts.offers, drafts.n) > 1)
        *out = drafts;
}

// Whether the draft model of the job can be run in this step.
static bool lock_host(struct choice *choice, const struct chord_job *job)
{
    struct draft_host *host = job->guesses->draft.host;
    bool is_locked = false;
    if (host == NULL)
        return false;
    for (uint32_t i = 0; i < choice->n_hosts; i++)
        is_locked |= choice->hosts[i] == host;
    if (!is_locked) {
        if (!draft_host_try_lock(host))
            return false;
        choice->hosts[choice->n_hosts++] = host;
    }
    return !job->guesses->draft.ended;
}

// ---- Choosing ----------------------------------------------------------------------------------------------------------------

// The offers of all jobs, most probable first, and whose they are.
struct offers {
    struct guess_offer offers[SPECULATE_MAX_ROWS * CHORD_MAX_GUESSES];
    uint32_t jobs[SPECULATE_MAX_ROWS * CHORD_MAX_GUESSES];
    uint32_t n;
};

static void add_offers(struct offers *all, const struct job_offers *offers, uint32_t job)
{
    for (uint32_t i = 0; i < offers->n; i++) {
        uint32_t at = all->n++;
        for (; at > 0 && all->offers[at - 1].probability < offers->offers[i].probability; at--) {
            all->offers[at] = all->offers[at - 1];
            all->jobs[at] = all->jobs[at - 1];
        }
        all->offers[at] = offers->offers[i];
        all->jobs[at] = job;
    }
}

// Decides how many guesses each job's step has (n_in_step), and whether a draft model is to make them (by_draft).
static void choose(struct choice *choice, bool beside_prompts)
{
    struct step_costs *costs = &choice->model->scheduler.costs;
    struct offers all;
    uint32_t n_rows = choice->n_jobs;
    all.n = 0;
    for (uint32_t i = 0; i < choice->n_jobs; i++) {
        struct chord_job *job = choice->jobs[i];
        struct job_guesses *g = job->guesses;
        if (g == NULL)
            continue;
        look_up(job);
        offer_lookups(&choice->of_job[i], g);
        if (g->options.always) {
            choice->always = true;
            const bool by_draft = lock_host(choice, job);
            const uint32_t n = by_draft ? most_guesses(job) : g->n;
            const uint32_t room = n_rows < SPECULATE_MAX_ROWS ? SPECULATE_MAX_ROWS - n_rows : 0;
            choice->of_job[i].by_draft = by_draft;
            g->n_in_step = n < room ? n : room;
            n_rows += g->n_in_step;
        } else if (!beside_prompts) {
            if (choice->without_ns > 0 && lock_host(choice, job))
                consider_draft(choice, job, &choice->of_job[i]);
            add_offers(&all, &choice->of_job[i], i);
        }
    }
    const uint32_t n = all.n > 0 ? speculate_choose(costs, n_rows, all.offers, all.n) : 0;
    for (uint32_t i = 0; i < n; i++)
        choice->jobs[all.jobs[i]]->guesses->n_in_step++;
}

// ---- Drafting ----------------------------------------------------------------------------------------------------------------

// Nobody wants the guesses any more.
static bool is_given_up(void *user)
{
    const struct choice *choice = user;
    if (choice->cancel != NULL && atomic_load_explicit(&choice->cancel->requested, memory_order_relaxed))
        return true;
    for (uint32_t i = 0; i < choice->n_jobs; i++)
        if (!atomic_load_explicit(&choice->jobs[i]->cancelled, memory_order_relaxed))
            return false;
    return true;
}

// Has the host make the guesses that were chosen of it.
static void run_drafts(struct choice *choice, struct draft_host *host)
{
    struct draft_text texts[DRAFT_MAX_TEXTS];
    struct chord_job *jobs[DRAFT_MAX_TEXTS];
    uint32_t guesses[DRAFT_MAX_TEXTS][DRAFT_MAX_TOKENS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < choice->n_jobs; i++) {
        struct chord_job *job = choice->jobs[i];
        const struct job_offers *offers = &choice->of_job[i];
        struct tokenizer_info info;
        if (!offers->by_draft || job->guesses->n_in_step == 0 || job->guesses->draft.host != host)
            continue;
        tokenizer_info(job->model->tokenizer.tokenizer, &info);
        texts[n] = (struct draft_text){.draft = &job->guesses->draft,
                                       .tokens = job->tokens,
                                       .n_tokens = job->n_tokens,
                                       .n_prompt = job->n_prompt,
                                       .n_vocab = info.n_vocab,
                                       .never_ends = job->never_ends,
                                       .n_wanted = job->guesses->n_in_step,
                                       .guesses = guesses[n]};
        jobs[n++] = job;
        if (offers->is_trial)
            choice->model->scheduler.trial_ns -=
                offers->catch_up_ns + choice->without_ns + job->guesses->n_in_step * draft_step_ns(choice, host->model);
    }
    if (n == 0)
        return;
    const double catch_up_ns = choice->always ? ENDLESS_NS : choice->without_ns * CATCH_UP_STEPS;
    draft_run(host, texts, n, catch_up_ns, is_given_up, choice);
    for (uint32_t i = 0; i < n; i++) {
        struct job_guesses *g = jobs[i]->guesses;
        g->n_in_step = texts[i].n_made;
        if (texts[i].n_made == 0)
            continue;
        g->from_draft = true;
        g->n = texts[i].n_made;
        memcpy(g->tokens, guesses[i], g->n * sizeof *g->tokens);
        for (uint32_t k = 0; k < g->n; k++)
            g->classes[k] = GUESS_DRAFT;
    }
}

void jobs_choose_guesses(struct chord_model *model, struct chord_job *const *jobs, uint32_t n_jobs, bool beside_prompts,
                         const struct chord_cancel *cancel)
{
    struct choice choice = {.model = model,
                            .jobs = jobs,
                            .n_jobs = n_jobs,
                            .cancel = cancel,
                            .without_ns = model->scheduler.costs.ns[n_jobs]};
    choose(&choice, beside_prompts);
    for (uint32_t i = 0; i < choice.n_hosts; i++) {
        run_drafts(&choice, choice.hosts[i]);
        draft_host_unlock(choice.hosts[i]);
    }
}
