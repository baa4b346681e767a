// Sessions: texts whose cache lives between generations. Whatever was reused, shared or computed anew, every bit is that of the same text
// computed from nothing, with the same tokens of prompts and the same generated.

#include "quick.h"
#include "session_helpers.h"

#include <stdlib.h>
#include <string.h>

// Takes all that was computed from a session that rests; what the text is it still knows.
static void empty_cache(struct chord_session *session)
{
    kv_cache_free(&session->kv);
    session->text.n_done = 0;
}

static void free_and_close(struct chord_session *session)
{
    chord_session_free(session);
    assert_idle();
    close_tiny();
}

// Generated in pieces, each going on where the one before ended, a text is that of one long generation.
static void pieces_are_the_whole(void **state)
{
    (void)state;
    for (int type = CHORD_KV_F16; type <= CHORD_KV_Q8_0; type++) {
        uint32_t prompt[1200];
        open_long((enum chord_kv_type)type);
        random_tokens(prompt, 50, 1);
        struct result *whole = finish_job(start(prompt, 50, greedy(200)));
        struct chord_session *session = open_session();
        uint32_t n = 0;
        for (uint32_t piece = 1; n < 200; piece += 7) {
            const uint64_t max = piece < 200 - n ? piece : 200 - n;
            const uint64_t n_prompt = n == 0 ? 50 : chord_session_tokens(session, prompt, 1200);
            assert_int_equal(n_prompt, 50 + n);
            struct result *r = generate_in(session, prompt, n_prompt, max);
            assert_int_equal(r->n_tokens, max);
            assert_int_equal(r->end.n_reused, n == 0 ? 0 : n_prompt - 1);
            assert_memory_equal(r->tokens, whole->tokens + n, max * sizeof *r->tokens);
            assert_memory_equal(r->logprobs, whole->logprobs + n, max * sizeof *r->logprobs);
            n += r->n_tokens;
            result_free(r);
        }
        assert_int_equal(stats().n_prompt_tokens, 100);
        result_free(whole);
        free_and_close(session);
    }
}

// Turn by turn only what is new is computed, and it is what it would be if all were.
static void turns_compute_what_is_new(void **state)
{
    (void)state;
    for (int type = CHORD_KV_F16; type <= CHORD_KV_Q8_0; type++) {
        uint32_t prompt[1200];
        open_long((enum chord_kv_type)type);
        struct chord_session *session = open_session();
        uint64_t held = 0;
        for (uint32_t turn = 0; turn < 6; turn++) {
            const uint32_t n_new = 30 + 17 * turn;
            const uint64_t n_prompt = prompt_after(session, prompt, n_new, turn);
            assert_int_equal(n_prompt, held + n_new);
            struct chord_session *fork = fork_of(session);
            empty_cache(fork);
            const uint64_t computed = stats().n_prompt_tokens, reused = stats().n_reused_tokens;
            struct result *r = generate_in(session, prompt, n_prompt, 40);
            // The last token of the turn before was chosen, but its row had yet to be computed: as that of a generated token.
            assert_int_equal(r->end.n_reused, turn == 0 ? 0 : held - 1);
            assert_int_equal(stats().n_prompt_tokens - computed, n_new);
            assert_int_equal(stats().n_reused_tokens - reused, r->end.n_reused);
            assert_int_equal(stats().kv_tokens, n_prompt + 39);
            held = n_prompt + 40;
            struct result *anew = generate_in(fork, prompt, n_prompt, 40);
            // Of a session that rests it could take the blocks before the first generated token.
            assert_true(anew->end.n_reused < 30);
            assert_same_and_free(r, anew);
            chord_session_free(fork);
        }
        free_and_close(session);
    }
}

static void the_same_prompt_computes_its_last_token(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 63, 64, 65, 128, 200};
    uint32_t prompt[200];
    for (uint32_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        open_long(CHORD_KV_F16);
        random_tokens(prompt, lengths[i], i);
        struct result *first = finish_job(start(prompt, lengths[i], greedy(30)));
        struct chord_session *session = open_session();
        assert_same_and_free(generate_in(session, prompt, lengths[i], 30), first);
        const uint64_t computed = stats().n_prompt_tokens;
        struct result *again = generate_in(session, prompt, lengths[i], 30);
        assert_int_equal(stats().n_prompt_tokens - computed, 1);
        assert_same_and_free(again, finish_job(start(prompt, lengths[i], greedy(30))));
        free_and_close(session);
    }
}

