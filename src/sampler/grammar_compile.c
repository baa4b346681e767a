// From nodes to a program, each node with the step that follows it. Equal steps are one step, so common tails are shared.
#include "sampler/grammar_builder.h"
#include "sampler/grammar_check.h"
#include "sampler/grammar_program.h"

#include "base/hash.h"

#include <string.h>

#define MAX_VISITS (1u << 24) // of nodes: a node of many parents is compiled once for each
#define NOT_COMPILED UINT32_MAX

struct compiler {
    struct grammar_builder *b; // its error is the compiler's
    struct grammar_facts facts;
    struct grammar_list steps, sets, loops, guards; // of the program
    uint32_t *step_slots, *set_slots;               // open addressing: index + 1, 0: empty
    uint32_t n_step_slots, n_set_slots;             // powers of two, or 0
    uint32_t *entries;                              // [rules]: 0: not wanted; NOT_COMPILED: in `wanted`
    uint32_t *wanted;                               // [rules]
    uint32_t n_wanted, n_visits;
};

// ---- Steps and sets --------------------------------------------------------------------------------------------------

// Finds an element equal to *item in the list, or adds it: its index. 0 when the builder has failed.
static uint32_t intern(struct compiler *c, struct grammar_list *list, uint32_t **slots, uint32_t *n_slots,
                       const void *item, uint32_t size, const char *what)
{
    struct grammar_builder *b = c->b;
    if (!grammar_list_reserve(b, list, 1, size, GRAMMAR_MAX_STEPS, what))
        return 0;
    if ((list->n + 1) * 2 > *n_slots) {
        const uint32_t n = *n_slots == 0 ? 256 : *n_slots * 2;
        uint32_t *grown = memory_zalloc(b->account, MEMORY_SCRATCH, n, sizeof *grown);
        if (grown == NULL) {
            memory_account_fail(b->account, &b->error, n * sizeof *grown, "a grammar");
            return 0;
        }
        for (uint32_t i = 0; i < *n_slots; i++) {
            if ((*slots)[i] == 0)
                continue;
            const char *old = (const char *)list->items + (uint64_t)((*slots)[i] - 1) * size;
            uint32_t at = (uint32_t)hash_bytes(old, size, 0) & (n - 1);
            while (grown[at] != 0)
                at = (at + 1) & (n - 1);
            grown[at] = (*slots)[i];
        }
        memory_free(b->account, *slots);
        *slots = grown;
        *n_slots = n;
    }
    uint32_t at = (uint32_t)hash_bytes(item, size, 0) & (*n_slots - 1);
    for (; (*slots)[at] != 0; at = (at + 1) & (*n_slots - 1))
        if (memcmp((const char *)list->items + (uint64_t)((*slots)[at] - 1) * size, item, size) == 0)
            return (*slots)[at] - 1;
    memcpy((char *)list->items + (uint64_t)list->n * size, item, size);
    (*slots)[at] = ++list->n;
    return list->n - 1;
}

static uint32_t step(struct compiler *c, enum grammar_op op, uint32_t a, uint32_t b)
{
    const struct grammar_step s = {op, a, b};
    return intern(c, &c->steps, &c->step_slots, &c->n_step_slots, &s, sizeof s, "steps");
}

static struct grammar_step *step_at(struct compiler *c, uint32_t at)
{
    return (struct grammar_step *)c->steps.items + at;
}

// A step that is filled in later, equal to no other.
static uint32_t open_step(struct compiler *c)
{
    if (!grammar_list_reserve(c->b, &c->steps, 1, sizeof(struct grammar_step), GRAMMAR_MAX_STEPS, "steps"))
        return 0;
    *step_at(c, c->steps.n) = (struct grammar_step){GRAMMAR_FAIL, UINT32_MAX, UINT32_MAX};
    return c->steps.n++;
}

static uint32_t set_index(struct compiler *c, const struct grammar_set *set)
{
    return intern(c, &c->sets, &c->set_slots, &c->n_set_slots, set, sizeof *set, "sets of bytes");
}

static uint32_t read(struct compiler *c, const struct grammar_set *set, uint32_t next)
{
    return step(c, GRAMMAR_READ, set_index(c, set), next);
}

static uint32_t split(struct compiler *c, uint32_t a, uint32_t b)
{
    if (a == GRAMMAR_STEP_FAIL || a == b)
        return b;
    return b == GRAMMAR_STEP_FAIL ? a : step(c, GRAMMAR_SPLIT, a, b);
}

// ---- Literals and classes --------------------------------------------------------------------------------------------

static struct grammar_set set_of(unsigned char byte)
{
    struct grammar_set set = {{0}};
    set.bits[byte >> 6] = 1ull << (byte & 63);
    return set;
}

