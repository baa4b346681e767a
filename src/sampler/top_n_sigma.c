// Top-n-sigma (Tang et al. 2024): keeps tokens whose logit is at most n standard deviations of all logits below the largest. The same
// tokens whatever temperature was applied before.
#include "sampler/chain.h"

#include <math.h>

static bool is_on(const struct sampler_options *o)
{
    return o->top_n_sigma != 0;
}

static enum chord_status check(const struct sampler_options *o, struct chord_error *err)
{
    return sampler_check("top_n_sigma", isfinite(o->top_n_sigma) && o->top_n_sigma >= 0, "a number of at least 0",
                         (double)o->top_n_sigma, err);
}

static void apply(struct chain *chain, void *state)
{
    (void)state;
    chain_make_ranks(chain);
    chain->n = candidates_top_n_sigma(chain->set, chain->n, chain->options->top_n_sigma);
}

const struct sampler_kind sampler_top_n_sigma = {
    .name = "topNSigma", .is_on = is_on, .check = check, .room = sampler_room_for_all, .apply = apply};
