// The samplers of the chain, in any order, against plain ones in double precision, and by hand.

#include "sampler/chain.h"
#include "sampler/random.h"
#include "sampler/sampler.h"
#include "account_helpers.h"
#include "quick.h"
#include "sampler_helpers.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 120
#define MOST_TEXT 400

static int n_rounds(int n)
{
    return quick() ? n / 20 : n;
}

static uint32_t choose(struct sampler *s, const float *logits, uint32_t n_vocab)
{
    struct sampler_choice choice;
    float copy[MOST_TOKENS];
    memcpy(copy, logits, n_vocab * sizeof *copy);
    sampler_choose(s, copy, &choice);
    return choice.token;
}

static float random_between(struct random_state *random, float low, float high)
{
    return low + (high - low) * (float)random_unit(random);
}

static uint32_t random_below(struct random_state *random, uint32_t n)
{
    return (uint32_t)(random_next(random) % n);
}

// Logits of one of several kinds: smooth, with many ties, all equal, with holes of NaN and infinities, far apart.
static void fill_logits(struct random_state *random, float *logits, uint32_t n, uint32_t kind)
{
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = random_between(random, -8, 8);
        if (kind == 1)
            logits[i] = floorf(logits[i] / 4);
        else if (kind == 2)
            logits[i] = 3.5f;
        else if (kind == 3 && random_below(random, 3) == 0)
            logits[i] = random_below(random, 2) == 0 ? NAN : -INFINITY;
        else if (kind == 4)
            logits[i] *= 1000;
        else if (kind == 5 && random_below(random, 50) == 0)
            logits[i] = INFINITY;
        else if (kind == 6)
            logits[i] = NAN;
        else if (kind == 7 && random_below(random, 4) == 0)
            logits[i] = -FLT_MAX;
    }
    if (kind == 6) // one candidate
        logits[random_below(random, n)] = random_between(random, -8, 8);
}
#define N_KINDS 8

// Texts of a few words, so that breakers end within, at the end of and across tokens.
static const char *text_of(uint32_t token)
{
    static const char *const texts[] = {"a", "b",     "ab", "\n", "\n\n", "x:",  ":y",
                                        "",  "a:b\n", "bb", "U",  "SER",  "USER"};
    return texts[token % (sizeof texts / sizeof *texts)];
}

static uint64_t token_bytes(const void *user, uint32_t token, char *out, uint64_t max_bytes)
{
    (void)user;
    const uint64_t n = strlen(text_of(token));
    assert_true(n <= max_bytes);
    memcpy(out, text_of(token), n);
    return n;
}

static void set_breakers(struct sampler_options *o, const struct sampler_string *breakers, uint32_t n)
{
    o->dry_breakers = breakers;
    o->n_dry_breakers = n;
    o->token_bytes = token_bytes;
    o->max_token_bytes = 4;
}

// ---- Plain samplers --------------------------------------------------------------------------------------------------

struct plain {
    uint32_t token;
    double weight, key;
};

struct plain_chain {
    const struct sampler_options *o;
    float logits[MOST_TOKENS];
    struct plain set[MOST_TOKENS]; // by token
    uint32_t n;
    double temperature;
    bool is_greedy;
    struct random_state *random;
    double *mu;
    const uint32_t *text;
    uint32_t n_text;
};

static double logit_of(const struct plain_chain *c, uint32_t token)
{
    return fminf(c->logits[token], FLT_MAX);
}

