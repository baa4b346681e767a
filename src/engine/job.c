#include "engine/job.h"

#include "engine/grammars.h"
#include "engine/session.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

// ---- Output ----------------------------------------------------------------------------------------------------------

// Makes room for `more` elements. Growth doubles, so a steady stream allocates only until its buffers fit.
static bool reserve(struct memory_account *account, void **list, uint64_t n, uint64_t more, uint64_t *capacity,
                    uint64_t element)
{
    uint64_t wanted = *capacity == 0 ? 256 : *capacity;
    while (wanted < n + more)
        wanted *= 2;
    if (wanted == *capacity)
        return true;
    void *grown = memory_resize(account, MEMORY_SCRATCH, *list, wanted * element);
    if (grown == NULL)
        return false;
    *list = grown;
    *capacity = wanted;
    return true;
}

static bool append_text(struct chord_job *job, const char *text, uint64_t n_bytes)
{
    struct job_output *out = &job->pending;
    if (!reserve(&job->model->account, (void **)&out->text, out->n_text_bytes, n_bytes, &out->text_capacity, 1))
        return false;
    memcpy(out->text + out->n_text_bytes, text, n_bytes);
    out->n_text_bytes += n_bytes;
    return true;
}

static bool append_event(struct chord_job *job, const struct sampler_choice *choice, uint64_t n_text_bytes)
{
    struct job_output *out = &job->pending;
    struct memory_account *account = &job->model->account;
    if (!reserve(account, (void **)&out->events, out->n_events, 1, &out->event_capacity, sizeof *out->events) ||
        !reserve(account, (void **)&out->tops, out->n_tops, choice->n_top, &out->top_capacity, sizeof *out->tops))
        return false;
    out->events[out->n_events++] = (struct chord_token_event){
        .token = choice->token,
        .n_text_bytes = (uint32_t)n_text_bytes,
        .logprob = choice->logprob,
        .n_top = choice->n_top,
    };
    for (uint32_t i = 0; i < choice->n_top; i++)
        out->tops[out->n_tops++] = (struct chord_token_logprob){choice->top[i].token, choice->top[i].logprob};
    return true;
}

static void output_free(struct memory_account *account, struct job_output *out)
{
    memory_free(account, out->text);
    memory_free(account, out->events);
    memory_free(account, out->tops);
}

void chord_job_take(struct chord_job *job, struct chord_output *out)
{
    uv_mutex_lock(&job->mutex);
    const struct job_output swap = job->taken;
    job->taken = job->pending;
    job->pending = swap;
    job->pending.n_text_bytes = job->pending.n_events = job->pending.n_tops = 0;
    const struct chord_token_logprob *top = job->taken.tops;
    for (uint64_t i = 0; i < job->taken.n_events; i++) {
        job->taken.events[i].top = top;
        top += job->taken.events[i].n_top;
    }
    *out = (struct chord_output){
        .text = job->taken.text,
        .n_text_bytes = job->taken.n_text_bytes,
        .events = job->taken.events,
        .n_events = job->taken.n_events,
        .finish = job->finish,
        .n_prompt_done = job->n_prompt_done,
    };
    if (job->finish == CHORD_RUNNING && job->question == JOB_ASKED) {
        job->question = JOB_TOLD;
        out->asked = job->asked;
        out->n_asked = job->model->hparams.n_vocab;
    }
    if (job->finish != CHORD_RUNNING) {
        out->error = job->error;
        out->is_of_grammar = job->is_of_grammar;
        out->n_prompt = job->n_prompt;
        out->n_generated = job->n_generated;
        out->n_reused = job->n_reused;
        out->n_guessed = job->n_guessed;
        out->n_accepted = job->n_accepted;
        out->n_drafted = job->n_drafted;
        out->n_accepted_drafts = job->n_accepted_drafts;
        const uint64_t prompt_end = job->prompt_done_ns != 0 ? job->prompt_done_ns : job->finished_ns;
        if (job->started_ns != 0) {
            out->prompt_seconds = (double)(prompt_end - job->started_ns) * 1e-9;
            out->generate_seconds = (double)(job->finished_ns - prompt_end) * 1e-9;
        }
        out->logits = job->logits;
        out->n_logits = job->logits != NULL ? job->model->hparams.n_vocab : 0;
        out->embedding = job->embedding;
        out->n_embedding = job->embedding != NULL ? model_n_embedding(job->model) : 0;
        out->nll = job->nll;
        out->n_scored = job->n_scored;
    }
    uv_mutex_unlock(&job->mutex);
}