// An edit within the text, before or behind what was generated.
static void edits_keep_what_is_before_them(void **state)
{
    (void)state;
    static const uint32_t edits[] = {0, 5, 63, 64, 99, 100, 101, 120, 128, 139, 140, 150};
    for (uint32_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        uint32_t prompt[1200];
        open_long(CHORD_KV_F16);
        random_tokens(prompt, 100, 1);
        struct chord_session *session = open_session();
        result_free(generate_in(session, prompt, 100, 40));
        const uint64_t n = prompt_after(session, prompt, 20, 2);
        result_free(generate_in(session, prompt, n, 10));
        prompt[edits[i]] = prompt[edits[i]] == 7 ? 8 : 7;
        struct chord_session *fork = fork_of(session);
        empty_cache(fork);
        struct result *r = generate_in(session, prompt, n, 30);
        assert_int_equal(r->end.n_reused, edits[i]);
        assert_same_and_free(r, generate_in(fork, prompt, n, 30));
        chord_session_free(fork);
        free_and_close(session);
    }
}

// Branches of one text, each with its own way on, at the same time; whole blocks are held once.
static void forks_share_and_part(void **state)
{
    (void)state;
    uint32_t prompt[1200], own[4][1200];
    struct chord_session *forks[4], *bare[4];
    struct chord_job *jobs[4];
    struct result *results[4];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 200, 1);
    struct chord_session *session = open_session();
    result_free(generate_in(session, prompt, 200, 30));
    for (uint32_t i = 0; i < 4; i++) {
        forks[i] = fork_of(session);
        bare[i] = fork_of(session);
    }
    chord_model_settle(model);
    assert_int_equal(stats().kv_blocks, 4);
    assert_int_equal(stats().kv_tokens, 9 * 229);
    for (uint32_t i = 0; i < 4; i++) {
        empty_cache(bare[i]);
        prompt_after(forks[i], own[i], 10 + i, 10 + i);
        jobs[i] = start_in(forks[i], own[i], 240 + i, greedy(20));
    }
    chord_session_free(session); // the blocks outlive it
    for (uint32_t i = 0; i < 4; i++)
        results[i] = finish_job(jobs[i]);
    chord_model_settle(model);
    assert_int_equal(stats().kv_blocks, 3 + 4 * 2); // 259 + i tokens and more
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(results[i]->end.n_reused, 229);
        assert_same_and_free(results[i], generate_in(bare[i], own[i], 240 + i, 20));
        chord_session_free(forks[i]);
        chord_session_free(bare[i]);
    }
    assert_idle();
    close_tiny();
}

// A session that rests gives the blocks of its prompt to others, and those of what it generated to none.
static void prompts_take_from_sessions(void **state)
{
    (void)state;
    uint32_t prompt[1200];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 150, 1);
    struct chord_session *session = open_session();
    result_free(generate_in(session, prompt, 150, 200));
    assert_int_equal(chord_session_tokens(session, prompt, 1200), 350);
    struct chord_session *other = open_session();
    struct result *shared = generate_in(other, prompt, 350, 20), *job = finish_job(start(prompt, 350, greedy(20)));
    assert_int_equal(shared->end.n_reused, 128);
    assert_int_equal(job->end.n_reused, 320); // of the other session, for which all of it is a prompt
    chord_session_free(session);
    chord_session_free(other);
    assert_idle();
    struct result *alone = finish_job(start(prompt, 350, greedy(20)));
    assert_int_equal(alone->end.n_reused, 0);
    assert_same(shared, alone);
    result_free(shared);
    assert_same_and_free(job, alone);
    close_tiny();
}