static int by_key(const void *a, const void *b) // descending, then by token
{
    const struct plain *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static int by_token(const void *a, const void *b)
{
    const struct plain *x = a, *y = b;
    return x->token < y->token ? -1 : 1;
}

static double plain_sum(const struct plain_chain *c)
{
    double sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        sum += c->set[i].weight;
    return sum;
}

static void plain_weigh(struct plain_chain *c)
{
    double largest = -INFINITY;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        largest = fmax(largest, logit_of(c, c->set[i].token));
    for (uint32_t i = 0; i < c->n; i++) {
        struct plain p = c->set[i];
        p.weight = exp((logit_of(c, p.token) - largest) / c->temperature);
        if (p.weight > 0)
            c->set[n++] = p;
    }
    c->n = n;
}

// Sorts by key, keeps the first n, and sorts by token.
static void keep(struct plain_chain *c, uint32_t n)
{
    qsort(c->set, c->n, sizeof *c->set, by_key);
    c->n = n < c->n ? n : c->n;
    qsort(c->set, c->n, sizeof *c->set, by_token);
}

static void keep_until(struct plain_chain *c, double share)
{
    const double enough = share * plain_sum(c);
    double sum = 0;
    uint32_t n = 0;
    qsort(c->set, c->n, sizeof *c->set, by_key);
    while (n < c->n && sum < enough)
        sum += c->set[n++].weight;
    c->n = n;
    qsort(c->set, c->n, sizeof *c->set, by_token);
}

static void set_keys_to_logits(struct plain_chain *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        c->set[i].key = logit_of(c, c->set[i].token);
}

static double plain_entropy(const struct plain_chain *c)
{
    const double sum = plain_sum(c);
    double entropy = 0;
    for (uint32_t i = 0; i < c->n; i++)
        entropy += c->set[i].weight / sum * -log(c->set[i].weight / sum);
    return entropy;
}

static void plain_penalties(struct plain_chain *c)
{
    const struct sampler_options *o = c->o;
    for (uint32_t token = 0; token < MOST_TOKENS; token++) {
        uint32_t count = 0;
        for (uint32_t back = 1; back <= o->penalty_last_n && back <= c->n_text; back++)
            count += c->text[c->n_text - back] == token;
        float *x = &c->logits[token];
        if (count > 0) {
            *x = *x > 0 ? *x / o->repeat_penalty : *x * o->repeat_penalty;
            *x = *x - (float)count * o->frequency_penalty - o->presence_penalty;
        }
    }
}

// Whether a breaker ends at token `at` of the text, by the whole text.
static bool plain_breaks(const struct plain_chain *c, uint32_t at)
{
    char text[MOST_TEXT * 4 + 1] = "";
    size_t begin = 0;
    for (uint32_t i = 0; i <= at; i++) {
        begin = strlen(text);
        strcpy(text + begin, text_of(c->text[i]));
    }
    const size_t end = strlen(text);
    for (uint32_t b = 0; b < c->o->n_dry_breakers; b++)
        for (size_t last = begin + 1; last <= end; last++) {
            const size_t n = c->o->dry_breakers[b].n_bytes;
            if (last >= n && memcmp(text + last - n, c->o->dry_breakers[b].bytes, n) == 0)
                return true;
        }
    return false;
}

static void plain_dry(struct plain_chain *c)
{
    const struct sampler_options *o = c->o;
    uint32_t longest[MOST_TOKENS] = {0};
    bool breaks[MOST_TEXT];
    const uint32_t first = c->n_text > o->dry_last_n ? c->n_text - o->dry_last_n : 0;
    for (uint32_t i = first; i < c->n_text; i++)
        breaks[i] = plain_breaks(c, i);
    for (uint32_t next = first + 1; next < c->n_text; next++) {
        uint32_t length = 0;
        while (length < next - first && c->text[next - 1 - length] == c->text[c->n_text - 1 - length] &&
               !breaks[c->n_text - 1 - length])
            length++;
        if (!breaks[next] && length > longest[c->text[next]])
            longest[c->text[next]] = length;
    }
    for (uint32_t token = 0; token < MOST_TOKENS; token++)
        if (longest[token] >= o->dry_allowed_length && c->logits[token] > -INFINITY)
            c->logits[token] = (float)fmax(
                c->logits[token] -
                    fmin(o->dry_multiplier * pow(o->dry_base, longest[token] - (double)o->dry_allowed_length), DBL_MAX),
                -(double)FLT_MAX);
}

static void plain_top_n_sigma(struct plain_chain *c)
{
    double mean = 0, variance = 0, largest = -INFINITY;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        mean += logit_of(c, c->set[i].token) / c->n;
        largest = fmax(largest, logit_of(c, c->set[i].token));
    }
    for (uint32_t i = 0; i < c->n; i++)
        variance += pow(logit_of(c, c->set[i].token) - mean, 2) / c->n;
    for (uint32_t i = 0; i < c->n; i++)
        if (logit_of(c, c->set[i].token) >= largest - (double)c->o->top_n_sigma * sqrt(variance))
            c->set[n++] = c->set[i];
    c->n = n;
}

