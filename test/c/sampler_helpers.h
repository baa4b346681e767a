// What the tests of the sampler share.
#ifndef CHORD_TEST_SAMPLER_HELPERS_H
#define CHORD_TEST_SAMPLER_HELPERS_H

#include "sampler/sampler.h"
#include "account_helpers.h"

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

#endif
