#include "sampler/sampler.h"

#include "sampler/candidates.h"
#include "sampler/logprobs.h"
#include "sampler/random.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

// A logit before bias and penalties changed it: log-probabilities are of the model's own distribution.
struct original_logit {
    uint32_t token;
    float logit;
};

struct sampler {
    struct sampler_options options; // lists are the copies below
    uint32_t n_vocab;
    struct random_state random;

    struct sampler_bias *biases; // [options.n_biases]
    uint32_t *banned;            // [options.n_banned]

    // The tokens that penalties look back on; NULL when there are no penalties.
    uint32_t *window;   // [options.penalty_last_n], a ring
    uint32_t n_window;  // tokens in it
    uint32_t window_at; // where the next one goes
    uint32_t *counts;   // [n_vocab]: how often each token stands in the window

    struct candidate *candidates; // [top_k or n_vocab]; NULL when greedy

    struct original_logit *originals; // [n_biases + penalty_last_n]; NULL without log-probabilities
    uint64_t n_originals;
};

// ---- Create ----------------------------------------------------------------------------------------------------------

static enum chord_status check_number(const char *name, bool ok, const char *expected, double actual,
                                      struct chord_error *err)
{
    if (ok)
        return CHORD_OK;
    return chord_fail(err, CHORD_INVALID_ARGUMENT, "%s must be %s, not %g", name, expected, actual);
}

static enum chord_status check_options(const struct sampler_options *o, uint32_t n_vocab, struct chord_error *err)
{
    const struct {
        const char *name;
        bool ok;
        const char *expected;
        double actual;
    } checks[] = {
        {"temperature", isfinite(o->temperature) && o->temperature >= 0, "a number of at least 0", o->temperature},
        {"top_p", o->top_p > 0 && o->top_p <= 1, "above 0 and at most 1", o->top_p},
        {"min_p", o->min_p >= 0 && o->min_p <= 1, "from 0 to 1", o->min_p},
        {"typical_p", o->typical_p > 0 && o->typical_p <= 1, "above 0 and at most 1", o->typical_p},
        {"repeat_penalty", isfinite(o->repeat_penalty) && o->repeat_penalty > 0, "a number above 0", o->repeat_penalty},
        {"frequency_penalty", isfinite(o->frequency_penalty), "a finite number", o->frequency_penalty},
        {"presence_penalty", isfinite(o->presence_penalty), "a finite number", o->presence_penalty},
        {"penalty_last_n", o->penalty_last_n <= INT32_MAX, "below 2^31", o->penalty_last_n},
        {"n_logprobs", o->n_logprobs >= -1 && o->n_logprobs <= SAMPLER_MAX_LOGPROBS, "from -1 (none) to 64",
         o->n_logprobs},
        {"n_vocab", n_vocab >= 1 && n_vocab < UINT32_MAX, "at least 1", n_vocab},
    };
    _Static_assert(SAMPLER_MAX_LOGPROBS == 64, "the message above says so");
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const enum chord_status status =
            check_number(checks[i].name, checks[i].ok, checks[i].expected, checks[i].actual, err);
        if (status != CHORD_OK)
            return status;
    }
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

static bool has_penalties(const struct sampler_options *o)
{
    return o->penalty_last_n > 0 && (o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0);
}

// The allocations of one sampler: after the first that fails no further one is tried.
struct allocations {
    struct memory_account *account;
    uint64_t failed_bytes; // 0: none failed
};

// `count` zeroed elements; NULL when count is 0 or an allocation has failed.
static void *allocate(struct allocations *allocations, uint64_t count, uint64_t bytes)
{
    if (count == 0 || allocations->failed_bytes != 0)
        return NULL;
    void *block = memory_zalloc(allocations->account, MEMORY_SCRATCH, count, bytes);
    if (block == NULL)
        allocations->failed_bytes = count * bytes; // both below 2^33
    return block;
}

enum chord_status sampler_create(struct sampler **out, const struct sampler_options *options, uint32_t n_vocab,
                                 struct memory_account *account, struct chord_error *err)
{
    *out = NULL;
    const enum chord_status status = check_options(options, n_vocab, err);
    if (status != CHORD_OK)
        return status;

    struct allocations allocations = {.account = account};
    struct sampler *s = allocate(&allocations, 1, sizeof *s);
    if (s == NULL)
        return memory_account_fail(account, err, sizeof *s, "the sampler");
    s->options = *options;
    s->n_vocab = n_vocab;
    random_seed(&s->random, options->seed);

    const uint64_t n_window = has_penalties(options) ? options->penalty_last_n : 0;
    uint64_t n_candidates = options->top_k > 0 && options->top_k < n_vocab ? options->top_k : n_vocab;
    if (options->temperature == 0)
        n_candidates = 0;
    const uint64_t n_originals = options->n_logprobs >= 0 ? (uint64_t)options->n_biases + n_window : 0;
    s->biases = allocate(&allocations, options->n_biases, sizeof *s->biases);
    s->banned = allocate(&allocations, options->n_banned, sizeof *s->banned);
    s->window = allocate(&allocations, n_window, sizeof *s->window);
    s->counts = allocate(&allocations, n_window > 0 ? n_vocab : 0, sizeof *s->counts);
    s->candidates = allocate(&allocations, n_candidates, sizeof *s->candidates);
    s->originals = allocate(&allocations, n_originals, sizeof *s->originals);
    if (allocations.failed_bytes != 0) {
        sampler_free(s, account);
        return memory_account_fail(account, err, allocations.failed_bytes, "the sampler");
    }
    if (options->n_biases > 0)
        memcpy(s->biases, options->biases, options->n_biases * sizeof *s->biases);
    if (options->n_banned > 0)
        memcpy(s->banned, options->banned, options->n_banned * sizeof *s->banned);
    s->options.biases = s->biases;
    s->options.banned = s->banned;
    *out = s;
    return CHORD_OK;
}

