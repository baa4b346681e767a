// Jobs and the scheduler, through chord.h: results that depend on nothing but a job's own tokens and options, cancellation,
// limits, what takes give. How models are opened is in test_engine_open.c.

#include "engine_helpers.h"

#include "os/thread.h"

// ---- Results -------------------------------------------------------------------------------------------------------------

static void threads_change_nothing(void **state)
{
    (void)state;
    uint32_t prompt[100];
    struct result *logits = NULL, *text = NULL;
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads *= 2) {
        open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_embd = 64, .n_ff = 96},
                  (struct chord_model_options){.n_threads = n_threads});
        random_tokens(prompt, 100, 1);
        struct result *l = finish_job(evaluate(prompt, 100)), *t = finish_job(start(prompt, 100, sampling(5, 80)));
        assert_int_equal(l->end.n_logits, m.options.n_vocab);
        assert_int_equal(t->n_tokens, 80);
        if (logits != NULL) {
            assert_same(l, logits);
            assert_same(t, text);
            result_free(logits);
            result_free(text);
        }
        logits = l;
        text = t;
        close_tiny();
    }
    result_free(logits);
    result_free(text);
}

// A prompt of several batches computed alone, and beside streams, which leave it 64 tokens a step.
static void a_prompt_beside_others(void **state)
{
    (void)state;
    enum { n = 700, n_others = 5 };
    static uint32_t prompt[n];
    struct chord_job *others[n_others];
    open_tiny((struct tiny_options){.n_ctx = 1024, .type = QUANT_Q8_0, .n_ff = 64}, (struct chord_model_options){0});
    random_tokens(prompt, n, 2);
    struct result *alone = finish_job(evaluate(prompt, n));
    const uint64_t steps_alone = stats().n_steps;
    for (uint32_t i = 0; i < n_others; i++)
        others[i] = start(prompt + i, 3 + 20 * i, sampling(i, 60));
    chord_model_run(model, 0, NULL);
    struct chord_job *second = evaluate(prompt, n);
    struct result *beside = finish_job(evaluate(prompt, n)), *besides = finish_job(second);
    assert_same(alone, beside);
    assert_same(alone, besides);
    assert_int_equal(steps_alone, 2); // 512 and the rest
    assert_true(stats().n_steps > steps_alone + n / 64);
    for (uint32_t i = 0; i < n_others; i++)
        result_free(finish_job(others[i]));
    result_free(alone);
    result_free(beside);
    result_free(besides);
    assert_idle();
    close_tiny();
}

static void generations_beside_others(void **state)
{
    (void)state;
    enum { n_jobs = 8 };
    static const uint32_t types[] = {QUANT_F32, QUANT_Q4_0};
    uint32_t prompt[n_jobs][90];
    for (size_t k = 0; k < 2; k++) {
        struct result *alone[n_jobs];
        struct chord_job *jobs[n_jobs];
        open_tiny((struct tiny_options){.type = types[k], .n_ff = 64}, (struct chord_model_options){0});
        for (uint32_t i = 0; i < n_jobs; i++) {
            random_tokens(prompt[i], 90, 10 + i);
            alone[i] = finish_job(start(prompt[i], 1 + 11 * i, sampling(i, 30 + 5 * i)));
            assert_int_equal(alone[i]->n_tokens, 30 + 5 * i);
            assert_int_equal(alone[i]->end.finish, CHORD_FINISH_LENGTH);
        }
        for (uint32_t i = 0; i < n_jobs; i++) {
            jobs[i] = start(prompt[i], 1 + 11 * i, sampling(i, 30 + 5 * i));
            for (uint32_t step = 0; step < i; step++)
                chord_model_run(model, 0, NULL);
        }
        for (uint32_t i = 0; i < n_jobs; i++) {
            struct result *beside = finish_job(jobs[i]);
            assert_same(alone[i], beside);
            result_free(alone[i]);
            result_free(beside);
        }
        assert_idle();
        close_tiny();
    }
}

// The same seed gives the same text, another seed another, none at all a text of its own each time.
static void seeds_decide(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270, 271};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct chord_generate_options unseeded = sampling(0, 40);
    unseeded.has_seed = false;
    struct result *a = finish_job(start(prompt, 3, sampling(1, 40))),
                  *b = finish_job(start(prompt, 3, sampling(2, 40)));
    struct result *c = finish_job(start(prompt, 3, unseeded)), *d = finish_job(start(prompt, 3, unseeded));
    assert_memory_not_equal(a->tokens, b->tokens, 40 * sizeof *a->tokens);
    assert_memory_not_equal(c->tokens, d->tokens, 40 * sizeof *c->tokens);
    result_free(a);
    result_free(b);
    result_free(c);
    result_free(d);
    close_tiny();
}

static double log_of_sum(const float *logits, uint64_t n)
{
    float most = -INFINITY;
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        most = fmaxf(most, logits[i]);
    for (uint64_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)most);
    return (double)most + log(sum);
}

