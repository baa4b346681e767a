// Sampler: from the logits of one step to one token.
//
// Logit bias and the ban of end-of-generation tokens (ignore_eos) come first, then the chain (chain.h), then the draw. The chain is,
// where options.samplers does not say otherwise: penalties (repeat, frequency, presence), dry, topNSigma, temperature (also dynamic), topK,
// typicalP, topP, minP, xtc, mirostat. With temperature 0 the most likely token of those in the running at that place is taken
// (the lowest id among equals). Log-probabilities are of the model's own distribution (before bias and chain), as of a softmax over
// all n_vocab logits.
//
// A sampler belongs to one generation and is used by one thread at a time. After sampler_create nothing allocates.
// The same options, seed, history and logits give the same token on every machine that rounds floats alike.
#ifndef CHORD_SAMPLER_SAMPLER_H
#define CHORD_SAMPLER_SAMPLER_H

#include "base/alloc.h"
#include "base/status.h"
#include "sampler/constraint.h"

#include <stdbool.h>
#include <stdint.h>

#define SAMPLER_MAX_LOGPROBS 64

struct sampler_bias {
    uint32_t token;
    float bias; // -INFINITY forbids
};

struct sampler_string {
    const char *bytes;
    uint64_t n_bytes;
};

// Ranges are checked by sampler_create (INVALID_ARGUMENT names option, expected and actual), contradictions too. Options of a
// sampler that is off or not in `samplers` are of no effect.
struct sampler_options {
    float temperature;       // >= 0; 0: greedy
    float dynamic_range;     // >= 0; 0: off. How far the temperature may depart from `temperature` (temperature.c)
    float dynamic_exponent;  // > 0
    uint32_t top_k;          // 0: off
    float top_p;             // (0, 1]; 1: off
    float min_p;             // [0, 1]; 0: off
    float typical_p;         // (0, 1]; 1: off
    float repeat_penalty;    // > 0; 1: off. Positive logits are divided by it, negative ones multiplied
    float frequency_penalty; // -2..2 as usual, any finite; subtracted count times
    float presence_penalty;  // any finite; subtracted once
    uint32_t penalty_last_n; // tokens looked back on; 0: penalties off
    float top_n_sigma;       // >= 0; 0: off
    float xtc_probability;   // [0, 1]; 0: off
    float xtc_threshold;     // (0, 0.5]
    float mirostat_tau; // >= 0, bits; 0: off. Not with top-k, top-p, min-p, typical, top-n-sigma, XTC, temperature 0
    float mirostat_eta; // > 0

    float dry_multiplier;                      // >= 0; 0: off (dry.c)
    float dry_base;                            // >= 1
    uint32_t dry_allowed_length;               // >= 1: shorter repeats are free
    uint32_t dry_last_n;                       // tokens looked back on; 0: off
    const struct sampler_string *dry_breakers; // borrowed during create only; none empty
    uint32_t n_dry_breakers;
    // With breakers: writes the bytes that a token stands for, at most max_token_bytes, and returns how many.
    uint64_t (*token_bytes)(const void *user, uint32_t token, char *out, uint64_t max_bytes);
    const void *token_bytes_user;
    uint64_t max_token_bytes;

    const char *const
        *samplers; // names, each at most once, in their order; NULL: all, as above. Borrowed during create
    uint32_t n_samplers;
    uint64_t seed;
    int32_t n_logprobs; // -1: none; 0: of the chosen token; n <= SAMPLER_MAX_LOGPROBS: also the n most likely
    const struct sampler_bias *biases; // borrowed during create only
    uint32_t n_biases;
    const uint32_t *banned; // tokens that cannot be chosen (end-of-generation with ignore_eos); borrowed during create
    uint32_t n_banned;
};

struct sampler_logprob {
    uint32_t token;
    float logprob;
};

struct sampler_choice {
    uint32_t token;
    float logprob; // NAN unless n_logprobs >= 0
    uint32_t n_top;
    struct sampler_logprob top[SAMPLER_MAX_LOGPROBS]; // most likely first
};

struct sampler; // opaque

enum chord_status sampler_create(struct sampler **out, const struct sampler_options *options, uint32_t n_vocab,
                                 struct memory_account *account, struct chord_error *err);
void sampler_free(struct sampler *sampler, struct memory_account *account); // NULL is fine

// Tells the sampler of a token that is now part of the text (prompt or generated): what penalties look back on.
void sampler_accept(struct sampler *sampler, uint32_t token);

// Chooses a token. logits [n_vocab] are consumed (overwritten). NaN logits never win. When nothing can be chosen (all
// -INFINITY or NaN) *choice->token is UINT32_MAX.
void sampler_choose(struct sampler *sampler, float *logits, struct sampler_choice *choice);

// The same among the tokens that `constraint` (NULL: none) allows: as if all others had a logit of -INFINITY. Where the tokens
// that the chain looks at are allowed anyway, only they are asked about. After an error (constraint_error) nothing can be chosen. The
// constraint is not told of the token.
void sampler_choose_within(struct sampler *sampler, struct constraint *constraint, float *logits,
                           struct sampler_choice *choice);

// The same for one who chooses by himself: bias and bans are applied to the logits, ...
void sampler_prepare(struct sampler *sampler, float *logits, struct sampler_choice *choice);
// ... and the token that was chosen goes into `choice`, with its log-probability.
void sampler_settle(struct sampler *sampler, uint32_t token, struct sampler_choice *choice);

#endif