static uint32_t compile_literal(struct compiler *c, const struct grammar_node *node, uint32_t next)
{
    for (uint32_t i = node->n; i-- > 0;) {
        const struct grammar_set set = set_of(((const unsigned char *)c->b->bytes.items)[node->first + i]);
        next = read(c, &set, next);
    }
    return next;
}

// Each byte to its target: one step for all bytes of one target. FAIL: the byte leads nowhere.
static uint32_t read_each(struct compiler *c, uint32_t targets[256])
{
    uint32_t result = GRAMMAR_STEP_FAIL;
    for (uint32_t byte = 0; byte < 256; byte++) {
        const uint32_t target = targets[byte];
        struct grammar_set set = {{0}};
        if (target == GRAMMAR_STEP_FAIL)
            continue;
        for (uint32_t i = byte; i < 256; i++)
            if (targets[i] == target) {
                set.bits[i >> 6] |= 1ull << (i & 63);
                targets[i] = GRAMMAR_STEP_FAIL;
            }
        result = split(c, read(c, &set, target), result);
    }
    return result;
}

struct class
{
    const struct grammar_range *ranges; // [n]
    uint32_t n;
    uint32_t whole[4]; // what reads i continuation bytes, any, before what follows the character; 0: not made
};

enum overlap { OVERLAP_NONE, OVERLAP_PART, OVERLAP_ALL };

// Of the class with the code points first..last.
static enum overlap class_overlap(const struct class *class, uint32_t first, uint32_t last)
{
    uint32_t low = 0, high = class->n; // the first range that does not end before `first`
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (class->ranges[middle].last < first)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == class->n || class->ranges[low].first > last)
        return OVERLAP_NONE;
    return class->ranges[low].first <= first && class->ranges[low].last >= last ? OVERLAP_ALL : OVERLAP_PART;
}

static uint32_t continue_whole(struct compiler *c, struct class *class, uint32_t n_more)
{
    static const struct grammar_set continuation = {{0, 0, UINT64_MAX, 0}}; // 0x80..0xbf
    for (uint32_t i = 1; i <= n_more; i++)
        if (class->whole[i] == 0)
            class->whole[i] = read(c, &continuation, class->whole[i - 1]);
    return class->whole[n_more];
}

// The code points from `first` on that `n_more` continuation bytes can tell apart; those below `least` have shorter encodings.
static uint32_t compile_block(struct compiler *c, struct class *class, uint32_t first, uint32_t n_more, uint32_t least)
{
    const uint32_t last = first + (1u << 6 * n_more) - 1;
    if (last < least)
        return GRAMMAR_STEP_FAIL;
    const enum overlap overlap = class_overlap(class, first < least ? least : first, last);
    if (overlap == OVERLAP_NONE)
        return GRAMMAR_STEP_FAIL;
    if (n_more == 0 || (overlap == OVERLAP_ALL && first >= least))
        return continue_whole(c, class, n_more);
    uint32_t targets[256] = {0};
    for (uint32_t i = 0; i < 64; i++)
        targets[0x80 + i] = compile_block(c, class, first + (i << 6 * (n_more - 1)), n_more - 1, least);
    return read_each(c, targets);
}

static uint32_t compile_class(struct compiler *c, const struct grammar_node *node, uint32_t next)
{
    struct class class = {(const struct grammar_range *)c->b->ranges.items + node->first, node->n, {next}};
    uint32_t targets[256] = {0};
    for (uint32_t byte = 0; byte < 0x80; byte++)
        targets[byte] = compile_block(c, &class, byte, 0, 0);
    for (uint32_t byte = 0xc2; byte < 0xe0; byte++)
        targets[byte] = compile_block(c, &class, (byte & 0x1f) << 6, 1, 0x80);
    for (uint32_t byte = 0xe0; byte < 0xf0; byte++)
        targets[byte] = compile_block(c, &class, (byte & 0x0f) << 12, 2, 0x800);
    for (uint32_t byte = 0xf0; byte < 0xf5; byte++)
        targets[byte] = compile_block(c, &class, (byte & 0x07) << 18, 3, 0x10000);
    return read_each(c, targets);
}

// ---- Nodes -----------------------------------------------------------------------------------------------------------

static uint32_t compile(struct compiler *c, uint32_t id, uint32_t next);

static uint32_t compile_star(struct compiler *c, uint32_t child, uint32_t next, bool at_least_once)
{
    const uint32_t again = open_step(c);
    const uint32_t body = compile(c, child, again);
    if (grammar_builder_failed(c->b))
        return 0;
    *step_at(c, again) = (struct grammar_step){GRAMMAR_SPLIT, body, next};
    return at_least_once ? body : again;
}