static void plain_temperature(struct plain_chain *c)
{
    const struct sampler_options *o = c->o;
    double temperature = o->temperature;
    if (o->dynamic_range > 0) {
        plain_weigh(c);
        const double low = fmax(0, (double)o->temperature - (double)o->dynamic_range);
        const double high = (double)o->temperature + (double)o->dynamic_range;
        if (c->n > 1)
            temperature = low + (high - low) * pow(fmin(1, plain_entropy(c) / log(c->n)), o->dynamic_exponent);
    }
    if (temperature > 0) {
        c->temperature = temperature;
        return;
    }
    set_keys_to_logits(c);
    keep(c, 1);
    c->is_greedy = true;
}

static void plain_top_k(struct plain_chain *c)
{
    set_keys_to_logits(c);
    keep(c, c->o->top_k);
}

static void plain_typical(struct plain_chain *c)
{
    plain_weigh(c);
    const double sum = plain_sum(c), entropy = plain_entropy(c);
    for (uint32_t i = 0; i < c->n; i++)
        c->set[i].key = (float)-fabs(-log(c->set[i].weight / sum) - entropy);
    keep_until(c, c->o->typical_p);
}

static void plain_top_p(struct plain_chain *c)
{
    plain_weigh(c);
    set_keys_to_logits(c);
    keep_until(c, c->o->top_p);
}

static void plain_min_p(struct plain_chain *c)
{
    double largest = 0;
    uint32_t n = 0;
    plain_weigh(c);
    for (uint32_t i = 0; i < c->n; i++)
        largest = fmax(largest, c->set[i].weight);
    for (uint32_t i = 0; i < c->n; i++)
        if (c->set[i].weight >= (double)c->o->min_p * largest)
            c->set[n++] = c->set[i];
    c->n = n;
}

static void plain_xtc(struct plain_chain *c)
{
    if (random_unit(c->random) >= (double)c->o->xtc_probability)
        return;
    plain_weigh(c);
    const double sum = plain_sum(c);
    uint32_t n_above = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        c->set[i].key = c->set[i].weight;
        n_above += c->set[i].weight >= (double)c->o->xtc_threshold * sum;
    }
    if (n_above < 2)
        return;
    qsort(c->set, c->n, sizeof *c->set, by_key);
    c->n -= n_above - 1;
    memmove(c->set, c->set + n_above - 1, c->n * sizeof *c->set);
    qsort(c->set, c->n, sizeof *c->set, by_token);
}

static void plain_mirostat(struct plain_chain *c)
{
    plain_weigh(c);
    const double sum = plain_sum(c);
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        c->set[i].key = c->set[i].weight;
        n += -log2(c->set[i].weight / sum) <= *c->mu;
    }
    keep(c, n > 0 ? n : 1);
}

static const struct {
    const char *name;
    void (*apply)(struct plain_chain *c);
} plain_samplers[] = {
    {"penalties", plain_penalties},
    {"dry", plain_dry},
    {"topNSigma", plain_top_n_sigma},
    {"temperature", plain_temperature},
    {"topK", plain_top_k},
    {"typicalP", plain_typical},
    {"topP", plain_top_p},
    {"minP", plain_min_p},
    {"xtc", plain_xtc},
    {"mirostat", plain_mirostat},
};
#define N_PLAIN (sizeof plain_samplers / sizeof *plain_samplers)

static bool plain_is_on(const struct sampler_options *o, size_t i)
{
    const bool on[] = {o->penalty_last_n > 0, o->dry_multiplier > 0,
                       o->top_n_sigma > 0,    true,
                       o->top_k > 0,          o->typical_p<1, o->top_p<1, o->min_p> 0, o->xtc_probability> 0,
                       o->mirostat_tau > 0};
    _Static_assert(sizeof on / sizeof *on == N_PLAIN, "one each");
    return on[i];
}

static uint32_t plain_draw(struct plain_chain *c)
{
    if (c->is_greedy)
        return c->n > 0 ? c->set[0].token : UINT32_MAX;
    plain_weigh(c);
    if (c->n == 0)
        return UINT32_MAX;
    const double total = plain_sum(c), target = random_unit(c->random) * total;
    uint32_t at = 0;
    for (double sum = c->set[0].weight; sum <= target && at + 1 < c->n; sum += c->set[at].weight)
        at++;
    if (c->o->mirostat_tau > 0)
        *c->mu -= (double)c->o->mirostat_eta * (-log2(c->set[at].weight / total) - (double)c->o->mirostat_tau);
    return c->set[at].token;
}