static struct chord_job *score(const uint32_t *tokens, uint64_t n, uint64_t first)
{
    struct chord_job *job;
    struct chord_error err;
    if (chord_score(model, tokens, n, first, &job, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return job;
}

static void scores_are_of_the_logits(void **state)
{
    (void)state;
    enum { n = 60 };
    uint32_t tokens[n];
    double terms[n] = {0};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(tokens, n, 3);
    for (uint32_t i = 1; i < n; i++) {
        struct result *r = finish_job(evaluate(tokens, i));
        terms[i] = log_of_sum(r->logits, m.options.n_vocab) - (double)r->logits[tokens[i]];
        result_free(r);
    }
    static const uint32_t firsts[] = {1, 2, 30, n - 2, n - 1};
    for (size_t k = 0; k < sizeof firsts / sizeof *firsts; k++) {
        double nll = 0;
        for (uint32_t i = firsts[k]; i < n; i++)
            nll += terms[i];
        struct result *r = finish_job(score(tokens, n, firsts[k]));
        assert_int_equal(r->end.finish, CHORD_FINISH_STOP);
        assert_int_equal(r->end.n_scored, n - firsts[k]);
        assert_true(fabs(r->end.nll - nll) <= 1e-5 * nll);
        assert_null(r->end.logits);
        result_free(r);
    }
    assert_idle();
    close_tiny();
}

// Log-probabilities of a generation are those that a scoring of its text gives, but for what kernels of prompts and of single
// tokens round differently.
static void logprobs_are_scores(void **state)
{
    (void)state;
    uint32_t tokens[100];
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(tokens, 20, 4);
    struct chord_generate_options options = sampling(9, 50);
    options.n_logprobs = 3;
    struct chord_job *job = start(tokens, 20, options);
    double sum = 0;
    uint32_t n = 20;
    for (struct chord_output out = {.finish = CHORD_RUNNING}; out.finish == CHORD_RUNNING;) {
        chord_model_run(model, 0, NULL);
        chord_job_take(job, &out);
        for (uint64_t i = 0; i < out.n_events; i++) {
            const struct chord_token_event *e = &out.events[i];
            assert_int_equal(e->n_top, 3);
            assert_true(e->top[0].logprob >= e->top[1].logprob && e->top[1].logprob >= e->top[2].logprob);
            assert_true(e->logprob <= e->top[0].logprob);
            sum += (double)e->logprob;
            tokens[n++] = e->token;
        }
    }
    chord_job_free(job);
    assert_int_equal(n, 70);
    struct result *r = finish_job(score(tokens, 70, 20));
    if (fabs(r->end.nll + sum) > 1e-4 * fabs(sum))
        fail_msg("scored %.6f, generated with %.6f", r->end.nll, -sum);
    result_free(r);
    close_tiny();
}

// ---- Ends ----------------------------------------------------------------------------------------------------------------

static void max_tokens_is_exact(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270, 271, 272};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    for (uint64_t n = 0; n <= 5; n++) {
        struct result *r = finish_job(start(prompt, 4, sampling(1, n)));
        assert_int_equal(r->n_tokens, n);
        assert_int_equal(r->end.n_generated, n);
        assert_int_equal(r->end.n_prompt, 4);
        assert_int_equal(r->end.n_prompt_done, 4);
        assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
        assert_true(r->end.prompt_seconds > 0 && r->end.generate_seconds >= 0);
        result_free(r);
    }
    close_tiny();
}

static void the_context_is_filled_and_no_more(void **state)
{
    (void)state;
    uint32_t prompt[200];
    struct chord_error err;
    struct chord_job *job;
    open_tiny((struct tiny_options){.n_ctx = 100}, (struct chord_model_options){0});
    random_tokens(prompt, 200, 5);
    const struct chord_generate_options options = sampling(1, UINT64_MAX);
    static const uint32_t lengths[] = {1, 63, 64, 98, 99};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct result *r = finish_job(start(prompt, lengths[i], options));
        assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
        assert_int_equal(r->n_tokens, 100 - lengths[i]);
        result_free(r);
    }
    assert_int_equal(chord_generate(model, prompt, 100, &options, &job, &err), CHORD_CONTEXT_FULL);
    assert_non_null(strstr(err.message, "100"));
    assert_non_null(strstr(err.message, "99"));
    assert_int_equal(chord_evaluate(model, prompt, 101, &job, &err), CHORD_CONTEXT_FULL);
    assert_non_null(strstr(err.message, "101"));
    assert_int_equal(chord_score(model, prompt, 101, 1, &job, &err), CHORD_CONTEXT_FULL);
    result_free(finish_job(evaluate(prompt, 100)));
    assert_idle();
    close_tiny();
}

static void end_of_generation_ends(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270};
    const struct chord_logit_bias bias = {.token = 2, .bias = 1000};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct chord_generate_options options = sampling(1, 20);
    options.logit_bias = &bias;
    options.n_logit_bias = 1;
    options.ignore_eos = false;
    struct result *r = finish_job(start(prompt, 2, options));
    assert_int_equal(r->end.finish, CHORD_FINISH_STOP);
    assert_int_equal(r->n_tokens, 0);
    assert_int_equal(r->end.n_generated, 0);
    result_free(r);
    options.ignore_eos = true;
    r = finish_job(start(prompt, 2, options));
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    assert_int_equal(r->n_tokens, 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_not_equal(r->tokens[i], 2);
    result_free(r);
    close_tiny();
}

