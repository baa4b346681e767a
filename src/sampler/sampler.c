#include "sampler/sampler.h"

#include "sampler/chain.h"
#include "sampler/logprobs.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

// Passes over the logits, and tokens that are asked about in each, before the mask of a grammar is made.
#define ROUNDS_BEFORE_MASK 3
#define MOST_ASKED_ABOUT 256u

struct stage {
    const struct sampler_kind *kind;
    void *state;
};

struct sampler {
    struct sampler_options options; // lists that choices need are the copies below; the others are NULL
    uint32_t n_vocab;
    struct random_state random;

    struct sampler_bias *biases; // [options.n_biases]
    uint32_t *banned;            // [options.n_banned]

    struct stage stages[SAMPLER_N_KINDS]; // those that are on, in their order
    uint32_t n_stages;
    struct candidate *candidates; // as many as the chain may need

    // Of the logits before bias and chain; NULL without log-probabilities.
    float *originals; // [n_vocab]
    double log_sum;
};

// ---- Create ----------------------------------------------------------------------------------------------------------

static enum chord_status check_lists(const struct sampler_options *o, uint32_t n_vocab, struct chord_error *err)
{
    for (uint32_t i = 0; i < o->n_biases; i++) {
        if (o->biases[i].token >= n_vocab)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "logit bias %u is for token %u, but tokens are below %u",
                              (unsigned)i, (unsigned)o->biases[i].token, (unsigned)n_vocab);
        if (isnan(o->biases[i].bias) || o->biases[i].bias == INFINITY)
            return chord_fail(
                err, CHORD_INVALID_ARGUMENT,
                "logit bias %u (token %u) must be a finite number, or -infinity to forbid the token, not %g",
                (unsigned)i, (unsigned)o->biases[i].token, (double)o->biases[i].bias);
    }
    for (uint32_t i = 0; i < o->n_banned; i++)
        if (o->banned[i] >= n_vocab)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "banned token %u, but tokens are below %u",
                              (unsigned)o->banned[i], (unsigned)n_vocab);
    return CHORD_OK;
}

static enum chord_status check_options(const struct sampler_options *o, uint32_t n_vocab, struct chord_error *err)
{
    enum chord_status status = sampler_check("n_logprobs", o->n_logprobs >= -1 && o->n_logprobs <= SAMPLER_MAX_LOGPROBS,
                                             "from -1 (none) to 64", o->n_logprobs, err);
    _Static_assert(SAMPLER_MAX_LOGPROBS == 64, "the message above says so");
    if (status == CHORD_OK)
        status = sampler_check("n_vocab", n_vocab >= 1 && n_vocab < UINT32_MAX, "at least 1", n_vocab, err);
    for (int i = 0; status == CHORD_OK && i < SAMPLER_N_KINDS; i++)
        status = sampler_kinds[i]->check(o, err);
    return status == CHORD_OK ? check_lists(o, n_vocab, err) : status;
}

static enum chord_status unknown_sampler(const char *name, struct chord_error *err)
{
    char names[256] = "";
    for (int i = 0; i < SAMPLER_N_KINDS; i++) {
        strcat(names, i > 0 ? ", " : "");
        strcat(names, sampler_kinds[i]->name);
    }
    return chord_fail(err, CHORD_INVALID_ARGUMENT, "there is no sampler '%s'; there are %s", name, names);
}

// The kinds of the chain in their order, to kinds [SAMPLER_N_KINDS].
static enum chord_status list_kinds(const struct sampler_options *o, const struct sampler_kind **kinds, uint32_t *n,
                                    struct chord_error *err)
{
    *n = 0;
    if (o->samplers == NULL) {
        memcpy(kinds, sampler_kinds, sizeof sampler_kinds);
        *n = SAMPLER_N_KINDS;
        return CHORD_OK;
    }
    for (uint32_t i = 0; i < o->n_samplers; i++) {
        int found = 0;
        while (found < SAMPLER_N_KINDS && strcmp(sampler_kinds[found]->name, o->samplers[i]) != 0)
            found++;
        if (found == SAMPLER_N_KINDS)
            return unknown_sampler(o->samplers[i], err);
        for (uint32_t before = 0; before < *n; before++)
            if (kinds[before] == sampler_kinds[found])
                return chord_fail(err, CHORD_INVALID_ARGUMENT, "the sampler '%s' stands twice in the chain",
                                  o->samplers[i]);
        kinds[(*n)++] = sampler_kinds[found];
    }
    return CHORD_OK;
}

static enum chord_status create_stages(struct sampler *s, struct memory_account *account, struct chord_error *err)
{
    const struct sampler_kind *kinds[SAMPLER_N_KINDS];
    uint32_t n_kinds;
    enum chord_status status = list_kinds(&s->options, kinds, &n_kinds, err);
    for (uint32_t i = 0; status == CHORD_OK && i < n_kinds; i++) {
        if (!kinds[i]->is_on(&s->options))
            continue;
        struct stage *stage = &s->stages[s->n_stages++];
        stage->kind = kinds[i];
        if (kinds[i]->create != NULL)
            status = kinds[i]->create(&stage->state, &s->options, s->n_vocab, account, err);
    }
    return status;
}

