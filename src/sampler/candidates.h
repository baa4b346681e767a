// The tokens that are still in the running, and the filters that thin them out.
//
// Filters take a set of `n` candidates and return how many are left; those stand first. Every filter leaves at least one
// candidate of a set that is not empty. Between filters the order within a set means nothing; at the end candidates_draw
// wants it by token.
#ifndef CHORD_SAMPLER_CANDIDATES_H
#define CHORD_SAMPLER_CANDIDATES_H

#include <stdint.h>

#define LOGIT_BLOCK 256
// The largest of LOGIT_BLOCK logits; NaN loses every comparison, -INFINITY where nothing is larger.
float logits_largest_of_block(const float *logits);

struct candidate {
    double weight; // probability but for a common factor
    float rank;    // what the filter at work orders by, largest first; among equals the lower token is first
    uint32_t token;
};

// All tokens whose logit is above -INFINITY, in ascending order, to out [n_vocab]; ranks are the logits, +INFINITY as FLT_MAX.
uint32_t candidates_all(struct candidate *out, const float *logits, uint32_t n_vocab);

// Those of candidates_all that candidates_min_p may keep after candidates_weigh: all that it keeps and few others.
uint32_t candidates_likely(struct candidate *out, const float *logits, uint32_t n_vocab, double temperature, double p);

// Only the `k` (>= 1) first of them by rank, to out [k], in heap order. O(n_vocab + k log k log(n_vocab / k)) for logits in random order.
uint32_t candidates_top_k(struct candidate *out, uint32_t k, const float *logits, uint32_t n_vocab);

// Sets the weights to exp((rank - largest rank) / temperature), in double, and drops those that are 0. temperature > 0.
uint32_t candidates_weigh(struct candidate *set, uint32_t n, double temperature);

// Locally typical sampling (Meister et al. 2023): the smallest set of tokens with a probability of at least `p` together,
// taken by how near their surprise -log(probability) is to the entropy, nearest first. 0 < p < 1. `rank` is lost.
uint32_t candidates_typical(struct candidate *set, uint32_t n, double p);

// Nucleus sampling (Holtzman et al. 2020): the smallest set of the most likely tokens with a probability of at least `p`
// together. 0 < p < 1. Logits as given to candidates_all.
uint32_t candidates_top_p(struct candidate *set, uint32_t n, double p, const float *logits);

// Min-p sampling (Nguyen et al. 2024): tokens at least `p` times as likely as the most likely. 0 < p <= 1.
uint32_t candidates_min_p(struct candidate *set, uint32_t n, double p);

// The k first by rank, in heap order.
uint32_t candidates_best(struct candidate *set, uint32_t n, uint32_t k);

// The entropy of the weights, in nats. n >= 1, weights above 0.
double candidates_entropy(const struct candidate *set, uint32_t n);

// Those whose rank is at most n_sigma standard deviations of all ranks below the largest. n_sigma >= 0.
uint32_t candidates_top_n_sigma(struct candidate *set, uint32_t n, double n_sigma);

// Without those that have a probability of at least `threshold`, but for the least likely of these (among equals the highest token).
uint32_t candidates_xtc(struct candidate *set, uint32_t n, double threshold);

// Those whose surprise, -log2(probability), is at most `most`, and in any case the most likely one. Weights above 0.
uint32_t candidates_surprise(struct candidate *set, uint32_t n, double most);

void candidates_sort_by_token(struct candidate *set, uint32_t n);

// The first candidate at which the running sum of the weights exceeds `unit` (in [0, 1)) times their sum. n >= 1.
uint32_t candidates_draw(const struct candidate *set, uint32_t n, double unit);

#endif
