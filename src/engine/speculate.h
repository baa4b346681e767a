// Speculative decoding (Leviathan, Kalman, Matias 2023; Chen et al. 2023), here without any effect on the text: guesses of the
// next tokens are computed in one step with the last known token, each position's token is chosen from its own logits as
// always, and a guess counts only when it is the very token chosen. What this file decides is how many guesses pay.
//
// They pay when the tokens expected of a step grow more than its time. Both are learned: how often guesses come true, without
// cost, from every token chosen, also while none is computed ahead; and how long steps of so many rows take, by measuring
// those that are run.
#ifndef CHORD_ENGINE_SPECULATE_H
#define CHORD_ENGINE_SPECULATE_H

#include <stdbool.h>
#include <stdint.h>

// Rows of a step that has guesses among them: what one run of the head takes.
#define SPECULATE_MAX_ROWS 16u
#define SPECULATE_MAX_GUESSES (SPECULATE_MAX_ROWS - 1)

// ---- How often guesses come true -----------------------------------------------------------------------------------------

// Guesses from the text's own past are told apart by how long a match they have behind them.
enum guess_class {
    GUESS_MATCH_2,
    GUESS_MATCH_3,
    GUESS_MATCH_5,
    GUESS_MATCH_8,
    GUESS_MATCH_16,
    GUESS_DRAFT, // by a draft model
    N_GUESS_CLASSES
};

// The class of a guess with n_match (>= 2) equal tokens before it.
enum guess_class guess_class_of_match(uint32_t n_match);

// The share of guesses that come true where the one before did.
struct guess_rates {
    float rate[N_GUESS_CLASSES];
};

void guess_rates_init(struct guess_rates *rates);
// A guess of the class was compared with the token chosen.
void guess_rates_learn(struct guess_rates *rates, enum guess_class class, bool came_true);

// ---- What steps cost -------------------------------------------------------------------------------------------------------

// Steps of generated rows only.
struct step_costs {
    double ns[SPECULATE_MAX_ROWS + 1];            // by rows; 0: never measured
    uint32_t n_measured[SPECULATE_MAX_ROWS + 1];  // by rows: steps measured
    uint64_t measured_at[SPECULATE_MAX_ROWS + 1]; // by rows: the last of them, in steps measured of any width
    uint64_t n_steps;
    uint32_t n_since_doubt;   // choices since a measured cost was last doubted
    uint32_t n_since_without; // choices since the last that took no guess
};

// A step of n_rows took `ns`. More rows than SPECULATE_MAX_ROWS are of no interest.
void step_costs_learn(struct step_costs *costs, uint32_t n_rows, uint64_t ns);

// A guess that could be computed ahead.
struct guess_offer {
    float probability; // that it and those before it come true: descending over the offers
    double ns;         // that making it takes
};

// The tokens per time of the best number of offers[n], from the first on, by what is known, relative to a step with n_base rows
// without any; 1 unless that is clearly more.
double speculate_gain(const struct step_costs *costs, uint32_t n_base, const struct guess_offer *offers, uint32_t n);

// How many of offers[n], from the first on, a step with n_base rows of known tokens should have, at most
// SPECULATE_MAX_ROWS - n_base: those that make the most tokens of its time; 0 unless that is clearly more than without.
uint32_t speculate_choose(struct step_costs *costs, uint32_t n_base, const struct guess_offer *offers, uint32_t n);

#endif