static void one_generation_at_a_time(void **state)
{
    (void)state;
    uint32_t prompt[40];
    struct chord_job *second;
    struct chord_session *fork;
    struct chord_error err;
    const struct chord_generate_options options = greedy(20);
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 40, 1);
    struct chord_session *session = open_session();
    struct chord_job *job = start_in(session, prompt, 40, options);
    assert_int_equal(chord_session_generate(session, prompt, 40, &options, &second, &err), CHORD_BUSY);
    assert_non_null(strstr(err.message, "generating"));
    assert_int_equal(chord_session_fork(session, &fork, &err), CHORD_BUSY);
    assert_int_equal(chord_session_tokens(session, prompt, 40), 0);
    result_free(finish_job(job));
    assert_int_equal(chord_session_tokens(session, prompt, 40), 60);
    // What is refused leaves it at rest.
    assert_int_equal(chord_session_generate(session, prompt, 0, &options, &second, &err), CHORD_INVALID_ARGUMENT);
    prompt[3] = UINT32_MAX;
    assert_int_equal(chord_session_generate(session, prompt, 40, &options, &second, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_session_generate(session, prompt, 1200, &options, &second, &err), CHORD_CONTEXT_FULL);
    assert_int_equal(chord_session_tokens(session, prompt, 40), 60);
    result_free(generate_in(session, prompt, 3, 3));
    free_and_close(session);
}

// Cancelled, a generation leaves what there is of its text, from which the next goes on.
static void a_cancelled_text_goes_on(void **state)
{
    (void)state;
    uint32_t prompt[1200];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 700, 1);
    struct result *whole = finish_job(start(prompt, 700, greedy(60)));
    for (int n_steps = 0; n_steps < 12; n_steps++) {
        struct chord_session *session = open_session();
        struct chord_job *job = start_in(session, prompt, 700, greedy(60));
        for (int i = 0; i < n_steps; i++)
            chord_model_run(model, 0, NULL);
        chord_job_cancel(job);
        struct result *r = finish_job(job);
        assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
        uint64_t n = chord_session_tokens(session, prompt, 1200);
        assert_int_equal(n, n_steps == 0 ? 0 : 700 + r->n_tokens); // it had not begun
        n = n == 0 ? 700 : n;
        struct result *rest = generate_in(session, prompt, n, 760 - n);
        assert_int_equal(rest->n_tokens + r->n_tokens, 60);
        assert_memory_equal(rest->tokens, whole->tokens + r->n_tokens, rest->n_tokens * sizeof *rest->tokens);
        assert_memory_equal(rest->logprobs, whole->logprobs + r->n_tokens, rest->n_tokens * sizeof *rest->logprobs);
        assert_true(n_steps < 3 || rest->end.n_reused >= 699);
        result_free(r);
        result_free(rest);
        chord_session_free(session);
        assert_idle();
    }
    result_free(whole);
    close_tiny();
}

static void sessions_end_with_their_work_or_their_model(void **state)
{
    (void)state;
    uint32_t prompt[40];
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 40, 1);
    struct chord_session *session = open_session(), *kept = open_session();
    struct chord_job *job = start_in(session, prompt, 40, greedy(100));
    for (int i = 0; i < 5; i++)
        chord_model_run(model, 0, NULL);
    chord_session_free(session);
    struct result *r = finish_job(job);
    assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
    result_free(r);
    assert_idle();
    result_free(generate_in(kept, prompt, 40, 10));
    struct chord_job *unfinished = start_in(kept, prompt, 40, greedy(10));
    chord_model_run(model, 0, NULL);
    chord_job_free(unfinished);
    close_tiny();
}

// Whichever allocation fails: a call or a generation that says so, and a session that goes on as if nothing had been.
static void failed_allocations_spoil_nothing(void **state)
{
    (void)state;
    uint32_t prompt[1200];
    uint32_t n_failed = 0, n_whole = 0;
    open_long(CHORD_KV_F16);
    random_tokens(prompt, 190, 1);
    struct chord_session *session = open_session();
    result_free(generate_in(session, prompt, 190, 20));
    const uint64_t n = prompt_after(session, prompt, 5, 2);
    struct chord_session *original = fork_of(session);
    struct result *expected = generate_in(session, prompt, n, 8);
    const struct chord_generate_options options = greedy(8);
    chord_session_free(session);
    chord_model_settle(model);
    const uint64_t held = stats().memory_held;
    for (int64_t after = 0; after < 40; after++) {
        struct chord_job *job = NULL;
        struct chord_error err;
        session = NULL;
        atomic_store(&model->account.fail_after, after);
        enum chord_status status = chord_session_fork(original, &session, &err);
        if (status == CHORD_OK)
            status = chord_session_generate(session, prompt, n, &options, &job, &err);
        if (status == CHORD_OK)
            chord_model_run(model, 0, NULL);
        atomic_store(&model->account.fail_after, -1);
        struct result *r = job != NULL ? finish_job(job) : NULL;
        if (r == NULL || r->end.finish == CHORD_FINISH_ERROR) {
            assert_int_equal(r == NULL ? status : r->end.error.code, CHORD_OUT_OF_MEMORY);
            n_failed++;
            if (session != NULL)
                assert_same_and_free(generate_in(session, prompt, n, 8),
                                     finish_job(start_in(fork_of(original), prompt, n, options)));
        } else {
            assert_same(r, expected);
            n_whole++;
        }
        if (r != NULL)
            result_free(r);
        chord_session_free(session);
        chord_model_settle(model);
    }
    assert_true(n_failed > 0 && n_whole > 0);
    assert_true(held > 0);
    result_free(expected);
    close_tiny();
}

