// Draft models: texts are what they are without, whatever becomes of the draft model; what it may hold and when it is asked.
#include "engine/draft.h"
#include "engine_helpers.h"
#include "quick.h"

static struct chord_model *drafter;

static struct chord_stats stats_of(struct chord_model *of)
{
    struct chord_stats out;
    chord_model_stats(of, &out);
    return out;
}

// Opens a model of the same vocabulary as the one that open_tiny opened, with other weights.
static struct chord_model *open_other(struct tiny_options tiny, struct chord_model_options options)
{
    struct tiny_model other;
    tiny.n_vocab = m.options.n_vocab;
    tiny.n_padding = m.options.n_padding;
    tiny.seed = 99;
    tiny_init(&other, tiny);
    tiny_write(&other, test_path("other.gguf"));
    tiny_free(&other);
    return open_path(test_path("other.gguf"), options);
}

static void close_both(void)
{
    chord_model_close(drafter);
    drafter = NULL;
    close_tiny();
}

static void assert_drafter_holds_nothing(void)
{
    assert_int_equal(stats_of(drafter).held_kv, 0);
    assert_int_equal(stats_of(drafter).kv_tokens, 0);
    assert_int_equal(stats_of(drafter).kv_blocks, 0);
}

static struct chord_generate_options options_of(uint32_t kind, uint64_t seed, uint64_t max_tokens)
{
    struct chord_generate_options options = sampling(seed, max_tokens);
    options.n_logprobs = 2;
    options.temperature = kind % 3 == 0 ? 0 : kind % 3 == 1 ? 0.3f : 1;
    if (kind / 3 % 2 == 1) {
        options.repeat_penalty = 1.2f;
        options.frequency_penalty = 0.2f;
        options.penalty_last_n = 20;
    }
    return options;
}

static void assert_same_logprobs(const struct result *a, const struct result *b)
{
    assert_same(a, b);
    assert_memory_equal(a->logprobs, b->logprobs, a->n_tokens * sizeof *a->logprobs);
    assert_int_equal(a->n_event_text, b->n_event_text);
}

static struct chord_speculation always_by(struct chord_model *draft)
{
    return (struct chord_speculation){.draft = draft, .always = true};
}

// ---- Vocabularies ----------------------------------------------------------------------------------------------------------

