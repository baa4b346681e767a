// Speculation: guesses from the text's past, how many of them pay, and that texts are the same with and without.
#include "engine/lookup.h"
#include "engine/speculate.h"
#include "engine_helpers.h"
#include "quick.h"

// ---- Guesses ---------------------------------------------------------------------------------------------------------------

// What lookup_guess says, by looking at every place.
static uint32_t guess_slowly(const uint32_t *tokens, uint32_t n, uint32_t *out, uint32_t max, uint32_t *n_match)
{
    uint32_t best = 1, best_end = 0;
    for (uint32_t end = n - 1; end >= 2; end--) {
        uint32_t match = 0;
        while (match < LOOKUP_MAX_MATCH && match < end && tokens[end - 1 - match] == tokens[n - 1 - match])
            match++;
        if (match > best) {
            best = match;
            best_end = end;
        }
    }
    *n_match = best;
    for (uint32_t i = 0; i < max && best_end != 0; i++)
        out[i] = best_end + i < n ? tokens[best_end + i] : out[best_end + i - n];
    return best_end == 0 ? 0 : max;
}

static void guesses_follow_the_longest_match(void **state)
{
    (void)state;
    enum { n = 400, max = 9 };
    struct memory_account account;
    uint64_t random = 1;
    memory_account_init(&account, UINT64_MAX);
    // Of few different tokens, so that pairs repeat; not so few that a pair stands in more places than are looked at.
    static const uint32_t vocabularies[] = {7, 12, 40, 1000};
    for (size_t v = 0; v < 4; v++) {
        uint32_t tokens[n], guess[max], wanted[max], n_guessed = 0;
        struct lookup lookup;
        assert_true(lookup_init(&lookup, n, &account));
        for (uint32_t i = 0; i < n; i++) {
            tokens[i] = (uint32_t)(tiny_random(&random) % vocabularies[v]);
            if (i > 30 && i % 50 > 20) // a copy of what stood before
                tokens[i] = tokens[i - 29];
        }
        for (uint32_t at = 1; at <= n; at += 1 + at % 3) {
            uint32_t match = 0, wanted_match = 0;
            const uint32_t got = lookup_guess(&lookup, tokens, at, guess, max, &match);
            const uint32_t want = at < 3 ? 0 : guess_slowly(tokens, at, wanted, max, &wanted_match);
            assert_int_equal(got, want);
            if (got == 0)
                continue;
            n_guessed++;
            assert_int_equal(match, wanted_match);
            assert_memory_equal(guess, wanted, got * sizeof *guess);
        }
        assert_true(n_guessed > 50);
        lookup_free(&lookup, &account);
    }
    assert_int_equal(atomic_load(&account.total), 0);
}

static void a_repeated_text_is_guessed_on(void **state)
{
    (void)state;
    struct memory_account account;
    struct lookup lookup;
    uint32_t guess[7], n_match;
    const uint32_t tokens[] = {9, 1, 2, 3, 1, 2, 3, 1};
    const uint32_t wanted[] = {2, 3, 1, 2, 3, 1, 2};
    memory_account_init(&account, UINT64_MAX);
    assert_true(lookup_init(&lookup, 8, &account));
    assert_int_equal(lookup_guess(&lookup, tokens, 8, guess, 7, &n_match), 7);
    assert_int_equal(n_match, 4);
    assert_memory_equal(guess, wanted, sizeof wanted);
    lookup_free(&lookup, &account);
}

// ---- How many ----------------------------------------------------------------------------------------------------------------

static void offer(struct guess_offer *offers, uint32_t n, float rate)
{
    float probability = 1;
    for (uint32_t i = 0; i < n; i++)
        offers[i] = (struct guess_offer){.probability = probability *= rate};
}

