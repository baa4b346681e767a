// What a builder has gathered: shared by grammar.c, which gathers it, and grammar_compile.c, which finishes it. gbnf.c gathers in its lists
// too. Internal to the sampler.
#ifndef CHORD_SAMPLER_GRAMMAR_BUILDER_H
#define CHORD_SAMPLER_GRAMMAR_BUILDER_H

#include "sampler/grammar.h"

enum grammar_node_kind {
    NODE_LITERAL,  // bytes[first..first + n)
    NODE_CLASS,    // ranges[first..first + n), sorted, disjoint, of scalar values
    NODE_SEQUENCE, // children[first..first + n)
    NODE_CHOICE,   // likewise
    NODE_REPEAT,   // children[first], min..max times
    NODE_WITHOUT,  // children[first], without bytes[min..min + max)
    NODE_REFERENCE // to rule `first`
};

struct grammar_node {
    uint8_t kind; // enum grammar_node_kind
    uint16_t depth;
    uint32_t first, n;
    uint32_t min, max;
};

struct grammar_rule {
    uint32_t name; // in `bytes`, terminated
    uint32_t node; // UINT32_MAX: not defined
};

// A growing array: element size is the user's.
struct grammar_list {
    void *items;
    uint32_t n, capacity;
};

struct grammar_builder {
    struct memory_account *account;
    struct chord_error error; // code CHORD_OK: none
    // Children come before the nodes that have them.
    struct grammar_list nodes, children, ranges, bytes, rules;
};

// Makes room for `more` elements of `size` bytes each, at most `most` in all. Otherwise the builder has failed ("what" is too large).
bool grammar_list_reserve(struct grammar_builder *builder, struct grammar_list *list, uint32_t more, uint32_t size,
                          uint32_t most, const char *what);

static inline struct grammar_node *builder_node(const struct grammar_builder *b, uint32_t id)
{
    return (struct grammar_node *)b->nodes.items + id;
}

static inline struct grammar_rule *builder_rule(const struct grammar_builder *b, uint32_t id)
{
    return (struct grammar_rule *)b->rules.items + id;
}

static inline const uint32_t *builder_children(const struct grammar_builder *b, const struct grammar_node *node)
{
    return b->children.n > 0 ? (const uint32_t *)b->children.items + node->first : NULL;
}

static inline const char *builder_rule_name(const struct grammar_builder *b, uint32_t rule)
{
    return (const char *)b->bytes.items + builder_rule(b, rule)->name;
}

#endif
