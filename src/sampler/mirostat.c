// Mirostat 2.0 (Basu et al. 2021): keeps tokens whose surprise -log2(probability) is at most mu (the most likely one in any case), and
// after every draw moves mu by eta times what the token's surprise lacks to tau. mu begins at 2 tau.
#include "sampler/chain.h"

#include <math.h>

static bool is_on(const struct sampler_options *o)
{
    return o->mirostat_tau != 0;
}

static enum chord_status check(const struct sampler_options *o, struct chord_error *err)
{
    enum chord_status status = sampler_check("mirostat_tau", isfinite(o->mirostat_tau) && o->mirostat_tau >= 0,
                                             "a number of at least 0", (double)o->mirostat_tau, err);
    if (status != CHORD_OK || !is_on(o))
        return status;
    status = sampler_check("mirostat_eta", isfinite(o->mirostat_eta) && o->mirostat_eta > 0, "a number above 0",
                           (double)o->mirostat_eta, err);
    if (status != CHORD_OK)
        return status;
    const struct {
        const char *name;
        bool is_on;
    } others[] = {
        {"top_k", o->top_k > 0},
        {"top_p", o->top_p != 1},
        {"min_p", o->min_p != 0},
        {"typical_p", o->typical_p != 1},
        {"top_n_sigma", o->top_n_sigma != 0},
        {"xtc_probability", o->xtc_probability != 0},
        {"a temperature of 0", o->temperature == 0},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].is_on)
            return chord_fail(err, CHORD_INVALID_ARGUMENT,
                              "mirostat_tau and %s contradict each other: mirostat alone decides which tokens stay",
                              others[i].name);
    return CHORD_OK;
}

static enum chord_status create(void **state, const struct sampler_options *o, uint32_t n_vocab,
                                struct memory_account *account, struct chord_error *err)
{
    (void)n_vocab;
    double *mu = memory_alloc(account, MEMORY_SCRATCH, sizeof *mu, sizeof *mu);
    if (mu == NULL)
        return memory_account_fail(account, err, sizeof *mu, "the sampler");
    *mu = 2 * (double)o->mirostat_tau;
    *state = mu;
    return CHORD_OK;
}

static void destroy(void *state, struct memory_account *account)
{
    memory_free(account, state);
}

static void apply(struct chain *chain, void *state)
{
    const double *mu = state;
    chain_make_weights(chain);
    chain->n = candidates_surprise(chain->set, chain->n, *mu);
}

static void drawn(void *state, const struct sampler_options *o, double share)
{
    double *mu = state;
    *mu -= (double)o->mirostat_eta * (-log2(share) - (double)o->mirostat_tau);
}

const struct sampler_kind sampler_mirostat = {.name = "mirostat",
                                              .is_on = is_on,
                                              .check = check,
                                              .room = sampler_room_for_all,
                                              .apply = apply,
                                              .create = create,
                                              .free = destroy,
                                              .drawn = drawn};