void job_progress(struct chord_job *job)
{
    uv_mutex_lock(&job->mutex);
    job->n_prompt_done = job->n_done < job->n_prompt ? job->n_done : job->n_prompt;
    uv_mutex_unlock(&job->mutex);
}

// ---- Life ------------------------------------------------------------------------------------------------------------

static void job_destroy(struct chord_job *job)
{
    struct memory_account *account = &job->model->account;
    kv_cache_free(&job->kv);
    sampler_free(job->sampler, account);
    job_free_constraint(job);
    chord_grammar_free(job->grammar);
    stop_matcher_free(job->stop, account);
    job_free_guesses(job);
    output_free(account, &job->pending);
    output_free(account, &job->taken);
    memory_free(account, job->choice);
    memory_free(account, job->asked);
    memory_free(account, job->logits);
    memory_free(account, job->sums);
    memory_free(account, job->embedding);
    memory_free(account, job->piece);
    memory_free(account, job->released);
    memory_free(account, job->tokens);
    memory_free(account, job->generated);
    uv_mutex_destroy(&job->mutex);
    memory_free(account, job);
}

void job_release(struct chord_job *job)
{
    if (atomic_fetch_sub(&job->n_references, 1) == 1)
        job_destroy(job);
}

void chord_job_cancel(struct chord_job *job)
{
    atomic_store(&job->cancelled, true);
}

void chord_job_free(struct chord_job *job)
{
    if (job == NULL)
        return;
    chord_job_cancel(job);
    job_release(job);
}

// The end of the text without a stop string: nothing held back can become one, or a character, any more.
static void release_held(struct chord_job *job)
{
    uint64_t n;
    const uint64_t n_piece = detokenizer_finish(&job->detokenizer, job->piece);
    const bool stopped = stop_matcher_push(job->stop, job->piece, n_piece, job->released, &n);
    job->is_cut |= stopped;
    uv_mutex_lock(&job->mutex);
    bool stored = append_text(job, job->released, n);
    if (!stopped) {
        stop_matcher_finish(job->stop, job->released, &n);
        stored = append_text(job, job->released, n) && stored;
    }
    uv_mutex_unlock(&job->mutex);
    job->out_of_memory |= !stored;
}

void job_finish(struct chord_job *job, enum chord_finish finish, const struct chord_error *error)
{
    struct chord_error memory_error;
    job_end_guesses(job);
    if (job->kind == JOB_GENERATE && (finish == CHORD_FINISH_LENGTH || finish == CHORD_FINISH_CANCELLED))
        release_held(job);
    if (job->out_of_memory && finish != CHORD_FINISH_ERROR) {
        memory_account_fail(&job->model->account, &memory_error, job->pending.text_capacity, "generated text");
        finish = CHORD_FINISH_ERROR;
        error = &memory_error;
    }
    if (job->session != NULL)
        session_take_back(job);
    else
        kv_cache_free(&job->kv);
    const bool is_of_grammar =
        finish == CHORD_FINISH_STOP && !job->is_cut && job->constraint != NULL && constraint_can_end(job->constraint);
    job_free_constraint(job);
    uv_mutex_lock(&job->mutex);
    job->is_of_grammar = is_of_grammar;
    job->finished_ns = os_now_ns();
    job->finish = finish;
    if (error != NULL)
        job->error = *error;
    uv_mutex_unlock(&job->mutex);
}