// Rows of the embedding that stand for no token are never chosen, nor are forbidden ones.
static void padding_is_never_chosen(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1};
    open_tiny((struct tiny_options){.n_vocab = 500, .n_padding = 220}, (struct chord_model_options){0});
    struct chord_generate_options options = sampling(1, 200);
    options.temperature = 10;
    struct result *r = finish_job(start(prompt, 1, options));
    assert_int_equal(r->n_tokens, 200);
    for (uint32_t i = 0; i < 200; i++)
        assert_true(r->tokens[i] < 280);
    result_free(r);
    close_tiny();
}

static void nothing_to_choose_is_an_error(void **state)
{
    (void)state;
    static struct chord_logit_bias biases[300];
    const uint32_t prompt[] = {1};
    for (uint32_t i = 0; i < 300; i++)
        biases[i] = (struct chord_logit_bias){.token = i, .bias = -INFINITY};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct chord_generate_options options = sampling(1, 5);
    options.logit_bias = biases;
    options.n_logit_bias = 300;
    struct result *r = finish_job(start(prompt, 1, options));
    assert_int_equal(r->end.finish, CHORD_FINISH_ERROR);
    assert_int_equal(r->end.error.code, CHORD_INVALID_ARGUMENT);
    result_free(r);
    assert_idle();
    close_tiny();
}

// A stop string that begins with the text's last character and never comes: that character is held back until the end.
static struct chord_string never_completed(const struct result *r, char buffer[8])
{
    uint64_t at = r->n_text - 1;
    while (((unsigned char)r->text[at] & 0xc0) == 0x80)
        at--;
    const uint64_t n = r->n_text - at;
    memcpy(buffer, r->text + at, n);
    memcpy(buffer + n, "\x01\x01", 3);
    return (struct chord_string){buffer, n + 2};
}

static void stop_strings_end(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct result *whole = finish_job(start(prompt, 2, sampling(3, 100)));
    assert_true(whole->n_text > 60);
    for (uint64_t at = 5; at < 50; at += 9) { // some text of the middle, as it first appears
        char wanted[512];
        uint64_t first = 0;
        while (at + 4 < whole->n_text && ((unsigned char)whole->text[at] & 0xc0) == 0x80)
            at++;
        const struct chord_string stop = {whole->text + at, 4};
        while (memcmp(whole->text + first, stop.bytes, 4) != 0)
            first++;
        struct chord_generate_options options = sampling(3, 100);
        options.stop = &stop;
        options.n_stop = 1;
        struct result *r = finish_job(start(prompt, 2, options));
        assert_int_equal(r->end.finish, CHORD_FINISH_STOP);
        assert_int_equal(r->n_text, first);
        assert_memory_equal(r->text, whole->text, first);
        assert_memory_equal(r->tokens, whole->tokens, r->n_tokens * sizeof *r->tokens);
        snprintf(wanted, sizeof wanted, "%.*s", (int)first, whole->text);
        result_free(r);
    }
    // One that never comes, but always might: its beginnings are held back and given out in the end.
    const struct chord_string never = {".~never~", 8};
    struct chord_generate_options options = sampling(3, 100);
    options.stop = &never;
    options.n_stop = 1;
    struct result *r = finish_job(start(prompt, 2, options));
    assert_int_equal(r->n_text, whole->n_text);
    assert_memory_equal(r->text, whole->text, whole->n_text);
    result_free(r);
    char buffer[8];
    const struct chord_string begun = never_completed(whole, buffer);
    options.stop = &begun;
    r = finish_job(start(prompt, 2, options));
    assert_int_equal(r->n_text, whole->n_text);
    assert_true(r->n_event_text < r->n_text);
    assert_memory_equal(r->text, whole->text, whole->n_text);
    result_free(r);
    result_free(whole);
    close_tiny();
}

// Text that might have become a stop string belongs to the text when the end comes instead.
static void the_end_gives_out_what_was_held(void **state)
{
    (void)state;
    static struct chord_logit_bias biases[298];
    const uint32_t prompt[] = {1, 270};
    const struct chord_string stop = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                      76};
    uint32_t n = 0;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    for (uint32_t id = 0; id < 300; id++) // "a" or the end
        if (id != 259 && id != 2)
            biases[n++] = (struct chord_logit_bias){.token = id, .bias = -INFINITY};
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct chord_generate_options options = sampling(seed, 70);
        options.logit_bias = biases;
        options.n_logit_bias = n;
        options.temperature = 100;
        options.stop = &stop;
        options.n_stop = 1;
        options.ignore_eos = false;
        struct result *r = finish_job(start(prompt, 2, options));
        assert_int_equal(r->end.finish, CHORD_FINISH_STOP);
        assert_int_equal(r->n_text, r->n_tokens);
        assert_int_equal(r->n_event_text, 0);
        assert_memory_equal(r->text, stop.bytes, r->n_text);
        result_free(r);
    }
    close_tiny();
}

