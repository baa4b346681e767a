// Generations whose tokens the caller chooses: the text of his rule, beside others and from another thread; wrong answers; how such a
// generation waits and ends.

#include "engine_helpers.h"

#include "os/thread.h"

#include <math.h>

static struct chord_generate_options choosing(uint64_t max_tokens)
{
    struct chord_generate_options options = sampling(1, max_tokens);
    options.caller_chooses = true;
    return options;
}

static uint32_t best_of(const struct chord_output *out)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < out->n_asked; i++)
        if (out->asked[i] > out->asked[best])
            best = i;
    return best;
}

// Takes, and answers with the most likely token if that is asked. Returns whether the job has finished.
static bool take_and_choose(struct chord_job *job, struct chord_output *out, uint32_t *tokens, uint32_t *n_tokens)
{
    chord_job_take(job, out);
    for (uint64_t i = 0; i < out->n_events; i++)
        tokens[(*n_tokens)++] = out->events[i].token;
    if (out->asked != NULL)
        assert_int_equal(chord_job_choose(job, best_of(out), NULL), CHORD_OK);
    return out->finish != CHORD_RUNNING;
}

static void the_callers_text_beside_others(void **state)
{
    (void)state;
    uint32_t prompt[20], tokens[30], n_tokens = 0, n_waits = 0;
    struct chord_output out;
    struct chord_generate_options greedy = sampling(1, 30), chosen = choosing(30);
    open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_ff = 64}, (struct chord_model_options){0});
    random_tokens(prompt, 20, 3);
    greedy.temperature = 0;
    greedy.n_logprobs = chosen.n_logprobs = 1;
    chosen.speculation.lookup = true; // of no effect
    struct result *expected = finish_job(start(prompt, 20, greedy));
    struct chord_job *other = start(prompt, 20, greedy);
    struct chord_job *job = start(prompt, 20, chosen);
    while (!take_and_choose(job, &out, tokens, &n_tokens)) {
        for (uint64_t i = 0; i < out.n_events; i++)
            assert_true(out.events[i].logprob == expected->logprobs[n_tokens - out.n_events + i]);
        n_waits += out.asked != NULL;
        chord_model_run(model, 0, NULL);
    }
    assert_int_equal(n_waits, 30);
    assert_int_equal(n_tokens, 30);
    assert_memory_equal(tokens, expected->tokens, sizeof tokens);
    assert_int_equal(out.finish, CHORD_FINISH_LENGTH);
    assert_int_equal(out.n_guessed, 0);
    chord_job_free(job);
    struct result *beside = finish_job(other);
    assert_same(beside, expected);
    result_free(beside);
    result_free(expected);
    assert_idle();
    close_tiny();
}

