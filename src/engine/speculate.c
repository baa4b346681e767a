#include "engine/speculate.h"

// Before anything is known: few short matches are believed, long ones are.
static const float first_rates[N_GUESS_CLASSES] = {0.3f, 0.4f, 0.5f, 0.65f, 0.8f, 0.6f};

#define LEARNING_RATE 0.08f
// The gain of tokens per time below which guesses stay out: measured times are that uncertain.
#define LEAST_GAIN 1.04
// What a row more costs before it has been measured, as a share of the step without guesses.
#define FIRST_GUESS_OF_COST 0.04
// Choices between two that doubt what was measured: a step that was slow by accident must not be held against its width for
// ever, and a step that does not pay costs about one in so many.
#define DOUBT_AFTER 192
// The same for costs that were only inferred; there are few of them.
#define EXPLORE_AFTER 24
// Choices in a row that take guesses before one goes without: what all are compared with must not grow old.
#define WITHOUT_AFTER 128
// Steps without guesses that are measured first: the very first ones bring weights into memory.
#define LEAST_MEASURED 4

enum guess_class guess_class_of_match(uint32_t n_match)
{
    if (n_match < 3)
        return GUESS_MATCH_2;
    if (n_match < 5)
        return GUESS_MATCH_3;
    if (n_match < 8)
        return GUESS_MATCH_5;
    return n_match < 16 ? GUESS_MATCH_8 : GUESS_MATCH_16;
}

void guess_rates_init(struct guess_rates *rates)
{
    for (int i = 0; i < N_GUESS_CLASSES; i++)
        rates->rate[i] = first_rates[i];
}

void guess_rates_learn(struct guess_rates *rates, enum guess_class class, bool came_true)
{
    rates->rate[class] += ((came_true ? 1.0f : 0.0f) - rates->rate[class]) * LEARNING_RATE;
}

void step_costs_learn(struct step_costs *costs, uint32_t n_rows, uint64_t ns)
{
    if (n_rows > SPECULATE_MAX_ROWS || ns == 0)
        return;
    double *cost = &costs->ns[n_rows];
    costs->n_measured[n_rows]++;
    costs->measured_at[n_rows] = ++costs->n_steps;
    const double now = (double)ns;
    if (*cost == 0)
        *cost = now;
    else if (now < *cost) // what disturbs a step makes it longer: shorter ones are nearer to the truth
        *cost += (now - *cost) * 0.5;
    else
        *cost += ((now < 2 * *cost ? now : 2 * *cost) - *cost) * 0.1;
}

static double first_guess_of_cost(const struct step_costs *costs, uint32_t n_base, uint32_t n_rows)
{
    return costs->ns[n_base] * (1 + FIRST_GUESS_OF_COST * (n_rows - n_base));
}

// From what was measured: between two widths on the line, beyond the widest with the slope of the first guess.
static double cost_of(const struct step_costs *costs, uint32_t n_base, uint32_t n_rows)
{
    uint32_t low = n_rows, high = n_rows;
    while (low > n_base && costs->ns[low] == 0)
        low--;
    if (low == n_rows)
        return costs->ns[n_rows];
    while (high <= SPECULATE_MAX_ROWS && costs->ns[high] == 0)
        high++;
    if (high > SPECULATE_MAX_ROWS)
        return costs->ns[low] + costs->ns[n_base] * FIRST_GUESS_OF_COST * (n_rows - low);
    return costs->ns[low] + (costs->ns[high] - costs->ns[low]) * (n_rows - low) / (high - low);
}

// Never measured, or long ago.
static bool is_doubtful(const struct step_costs *costs, uint32_t n_rows)
{
    return costs->n_measured[n_rows] == 0 ||
           (costs->n_since_doubt >= DOUBT_AFTER && costs->n_steps - costs->measured_at[n_rows] > DOUBT_AFTER * 8);
}

// What a cost may be where the step that was measured was disturbed: no less than half, so that a doubt is cheap.
static double doubted(double cost, double first_guess)
{
    if (first_guess > cost)
        return cost;
    return first_guess > cost / 2 ? first_guess : cost / 2;
}

// *out_gain: that of the width, 1 where it is 0.
static uint32_t best_width(const struct step_costs *costs, uint32_t n_base, const struct guess_offer *offers,
                           uint32_t n, bool doubting, double *out_gain)
{
    const double without = n_base / costs->ns[n_base];
    double tokens = n_base, guessing_ns = 0, best_gain = LEAST_GAIN;
    uint32_t best = 0;
    for (uint32_t k = 1; k <= n; k++) {
        tokens += (double)offers[k - 1].probability;
        guessing_ns += offers[k - 1].ns;
        double cost = cost_of(costs, n_base, n_base + k);
        if (doubting && is_doubtful(costs, n_base + k))
            cost = doubted(cost, first_guess_of_cost(costs, n_base, n_base + k));
        const double gain = tokens / (cost + guessing_ns) / without;
        if (gain > best_gain) {
            best_gain = gain;
            best = k;
        }
    }
    *out_gain = best > 0 ? best_gain : 1;
    return best;
}

double speculate_gain(const struct step_costs *costs, uint32_t n_base, const struct guess_offer *offers, uint32_t n)
{
    double gain = 1;
    if (n_base < SPECULATE_MAX_ROWS && costs->n_measured[n_base] >= LEAST_MEASURED)
        best_width(costs, n_base, offers, n < SPECULATE_MAX_ROWS - n_base ? n : SPECULATE_MAX_ROWS - n_base, false,
                   &gain);
    return gain;
}

uint32_t speculate_choose(struct step_costs *costs, uint32_t n_base, const struct guess_offer *offers, uint32_t n)
{
    if (n_base >= SPECULATE_MAX_ROWS || costs->n_measured[n_base] < LEAST_MEASURED)
        return 0;
    const uint32_t room = SPECULATE_MAX_ROWS - n_base;
    n = n < room ? n : room;
    double gain;
    uint32_t best = best_width(costs, n_base, offers, n, false, &gain);
    if (++costs->n_since_doubt >= EXPLORE_AFTER) {
        const uint32_t hopeful = best_width(costs, n_base, offers, n, true, &gain);
        if (hopeful != best)
            costs->n_since_doubt = 0;
        best = hopeful;
    }
    if (best == 0 || costs->n_since_without++ >= WITHOUT_AFTER) {
        costs->n_since_without = 0;
        return 0;
    }
    return best;
}