static void assert_refused(struct chord_model *draft, const char *expected)
{
    const uint32_t prompt[] = {1, 270};
    struct chord_job *job;
    struct chord_error err = {0};
    struct chord_generate_options options = sampling(1, 5);
    options.speculation.draft = draft;
    assert_int_equal(chord_generate(model, prompt, 2, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    if (strstr(err.message, expected) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, expected);
    assert_idle();
}

static struct chord_model *open_changed(struct tiny_options tiny, uint32_t token, const char *text, uint32_t type)
{
    struct tiny_model other;
    tiny_init(&other, tiny);
    const uint32_t n = other.options.n_vocab - other.options.n_padding;
    struct maker changed = {0};
    struct maker *tokens = &tiny_find(&other, "tokenizer.ggml.tokens")->body;
    // The same list with one token replaced: type, element and count, then length and text of each.
    uint64_t at = 4 + 4 + 8;
    for (uint64_t i = 0; i < at; i++)
        put_u8(&changed, tokens->bytes[i]);
    for (uint32_t id = 0; id < n; id++) {
        uint64_t length;
        memcpy(&length, tokens->bytes + at, 8);
        char old[64] = {0};
        memcpy(old, tokens->bytes + at + 8, length);
        put_string(&changed, id == token ? text : old);
        at += 8 + length;
    }
    struct maker *types = &tiny_find(&other, "tokenizer.ggml.token_type")->body;
    if (token < n)
        memcpy(types->bytes + 4 + 4 + 8 + 4 * (size_t)token, &type, 4);
    free(tokens->bytes);
    *tokens = changed;
    tiny_write(&other, test_path("changed.gguf"));
    tiny_free(&other);
    return open_path(test_path("changed.gguf"), (struct chord_model_options){0});
}

static void other_vocabularies_are_refused(void **state)
{
    (void)state;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    assert_refused(model, "itself");
    drafter = open_changed((struct tiny_options){0}, 290, "other", 1);
    assert_refused(drafter, "its token 290 is 'other'");
    chord_model_close(drafter);
    drafter = open_changed((struct tiny_options){.n_vocab = 301}, 300, "more", 1);
    assert_refused(drafter, "301 tokens, the model 300; only the draft model has token 300, 'more'");
    chord_model_close(drafter);
    drafter = open_changed((struct tiny_options){.n_vocab = 299}, UINT32_MAX, "", 1);
    assert_refused(drafter, "only the model has token 299");
    close_both();
}

// Vocabularies of one family differ in tokens of no text that fill up their ends.
static void unused_tokens_make_no_difference(void **state)
{
    (void)state;
    uint32_t prompt[20];
    open_tiny((struct tiny_options){.n_padding = 7}, (struct chord_model_options){0});
    random_tokens(prompt, 20, 1);
    struct chord_generate_options options = sampling(1, 60);
    struct result *plain = finish_job(start(prompt, 20, options));
    for (uint32_t n_vocab = 293; n_vocab < 296; n_vocab += 2) {
        drafter = n_vocab == 293 ? open_changed((struct tiny_options){.n_vocab = 293}, UINT32_MAX, "", 1)
                                 : open_changed((struct tiny_options){.n_vocab = 294}, 293, "[PAD293]", 5);
        options.speculation = always_by(drafter);
        struct result *r = finish_job(start(prompt, 20, options));
        assert_same(plain, r);
        assert_true(r->end.n_drafted > 100);
        result_free(r);
        chord_model_close(drafter);
    }
    drafter = NULL;
    result_free(plain);
    close_both();
}

// ---- Texts -----------------------------------------------------------------------------------------------------------------

// A draft model of the same weights guesses right whatever the text: all that is computed ahead is true.
static void equal_weights_are_always_right(void **state)
{
    (void)state;
    static const uint32_t types[] = {QUANT_F32, QUANT_Q4_0};
    const uint32_t n_ahead = quick() ? 150 : 400; // tokens behind the prompt's step
    uint32_t prompt[300];
    for (size_t t = 0; t < 2; t++) {
        open_tiny((struct tiny_options){.type = types[t], .n_embd = 64, .n_ff = 64, .n_ctx = 1024},
                  (struct chord_model_options){0});
        drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){.n_threads = 1});
        random_tokens(prompt, 300, 5);
        for (uint32_t n = 1; n <= 300; n += quick() ? 298 : 149) {
            struct chord_generate_options options = options_of(0, 1, n_ahead + 1);
            struct result *plain = finish_job(start(prompt, n, options));
            for (uint32_t width = 1; width <= CHORD_MAX_GUESSES; width += 7) {
                const struct chord_stats before = stats();
                options.speculation = always_by(drafter);
                options.speculation.max_guesses = width;
                struct result *r = finish_job(start(prompt, n, options));
                assert_same_logprobs(plain, r);
                assert_int_equal(r->end.n_guessed, r->end.n_drafted);
                assert_int_equal(r->end.n_accepted, r->end.n_accepted_drafts);
                assert_int_equal(r->end.n_accepted, r->end.n_drafted);
                assert_int_equal(stats().n_drafted_tokens - before.n_drafted_tokens, r->end.n_drafted);
                assert_int_equal(stats().n_accepted_draft_tokens - before.n_accepted_draft_tokens, r->end.n_accepted);
                // One step for the prompt, then width + 1 tokens each.
                assert_int_equal(stats().n_steps - before.n_steps, 1 + (n_ahead + width) / (width + 1));
                result_free(r);
                assert_drafter_holds_nothing();
            }
            result_free(plain);
        }
        assert_idle();
        close_both();
    }
}

