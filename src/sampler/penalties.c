// Repeat, frequency and presence penalty: on tokens among the last penalty_last_n of the text.
#include "sampler/chain.h"

#include <math.h>

struct penalties {
    uint32_t *window;   // [options.penalty_last_n], a ring
    uint32_t n_window;  // tokens in it
    uint32_t window_at; // where the next one goes
    uint32_t *counts;   // [n_vocab]: how often each token stands in the window
};

static bool is_on(const struct sampler_options *o)
{
    return o->penalty_last_n > 0 && (o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0);
}

static enum chord_status check(const struct sampler_options *o, struct chord_error *err)
{
    enum chord_status status = sampler_check("repeat_penalty", isfinite(o->repeat_penalty) && o->repeat_penalty > 0,
                                             "a number above 0", (double)o->repeat_penalty, err);
    if (status == CHORD_OK)
        status = sampler_check("frequency_penalty", isfinite(o->frequency_penalty), "a finite number",
                               (double)o->frequency_penalty, err);
    if (status == CHORD_OK)
        status = sampler_check("presence_penalty", isfinite(o->presence_penalty), "a finite number",
                               (double)o->presence_penalty, err);
    if (status == CHORD_OK)
        status = sampler_check("penalty_last_n", o->penalty_last_n <= INT32_MAX, "below 2^31", o->penalty_last_n, err);
    return status;
}

static void destroy(void *state, struct memory_account *account)
{
    struct penalties *p = state;
    if (p == NULL)
        return;
    memory_free(account, p->window);
    memory_free(account, p->counts);
    memory_free(account, p);
}

static enum chord_status create(void **state, const struct sampler_options *o, uint32_t n_vocab,
                                struct memory_account *account, struct chord_error *err)
{
    struct penalties *p = *state = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *p);
    if (p == NULL)
        return memory_account_fail(account, err, sizeof *p, "the sampler");
    p->window = memory_zalloc(account, MEMORY_SCRATCH, o->penalty_last_n, sizeof *p->window);
    if (p->window == NULL)
        return memory_account_fail(account, err, o->penalty_last_n * sizeof *p->window, "the sampler");
    p->counts = memory_zalloc(account, MEMORY_SCRATCH, n_vocab, sizeof *p->counts);
    if (p->counts == NULL)
        return memory_account_fail(account, err, n_vocab * sizeof *p->counts, "the sampler");
    return CHORD_OK;
}

static void accept(void *state, const struct sampler_options *o, uint32_t token)
{
    struct penalties *p = state;
    if (p->n_window == o->penalty_last_n)
        p->counts[p->window[p->window_at]]--;
    else
        p->n_window++;
    p->window[p->window_at] = token;
    p->counts[token]++;
    if (++p->window_at == o->penalty_last_n)
        p->window_at = 0;
}

static float penalized(float logit, uint32_t count, const struct sampler_options *o)
{
    logit = logit > 0 ? logit / o->repeat_penalty : logit * o->repeat_penalty;
    return logit - (float)count * o->frequency_penalty - o->presence_penalty;
}

static void apply(struct chain *chain, void *state)
{
    struct penalties *p = state;
    // The top bit of a count marks a token whose turn has been: it may stand in the window many times.
    const uint32_t done = UINT32_C(1) << 31;
    for (uint32_t i = 0; i < p->n_window; i++) {
        const uint32_t token = p->window[i];
        if (p->counts[token] & done)
            continue;
        chain->logits[token] = penalized(chain->logits[token], p->counts[token], chain->options);
        p->counts[token] |= done;
    }
    for (uint32_t i = 0; i < p->n_window; i++)
        p->counts[p->window[i]] &= ~done;
    chain_changed_logits(chain);
}

const struct sampler_kind sampler_penalties = {.name = "penalties",
                                               .is_on = is_on,
                                               .check = check,
                                               .room = sampler_room_for_none,
                                               .apply = apply,
                                               .create = create,
                                               .free = destroy,
                                               .accept = accept};