static void drop_forbidden(struct plain_chain *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (c->logits[c->set[i].token] > -INFINITY)
            c->set[n++] = c->set[i];
    c->n = n;
}

// A whole choice; order: indices of plain_samplers.
static uint32_t plain_choose(struct plain_chain *c, const float *logits, uint32_t n_vocab, const uint32_t *order,
                             uint32_t n_order)
{
    c->n = 0;
    c->temperature = 1;
    c->is_greedy = false;
    for (uint32_t i = 0; i < MOST_TOKENS; i++)
        c->logits[i] = i < n_vocab ? logits[i] : NAN;
    for (uint32_t token = 0; token < n_vocab; token++)
        c->set[c->n++] = (struct plain){.token = token};
    drop_forbidden(c);
    for (uint32_t i = 0; i < n_order; i++)
        if (plain_is_on(c->o, order[i])) {
            plain_samplers[order[i]].apply(c);
            drop_forbidden(c); // a penalty may overflow
        }
    return plain_draw(c);
}

// ---- Comparisons -----------------------------------------------------------------------------------------------------

static void set_random_options(struct random_state *random, struct sampler_options *o)
{
#define SOMETIMES(...)                      \
    do {                                    \
        if (random_below(random, 3) == 0) { \
            __VA_ARGS__;                    \
        }                                   \
    } while (0)
    *o = plain_options();
    o->seed = random_next(random);
    o->temperature = random_between(random, 0.05f, 2.5f);
    SOMETIMES(o->dynamic_range = random_between(random, 0.01f, 2);
              o->dynamic_exponent = random_between(random, 0.3f, 3));
    SOMETIMES(o->penalty_last_n = 1 + random_below(random, 40); o->repeat_penalty = random_between(random, 0.8f, 2);
              o->frequency_penalty = random_between(random, -1, 2);
              o->presence_penalty = random_between(random, -1, 2));
    SOMETIMES(o->dry_multiplier = random_between(random, 0.1f, 3); o->dry_base = random_between(random, 1, 3);
              o->dry_allowed_length = 1 + random_below(random, 3); o->dry_last_n = 1 + random_below(random, 80));
    if (random_below(random, 4) == 0) {
        o->mirostat_tau = random_between(random, 0.1f, 6);
        o->mirostat_eta = random_between(random, 0.01f, 1);
        return;
    }
    SOMETIMES(o->top_n_sigma = random_between(random, 0.1f, 3));
    SOMETIMES(o->xtc_probability = random_between(random, 0.1f, 1);
              o->xtc_threshold = random_between(random, 0.001f, 0.5f));
    SOMETIMES(o->top_k = 1 + random_below(random, 60));
    SOMETIMES(o->top_p = random_between(random, 0.01f, 0.999f));
    SOMETIMES(o->min_p = random_between(random, 0, 1));
    SOMETIMES(o->typical_p = random_between(random, 0.01f, 0.999f));
    if (o->dynamic_range == 0)
        SOMETIMES(o->temperature = 0);
#undef SOMETIMES
}

// Any order of all samplers; those that are off have no effect.
static void shuffle(struct random_state *random, uint32_t *order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t other = random_below(random, i), held = order[i - 1];
        order[i - 1] = order[other];
        order[other] = held;
    }
}