static uint32_t compile_counted(struct compiler *c, const struct grammar_node *node, uint32_t child, uint32_t next)
{
    struct grammar_builder *b = c->b;
    const uint32_t id = c->loops.n;
    const bool may_be_empty = c->facts.may_be_empty[child];
    if (!grammar_list_reserve(b, &c->loops, 1, sizeof(struct grammar_loop), GRAMMAR_MAX_STEPS, "repetitions"))
        return 0;
    ((struct grammar_loop *)c->loops.items)[id] = (struct grammar_loop){
        .min = may_be_empty ? 0 : node->min, .max = node->max, .exit = next, .may_be_empty = may_be_empty};
    c->loops.n++;
    const uint32_t body = compile(c, child, step(c, GRAMMAR_LOOP_END, id, 0));
    ((struct grammar_loop *)c->loops.items)[id].body = body;
    return step(c, GRAMMAR_LOOP, id, 0);
}

static uint32_t compile_repeat(struct compiler *c, const struct grammar_node *node, uint32_t next)
{
    const uint32_t child = builder_children(c->b, node)[0];
    if (node->max == 0 || !c->facts.may_match[child])
        return next; // a body that matches nothing has min 0 here
    if (node->max == 1)
        return node->min == 1 ? compile(c, child, next) : split(c, compile(c, child, next), next);
    if (node->max == GRAMMAR_UNBOUNDED && (node->min <= 1 || c->facts.may_be_empty[child]))
        return compile_star(c, child, next, node->min == 1);
    return compile_counted(c, node, child, next);
}

static uint32_t compile_without(struct compiler *c, const struct grammar_node *node, uint32_t next)
{
    const uint32_t id = c->guards.n;
    struct grammar_guard guard = {.exit = next, .n = node->max};
    if (!grammar_list_reserve(c->b, &c->guards, 1, sizeof guard, GRAMMAR_MAX_STEPS, "forbidden texts"))
        return 0;
    memcpy(guard.bytes, (const char *)c->b->bytes.items + node->min, guard.n);
    for (uint32_t i = 0; i < guard.n; i++) { // so that each is alone in its class of bytes
        const struct grammar_set set = set_of(guard.bytes[i]);
        set_index(c, &set);
    }
    for (uint32_t i = 1; i + 1 < guard.n; i++)
        guard.shorter[i + 1] = (uint8_t)grammar_guard_next(&guard, guard.shorter[i], guard.bytes[i]);
    ((struct grammar_guard *)c->guards.items)[id] = guard;
    c->guards.n++;
    const uint32_t body = compile(c, builder_children(c->b, node)[0], step(c, GRAMMAR_GUARD_END, id, 0));
    ((struct grammar_guard *)c->guards.items)[id].body = body;
    return step(c, GRAMMAR_GUARD, id, 0);
}

static uint32_t compile_reference(struct compiler *c, uint32_t rule, uint32_t next)
{
    if (c->entries[rule] == 0) {
        c->entries[rule] = NOT_COMPILED;
        c->wanted[c->n_wanted++] = rule;
    }
    return step(c, GRAMMAR_CALL, rule, next);
}

// The first step of what matches the node and goes on at `next`. Recursion is as deep as nodes are, GRAMMAR_MAX_DEPTH.
static uint32_t compile(struct compiler *c, uint32_t id, uint32_t next)
{
    const struct grammar_node *node = builder_node(c->b, id);
    const uint32_t *children = builder_children(c->b, node);
    uint32_t result = GRAMMAR_STEP_FAIL;
    if (++c->n_visits > MAX_VISITS)
        grammar_builder_fail(c->b, "the grammar is too large: its nodes are used more than %u times", MAX_VISITS);
    if (grammar_builder_failed(c->b) || !c->facts.may_match[id] || next == GRAMMAR_STEP_FAIL)
        return GRAMMAR_STEP_FAIL;
    switch ((enum grammar_node_kind)node->kind) {
    case NODE_LITERAL:
        return compile_literal(c, node, next);
    case NODE_CLASS:
        return compile_class(c, node, next);
    case NODE_SEQUENCE:
        for (uint32_t i = node->n; i-- > 0;)
            next = compile(c, children[i], next);
        return next;
    case NODE_CHOICE:
        for (uint32_t i = node->n; i-- > 0;)
            result = split(c, compile(c, children[i], next), result);
        return result;
    case NODE_REPEAT:
        return compile_repeat(c, node, next);
    case NODE_WITHOUT:
        return compile_without(c, node, next);
    case NODE_REFERENCE:
        return compile_reference(c, node->first, next);
    }
    return result;
}