// Runs 3000 steps against costs that are what `cost` says; returns tokens per time, relative to steps without guesses.
static double simulate(double (*cost)(uint32_t n_rows), float rate, uint64_t seed)
{
    struct step_costs costs = {0};
    struct guess_offer offers[SPECULATE_MAX_GUESSES];
    double tokens = 0, time = 0;
    offer(offers, SPECULATE_MAX_GUESSES, rate);
    for (uint32_t step = 0; step < 3000; step++) {
        const uint32_t n = speculate_choose(&costs, 1, offers, SPECULATE_MAX_GUESSES);
        assert_true(n <= SPECULATE_MAX_GUESSES);
        const double noise = 1 + 0.04 * (double)(tiny_random(&seed) % 100) / 100;
        const double ns = 1e6 * cost(1 + n) * noise;
        step_costs_learn(&costs, 1 + n, (uint64_t)ns);
        time += ns / 1e6 / 1.02;
        tokens += 1;
        for (uint32_t i = 0; i < n; i++)
            tokens += (double)offers[i].probability;
    }
    return tokens / time * cost(1);
}

static double cost_of_reading(uint32_t n_rows)
{
    return 1 + 0.01 * n_rows;
}

static double cost_of_computing(uint32_t n_rows)
{
    return n_rows;
}

static double cost_of_both(uint32_t n_rows)
{
    return n_rows <= 4 ? 1 + 0.1 * (n_rows - 1) : 0.4 * n_rows;
}

// The best that any fixed number of guesses reaches.
static double best_of_fixed(double (*cost)(uint32_t n_rows), float rate)
{
    double best = 1;
    double tokens = 1, probability = 1;
    for (uint32_t n = 1; n <= SPECULATE_MAX_GUESSES; n++) {
        tokens += probability *= (double)rate;
        best = fmax(best, tokens / cost(1 + n) * cost(1));
    }
    return best;
}

static void what_pays_is_chosen(void **state)
{
    (void)state;
    double (*const costs[])(uint32_t) = {cost_of_reading, cost_of_computing, cost_of_both};
    for (size_t c = 0; c < 3; c++)
        for (float rate = 0.05f; rate < 1; rate += 0.1f) {
            const double got = simulate(costs[c], rate, c + 1), best = best_of_fixed(costs[c], rate);
            if (got < 0.985 || got < 0.94 * best)
                fail_msg("costs %zu, rate %.2f: %.3f of the speed without guesses, %.3f is the best", c, (double)rate,
                         got, best);
        }
}

static void rates_are_learned(void **state)
{
    (void)state;
    struct guess_rates rates;
    guess_rates_init(&rates);
    for (int i = 0; i < 100; i++) {
        guess_rates_learn(&rates, GUESS_MATCH_2, true);
        guess_rates_learn(&rates, GUESS_MATCH_16, i % 2 == 0);
    }
    assert_true(rates.rate[GUESS_MATCH_2] > 0.99f);
    assert_true(rates.rate[GUESS_MATCH_16] > 0.4f && rates.rate[GUESS_MATCH_16] < 0.6f);
    assert_int_equal(guess_class_of_match(2), GUESS_MATCH_2);
    assert_int_equal(guess_class_of_match(4), GUESS_MATCH_3);
    assert_int_equal(guess_class_of_match(400), GUESS_MATCH_16);
}

// ---- Texts -----------------------------------------------------------------------------------------------------------------

static const struct chord_speculation lookup_always = {.lookup = true, .always = true};

// A prompt that repeats itself, so that there is always something to guess.
static void repetitive_tokens(uint32_t *tokens, uint32_t n, uint64_t seed)
{
    random_tokens(tokens, n, seed);
    for (uint32_t i = 12; i < n; i++)
        if (i % 13 != 0)
            tokens[i] = tokens[i - 12];
}

static void assert_same_logprobs(const struct result *a, const struct result *b)
{
    assert_same(a, b);
    assert_memory_equal(a->logprobs, b->logprobs, a->n_tokens * sizeof *a->logprobs);
    assert_int_equal(a->n_event_text, b->n_event_text);
}

// Options of many kinds, by number.
static struct chord_generate_options options_of(uint32_t kind, uint64_t seed, uint64_t max_tokens)
{
    struct chord_generate_options options = sampling(seed, max_tokens);
    options.n_logprobs = 2;
    options.temperature = kind % 3 == 0 ? 0 : kind % 3 == 1 ? 0.3f : 1;
    if (kind / 3 % 2 == 1) {
        options.repeat_penalty = 1.2f;
        options.frequency_penalty = 0.2f;
        options.presence_penalty = 0.1f;
        options.penalty_last_n = 20;
    }
    if (kind / 6 % 2 == 1) {
        options.top_k = 30;
        options.top_p = 0.9f;
        options.min_p = 0.01f;
    }
    return options;
}

