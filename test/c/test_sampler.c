// The sampler against a naive one that sorts everything, against exact probabilities, and at its edges.

#include "sampler/candidates.h"
#include "sampler/random.h"
#include "sampler/sampler.h"
#include "sampler_helpers.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 300

// Chooses from a copy of the logits.
static uint32_t choose(struct sampler *s, const float *logits, uint32_t n_vocab, struct sampler_choice *choice)
{
    struct sampler_choice own;
    float *copy = malloc(n_vocab * sizeof *copy);
    memcpy(copy, logits, n_vocab * sizeof *copy);
    if (choice == NULL)
        choice = &own;
    sampler_choose(s, copy, choice);
    free(copy);
    return choice->token;
}

static float random_between(struct random_state *random, float low, float high)
{
    return low + (high - low) * (float)random_unit(random);
}

// Logits of one of several kinds: smooth, with many ties, all equal, with holes of NaN and infinities, far apart.
static void fill_logits(struct random_state *random, float *logits, uint32_t n, int kind)
{
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = random_between(random, -8, 8);
        if (kind == 1)
            logits[i] = floorf(logits[i] / 4);
        else if (kind == 2)
            logits[i] = 3.5f;
        else if (kind == 3 && random_next(random) % 3 == 0)
            logits[i] = random_next(random) % 2 ? NAN : -INFINITY;
        else if (kind == 4)
            logits[i] *= 1000;
        else if (kind == 5 && random_next(random) % 50 == 0)
            logits[i] = INFINITY;
    }
}
#define N_KINDS 6

// ---- A naive sampler -------------------------------------------------------------------------------------------------

struct naive {
    uint32_t token;
    double logit, weight, deviation;
};

static int by_logit(const void *a, const void *b)
{
    const struct naive *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static int by_deviation(const void *a, const void *b)
{
    const struct naive *x = a, *y = b;
    if ((float)x->deviation != (float)y->deviation)
        return x->deviation < y->deviation ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static int by_token(const void *a, const void *b)
{
    const struct naive *x = a, *y = b;
    return x->token < y->token ? -1 : 1;
}

static double sum_of(const struct naive *set, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += set[i].weight;
    return sum;
}

static uint32_t until(const struct naive *set, uint32_t n, double enough)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += set[i].weight;
        if (sum >= enough)
            return i + 1;
    }
    return n;
}

// The tokens left after all filters, by token, with their weights.
static uint32_t naive_filter(const struct sampler_options *o, const float *logits, uint32_t n_vocab, struct naive *set)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (!isnan(logits[i]) && logits[i] != -INFINITY)
            set[n++] = (struct naive){.token = i, .logit = fminf(logits[i], FLT_MAX)};
    qsort(set, n, sizeof *set, by_logit);
    if (o->top_k > 0 && n > o->top_k)
        n = o->top_k;
    uint32_t n_above_zero = 0;
    for (uint32_t i = 0; i < n; i++) {
        set[i].weight = exp((set[i].logit - set[0].logit) / (double)o->temperature);
        if (set[i].weight > 0)
            n_above_zero = i + 1;
    }
    n = n_above_zero;
    if (o->typical_p < 1 && n > 0) {
        const double sum = sum_of(set, n);
        double entropy = 0;
        for (uint32_t i = 0; i < n; i++)
            entropy += set[i].weight / sum * -log(set[i].weight / sum);
        for (uint32_t i = 0; i < n; i++)
            set[i].deviation = fabs(-log(set[i].weight / sum) - entropy);
        qsort(set, n, sizeof *set, by_deviation);
        n = until(set, n, (double)o->typical_p * sum);
        qsort(set, n, sizeof *set, by_logit);
    }
    if (o->top_p < 1)
        n = until(set, n, (double)o->top_p * sum_of(set, n));
    while (n > 1 && set[n - 1].weight < (double)o->min_p * set[0].weight)
        n--;
    qsort(set, n, sizeof *set, by_token);
    return n;
}