static void texts_are_the_same(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 2, 30, 90};
    uint32_t prompt[90];
    uint64_t n_drafted = 0, n_accepted = 0;
    for (int kv = 0; kv < 2; kv++) {
        open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_embd = 64, .n_ff = 64},
                  (struct chord_model_options){.kv_type = kv == 0 ? CHORD_KV_F16 : CHORD_KV_Q8_0});
        drafter = open_other((struct tiny_options){.n_layer = 1, .n_head_kv = 1}, (struct chord_model_options){0});
        // In a hurry some with each type of cache: all temperatures, lengths, with and without penalties.
        for (uint32_t kind = quick() ? (uint32_t)kv : 0; kind < 6; kind += quick() ? 2 : 1) {
            const uint32_t n = lengths[kind % 4];
            random_tokens(prompt, 90, 100 + kind);
            struct chord_generate_options options = options_of(kind, 1 + kind, 70);
            struct result *plain = finish_job(start(prompt, n, options));
            for (uint32_t way = 0; way < 8; way++) {
                options.speculation = always_by(drafter);
                options.speculation.max_guesses = way % 4 * 5;
                options.speculation.lookup = way % 2 == 1;
                options.speculation.always = way < 6;
                struct result *r = finish_job(start(prompt, n, options));
                assert_same_logprobs(plain, r);
                n_drafted += r->end.n_drafted;
                n_accepted += r->end.n_accepted_drafts;
                result_free(r);
            }
            result_free(plain);
        }
        assert_idle();
        assert_drafter_holds_nothing();
        close_both();
    }
    assert_true(n_drafted > (quick() ? 2500 : 5000) && n_accepted < n_drafted / 4);
}

// Both models have an end-of-generation token that is likely at times; nothing is guessed behind it.
static void ends_are_the_same(void **state)
{
    (void)state;
    uint32_t prompt[40];
    uint32_t n_stopped = 0;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
    random_tokens(prompt, 40, 8);
    for (float bias = 0; bias < 12; bias += quick() ? 3 : 1)
        for (uint32_t kind = 0; kind < 3; kind++)
            for (uint32_t never = 0; never < 2; never++) {
                const struct chord_logit_bias to_end = {.token = 2, .bias = bias};
                struct chord_generate_options options = options_of(kind, kind, 60);
                options.ignore_eos = never == 1;
                options.logit_bias = &to_end;
                options.n_logit_bias = 1;
                struct result *plain = finish_job(start(prompt, 40, options));
                options.speculation = always_by(drafter);
                struct result *r = finish_job(start(prompt, 40, options));
                assert_same_logprobs(plain, r);
                n_stopped += r->end.finish == CHORD_FINISH_STOP;
                result_free(plain);
                result_free(r);
            }
    assert_true(n_stopped > 5);
    close_both();
}

static void several_at_once(void **state)
{
    (void)state;
    enum { n_jobs = 7 };
    uint32_t prompt[n_jobs][90];
    struct result *plain[n_jobs];
    struct chord_job *jobs[n_jobs];
    uint64_t n_drafted = 0, n_accepted = 0;
    open_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_embd = 64, .n_ff = 64}, (struct chord_model_options){0});
    drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
    struct chord_model *second = open_other((struct tiny_options){0}, (struct chord_model_options){0});
    for (uint32_t i = 0; i < n_jobs; i++) {
        random_tokens(prompt[i], 90, 50 + i);
        plain[i] = finish_job(start(prompt[i], 5 + 12 * i, options_of(i, i, 40 + 9 * i)));
    }
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < n_jobs; i++) {
            struct chord_generate_options options = options_of(i, i, 40 + 9 * i);
            options.speculation = always_by((i + round) % 4 == 0 ? second : (i + round) % 4 == 1 ? NULL : drafter);
            options.speculation.max_guesses = 1 + i;
            options.speculation.always = round != 1;
            jobs[i] = start(prompt[i], 5 + 12 * i, options);
            for (uint32_t step = 0; step < i; step++)
                chord_model_run(model, 0, NULL);
        }
        for (uint32_t i = 0; i < n_jobs; i++) {
            struct result *r = finish_job(jobs[i]);
            assert_same_logprobs(plain[i], r);
            n_drafted += r->end.n_drafted;
            n_accepted += r->end.n_accepted_drafts;
            result_free(r);
        }
        assert_idle();
        assert_drafter_holds_nothing();
    }
    assert_true(n_drafted > 300 && n_accepted > 100);
    for (uint32_t i = 0; i < n_jobs; i++)
        result_free(plain[i]);
    chord_model_close(second);
    close_both();
}

