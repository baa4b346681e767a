#include "sampler/grammar.h"

#include "sampler/grammar_builder.h"
#include "sampler/grammar_program.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_NAME_BYTES 256u
#define LAST_CODE_POINT 0x10ffffu
#define FIRST_SURROGATE 0xd800u
#define LAST_SURROGATE 0xdfffu

enum chord_status grammar_builder_create(struct grammar_builder **out, struct memory_account *account,
                                         struct chord_error *err)
{
    struct grammar_builder *b = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *b);
    *out = b;
    if (b == NULL)
        return memory_account_fail(account, err, sizeof *b, "a grammar");
    b->account = account;
    return CHORD_OK;
}

void grammar_builder_free(struct grammar_builder *builder)
{
    if (builder == NULL)
        return;
    memory_free(builder->account, builder->nodes.items);
    memory_free(builder->account, builder->children.items);
    memory_free(builder->account, builder->ranges.items);
    memory_free(builder->account, builder->bytes.items);
    memory_free(builder->account, builder->rules.items);
    memory_free(builder->account, builder);
}

void grammar_free(struct grammar *grammar)
{
    if (grammar == NULL)
        return;
    memory_free(grammar->account, grammar->steps);
    memory_free(grammar->account, grammar->entries);
    memory_free(grammar->account, grammar->sets);
    memory_free(grammar->account, grammar->loops);
    memory_free(grammar->account, grammar->guards);
    memory_free(grammar->account, grammar);
}

void grammar_builder_fail(struct grammar_builder *builder, const char *format, ...)
{
    char text[CHORD_ERROR_MESSAGE_BYTES];
    va_list arguments;
    if (grammar_builder_failed(builder))
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    chord_fail(&builder->error, CHORD_INVALID_ARGUMENT, "%s", text);
}

void grammar_builder_fail_with(struct grammar_builder *builder, const struct chord_error *error)
{
    if (!grammar_builder_failed(builder))
        builder->error = *error;
}

bool grammar_builder_failed(const struct grammar_builder *builder)
{
    return builder->error.code != CHORD_OK;
}

bool grammar_list_reserve(struct grammar_builder *builder, struct grammar_list *list, uint32_t more, uint32_t size,
                          uint32_t most, const char *what)
{
    const uint64_t wanted = (uint64_t)list->n + more;
    uint64_t capacity = list->capacity == 0 ? 64 : list->capacity;
    if (grammar_builder_failed(builder))
        return false;
    if (wanted > most) {
        grammar_builder_fail(builder, "the grammar is too large: more than %u %s", most, what);
        return false;
    }
    while (capacity < wanted)
        capacity *= 2;
    if (capacity == list->capacity)
        return true;
    void *items = memory_resize(builder->account, MEMORY_SCRATCH, list->items, capacity * size);
    if (items == NULL) {
        memory_account_fail(builder->account, &builder->error, capacity * size, "a grammar");
        return false;
    }
    list->items = items;
    list->capacity = (uint32_t)capacity;
    return true;
}

// ---- Nodes -----------------------------------------------------------------------------------------------------------

static uint32_t add_node(struct grammar_builder *b, struct grammar_node node)
{
    if (node.depth > GRAMMAR_MAX_DEPTH)
        grammar_builder_fail(b, "the grammar is nested more than %u deep", GRAMMAR_MAX_DEPTH);
    if (!grammar_list_reserve(b, &b->nodes, 1, sizeof node, GRAMMAR_MAX_NODES, "nodes"))
        return 0;
    *builder_node(b, b->nodes.n) = node;
    return b->nodes.n++;
}

uint32_t grammar_literal(struct grammar_builder *builder, const void *bytes, uint64_t n_bytes)
{
    struct grammar_builder *b = builder;
    const uint32_t n = n_bytes < GRAMMAR_MAX_BYTES ? (uint32_t)n_bytes : GRAMMAR_MAX_BYTES + 1;
    const struct grammar_node node = {.kind = NODE_LITERAL, .depth = 1, .first = b->bytes.n, .n = n};
    if (!grammar_list_reserve(b, &b->bytes, n, 1, GRAMMAR_MAX_BYTES, "bytes of literals"))
        return 0;
    if (n > 0)
        memcpy((char *)b->bytes.items + b->bytes.n, bytes, n);
    b->bytes.n += n;
    return add_node(b, node);
}

