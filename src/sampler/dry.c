// DRY, "don't repeat yourself": where the end of the text stood before, what followed it there is made less likely, the more the
// longer the passage is that would be repeated: dry_multiplier * dry_base^(length - dry_allowed_length) is taken from the logit, for the
// longest such passage of at least dry_allowed_length tokens. A token at which one of dry_breakers ends is never part of a passage,
// and never made less likely.
#include "sampler/chain.h"

#include <float.h>
#include <math.h>
#include <string.h>

struct breaker {
    char *bytes; // copied
    uint64_t n_bytes;
};

struct dry {
    uint32_t *tokens;  // [2 * dry_last_n]: the text, the last dry_last_n of it at least
    uint8_t *breaks;   // [2 * dry_last_n]: 1: a breaker ends at the token
    uint32_t n_tokens; // in both
    uint32_t *lengths; // [dry_last_n]: work of apply
    uint32_t *longest; // [n_vocab]: likewise; 0 between two choices

    struct breaker *breakers; // [options.n_dry_breakers]
    uint64_t longest_breaker; // bytes
    char *text;               // [longest_breaker + the most bytes of a token]: the end of the text
    uint64_t n_text;
};

static bool is_on(const struct sampler_options *o)
{
    return o->dry_multiplier != 0 && o->dry_last_n > 0;
}

static enum chord_status check(const struct sampler_options *o, struct chord_error *err)
{
    enum chord_status status = sampler_check("dry_multiplier", isfinite(o->dry_multiplier) && o->dry_multiplier >= 0,
                                             "a number of at least 0", (double)o->dry_multiplier, err);
    if (status != CHORD_OK || !is_on(o))
        return status;
    status = sampler_check("dry_base", isfinite(o->dry_base) && o->dry_base >= 1, "a number of at least 1",
                           (double)o->dry_base, err);
    if (status == CHORD_OK)
        status =
            sampler_check("dry_allowed_length", o->dry_allowed_length >= 1, "at least 1", o->dry_allowed_length, err);
    if (status == CHORD_OK)
        status = sampler_check("dry_last_n", o->dry_last_n <= INT32_MAX, "below 2^31", o->dry_last_n, err);
    for (uint32_t i = 0; status == CHORD_OK && i < o->n_dry_breakers; i++)
        if (o->dry_breakers[i].n_bytes == 0)
            status = chord_fail(err, CHORD_INVALID_ARGUMENT, "dry_breakers[%u] is empty", (unsigned)i);
    return status;
}

static void destroy(void *state, struct memory_account *account)
{
    struct dry *d = state;
    if (d == NULL)
        return;
    memory_free(account, d->tokens);
    memory_free(account, d->breaks);
    memory_free(account, d->lengths);
    memory_free(account, d->longest);
    if (d->breakers != NULL)
        memory_free(account, d->breakers[0].bytes);
    memory_free(account, d->breakers);
    memory_free(account, d->text);
    memory_free(account, d);
}

// Copies the breakers, all bytes in one piece.
static bool copy_breakers(struct dry *d, const struct sampler_options *o, struct memory_account *account)
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < o->n_dry_breakers; i++)
        n_bytes += o->dry_breakers[i].n_bytes;
    d->breakers = memory_zalloc(account, MEMORY_SCRATCH, o->n_dry_breakers, sizeof *d->breakers);
    if (d->breakers == NULL)
        return false;
    char *at = d->breakers[0].bytes = memory_alloc(account, MEMORY_SCRATCH, n_bytes, 1);
    if (at == NULL)
        return false;
    for (uint32_t i = 0; i < o->n_dry_breakers; i++) {
        const struct sampler_string *from = &o->dry_breakers[i];
        memcpy(at, from->bytes, from->n_bytes);
        d->breakers[i] = (struct breaker){.bytes = at, .n_bytes = from->n_bytes};
        at += from->n_bytes;
        if (from->n_bytes > d->longest_breaker)
            d->longest_breaker = from->n_bytes;
    }
    d->text = memory_alloc(account, MEMORY_SCRATCH, d->longest_breaker + o->max_token_bytes, 1);
    return d->text != NULL;
}

static enum chord_status create(void **state, const struct sampler_options *o, uint32_t n_vocab,
                                struct memory_account *account, struct chord_error *err)
{
    const uint64_t n = o->dry_last_n;
    struct dry *d = *state = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *d);
    if (d != NULL) {
        d->tokens = memory_zalloc(account, MEMORY_SCRATCH, 2 * n, sizeof *d->tokens);
        if (d->tokens != NULL)
            d->breaks = memory_zalloc(account, MEMORY_SCRATCH, 2 * n, sizeof *d->breaks);
        if (d->breaks != NULL)
            d->lengths = memory_zalloc(account, MEMORY_SCRATCH, n, sizeof *d->lengths);
        if (d->lengths != NULL)
            d->longest = memory_zalloc(account, MEMORY_SCRATCH, n_vocab, sizeof *d->longest);
        if (d->longest != NULL && (o->n_dry_breakers == 0 || copy_breakers(d, o, account)))
            return CHORD_OK;
    }
    return memory_account_fail(account, err, 14 * n + n_vocab * sizeof *d->longest, "the sampler's memory of the text");
}

