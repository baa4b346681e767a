#include "engine/lookup.h"

// Places looked at: the time is bounded, and older ones are seldom better.
#define MAX_PLACES 64

bool lookup_init(struct lookup *lookup, uint64_t capacity, struct memory_account *account)
{
    *lookup = (struct lookup){0};
    lookup->older = memory_alloc(account, MEMORY_SCRATCH, capacity * sizeof *lookup->older, 16);
    return lookup->older != NULL;
}

void lookup_free(struct lookup *lookup, struct memory_account *account)
{
    memory_free(account, lookup->older);
    lookup->older = NULL;
}

static uint32_t *chain_of(struct lookup *lookup, const uint32_t *pair)
{
    const uint64_t key = (uint64_t)pair[0] << 32 | pair[1];
    return &lookup->newest[key * UINT64_C(0x9e3779b97f4a7c15) >> 52];
}

static uint32_t match_length(const uint32_t *tokens, uint64_t n_tokens, uint64_t end)
{
    uint32_t n = 0;
    while (n < LOOKUP_MAX_MATCH && n < end && tokens[end - 1 - n] == tokens[n_tokens - 1 - n])
        n++;
    return n;
}

uint32_t lookup_guess(struct lookup *lookup, const uint32_t *tokens, uint64_t n_tokens, uint32_t *out, uint32_t max,
                      uint32_t *n_match)
{
    _Static_assert(LOOKUP_CHAINS == 1 << (64 - 52), "a chain for each value of the hash");
    if (n_tokens < 3)
        return 0;
    // All pairs but the last, which is what is looked for.
    for (; lookup->n_indexed + 2 < n_tokens; lookup->n_indexed++) {
        uint32_t *newest = chain_of(lookup, tokens + lookup->n_indexed);
        lookup->older[lookup->n_indexed] = *newest;
        *newest = (uint32_t)lookup->n_indexed + 1;
    }
    uint64_t best_end = 0;
    uint32_t best = 1;
    uint32_t place = *chain_of(lookup, tokens + n_tokens - 2);
    for (int i = 0; i < MAX_PLACES && place != 0 && best < LOOKUP_MAX_MATCH; i++) {
        const uint64_t end = (uint64_t)place + 1;
        const uint32_t n = match_length(tokens, n_tokens, end);
        if (n > best) {
            best = n;
            best_end = end;
        }
        place = lookup->older[place - 1];
    }
    if (best_end == 0)
        return 0;
    // A source that reaches the end of the text goes on in the guess itself: the text then repeats with that period.
    for (uint32_t i = 0; i < max; i++)
        out[i] = best_end + i < n_tokens ? tokens[best_end + i] : out[best_end + i - n_tokens];
    *n_match = best;
    return max;
}