static void equals_plain_samplers_in_any_order(void **state)
{
    (void)state;
    static const struct sampler_string breakers[] = {{"\n", 1}, {":", 1}, {"USER", 4}};
    struct random_state random;
    random_seed(&random, 31);
    uint32_t n_chosen = 0;
    for (int round = 0; round < n_rounds(2500); round++) {
        struct sampler_options o;
        struct plain_chain plain = {.o = &o};
        struct random_state same;
        uint32_t order[N_PLAIN], text[MOST_TEXT], n_text = 0;
        const char *names[N_PLAIN];
        set_random_options(&random, &o);
        set_breakers(&o, breakers, random_below(&random, 4));
        shuffle(&random, order, N_PLAIN);
        for (uint32_t i = 0; i < N_PLAIN; i++)
            names[i] = plain_samplers[round % 3 == 0 ? i : order[i]].name;
        for (uint32_t i = 0; i < N_PLAIN && round % 3 == 0; i++)
            order[i] = i;
        o.samplers = round % 6 == 0 ? NULL : names; // NULL: the same order
        o.n_samplers = N_PLAIN;
        const uint32_t n_vocab = round % 7 == 0 ? 1 + random_below(&random, 4) : 1 + random_below(&random, MOST_TOKENS);
        const uint32_t n_words = n_vocab < 6 ? n_vocab : 1 + random_below(&random, 6); // few: passages repeat
        double mu = 2 * (double)o.mirostat_tau;
        random_seed(&same, o.seed);
        plain.random = &same;
        plain.mu = &mu;
        plain.text = text;
        struct sampler *s = sampler_of(&o, n_vocab);
        for (int step = 0; step < 12; step++) {
            float logits[MOST_TOKENS];
            fill_logits(&random, logits, n_vocab, (uint32_t)round / 3 % N_KINDS);
            for (uint32_t i = 0; i < 20; i++) {
                text[n_text] = random_below(&random, n_words);
                sampler_accept(s, text[n_text++]);
            }
            plain.n_text = n_text;
            const uint32_t expected = plain_choose(&plain, logits, n_vocab, order, N_PLAIN);
            const uint32_t actual = choose(s, logits, n_vocab);
            if (actual != expected)
                fail_msg("round %d, step %d: token %u, not %u", round, step, actual, expected);
            n_chosen += actual != UINT32_MAX;
        }
        sampler_free(s, &account);
    }
    assert_true(n_chosen > 0);
}

// A long text without variety costs O(its length), and equals the short one's penalties.
static void dry_of_a_monotonous_text(void **state)
{
    (void)state;
    const uint32_t n = 200000;
    static const float logits[] = {1e30f, 1};
    struct sampler_options o = plain_options();
    o.temperature = 0;
    o.dry_multiplier = 1;
    o.dry_base = 1.75f;
    o.dry_allowed_length = 2;
    o.dry_last_n = n;
    struct sampler *s = sampler_of(&o, 2);
    for (uint32_t i = 0; i < n; i++)
        sampler_accept(s, 0);
    assert_int_equal(choose(s, logits, 2), 1); // 1.75^200000 is more than any logit
    sampler_free(s, &account);
    o.dry_last_n = 100; // 1.75^97 = 3.8e23
    s = sampler_of(&o, 2);
    for (uint32_t i = 0; i < n; i++)
        sampler_accept(s, 0);
    assert_int_equal(choose(s, logits, 2), 0);
    assert_int_equal(choose(s, (float[]){3.7e23f, 1}, 2), 1);
    assert_int_equal(choose(s, (float[]){1, -INFINITY}, 2), 0); // made less likely, but never forbidden
    sampler_free(s, &account);
}

// ---- By hand -----------------------------------------------------------------------------------------------------------

// Which tokens are drawn at all in many draws: one bit each.
static uint32_t drawn_tokens(const struct sampler_options *o, const float *logits, uint32_t n_vocab)
{
    uint32_t drawn = 0;
    struct sampler *s = sampler_of(o, n_vocab);
    for (int i = 0; i < 400; i++)
        drawn |= UINT32_C(1) << choose(s, logits, n_vocab);
    sampler_free(s, &account);
    return drawn;
}

static void xtc_by_hand(void **state)
{
    (void)state;
    const float logits[] = {logf(0.4f), logf(0.3f), logf(0.2f), logf(0.1f)};
    struct sampler_options o = plain_options();
    o.xtc_probability = 1;
    o.xtc_threshold = 0.15f;
    assert_int_equal(drawn_tokens(&o, logits, 4), 1 << 2 | 1 << 3);
    o.xtc_threshold = 0.25f;
    assert_int_equal(drawn_tokens(&o, logits, 4), 1 << 1 | 1 << 2 | 1 << 3);
    o.xtc_threshold = 0.35f; // one alone is no choice
    assert_int_equal(drawn_tokens(&o, logits, 4), 15);
    o.xtc_threshold = 0.25f; // four of one quarter each: the last stays
    assert_int_equal(drawn_tokens(&o, (float[]){1, 1, 1, 1}, 4), 1 << 3);
    o.xtc_probability = 0.5f;
    assert_int_equal(drawn_tokens(&o, (float[]){1, 1, 1, 1}, 4), 15);
    assert_int_equal(drawn_tokens(&o, (float[]){7}, 1), 1);
}