static uint32_t naive_draw(const struct naive *set, uint32_t n, double unit)
{
    const double target = unit * sum_of(set, n);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += set[i].weight;
        if (sum > target)
            return set[i].token;
    }
    return n > 0 ? set[n - 1].token : UINT32_MAX;
}

// One of the filters, or several together.
static void random_filters(struct random_state *random, struct sampler_options *o, int which)
{
    o->temperature = random_between(random, 0.05f, 2.5f);
    if (which == 1 || which == 5)
        o->top_k = 1 + (uint32_t)(random_next(random) % 60);
    if (which == 2 || which == 5)
        o->top_p = random_between(random, 0.01f, 0.999f);
    if (which == 3 || which == 5)
        o->min_p = random_between(random, 0, 1);
    if (which == 4 || which == 5)
        o->typical_p = random_between(random, 0.01f, 0.999f);
}

static void equals_a_naive_sampler(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 20);
    for (int round = 0; round < 6 * N_KINDS * 150; round++) {
        struct sampler_options o = plain_options();
        float logits[MOST_TOKENS];
        struct naive set[MOST_TOKENS];
        const uint32_t n_vocab = round % 7 == 0 ? 1 + (uint32_t)(random_next(&random) % 4)
                                                : 1 + (uint32_t)(random_next(&random) % MOST_TOKENS);
        random_filters(&random, &o, round % 6);
        fill_logits(&random, logits, n_vocab, round / 6 % N_KINDS);
        o.seed = random_next(&random);
        struct random_state same;
        random_seed(&same, o.seed);
        struct sampler *s = sampler_of(&o, n_vocab);
        const uint32_t n = naive_filter(&o, logits, n_vocab, set);
        for (int draw = 0; draw < 8; draw++) {
            const uint32_t expected = naive_draw(set, n, n > 0 ? random_unit(&same) : 0);
            const uint32_t actual = choose(s, logits, n_vocab, NULL);
            if (actual != expected)
                fail_msg("round %d draw %d: token %u, not %u of %u", round, draw, actual, expected, n);
        }
        sampler_free(s, &account);
    }
}

// Which tokens are left, not only which are drawn.
static void filters_leave_what_naive_ones_leave(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 21);
    for (int round = 0; round < 6 * N_KINDS * 150; round++) {
        struct sampler_options o = plain_options();
        float logits[MOST_TOKENS];
        struct naive expected[MOST_TOKENS];
        struct candidate set[MOST_TOKENS];
        const uint32_t n_vocab = 1 + (uint32_t)(random_next(&random) % MOST_TOKENS);
        random_filters(&random, &o, round % 6);
        fill_logits(&random, logits, n_vocab, round / 6 % N_KINDS);
        const uint32_t n_expected = naive_filter(&o, logits, n_vocab, expected);
        uint32_t n =
            o.top_k > 0 ? candidates_top_k(set, o.top_k, logits, n_vocab) : candidates_all(set, logits, n_vocab);
        n = candidates_weigh(set, n, o.temperature);
        if (o.typical_p < 1)
            n = candidates_typical(set, n, o.typical_p);
        if (o.top_p < 1)
            n = candidates_top_p(set, n, o.top_p, logits);
        if (o.min_p > 0)
            n = candidates_min_p(set, n, o.min_p);
        candidates_sort_by_token(set, n);
        assert_int_equal(n, n_expected);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(set[i].token, expected[i].token);
            assert_true(set[i].weight == expected[i].weight);
        }
    }
}

// Sums that hit the border exactly: enough is enough, and the first token owns [0, 1/4) of the draw.
static void borders_are_exact(void **state)
{
    (void)state;
    static const float logits[] = {2, 2, 2, 2, 1};
    struct candidate set[5];
    uint32_t n = candidates_weigh(set, candidates_all(set, logits, 4), 1);
    assert_int_equal(candidates_draw(set, n, 0), 0);
    assert_int_equal(candidates_draw(set, n, nextafter(0.25, 0)), 0);
    assert_int_equal(candidates_draw(set, n, 0.25), 1);
    assert_int_equal(candidates_draw(set, n, nextafter(1, 0)), 3);
    n = candidates_top_p(set, n, 0.5, logits);
    assert_int_equal(n, 2);
    candidates_sort_by_token(set, n);
    assert_true(set[0].token == 0 && set[1].token == 1);
    n = candidates_weigh(set, candidates_all(set, logits, 4), 1);
    assert_int_equal(candidates_typical(set, n, 0.75), 3);
    n = candidates_weigh(set, candidates_all(set, logits, 5), 1);
    assert_int_equal(candidates_min_p(set, n, 1), 4);
}