// ---- Logits ------------------------------------------------------------------------------------------------------------

static void accept_scored(struct chord_job *job, uint64_t position, const float *logits)
{
    const struct kernels *kernels = &job->model->kernels;
    const uint32_t n_vocab = job->model->hparams.n_vocab;
    const float max = kernels->max(logits, n_vocab);
    const double log_sum = log(kernels->sum_exp(logits, max, n_vocab));
    job->nll += (double)max + log_sum - (double)logits[job->tokens[position + 1]];
    job->n_scored++;
}

// A token was chosen that does not end the text: gives out what it releases. Returns how the job ends, if it does.
static enum chord_finish accept_token(struct chord_job *job)
{
    const struct sampler_choice *choice = job->choice;
    uint64_t n_released = 0;
    job->tokens[job->n_tokens++] = choice->token;
    sampler_accept(job->sampler, choice->token);
    if (job->constraint != NULL)
        constraint_accept(job->constraint, choice->token); // allowed, as it was chosen
    const uint64_t n_piece = detokenizer_push(&job->detokenizer, choice->token, job->piece);
    const bool stopped = stop_matcher_push(job->stop, job->piece, n_piece, job->released, &n_released);
    job->is_cut |= stopped;
    uv_mutex_lock(&job->mutex);
    job->n_generated++;
    const bool stored = append_text(job, job->released, n_released) && append_event(job, choice, n_released);
    uv_mutex_unlock(&job->mutex);
    job->out_of_memory = !stored;
    if (stopped)
        return CHORD_FINISH_STOP;
    if (job->constraint != NULL && constraint_must_end(job->constraint)) {
        release_held(job);
        return CHORD_FINISH_STOP;
    }
    if (job->n_generated >= job->max_tokens || job->n_tokens >= job->model->n_ctx)
        return CHORD_FINISH_LENGTH;
    return CHORD_RUNNING;
}

static void fail_choice(struct chord_job *job)
{
    struct chord_error error;
    if (job->constraint != NULL)
        job_explain_constraint(job, &error);
    else
        chord_fail(&error, CHORD_INVALID_ARGUMENT,
                   "no token can be chosen: every logit is -infinity or NaN; the logit bias forbids all tokens, or the "
                   "model's weights are damaged");
    job_finish(job, CHORD_FINISH_ERROR, &error);
}

// A token has been chosen.
static void accept_choice(struct chord_job *job)
{
    enum chord_finish finish;
    if (job->choice->token == TOKEN_NONE) {
        fail_choice(job);
        return;
    }
    job_check_guess(job, job->choice->token);
    if (tokenizer_is_end_of_generation(job->model->tokenizer.tokenizer, job->choice->token)) {
        release_held(job);
        finish = CHORD_FINISH_STOP;
    } else {
        finish = accept_token(job);
    }
    if (finish != CHORD_RUNNING || job->out_of_memory)
        job_finish(job, finish, NULL);
}

static void ask(struct chord_job *job, const float *logits)
{
    memcpy(job->asked, logits, job->model->hparams.n_vocab * sizeof *logits);
    job->is_asking = true;
    uv_mutex_lock(&job->mutex);
    job->question = JOB_ASKED;
    uv_mutex_unlock(&job->mutex);
}

void job_take_answer(struct chord_job *job)
{
    if (!job->is_asking)
        return;
    uv_mutex_lock(&job->mutex);
    const bool is_answered = job->question == JOB_ANSWERED;
    if (is_answered)
        job->question = JOB_NOT_ASKING;
    uv_mutex_unlock(&job->mutex);
    if (!is_answered)
        return;
    job->is_asking = false;
    sampler_settle(job->sampler, job->answer, job->choice);
    accept_choice(job);
}

