#include "sampler/chain.h"

#include <float.h>
#include <math.h>

const struct sampler_kind *const sampler_kinds[SAMPLER_N_KINDS] = {
    &sampler_penalties, &sampler_dry,   &sampler_top_n_sigma, &sampler_temperature, &sampler_top_k,
    &sampler_typical,   &sampler_top_p, &sampler_min_p,       &sampler_xtc,         &sampler_mirostat,
};

void chain_make_set(struct chain *chain)
{
    if (chain->has_set)
        return;
    chain->n = candidates_all(chain->set, chain->logits, chain->n_vocab);
    chain->has_set = chain->has_ranks = true;
}

void chain_make_ranks(struct chain *chain)
{
    chain_make_set(chain);
    if (chain->has_ranks)
        return;
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < chain->n; i++) {
        const float logit = chain->logits[chain->set[i].token];
        if (!(logit > -INFINITY)) // a penalty may have gone beyond what a float holds
            continue;
        chain->set[n_kept] = chain->set[i];
        chain->set[n_kept++].rank = fminf(logit, FLT_MAX);
    }
    chain->n = n_kept;
    chain->has_ranks = true;
}

void chain_make_weights(struct chain *chain)
{
    chain_make_set(chain);
    if (chain->has_weights)
        return;
    chain_make_ranks(chain);
    chain->n = candidates_weigh(chain->set, chain->n, chain->temperature);
    chain->has_weights = true;
}

void chain_changed_logits(struct chain *chain)
{
    chain->has_ranks = chain->has_weights = false;
}

enum chord_status sampler_check(const char *name, bool ok, const char *expected, double actual, struct chord_error *err)
{
    if (ok)
        return CHORD_OK;
    return chord_fail(err, CHORD_INVALID_ARGUMENT, "%s must be %s, not %g", name, expected, actual);
}

uint32_t sampler_room_for_all(const struct sampler_options *options, uint32_t n_vocab)
{
    (void)options;
    return n_vocab;
}

uint32_t sampler_room_for_none(const struct sampler_options *options, uint32_t n_vocab)
{
    (void)options;
    (void)n_vocab;
    return 0;
}