// Whatever the border, the short way to min-p ends in the set of the long one: same tokens, same weights.
static void likely_ones_are_all_that_min_p_keeps(void **state)
{
    (void)state;
    enum { n_vocab = 3 * LOGIT_BLOCK + 77 };
    static float logits[n_vocab];
    static struct candidate all[n_vocab], likely[n_vocab];
    struct random_state random;
    random_seed(&random, 5);
    for (int round = 0; round < 400; round++) {
        const double temperature = round % 7 == 0 ? 1e-3 : round % 7 == 1 ? 1e38 : random_between(&random, 0.05f, 2.5f);
        const double p = round % 5 == 0 ? 1 : round % 5 == 1 ? 1e-30 : random_between(&random, 0.001f, 1);
        for (uint32_t i = 0; i < n_vocab; i++)
            logits[i] = random_between(&random, -9, 9);
        for (uint32_t i = 0; i < n_vocab && round % 3 == 0; i += 3) // on the border, and one rounding beside it
            logits[i] = nextafterf((float)(9 + temperature * log(p)), i % 2 == 0 ? 100.0f : -100.0f);
        logits[random_next(&random) % n_vocab] = 9;
        logits[random_next(&random) % n_vocab] = NAN;
        logits[random_next(&random) % n_vocab] = -INFINITY;
        if (round % 11 == 0)
            logits[random_next(&random) % n_vocab] = INFINITY;
        uint32_t n = candidates_weigh(all, candidates_all(all, logits, n_vocab), temperature);
        n = candidates_min_p(all, n, p);
        uint32_t n_likely = candidates_likely(likely, logits, n_vocab, temperature, p);
        n_likely = candidates_min_p(likely, candidates_weigh(likely, n_likely, temperature), p);
        assert_int_equal(n_likely, n);
        for (uint32_t i = 0; i < n; i++)
            assert_true(likely[i].token == all[i].token && likely[i].weight == all[i].weight);
    }
    for (uint32_t i = 0; i < n_vocab; i++)
        logits[i] = i % 2 == 0 ? NAN : -INFINITY;
    assert_int_equal(candidates_likely(likely, logits, n_vocab, 1, 0.5), 0);
}

// ---- Distribution ----------------------------------------------------------------------------------------------------

// Pearson's statistic of n draws against exact probabilities (0: must never be drawn).
static double chi_square(struct sampler *s, const float *logits, const double *p, uint32_t n_vocab, uint32_t n)
{
    uint32_t counts[16] = {0};
    double statistic = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t token = choose(s, logits, n_vocab, NULL);
        assert_true(token < n_vocab && p[token] > 0);
        counts[token]++;
    }
    for (uint32_t i = 0; i < n_vocab; i++)
        if (p[i] > 0)
            statistic += (counts[i] - n * p[i]) * (counts[i] - n * p[i]) / (n * p[i]);
    return statistic;
}

static void draws_follow_the_probabilities(void **state)
{
    (void)state;
    static const float logits[10] = {0.5f, -1, 2, 1.25f, -3, 0, 1.5f, 2, -0.5f, -INFINITY};
    static const float temperatures[] = {0.5f, 1, 1.7f};
    for (int t = 0; t < 3; t++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            struct sampler_options o = plain_options();
            double p[10], sum = 0;
            o.temperature = temperatures[t];
            o.seed = seed;
            for (int i = 0; i < 10; i++)
                sum += p[i] = exp((double)logits[i] / (double)o.temperature);
            for (int i = 0; i < 10; i++)
                p[i] /= sum;
            struct sampler *s = sampler_of(&o, 10);
            const double statistic = chi_square(s, logits, p, 10, 40000);
            // 8 degrees of freedom: above 42.7 once in a million. Too good (below 0.26: once in 100 000) is wrong as well.
            assert_true(statistic < 42.7 && statistic > 0.26);
            sampler_free(s, &account);
        }
}