// ---- What may happen to a draft model --------------------------------------------------------------------------------------

static void closed_in_the_middle(void **state)
{
    (void)state;
    uint32_t prompt[40];
    open_tiny((struct tiny_options){.n_ctx = 1024}, (struct chord_model_options){0});
    random_tokens(prompt, 40, 4);
    struct chord_generate_options options = options_of(0, 1, 300);
    struct result *plain = finish_job(start(prompt, 40, options));
    // With room for the guesses of both in a step.
    for (uint32_t n_steps = 0; n_steps < 6; n_steps++) {
        struct chord_job *jobs[2];
        drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
        options.speculation = always_by(drafter);
        options.speculation.max_guesses = 5;
        for (uint32_t i = 0; i < 2; i++)
            jobs[i] = start(prompt, 40, options);
        for (uint32_t i = 0; i < n_steps; i++)
            chord_model_run(model, 0, NULL);
        if (n_steps >= 2)
            assert_true(stats_of(drafter).held_kv > 0 && stats_of(drafter).kv_tokens >= 80);
        chord_model_close(drafter);
        for (uint32_t i = 0; i < 2; i++) {
            struct result *r = finish_job(jobs[i]);
            assert_same_logprobs(plain, r);
            assert_true(r->end.n_drafted > 0 ? n_steps >= 2 : n_steps < 2);
            result_free(r);
        }
    }
    drafter = NULL;
    result_free(plain);
    close_both();
}

static void cancelling_gives_back_what_the_draft_holds(void **state)
{
    (void)state;
    uint32_t prompt[200];
    open_tiny((struct tiny_options){.n_ctx = 1024}, (struct chord_model_options){0});
    drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
    random_tokens(prompt, 200, 4);
    struct chord_generate_options options = options_of(0, 1, 500);
    struct result *plain = finish_job(start(prompt, 200, options));
    options.speculation = always_by(drafter);
    for (uint32_t n_steps = 0; n_steps < 8; n_steps++) {
        struct chord_job *job = start(prompt, 200, options);
        for (uint32_t i = 0; i < n_steps; i++)
            chord_model_run(model, 0, NULL);
        chord_job_cancel(job);
        struct result *r = finish_job(job);
        assert_int_equal(r->end.finish, CHORD_FINISH_CANCELLED);
        assert_memory_equal(r->tokens, plain->tokens, r->n_tokens * sizeof *r->tokens);
        result_free(r);
        assert_idle();
        assert_drafter_holds_nothing();
    }
    // A model that is closed over its generations lets go of the draft model, too.
    struct chord_job *job = start(prompt, 200, options);
    for (uint32_t i = 0; i < 4; i++)
        chord_model_run(model, 0, NULL);
    assert_true(stats_of(drafter).held_kv > 0);
    chord_job_free(job);
    chord_model_close(model);
    assert_drafter_holds_nothing();
    model = NULL;
    result_free(plain);
    close_both();
}

