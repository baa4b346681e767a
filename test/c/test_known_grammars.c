// Grammars of generations: what a model knows of one serves the next generation of it and those beside it, is counted, stays within its
// bound, and goes when memory is wanted.

#include "engine_helpers.h"

#include "engine/grammars.h"
#include "sampler/constraint.h"
#include "quick.h"

#include <stdio.h>
#include <string.h>

static struct chord_grammar *compile(const char *text)
{
    struct chord_grammar *grammar;
    struct chord_error err;
    if (chord_grammar_compile_gbnf(text, strlen(text), &grammar, &err) != CHORD_OK)
        fail_msg("%s: %s", text, err.message);
    return grammar;
}

static struct chord_generate_options within(struct chord_grammar *grammar, uint64_t seed)
{
    struct chord_generate_options options = sampling(seed, 40);
    options.grammar = grammar;
    return options;
}

static uint32_t n_known(void)
{
    uint32_t n = 0;
    for (const struct known_grammar *known = model->grammars; known != NULL; known = known->next)
        n++;
    return n;
}

static void open_model(uint64_t memory)
{
    open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_ff = 64}, (struct chord_model_options){.memory = memory});
}

static void the_next_generation_knows(void **state)
{
    uint32_t prompt[8];
    struct chord_grammar *words = compile("root ::= ([a-z]{2,9} \" \"){1,2000}"), *digits = compile("root ::= [0-9]+");
    (void)state;
    open_model(0);
    random_tokens(prompt, 8, 1);
    struct result *first = finish_job(start(prompt, 8, within(words, 1)));
    assert_int_equal(n_known(), 1);
    const struct known_grammar *known = model->grammars;
    const uint64_t bytes = constraint_cache_bytes(known->cache);
    assert_int_equal(known->n_jobs, 0);

    // The same text again finds nothing out, and asks for no memory.
    struct result *again = finish_job(start(prompt, 8, within(words, 1)));
    assert_same(first, again);
    assert_ptr_equal(model->grammars, known);
    assert_int_equal(constraint_cache_bytes(known->cache), bytes);
    struct constraint *next;
    struct chord_error err;
    assert_int_equal(constraint_create(&next, known->cache, &err), CHORD_OK);
    for (uint32_t i = 0; i < first->n_tokens; i++) {
        assert_true(constraint_allows(next, first->tokens[i]));
        assert_true(constraint_accept(next, first->tokens[i]));
    }
    constraint_free(next);

    // Its owner may let go of it; another one is another.
    chord_grammar_free(words);
    result_free(finish_job(start(prompt, 8, within(digits, 1))));
    assert_int_equal(n_known(), 2);
    chord_grammar_free(digits);
    result_free(first);
    result_free(again);
    close_tiny();
}

static void side_by_side(void **state)
{
    enum { N = 6 };
    uint32_t prompt[8];
    struct chord_grammar *grammar = compile("root ::= (\"a\" | \"b\" root \"c\" | [d-z ]{3,300}){1,40}");
    struct result *alone[N];
    struct chord_job *jobs[N];
    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        open_model(0);
        random_tokens(prompt, 8, 2);
        alone[i] = finish_job(start(prompt, 8, within(grammar, i)));
        close_tiny();
    }
    open_model(0);
    for (uint64_t i = 0; i < N; i++)
        jobs[i] = start(prompt, 8, within(grammar, i));
    chord_model_run(model, 0, NULL);
    assert_int_equal(n_known(), 1);
    assert_int_equal(model->grammars->n_jobs, N);
    chord_job_cancel(jobs[N - 1]); // one that leaves takes nothing with it
    for (uint64_t i = 0; i < N; i++) {
        struct result *together = finish_job(jobs[i]);
        if (i < N - 1)
            assert_same(alone[i], together);
        result_free(together);
        result_free(alone[i]);
    }
    assert_int_equal(model->grammars->n_jobs, 0);
    assert_idle();
    chord_grammar_free(grammar);
    close_tiny();
}

static void bound(void **state)
{
    uint32_t prompt[8], most_known = 0;
    const uint64_t memory = UINT64_C(8) << 20;
    (void)state;
    open_model(memory);
    random_tokens(prompt, 8, 3);
    result_free(finish_job(start(prompt, 8, sampling(1, 4))));
    const uint64_t before = atomic_load(&model->account.held[MEMORY_SCRATCH]);
    for (int i = 0; i < 24; i++) {
        char text[64];
        snprintf(text, sizeof text, "root ::= [a-z]{%d} [A-Z ]*", i + 1);
        struct chord_grammar *grammar = compile(text);
        result_free(finish_job(start(prompt, 8, within(grammar, 1))));
        chord_grammar_free(grammar);
        most_known = n_known() > most_known ? n_known() : most_known;
        assert_true(atomic_load(&model->account.held[MEMORY_SCRATCH]) <=
                    before + memory / 16); // 32, and what allocation adds
    }
    assert_true(most_known > 0 && n_known() <= most_known && most_known < 24);

    // One that a generation is held to stays.
    struct chord_grammar *grammar = compile("root ::= [a-z]+");
    struct chord_job *job = start(prompt, 8, within(grammar, 1));
    chord_model_run(model, 0, NULL);
    model_forget_grammars(model, 0);
    assert_int_equal(n_known(), 1);
    assert_false(model_forget_grammars(model, 0));
    result_free(finish_job(job));
    assert_true(n_known() == 0 || model_forget_grammars(model, 0));
    assert_int_equal(n_known(), 0);
    assert_int_equal(atomic_load(&model->account.held[MEMORY_SCRATCH]), before);
    chord_grammar_free(grammar);
    close_tiny();
}

// Each allocation of a generation within a grammar fails once: what it leaves serves the next one.
static void no_memory(void **state)
{
    uint32_t prompt[8];
    struct chord_grammar *grammar = compile("root ::= ([a-z]{2,9} \" \"){1,20}");
    struct result *expected = NULL;
    int n_failed = 0;
    (void)state;
    open_model(0);
    random_tokens(prompt, 8, 4);
    for (int64_t fail_after = 1; expected == NULL; fail_after += quick() ? 9 : 1) {
        struct chord_job *job = start(prompt, 8, within(grammar, 1));
        atomic_store(&model->account.fail_after, fail_after);
        struct result *r = finish_job(job);
        atomic_store(&model->account.fail_after, -1);
        if (r->end.finish != CHORD_FINISH_ERROR)
            expected = r;
        else
            result_free(r);
        n_failed += expected == NULL;
        struct result *next = finish_job(start(prompt, 8, within(grammar, 1)));
        assert_int_equal(next->end.finish, CHORD_FINISH_LENGTH);
        assert_true(expected == NULL || expected->n_text == next->n_text);
        result_free(next);
        if (fail_after % 2 == 0)
            model_forget_grammars(model, 0);
    }
    assert_true(n_failed > 0);
    result_free(expected);
    chord_grammar_free(grammar);
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_generation_knows),
        cmocka_unit_test(side_by_side),
        cmocka_unit_test(bound),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