// Turns, edits, forks and cancellations at random over a handful of sessions, several at a time.
static void random_lives_are_what_they_are_from_nothing(void **state)
{
    (void)state;
    uint64_t random = 3;
    struct chord_session *sessions[5];
    open_long(CHORD_KV_F16);
    for (uint32_t i = 0; i < 5; i++)
        sessions[i] = open_session();
    for (int round = 0; round < (quick() ? 16 : 40); round++) {
        struct chord_session *bare[5] = {NULL};
        struct chord_job *jobs[5] = {NULL};
        uint32_t prompts[5][1200];
        uint64_t n_prompts[5];
        for (uint32_t i = 0; i < 5; i++) {
            const uint64_t n_held = chord_session_tokens(sessions[i], prompts[i], 1200);
            const uint32_t other = (uint32_t)(tiny_random(&random) % 5);
            if (n_held > 900 || tiny_random(&random) % 8 == 0) { // becomes a branch of another, or begins again
                struct chord_session *fork =
                    chord_session_tokens(sessions[other], NULL, 0) > 900 ? open_session() : fork_of(sessions[other]);
                chord_session_free(sessions[i]);
                chord_model_settle(model);
                sessions[i] = fork;
            }
        }
        for (uint32_t i = 0; i < 5; i++) {
            uint64_t n = chord_session_tokens(sessions[i], prompts[i], 1200);
            if (n > 0 && tiny_random(&random) % 3 == 0) // an edit
                n = tiny_random(&random) % n;
            const uint32_t n_new = 1 + (uint32_t)(tiny_random(&random) % 120);
            random_tokens(prompts[i] + n, n_new, tiny_random(&random) % 3);
            n_prompts[i] = n + n_new;
            bare[i] = fork_of(sessions[i]);
            empty_cache(bare[i]);
        }
        for (uint32_t i = 0; i < 5; i++) {
            jobs[i] = start_in(sessions[i], prompts[i], n_prompts[i], greedy(10 + i));
            for (uint64_t k = tiny_random(&random) % 4; k > 0; k--)
                chord_model_run(model, 0, NULL);
        }
        struct result *results[5];
        for (uint32_t i = 0; i < 5; i++)
            results[i] = finish_job(jobs[i]);
        for (uint32_t i = 0; i < 5; i++) {
            if (round % 4 == 0)
                assert_same_and_free(results[i], generate_in(bare[i], prompts[i], n_prompts[i], 10 + i));
            else
                result_free(results[i]);
            chord_session_free(bare[i]);
        }
    }
    for (uint32_t i = 0; i < 5; i++)
        chord_session_free(sessions[i]);
    assert_idle();
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(name)
        TEST(pieces_are_the_whole),
        TEST(turns_compute_what_is_new),
        TEST(the_same_prompt_computes_its_last_token),
        TEST(edits_keep_what_is_before_them),
        TEST(forks_share_and_part),
        TEST(prompts_take_from_sessions),
        TEST(one_generation_at_a_time),
        TEST(a_cancelled_text_goes_on),
        TEST(sessions_end_with_their_work_or_their_model),
        TEST(failed_allocations_spoil_nothing),
        TEST(random_lives_are_what_they_are_from_nothing),
#undef TEST
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