enum chord_status chord_job_choose(struct chord_job *job, uint32_t token, struct chord_error *err)
{
    enum chord_status status = CHORD_OK;
    uv_mutex_lock(&job->mutex);
    if (job->question != JOB_ASKED && job->question != JOB_TOLD)
        status = chord_fail(err, CHORD_INVALID_ARGUMENT, "no token is to be chosen for this generation");
    else if (token >= job->model->hparams.n_vocab)
        status = chord_fail(err, CHORD_INVALID_ARGUMENT, "token %u is not in the vocabulary of %u tokens", token,
                            job->model->hparams.n_vocab);
    else if (!(job->asked[token] > -INFINITY))
        status = chord_fail(err, CHORD_INVALID_ARGUMENT, "token %u can't be chosen: its logit is %g", token,
                            (double)job->asked[token]);
    if (status == CHORD_OK) {
        job->answer = token;
        job->question = JOB_ANSWERED;
    }
    uv_mutex_unlock(&job->mutex);
    return status;
}

static void accept_generated(struct chord_job *job, float *logits)
{
    struct chord_error error;
    if (job->prompt_done_ns == 0)
        job->prompt_done_ns = os_now_ns();
    if (job->max_tokens == 0) {
        job_finish(job, CHORD_FINISH_LENGTH, NULL);
        return;
    }
    if (job_create_constraint(job, &error) != CHORD_OK) {
        job_finish(job, CHORD_FINISH_ERROR, &error);
        return;
    }
    if (job->constraint != NULL && constraint_must_end(job->constraint)) { // the only text of the grammar is empty
        job_finish(job, CHORD_FINISH_STOP, NULL);
        return;
    }
    if (job->asked != NULL) {
        sampler_prepare(job->sampler, logits, job->choice);
        if (job->constraint != NULL && !constraint_apply(job->constraint, logits)) {
            fail_choice(job);
            return;
        }
        ask(job, logits);
        return;
    }
    sampler_choose_within(job->sampler, job->constraint, logits, job->choice);
    accept_choice(job);
}

static void accept_embedding(struct chord_job *job, uint64_t position, const float *row)
{
    const uint32_t n = model_n_embedding(job->model);
    const bool is_last = position + 1 == job->n_tokens;
    if (job->pooling == CHORD_POOLING_MEAN) {
        for (uint32_t i = 0; i < n; i++)
            job->sums[i] += (double)row[i];
        for (uint32_t i = 0; is_last && i < n; i++)
            job->embedding[i] = (float)(job->sums[i] / (double)job->n_tokens);
    } else {
        memcpy(job->embedding, row, n * sizeof *row);
    }
    if (job->pooling != CHORD_POOLING_MEAN || is_last)
        job_finish(job, CHORD_FINISH_STOP, NULL);
}

void job_accept_logits(struct chord_job *job, uint64_t position, float *logits)
{
    switch (job->kind) {
    case JOB_GENERATE:
        accept_generated(job, logits);
        break;
    case JOB_EVALUATE:
        memcpy(job->logits, logits, job->model->hparams.n_vocab * sizeof *logits);
        job_finish(job, CHORD_FINISH_STOP, NULL);
        break;
    case JOB_SCORE:
        accept_scored(job, position, logits);
        if (position + 2 == job->n_tokens)
            job_finish(job, CHORD_FINISH_STOP, NULL);
        break;
    case JOB_EMBED:
        accept_embedding(job, position, logits);
        break;
    }
}

// ---- Creation --------------------------------------------------------------------------------------------------------

static enum chord_status check_tokens(const struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens,
                                      struct chord_error *err)
{
    if (n_tokens == 0)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "there are no tokens to compute: an empty prompt needs a vocabulary with a BOS token");
    if (n_tokens > model->n_ctx)
        return chord_fail(err, CHORD_CONTEXT_FULL, "%llu tokens do not fit the context of %u",
                          (unsigned long long)n_tokens, model->n_ctx);
    for (uint64_t i = 0; i < n_tokens; i++)
        if (tokens[i] >= model->hparams.n_vocab)
            return chord_fail(err, CHORD_INVALID_ARGUMENT,
                              "token %u at index %llu is not in the vocabulary of %u tokens", tokens[i],
                              (unsigned long long)i, model->hparams.n_vocab);
    return CHORD_OK;
}