void sampler_free(struct sampler *sampler, struct memory_account *account)
{
    if (sampler == NULL)
        return;
    memory_free(account, sampler->originals);
    memory_free(account, sampler->candidates);
    memory_free(account, sampler->counts);
    memory_free(account, sampler->window);
    memory_free(account, sampler->banned);
    memory_free(account, sampler->biases);
    memory_free(account, sampler);
}

// ---- The chain -------------------------------------------------------------------------------------------------------

void sampler_accept(struct sampler *sampler, uint32_t token)
{
    struct sampler *s = sampler;
    if (s->window == NULL || token >= s->n_vocab)
        return;
    if (s->n_window == s->options.penalty_last_n)
        s->counts[s->window[s->window_at]]--;
    else
        s->n_window++;
    s->window[s->window_at] = token;
    s->counts[token]++;
    if (++s->window_at == s->options.penalty_last_n)
        s->window_at = 0;
}

static void remember_original(struct sampler *s, const float *logits, uint32_t token)
{
    if (s->originals != NULL)
        s->originals[s->n_originals++] = (struct original_logit){.token = token, .logit = logits[token]};
}

static void apply_biases(struct sampler *s, float *logits)
{
    for (uint32_t i = 0; i < s->options.n_biases; i++) {
        const struct sampler_bias *bias = &s->biases[i];
        remember_original(s, logits, bias->token);
        logits[bias->token] += bias->bias;
        if (bias->bias == -INFINITY) // also for a logit of +INFINITY, where the sum is NaN
            logits[bias->token] = -INFINITY;
    }
    for (uint32_t i = 0; i < s->options.n_banned; i++)
        logits[s->banned[i]] = -INFINITY;
}

static float penalized(float logit, uint32_t count, const struct sampler_options *o)
{
    logit = logit > 0 ? logit / o->repeat_penalty : logit * o->repeat_penalty;
    return logit - (float)count * o->frequency_penalty - o->presence_penalty;
}

static void apply_penalties(struct sampler *s, float *logits)
{
    // The top bit of a count marks a token whose turn has been: it may stand in the window many times.
    const uint32_t done = UINT32_C(1) << 31;
    for (uint32_t i = 0; i < s->n_window; i++) {
        const uint32_t token = s->window[i];
        if (s->counts[token] & done)
            continue;
        remember_original(s, logits, token);
        logits[token] = penalized(logits[token], s->counts[token], &s->options);
        s->counts[token] |= done;
    }
    for (uint32_t i = 0; i < s->n_window; i++)
        s->counts[s->window[i]] &= ~done;
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

static uint32_t sample(struct sampler *s, const float *logits)
{
    const struct sampler_options *o = &s->options;
    struct candidate *set = s->candidates;
    uint32_t n;
    if (o->top_k > 0 && o->top_k < s->n_vocab)
        n = candidates_top_k(set, o->top_k, logits, s->n_vocab);
    else if (o->min_p > 0 && o->typical_p == 1 && o->top_p == 1)
        n = candidates_likely(set, logits, s->n_vocab, o->temperature, o->min_p);
    else
        n = candidates_all(set, logits, s->n_vocab);
    if (n == 0)
        return UINT32_MAX;
    n = candidates_weigh(set, n, o->temperature);
    if (o->typical_p < 1)
        n = candidates_typical(set, n, o->typical_p);
    if (o->top_p < 1)
        n = candidates_top_p(set, n, o->top_p, logits);
    if (o->min_p > 0)
        n = candidates_min_p(set, n, o->min_p);
    // By token and not by weight: logits that differ by a rounding, as between tiers, then seldom change the draw.
    candidates_sort_by_token(set, n);
    return candidates_draw(set, n, random_unit(&s->random));
}

static float original_logit(const struct sampler *s, const float *logits, uint32_t token)
{
    for (uint64_t i = 0; i < s->n_originals; i++) // the first entry of a token is the oldest
        if (s->originals[i].token == token)
            return s->originals[i].logit;
    return logits[token];
}

void sampler_choose(struct sampler *sampler, float *logits, struct sampler_choice *choice)
{
    struct sampler *s = sampler;
    double log_sum = 0;
    choice->n_top = 0;
    if (s->options.n_logprobs >= 0)
        log_sum = logprobs_scan(logits, s->n_vocab, (uint32_t)s->options.n_logprobs, choice->top, &choice->n_top);

    s->n_originals = 0;
    apply_biases(s, logits);
    if (s->window != NULL)
        apply_penalties(s, logits);
    choice->token = s->options.temperature == 0 ? most_likely(logits, s->n_vocab) : sample(s, logits);

    choice->logprob = NAN;
    if (s->options.n_logprobs >= 0 && choice->token != UINT32_MAX)
        choice->logprob = logprobs_of(original_logit(s, logits, choice->token), log_sum);
}
