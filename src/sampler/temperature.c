// Temperature: logits are divided by it. 0: only the most likely token stays.
//
// Dynamic temperature: one that follows how sure the model is. From temperature - dynamic_range (but not below 0) to temperature +
// dynamic_range, by the entropy of the tokens in the running over the largest that so many can have, to the power of
// dynamic_exponent.
#include "sampler/chain.h"

#include <math.h>

static bool is_on(const struct sampler_options *o)
{
    return o->temperature != 1 || o->dynamic_range != 0;
}

static enum chord_status check(const struct sampler_options *o, struct chord_error *err)
{
    enum chord_status status = sampler_check("temperature", isfinite(o->temperature) && o->temperature >= 0,
                                             "a number of at least 0", (double)o->temperature, err);
    if (status == CHORD_OK)
        status = sampler_check("dynamic_range", isfinite(o->dynamic_range) && o->dynamic_range >= 0,
                               "a number of at least 0", (double)o->dynamic_range, err);
    if (status == CHORD_OK && o->dynamic_range > 0)
        status = sampler_check("dynamic_exponent", isfinite(o->dynamic_exponent) && o->dynamic_exponent > 0,
                               "a number above 0", (double)o->dynamic_exponent, err);
    if (status == CHORD_OK && o->dynamic_range > 0 && o->temperature == 0)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "dynamic_range and a temperature of 0 contradict each other: 0 takes the most likely token");
    return status;
}

static uint32_t room(const struct sampler_options *o, uint32_t n_vocab)
{
    return o->dynamic_range > 0 ? n_vocab : o->temperature == 0 ? 1 : 0;
}

static uint32_t most_likely(const float *logits, uint32_t n_vocab)
{
    // One pass finds the first block with the largest logit, and only that block is searched for the token.
    float largest = -INFINITY;
    uint32_t first = 0, end = 0;
    uint32_t at = 0;
    for (; n_vocab - at >= LOGIT_BLOCK; at += LOGIT_BLOCK) {
        const float block = logits_largest_of_block(logits + at);
        if (block > largest) {
            largest = block;
            first = at;
            end = at + LOGIT_BLOCK;
        }
    }
    for (; at < n_vocab; at++)
        if (logits[at] > largest) {
            largest = logits[at];
            first = at;
            end = at + 1;
        }
    for (uint32_t token = first; token < end; token++)
        if (logits[token] == largest)
            return token;
    return UINT32_MAX;
}

static void keep_most_likely(struct chain *chain)
{
    chain->is_greedy = true;
    if (!chain->has_set) {
        const uint32_t token = most_likely(chain->logits, chain->n_vocab);
        chain->n = token == UINT32_MAX ? 0 : 1;
        if (chain->n > 0)
            chain->set[0] = (struct candidate){.token = token};
        chain->has_set = true;
        return;
    }
    chain_make_ranks(chain);
    chain->n = candidates_best(chain->set, chain->n, 1);
}

static double dynamic_temperature(struct chain *chain)
{
    const struct sampler_options *o = chain->options;
    chain_make_weights(chain);
    if (chain->n < 2)
        return o->temperature;
    const double least = fmax(0, (double)o->temperature - (double)o->dynamic_range);
    const double most = (double)o->temperature + (double)o->dynamic_range;
    const double share = fmin(1, candidates_entropy(chain->set, chain->n) / log(chain->n));
    return least + (most - least) * pow(share, o->dynamic_exponent);
}

static void apply(struct chain *chain, void *state)
{
    (void)state;
    double temperature = chain->options->temperature;
    if (chain->options->dynamic_range > 0)
        temperature = dynamic_temperature(chain);
    if (!(chain->temperature * temperature > 0)) {
        keep_most_likely(chain);
        return;
    }
    chain->temperature *= temperature;
    chain->has_weights = false;
}

const struct sampler_kind sampler_temperature = {
    .name = "temperature", .is_on = is_on, .check = check, .room = room, .apply = apply};