static enum chord_status check_head(const struct chord_model *model, struct chord_error *err)
{
    if (model_has_head(model))
        return CHORD_OK;
    return chord_fail(
        err, CHORD_INVALID_ARGUMENT,
        "a model of the architecture '%s' is an encoder: it makes vectors of texts (embed) and foretells no "
        "tokens",
        model->arch->name);
}

static enum chord_status job_create(struct chord_model *model, enum job_kind kind, const uint32_t *tokens,
                                    uint64_t n_tokens, uint64_t capacity, struct chord_job **out,
                                    struct chord_error *err)
{
    struct memory_account *account = &model->account;
    *out = NULL;
    enum chord_status status = kind == JOB_EMBED ? CHORD_OK : check_head(model, err);
    if (status == CHORD_OK)
        status = check_tokens(model, tokens, n_tokens, err);
    if (status != CHORD_OK)
        return status;
    struct chord_job *job = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *job);
    if (job == NULL)
        return memory_account_fail(account, err, sizeof *job, "a generation");
    if (uv_mutex_init(&job->mutex) != 0) {
        memory_free(account, job);
        return chord_fail(err, CHORD_THREAD, "the system refused a lock for a generation");
    }
    job->model = model;
    job->kind = kind;
    job->second_part = UINT64_MAX;
    atomic_init(&job->n_references, 1);
    kv_cache_init(&job->kv, &model->kv_layout, account, model->kv_spill);
    job->tokens = memory_alloc(account, MEMORY_SCRATCH, capacity * sizeof *job->tokens, 16);
    if (job->tokens == NULL) {
        job_destroy(job);
        return memory_account_fail(account, err, capacity * sizeof *job->tokens, "a generation's tokens");
    }
    memcpy(job->tokens, tokens, n_tokens * sizeof *tokens);
    job->n_tokens = job->n_prompt = job->n_pure = n_tokens;
    job->capacity = capacity;
    *out = job;
    return CHORD_OK;
}

void chord_generate_options_init(struct chord_generate_options *options)
{
    *options = (struct chord_generate_options){
        .max_tokens = UINT64_MAX,
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1,
        .repeat_penalty = 1,
        .penalty_last_n = 64,
        .dynamic_exponent = 1,
        .xtc_threshold = 0.1f,
        .mirostat_eta = 0.1f,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_last_n = UINT32_MAX,
        .n_logprobs = -1,
    };
}

// The tokens that ignore_eos forbids. *out is freed by the caller, also on failure.
static enum chord_status list_end_tokens(struct chord_model *model, struct token_list *out, struct chord_error *err)
{
    for (uint32_t id = 0; id < model->hparams.n_vocab; id++)
        if (tokenizer_is_end_of_generation(model->tokenizer.tokenizer, id) && !token_list_append(out, id))
            return memory_account_fail(&model->account, err, 4096, "the list of end-of-generation tokens");
    return CHORD_OK;
}

// Of control tokens too: a text may be broken by them.
static uint64_t bytes_of_token(const void *user, uint32_t token, char *out, uint64_t max_bytes)
{
    const uint64_t n = tokenizer_token_bytes(user, token, true, out, max_bytes);
    return n < max_bytes ? n : max_bytes;
}

