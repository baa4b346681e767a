// Several regular expressions at once, as one deterministic automaton: the texts that are of all of them (and of none of others).
#ifndef CHORD_SAMPLER_AUTOMATON_H
#define CHORD_SAMPLER_AUTOMATON_H

#include "sampler/regex.h"

// One expression that a text must be of, or, `negated`, must not be.
struct automaton_part {
    const struct regex *regex;
    bool negated;
};

struct automaton_edge {
    struct grammar_range range;
    uint32_t to; // a state
};

struct automaton_state {
    const struct automaton_edge *edges; // by ascending ranges, disjoint
    uint32_t n_edges;
    bool accepts;
};

struct automaton {
    const struct automaton_state *const *states; // begins in states[0]
    uint32_t n_states;
    bool is_empty; // no text at all
};

enum automaton_result { AUTOMATON_DONE, AUTOMATON_TOO_LARGE, AUTOMATON_NO_MEMORY };

// An automaton of at most `max_states`, in `arena`; at least one part is not negated. Subset construction; what repetitions count is written out.
enum automaton_result automaton_make(struct arena *arena, const struct automaton_part *parts, uint32_t n_parts,
                                     uint32_t max_states, struct automaton *out);

#endif