static void top_n_sigma_by_hand(void **state)
{
    (void)state;
    // Mean 2, standard deviation 1.79.
    static const float logits[] = {4, 4, 0, 0, 2, -INFINITY, NAN};
    struct sampler_options o = plain_options();
    o.top_n_sigma = 1.2f;
    assert_int_equal(drawn_tokens(&o, logits, 7), 1 << 0 | 1 << 1 | 1 << 4);
    o.top_n_sigma = 1;
    assert_int_equal(drawn_tokens(&o, logits, 7), 1 << 0 | 1 << 1);
    o.temperature = 50; // of no effect on which stay
    assert_int_equal(drawn_tokens(&o, logits, 7), 1 << 0 | 1 << 1);
    o.top_n_sigma = 3;
    assert_int_equal(drawn_tokens(&o, logits, 7), 31);
}

static void dry_by_hand(void **state)
{
    (void)state;
    enum { A, B, C, STOP = 3, N = 13 }; // texts: "a", "b", "ab", "\n"
    static const struct sampler_string breaker = {"\n", 1};
    struct sampler_options o = plain_options();
    const uint32_t repeat[] = {A, B, C, A, B}; // goes on as A B C
    const uint32_t broken[] = {A, STOP, C, A, STOP};
    float logits[N] = {0};
    logits[C] = 1;
    o.temperature = 0;
    o.dry_multiplier = 0.75f;
    o.dry_base = 2;
    o.dry_allowed_length = 2;
    o.dry_last_n = 10;
    set_breakers(&o, &breaker, 1);
    for (int is_broken = 0; is_broken < 2; is_broken++) {
        struct sampler *s = sampler_of(&o, N);
        for (int i = 0; i < 5; i++)
            sampler_accept(s, is_broken ? broken[i] : repeat[i]);
        assert_int_equal(choose(s, logits, N), C); // 1 - 0.75 > 0
        logits[C] = 0.5f;
        assert_int_equal(choose(s, logits, N), is_broken ? C : 0);
        logits[C] = 1;
        sampler_free(s, &account);
    }
    o.dry_allowed_length = 1; // 0.75 * 2
    struct sampler *s = sampler_of(&o, N);
    for (int i = 0; i < 5; i++)
        sampler_accept(s, repeat[i]);
    assert_int_equal(choose(s, logits, N), 0);
    sampler_free(s, &account);
}

static void dynamic_temperature_by_hand(void **state)
{
    (void)state;
    // Equal logits have all the entropy there is: temperature 0.5 + 0.5. One that is far above has none: 0.5 - 0.5, greedy.
    struct sampler_options o = plain_options();
    o.temperature = 0.5f;
    o.dynamic_range = 0.5f;
    o.dynamic_exponent = 1;
    assert_int_equal(drawn_tokens(&o, (float[]){2, 2, 2}, 3), 7);
    assert_int_equal(drawn_tokens(&o, (float[]){0, 800, -400}, 3), 1 << 1);
    assert_int_equal(drawn_tokens(&o, (float[]){5, -INFINITY}, 2), 1);
}

static void mirostat_by_hand(void **state)
{
    (void)state;
    // Eight equal tokens are a surprise of 3 bits each. mu begins at 3: none is above, and all stay. Drawing one is 3 bits, twice
    // the target: with eta 1, mu falls to 1.5, and of those that are above that only the first stays.
    static const float logits[8] = {0};
    struct sampler_options o = plain_options();
    o.mirostat_tau = 1.5f;
    o.mirostat_eta = 1;
    uint32_t first = 0;
    for (o.seed = 1; o.seed <= 60; o.seed++) {
        struct sampler *s = sampler_of(&o, 8);
        first |= UINT32_C(1) << choose(s, logits, 8);
        assert_int_equal(choose(s, logits, 8), 0); // 0 bits: mu rises to 3 again
        sampler_free(s, &account);
    }
    assert_int_equal(first, 255);
}

static void order_matters(void **state)
{
    (void)state;
    static const float logits[] = {2, 1.5f, 1, -3};
    struct sampler_options o = plain_options();
    o.temperature = 20; // before top-p nearly flat, after it of no effect on which stay
    o.top_p = 0.7f;
    assert_int_equal(drawn_tokens(&o, logits, 4), 7);
    o.samplers = (const char *const[]){"topP", "temperature"};
    o.n_samplers = 2;
    assert_int_equal(drawn_tokens(&o, logits, 4), 3);
    o.samplers = (const char *const[]){"temperature"};
    o.n_samplers = 1;
    assert_int_equal(drawn_tokens(&o, logits, 4), 15);
    o.n_samplers = 0;
    o.temperature = 0;
    assert_int_equal(drawn_tokens(&o, (float[]){1, 1, 1}, 3), 7); // nothing but the draw
}

