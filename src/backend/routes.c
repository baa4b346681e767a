#include "backend/routes.h"

#include <math.h>

// Marks the n_used largest of n numbers and gives their places, the largest first. Whatever the numbers are, NaN included, these
// are n_used different ones that `marked` did not hold.
static void choose(const float *numbers, uint32_t n, uint32_t n_used, bool *marked, float *places)
{
    for (uint32_t k = 0; k < n_used; k++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++)
            if (!marked[i] && (best == n || numbers[i] > numbers[best]))
                best = i;
        marked[best] = true;
        places[k] = (float)best;
    }
}

// The sum of the two largest, or the only one.
static float best_two(const float *scores, uint32_t n)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        if (scores[i] > first) {
            second = first;
            first = scores[i];
        } else if (scores[i] > second) {
            second = scores[i];
        }
    return n == 1 ? first : first + second;
}

// Marks the experts of all groups but the best ones.
static void close_groups(const struct graph_node *node, const float *scores, uint32_t n, bool *closed)
{
    const uint32_t n_groups = node->route.n_groups, n_each = n / n_groups;
    float sums[ROUTE_MOST_EXPERTS], places[ROUTE_MOST_EXPERTS];
    bool open[ROUTE_MOST_EXPERTS] = {false};
    for (uint32_t g = 0; g < n_groups; g++)
        sums[g] = best_two(scores + g * n_each, n_each);
    choose(sums, n_groups, node->route.n_groups_used, open, places);
    for (uint32_t e = 0; e < n; e++)
        closed[e] = !open[e / n_each];
}

static void route_by_sigmoid(const struct graph_node *node, const float *logits, uint32_t n, float *numbers,
                             float *weights)
{
    const uint32_t n_used = node->route.n_used;
    float gates[ROUTE_MOST_EXPERTS], scores[ROUTE_MOST_EXPERTS], sum = 0;
    bool taken[ROUTE_MOST_EXPERTS] = {false};
    for (uint32_t e = 0; e < n; e++) {
        gates[e] = 1 / (1 + expf(-logits[e]));
        scores[e] = gates[e] + (node->vector[0] != NULL ? node->vector[0][e] : 0);
    }
    if (node->route.n_groups > 1)
        close_groups(node, scores, n, taken);
    choose(scores, n, n_used, taken, numbers);
    for (uint32_t k = 0; k < n_used; k++)
        sum += weights[k] = gates[(uint32_t)numbers[k]];
    // Gates that all vanish would divide by 0; the reference has this least sum, the smallest normal half.
    sum = node->route.renormalized ? fmaxf(sum, 0x1p-14f) : 1;
    for (uint32_t k = 0; k < n_used; k++)
        weights[k] /= sum;
}

static void route_by_softmax(const struct graph_node *node, const float *logits, uint32_t n, float *numbers,
                             float *weights)
{
    const uint32_t n_used = node->route.n_used;
    bool chosen[ROUTE_MOST_EXPERTS] = {false};
    choose(logits, n, n_used, chosen, numbers);
    const float most = logits[(uint32_t)numbers[0]];
    float sum = 0;
    for (uint32_t e = 0; e < n; e++)
        if (!node->route.renormalized || chosen[e])
            sum += expf(logits[e] - most);
    for (uint32_t k = 0; k < n_used; k++)
        weights[k] = expf(logits[(uint32_t)numbers[k]] - most) / sum;
}

void route_experts(const struct graph_node *node, const float *logits, uint32_t n, float *numbers, float *weights)
{
    (node->route.is_sigmoid ? route_by_sigmoid : route_by_softmax)(node, logits, n, numbers, weights);
}