static void set_taste(struct sampler_options *sampler, const struct chord_generate_options *options,
                      const struct chord_job *job)
{
    const struct tokenizer *tokenizer = job->model->tokenizer.tokenizer;
    sampler->dynamic_range = options->dynamic_range;
    sampler->dynamic_exponent = options->dynamic_exponent;
    sampler->top_n_sigma = options->top_n_sigma;
    sampler->xtc_probability = options->xtc_probability;
    sampler->xtc_threshold = options->xtc_threshold;
    sampler->mirostat_tau = options->mirostat_tau;
    sampler->mirostat_eta = options->mirostat_eta;
    sampler->dry_multiplier = options->dry_multiplier;
    sampler->dry_base = options->dry_base;
    sampler->dry_allowed_length = options->dry_allowed_length;
    sampler->dry_last_n = options->dry_last_n < job->capacity ? options->dry_last_n : (uint32_t)job->capacity;
    sampler->token_bytes = bytes_of_token;
    sampler->token_bytes_user = tokenizer;
    sampler->max_token_bytes = tokenizer_max_token_bytes(tokenizer);
    sampler->samplers = options->samplers;
    sampler->n_samplers = options->n_samplers;
}

// The caller chooses: no chain, but what comes before it.
static void set_no_chain(struct sampler_options *sampler)
{
    static const char *const none[1] = {NULL};
    sampler->samplers = none;
    sampler->n_samplers = 0;
}

static enum chord_status create_sampler(struct chord_job *job, const struct chord_generate_options *options,
                                        struct chord_error *err)
{
    struct chord_model *model = job->model;
    struct token_list banned = {.account = &model->account};
    enum chord_status status = options->ignore_eos ? list_end_tokens(model, &banned, err) : CHORD_OK;
    // Rows of the embedding beyond the vocabulary are padding: they stand for no text.
    struct tokenizer_info info;
    tokenizer_info(model->tokenizer.tokenizer, &info);
    for (uint32_t id = info.n_vocab; status == CHORD_OK && id < model->hparams.n_vocab; id++)
        if (!token_list_append(&banned, id))
            status = memory_account_fail(&model->account, err, 4096, "the list of padding tokens");
    struct sampler_bias *biases = NULL;
    if (status == CHORD_OK) {
        biases = memory_zalloc(&model->account, MEMORY_SCRATCH, options->n_logit_bias, sizeof *biases);
        if (biases == NULL)
            status = memory_account_fail(&model->account, err, options->n_logit_bias * sizeof *biases, "logit biases");
    }
    for (uint32_t i = 0; status == CHORD_OK && i < options->n_logit_bias; i++)
        biases[i] = (struct sampler_bias){options->logit_bias[i].token, options->logit_bias[i].bias};
    struct sampler_string *breakers = NULL;
    if (status == CHORD_OK) {
        breakers = memory_zalloc(&model->account, MEMORY_SCRATCH, options->n_dry_breakers, sizeof *breakers);
        if (breakers == NULL)
            status =
                memory_account_fail(&model->account, err, options->n_dry_breakers * sizeof *breakers, "DRY breakers");
    }
    for (uint32_t i = 0; status == CHORD_OK && i < options->n_dry_breakers; i++)
        breakers[i] = (struct sampler_string){options->dry_breakers[i].bytes, options->dry_breakers[i].n_bytes};
    struct sampler_options sampler = {
        .temperature = options->temperature,
        .top_k = options->top_k,
        .top_p = options->top_p,
        .min_p = options->min_p,
        .typical_p = options->typical_p,
        .repeat_penalty = options->repeat_penalty,
        .frequency_penalty = options->frequency_penalty,
        .presence_penalty = options->presence_penalty,
        .penalty_last_n = options->penalty_last_n,
        .seed = options->has_seed ? options->seed : os_random_u64(),
        .n_logprobs = options->n_logprobs,
        .biases = biases,
        .n_biases = options->n_logit_bias,
        .banned = banned.ids,
        .n_banned = (uint32_t)banned.n,
        .dry_breakers = breakers,
        .n_dry_breakers = options->n_dry_breakers,
    };
    set_taste(&sampler, options, job);
    if (options->caller_chooses)
        set_no_chain(&sampler);
    if (status == CHORD_OK)
        status = sampler_create(&job->sampler, &sampler, model->hparams.n_vocab, &model->account, err);
    memory_free(&model->account, breakers);
    memory_free(&model->account, biases);
    token_list_free(&banned);
    return status;
}