static void texts_are_the_same(void **state)
{
    (void)state;
    static const uint32_t types[] = {QUANT_Q8_0, QUANT_F32, QUANT_Q4_0};
    const size_t n_types = quick() ? 1 : 3;
    static const uint32_t widths[] = {1, 2, 3, 7, 0};
    static const uint32_t lengths[] = {1, 2, 30, 61, 90};
    uint32_t prompt[90];
    uint64_t n_guessed = 0, n_accepted = 0;
    for (size_t t = 0; t < n_types; t++)
        for (int kv = 0; kv < 2; kv++) {
            open_tiny((struct tiny_options){.type = types[t], .n_embd = 64, .n_ff = 64},
                      (struct chord_model_options){.kv_type = kv == 0 ? CHORD_KV_F16 : CHORD_KV_Q8_0});
            // In a hurry half of them with each type of cache.
            for (uint32_t kind = quick() ? (uint32_t)kv : 0; kind < 12; kind += quick() ? 2 : 1) {
                const uint32_t n = lengths[kind % 5];
                repetitive_tokens(prompt, 90, 100 + kind);
                struct chord_generate_options options = options_of(kind, 1 + kind, 70);
                struct result *plain = finish_job(start(prompt, n, options));
                for (size_t w = 0; w < 5; w++) {
                    options.speculation = lookup_always;
                    options.speculation.max_guesses = widths[w];
                    struct result *r = finish_job(start(prompt, n, options));
                    assert_same_logprobs(plain, r);
                    assert_true(r->end.n_accepted <= r->end.n_guessed);
                    n_guessed += r->end.n_guessed;
                    n_accepted += r->end.n_accepted;
                    result_free(r);
                }
                options.speculation.always = false;
                struct result *r = finish_job(start(prompt, n, options));
                assert_same_logprobs(plain, r);
                result_free(r);
                assert_int_equal(plain->end.n_guessed, 0);
                result_free(plain);
            }
            assert_idle();
            close_tiny();
        }
    // The comparison says something only when guesses of both kinds were many; how many come true is up to the tier's rounding.
    const uint64_t n_many = quick() ? 60 : 200 * n_types;
    assert_true(n_accepted > n_many && n_guessed > n_accepted + n_many);
}

// The same with texts that repeat themselves, as greedy ones of tiny models do: many guesses come true, steps are fewer.
static void guesses_save_steps(void **state)
{
    (void)state;
    uint32_t prompt[40];
    open_tiny((struct tiny_options){.n_ctx = 1024}, (struct chord_model_options){0});
    repetitive_tokens(prompt, 40, 3);
    struct chord_generate_options options = options_of(0, 1, 600);
    struct result *plain = finish_job(start(prompt, 40, options));
    const uint64_t steps_plain = stats().n_steps;
    assert_int_equal(stats().n_generated_tokens, 599);
    options.speculation = lookup_always;
    struct result *r = finish_job(start(prompt, 40, options));
    assert_same_logprobs(plain, r);
    assert_int_equal(stats().n_generated_tokens, 2 * 599);
    assert_int_equal(stats().n_guessed_tokens, r->end.n_guessed);
    assert_int_equal(stats().n_accepted_tokens, r->end.n_accepted);
    assert_int_equal(stats().n_steps - steps_plain, 600 - r->end.n_accepted);
    assert_true(r->end.n_accepted > 200);
    result_free(plain);
    result_free(r);
    close_tiny();
}