static bool add_range(struct grammar_builder *b, uint32_t first, uint32_t last)
{
    struct grammar_range *ranges;
    if (first > last)
        return true;
    if (!grammar_list_reserve(b, &b->ranges, 1, sizeof *ranges, GRAMMAR_MAX_NODES, "ranges of characters"))
        return false;
    ranges = b->ranges.items;
    ranges[b->ranges.n++] = (struct grammar_range){first, last};
    return true;
}

// The range but for surrogates, which have no encoding.
static bool add_scalars(struct grammar_builder *b, uint32_t first, uint32_t last)
{
    const uint32_t below = last < FIRST_SURROGATE ? last : FIRST_SURROGATE - 1;
    const uint32_t above = first > LAST_SURROGATE ? first : LAST_SURROGATE + 1;
    return add_range(b, first, below) && add_range(b, above, last);
}

// By their first code point. Heap sort, as there may be many and from anybody.
static void sift_down(struct grammar_range *ranges, uint32_t at, uint32_t n)
{
    const struct grammar_range moved = ranges[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < n && ranges[child + 1].first > ranges[child].first)
            child++;
        if (child >= n || ranges[child].first <= moved.first)
            break;
        ranges[at] = ranges[child];
        at = child;
    }
    ranges[at] = moved;
}

static void sort_ranges(struct grammar_range *ranges, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;)
        sift_down(ranges, i, n);
    for (uint32_t end = n; end > 1;) {
        const struct grammar_range largest = ranges[0];
        ranges[0] = ranges[--end];
        ranges[end] = largest;
        sift_down(ranges, 0, end);
    }
}

void grammar_spell_token(uint32_t token, unsigned char out[GRAMMAR_TOKEN_BYTES])
{
    out[0] = 0xff;
    for (uint32_t i = 0; i < 4; i++)
        out[1 + i] = (unsigned char)(token >> (24 - 8 * i));
}

uint32_t grammar_token(struct grammar_builder *builder, uint32_t token)
{
    unsigned char spelling[GRAMMAR_TOKEN_BYTES];
    grammar_spell_token(token, spelling);
    return grammar_literal(builder, spelling, sizeof spelling);
}

uint32_t grammar_class(struct grammar_builder *builder, const struct grammar_range *ranges, uint32_t n_ranges,
                       bool negated)
{
    struct grammar_builder *b = builder;
    struct grammar_range *sorted = NULL;
    if (grammar_builder_failed(b))
        return 0;
    for (uint32_t i = 0; i < n_ranges; i++)
        if (ranges[i].first > ranges[i].last || ranges[i].last > LAST_CODE_POINT) {
            grammar_builder_fail(b, "a range of characters must ascend and end by U+10FFFF, not U+%X-U+%X",
                                 ranges[i].first, ranges[i].last);
            return 0;
        }
    if (n_ranges > 0) {
        sorted = memory_alloc(b->account, MEMORY_SCRATCH, n_ranges * sizeof *sorted, 16);
        if (sorted == NULL) {
            memory_account_fail(b->account, &b->error, n_ranges * sizeof *sorted, "a grammar");
            return 0;
        }
        memcpy(sorted, ranges, n_ranges * sizeof *sorted);
        sort_ranges(sorted, n_ranges);
    }
    struct grammar_node node = {.kind = NODE_CLASS, .depth = 1, .first = b->ranges.n};
    bool added = true;
    uint32_t next = 0; // the first code point that no range so far has reached
    for (uint32_t i = 0; added && i < n_ranges;) {
        const uint32_t first = sorted[i].first;
        uint32_t last = sorted[i].last;
        for (i++; i < n_ranges && sorted[i].first <= last + 1; i++)
            last = sorted[i].last > last ? sorted[i].last : last;
        if (!negated)
            added = add_scalars(b, first, last);
        else if (first > next)
            added = add_scalars(b, next, first - 1);
        next = last + 1;
    }
    if (added && negated && next <= LAST_CODE_POINT)
        added = add_scalars(b, next, LAST_CODE_POINT);
    memory_free(b->account, sorted);
    node.n = b->ranges.n - node.first;
    return added ? add_node(b, node) : 0;
}

static uint32_t add_parent(struct grammar_builder *b, struct grammar_node node, const uint32_t *nodes, uint32_t n_nodes)
{
    node.first = b->children.n;
    node.n = n_nodes;
    node.depth = 1;
    if (!grammar_list_reserve(b, &b->children, n_nodes, sizeof *nodes, GRAMMAR_MAX_NODES, "parts"))
        return 0;
    for (uint32_t i = 0; i < n_nodes; i++) {
        if (nodes[i] >= b->nodes.n) {
            grammar_builder_fail(b, "node %u is not of this grammar", nodes[i]);
            return 0;
        }
        const uint16_t depth = builder_node(b, nodes[i])->depth + 1;
        node.depth = depth > node.depth ? depth : node.depth;
        ((uint32_t *)b->children.items)[b->children.n++] = nodes[i];
    }
    return add_node(b, node);
}

