// Scheduler: gathers the work of all jobs into batches, so that one pass over the weights serves them all.
//
// A step is one batch: a row for each job that generates, with those of its guesses that pay, then prompt tokens of the others in order of arrival, up to
// BATCH_MAX_ROWS. The rows of guesses that do not come true leave nothing behind: n_done does not count them, and what they wrote
// into the cache the next step overwrites. Nothing of a step is committed before its trunk has run, so an aborted step can simply be run again.
#include "engine/grammars.h"
#include "engine/session.h"

#include <stdatomic.h>
#include <string.h>

// Rows of a batch of generated tokens alone, mostly.
#define SMALL_BATCH_ROWS 32u

enum chord_status scheduler_init(struct chord_model *model, struct chord_error *err)
{
    if (uv_mutex_init(&model->scheduler.mutex) != 0)
        return chord_fail(err, CHORD_THREAD, "the system refused a lock for the scheduler");
    guess_rates_init(&model->scheduler.rates);
    model->has_scheduler = true;
    struct scheduler *s = &model->scheduler;
    const uint32_t n_rows = model_batch_rows(&model->hparams, model->n_ctx);
    s->rows = memory_zalloc(&model->account, MEMORY_METADATA, n_rows, sizeof *s->rows);
    s->outputs = memory_zalloc(&model->account, MEMORY_METADATA, n_rows, sizeof *s->outputs);
    if (s->rows == NULL || s->outputs == NULL)
        return memory_account_fail(&model->account, err, n_rows * sizeof *s->rows, "the rows of a batch");
    return CHORD_OK;
}

void scheduler_submit(struct chord_model *model, struct chord_job *job)
{
    struct scheduler *s = &model->scheduler;
    atomic_fetch_add(&job->n_references, 1);
    uv_mutex_lock(&s->mutex);
    job->next = s->incoming;
    s->incoming = job;
    s->n_jobs++;
    uv_mutex_unlock(&s->mutex);
}