static void bad_arguments_are_told(void **state)
{
    (void)state;
    const uint32_t tokens[] = {1, 270, 300, 271};
    struct chord_error err;
    struct chord_job *job;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct chord_generate_options options = sampling(1, 5);
    assert_int_equal(chord_generate(model, tokens, 0, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_evaluate(model, tokens, 0, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_generate(model, tokens, 4, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "token 300 at index 2"));
    assert_int_equal(chord_evaluate(model, tokens, 4, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_score(model, tokens, 4, 1, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_score(model, tokens, 2, 0, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_score(model, tokens, 2, 2, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_score(model, tokens, 0, 0, &job, &err), CHORD_INVALID_ARGUMENT);
    options.temperature = -1;
    assert_int_equal(chord_generate(model, tokens, 2, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    options = sampling(1, 5);
    options.n_logprobs = 65;
    assert_int_equal(chord_generate(model, tokens, 2, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    const struct chord_logit_bias bias = {.token = 300, .bias = 1};
    options = sampling(1, 5);
    options.logit_bias = &bias;
    options.n_logit_bias = 1;
    assert_int_equal(chord_generate(model, tokens, 2, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    const struct chord_string empty = {"", 0};
    options = sampling(1, 5);
    options.stop = &empty;
    options.n_stop = 1;
    assert_int_equal(chord_generate(model, tokens, 2, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_idle();
    close_tiny();
}

// ---- Cancelling ----------------------------------------------------------------------------------------------------------

static void cancelled_before_in_prompt_and_in_generation(void **state)
{
    (void)state;
    enum { n = 900 };
    static uint32_t prompt[n];
    open_tiny((struct tiny_options){.n_ctx = 1024}, (struct chord_model_options){0});
    random_tokens(prompt, n, 6);

    struct chord_job *job = start(prompt, n, sampling(1, 50));
    chord_job_cancel(job);
    struct result *r = finish_job(job);
    assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
    assert_int_equal(r->end.n_prompt_done, 0);
    assert_int_equal(r->n_tokens, 0);
    result_free(r);
    assert_idle();

    job = start(prompt, n, sampling(1, 50));
    assert_true(chord_model_run(model, 0, NULL));
    assert_int_equal(stats().kv_tokens, 512);
    chord_job_cancel(job);
    r = finish_job(job);
    assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
    assert_int_equal(r->end.n_prompt_done, 512);
    assert_int_equal(r->n_tokens, 0);
    result_free(r);
    assert_idle();

    struct result *whole = finish_job(start(prompt, 10, sampling(1, 50)));
    job = start(prompt, 10, sampling(1, 50));
    for (int step = 0; step < 20; step++)
        chord_model_run(model, 0, NULL);
    chord_job_cancel(job);
    r = finish_job(job);
    assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
    assert_int_equal(r->end.n_generated, r->n_tokens);
    assert_int_equal(r->n_tokens, 20);
    assert_memory_equal(r->tokens, whole->tokens, 20 * sizeof *r->tokens);
    result_free(r);
    result_free(whole);
    assert_idle();
    close_tiny();
}

static void freed_at_any_time(void **state)
{
    (void)state;
    uint32_t prompt[80];
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(prompt, 80, 7);
    struct chord_job *first = start(prompt, 80, sampling(1, 5)); // what the backend grows to stays
    result_free(finish_job(start(prompt, 9, sampling(1, 5))));
    result_free(finish_job(first));
    const uint64_t held = stats().memory_held;
    for (uint32_t n_steps = 0; n_steps < 8; n_steps++) {
        struct chord_job *job = start(prompt, 80, sampling(1, n_steps)), *other = start(prompt, 9, sampling(2, 30));
        for (uint32_t i = 0; i < n_steps; i++)
            chord_model_run(model, 0, NULL);
        chord_job_free(job);
        struct result *r = finish_job(other);
        assert_int_equal(r->n_tokens, 30);
        result_free(r);
        assert_idle();
        assert_int_equal(stats().memory_held, held);
    }
    close_tiny();
}

// A step that is given up is run again: nothing of it may have counted.
static void an_aborted_step_changes_nothing(void **state)
{
    (void)state;
    uint32_t prompt[70];
    struct chord_cancel cancel = {true};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(prompt, 70, 8);
    struct result *expected = finish_job(start(prompt, 70, sampling(1, 40)));
    const uint64_t n_steps = stats().n_steps;
    struct chord_job *job = start(prompt, 70, sampling(1, 40));
    struct result *r = calloc(1, sizeof *r);
    while (!take_into(job, r)) {
        assert_true(chord_model_run(model, 1, &cancel)); // aborts at once and returns
        const uint32_t n_tokens = r->n_tokens;
        assert_false(take_into(job, r));
        assert_int_equal(r->n_tokens, n_tokens);
        chord_model_run(model, 0, NULL);
    }
    chord_job_free(job);
    assert_same(r, expected);
    assert_int_equal(stats().n_steps, 2 * n_steps);
    result_free(r);
    result_free(expected);
    close_tiny();
}

// In the middle of a step, by a kernel that does so at its n-th call.
static void (*true_norm)(const float *x, const float *weight, float eps, float *out, uint64_t n);
static _Atomic int norms_left;
static struct chord_job *job_to_cancel;
static struct chord_cancel *run_to_cancel;

static void cancelling_norm(const float *x, const float *weight, float eps, float *out, uint64_t n)
{
    true_norm(x, weight, eps, out, n);
    if (atomic_fetch_sub(&norms_left, 1) != 0)
        return;
    if (job_to_cancel != NULL)
        chord_job_cancel(job_to_cancel);
    if (run_to_cancel != NULL)
        chord_cancel_request(run_to_cancel);
}

static void install_cancelling_norm(void)
{
    true_norm = model->kernels.rms_norm;
    model->kernels.rms_norm = cancelling_norm;
    atomic_store(&norms_left, -1);
}

static void aborted_within_a_step(void **state)
{
    (void)state;
    uint32_t prompt[9];
    struct chord_cancel cancel = {false};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){.n_threads = 1});
    random_tokens(prompt, 9, 14);
    struct result *expected = finish_job(start(prompt, 9, sampling(1, 12)));
    const uint64_t n_steps = stats().n_steps;
    install_cancelling_norm();
    run_to_cancel = &cancel;
    for (int at = 0; at < 30; at++) { // the prompt's step has 9 norms at each of 4 places
        struct chord_job *job = start(prompt, 9, sampling(1, 12));
        const uint64_t before = stats().n_steps;
        atomic_store(&cancel.requested, false);
        atomic_store(&norms_left, at);
        assert_true(chord_model_run(model, 1, &cancel));
        assert_int_equal(stats().n_steps, before);
        struct result *r = finish_job(job);
        assert_same(r, expected);
        assert_int_equal(stats().n_steps, before + n_steps);
        result_free(r);
    }
    run_to_cancel = NULL;
    result_free(expected);
    close_tiny();
}

// A job that is cancelled while its prompt is computed does not wait for the end of the step; one of many does, and disturbs none.
static void cancelled_within_a_step(void **state)
{
    (void)state;
    static uint32_t prompt[200];
    open_tiny((struct tiny_options){0}, (struct chord_model_options){.n_threads = 1});
    random_tokens(prompt, 200, 15);
    struct result *expected = finish_job(start(prompt, 30, sampling(1, 12)));
    install_cancelling_norm();
    for (int few = 0; few < 2; few++) {
        struct chord_job *job = start(prompt, few ? 20 : 200, sampling(2, 12)),
                         *other = start(prompt, 30, sampling(1, 12));
        job_to_cancel = job;
        atomic_store(&norms_left, 3);
        chord_model_run(model, 0, NULL);
        struct result *r = finish_job(job);
        assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
        assert_int_equal(r->end.n_prompt_done, few ? 20 : 0);
        result_free(r);
        r = finish_job(other);
        assert_same(r, expected);
        result_free(r);
        assert_idle();
    }
    job_to_cancel = NULL;
    result_free(expected);
    close_tiny();
}

struct disturber {
    struct chord_cancel *cancel;
    _Atomic bool done;
};

static void disturb(void *arg)
{
    struct disturber *d = arg;
    uint64_t random = 1;
    // A bounded number: where a step takes longer than the pauses, endless requests would leave none to finish.
    for (int n = 0; n < 300 && !atomic_load(&d->done); n++) {
        const uint64_t until = os_now_ns() + tiny_random(&random) % 300000;
        while (os_now_ns() < until)
            continue;
        chord_cancel_request(d->cancel);
    }
}

// The same from another thread, at moments of chance.
static void aborted_from_another_thread(void **state)
{
    (void)state;
    uint32_t prompt[120];
    uv_thread_t thread;
    open_tiny((struct tiny_options){.n_layer = 4}, (struct chord_model_options){0});
    random_tokens(prompt, 120, 9);
    struct result *expected = finish_job(start(prompt, 120, sampling(1, 60)));
    struct chord_cancel cancel = {false};
    struct disturber disturber = {.cancel = &cancel};
    assert_int_equal(uv_thread_create(&thread, disturb, &disturber), 0);
    struct chord_job *job = start(prompt, 120, sampling(1, 60));
    struct result *r = calloc(1, sizeof *r);
    while (!take_into(job, r)) {
        chord_model_run(model, 0.01, &cancel);
        atomic_store(&cancel.requested, false);
    }
    atomic_store(&disturber.done, true);
    uv_thread_join(&thread);
    chord_job_free(job);
    assert_same(r, expected);
    result_free(r);
    result_free(expected);
    close_tiny();
}

static void closed_with_work_left(void **state)
{
    (void)state;
    uint32_t prompt[50];
    for (uint32_t n_steps = 0; n_steps < 4; n_steps++) {
        open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
        random_tokens(prompt, 50, 10);
        for (uint32_t i = 0; i < 3; i++) {
            struct chord_job *job = start(prompt, 50, sampling(i, 100));
            for (uint32_t step = 0; step < n_steps; step++)
                chord_model_run(model, 0, NULL);
            chord_job_free(job); // the scheduler still holds it
        }
        close_tiny();
    }
    chord_model_close(NULL);
}

// ---- Takes ---------------------------------------------------------------------------------------------------------------

static void takes_add_up(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    const struct chord_string stop = {"\x01\x02\x03", 3};
    struct chord_generate_options options = sampling(3, 150);
    options.n_logprobs = 2;
    options.stop = &stop;
    options.n_stop = 1;
    struct chord_job *job = start(prompt, 2, options);
    while (chord_model_run(model, 1, NULL))
        continue;
    assert_int_equal(stats().held_kv, 0);     // although the job is still there
    struct result *at_once = finish_job(job); // one take
    assert_int_equal(at_once->n_tokens, 150);
    assert_true(at_once->n_event_text <= at_once->n_text);
    for (uint32_t every = 1; every <= 40; every = every * 3 + 1) {
        struct result *r = calloc(1, sizeof *r);
        job = start(prompt, 2, options);
        for (uint32_t step = 1;; step++) {
            chord_model_run(model, 0, NULL);
            if (step % every == 0 && take_into(job, r))
                break;
        }
        assert_same(at_once, r);
        assert_int_equal(r->n_event_text, at_once->n_event_text);
        const uint64_t n_text = r->n_text;
        assert_true(take_into(job, r)); // nothing more, and the figures stay
        assert_int_equal(r->n_text, n_text);
        assert_int_equal(r->n_tokens, 150);
        assert_int_equal(r->end.n_generated, 150);
        chord_job_free(job);
        result_free(r);
    }
    result_free(at_once);
    close_tiny();
}

// What the tokens stand for, as the tokenizer says: a generation continues a text, so its first space stays, unless there is
// nothing before it but BOS.
static void text_is_that_of_the_tokens(void **state)
{
    (void)state;
    static const struct {
        uint32_t ids[2], n;
    } prompts[] = {{{270, 271}, 2}, {{1, 270}, 2}, {{1}, 1}, {{270}, 1}};
    const struct chord_logit_bias bias = {.token = 290, .bias = 20}; // a word with a space
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    for (size_t i = 0; i < 16; i++) {
        char *prefix, *whole;
        uint64_t n_prefix, n_whole;
        uint32_t ids[62];
        const uint32_t n = prompts[i % 4].n;
        struct chord_generate_options options = sampling(i, 60);
        options.logit_bias = &bias;
        options.n_logit_bias = 1;
        struct result *r = finish_job(start(prompts[i % 4].ids, n, options));
        memcpy(ids, prompts[i % 4].ids, sizeof prompts->ids);
        memcpy(ids + n, r->tokens, 60 * sizeof *ids);
        assert_int_equal(chord_detokenize(chord_model_tokenizer(model), ids, n, false, &prefix, &n_prefix, NULL),
                         CHORD_OK);
        assert_int_equal(chord_detokenize(chord_model_tokenizer(model), ids, n + 60, false, &whole, &n_whole, NULL),
                         CHORD_OK);
        assert_int_equal(n_whole, n_prefix + r->n_text);
        assert_memory_equal(whole + n_prefix, r->text, r->n_text);
        chord_free(prefix);
        chord_free(whole);
        result_free(r);
    }
    close_tiny();
}

// ---- Memory --------------------------------------------------------------------------------------------------------------

// Once a stream is under way, a token costs allocations only where its KV block begins: of the block, and of what is known of it.
static void decoding_allocates_nothing(void **state)
{
    (void)state;
    uint32_t prompt[10];
    open_tiny((struct tiny_options){.n_ctx = 512}, (struct chord_model_options){0});
    random_tokens(prompt, 10, 11);
    struct chord_generate_options options = sampling(1, 400);
    options.n_logprobs = 2;
    options.repeat_penalty = 1.1f;
    struct chord_job *job = start(prompt, 10, options);
    struct result *r = calloc(1, sizeof *r);
    for (uint32_t n = 10; n < 410; n++) {
        const uint64_t before = atomic_load(&model->account.n_allocations);
        chord_model_run(model, 0, NULL); // stores token n - 1 (or the prompt), chooses token n
        const uint64_t allocated = atomic_load(&model->account.n_allocations) - before;
        take_into(job, r);
        if (n > 20 && allocated != (n % 64 == 1 ? 2 : 0))
            fail_msg("%u allocations for token %u", (unsigned)allocated, n);
    }
    assert_int_equal(r->n_tokens, 400);
    chord_job_free(job);
    result_free(r);
    // What is not taken piles up in three buffers that double.
    job = start(prompt, 10, options);
    const uint64_t before = atomic_load(&model->account.n_allocations);
    while (chord_model_run(model, 1, NULL))
        continue;
    assert_true(atomic_load(&model->account.n_allocations) - before <= 410 / 64 + 2 + 3 * 6);
    chord_job_free(job);
    assert_idle();
    close_tiny();
}

// The n-th allocation of creating, running and taking fails: an error that says so, or the right result, and nothing is lost.
static void fail_every_allocation(uint64_t max_tokens)
{
    uint32_t prompt[70];
    uint32_t n_errors = 0;
    char buffer[8];
    random_tokens(prompt, 70, 12);
    struct chord_generate_options options = sampling(1, max_tokens);
    options.n_logprobs = 1;
    struct result *expected = finish_job(start(prompt, 70, options));
    assert_true(expected->n_text >= 1);
    const struct chord_string stop = never_completed(expected, buffer);
    options.stop = &stop;
    options.n_stop = 1;
    result_free(expected);
    expected = finish_job(start(prompt, 70, options));
    assert_idle();
    const uint64_t held = stats().memory_held;
    for (int64_t at = 0;; at++) {
        struct chord_job *job;
        struct chord_error err;
        atomic_store(&model->account.fail_after, at);
        const enum chord_status status = chord_generate(model, prompt, 70, &options, &job, &err);
        if (status != CHORD_OK) {
            assert_int_equal(status, CHORD_OUT_OF_MEMORY);
            n_errors++;
        } else {
            struct result *r = finish_job(job);
            const bool failed = atomic_load(&model->account.fail_after) < 0;
            if (r->end.finish == CHORD_FINISH_ERROR) {
                assert_int_equal(r->end.error.code, CHORD_OUT_OF_MEMORY);
                assert_true(strlen(r->end.error.message) > 0);
                assert_memory_equal(r->tokens, expected->tokens, r->n_tokens * sizeof *r->tokens);
                n_errors++;
            } else {
                assert_false(failed);
                assert_same(r, expected);
            }
            result_free(r);
            if (!failed)
                break;
        }
        atomic_store(&model->account.fail_after, -1);
        assert_idle();
        assert_int_equal(stats().memory_held, held);
    }
    atomic_store(&model->account.fail_after, -1);
    assert_true(n_errors >= 10);
    result_free(expected);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){.n_threads = 1});
    fail_every_allocation(150);
    fail_every_allocation(1); // all its text is held back
    close_tiny();
}

// Text that was held back and cannot be stored in the end is not lost in silence.
static void held_text_that_finds_no_memory(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){.n_threads = 1});
    const struct chord_logit_bias bias = {.token = 259, .bias = 1000}; // "a"
    const struct chord_string stop = {"aaaaaaaaaaaaaaab", 16};
    struct chord_generate_options options = sampling(1, 50);
    options.logit_bias = &bias;
    options.n_logit_bias = 1;
    options.stop = &stop;
    options.n_stop = 1;
    for (int fails = 0; fails < 2; fails++) {
        struct chord_job *job = start(prompt, 2, options);
        struct result *r = calloc(1, sizeof *r);
        for (int step = 0; step < 20; step++)
            chord_model_run(model, 0, NULL);
        assert_false(take_into(job, r));
        assert_int_equal(r->n_text, 5);
        chord_job_cancel(job);
        atomic_store(&model->account.fail_after, fails ? 0 : -1);
        chord_model_run(model, 0, NULL);
        atomic_store(&model->account.fail_after, -1);
        assert_true(take_into(job, r));
        if (fails) {
            assert_int_equal(r->end.finish, CHORD_FINISH_ERROR);
            assert_int_equal(r->end.error.code, CHORD_OUT_OF_MEMORY);
        } else {
            assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
            assert_int_equal(r->n_text, 20);
        }
        chord_job_free(job);
        result_free(r);
    }
    assert_idle();
    close_tiny();
}

// A job that does not fit is told so by the budget; others go on.
static void the_budget_fails_one_job_only(void **state)
{
    (void)state;
    uint32_t prompt[200];
    open_tiny((struct tiny_options){.n_layer = 4, .n_embd = 128}, (struct chord_model_options){0});
    const uint64_t room = 40000; // for text and events, and for no block
    assert_true(model->kv_layout.block_bytes > room);
    random_tokens(prompt, 200, 13);
    struct result *expected = finish_job(start(prompt, 200, sampling(1, 40)));
    assert_idle();
    struct chord_job *first = start(prompt, 200, sampling(1, 40));
    chord_model_run(model, 0, NULL);
    struct chord_job *second = start(prompt, 200, sampling(2, 40));
    model->account.ceiling = stats().memory_held + room;
    struct result *r = finish_job(first);
    assert_same(r, expected);
    assert_true(stats().memory_held <= model->account.ceiling);
    result_free(r);
    r = finish_job(second); // which waited for the first to give its memory back
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    result_free(r);
    second = start(prompt, 200, sampling(2, 40));
    model->account.ceiling = stats().memory_held + 3 * model->kv_layout.block_bytes;
    r = finish_job(second);
    assert_int_equal(r->end.finish, CHORD_FINISH_ERROR);
    assert_int_equal(r->end.error.code, CHORD_MEMORY_BUDGET);
    result_free(r);
    result_free(expected);
    assert_idle();
    close_tiny();
}

static void a_changed_file_fails_the_step(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct chord_job *job = start(prompt, 2, sampling(1, 50));
    chord_model_run(model, 0, NULL);
    FILE *file = fopen(test_path("engine.gguf"), "ab");
    assert_non_null(file);
    fputc(0, file);
    fclose(file);
    struct result *r = finish_job(job);
    assert_int_equal(r->end.finish, CHORD_FINISH_ERROR);
    assert_int_equal(r->end.error.code, CHORD_FILE_CHANGED);
    assert_non_null(strstr(r->end.error.message, "engine.gguf"));
    result_free(r);
    assert_idle();
    close_tiny();
}

// ---- Threads -------------------------------------------------------------------------------------------------------------

struct user {
    uint32_t index;
    uint32_t prompt[40];
    const struct result *expected;
    uint32_t n_wrong;
    uv_thread_t thread;
};

static _Atomic bool users_done;

static void run_until_done(void *arg)
{
    (void)arg;
    while (!atomic_load(&users_done))
        if (!chord_model_run(model, 0.005, NULL))
            uv_sleep(1);
}

// Submits, takes, cancels and frees, and asks for figures, while another thread runs the model.
static void use(void *arg)
{
    struct user *u = arg;
    for (uint32_t round = 0; round < 6; round++) {
        struct chord_job *job;
        struct result *r = calloc(1, sizeof *r);
        const struct chord_generate_options options = sampling(u->index, 25);
        if (chord_generate(model, u->prompt, 40, &options, &job, NULL) != CHORD_OK) {
            u->n_wrong++;
            continue;
        }
        for (uint32_t turn = 0; !take_into(job, r); turn++) {
            struct chord_stats s;
            uint32_t *ids;
            uint64_t n_ids;
            chord_model_stats(model, &s);
            u->n_wrong += s.memory_held > s.memory_budget || s.n_jobs > 8;
            if (chord_tokenize(chord_model_tokenizer(model), "a b", 3, false, -1, &ids, &n_ids, NULL) == CHORD_OK)
                chord_free(ids);
            if (round % 3 == 1 && turn == 3)
                chord_job_cancel(job);
            if (round % 3 == 2 && turn == 5)
                break;
            uv_sleep(1);
        }
        if (round % 3 == 0)
            u->n_wrong += r->n_tokens != 25 || memcmp(r->tokens, u->expected->tokens, sizeof(uint32_t) * 25) != 0;
        else
            u->n_wrong += memcmp(r->tokens, u->expected->tokens, sizeof(uint32_t) * r->n_tokens) != 0;
        chord_job_free(job);
        result_free(r);
    }
}

static void threads_submit_while_one_runs(void **state)
{
    (void)state;
    enum { n_users = 3 };
    static struct user users[n_users];
    uv_thread_t runner;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    for (uint32_t i = 0; i < n_users; i++) {
        users[i] = (struct user){.index = i};
        random_tokens(users[i].prompt, 40, 20 + i);
        users[i].expected = finish_job(start(users[i].prompt, 40, sampling(i, 25)));
    }
    atomic_store(&users_done, false);
    assert_int_equal(uv_thread_create(&runner, run_until_done, NULL), 0);
    for (uint32_t i = 0; i < n_users; i++)
        assert_int_equal(uv_thread_create(&users[i].thread, use, &users[i]), 0);
    for (uint32_t i = 0; i < n_users; i++)
        uv_thread_join(&users[i].thread);
    atomic_store(&users_done, true);
    uv_thread_join(&runner);
    for (uint32_t i = 0; i < n_users; i++) {
        assert_int_equal(users[i].n_wrong, 0);
        result_free((struct result *)users[i].expected);
    }
    assert_idle();
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name)
        TEST(threads_change_nothing),
        TEST(a_prompt_beside_others),
        TEST(generations_beside_others),
        TEST(seeds_decide),
        TEST(scores_are_of_the_logits),
        TEST(logprobs_are_scores),
        TEST(max_tokens_is_exact),
        TEST(the_context_is_filled_and_no_more),
        TEST(end_of_generation_ends),
        TEST(padding_is_never_chosen),
        TEST(nothing_to_choose_is_an_error),
        TEST(stop_strings_end),
        TEST(the_end_gives_out_what_was_held),
        TEST(bad_arguments_are_told),
        TEST(cancelled_before_in_prompt_and_in_generation),
        TEST(freed_at_any_time),
        TEST(an_aborted_step_changes_nothing),
        TEST(aborted_within_a_step),
        TEST(cancelled_within_a_step),
        TEST(aborted_from_another_thread),
        TEST(closed_with_work_left),
        TEST(takes_add_up),
        TEST(text_is_that_of_the_tokens),
        TEST(decoding_allocates_nothing),
        TEST(every_failed_allocation_is_reported),
        TEST(held_text_that_finds_no_memory),
        TEST(the_budget_fails_one_job_only),
        TEST(a_changed_file_fails_the_step),
        TEST(threads_submit_while_one_runs),
#undef TEST
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
