// The chain of a sampler: tokens in the running, thinned out and weighed anew by one sampler after the other, until one is drawn.
//
// A sampler is a row of the table in chain.c and a file. Rows that are off (is_on) take no part. A set of candidates is made only when
// a sampler needs one, and weights only when one looks at them, so that a top-k at the beginning spares all others the vocabulary.
#ifndef CHORD_SAMPLER_CHAIN_H
#define CHORD_SAMPLER_CHAIN_H

#include "sampler/candidates.h"
#include "sampler/random.h"
#include "sampler/sampler.h"

// One choice under way.
struct chain {
    const struct sampler_options *options;
    float
        *logits; // [n_vocab]; a sampler that changes some says so by chain_changed_logits; -INFINITY: not to be chosen
    uint32_t n_vocab;
    struct random_state *random;
    double temperature;    // of the weights: the product of those that were applied
    bool is_greedy;        // one candidate is left, and no number is drawn for it
    struct candidate *set; // by the three that follow; tokens in any order
    uint32_t n;            // 0: no token can be chosen
    bool has_set;          // else: every token with a logit above -INFINITY is in the running
    bool has_ranks;        // the candidates' ranks are their logits
    bool has_weights;      // of the chain's temperature
};

// What samplers ask for before they look at `set`.
void chain_make_set(struct chain *chain);     // set, n
void chain_make_ranks(struct chain *chain);   // and ranks
void chain_make_weights(struct chain *chain); // and weights, all above 0; ranks may be lost
void chain_changed_logits(struct chain *chain);

struct sampler_kind {
    const char *name; // in lists of samplers (sampler_options.samplers)
    bool (*is_on)(const struct sampler_options *options);
    // INVALID_ARGUMENT where options of this sampler are out of range, contradict those of others, or could have no effect.
    enum chord_status (*check)(const struct sampler_options *options, struct chord_error *err);
    // Candidates of the set that it makes where there is none yet. 0: it makes none, as long as none is there.
    uint32_t (*room)(const struct sampler_options *options, uint32_t n_vocab);
    void (*apply)(struct chain *chain, void *state);

    // Where it remembers something from choice to choice; else NULL. *state is given back by `free`, also after a failure.
    enum chord_status (*create)(void **state, const struct sampler_options *options, uint32_t n_vocab,
                                struct memory_account *account, struct chord_error *err);
    void (*free)(void *state, struct memory_account *account); // NULL is fine
    // May be NULL. A token is now part of the text.
    void (*accept)(void *state, const struct sampler_options *options, uint32_t token);
    // May be NULL. A token was drawn that had this share of the weights of those left.
    void (*drawn)(void *state, const struct sampler_options *options, double share);
};

#define SAMPLER_N_KINDS 10
// In the order of the chain where none is given.
extern const struct sampler_kind *const sampler_kinds[SAMPLER_N_KINDS];

extern const struct sampler_kind sampler_penalties, sampler_dry, sampler_top_n_sigma, sampler_temperature,
    sampler_top_k, sampler_typical, sampler_top_p, sampler_min_p, sampler_xtc, sampler_mirostat;

// For `check`: `ok`, or INVALID_ARGUMENT "<name> must be <expected>, not <actual>".
enum chord_status sampler_check(const char *name, bool ok, const char *expected, double actual,
                                struct chord_error *err);

// For `room`: the whole vocabulary, or no set at all.
uint32_t sampler_room_for_all(const struct sampler_options *options, uint32_t n_vocab);
uint32_t sampler_room_for_none(const struct sampler_options *options, uint32_t n_vocab);

#endif
