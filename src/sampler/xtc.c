// XTC, "exclude top choices": in some of the steps, drawn with xtc_probability, all tokens with a probability of at least
// xtc_threshold are dropped but the least likely of them. One random number in every step.
#include "sampler/chain.h"

static bool is_on(const struct sampler_options *o)
{
    return o->xtc_probability != 0;
}

static enum chord_status check(const struct sampler_options *o, struct chord_error *err)
{
    const enum chord_status status =
        sampler_check("xtc_probability", o->xtc_probability >= 0 && o->xtc_probability <= 1, "from 0 to 1",
                      (double)o->xtc_probability, err);
    if (status != CHORD_OK || !is_on(o))
        return status;
    // Above one half no two tokens are so likely.
    return sampler_check("xtc_threshold", o->xtc_threshold > 0 && o->xtc_threshold <= 0.5f, "above 0 and at most 0.5",
                         (double)o->xtc_threshold, err);
}

static void apply(struct chain *chain, void *state)
{
    (void)state;
    if (random_unit(chain->random) >= (double)chain->options->xtc_probability)
        return;
    chain_make_weights(chain);
    chain->n = candidates_xtc(chain->set, chain->n, chain->options->xtc_threshold);
}

const struct sampler_kind sampler_xtc = {
    .name = "xtc", .is_on = is_on, .check = check, .room = sampler_room_for_all, .apply = apply};