static bool is_cancelled(const struct chord_job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

// Appends what has come in to the active list, oldest first.
static void take_incoming(struct scheduler *s)
{
    uv_mutex_lock(&s->mutex);
    struct chord_job *newest_first = s->incoming;
    s->incoming = NULL;
    uv_mutex_unlock(&s->mutex);
    struct chord_job *oldest_first = NULL;
    while (newest_first != NULL) {
        struct chord_job *job = newest_first;
        newest_first = job->next;
        job->next = oldest_first;
        oldest_first = job;
    }
    struct chord_job **end = &s->active;
    while (*end != NULL)
        end = &(*end)->next;
    *end = oldest_first;
}

// Finishes cancelled jobs and drops finished ones from the active list.
static void sweep(struct chord_model *model)
{
    struct scheduler *s = &model->scheduler;
    uint64_t kv_tokens = 0, kv_blocks = 0;
    s->kv_stamp += s->kv_stamp == UINT32_MAX ? 2 : 1;
    for (struct chord_job **at = &s->active; *at != NULL;) {
        struct chord_job *job = *at;
        if (job->finish == CHORD_RUNNING && is_cancelled(job))
            job_finish(job, CHORD_FINISH_CANCELLED, NULL);
        if (job->finish == CHORD_RUNNING) {
            kv_tokens += job->n_done;
            kv_blocks += kv_cache_count(&job->kv, s->kv_stamp);
            at = &job->next;
            continue;
        }
        *at = job->next;
        uv_mutex_lock(&s->mutex);
        s->n_jobs--;
        s->n_ended++;
        uv_mutex_unlock(&s->mutex);
        job_release(job);
    }
    sessions_sweep(model, false);
    sessions_count(model, s->kv_stamp, &kv_tokens, &kv_blocks);
    atomic_store_explicit(&model->kv_tokens, kv_tokens, memory_order_relaxed);
    atomic_store_explicit(&model->kv_blocks, kv_blocks, memory_order_relaxed);
}

void scheduler_free(struct chord_model *model)
{
    struct scheduler *s = &model->scheduler;
    if (!model->has_scheduler)
        return;
    take_incoming(s);
    for (struct chord_job *job = s->active; job != NULL; job = job->next)
        chord_job_cancel(job);
    sweep(model);
    sessions_sweep(model, true);
    memory_free(&model->account, s->rows);
    memory_free(&model->account, s->outputs);
    uv_mutex_destroy(&s->mutex);
}

// Jobs that have been told which token to go on with do so.
static void take_answers(struct scheduler *s)
{
    for (struct chord_job *job = s->active; job != NULL; job = job->next)
        if (job->finish == CHORD_RUNNING && !is_cancelled(job))
            job_take_answer(job);
}

// Such jobs hold memory, and go on when they have been answered.
static bool some_ask(const struct scheduler *s)
{
    bool some = false;
    for (const struct chord_job *job = s->active; job != NULL; job = job->next)
        some |= job->is_asking;
    return some;
}

void chord_model_settle(struct chord_model *model)
{
    take_incoming(&model->scheduler);
    sweep(model);
}

// ---- A batch -----------------------------------------------------------------------------------------------------------

static bool wants_logits(const struct chord_job *job, uint64_t position)
{
    if (job->kind == JOB_SCORE)
        return position + 1 >= job->first_scored && position + 1 < job->n_tokens;
    if (job->kind == JOB_EMBED && job->pooling != CHORD_POOLING_LAST)
        return job->pooling == CHORD_POOLING_MEAN || position == 0;
    return position + 1 >= job->n_tokens;
}

// A row beyond the known tokens is that of a guess.
static uint32_t token_at(const struct chord_job *job, uint64_t position)
{
    return position < job->n_tokens ? job->tokens[position] : job->guesses->tokens[position - job->n_tokens];
}

static void add_rows(struct scheduler *s, struct chord_job *job, uint64_t n)
{
    const bool is_encoder = job->model->graph->is_encoder;
    const uint64_t first = job->n_done + job->n_in_step;
    for (uint64_t position = first; position < first + n; position++) {
        if (wants_logits(job, position))
            s->outputs[s->n_outputs++] = (struct batch_output){job, s->n_rows};
        s->rows[s->n_rows++] = (struct batch_row){.token = token_at(job, position),
                                                  .position = (uint32_t)position,
                                                  .in_prompt = job_row_in_prompt(job, position),
                                                  .kv = &job->kv,
                                                  .token_type = position >= job->second_part,
                                                  .n_keys = is_encoder ? (uint32_t)job->n_tokens : 0};
    }
    job->n_in_step += (uint32_t)n;
}

static bool is_for_want_of_memory(enum chord_status status)
{
    return status == CHORD_MEMORY_BUDGET || status == CHORD_OUT_OF_MEMORY;
}

static bool others_work(const struct scheduler *s)
{
    for (const struct chord_job *job = s->active; job != NULL; job = job->next)
        if (job->finish == CHORD_RUNNING && !job_waits_for_session(job))
            return true;
    return false;
}

// Gives the first of the jobs that wait for it the cache of its session; all others after it. One for which there is no memory waits
// until a job that holds some has ended.
static void lend_caches(struct scheduler *s)
{
    struct chord_error error;
    for (struct chord_job *job = s->active; job != NULL; job = job->next) {
        if (job->finish != CHORD_RUNNING || !job_waits_for_session(job))
            continue;
        const bool others = others_work(s);
        if (job->n_ended_when_refused == s->n_ended + 1 && others)
            return;
        const enum chord_status status = session_lend(job, &error);
        if (status != CHORD_OK && others && is_for_want_of_memory(status)) {
            job->n_ended_when_refused = s->n_ended + 1;
            return;
        }
        if (status != CHORD_OK)
            job_finish(job, CHORD_FINISH_ERROR, &error);
        else if (!job->is_lent)
            return;
    }
}

// Room in the cache for n more tokens of the job. False: it takes no part in this step, for want of memory that
// others hold and will give back, or because it just failed.
static bool reserve_kv(const struct scheduler *s, struct chord_job *job, uint64_t n)
{
    struct chord_error error;
    enum chord_status status;
    do { // blocks of a session's that the job shares may have to be read back first
        status = kv_cache_wake(&job->kv, job->kv.n_blocks, model_kv_reads(job->model), &error);
        if (status == CHORD_OK && job->kv.n_used < job->kv.n_blocks)
            return false;
        if (status == CHORD_OK)
            status = kv_cache_reserve(&job->kv, job->n_done + job->n_in_step + n, &error);
        if (status == CHORD_OK)
            return true;
    } while (is_for_want_of_memory(status) && model_forget_grammars(job->model, 0));
    const bool others_hold_memory = s->n_rows > 0 || some_ask(s);
    if (!(job_in_prompt(job) && others_hold_memory && is_for_want_of_memory(status)))
        job_finish(job, CHORD_FINISH_ERROR, &error);
    return false;
}

// Gives each generating job what the next step is to compute of its guesses.
static void choose_guesses(struct chord_model *model, const struct chord_cancel *cancel)
{
    struct scheduler *s = &model->scheduler;
    struct chord_job *jobs[SPECULATE_MAX_ROWS];
    uint32_t n_jobs = 0, n_guessing = 0;
    bool beside_prompts = false;
    for (struct chord_job *job = s->active; job != NULL; job = job->next) {
        if (job->finish != CHORD_RUNNING || job->is_asking)
            continue;
        beside_prompts |= job_in_prompt(job);
        if (job_in_prompt(job))
            continue;
        if (job->guesses != NULL)
            job->guesses->n_in_step = 0;
        n_guessing += job->guesses != NULL;
        if (n_jobs < SPECULATE_MAX_ROWS)
            jobs[n_jobs] = job;
        n_jobs++;
    }
    if (n_guessing > 0 && n_jobs < SPECULATE_MAX_ROWS)
        jobs_choose_guesses(model, jobs, n_jobs, beside_prompts, cancel);
}

static bool is_generating(const struct chord_job *job)
{
    return job->finish == CHORD_RUNNING && !job_in_prompt(job) && !job->is_asking;
}

// Guesses are not worth an error, neither this job's nor another's: every known token has its room before the first guess, and without
// room for its guesses goes alone.
static void add_generated_rows(struct scheduler *s, bool with_guesses)
{
    for (struct chord_job *job = s->active; job != NULL; job = job->next)
        if (is_generating(job))
            reserve_kv(s, job, 1);
    for (struct chord_job *job = s->active; job != NULL && s->n_rows < BATCH_MAX_ROWS; job = job->next) {
        if (!is_generating(job))
            continue;
        uint32_t n_guesses = with_guesses && job->guesses != NULL ? job->guesses->n_in_step : 0;
        if (n_guesses > 0 && kv_cache_reserve(&job->kv, job->n_done + 1 + n_guesses, NULL) != CHORD_OK)
            n_guesses = 0;
        if (job->guesses != NULL)
            job->guesses->n_in_step = n_guesses;
        add_rows(s, job, 1 + n_guesses);
    }
}

static void add_prompt_rows(struct scheduler *s, struct chord_job *job, uint64_t n)
{
    if (job->started_ns == 0)
        job->started_ns = os_now_ns();
    add_rows(s, job, n);
}

// A token that an earlier job of the session generated and whose row is not in the cache: of prompts, the matvec family's work too.
static void add_rows_generated_before(struct scheduler *s)
{
    for (struct chord_job *job = s->active; job != NULL && s->n_rows < BATCH_MAX_ROWS; job = job->next)
        if (job->finish == CHORD_RUNNING && !job_waits_for_session(job) && job_in_prompt(job) &&
            !job_row_in_prompt(job, job->n_done) && reserve_kv(s, job, 1))
            add_prompt_rows(s, job, 1);
}

// Rows from the job's next one on that are computed as those of a prompt.
static uint64_t count_prompt_rows(const struct chord_job *job, uint64_t most)
{
    const uint64_t first = job->n_done + job->n_in_step;
    uint64_t n = 0;
    while (n < most && first + n < job->n_tokens && job_row_in_prompt(job, first + n))
        n++;
    return n;
}

static void gather_batch(struct chord_model *model, bool with_guesses, const struct chord_cancel *cancel)
{
    struct scheduler *s = &model->scheduler;
    s->n_rows = s->n_outputs = 0;
    for (struct chord_job *job = s->active; job != NULL; job = job->next)
        job->n_in_step = 0;
    lend_caches(s);
    if (with_guesses)
        choose_guesses(model, cancel);
    add_generated_rows(s, with_guesses);
    add_rows_generated_before(s);
    uint64_t room = BATCH_MAX_ROWS - s->n_rows;
    if (s->n_rows > 0 && room > BATCH_MAX_PROMPT_ROWS_BESIDE_GENERATION)
        room = BATCH_MAX_PROMPT_ROWS_BESIDE_GENERATION;
    for (struct chord_job *job = s->active; job != NULL && room > 0; job = job->next) {
        if (job->finish != CHORD_RUNNING || job_waits_for_session(job) || !job_in_prompt(job) ||
            (job->n_in_step == 0 && !job_share_prefix(job, s->active)))
            continue;
        // All rows of an encoder's text, or none; one that is longer than a batch of others goes alone.
        const bool is_encoder = model->graph->is_encoder;
        if (is_encoder && s->n_rows > 0 && job->n_tokens > room)
            break;
        const uint64_t n = is_encoder ? job->n_tokens : count_prompt_rows(job, room);
        if (n == 0 || !reserve_kv(s, job, n))
            continue;
        add_prompt_rows(s, job, n);
        room -= n < room ? n : room;
    }
}

static struct chord_job *job_of_row(struct batch_row *row)
{
    return (struct chord_job *)((char *)row->kv - offsetof(struct chord_job, kv));
}

static bool is_guess(struct batch_row *row)
{
    const struct chord_job *job = job_of_row(row);
    return job->kind == JOB_GENERATE && row->position >= job->n_tokens;
}

static bool has_guesses(struct scheduler *s)
{
    for (uint32_t i = 0; i < s->n_rows; i++)
        if (is_guess(&s->rows[i]))
            return true;
    return false;
}

struct abort_check {
    struct scheduler *scheduler;
    const struct chord_cancel *cancel;
};

// A step is given up when most of its rows have become useless: running the rest again is then the shorter way.
static bool abort_requested(void *user)
{
    const struct abort_check *check = user;
    struct scheduler *s = check->scheduler;
    uint32_t n_useless = 0;
    if (check->cancel != NULL && atomic_load_explicit(&check->cancel->requested, memory_order_relaxed))
        return true;
    for (uint32_t i = 0; i < s->n_rows; i++)
        n_useless += is_cancelled(job_of_row(&s->rows[i]));
    return n_useless * 2 > s->n_rows;
}

static void fail_batch(struct scheduler *s, const struct chord_error *error)
{
    for (uint32_t i = 0; i < s->n_rows; i++) {
        struct chord_job *job = job_of_row(&s->rows[i]);
        if (job->finish == CHORD_RUNNING)
            job_finish(job, CHORD_FINISH_ERROR, error);
    }
}

// The keys and values of the batch are in the caches.
static void commit(struct chord_model *model)
{
    struct scheduler *s = &model->scheduler;
    uint64_t n_prompt = 0, n_guessed = 0, n_drafted = 0;
    for (uint32_t i = 0; i < s->n_rows; i++) {
        struct chord_job *job = job_of_row(&s->rows[i]);
        if (is_guess(&s->rows[i])) {
            n_guessed++;
            job->n_guessed++;
            if (job->guesses->from_draft) {
                n_drafted++;
                job->n_drafted++;
            }
            continue;
        }
        n_prompt += s->rows[i].in_prompt;
        job->n_done++;
        if (i + 1 == s->n_rows || job_of_row(&s->rows[i + 1]) != job)
            job_progress(job);
    }
    atomic_fetch_add(&model->n_steps, 1);
    atomic_fetch_add(&model->n_prompt_tokens, n_prompt);
    atomic_fetch_add(&model->n_generated_tokens, s->n_rows - n_prompt - n_guessed);
    atomic_fetch_add(&model->n_guessed_tokens, n_guessed);
    atomic_fetch_add(&model->n_drafted_tokens, n_drafted);
}

// Hands on what the step computed of prompts while whoever computed it is still there: the logits may end it.
static void share_prefixes(struct scheduler *s)
{
    for (struct chord_job *job = s->active; job != NULL; job = job->next)
        if (job->finish == CHORD_RUNNING && !job_waits_for_session(job) && job_in_prompt(job))
            job_share_prefix(job, s->active);
}

// Whether the row is of the text as it is by now: that of a guess is, once that token has been chosen. It then counts as known.
static bool belongs_to_text(struct chord_model *model, const struct batch_row *row, struct chord_job *job)
{
    if (job->kind != JOB_GENERATE || row->position < job->n_done)
        return true;
    if (row->position + 1 != job->n_tokens || job->tokens[row->position] != row->token)
        return false;
    job->n_done++;
    job->n_accepted++;
    atomic_fetch_add(&model->n_generated_tokens, 1);
    atomic_fetch_add(&model->n_accepted_tokens, 1);
    if (job->guesses->from_draft) {
        job->n_accepted_drafts++;
        atomic_fetch_add(&model->n_accepted_draft_tokens, 1);
    }
    return true;
}

static enum chord_status run_outputs(struct chord_model *model, struct chord_error *err)
{
    struct scheduler *s = &model->scheduler;
    for (uint32_t first = 0, n; first < s->n_outputs; first += n) {
        uint32_t rows[BATCH_MAX_OUTPUTS];
        float *logits;
        const bool embeds = s->outputs[first].job->kind == JOB_EMBED;
        for (n = 0; n < BATCH_MAX_OUTPUTS && first + n < s->n_outputs; n++) {
            if ((s->outputs[first + n].job->kind == JOB_EMBED) != embeds)
                break;
            rows[n] = s->outputs[first + n].row;
        }
        const uint64_t begin = os_now_ns();
        const enum chord_status status = embeds ? backend_run_embedding(model->backend, rows, n, &logits, err)
                                                : backend_run_head(model->backend, rows, n, &logits, err);
        s->backend_ns += os_now_ns() - begin;
        if (status != CHORD_OK)
            return status;
        const uint64_t stride = embeds ? model_n_embedding(model) : model->hparams.n_vocab;
        for (uint32_t i = 0; i < n; i++) {
            const struct batch_output *output = &s->outputs[first + i];
            const struct batch_row *row = &s->rows[output->row];
            if (output->job->finish == CHORD_RUNNING && belongs_to_text(model, row, output->job))
                job_accept_logits(output->job, row->position, logits + i * stride);
        }
    }
    return CHORD_OK;
}

static enum chord_status reserve_scratch(struct chord_model *model, struct chord_error *err)
{
    struct scheduler *s = &model->scheduler;
    for (bool again = false;; again = true) {
        const uint32_t n_outputs = s->n_outputs < BATCH_MAX_OUTPUTS ? s->n_outputs : BATCH_MAX_OUTPUTS;
        enum chord_status status = backend_reserve(model->backend, s->n_rows, n_outputs, err);
        if (is_for_want_of_memory(status) && model_forget_grammars(model, 0))
            status = backend_reserve(model->backend, s->n_rows, n_outputs, err);
        if (status == CHORD_OK || again || !has_guesses(s))
            return status;
        gather_batch(model, false, NULL);
    }
}

static void run_step(struct chord_model *model, const struct chord_cancel *cancel)
{
    struct scheduler *s = &model->scheduler;
    struct chord_error error;
    struct abort_check check = {.scheduler = s, .cancel = cancel};
    const uint64_t begin = os_now_ns();
    enum chord_status status = weights_check_unchanged(model->weights, &error);
    // Scratch of a prompt is worth more as memory for weights, where these do not fit.
    if (weights_mode(model->weights) == WEIGHTS_PAGED && s->n_rows <= SMALL_BATCH_ROWS)
        backend_trim(model->backend, SMALL_BATCH_ROWS);
    if (status == CHORD_OK)
        status = reserve_scratch(model, &error);
    const uint64_t trunk_begin = os_now_ns();
    if (status == CHORD_OK)
        status = backend_run_trunk(model->backend, s->rows, s->n_rows, abort_requested, &check, &error);
    if (status == CHORD_OK) {
        s->backend_ns = os_now_ns() - trunk_begin;
        const bool generated_only = !s->rows[s->n_rows - 1].in_prompt;
        commit(model);
        if (!generated_only)
            share_prefixes(s);
        status = run_outputs(model, &error);
        if (status == CHORD_OK && generated_only)
            step_costs_learn(&s->costs, s->n_rows, s->backend_ns);
    }
    if (status != CHORD_OK && status != CHORD_CANCELLED)
        fail_batch(s, &error);
    atomic_fetch_add(&model->compute_ns, os_now_ns() - begin);
}

bool chord_model_run(struct chord_model *model, double seconds, struct chord_cancel *cancel)
{
    struct scheduler *s = &model->scheduler;
    const double deadline = os_now_seconds() + seconds;
    uint64_t n_ended;
    bool stopping;
    // The model may be drafting for others: that takes as long as a few of its tokens.
    uv_mutex_lock(&model->host->running);
    do {
        n_ended = s->n_ended;
        take_incoming(s);
        take_answers(s);
        sweep(model);
        weights_settle(model->weights, model->spare);
        gather_batch(model, true, cancel);
        if (s->n_rows > 0)
            run_step(model, cancel);
        sweep(model);
        stopping = cancel != NULL && atomic_load(&cancel->requested);
    } while (s->n_rows > 0 && !stopping && os_now_seconds() < deadline);
    const bool all_wait = s->n_rows == 0 && s->n_ended == n_ended && some_ask(s);
    uv_mutex_unlock(&model->host->running);
    uv_mutex_lock(&s->mutex);
    const bool work_left = s->n_jobs > 0 && (!all_wait || s->incoming != NULL);
    uv_mutex_unlock(&s->mutex);
    return work_left;
}
