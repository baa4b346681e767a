#include "sampler/grammar_check.h"

#include <string.h>

static uint32_t n_children(const struct grammar_node *node)
{
    return node->kind == NODE_LITERAL || node->kind == NODE_CLASS ? 0 : node->kind == NODE_REFERENCE ? 1 : node->n;
}

static uint32_t child_of(const struct grammar_builder *b, const struct grammar_node *node, uint32_t i)
{
    return node->kind == NODE_REFERENCE ? builder_rule(b, node->first)->node : builder_children(b, node)[i];
}

static enum chord_status check_defined(const struct grammar_builder *b, struct chord_error *err)
{
    for (uint32_t i = 0; i < b->nodes.n; i++) {
        const struct grammar_node *node = builder_node(b, i);
        if (node->kind == NODE_REFERENCE && builder_rule(b, node->first)->node == UINT32_MAX)
            return chord_fail(err, CHORD_INVALID_ARGUMENT, "the rule '%s' is not defined",
                              builder_rule_name(b, node->first));
    }
    return CHORD_OK;
}

// ---- From children to parents ----------------------------------------------------------------------------------------

// The parents of a node: parents[starts[node]..starts[node + 1]), a parent as often as it has the node.
struct parents {
    uint32_t *starts;  // [n_nodes + 1]
    uint32_t *parents; // [edges]
    uint32_t
        *wanted; // [n_nodes]: how many children must be so before the node is; 0: it is by itself; UINT32_MAX: never
    uint32_t *queue; // [n_nodes]
};

static void free_parents(const struct grammar_builder *b, struct parents *p)
{
    memory_free(b->account, p->starts);
    memory_free(b->account, p->parents);
    memory_free(b->account, p->wanted);
    memory_free(b->account, p->queue);
}

static bool find_parents(const struct grammar_builder *b, struct parents *p)
{
    const uint32_t n = b->nodes.n;
    uint64_t n_edges = 0;
    for (uint32_t i = 0; i < n; i++)
        n_edges += n_children(builder_node(b, i));
    *p = (struct parents){
        .starts = memory_zalloc(b->account, MEMORY_SCRATCH, (uint64_t)n + 2, sizeof *p->starts),
        .parents = memory_zalloc(b->account, MEMORY_SCRATCH, n_edges, sizeof *p->parents),
        .wanted = memory_zalloc(b->account, MEMORY_SCRATCH, n, sizeof *p->wanted),
        .queue = memory_zalloc(b->account, MEMORY_SCRATCH, n, sizeof *p->queue),
    };
    if (p->starts == NULL || p->parents == NULL || p->wanted == NULL || p->queue == NULL) {
        free_parents(b, p);
        return false;
    }
    // A counting sort by child: while it fills, starts[node + 1] is where the node's next parent goes.
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n_children(builder_node(b, i)); k++)
            p->starts[child_of(b, builder_node(b, i), k) + 2]++;
    for (uint32_t i = 0; i < n; i++)
        p->starts[i + 2] += p->starts[i + 1];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n_children(builder_node(b, i)); k++)
            p->parents[p->starts[child_of(b, builder_node(b, i), k) + 1]++] = i;
    return true;
}

static uint32_t children_wanted(const struct grammar_node *node, bool for_empty)
{
    switch ((enum grammar_node_kind)node->kind) {
    case NODE_LITERAL:
        return for_empty && node->n > 0 ? UINT32_MAX : 0;
    case NODE_CLASS:
        return for_empty || node->n == 0 ? UINT32_MAX : 0;
    case NODE_SEQUENCE:
    case NODE_WITHOUT:
        return node->n;
    case NODE_REPEAT:
        return node->min == 0 ? 0 : 1;
    case NODE_CHOICE:
    case NODE_REFERENCE:
        break;
    }
    return 1;
}

// Sets flags[node] where the node matches the empty text, or any text: the least flags that follow from the children's (Dowling, Gallier
// 1984: each edge is looked at once).
static void spread(const struct grammar_builder *b, struct parents *p, bool for_empty, uint8_t *flags)
{
    uint32_t n_queued = 0;
    for (uint32_t i = 0; i < b->nodes.n; i++) {
        p->wanted[i] = children_wanted(builder_node(b, i), for_empty);
        if (p->wanted[i] == 0)
            flags[p->queue[n_queued++] = i] = 1;
    }
    for (uint32_t i = 0; i < n_queued; i++)
        for (uint32_t k = p->starts[p->queue[i]]; k < p->starts[p->queue[i] + 1]; k++) {
            const uint32_t parent = p->parents[k];
            if (flags[parent] || p->wanted[parent] == UINT32_MAX || --p->wanted[parent] > 0)
                continue;
            flags[parent] = 1;
            p->queue[n_queued++] = parent;
        }
}