// Whether a breaker ends within the last n_bytes of the text.
static bool ends_breaker(const struct dry *d, uint32_t n_breakers, uint64_t n_bytes)
{
    for (uint32_t i = 0; i < n_breakers; i++) {
        const struct breaker *breaker = &d->breakers[i];
        const uint64_t before = d->n_text - n_bytes; // bytes that the tokens before gave
        uint64_t at = before >= breaker->n_bytes ? before - breaker->n_bytes + 1 : 0;
        for (; at + breaker->n_bytes <= d->n_text; at++)
            if (memcmp(d->text + at, breaker->bytes, breaker->n_bytes) == 0)
                return true;
    }
    return false;
}

static void accept(void *state, const struct sampler_options *o, uint32_t token)
{
    struct dry *d = state;
    bool breaks = false;
    if (o->n_dry_breakers > 0) {
        if (d->n_text > d->longest_breaker - 1) {
            const uint64_t n_dropped = d->n_text - (d->longest_breaker - 1);
            memmove(d->text, d->text + n_dropped, d->n_text - n_dropped);
            d->n_text -= n_dropped;
        }
        const uint64_t n_bytes = o->token_bytes(o->token_bytes_user, token, d->text + d->n_text, o->max_token_bytes);
        d->n_text += n_bytes;
        breaks = ends_breaker(d, o->n_dry_breakers, n_bytes);
    }
    if (d->n_tokens == 2 * o->dry_last_n) {
        memmove(d->tokens, d->tokens + o->dry_last_n, o->dry_last_n * sizeof *d->tokens);
        memmove(d->breaks, d->breaks + o->dry_last_n, o->dry_last_n * sizeof *d->breaks);
        d->n_tokens = o->dry_last_n;
    }
    d->tokens[d->n_tokens] = token;
    d->breaks[d->n_tokens++] = breaks;
}

// lengths[k] for 0 < k < n: how many tokens before end - k are the same as those before `end`, one after the other, back from there, at
// most `most`. Gusfield's Z algorithm on the text read backwards: O(n).
static void measure_repeats(const uint32_t *end, uint32_t n, uint32_t most, uint32_t *lengths)
{
    uint32_t left = 0, right = 0; // of the repeat that reaches farthest back
    for (uint32_t k = 1; k < n; k++) {
        uint32_t length = k < right ? lengths[k - left] : 0;
        if (length > right - k && k < right)
            length = right - k;
        while (length < most && k + length < n && end[-1 - (int64_t)length] == end[-1 - (int64_t)(k + length)])
            length++;
        lengths[k] = length;
        if (k + length > right) {
            left = k;
            right = k + length;
        }
    }
}

static void apply(struct chain *chain, void *state)
{
    struct dry *d = state;
    const struct sampler_options *o = chain->options;
    const uint32_t n = d->n_tokens < o->dry_last_n ? d->n_tokens : o->dry_last_n;
    const uint32_t *end = d->tokens + d->n_tokens;
    const uint8_t *breaks_end = d->breaks + d->n_tokens;
    uint32_t most = 0; // a passage reaches back to the last breaker
    while (most < n && !breaks_end[-1 - (int64_t)most])
        most++;
    if (most < o->dry_allowed_length)
        return;
    measure_repeats(end, n, most, d->lengths);
    for (uint32_t k = 1; k < n; k++) {
        uint32_t *longest = &d->longest[end[-(int64_t)k]];
        if (!breaks_end[-(int64_t)k] && d->lengths[k] > *longest)
            *longest = d->lengths[k];
    }
    for (uint32_t k = 1; k < n; k++) {
        const uint32_t token = end[-(int64_t)k], length = d->longest[token];
        d->longest[token] = 0;
        if (length < o->dry_allowed_length || !(chain->logits[token] > -INFINITY))
            continue;
        const double penalty =
            (double)o->dry_multiplier * pow(o->dry_base, (double)length - (double)o->dry_allowed_length);
        // Never forbids a token: it may be the last that others have left.
        chain->logits[token] = (float)fmax((double)chain->logits[token] - fmin(penalty, DBL_MAX), -(double)FLT_MAX);
    }
    chain_changed_logits(chain);
}

const struct sampler_kind sampler_dry = {.name = "dry",
                                         .is_on = is_on,
                                         .check = check,
                                         .room = sampler_room_for_none,
                                         .apply = apply,
                                         .create = create,
                                         .free = destroy,
                                         .accept = accept};