uint32_t grammar_sequence(struct grammar_builder *builder, const uint32_t *nodes, uint32_t n_nodes)
{
    return add_parent(builder, (struct grammar_node){.kind = NODE_SEQUENCE}, nodes, n_nodes);
}

uint32_t grammar_choice(struct grammar_builder *builder, const uint32_t *nodes, uint32_t n_nodes)
{
    return add_parent(builder, (struct grammar_node){.kind = NODE_CHOICE}, nodes, n_nodes);
}

uint32_t grammar_repeat(struct grammar_builder *builder, uint32_t node, uint32_t min, uint32_t max)
{
    if (min > max)
        grammar_builder_fail(builder, "a repetition cannot be at least %u and at most %u times", min, max);
    if (min == GRAMMAR_UNBOUNDED)
        grammar_builder_fail(builder, "a repetition cannot be at least %u times", min);
    return add_parent(builder, (struct grammar_node){.kind = NODE_REPEAT, .min = min, .max = max}, &node, 1);
}

uint32_t grammar_without(struct grammar_builder *builder, uint32_t node, const void *bytes, uint64_t n_bytes)
{
    struct grammar_builder *b = builder;
    const struct grammar_node without = {.kind = NODE_WITHOUT, .min = b->bytes.n, .max = (uint32_t)n_bytes};
    if (n_bytes == 0 || n_bytes > GRAMMAR_MAX_FORBIDDEN) {
        grammar_builder_fail(b, "a text can be without 1 to %u bytes, not %llu", GRAMMAR_MAX_FORBIDDEN,
                             (unsigned long long)n_bytes);
        return 0;
    }
    if (!grammar_list_reserve(b, &b->bytes, (uint32_t)n_bytes, 1, GRAMMAR_MAX_BYTES, "bytes of literals"))
        return 0;
    memcpy((char *)b->bytes.items + b->bytes.n, bytes, n_bytes);
    b->bytes.n += (uint32_t)n_bytes;
    return add_parent(b, without, &node, 1);
}

// ---- Rules -----------------------------------------------------------------------------------------------------------

uint32_t grammar_rule(struct grammar_builder *builder, const char *name)
{
    struct grammar_builder *b = builder;
    char printable[MAX_NAME_BYTES];
    chord_printable(printable, sizeof printable, name, strlen(name));
    const uint32_t n_bytes = (uint32_t)strlen(printable) + 1;
    if (!grammar_list_reserve(b, &b->rules, 1, sizeof(struct grammar_rule), GRAMMAR_MAX_RULES, "rules") ||
        !grammar_list_reserve(b, &b->bytes, n_bytes, 1, GRAMMAR_MAX_BYTES, "bytes of literals and names"))
        return 0;
    memcpy((char *)b->bytes.items + b->bytes.n, printable, n_bytes);
    *builder_rule(b, b->rules.n) = (struct grammar_rule){.name = b->bytes.n, .node = UINT32_MAX};
    b->bytes.n += n_bytes;
    return b->rules.n++;
}

static bool has_rule(struct grammar_builder *b, uint32_t rule)
{
    if (!grammar_builder_failed(b) && rule >= b->rules.n)
        grammar_builder_fail(b, "rule %u is not of this grammar", rule);
    return !grammar_builder_failed(b);
}

void grammar_define(struct grammar_builder *builder, uint32_t rule, uint32_t node)
{
    struct grammar_builder *b = builder;
    if (!has_rule(b, rule))
        return;
    if (node >= b->nodes.n)
        grammar_builder_fail(b, "node %u is not of this grammar", node);
    else if (builder_rule(b, rule)->node != UINT32_MAX)
        grammar_builder_fail(b, "the rule '%s' is defined twice", builder_rule_name(b, rule));
    else
        builder_rule(b, rule)->node = node;
}

uint32_t grammar_reference(struct grammar_builder *builder, uint32_t rule)
{
    if (!has_rule(builder, rule))
        return 0;
    return add_node(builder, (struct grammar_node){.kind = NODE_REFERENCE, .depth = 1, .first = rule});
}