// ---- Left recursion --------------------------------------------------------------------------------------------------

struct visit {
    uint32_t node, child;
};

enum { UNSEEN, OPEN, DONE };

// Whether the node's child i may stand at the very beginning of what the node matches, given that those before it may.
static bool begins_with(const struct grammar_builder *b, const struct grammar_facts *facts,
                        const struct grammar_node *node, uint32_t i)
{
    if (i >= n_children(node) || (node->kind == NODE_REPEAT && node->max == 0))
        return false;
    return node->kind != NODE_SEQUENCE || i == 0 || facts->may_be_empty[builder_children(b, node)[i - 1]];
}

// Depth first along the children that stand at the beginning: a node that is met again while it is open begins with itself.
static enum chord_status search_from(const struct grammar_builder *b, const struct grammar_facts *facts, uint32_t root,
                                     uint8_t *state, struct visit *stack, struct chord_error *err)
{
    uint32_t depth = 0;
    if (state[root] != UNSEEN)
        return CHORD_OK;
    stack[depth++] = (struct visit){root, 0};
    state[root] = OPEN;
    while (depth > 0) {
        struct visit *top = &stack[depth - 1];
        const struct grammar_node *node = builder_node(b, top->node);
        if (!begins_with(b, facts, node, top->child)) {
            state[top->node] = DONE;
            depth--;
            continue;
        }
        const uint32_t child = child_of(b, node, top->child++);
        if (state[child] == UNSEEN) {
            stack[depth++] = (struct visit){child, 0};
            state[child] = OPEN;
        } else if (state[child] == OPEN) {
            while (builder_node(b, stack[depth - 1].node)->kind != NODE_REFERENCE)
                depth--; // only a reference closes a circle
            return chord_fail(err, CHORD_INVALID_ARGUMENT,
                              "the rule '%s' is left-recursive: it begins with itself; write the repetition with * or "
                              "put what is repeated first",
                              builder_rule_name(b, builder_node(b, stack[depth - 1].node)->first));
        }
    }
    return CHORD_OK;
}

static enum chord_status refuse_left_recursion(const struct grammar_builder *b, const struct grammar_facts *facts,
                                               struct chord_error *err)
{
    const uint32_t n = b->nodes.n;
    uint8_t *state = memory_zalloc(b->account, MEMORY_SCRATCH, n, 1);
    struct visit *stack = memory_zalloc(b->account, MEMORY_SCRATCH, n, sizeof *stack);
    enum chord_status status = CHORD_OK;
    if (state == NULL || stack == NULL)
        status = memory_account_fail(b->account, err, n * (1 + sizeof *stack), "a grammar");
    for (uint32_t i = 0; status == CHORD_OK && i < n; i++)
        status = search_from(b, facts, i, state, stack, err);
    memory_free(b->account, state);
    memory_free(b->account, stack);
    return status;
}

// ---- All -------------------------------------------------------------------------------------------------------------

enum chord_status grammar_check(const struct grammar_builder *builder, struct grammar_facts *out,
                                struct chord_error *err)
{
    const struct grammar_builder *b = builder;
    const uint32_t n = b->nodes.n;
    struct parents parents;
    enum chord_status status = check_defined(b, err);
    if (status != CHORD_OK)
        return status;
    *out = (struct grammar_facts){.may_be_empty = memory_zalloc(b->account, MEMORY_SCRATCH, n, 1),
                                  .may_match = memory_zalloc(b->account, MEMORY_SCRATCH, n, 1)};
    if (out->may_be_empty == NULL || out->may_match == NULL || !find_parents(b, &parents)) {
        grammar_facts_free(b, out);
        return memory_account_fail(b->account, err, (uint64_t)n * 16, "a grammar");
    }
    spread(b, &parents, true, out->may_be_empty);
    spread(b, &parents, false, out->may_match);
    free_parents(b, &parents);
    status = refuse_left_recursion(b, out, err);
    if (status != CHORD_OK)
        grammar_facts_free(b, out);
    return status;
}

void grammar_facts_free(const struct grammar_builder *builder, struct grammar_facts *facts)
{
    memory_free(builder->account, facts->may_be_empty);
    memory_free(builder->account, facts->may_match);
}