static void beside_others(void **state)
{
    (void)state;
    enum { n_jobs = 7 };
    uint32_t prompt[n_jobs][90];
    struct result *plain[n_jobs];
    struct chord_job *jobs[n_jobs];
    open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_embd = 64, .n_ff = 64}, (struct chord_model_options){0});
    for (uint32_t i = 0; i < n_jobs; i++) {
        repetitive_tokens(prompt[i], 90, 50 + i);
        plain[i] = finish_job(start(prompt[i], 5 + 12 * i, options_of(i, i, 40 + 9 * i)));
    }
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < n_jobs; i++) {
            struct chord_generate_options options = options_of(i, i, 40 + 9 * i);
            options.speculation = lookup_always;
            options.speculation.lookup = (i + round) % 3 != 0;
            options.speculation.max_guesses = i * round;
            options.speculation.always = round != 1;
            jobs[i] = start(prompt[i], 5 + 12 * i, options);
            for (uint32_t step = 0; step < i; step++)
                chord_model_run(model, 0, NULL);
        }
        for (uint32_t i = 0; i < n_jobs; i++) {
            struct result *r = finish_job(jobs[i]);
            assert_same_logprobs(plain[i], r);
            result_free(r);
        }
        assert_idle();
    }
    for (uint32_t i = 0; i < n_jobs; i++)
        result_free(plain[i]);
    close_tiny();
}

// Limits, ends of generation and stop strings within a step of several tokens.
static void ends_are_the_same(void **state)
{
    (void)state;
    uint32_t prompt[40];
    open_tiny((struct tiny_options){.n_ctx = 100}, (struct chord_model_options){0});
    repetitive_tokens(prompt, 40, 4);
    for (uint32_t n = 1; n < 75; n++) {
        struct chord_generate_options options = options_of(0, 1, n < 70 ? n : UINT64_MAX);
        struct result *plain = finish_job(start(prompt, 40, options));
        options.speculation = lookup_always;
        struct result *r = finish_job(start(prompt, 40, options));
        assert_same_logprobs(plain, r);
        assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
        result_free(r);
        char buffer[8];
        uint64_t at = plain->n_text / 2;
        while (at > 0 && ((unsigned char)plain->text[at] & 0xc0) == 0x80)
            at--;
        const uint64_t left = plain->n_text - at;
        memcpy(buffer, plain->text + at, left < 4 ? left : 4);
        const struct chord_string stop = {buffer, left < 4 ? left : 4};
        result_free(plain);
        options.stop = &stop;
        options.n_stop = stop.n_bytes > 0;
        options.ignore_eos = false;
        r = finish_job(start(prompt, 40, options));
        options.speculation = (struct chord_speculation){0};
        plain = finish_job(start(prompt, 40, options));
        assert_same_logprobs(plain, r);
        result_free(plain);
        result_free(r);
    }
    assert_idle();
    close_tiny();
}

// The end-of-generation token is guessed, and ends the text where it is chosen.
static void a_guessed_end_ends(void **state)
{
    (void)state;
    uint32_t prompt[64];
    uint32_t n_stopped = 0;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    repetitive_tokens(prompt, 64, 8);
    for (uint32_t i = 0; i < 64; i += 3)
        prompt[i] = 2;
    for (float bias = 0; bias < 12; bias += 1) {
        const struct chord_logit_bias to_end = {.token = 2, .bias = bias};
        for (uint32_t kind = 0; kind < 6; kind++) {
            struct chord_generate_options options = options_of(kind, kind, 60);
            options.ignore_eos = false;
            options.logit_bias = &to_end;
            options.n_logit_bias = 1;
            struct result *plain = finish_job(start(prompt, 64, options));
            options.speculation = lookup_always;
            struct result *r = finish_job(start(prompt, 64, options));
            assert_same_logprobs(plain, r);
            n_stopped += r->end.finish == CHORD_FINISH_STOP;
            result_free(plain);
            result_free(r);
        }
    }
    assert_true(n_stopped > 5);
    close_tiny();
}