static enum chord_status create_stop_matcher(struct chord_job *job, const struct chord_generate_options *options,
                                             struct chord_error *err)
{
    struct memory_account *account = &job->model->account;
    struct stop_string *strings = memory_zalloc(account, MEMORY_SCRATCH, options->n_stop, sizeof *strings);
    if (strings == NULL)
        return memory_account_fail(account, err, options->n_stop * sizeof *strings, "stop strings");
    for (uint32_t i = 0; i < options->n_stop; i++)
        strings[i] = (struct stop_string){options->stop[i].bytes, options->stop[i].n_bytes};
    const enum chord_status status = stop_matcher_create(&job->stop, strings, options->n_stop, account, err);
    memory_free(account, strings);
    return status;
}

static enum chord_status create_text_output(struct chord_job *job, struct chord_error *err)
{
    const struct tokenizer *tokenizer = job->model->tokenizer.tokenizer;
    struct memory_account *account = &job->model->account;
    struct tokenizer_info info;
    tokenizer_info(tokenizer, &info);
    // A text that begins with the generation loses the space that SentencePiece put before its first word.
    // With a
    // grammar it does not: the text is what the grammar has read.
    const bool starts_text = job->n_prompt == 1 && job->tokens[0] == info.bos && job->grammar == NULL;
    detokenizer_init(&job->detokenizer, tokenizer, false, starts_text);
    const uint64_t piece_bytes = detokenizer_max_bytes(tokenizer);
    const uint64_t released_bytes = piece_bytes + stop_matcher_max_held(job->stop);
    job->piece = memory_alloc(account, MEMORY_SCRATCH, piece_bytes, 1);
    job->released = memory_alloc(account, MEMORY_SCRATCH, released_bytes, 1);
    job->choice = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *job->choice);
    if (job->piece == NULL || job->released == NULL || job->choice == NULL)
        return memory_account_fail(account, err, piece_bytes + released_bytes, "a generation's text");
    return CHORD_OK;
}

static enum chord_status create_asked(struct chord_job *job, struct chord_error *err)
{
    const uint64_t bytes = (uint64_t)job->model->hparams.n_vocab * sizeof *job->asked;
    job->asked = memory_alloc(&job->model->account, MEMORY_SCRATCH, bytes, 64);
    return job->asked != NULL ? CHORD_OK : memory_account_fail(&job->model->account, err, bytes, "logits");
}

enum chord_status job_create_generation(struct chord_model *model, const uint32_t *prompt, uint64_t n_prompt,
                                        const struct chord_generate_options *options, struct chord_job **out,
                                        struct chord_error *err)
{
    struct chord_job *job;
    if (n_prompt >= model->n_ctx)
        return chord_fail(
            err, CHORD_CONTEXT_FULL,
            "the prompt has %llu tokens and the context holds %u: shorten the prompt to at most %u tokens, or "
            "load the model with a larger `context`",
            (unsigned long long)n_prompt, model->n_ctx, model->n_ctx - 1);
    const uint64_t room = model->n_ctx - n_prompt;
    const uint64_t capacity = n_prompt + (options->max_tokens < room ? options->max_tokens : room);
    enum chord_status status = job_create(model, JOB_GENERATE, prompt, n_prompt, capacity, &job, err);
    if (status != CHORD_OK)
        return status;
    job->max_tokens = options->max_tokens;
    job->never_ends = options->ignore_eos;
    job->grammar = grammar_object_keep(options->grammar);
    status = create_sampler(job, options, err);
    if (status == CHORD_OK)
        status = create_stop_matcher(job, options, err);
    if (status == CHORD_OK)
        status = create_text_output(job, err);
    if (status == CHORD_OK && options->caller_chooses)
        status = create_asked(job, err);
    if (status == CHORD_OK && !options->caller_chooses)
        status = job_create_guesses(job, &options->speculation, err);
    if (status != CHORD_OK) {
        job_release(job);
        return status;
    }
    for (uint64_t i = 0; i < n_prompt; i++)
        sampler_accept(job->sampler, prompt[i]);
    *out = job;
    return CHORD_OK;
}

