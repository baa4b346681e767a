// Regular expressions as JSON Schema has them: those of ECMAScript with the flag u, without look-around, back-references, word
// boundaries and properties of characters (\p). Here an expression is the language of the whole strings in which it is found: `abc` is any text,
// abc, any text; where there are anchors there is no other text. Lazy quantifiers and groups mean what greedy ones and (?:) do.
#ifndef CHORD_SAMPLER_REGEX_H
#define CHORD_SAMPLER_REGEX_H

#include "base/arena.h"
#include "base/json.h"
#include "sampler/grammar.h"

enum regex_kind {
    REGEX_CLASS,    // one character of `ranges`
    REGEX_SEQUENCE, // none: the empty text
    REGEX_CHOICE,   // none: no text at all
    REGEX_REPEAT,   // children[0], min..max times; max GRAMMAR_UNBOUNDED
    REGEX_BEGIN,    // anchors; regex_parse gives none of them
    REGEX_END,
};

struct regex {
    enum regex_kind kind;
    uint32_t n;                         // ranges or children
    const struct grammar_range *ranges; // sorted, disjoint, no two that touch
    const struct regex *const *children;
    uint32_t min, max;
    bool has_anchor, may_be_empty;
    // Characters of the shortest and the longest text, the latter GRAMMAR_UNBOUNDED if there is no end; saturated. Of no text at all: 1, 0.
    uint32_t shortest, longest;
};

// What is made lies in `arena`. NULL with *problem (static) naming what is wrong or not supported; NULL without: there is no memory.
const struct regex *regex_parse(struct arena *arena, struct json_string pattern, const char **problem);

// Makers; NULL when there is no memory or an argument is NULL. Ranges in any order, children copied.
const struct regex *regex_class(struct arena *arena, const struct grammar_range *ranges, uint32_t n, bool negated);
const struct regex *regex_sequence(struct arena *arena, const struct regex *const *children, uint32_t n);
const struct regex *regex_choice(struct arena *arena, const struct regex *const *children, uint32_t n);
const struct regex *regex_repeat(struct arena *arena, const struct regex *child, uint32_t min, uint32_t max);
const struct regex *regex_text(struct arena *arena, struct json_string text); // that text alone

// `regex` with no other texts than those of min..max characters, where this can be said by other counts of one repetition; else NULL.
const struct regex *regex_with_length(struct arena *arena, const struct regex *regex, uint32_t min, uint32_t max);

#endif