static void draws_follow_the_probabilities_that_filters_leave(void **state)
{
    (void)state;
    static const float logits[10] = {0.5f, -1, 2, 1.25f, -3, 0, 1.5f, 2, -0.5f, -6};
    struct sampler_options o = plain_options();
    o.top_k = 7;    // leaves 0 2 3 5 6 7 8
    o.top_p = 0.9f; // exp: 7.39 7.39 4.48 3.49 1.65 1.00 .61, sum 26.01; 24.40 reach 0.9: leaves 0 2 3 6 7
    o.min_p = 0.3f; // of 7.39: 2.22, leaves 2 3 6 7
    double p[10] = {0};
    const double sum = 2 * exp(2) + exp(1.25) + exp(1.5);
    p[2] = p[7] = exp(2) / sum;
    p[3] = exp(1.25) / sum;
    p[6] = exp(1.5) / sum;
    struct sampler *s = sampler_of(&o, 10);
    const double statistic = chi_square(s, logits, p, 10, 40000);
    assert_true(statistic < 30.7); // 3 degrees of freedom: once in a million
    sampler_free(s, &account);
}

// The authors' reference programs give these numbers.
static void random_numbers_are_the_published_ones(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 0);
    assert_true(random.s[0] == 0xe220a8397b1dcdafu && random.s[1] == 0x6e789e6aa1b965f4u);
    assert_true(random.s[2] == 0x06c45d188009454fu && random.s[3] == 0xf88bb8a8724c81ecu);
    random = (struct random_state){{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    for (int i = 0; i < 4; i++)
        assert_true(random_next(&random) == expected[i]);
}

static void a_seed_fixes_the_tokens(void **state)
{
    (void)state;
    struct sampler_options o = plain_options();
    float logits[MOST_TOKENS];
    struct random_state random;
    random_seed(&random, 3);
    fill_logits(&random, logits, MOST_TOKENS, 0);
    struct sampler *a = sampler_of(&o, MOST_TOKENS), *b = sampler_of(&o, MOST_TOKENS);
    o.seed++;
    struct sampler *c = sampler_of(&o, MOST_TOKENS);
    int n_different = 0;
    for (int i = 0; i < 100; i++) {
        const uint32_t token = choose(a, logits, MOST_TOKENS, NULL);
        assert_int_equal(token, choose(b, logits, MOST_TOKENS, NULL));
        n_different += token != choose(c, logits, MOST_TOKENS, NULL);
    }
    assert_true(n_different > 50);
    sampler_free(a, &account);
    sampler_free(b, &account);
    sampler_free(c, &account);
}

// ---- Greedy, bias, penalties -----------------------------------------------------------------------------------------

static uint32_t greedy(const float *logits, uint32_t n_vocab)
{
    struct sampler_options o = plain_options();
    o.temperature = 0;
    o.top_k = 3; // of no effect
    struct sampler *s = sampler_of(&o, n_vocab);
    const uint32_t token = choose(s, logits, n_vocab, NULL);
    sampler_free(s, &account);
    return token;
}

static void greedy_takes_the_lowest_of_the_most_likely(void **state)
{
    (void)state;
    assert_int_equal(greedy((float[]){-1, 4, 4, 3}, 4), 1);
    assert_int_equal(greedy((float[]){NAN, -5, NAN, -4, -4}, 5), 3);
    assert_int_equal(greedy((float[]){-INFINITY, -FLT_MAX}, 2), 1);
    assert_int_equal(greedy((float[]){0, INFINITY, INFINITY}, 3), 1);
    assert_int_equal(greedy((float[]){-0.0f, 0.0f}, 2), 0);
    assert_int_equal(greedy((float[]){7}, 1), 0);
}

static void greedy_equals_a_plain_search(void **state)
{
    (void)state;
    enum { MOST = 2000 };
    static float logits[MOST];
    struct random_state random;
    random_seed(&random, 9);
    for (int round = 0; round < 3000; round++) {
        const uint32_t n_vocab = 1 + (uint32_t)(random_next(&random) % MOST);
        fill_logits(&random, logits, n_vocab, round % N_KINDS);
        if (round % 5 == 0)
            logits[random_next(&random) % n_vocab] = 1e30f;
        uint32_t expected = UINT32_MAX;
        for (uint32_t token = n_vocab; token-- > 0;)
            if (logits[token] > -INFINITY && (expected == UINT32_MAX || logits[token] >= logits[expected]))
                expected = token;
        assert_int_equal(greedy(logits, n_vocab), expected);
    }
}

static void nothing_to_choose(void **state)
{
    (void)state;
    static const float logits[] = {NAN, -INFINITY, NAN};
    for (int greedily = 0; greedily < 2; greedily++)
        for (uint32_t top_k = 0; top_k < 3; top_k++) {
            struct sampler_options o = plain_options();
            struct sampler_choice choice;
            o.temperature = greedily ? 0 : 1;
            o.top_k = top_k;
            o.top_p = 0.5f;
            o.typical_p = 0.5f;
            o.min_p = 0.5f;
            o.n_logprobs = 2;
            struct sampler *s = sampler_of(&o, 3);
            assert_int_equal(choose(s, logits, 3, &choice), UINT32_MAX);
            assert_true(isnan(choice.logprob));
            assert_int_equal(choice.n_top, 0);
            sampler_free(s, &account);
        }
}

static void bias_and_ban(void **state)
{
    (void)state;
    static const float logits[] = {5, 4, 3, INFINITY};
    const struct sampler_bias biases[] = {{2, 1.5f}, {3, -INFINITY}, {2, 1}};
    const uint32_t banned[] = {0};
    struct sampler_options o = plain_options();
    o.temperature = 0;
    o.biases = biases;
    o.n_biases = 3;
    struct sampler *s = sampler_of(&o, 4);
    assert_int_equal(choose(s, logits, 4, NULL), 2); // 3 + 1.5 + 1 > 5
    sampler_free(s, &account);
    o.n_biases = 2;
    s = sampler_of(&o, 4);
    assert_int_equal(choose(s, logits, 4, NULL), 0); // 3 + 1.5 < 5
    sampler_free(s, &account);
    o.banned = banned;
    o.n_banned = 1;
    s = sampler_of(&o, 4);
    assert_int_equal(choose(s, logits, 4, NULL), 2);
    sampler_free(s, &account);
}

// Penalized logits are read through the log of the probabilities they give: here through greedy choices on random logits.
static void penalties_equal_naive_ones(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 5);
    int n_changed = 0;
    for (int round = 0; round < 400; round++) {
        const uint32_t n_vocab = 1 + (uint32_t)(random_next(&random) % 20);
        struct sampler_options o = plain_options();
        uint32_t history[100];
        o.temperature = 0;
        o.repeat_penalty = round % 4 == 0 ? 1 : random_between(&random, 0.8f, 2);
        o.frequency_penalty = round % 4 == 1 ? 0 : random_between(&random, -1, 2);
        o.presence_penalty = round % 4 == 2 ? 0 : random_between(&random, -1, 2);
        o.penalty_last_n = (uint32_t)(random_next(&random) % 30);
        struct sampler *s = sampler_of(&o, n_vocab);
        for (uint32_t n = 0; n < 100; n++) {
            float logits[20], penalized[20];
            fill_logits(&random, logits, n_vocab, 0);
            uint32_t expected = 0;
            for (uint32_t token = 0; token < n_vocab; token++) {
                uint32_t count = 0;
                for (uint32_t back = 1; back <= o.penalty_last_n && back <= n; back++)
                    count += history[n - back] == token;
                float x = logits[token];
                if (count > 0) {
                    x = x > 0 ? x / o.repeat_penalty : x * o.repeat_penalty;
                    x = x - (float)count * o.frequency_penalty - o.presence_penalty;
                }
                penalized[token] = x;
                if (x > penalized[expected])
                    expected = token;
            }
            assert_int_equal(choose(s, logits, n_vocab, NULL), expected);
            n_changed += expected != greedy(logits, n_vocab);
            history[n] = (uint32_t)(random_next(&random) % n_vocab);
            sampler_accept(s, history[n]);
        }
        sampler_accept(s, n_vocab); // no such token: of no effect
        sampler_free(s, &account);
    }
    assert_true(n_changed > 1000);
}