// ---- Options -----------------------------------------------------------------------------------------------------------

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
#define REFUSED(what, ...)                          \
    do {                                            \
        struct sampler_options o = plain_options(); \
        __VA_ARGS__;                                \
        refused(&o, what);                          \
    } while (0)
    REFUSED("dynamic_range", o.dynamic_range = -1);
    REFUSED("dynamic_range", o.dynamic_range = NAN);
    REFUSED("dynamic_exponent", o.dynamic_range = 1);
    REFUSED("contradict", o.dynamic_range = 1; o.dynamic_exponent = 1; o.temperature = 0);
    REFUSED("top_n_sigma", o.top_n_sigma = -1);
    REFUSED("top_n_sigma", o.top_n_sigma = INFINITY);
    REFUSED("xtc_probability", o.xtc_probability = 1.1f);
    REFUSED("xtc_probability", o.xtc_probability = NAN);
    REFUSED("xtc_threshold", o.xtc_probability = 1);
    REFUSED("xtc_threshold", o.xtc_probability = 1; o.xtc_threshold = 0.6f);
    REFUSED("dry_multiplier", o.dry_multiplier = -1; o.dry_last_n = 1);
    REFUSED("dry_base", o.dry_multiplier = 1; o.dry_last_n = 1; o.dry_base = 0.5f);
    REFUSED("dry_allowed_length", o.dry_multiplier = 1; o.dry_last_n = 1; o.dry_base = 1);
    REFUSED("dry_last_n", o.dry_multiplier = 1; o.dry_last_n = UINT32_MAX; o.dry_base = 1; o.dry_allowed_length = 1);
    REFUSED("dry_breakers[0]", o.dry_multiplier = 1; o.dry_last_n = 1; o.dry_base = 1; o.dry_allowed_length = 1;
            set_breakers(&o, &(const struct sampler_string){"", 0}, 1));
    REFUSED("mirostat_tau", o.mirostat_tau = -1);
    REFUSED("mirostat_eta", o.mirostat_tau = 1);
#define CONTRADICTS(name, ...) REFUSED(name, o.mirostat_tau = o.mirostat_eta = 1; __VA_ARGS__)
    CONTRADICTS("mirostat_tau and top_k", o.top_k = 1);
    CONTRADICTS("top_p", o.top_p = 0.5f);
    CONTRADICTS("min_p", o.min_p = 0.5f);
    CONTRADICTS("typical_p", o.typical_p = 0.5f);
    CONTRADICTS("top_n_sigma", o.top_n_sigma = 1);
    CONTRADICTS("xtc_probability", o.xtc_probability = 1; o.xtc_threshold = 0.1f);
    CONTRADICTS("temperature of 0", o.temperature = 0);
#undef CONTRADICTS
    REFUSED("no sampler 'topQ'; there are penalties, dry", o.samplers = (const char *const[]){"topQ"};
            o.n_samplers = 1);
    REFUSED("'topP' stands twice", o.samplers = (const char *const[]){"topP", "minP", "topP"}; o.n_samplers = 3);
#undef REFUSED
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    static const struct sampler_string breakers[] = {{"\n", 1}, {"USER", 4}};
    struct sampler_options o = plain_options();
    o.repeat_penalty = 1.5f;
    o.penalty_last_n = 4;
    o.mirostat_tau = o.mirostat_eta = 1;
    o.dry_multiplier = o.dry_base = 1;
    o.dry_allowed_length = 1;
    o.dry_last_n = 5;
    set_breakers(&o, breakers, 2);
    fail_every_allocation(&o, MOST_TOKENS, 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(equals_plain_samplers_in_any_order),
        TEST(dry_of_a_monotonous_text),
        TEST(xtc_by_hand),
        TEST(top_n_sigma_by_hand),
        TEST(dry_by_hand),
        TEST(dynamic_temperature_by_hand),
        TEST(mirostat_by_hand),
        TEST(order_matters),
        TEST(options_out_of_range_are_refused),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
