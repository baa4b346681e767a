// Samplers that keep the more likely tokens: top-k, locally typical, top-p (nucleus), min-p. The filters are candidates.h's.
#include "sampler/chain.h"

#include <math.h>

// ---- Top-k -----------------------------------------------------------------------------------------------------------

static bool top_k_is_on(const struct sampler_options *o)
{
    return o->top_k > 0;
}

static enum chord_status top_k_check(const struct sampler_options *o, struct chord_error *err)
{
    (void)o; // every k will do
    (void)err;
    return CHORD_OK;
}

static uint32_t top_k_room(const struct sampler_options *o, uint32_t n_vocab)
{
    return o->top_k < n_vocab ? o->top_k : n_vocab;
}

static void top_k_apply(struct chain *chain, void *state)
{
    (void)state;
    const uint32_t k = chain->options->top_k;
    if (!chain->has_set && k < chain->n_vocab) {
        chain->n = candidates_top_k(chain->set, k, chain->logits, chain->n_vocab);
        chain->has_set = chain->has_ranks = true;
        return;
    }
    chain_make_ranks(chain);
    chain->n = candidates_best(chain->set, chain->n, k);
}

const struct sampler_kind sampler_top_k = {
    .name = "topK", .is_on = top_k_is_on, .check = top_k_check, .room = top_k_room, .apply = top_k_apply};

// ---- Locally typical ---------------------------------------------------------------------------------------------------

static bool typical_is_on(const struct sampler_options *o)
{
    return o->typical_p != 1;
}

static enum chord_status typical_check(const struct sampler_options *o, struct chord_error *err)
{
    return sampler_check("typical_p", o->typical_p > 0 && o->typical_p <= 1, "above 0 and at most 1",
                         (double)o->typical_p, err);
}

static void typical_apply(struct chain *chain, void *state)
{
    (void)state;
    chain_make_weights(chain);
    chain->n = candidates_typical(chain->set, chain->n, chain->options->typical_p);
    chain->has_ranks = false;
}

const struct sampler_kind sampler_typical = {.name = "typicalP",
                                             .is_on = typical_is_on,
                                             .check = typical_check,
                                             .room = sampler_room_for_all,
                                             .apply = typical_apply};

// ---- Top-p -----------------------------------------------------------------------------------------------------------

static bool top_p_is_on(const struct sampler_options *o)
{
    return o->top_p != 1;
}

static enum chord_status top_p_check(const struct sampler_options *o, struct chord_error *err)
{
    return sampler_check("top_p", o->top_p > 0 && o->top_p <= 1, "above 0 and at most 1", (double)o->top_p, err);
}

static void top_p_apply(struct chain *chain, void *state)
{
    (void)state;
    chain_make_weights(chain);
    chain->n = candidates_top_p(chain->set, chain->n, chain->options->top_p, chain->logits);
    chain->has_ranks = chain->n > 1 || chain->has_ranks;
}

const struct sampler_kind sampler_top_p = {
    .name = "topP", .is_on = top_p_is_on, .check = top_p_check, .room = sampler_room_for_all, .apply = top_p_apply};

// ---- Min-p -----------------------------------------------------------------------------------------------------------

static bool min_p_is_on(const struct sampler_options *o)
{
    return o->min_p != 0;
}

static enum chord_status min_p_check(const struct sampler_options *o, struct chord_error *err)
{
    return sampler_check("min_p", o->min_p >= 0 && o->min_p <= 1, "from 0 to 1", (double)o->min_p, err);
}

static void min_p_apply(struct chain *chain, void *state)
{
    (void)state;
    const double p = chain->options->min_p;
    if (!chain->has_set) {
        chain->n = candidates_likely(chain->set, chain->logits, chain->n_vocab, chain->temperature, p);
        chain->has_set = chain->has_ranks = true;
    }
    chain_make_weights(chain);
    chain->n = candidates_min_p(chain->set, chain->n, p);
}

const struct sampler_kind sampler_min_p = {
    .name = "minP", .is_on = min_p_is_on, .check = min_p_check, .room = sampler_room_for_all, .apply = min_p_apply};
