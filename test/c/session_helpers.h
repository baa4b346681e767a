// What the tests of sessions share.
#ifndef CHORD_TEST_SESSION_HELPERS_H
#define CHORD_TEST_SESSION_HELPERS_H

#include "engine_helpers.h"

#include "engine/session.h"

static inline void open_long(enum chord_kv_type type)
{
    open_tiny((struct tiny_options){.n_ctx = 1200}, (struct chord_model_options){.kv_type = type});
}

static inline struct chord_session *open_session(void)
{
    struct chord_session *session;
    assert_int_equal(chord_session_open(model, &session, NULL), CHORD_OK);
    return session;
}

static inline struct chord_session *fork_of(struct chord_session *session)
{
    struct chord_session *fork;
    assert_int_equal(chord_session_fork(session, &fork, NULL), CHORD_OK);
    return fork;
}

static inline struct chord_generate_options greedy(uint64_t max_tokens)
{
    struct chord_generate_options options = sampling(1, max_tokens);
    options.temperature = 0;
    options.n_logprobs = 1;
    return options;
}

static inline struct chord_job *start_in(struct chord_session *session, const uint32_t *prompt, uint64_t n,
                                         struct chord_generate_options options)
{
    struct chord_job *job;
    struct chord_error err;
    if (chord_session_generate(session, prompt, n, &options, &job, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return job;
}

static inline struct result *generate_in(struct chord_session *session, const uint32_t *prompt, uint64_t n,
                                         uint64_t max)
{
    return finish_job(start_in(session, prompt, n, greedy(max)));
}

// The text and n more tokens of a user.
static inline uint64_t prompt_after(struct chord_session *session, uint32_t *prompt, uint32_t n, uint64_t seed)
{
    const uint64_t n_tokens = chord_session_tokens(session, prompt, 1200);
    random_tokens(prompt + n_tokens, n, seed);
    return n_tokens + n;
}

static inline void assert_same_and_free(struct result *a, struct result *b)
{
    assert_same(a, b);
    assert_memory_equal(a->logprobs, b->logprobs, a->n_tokens * sizeof *a->logprobs);
    result_free(a);
    result_free(b);
}

#endif