// ---- Log-probabilities -----------------------------------------------------------------------------------------------

static void check_logprobs(const float *logits, uint32_t n_vocab, int32_t n_wanted, const struct sampler_choice *choice)
{
    struct naive all[MOST_TOKENS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (!isnan(logits[i]) && logits[i] != -INFINITY)
            all[n++] = (struct naive){.token = i, .logit = fminf(logits[i], FLT_MAX)};
    qsort(all, n, sizeof *all, by_logit);
    double sum = 0;
    for (uint32_t i = n; i-- > 0;)
        sum += exp(all[i].logit - all[0].logit);
    const uint32_t n_top = n < (uint32_t)n_wanted ? n : (uint32_t)n_wanted;
    assert_int_equal(choice->n_top, n_top);
    for (uint32_t i = 0; i < n; i++) {
        const double expected = all[i].logit - all[0].logit - log(sum);
        // Half a unit of float, and what 300 additions in double can be off. Where logits are of the order of FLT_MAX the
        // subtraction of the log of the sum is itself rounded, to the logits' unit in double.
        const double bound = fabs(expected) * 0x1p-24 + 300 * 0x1p-52 + fabs(all[0].logit) * 0x1p-52;
        if (i < n_top) {
            assert_int_equal(choice->top[i].token, all[i].token);
            assert_true(fabs((double)choice->top[i].logprob - expected) <= bound || expected < -(double)FLT_MAX);
        }
        if (all[i].token == choice->token)
            assert_true(fabs((double)choice->logprob - expected) <= bound || expected < -(double)FLT_MAX);
    }
}

static void logprobs_equal_a_log_softmax(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 6);
    for (int round = 0; round < 600; round++) {
        const uint32_t n_vocab = 1 + (uint32_t)(random_next(&random) % MOST_TOKENS);
        const struct sampler_bias bias = {.token = (uint32_t)(random_next(&random) % n_vocab), .bias = 4};
        float logits[MOST_TOKENS];
        struct sampler_choice choice;
        struct sampler_options o = plain_options();
        fill_logits(&random, logits, n_vocab, round % N_KINDS);
        o.n_logprobs = (int32_t)(random_next(&random) % (SAMPLER_MAX_LOGPROBS + 1));
        o.temperature = round % 2 ? 0 : 0.8f;
        // Bias and penalties change what is chosen, never the log-probability told.
        o.biases = &bias;
        o.n_biases = 1;
        o.presence_penalty = 1;
        o.penalty_last_n = 8;
        struct sampler *s = sampler_of(&o, n_vocab);
        for (int draw = 0; draw < 4; draw++) {
            const uint32_t token = choose(s, logits, n_vocab, &choice);
            if (token == UINT32_MAX)
                continue;
            check_logprobs(logits, n_vocab, o.n_logprobs, &choice);
            sampler_accept(s, bias.token);
            sampler_accept(s, token);
        }
        sampler_free(s, &account);
    }
}