static void without_memory_drafting_ends(void **state)
{
    (void)state;
    uint32_t prompt[100];
    uint64_t n_failed = 0, n_drafted = 0;
    open_tiny((struct tiny_options){.n_ctx = 1024}, (struct chord_model_options){0});
    random_tokens(prompt, 100, 4);
    struct chord_generate_options options = options_of(0, 1, 200);
    struct result *plain = finish_job(start(prompt, 100, options));
    for (int64_t n = 1; n < 16; n++) {
        drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
        options.speculation = always_by(drafter);
        atomic_store(&drafter->account.fail_after, n);
        struct result *r = finish_job(start(prompt, 100, options));
        assert_same_logprobs(plain, r);
        if (atomic_load(&drafter->account.fail_after) <= 0) {
            n_failed++;
            assert_true(r->end.n_drafted < 199);
        }
        n_drafted += r->end.n_drafted;
        result_free(r);
        assert_drafter_holds_nothing();
        chord_model_close(drafter);
    }
    assert_true(n_failed >= 4 && n_drafted > 0);
    // The same for good: a ceiling that leaves room for the first blocks only.
    drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
    drafter->account.region_ceiling[MEMORY_KV] = 3 * drafter->kv_layout.block_bytes + 1024;
    options.speculation = always_by(drafter);
    struct result *r = finish_job(start(prompt, 100, options));
    assert_same_logprobs(plain, r);
    assert_true(r->end.n_drafted > 30 && r->end.n_drafted < 150);
    result_free(r);
    assert_drafter_holds_nothing();
    result_free(plain);
    close_both();
}

static void a_shorter_context_ends_drafting(void **state)
{
    (void)state;
    uint32_t prompt[20];
    open_tiny((struct tiny_options){.n_ctx = 256}, (struct chord_model_options){0});
    random_tokens(prompt, 20, 4);
    for (uint32_t n_ctx = 64; n_ctx < 192; n_ctx += 13) {
        drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){.n_ctx = n_ctx});
        struct chord_generate_options options = options_of(0, 1, UINT64_MAX);
        struct result *plain = finish_job(start(prompt, 20, options));
        options.speculation = always_by(drafter);
        struct result *r = finish_job(start(prompt, 20, options));
        assert_same_logprobs(plain, r);
        assert_int_equal(r->end.n_accepted, r->end.n_drafted);
        assert_true(r->end.n_drafted > (n_ctx - 40) / 2 && r->end.n_drafted <= n_ctx);
        result_free(r);
        result_free(plain);
        assert_drafter_holds_nothing();
        chord_model_close(drafter);
    }
    drafter = NULL;
    close_both();
}

static void a_file_that_changed_ends_drafting(void **state)
{
    (void)state;
    uint32_t prompt[20];
    open_tiny((struct tiny_options){.n_ctx = 256}, (struct chord_model_options){0});
    drafter = open_other((struct tiny_options){0}, (struct chord_model_options){0});
    random_tokens(prompt, 20, 4);
    struct chord_generate_options options = options_of(0, 1, 100);
    struct result *plain = finish_job(start(prompt, 20, options));
    options.speculation = always_by(drafter);
    struct chord_job *job = start(prompt, 20, options);
    for (uint32_t i = 0; i < 3; i++)
        chord_model_run(model, 0, NULL);
    const uint64_t n_drafted = stats().n_drafted_tokens;
    assert_true(n_drafted > 0);
    FILE *file = fopen(test_path("other.gguf"), "ab");
    assert_non_null(file);
    fputc(0, file);
    fclose(file);
    struct result *r = finish_job(job);
    assert_same_logprobs(plain, r);
    assert_int_equal(r->end.n_drafted, n_drafted);
    assert_drafter_holds_nothing();
    result_free(r);
    result_free(plain);
    close_both();
}

// ---- Whether it pays ---------------------------------------------------------------------------------------------------------