// The set is made by the first sampler that needs one, else for the draw, and then only shrinks.
static uint32_t count_candidates(const struct sampler *s)
{
    for (uint32_t i = 0; i < s->n_stages; i++) {
        const uint32_t n = s->stages[i].kind->room(&s->options, s->n_vocab);
        if (n > 0)
            return n;
    }
    return s->n_vocab;
}

// `count` zeroed elements to *out; none where count is 0.
static enum chord_status allocate(void **out, uint64_t count, uint64_t bytes, struct memory_account *account,
                                  struct chord_error *err)
{
    *out = count > 0 ? memory_zalloc(account, MEMORY_SCRATCH, count, bytes) : NULL;
    if (*out == NULL && count > 0)
        return memory_account_fail(account, err, count * bytes, "the sampler"); // both below 2^33
    return CHORD_OK;
}

static enum chord_status create_lists(struct sampler *s, struct memory_account *account, struct chord_error *err)
{
    const struct sampler_options *o = &s->options;
    enum chord_status status = allocate((void **)&s->biases, o->n_biases, sizeof *s->biases, account, err);
    if (status == CHORD_OK)
        status = allocate((void **)&s->banned, o->n_banned, sizeof *s->banned, account, err);
    if (status == CHORD_OK)
        status = allocate((void **)&s->candidates, count_candidates(s), sizeof *s->candidates, account, err);
    if (status == CHORD_OK)
        status =
            allocate((void **)&s->originals, o->n_logprobs >= 0 ? s->n_vocab : 0, sizeof *s->originals, account, err);
    if (status == CHORD_OK && o->n_biases > 0)
        memcpy(s->biases, o->biases, o->n_biases * sizeof *s->biases);
    if (status == CHORD_OK && o->n_banned > 0)
        memcpy(s->banned, o->banned, o->n_banned * sizeof *s->banned);
    return status;
}

enum chord_status sampler_create(struct sampler **out, const struct sampler_options *options, uint32_t n_vocab,
                                 struct memory_account *account, struct chord_error *err)
{
    struct sampler *s;
    *out = NULL;
    enum chord_status status = check_options(options, n_vocab, err);
    if (status == CHORD_OK)
        status = allocate((void **)&s, 1, sizeof *s, account, err);
    if (status != CHORD_OK)
        return status;
    s->options = *options;
    s->n_vocab = n_vocab;
    random_seed(&s->random, options->seed);
    status = create_stages(s, account, err);
    if (status == CHORD_OK)
        status = create_lists(s, account, err);
    if (status != CHORD_OK) {
        sampler_free(s, account);
        return status;
    }
    s->options.biases = s->biases;
    s->options.banned = s->banned;
    s->options.dry_breakers = NULL;
    s->options.samplers = NULL;
    *out = s;
    return CHORD_OK;
}

void sampler_free(struct sampler *sampler, struct memory_account *account)
{
    if (sampler == NULL)
        return;
    for (uint32_t i = 0; i < sampler->n_stages; i++)
        if (sampler->stages[i].kind->free != NULL)
            sampler->stages[i].kind->free(sampler->stages[i].state, account);
    memory_free(account, sampler->originals);
    memory_free(account, sampler->candidates);
    memory_free(account, sampler->banned);
    memory_free(account, sampler->biases);
    memory_free(account, sampler);
}

// ---- A choice --------------------------------------------------------------------------------------------------------

void sampler_accept(struct sampler *sampler, uint32_t token)
{
    if (token >= sampler->n_vocab)
        return;
    for (uint32_t i = 0; i < sampler->n_stages; i++) {
        const struct stage *stage = &sampler->stages[i];
        if (stage->kind->accept != NULL)
            stage->kind->accept(stage->state, &sampler->options, token);
    }
}

static void apply_biases(struct sampler *s, float *logits)
{
    for (uint32_t i = 0; i < s->options.n_biases; i++) {
        const struct sampler_bias *bias = &s->biases[i];
        logits[bias->token] += bias->bias;
        if (bias->bias == -INFINITY) // also for a logit of +INFINITY, where the sum is NaN
            logits[bias->token] = -INFINITY;
    }
    for (uint32_t i = 0; i < s->options.n_banned; i++)
        logits[s->banned[i]] = -INFINITY;
}

void sampler_prepare(struct sampler *sampler, float *logits, struct sampler_choice *choice)
{
    struct sampler *s = sampler;
    choice->n_top = 0;
    if (s->originals != NULL) {
        s->log_sum = logprobs_scan(logits, s->n_vocab, (uint32_t)s->options.n_logprobs, choice->top, &choice->n_top);
        memcpy(s->originals, logits, s->n_vocab * sizeof *logits);
    }
    apply_biases(s, logits);
}

void sampler_settle(struct sampler *sampler, uint32_t token, struct sampler_choice *choice)
{
    choice->token = token;
    choice->logprob = NAN;
    if (sampler->originals != NULL && token != UINT32_MAX)
        choice->logprob = logprobs_of(sampler->originals[token], sampler->log_sum);
}

