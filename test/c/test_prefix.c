// Equal prompt beginnings of several jobs: computed once, held once, and no bit of any result is another.

#include "engine_helpers.h"
#include "quick.h"

#include <stdlib.h>
#include <string.h>

#define MOST_JOBS 12u

static void open_long(enum chord_kv_type type)
{
    open_tiny((struct tiny_options){.n_ctx = 1200}, (struct chord_model_options){.kv_type = type});
}

// What a prompt gives on a model where nothing else runs.
static struct result *alone(const uint32_t *prompt, uint64_t n, struct chord_generate_options options)
{
    assert_idle();
    const uint64_t reused = stats().n_reused_tokens;
    struct result *r = finish_job(start(prompt, n, options));
    assert_int_equal(stats().n_reused_tokens, reused);
    return r;
}

static void assert_same_and_free(struct result *a, struct result *b)
{
    assert_same(a, b);
    assert_memory_equal(a->logprobs, b->logprobs, a->n_tokens * sizeof *a->logprobs);
    result_free(a);
    result_free(b);
}

static struct chord_generate_options watched(uint64_t seed, uint64_t max_tokens)
{
    struct chord_generate_options options = sampling(seed, max_tokens);
    options.n_logprobs = 1;
    return options;
}

// 8 prompts of 300 tokens, of which the first 200 are equal: three blocks are computed and held once.
static void jobs_at_once_share(void **state)
{
    (void)state;
    for (int type = CHORD_KV_F16; type <= CHORD_KV_Q8_0; type++) {
        uint32_t prompts[8][300];
        struct result *expected[8];
        struct chord_job *jobs[8];
        open_long((enum chord_kv_type)type);
        for (uint32_t i = 0; i < 8; i++) {
            random_tokens(prompts[i], 300, 10 + i);
            memcpy(prompts[i], prompts[0], 200 * sizeof **prompts);
            prompts[i][200] = 3 + i;
            expected[i] = alone(prompts[i], 300, watched(i, 40));
        }
        const uint64_t computed = stats().n_prompt_tokens;
        for (uint32_t i = 0; i < 8; i++)
            jobs[i] = start(prompts[i], 300, watched(i, 40));
        while (stats().n_prompt_tokens < computed + 300 + 7 * (300 - 192))
            chord_model_run(model, 0, NULL);
        const struct chord_stats during = stats();
        assert_int_equal(during.n_prompt_tokens, computed + 300 + 7 * (300 - 192));
        assert_int_equal(during.n_reused_tokens, 7 * 192);
        assert_int_equal(during.kv_blocks, 3 + 8 * 2);
        assert_true(during.held_kv < (3 + 8 * 2 + 2) * (during.kv_block_bytes + 128));
        for (uint32_t i = 0; i < 8; i++)
            assert_same_and_free(finish_job(jobs[i]), expected[i]);
        assert_idle();
        close_tiny();
    }
}

// The last token of a prompt is computed also where all of it is known, since its logits are wanted.
static void a_late_job_takes_what_is_there(void **state)
{
    (void)state;
    uint32_t prompt[256];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 256, 1);
    struct result *first = alone(prompt, 256, watched(1, 100)), *second = alone(prompt, 256, watched(2, 100));
    struct chord_job *a = start(prompt, 256, watched(1, 100));
    for (int i = 0; i < 20; i++)
        chord_model_run(model, 0, NULL);
    const uint64_t computed = stats().n_prompt_tokens;
    struct chord_job *b = start(prompt, 256, watched(2, 100));
    chord_model_run(model, 0, NULL);
    assert_int_equal(stats().n_prompt_tokens, computed + 64);
    assert_int_equal(stats().n_reused_tokens, 192);
    assert_same_and_free(finish_job(a), first); // the blocks outlive who computed them
    chord_model_run(model, 0, NULL);
    assert_int_equal(stats().kv_blocks, (stats().kv_tokens + 63) / 64);
    assert_same_and_free(finish_job(b), second);
    assert_idle();
    close_tiny();
}

// A generated token's keys and values are not those of the same token in a prompt.
static void generated_rows_are_not_shared(void **state)
{
    (void)state;
    uint32_t prompt[300];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 100, 1);
    struct result *text = alone(prompt, 100, watched(1, 300));
    memcpy(prompt + 100, text->tokens, 200 * sizeof *prompt);
    struct result *expected = alone(prompt, 300, watched(2, 50));
    struct chord_job *a = start(prompt, 100, watched(1, 300));
    for (int i = 0; i < 250; i++)
        chord_model_run(model, 0, NULL);
    struct chord_job *b = start(prompt, 300, watched(2, 50));
    assert_same_and_free(finish_job(b), expected);
    assert_int_equal(stats().n_reused_tokens, 64);
    assert_same_and_free(finish_job(a), text);
    assert_idle();
    close_tiny();
}

static void who_waits_goes_on_when_the_other_is_cancelled(void **state)
{
    (void)state;
    uint32_t prompt[1100];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 1100, 1);
    struct result *expected = alone(prompt, 1100, watched(2, 10));
    struct chord_job *a = start(prompt, 1100, watched(1, 10)), *b = start(prompt, 1100, watched(2, 10));
    chord_model_run(model, 0, NULL); // 512 tokens of the first, which the other takes and then waits for more
    assert_int_equal(stats().kv_tokens, 1024);
    assert_int_equal(stats().kv_blocks, 8);
    assert_int_equal(stats().n_reused_tokens, 512);
    chord_job_free(a);
    assert_same_and_free(finish_job(b), expected);
    assert_int_equal(stats().n_reused_tokens, 512);
    assert_idle();
    close_tiny();
}

