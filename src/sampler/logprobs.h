// Log-probabilities of a softmax over all logits of a step, with the most likely tokens, in one pass over the vocabulary.
#ifndef CHORD_SAMPLER_LOGPROBS_H
#define CHORD_SAMPLER_LOGPROBS_H

#include "sampler/sampler.h"

#include <stdint.h>

// NaN and -INFINITY count as probability 0, +INFINITY as FLT_MAX. Fills top[0..*n_top-1], *n_top <= n_wanted <= SAMPLER_MAX_LOGPROBS, with
// the most likely tokens of nonzero probability, most likely first, the lower token first among equals. Returns the
// log of the sum of exp(logit), -INFINITY when there is nothing to sum.
double logprobs_scan(const float *logits, uint32_t n_vocab, uint32_t n_wanted, struct sampler_logprob *top,
                     uint32_t *n_top);

// The log-probability of a token with this logit; -INFINITY for NaN and -INFINITY.
float logprobs_of(float logit, double log_sum);

#endif
