// What finishing a grammar must know of its nodes. Internal to the sampler.
#ifndef CHORD_SAMPLER_GRAMMAR_CHECK_H
#define CHORD_SAMPLER_GRAMMAR_CHECK_H

#include "sampler/grammar_builder.h"

struct grammar_facts {
    uint8_t *may_be_empty; // [nodes]: the node matches the empty text
    uint8_t *may_match;    // [nodes]: it matches any text at all
};

// INVALID_ARGUMENT: a rule that is referred to is not defined, or is left-recursive; nothing is held then. Takes time linear in the grammar's size.
enum chord_status grammar_check(const struct grammar_builder *builder, struct grammar_facts *out,
                                struct chord_error *err);
void grammar_facts_free(const struct grammar_builder *builder, struct grammar_facts *facts);

#endif