static void logprobs_only_when_asked_for(void **state)
{
    (void)state;
    static const float logits[] = {1, 2};
    struct sampler_options o = plain_options();
    struct sampler_choice choice;
    struct sampler *s = sampler_of(&o, 2);
    choose(s, logits, 2, &choice);
    assert_true(isnan(choice.logprob));
    assert_int_equal(choice.n_top, 0);
    sampler_free(s, &account);
    o.n_logprobs = 0;
    o.temperature = 0;
    s = sampler_of(&o, 2);
    choose(s, logits, 2, &choice);
    assert_true(choice.logprob == (float)-log1p(exp(-1)));
    assert_int_equal(choice.n_top, 0);
    sampler_free(s, &account);
}

// ---- Options and memory ----------------------------------------------------------------------------------------------

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
#define REFUSED(field, value)                       \
    do {                                            \
        struct sampler_options o = plain_options(); \
        o.field = value;                            \
        refused(&o, #field);                        \
    } while (0)
    REFUSED(temperature, -0.1f);
    REFUSED(temperature, INFINITY);
    REFUSED(temperature, NAN);
    REFUSED(top_p, 0);
    REFUSED(top_p, 1.01f);
    REFUSED(top_p, NAN);
    REFUSED(min_p, -0.1f);
    REFUSED(min_p, 1.5f);
    REFUSED(typical_p, 0);
    REFUSED(typical_p, 2);
    REFUSED(repeat_penalty, 0);
    REFUSED(repeat_penalty, -1);
    REFUSED(repeat_penalty, INFINITY);
    REFUSED(frequency_penalty, NAN);
    REFUSED(presence_penalty, INFINITY);
    REFUSED(penalty_last_n, UINT32_MAX);
    REFUSED(n_logprobs, -2);
    REFUSED(n_logprobs, SAMPLER_MAX_LOGPROBS + 1);
#undef REFUSED
    struct sampler_options o = plain_options();
    struct sampler_bias bias = {10, 0};
    o.biases = &bias;
    o.n_biases = 1;
    refused(&o, "token 10");
    bias = (struct sampler_bias){9, NAN};
    refused(&o, "token 9");
    bias.bias = INFINITY;
    refused(&o, "token 9");
    o = plain_options();
    o.banned = (const uint32_t[]){3, 12};
    o.n_banned = 2;
    refused(&o, "token 12");
}