enum chord_status chord_generate(struct chord_model *model, const uint32_t *prompt, uint64_t n_prompt,
                                 const struct chord_generate_options *options, struct chord_job **out,
                                 struct chord_error *err)
{
    const enum chord_status status = job_create_generation(model, prompt, n_prompt, options, out, err);
    if (status == CHORD_OK)
        scheduler_submit(model, *out);
    return status;
}

enum chord_status chord_evaluate(struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens,
                                 struct chord_job **out, struct chord_error *err)
{
    struct chord_job *job;
    const uint64_t bytes = (uint64_t)model->hparams.n_vocab * sizeof(float);
    const enum chord_status status = job_create(model, JOB_EVALUATE, tokens, n_tokens, n_tokens, &job, err);
    if (status != CHORD_OK)
        return status;
    job->logits = memory_alloc(&model->account, MEMORY_SCRATCH, bytes, 64);
    if (job->logits == NULL) {
        job_release(job);
        return memory_account_fail(&model->account, err, bytes, "logits");
    }
    scheduler_submit(model, job);
    *out = job;
    return CHORD_OK;
}

enum chord_status chord_score(struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens, uint64_t first,
                              struct chord_job **out, struct chord_error *err)
{
    struct chord_job *job;
    if (first < 1 || first >= n_tokens)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "the first token to score, %llu, is not between 1 and %llu",
                          (unsigned long long)first, n_tokens == 0 ? 0 : (unsigned long long)n_tokens - 1);
    const enum chord_status status = job_create(model, JOB_SCORE, tokens, n_tokens, n_tokens, &job, err);
    if (status != CHORD_OK)
        return status;
    job->first_scored = first;
    scheduler_submit(model, job);
    *out = job;
    return CHORD_OK;
}

enum chord_pooling model_pooling(const struct chord_model *model)
{
    const bool is_encoder = model->graph->is_encoder;
    switch (model->hparams.pooling) {
    case POOLING_MEAN:
        return CHORD_POOLING_MEAN;
    case POOLING_CLS:
        return CHORD_POOLING_CLS;
    case POOLING_LAST:
        return CHORD_POOLING_LAST;
    case POOLING_RANK:
        return is_encoder ? CHORD_POOLING_CLS : CHORD_POOLING_LAST;
    case POOLING_NONE:
        break;
    }
    return is_encoder ? CHORD_POOLING_MEAN : CHORD_POOLING_LAST;
}

enum chord_status chord_embed(struct chord_model *model, const uint32_t *tokens, uint64_t n_tokens,
                              const struct chord_embed_options *options, struct chord_job **out,
                              struct chord_error *err)
{
    struct chord_job *job;
    const enum chord_status status = job_create(model, JOB_EMBED, tokens, n_tokens, n_tokens, &job, err);
    if (status != CHORD_OK)
        return status;
    job->pooling = options->pooling == CHORD_POOLING_AUTO ? model_pooling(model) : options->pooling;
    if (options->second_part != 0)
        job->second_part = options->second_part;
    const uint64_t n = model_n_embedding(model), n_sums = job->pooling == CHORD_POOLING_MEAN ? n : 0;
    job->embedding = memory_alloc(&model->account, MEMORY_SCRATCH, n * sizeof *job->embedding, 64);
    job->sums = memory_zalloc(&model->account, MEMORY_SCRATCH, n_sums, sizeof *job->sums);
    if (job->embedding == NULL || job->sums == NULL) {
        job_release(job);
        return memory_account_fail(&model->account, err, n * sizeof *job->embedding, "the vector of a text");
    }
    scheduler_submit(model, job);
    *out = job;
    return CHORD_OK;
}
