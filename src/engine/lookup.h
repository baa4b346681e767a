// Prompt lookup: guesses how a text goes on from where its last tokens stood before (Saxena, "Prompt Lookup Decoding", 2023).
//
// Every pair of neighbouring tokens is in a hash table of chains, newest first, as match finders of LZ77 keep theirs. Used by
// one thread at a time.
#ifndef CHORD_ENGINE_LOOKUP_H
#define CHORD_ENGINE_LOOKUP_H

#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>

#define LOOKUP_CHAINS 4096u
// Tokens before a place that are compared: a match that long is as good as any longer one.
#define LOOKUP_MAX_MATCH 16u

struct lookup {
    uint32_t newest[LOOKUP_CHAINS]; // 1 + where the newest pair of the chain begins; 0: none
    uint32_t *older;                // [capacity]: likewise, by where a pair begins
    uint64_t n_indexed;             // pairs that begin before are in the chains
};

// For texts of up to `capacity` (< 2^32) tokens. False: no memory; *lookup can be freed.
bool lookup_init(struct lookup *lookup, uint64_t capacity, struct memory_account *account);
void lookup_free(struct lookup *lookup, struct memory_account *account); // may be called on a zeroed one

// Guesses what follows tokens[n_tokens] into out[max]; returns how many, 0 where the last two tokens do not stand together
// earlier. *n_match: how many of the last tokens stand before the guess's source, 2 .. LOOKUP_MAX_MATCH; of several places the
// longest match decides, then the newest. Between calls the text may only grow.
uint32_t lookup_guess(struct lookup *lookup, const uint32_t *tokens, uint64_t n_tokens, uint32_t *out, uint32_t max,
                      uint32_t *n_match);

#endif