// A model of many layers of which only the first does anything, and that first layer alone: one guesses for the other at a
// fraction of its cost, and always right. Swapped: the deep one for the other.
static void open_deep(uint32_t n_layer, bool swapped)
{
    struct tiny_model small;
    const struct tiny_options tiny = {.n_embd = 64, .n_ff = 256, .n_layer = n_layer, .n_ctx = 2048};
    struct tiny_options first = tiny;
    first.n_layer = 1;
    tiny_init(&m, tiny);
    tiny_init(&small, first);
    for (uint32_t layer = 1; layer < n_layer; layer++) {
        static const char *const names[] = {"attn_output", "ffn_down"};
        for (size_t i = 0; i < 2; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s.weight", layer, names[i]);
            struct tiny_tensor *t = tiny_tensor(&m, name);
            memset(t->bytes, 0, t->n_bytes);
        }
    }
    for (uint32_t i = 0; i < small.n_tensors; i++)
        memcpy(small.tensors[i].bytes, tiny_tensor(&m, small.tensors[i].name)->bytes, small.tensors[i].n_bytes);
    tiny_write(&m, test_path("engine.gguf"));
    tiny_write(&small, test_path("small.gguf"));
    tiny_free(&small);
    model = open_path(test_path(swapped ? "small.gguf" : "engine.gguf"), (struct chord_model_options){0});
    drafter = open_path(test_path(swapped ? "engine.gguf" : "small.gguf"), (struct chord_model_options){0});
}

static void it_is_asked_where_that_pays(void **state)
{
    (void)state;
    uint32_t prompt[150];
    open_deep(12, false);
    random_tokens(prompt, 150, 4);
    struct chord_generate_options options = options_of(0, 1, quick() ? 300 : 600);
    struct result *plain = finish_job(start(prompt, 150, options));
    options.speculation = (struct chord_speculation){.draft = drafter};
    struct result *r = finish_job(start(prompt, 150, options));
    assert_same_logprobs(plain, r);
    // How often depends on what the machine's times say.
    assert_true(r->end.n_drafted > 0 && r->end.n_accepted_drafts > r->end.n_drafted / 2);
    result_free(r);
    // Sampled freely, hardly a guess comes true.
    struct chord_generate_options wild = sampling(1, 900);
    wild.temperature = 50;
    wild.speculation = options.speculation;
    r = finish_job(start(prompt, 150, wild));
    assert_true(r->end.n_drafted < 900 / 4);
    result_free(r);
    result_free(plain);
    close_both();
}

// A draft model that takes longer than the model can't pay, however right it is.
static void it_is_not_asked_where_that_does_not_pay(void **state)
{
    (void)state;
    uint32_t prompt[50];
    open_deep(12, true);
    random_tokens(prompt, 50, 4);
    struct chord_generate_options options = options_of(0, 1, 900);
    options.speculation.draft = drafter;
    struct result *r = finish_job(start(prompt, 50, options));
    assert_true(r->end.n_drafted < 900 / 10);
    result_free(r);
    close_both();
}

// ---- Threads ---------------------------------------------------------------------------------------------------------------

// A model that runs on a thread of its own until `n_jobs` generations have ended, each as `plain`.
struct runner {
    uv_thread_t thread;
    struct chord_model *model, *draft;
    struct result *plain;
    const uint32_t *prompt;
    struct chord_generate_options options;
    uint32_t n_jobs, n_wrong;
    uint64_t n_drafted;
};

static struct result *run_one(struct runner *runner)
{
    struct chord_job *job;
    struct result *r = calloc(1, sizeof *r);
    if (chord_generate(runner->model, runner->prompt, 30, &runner->options, &job, NULL) != CHORD_OK)
        abort();
    while (!take_into(job, r))
        chord_model_run(runner->model, 0.001, NULL);
    chord_job_free(job);
    while (chord_model_run(runner->model, 0, NULL))
        continue;
    return r;
}

static void run_all(void *arg)
{
    struct runner *runner = arg;
    for (uint32_t i = 0; i < runner->n_jobs; i++) {
        struct result *r = run_one(runner);
        runner->n_wrong += r->n_tokens != runner->plain->n_tokens ||
                           memcmp(r->tokens, runner->plain->tokens, r->n_tokens * sizeof *r->tokens) != 0;
        runner->n_drafted += r->end.n_drafted;
        result_free(r);
    }
}