// Rows whose logits are wanted are computed by the job itself.
static void evaluations_and_scores_share(void **state)
{
    (void)state;
    uint32_t tokens[400];
    struct chord_error err;
    struct chord_job *score;
    open_long(CHORD_KV_F16);
    random_tokens(tokens, 400, 1);
    for (uint64_t first = 1; first < 400; first += 57) {
        assert_int_equal(chord_score(model, tokens, 400, first, &score, &err), CHORD_OK);
        struct result *scored = finish_job(score), *logits = finish_job(evaluate(tokens, 400));
        const uint64_t reused = stats().n_reused_tokens;
        struct chord_job *a = evaluate(tokens, 400);
        assert_int_equal(chord_score(model, tokens, 400, first, &score, &err), CHORD_OK);
        struct result *again = finish_job(score);
        assert_int_equal(stats().n_reused_tokens - reused, (first - 1) / 64 * 64);
        assert_true(again->end.nll == scored->end.nll);
        assert_int_equal(again->end.n_scored, scored->end.n_scored);
        result_free(again);
        result_free(scored);
        assert_same_and_free(finish_job(a), logits);
    }
    assert_idle();
    close_tiny();
}

// Prompts that part and meet as branches of a tree, begun, cancelled and ended in any order.
static void random_branches_are_what_they_are_alone(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {63, 64, 65, 127, 128, 129, 200, 256, 320, 700};
    uint64_t random = 7;
    open_long(CHORD_KV_F16);
    for (int round = 0; round < (quick() ? 4 : 12); round++) {
        uint32_t prompts[MOST_JOBS][700], n_tokens[MOST_JOBS];
        struct chord_job *jobs[MOST_JOBS] = {NULL};
        random_tokens(prompts[0], 700, tiny_random(&random));
        n_tokens[0] = 700;
        for (uint32_t i = 1; i < MOST_JOBS; i++) {
            random_tokens(prompts[i], 700, tiny_random(&random));
            const uint32_t n_equal = lengths[tiny_random(&random) % 10];
            memcpy(prompts[i], prompts[tiny_random(&random) % i], n_equal * sizeof **prompts);
            n_tokens[i] = lengths[tiny_random(&random) % 10];
        }
        for (uint32_t i = 0; i < MOST_JOBS; i++) {
            jobs[i] = start(prompts[i], n_tokens[i], watched(i, 30));
            for (uint64_t n = tiny_random(&random) % 4; n > 0; n--)
                chord_model_run(model, 0, NULL);
            const uint32_t victim = (uint32_t)(tiny_random(&random) % (3 * MOST_JOBS));
            if (victim < i && jobs[victim] != NULL) {
                chord_job_free(jobs[victim]);
                jobs[victim] = NULL;
            }
        }
        struct result *together[MOST_JOBS];
        for (uint32_t i = 0; i < MOST_JOBS; i++)
            together[i] = jobs[i] != NULL ? finish_job(jobs[i]) : NULL;
        for (uint32_t i = 0; i < MOST_JOBS; i++)
            if (together[i] != NULL)
                assert_same_and_free(together[i], alone(prompts[i], n_tokens[i], watched(i, 30)));
    }
    assert_true(stats().n_reused_tokens > 1000);
    assert_idle();
    close_tiny();
}

// A job that a failed allocation spares has its own text; one that it hits has an error that says so.
static void failed_allocations_spoil_nothing(void **state)
{
    (void)state;
    uint32_t prompt[300];
    uint32_t n_failed = 0, n_whole = 0;
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 300, 1);
    struct result *expected = alone(prompt, 300, watched(1, 8));
    for (int64_t n = 0; n < 24; n++) {
        struct chord_job *jobs[3];
        for (int i = 0; i < 3; i++)
            jobs[i] = start(prompt, 300, watched(1, 8));
        atomic_store(&model->account.fail_after, n);
        chord_model_run(model, 0, NULL);
        chord_model_run(model, 0, NULL);
        atomic_store(&model->account.fail_after, -1);
        for (int i = 0; i < 3; i++) {
            struct result *r = finish_job(jobs[i]);
            if (r->end.finish == CHORD_FINISH_ERROR) {
                assert_int_equal(r->end.error.code, CHORD_OUT_OF_MEMORY);
                n_failed++;
            } else {
                assert_same(r, expected);
                n_whole++;
            }
            result_free(r);
        }
        assert_idle();
    }
    assert_true(n_failed > 0 && n_whole > 0);
    result_free(expected);
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name)
        TEST(jobs_at_once_share),
        TEST(a_late_job_takes_what_is_there),
        TEST(generated_rows_are_not_shared),
        TEST(who_waits_goes_on_when_the_other_is_cancelled),
        TEST(evaluations_and_scores_share),
        TEST(random_branches_are_what_they_are_alone),
        TEST(failed_allocations_spoil_nothing),
#undef TEST
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
