#include "sampler/logprobs.h"

#include <float.h>
#include <math.h>

// Puts a token into the list, whose entries hold logits for now, descending; the last falls off a full list.
static void insert(struct sampler_logprob *top, uint32_t *n_top, uint32_t n_wanted, uint32_t token, float logit)
{
    uint32_t at = *n_top < n_wanted ? (*n_top)++ : n_wanted - 1;
    for (; at > 0 && top[at - 1].logprob < logit; at--)
        top[at] = top[at - 1];
    top[at] = (struct sampler_logprob){.token = token, .logprob = logit};
}

double logprobs_scan(const float *logits, uint32_t n_vocab, uint32_t n_wanted, struct sampler_logprob *top,
                     uint32_t *n_top)
{
    // sum is that of exp(logit - largest) over what was seen so far; it is scaled when a larger logit comes.
    double largest = -INFINITY, sum = 0;
    *n_top = 0;
    for (uint32_t token = 0; token < n_vocab; token++) {
        if (!(logits[token] > -INFINITY))
            continue;
        const float logit = fminf(logits[token], FLT_MAX);
        if (logit > largest) {
            sum = sum * exp(largest - (double)logit) + 1;
            largest = logit;
        } else {
            sum += exp((double)logit - largest);
        }
        if (n_wanted > 0 && (*n_top < n_wanted || logit > top[n_wanted - 1].logprob))
            insert(top, n_top, n_wanted, token, logit);
    }
    const double log_sum = largest + log(sum);
    for (uint32_t i = 0; i < *n_top; i++)
        top[i].logprob = logprobs_of(top[i].logprob, log_sum);
    return sum > 0 ? log_sum : -INFINITY;
}

float logprobs_of(float logit, double log_sum)
{
    if (!(logit > -INFINITY))
        return -INFINITY;
    return (float)((double)fminf(logit, FLT_MAX) - log_sum);
}