static void wrong_answers(void **state)
{
    (void)state;
    uint32_t prompt[5];
    struct chord_output out;
    struct chord_error err;
    struct chord_generate_options options = choosing(2);
    const struct chord_logit_bias forbidden = {7, -INFINITY};
    options.logit_bias = &forbidden;
    options.n_logit_bias = 1;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(prompt, 5, 3);
    struct chord_job *job = start(prompt, 5, options);
    assert_int_equal(chord_job_choose(job, 5, &err), CHORD_INVALID_ARGUMENT); // nothing was asked yet
    while (chord_model_run(model, 0, NULL))
        ;
    chord_job_take(job, &out);
    assert_non_null(out.asked);
    assert_int_equal(out.n_asked, m.options.n_vocab);
    assert_true(out.asked[7] == -INFINITY);
    const float *asked = out.asked;
    assert_int_equal(chord_job_choose(job, 7, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "token 7"));
    assert_int_equal(chord_job_choose(job, m.options.n_vocab, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_job_choose(job, UINT32_MAX, &err), CHORD_INVALID_ARGUMENT);
    chord_job_take(job, &out);
    assert_null(out.asked); // told once; what was told stays
    assert_true(asked[7] == -INFINITY);
    assert_int_equal(chord_job_choose(job, 8, &err), CHORD_OK);
    assert_int_equal(chord_job_choose(job, 8, &err), CHORD_INVALID_ARGUMENT); // answered already
    while (chord_model_run(model, 0, NULL))
        ;
    chord_job_take(job, &out);
    assert_int_equal(out.n_events, 1);
    assert_int_equal(out.events[0].token, 8);
    assert_int_equal(chord_job_choose(job, 9, &err), CHORD_OK);
    chord_model_run(model, 0, NULL);
    chord_job_take(job, &out);
    assert_int_equal(out.finish, CHORD_FINISH_LENGTH);
    assert_null(out.asked);
    assert_int_equal(chord_job_choose(job, 9, &err), CHORD_INVALID_ARGUMENT);
    chord_job_free(job);
    assert_idle();
    close_tiny();
}

static void what_waits_is_no_work_and_ends(void **state)
{
    (void)state;
    uint32_t prompt[5];
    struct chord_output out;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(prompt, 5, 3);
    for (int freed = 0; freed < 2; freed++) {
        struct chord_job *job = start(prompt, 5, choosing(9));
        while (chord_model_run(model, 0, NULL))
            ;
        const uint64_t n_steps = stats().n_steps;
        assert_false(chord_model_run(model, 1, NULL)); // at once
        assert_int_equal(stats().n_steps, n_steps);
        assert_int_equal(stats().n_jobs, 1);
        result_free(finish_job(start(prompt, 5, sampling(2, 4)))); // others come and go
        if (freed) {
            chord_job_free(job);
        } else {
            chord_job_cancel(job);
            chord_model_run(model, 0, NULL);
            chord_job_take(job, &out);
            assert_int_equal(out.finish, CHORD_FINISH_CANCELLED);
            assert_null(out.asked);
            chord_job_free(job);
        }
        assert_idle();
    }
    // An answer and a cancel: the cancel comes first.
    struct chord_job *job = start(prompt, 5, choosing(9));
    while (chord_model_run(model, 0, NULL))
        ;
    assert_int_equal(chord_job_choose(job, 8, NULL), CHORD_OK);
    chord_job_cancel(job);
    chord_model_run(model, 0, NULL);
    chord_job_take(job, &out);
    assert_int_equal(out.finish, CHORD_FINISH_CANCELLED);
    assert_int_equal(out.n_generated, 0);
    chord_job_free(job);
    // It may end the text itself.
    struct chord_generate_options options = choosing(9);
    struct chord_tokenizer_info info;
    chord_tokenizer_info(chord_model_tokenizer(model), &info);
    options.ignore_eos = false;
    job = start(prompt, 5, options);
    while (chord_model_run(model, 0, NULL))
        ;
    assert_int_equal(chord_job_choose(job, info.eos, NULL), CHORD_OK);
    chord_model_run(model, 0, NULL);
    chord_job_take(job, &out);
    assert_int_equal(out.finish, CHORD_FINISH_STOP);
    chord_job_free(job);
    assert_idle();
    close_tiny();
}

// ---- Threads -----------------------------------------------------------------------------------------------------------

static _Atomic bool is_over;

static void run_model(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over))
        if (!chord_model_run(model, 0.001, NULL))
            uv_sleep(1);
}

static void answers_from_another_thread(void **state)
{
    (void)state;
    enum { n_tokens = 12 };
    uint32_t prompt[20];
    uv_thread_t runner;
    struct chord_generate_options greedy = sampling(1, n_tokens);
    open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_ff = 64}, (struct chord_model_options){0});
    random_tokens(prompt, 20, 4);
    greedy.temperature = 0;
    struct result *expected = finish_job(start(prompt, 20, greedy));
    atomic_store(&is_over, false);
    assert_int_equal(uv_thread_create(&runner, run_model, NULL), 0);
    for (int round = 0; round < 3; round++) {
        uint32_t tokens[2][n_tokens], n[2] = {0};
        struct chord_output out;
        struct chord_job *jobs[2] = {start(prompt, 20, choosing(n_tokens)), start(prompt, 20, choosing(n_tokens))};
        bool done[2] = {false};
        while (!done[0] || !done[1]) {
            for (int i = 0; i < 2; i++)
                done[i] = done[i] || take_and_choose(jobs[i], &out, tokens[i], &n[i]);
            uv_sleep(1);
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(n[i], n_tokens);
            assert_memory_equal(tokens[i], expected->tokens, sizeof tokens[i]);
            chord_job_free(jobs[i]);
        }
    }
    atomic_store(&is_over, true);
    uv_thread_join(&runner);
    result_free(expected);
    assert_idle();
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name)
        TEST(the_callers_text_beside_others),
        TEST(wrong_answers),
        TEST(what_waits_is_no_work_and_ends),
        TEST(answers_from_another_thread),
#undef TEST
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