// Two models share a draft model that writes texts itself; and each of the two guesses for the other.
static void threads(void **state)
{
    (void)state;
    uint32_t prompt[30];
    open_tiny((struct tiny_options){.n_ctx = 512}, (struct chord_model_options){.n_threads = 1});
    drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){.n_threads = 1});
    struct chord_model *other = open_other((struct tiny_options){0}, (struct chord_model_options){.n_threads = 1});
    random_tokens(prompt, 30, 4);
    for (uint32_t crossed = 0; crossed < 2; crossed++) {
        struct runner runners[3] = {
            {.model = model, .draft = crossed ? other : drafter},
            {.model = other, .draft = crossed ? model : drafter},
            {.model = drafter, .draft = crossed ? other : NULL},
        };
        for (uint32_t i = 0; i < 3; i++) {
            runners[i].prompt = prompt;
            runners[i].n_jobs = 6;
            runners[i].options = options_of(i, i, 60);
            runners[i].plain = run_one(&runners[i]);
            runners[i].options.speculation = always_by(runners[i].draft);
        }
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(uv_thread_create(&runners[i].thread, run_all, &runners[i]), 0);
        for (uint32_t i = 0; i < 3; i++)
            uv_thread_join(&runners[i].thread);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(runners[i].n_wrong, 0);
            result_free(runners[i].plain);
        }
    }
    assert_idle();
    assert_drafter_holds_nothing();
    chord_model_close(other);
    close_both();
}

// The draft model is closed by another thread while it guesses.
static void closed_from_another_thread(void **state)
{
    (void)state;
    uint32_t prompt[30];
    uint64_t n_drafted = 0;
    open_tiny((struct tiny_options){.n_ctx = 512}, (struct chord_model_options){.n_threads = 1});
    random_tokens(prompt, 30, 4);
    struct runner runner = {.model = model, .prompt = prompt, .options = options_of(2, 1, 200), .n_jobs = 1};
    runner.plain = run_one(&runner);
    for (uint32_t round = 0; round < 10; round++) {
        struct chord_job *job;
        struct result *r = calloc(1, sizeof *r);
        drafter = open_path(test_path("engine.gguf"), (struct chord_model_options){.n_threads = 1});
        runner.options.speculation = always_by(drafter);
        assert_int_equal(chord_generate(model, prompt, 30, &runner.options, &job, NULL), CHORD_OK);
        for (uint32_t i = 0; i < round; i++)
            chord_model_run(model, 0, NULL);
        assert_int_equal(uv_thread_create(&runner.thread, (uv_thread_cb)chord_model_close, drafter), 0);
        while (!take_into(job, r))
            chord_model_run(model, 0, NULL);
        uv_thread_join(&runner.thread);
        assert_same_logprobs(runner.plain, r);
        n_drafted += r->end.n_drafted;
        chord_job_free(job);
        result_free(r);
    }
    assert_true(n_drafted > 0);
    drafter = NULL;
    result_free(runner.plain);
    assert_idle();
    close_both();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_vocabularies_are_refused),
        cmocka_unit_test(unused_tokens_make_no_difference),
        cmocka_unit_test(equal_weights_are_always_right),
        cmocka_unit_test(texts_are_the_same),
        cmocka_unit_test(ends_are_the_same),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(closed_in_the_middle),
        cmocka_unit_test(cancelling_gives_back_what_the_draft_holds),
        cmocka_unit_test(without_memory_drafting_ends),
        cmocka_unit_test(a_shorter_context_ends_drafting),
        cmocka_unit_test(a_file_that_changed_ends_drafting),
        cmocka_unit_test(it_is_asked_where_that_pays),
        cmocka_unit_test(it_is_not_asked_where_that_does_not_pay),
        cmocka_unit_test(threads),
        cmocka_unit_test(closed_from_another_thread),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
