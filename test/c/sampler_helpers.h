// What the tests of the sampler share.
#ifndef CHORD_TEST_SAMPLER_HELPERS_H
#define CHORD_TEST_SAMPLER_HELPERS_H

#include "sampler/sampler.h"
#include "account_helpers.h"

#include <string.h>

// Everything off: plain sampling at temperature 1.
static inline struct sampler_options plain_options(void)
{
    return (struct sampler_options){
        .temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .seed = 1, .n_logprobs = -1};
}

static inline struct sampler *sampler_of(const struct sampler_options *options, uint32_t n_vocab)
{
    struct sampler *s;
    struct chord_error err;
    if (sampler_create(&s, options, n_vocab, &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return s;
}

// Expects that they are refused, with an error that says `what`.
static inline void refused(const struct sampler_options *options, const char *what)
{
    struct sampler *s;
    struct chord_error err;
    assert_int_equal(sampler_create(&s, options, 10, &account, &err), CHORD_INVALID_ARGUMENT);
    assert_null(s);
    if (strstr(err.message, what) == NULL)
        fail_msg("\"%s\" does not say %s", err.message, what);
}

// Fails every allocation of sampler_create once: n_allocations in all.
static inline void fail_every_allocation(const struct sampler_options *options, uint32_t n_vocab, int64_t n_allocations)
{
    for (int64_t n = 0;; n++) {
        struct sampler *s;
        struct chord_error err;
        fail_allocation(n);
        const enum chord_status status = sampler_create(&s, options, n_vocab, &account, &err);
        if (!allocation_failed(status)) {
            assert_int_equal(n, n_allocations);
            sampler_free(s, &account);
            return;
        }
        assert_null(s);
    }
}

#endif