static struct sampler_options everything_on(void)
{
    static const struct sampler_bias bias = {1, 1};
    static const uint32_t banned = 2;
    struct sampler_options o = plain_options();
    o.top_k = 20;
    o.top_p = 0.9f;
    o.min_p = 0.05f;
    o.typical_p = 0.9f;
    o.repeat_penalty = 1.1f;
    o.penalty_last_n = 16;
    o.n_logprobs = 5;
    o.biases = &bias;
    o.n_biases = 1;
    o.banned = &banned;
    o.n_banned = 1;
    return o;
}

static void choosing_allocates_nothing(void **state)
{
    (void)state;
    const struct sampler_options o = everything_on();
    float logits[MOST_TOKENS];
    struct random_state random;
    struct sampler_choice choice;
    random_seed(&random, 8);
    struct sampler *s = sampler_of(&o, MOST_TOKENS);
    const uint64_t n_allocations = atomic_load(&account.n_allocations);
    for (int i = 0; i < 100; i++) {
        fill_logits(&random, logits, MOST_TOKENS, i % N_KINDS);
        sampler_choose(s, logits, &choice);
        sampler_accept(s, choice.token);
    }
    assert_int_equal(atomic_load(&account.n_allocations), n_allocations);
    sampler_free(s, &account);
    sampler_free(NULL, &account);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    const struct sampler_options o = everything_on();
    fail_every_allocation(&o, MOST_TOKENS, 8);
    memory_account_init(&account, 1000);
    struct sampler *s;
    struct chord_error err;
    assert_int_equal(sampler_create(&s, &o, MOST_TOKENS, &account, &err), CHORD_MEMORY_BUDGET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(equals_a_naive_sampler),
        TEST(filters_leave_what_naive_ones_leave),
        TEST(borders_are_exact),
        TEST(likely_ones_are_all_that_min_p_keeps),
        TEST(draws_follow_the_probabilities),
        TEST(draws_follow_the_probabilities_that_filters_leave),
        TEST(random_numbers_are_the_published_ones),
        TEST(a_seed_fixes_the_tokens),
        TEST(greedy_takes_the_lowest_of_the_most_likely),
        TEST(greedy_equals_a_plain_search),
        TEST(nothing_to_choose),
        TEST(bias_and_ban),
        TEST(penalties_equal_naive_ones),
        TEST(logprobs_equal_a_log_softmax),
        TEST(logprobs_only_when_asked_for),
        TEST(options_out_of_range_are_refused),
        TEST(choosing_allocates_nothing),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
