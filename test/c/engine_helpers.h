// What the tests of the engine share: tiny models opened through chord.h, jobs run to their end.
#ifndef CHORD_TEST_ENGINE_HELPERS_H
#define CHORD_TEST_ENGINE_HELPERS_H

#include "engine/model.h"
#include "test_folder.h"
#include "tiny_model.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h> // cmocka.h needs these four before it
#include <cmocka.h>

static struct tiny_model m;
static struct chord_model *model;

static inline struct chord_model *open_path(const char *path, struct chord_model_options options)
{
    struct chord_model *opened;
    struct chord_error err;
    options.memory = options.memory != 0 ? options.memory : 1u << 30;
    options.n_threads = options.n_threads != 0 ? options.n_threads : 2;
    if (chord_model_open(path, &options, &opened, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return opened;
}

static inline void open_tiny(struct tiny_options tiny, struct chord_model_options options)
{
    tiny_init(&m, tiny);
    tiny_write(&m, test_path("engine.gguf"));
    model = open_path(test_path("engine.gguf"), options);
}

static inline void close_tiny(void)
{
    chord_model_close(model);
    model = NULL;
    tiny_free(&m);
}

static inline struct chord_stats stats(void)
{
    struct chord_stats out;
    chord_model_stats(model, &out);
    return out;
}

// Ids of words, bytes and letters.
static inline void random_tokens(uint32_t *tokens, uint32_t n, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = 3 + (uint32_t)(tiny_random(&seed) % (m.options.n_vocab - m.options.n_padding - 3));
}

// Everything that takes of one job gave. Freed by result_free.
struct result {
    uint32_t tokens[1200];
    float logprobs[1200];
    struct chord_token_logprob tops[1200]; // the first of each token's
    uint32_t n_tokens;
    char text[16384];
    uint64_t n_text;
    uint64_t n_event_text; // of it, by events
    struct chord_output end;
    float *logits;
};

static inline void result_free(struct result *r)
{
    free(r->logits);
    free(r);
}

// Adds what the job has to offer. Returns whether it has finished.
static inline bool take_into(struct chord_job *job, struct result *r)
{
    struct chord_output out;
    chord_job_take(job, &out);
    if (out.n_text_bytes > 0)
        memcpy(r->text + r->n_text, out.text, out.n_text_bytes);
    r->n_text += out.n_text_bytes;
    for (uint64_t i = 0; i < out.n_events; i++) {
        r->tokens[r->n_tokens] = out.events[i].token;
        if (out.events[i].n_top > 0)
            r->tops[r->n_tokens] = out.events[i].top[0];
        r->logprobs[r->n_tokens++] = out.events[i].logprob;
        r->n_event_text += out.events[i].n_text_bytes;
    }
    if (out.finish == CHORD_RUNNING)
        return false;
    r->end = out;
    if (out.logits != NULL) {
        r->logits = malloc(out.n_logits * sizeof *r->logits);
        memcpy(r->logits, out.logits, out.n_logits * sizeof *r->logits);
    }
    return true;
}

// Runs the job, and whatever else the model has to do, to its end, and frees it.
static inline struct result *finish_job(struct chord_job *job)
{
    struct result *r = calloc(1, sizeof *r);
    while (!take_into(job, r))
        chord_model_run(model, 0, NULL);
    assert_true(r->end.error.code == (r->end.finish == CHORD_FINISH_ERROR ? r->end.error.code : CHORD_OK));
    chord_job_free(job);
    return r;
}

static inline struct chord_generate_options sampling(uint64_t seed, uint64_t max_tokens)
{
    struct chord_generate_options options;
    chord_generate_options_init(&options);
    options.temperature = 1;
    options.top_k = 0;
    options.top_p = 1;
    options.min_p = 0;
    options.has_seed = true;
    options.seed = seed;
    options.max_tokens = max_tokens;
    options.ignore_eos = true;
    return options;
}

static inline struct chord_job *start(const uint32_t *prompt, uint64_t n, struct chord_generate_options options)
{
    struct chord_job *job;
    struct chord_error err;
    if (chord_generate(model, prompt, n, &options, &job, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return job;
}

static inline struct chord_job *evaluate(const uint32_t *tokens, uint64_t n)
{
    struct chord_job *job;
    struct chord_error err;
    if (chord_evaluate(model, tokens, n, &job, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return job;
}

static inline void assert_same(const struct result *a, const struct result *b)
{
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
    assert_memory_equal(a->tops, b->tops, a->n_tokens * sizeof *a->tops);
    assert_int_equal(a->n_text, b->n_text);
    assert_memory_equal(a->text, b->text, a->n_text);
    assert_int_equal(a->end.finish, b->end.finish);
    assert_int_equal(a->end.n_prompt, b->end.n_prompt);
    assert_int_equal(a->end.n_generated, b->end.n_generated);
    assert_int_equal(a->logits != NULL, b->logits != NULL);
    if (a->logits != NULL)
        assert_memory_equal(a->logits, b->logits, a->end.n_logits * sizeof *a->logits);
}

// Nothing is left in the scheduler, nor in any cache, once it has looked.
static inline void assert_idle(void)
{
    assert_false(chord_model_run(model, 0, NULL));
    assert_int_equal(stats().n_jobs, 0);
    assert_int_equal(stats().held_kv, 0);
    assert_int_equal(stats().kv_tokens, 0);
}

#endif