static void tell_drawn(const struct sampler *s, const struct chain *chain, uint32_t token)
{
    double sum = 0, weight = 0;
    bool wanted = false;
    for (uint32_t i = 0; i < s->n_stages; i++)
        wanted |= s->stages[i].kind->drawn != NULL;
    for (uint32_t i = 0; wanted && i < chain->n; i++) {
        sum += chain->set[i].weight;
        if (chain->set[i].token == token)
            weight = chain->set[i].weight;
    }
    for (uint32_t i = 0; wanted && i < s->n_stages; i++)
        if (s->stages[i].kind->drawn != NULL)
            s->stages[i].kind->drawn(s->stages[i].state, &s->options, weight / sum);
}

static uint32_t draw(const struct sampler *s, struct chain *chain)
{
    if (chain->is_greedy) {
        chain_make_ranks(chain);
        return chain->n > 0 ? chain->set[0].token : UINT32_MAX;
    }
    chain_make_weights(chain);
    if (chain->n == 0)
        return UINT32_MAX;
    // By token and not by weight: logits that differ by a rounding, as between tiers, then seldom change the draw.
    candidates_sort_by_token(chain->set, chain->n);
    const uint32_t token = candidates_draw(chain->set, chain->n, random_unit(chain->random));
    tell_drawn(s, chain, token);
    return token;
}

// ---- Within a grammar ------------------------------------------------------------------------------------------------

// A sampler that changes logits one by one, so that what is forbidden can as well be taken out after it.
static bool only_changes_logits(const struct sampler_kind *kind)
{
    return kind == &sampler_penalties || kind == &sampler_dry;
}

// How many tokens at the head of the order the chain looks at from stage `at` on, whatever the others' logits are. 0: at all.
static uint32_t head_from(const struct sampler *s, uint32_t at)
{
    const struct sampler_options *o = &s->options;
    if (at < s->n_stages && s->stages[at].kind == &sampler_temperature) {
        if (o->dynamic_range > 0)
            return 0;
        if (o->temperature == 0)
            return 1;
        at++;
    }
    const bool is_top_k = at < s->n_stages && s->stages[at].kind == &sampler_top_k;
    return is_top_k && o->top_k < s->n_vocab && o->top_k <= MOST_ASKED_ABOUT ? o->top_k : 0;
}

// Takes those of set[n] that are not allowed out of the logits. How many they were.
static uint32_t exclude(struct constraint *constraint, const struct candidate *set, uint32_t n, float *logits)
{
    uint32_t n_excluded = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!constraint_allows(constraint, set[i].token)) {
            logits[set[i].token] = -INFINITY;
            n_excluded++;
        }
    return n_excluded;
}

// Takes what is forbidden out of the logits, as far as the samplers from stage `at` on can tell. The head of the order is the same
// with all of it taken out and with just so much that the head is allowed: so the head is asked about first, some rounds long while
// most of it is allowed, and the mask of the whole vocabulary is made when that leads nowhere. A head that is allowed is the chain's set. False
// after an error.
static bool hold(struct sampler *s, struct chain *chain, struct constraint *constraint, uint32_t at)
{
    const uint32_t head = head_from(s, at);
    for (int round = 0; head > 0 && round < ROUNDS_BEFORE_MASK && !constraint_has_mask(constraint); round++) {
        const uint32_t n = candidates_top_k(s->candidates, head, chain->logits, s->n_vocab);
        const uint32_t n_excluded = exclude(constraint, s->candidates, n, chain->logits);
        if (n_excluded == 0 && constraint_error(constraint)->code == CHORD_OK) {
            chain->n = n;
            chain->has_set = chain->has_ranks = true;
            return true;
        }
        if (head > 1 && n_excluded > head / 2)
            break;
    }
    return constraint_apply(constraint, chain->logits);
}

// ---- A choice by the chain -------------------------------------------------------------------------------------------

void sampler_choose(struct sampler *sampler, float *logits, struct sampler_choice *choice)
{
    sampler_choose_within(sampler, NULL, logits, choice);
}

void sampler_choose_within(struct sampler *sampler, struct constraint *constraint, float *logits,
                           struct sampler_choice *choice)
{
    struct sampler *s = sampler;
    struct chain chain = {.options = &s->options,
                          .logits = logits,
                          .n_vocab = s->n_vocab,
                          .random = &s->random,
                          .temperature = 1,
                          .set = s->candidates};
    uint32_t at = 0;
    sampler_prepare(s, logits, choice);
    for (; at < s->n_stages && only_changes_logits(s->stages[at].kind); at++)
        s->stages[at].kind->apply(&chain, s->stages[at].state);
    if (constraint != NULL && !hold(s, &chain, constraint, at)) {
        sampler_settle(s, UINT32_MAX, choice);
        return;
    }
    for (; at < s->n_stages; at++)
        s->stages[at].kind->apply(&chain, s->stages[at].state);
    sampler_settle(s, draw(s, &chain), choice);
}