// ---- All -------------------------------------------------------------------------------------------------------------

// Splits the classes of bytes by each set, so that at the end no set tells two bytes of a class apart.
static void classify_bytes(struct grammar *g)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < g->n_sets && n < 256; i++) {
        int32_t moved[256]; // where the bytes of a class go that are in the set; -1: not decided
        bool stays[256] = {false};
        for (uint32_t byte = 0; byte < 256; byte++)
            stays[g->class_of_byte[byte]] |= !grammar_set_has(&g->sets[i], (unsigned char)byte);
        memset(moved, -1, sizeof moved);
        for (uint32_t byte = 0; byte < 256; byte++) {
            const uint8_t class = g->class_of_byte[byte];
            if (!stays[class] || !grammar_set_has(&g->sets[i], (unsigned char)byte))
                continue;
            if (moved[class] < 0)
                moved[class] = (int32_t)n++;
            g->class_of_byte[byte] = (uint8_t)moved[class];
        }
    }
    for (uint32_t byte = 256; byte-- > 0;)
        g->byte_of_class[g->class_of_byte[byte]] = (uint8_t)byte;
    g->n_classes = n;
}

static void *give_items(struct grammar_list *list)
{
    void *items = list->items;
    list->items = NULL;
    return items;
}

static enum chord_status finish(struct compiler *c, uint32_t root, struct grammar **out, struct chord_error *err)
{
    struct grammar_builder *b = c->b;
    step(c, GRAMMAR_FAIL, 0, 0);
    step(c, GRAMMAR_END, 0, 0);
    step(c, GRAMMAR_RETURN, 0, 0);
    const uint32_t start = compile(c, root, GRAMMAR_STEP_END);
    for (uint32_t i = 0; i < c->n_wanted && !grammar_builder_failed(b); i++)
        c->entries[c->wanted[i]] = compile(c, builder_rule(b, c->wanted[i])->node, GRAMMAR_STEP_RETURN);
    if (grammar_builder_failed(b)) {
        if (err != NULL)
            *err = b->error;
        return b->error.code;
    }
    struct grammar *g = memory_zalloc(b->account, MEMORY_SCRATCH, 1, sizeof *g);
    if (g == NULL)
        return memory_account_fail(b->account, err, sizeof *g, "a grammar");
    *g = (struct grammar){
        .account = b->account,
        .n_steps = c->steps.n,
        .n_rules = b->rules.n,
        .n_sets = c->sets.n,
        .n_loops = c->loops.n,
        .n_guards = c->guards.n,
        .steps = give_items(&c->steps),
        .sets = give_items(&c->sets),
        .loops = give_items(&c->loops),
        .guards = give_items(&c->guards),
        .entries = c->entries,
        .start = start,
    };
    c->entries = NULL;
    classify_bytes(g);
    *out = g;
    return CHORD_OK;
}

enum chord_status grammar_finish(struct grammar_builder *builder, uint32_t root, struct grammar **out,
                                 struct chord_error *err)
{
    struct grammar_builder *b = builder;
    struct compiler c = {.b = b};
    *out = NULL;
    if (!grammar_builder_failed(b) && root >= b->nodes.n)
        grammar_builder_fail(b, "node %u is not of this grammar", root);
    if (grammar_builder_failed(b)) {
        if (err != NULL)
            *err = b->error;
        return b->error.code;
    }
    enum chord_status status = grammar_check(b, &c.facts, err);
    if (status != CHORD_OK)
        return status;
    c.entries = memory_zalloc(b->account, MEMORY_SCRATCH, b->rules.n, sizeof *c.entries);
    c.wanted = memory_zalloc(b->account, MEMORY_SCRATCH, b->rules.n, sizeof *c.wanted);
    if (c.entries == NULL || c.wanted == NULL)
        status = memory_account_fail(b->account, err, b->rules.n * 2 * sizeof *c.entries, "a grammar");
    else if (!c.facts.may_match[root])
        status = chord_fail(err, CHORD_INVALID_ARGUMENT,
                            "no text matches the grammar: all its ways are endless or lead to an empty choice");
    else
        status = finish(&c, root, out, err);
    grammar_facts_free(b, &c.facts);
    memory_free(b->account, c.entries);
    memory_free(b->account, c.wanted);
    memory_free(b->account, c.step_slots);
    memory_free(b->account, c.set_slots);
    memory_free(b->account, c.steps.items);
    memory_free(b->account, c.sets.items);
    memory_free(b->account, c.loops.items);
    memory_free(b->account, c.guards.items);
    return status;
}
