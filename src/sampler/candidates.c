#include "sampler/candidates.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

// ---- Heaps -----------------------------------------------------------------------------------------------------------
//
// Selection is by binary heap: the few best of many need no sorted rest. `above` says which of two stands nearer the root.

typedef bool candidate_order(const struct candidate *a, const struct candidate *b);

static bool is_better(const struct candidate *a, const struct candidate *b)
{
    return a->rank > b->rank || (a->rank == b->rank && a->token < b->token);
}

static bool is_worse(const struct candidate *a, const struct candidate *b)
{
    return is_better(b, a);
}

static bool is_later(const struct candidate *a, const struct candidate *b)
{
    return a->token > b->token;
}

static inline void sift_down(struct candidate *heap, uint32_t n, uint32_t at, candidate_order *above)
{
    const struct candidate moving = heap[at];
    for (uint64_t child = 2 * (uint64_t)at + 1; child < n; child = 2 * (uint64_t)at + 1) {
        if (child + 1 < n && above(&heap[child + 1], &heap[child]))
            child++;
        if (!above(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = moving;
}

static inline void make_heap(struct candidate *set, uint32_t n, candidate_order *above)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sift_down(set, n, i, above);
}

// Takes the root of a heap of n out and puts it behind the n - 1 others.
static inline void pop_to_back(struct candidate *heap, uint32_t n, candidate_order *above)
{
    const struct candidate root = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = root;
    sift_down(heap, n - 1, 0, above);
}

static inline void swap(struct candidate *a, struct candidate *b)
{
    const struct candidate held = *a;
    *a = *b;
    *b = held;
}

// Puts a middling one of set[low..high) at its place in the order, the better before it and the worse behind, and returns
// that place. At least three.
static uint32_t partition(struct candidate *set, uint32_t low, uint32_t high)
{
    struct candidate *first = &set[low], *middle = &set[low + (high - low) / 2], *last = &set[high - 1];
    if (is_better(middle, first))
        swap(middle, first);
    if (is_better(last, first))
        swap(last, first);
    if (is_better(middle, last)) // now the median is the last
        swap(middle, last);
    uint32_t place = low;
    for (uint32_t i = low; i + 1 < high; i++)
        if (is_better(&set[i], last))
            swap(&set[i], &set[place++]);
    swap(&set[place], last);
    return place;
}

// Keeps the best by rank until their weights reach `enough`, or all. n >= 1.
static uint32_t keep_best(struct candidate *set, uint32_t n, double enough)
{
    // What lies before `low` is kept and weighs `sum`; the border is in low..high. Partitioning narrows a large set down in time
    // proportional to its size; after so many rounds without luck the heap ends it, whatever the logits.
    uint32_t low = 0, high = n;
    double sum = 0;
    for (int rounds = 0; high - low > 64 && rounds < 48; rounds++) {
        const uint32_t place = partition(set, low, high);
        double better = 0;
        for (uint32_t i = low; i < place; i++)
            better += set[i].weight;
        if (sum + better >= enough) {
            high = place;
            continue;
        }
        sum += better + set[place].weight;
        low = place + 1;
        if (sum >= enough)
            return low;
    }
    struct candidate *rest = set + low;
    uint32_t n_left = high - low;
    const uint32_t n_rest = n_left;
    make_heap(rest, n_left, is_better);
    while (n_left > 0 && sum < enough) {
        pop_to_back(rest, n_left, is_better);
        sum += rest[--n_left].weight;
    }
    memmove(rest, rest + n_left, (n_rest - n_left) * sizeof *rest);
    return low + n_rest - n_left;
}

static double weight_sum(const struct candidate *set, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += set[i].weight;
    return sum;
}

// ---- Passes over a vocabulary ------------------------------------------------------------------------------------------

// By lanes that a compiler turns into vector registers.
#define LANES 16
float logits_largest_of_block(const float *logits)
{
    float lanes[LANES];
    for (int lane = 0; lane < LANES; lane++)
        lanes[lane] = -INFINITY;
    for (int i = 0; i < LOGIT_BLOCK; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] = logits[i + lane] > lanes[lane] ? logits[i + lane] : lanes[lane];
    float largest = -INFINITY;
    for (int lane = 0; lane < LANES; lane++)
        largest = lanes[lane] > largest ? lanes[lane] : largest;
    return largest;
}

static float largest_logit(const float *logits, uint32_t n_vocab)
{
    float largest = -INFINITY;
    uint32_t at = 0;
    for (; n_vocab - at >= LOGIT_BLOCK; at += LOGIT_BLOCK) {
        const float block = logits_largest_of_block(logits + at);
        largest = block > largest ? block : largest;
    }
    for (; at < n_vocab; at++)
        largest = logits[at] > largest ? logits[at] : largest;
    return fminf(largest, FLT_MAX);
}

// ---- Filters ---------------------------------------------------------------------------------------------------------

uint32_t candidates_all(struct candidate *out, const float *logits, uint32_t n_vocab)
{
    uint32_t n = 0;
    for (uint32_t token = 0; token < n_vocab; token++)
        if (logits[token] > -INFINITY) // false for NaN
            out[n++] = (struct candidate){.rank = fminf(logits[token], FLT_MAX), .token = token};
    return n;
}

uint32_t candidates_likely(struct candidate *out, const float *logits, uint32_t n_vocab, double temperature, double p)
{
    const double largest = largest_logit(logits, n_vocab), distance = -temperature * log(p);
    // Roundings of the exact test are some 1e-16 of these; what passes here only is weighed in vain.
    const double least = largest - distance - 1e-9 * (fabs(largest) + distance + temperature);
    uint32_t n = 0;
    for (uint32_t at = 0; at < n_vocab; at += LOGIT_BLOCK) {
        const uint32_t end = n_vocab - at < LOGIT_BLOCK ? n_vocab : at + LOGIT_BLOCK;
        if (end - at == LOGIT_BLOCK && !(logits_largest_of_block(logits + at) >= least))
            continue;
        for (uint32_t token = at; token < end; token++)
            if (logits[token] > -INFINITY && logits[token] >= least)
                out[n++] = (struct candidate){.rank = fminf(logits[token], FLT_MAX), .token = token};
    }
    return n;
}

uint32_t candidates_top_k(struct candidate *out, uint32_t k, const float *logits, uint32_t n_vocab)
{
    uint32_t n = 0, token = 0;
    for (; token < n_vocab && n < k; token++)
        if (logits[token] > -INFINITY)
            out[n++] = (struct candidate){.rank = fminf(logits[token], FLT_MAX), .token = token};
    if (token == n_vocab)
        return n;
    // The worst of the kept is the root. Tokens come in ascending order, so an equal to it is no better.
    make_heap(out, n, is_worse);
    for (; token < n_vocab; token++) {
        if (!(logits[token] > out[0].rank))
            continue;
        const float rank = fminf(logits[token], FLT_MAX);
        if (rank == out[0].rank)
            continue;
        out[0] = (struct candidate){.rank = rank, .token = token};
        sift_down(out, n, 0, is_worse);
    }
    return n;
}

uint32_t candidates_weigh(struct candidate *set, uint32_t n, double temperature)
{
    uint32_t n_kept = 0;
    float largest = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        largest = fmaxf(largest, set[i].rank);
    for (uint32_t i = 0; i < n; i++) {
        set[i].weight = exp(((double)set[i].rank - (double)largest) / temperature);
        if (set[i].weight > 0)
            set[n_kept++] = set[i];
    }
    return n_kept;
}

double candidates_entropy(const struct candidate *set, uint32_t n)
{
    const double sum = weight_sum(set, n);
    double entropy = 0;
    for (uint32_t i = 0; i < n; i++)
        entropy -= set[i].weight / sum * log(set[i].weight / sum);
    return entropy;
}

uint32_t candidates_typical(struct candidate *set, uint32_t n, double p)
{
    if (n < 2)
        return n;
    const double sum = weight_sum(set, n), entropy = candidates_entropy(set, n);
    for (uint32_t i = 0; i < n; i++)
        set[i].rank = (float)-fabs(-log(set[i].weight / sum) - entropy);
    return keep_best(set, n, p * sum);
}

uint32_t candidates_top_p(struct candidate *set, uint32_t n, double p, const float *logits)
{
    if (n < 2)
        return n;
    const double sum = weight_sum(set, n);
    // Tokens below this weigh less than half of 1 - p in all: what is above them reaches p without them, whatever the
    // rounding of the sums. In a peaked distribution only a few of a large vocabulary remain to be put in order.
    const double negligible = 0.5 * (1 - p) * sum / n;
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (set[i].weight >= negligible) {
            set[n_kept] = set[i];
            set[n_kept++].rank = fminf(logits[set[i].token], FLT_MAX);
        }
    return keep_best(set, n_kept, p * sum);
}

uint32_t candidates_min_p(struct candidate *set, uint32_t n, double p)
{
    uint32_t n_kept = 0;
    double largest = 0;
    for (uint32_t i = 0; i < n; i++)
        largest = fmax(largest, set[i].weight);
    for (uint32_t i = 0; i < n; i++)
        if (set[i].weight >= p * largest)
            set[n_kept++] = set[i];
    return n_kept;
}

uint32_t candidates_best(struct candidate *set, uint32_t n, uint32_t k)
{
    if (n <= k)
        return n;
    // The worst of the kept is the root.
    make_heap(set, k, is_worse);
    for (uint32_t i = k; i < n; i++)
        if (is_better(&set[i], &set[0])) {
            set[0] = set[i];
            sift_down(set, k, 0, is_worse);
        }
    return k;
}

uint32_t candidates_top_n_sigma(struct candidate *set, uint32_t n, double n_sigma)
{
    double largest = -INFINITY, mean = 0, variance = 0;
    for (uint32_t i = 0; i < n; i++) {
        largest = fmax(largest, set[i].rank);
        mean += set[i].rank;
    }
    mean /= n;
    for (uint32_t i = 0; i < n; i++)
        variance += (set[i].rank - mean) * (set[i].rank - mean);
    const double least = largest - n_sigma * sqrt(variance / n);
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (set[i].rank >= least)
            set[n_kept++] = set[i];
    return n_kept;
}

uint32_t candidates_xtc(struct candidate *set, uint32_t n, double threshold)
{
    const double least = threshold * weight_sum(set, n);
    uint32_t n_above = 0, last = 0; // of those above: the least likely
    for (uint32_t i = 0; i < n; i++) {
        if (set[i].weight < least)
            continue;
        if (n_above++ == 0 || set[i].weight < set[last].weight ||
            (set[i].weight == set[last].weight && set[i].token > set[last].token))
            last = i;
    }
    if (n_above < 2)
        return n;
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (set[i].weight < least || i == last)
            set[n_kept++] = set[i];
    return n_kept;
}

uint32_t candidates_surprise(struct candidate *set, uint32_t n, double most)
{
    const double sum = weight_sum(set, n);
    uint32_t n_kept = 0, first = 0; // the most likely
    for (uint32_t i = 1; i < n; i++)
        if (set[i].weight > set[first].weight ||
            (set[i].weight == set[first].weight && set[i].token < set[first].token))
            first = i;
    for (uint32_t i = 0; i < n; i++)
        if (i == first || -log2(set[i].weight / sum) <= most)
            set[n_kept++] = set[i];
    return n_kept;
}

void candidates_sort_by_token(struct candidate *set, uint32_t n)
{
    uint32_t n_sorted = 1;
    while (n_sorted < n && set[n_sorted - 1].token < set[n_sorted].token)
        n_sorted++;
    if (n_sorted >= n) // a whole vocabulary that no filter put in another order
        return;
    make_heap(set, n, is_later);
    for (uint32_t i = n; i > 1; i--)
        pop_to_back(set, i, is_later);
}

uint32_t candidates_draw(const struct candidate *set, uint32_t n, double unit)
{
    const double target = unit * weight_sum(set, n);
    double sum = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        sum += set[i].weight;
        if (sum > target)
            return set[i].token;
    }
    return set[n - 1].token;
}