static void cancelling_gives_a_beginning(void **state)
{
    (void)state;
    uint32_t prompt[40];
    open_tiny((struct tiny_options){.n_ctx = 1024}, (struct chord_model_options){0});
    repetitive_tokens(prompt, 40, 4);
    struct chord_generate_options options = options_of(0, 1, 500);
    struct result *plain = finish_job(start(prompt, 40, options));
    options.speculation = lookup_always;
    for (uint32_t n_steps = 0; n_steps < 12; n_steps++) {
        struct chord_job *job = start(prompt, 40, options);
        for (uint32_t i = 0; i < n_steps; i++)
            chord_model_run(model, 0, NULL);
        chord_job_cancel(job);
        struct result *r = finish_job(job);
        assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
        assert_true(r->n_tokens >= n_steps && r->n_tokens < 500);
        assert_memory_equal(r->tokens, plain->tokens, r->n_tokens * sizeof *r->tokens);
        assert_memory_equal(r->text, plain->text, r->n_text);
        result_free(r);
        assert_idle();
    }
    result_free(plain);
    close_tiny();
}

// Where memory does not suffice for guesses the text comes without them.
static void memory_runs_out_for_guesses_first(void **state)
{
    (void)state;
    uint32_t prompt[20];
    struct chord_generate_options options;
    open_tiny((struct tiny_options){.n_vocab = 2000, .n_padding = 1700}, (struct chord_model_options){0});
    repetitive_tokens(prompt, 20, 4);
    options = options_of(0, 1, 40);
    struct result *plain = finish_job(start(prompt, 20, options));
    options.speculation = lookup_always;
    struct chord_job *job = start(prompt, 20, options);
    chord_model_run(model, 0, NULL); // the prompt: of one token's logits, and with the only block of the cache
    model->account.ceiling = atomic_load(&model->account.total) + 15000; // less than logits of two tokens more
    struct result *r = finish_job(job);
    assert_same_logprobs(plain, r);
    assert_int_equal(r->end.n_accepted, 0);
    result_free(plain);
    result_free(r);
    close_tiny();
}

// The last block of the cache goes to a token that is known, not to guesses of a job that comes before.
static void guesses_take_no_room_from_texts_beside_them(void **state)
{
    (void)state;
    uint32_t guessing_prompt[KV_BLOCK_TOKENS], other_prompt[KV_BLOCK_TOKENS];
    open_tiny((struct tiny_options){.n_ctx = 1024, .n_embd = 256}, (struct chord_model_options){0});
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i++)
        guessing_prompt[i] = 7;
    repetitive_tokens(other_prompt, KV_BLOCK_TOKENS, 5);
    struct chord_generate_options options = options_of(0, 1, 500);
    const struct chord_logit_bias always_7 = {.token = 7, .bias = 100};
    options.logit_bias = &always_7;
    options.n_logit_bias = 1;
    options.speculation = lookup_always;
    struct chord_job *guessing = start(guessing_prompt, KV_BLOCK_TOKENS - 1, options);
    struct chord_job *other = start(other_prompt, KV_BLOCK_TOKENS, options_of(0, 1, 2));
    chord_model_run(model, 0, NULL); // both prompts: each holds one block
    model->account.ceiling = atomic_load(&model->account.total) + model->kv_layout.block_bytes * 3 / 2;
    struct result *r = finish_job(other);
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    assert_int_equal(r->n_tokens, 2);
    chord_job_cancel(guessing);
    result_free(finish_job(guessing));
    result_free(r);
    close_tiny();
}

static void too_many_guesses_are_refused(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 270};
    struct chord_error err;
    struct chord_job *job;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    struct chord_generate_options options = sampling(1, 5);
    options.speculation = (struct chord_speculation){.lookup = true, .max_guesses = CHORD_MAX_GUESSES + 1};
    assert_int_equal(chord_generate(model, prompt, 2, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "15"));
    assert_idle();
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_follow_the_longest_match),
        cmocka_unit_test(a_repeated_text_is_guessed_on),
        cmocka_unit_test(what_pays_is_chosen),
        cmocka_unit_test(rates_are_learned),
        cmocka_unit_test(texts_are_the_same),
        cmocka_unit_test(guesses_save_steps),
        cmocka_unit_test(beside_others),
        cmocka_unit_test(ends_are_the_same),
        cmocka_unit_test(a_guessed_end_ends),
        cmocka_unit_test(cancelling_gives_a_beginning),
        cmocka_unit_test(memory_runs_out_for_guesses_first),
        cmocka_unit_test(guesses_take_no_room_from_texts_beside_them),
        cmocka_unit_test(too_many_guesses_are_refused),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
