#include "tokenizer/special.h"

#include "base/checked.h"

#include <string.h>

// What the automaton needs while it is built.
struct builder {
    uint32_t *parent; // [capacity]
    uint32_t *depth;
    uint32_t *order;  // nodes by depth
    uint32_t *counts; // [most + 2] of nodes by depth
    uint32_t most;    // bytes of the longest special token
};

static bool is_special(const struct vocabulary_token *token)
{
    return token->n_bytes > 0 &&
           (token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_USER_DEFINED);
}

// The edge's slot, or the empty one where it would go.
static struct special_edge *edge_of(const struct special_matcher *matcher, uint32_t node, uint32_t byte)
{
    uint64_t h = ((uint64_t)node << 8 | byte) ^ matcher->vocabulary->seed;
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    for (uint64_t at = h & (matcher->n_slots - 1);; at = (at + 1) & (matcher->n_slots - 1)) {
        struct special_edge *edge = &matcher->edges[at];
        if (edge->next == 0 || (edge->node == node && edge->byte == byte))
            return edge;
    }
}

// The node after `node` reads `byte`.
static uint32_t step(const struct special_matcher *matcher, uint32_t node, unsigned char byte)
{
    while (node != 0) {
        const uint32_t next = edge_of(matcher, node, byte)->next;
        if (next != 0)
            return next;
        node = matcher->nodes[node].fail;
    }
    return matcher->root_next[byte];
}

// Puts a token's bytes, last to first, into the tree.
static void add_token(struct special_matcher *matcher, struct builder *builder, uint32_t id)
{
    const struct vocabulary_token *token = &matcher->vocabulary->tokens[id];
    uint32_t node = 0;
    for (uint32_t i = token->n_bytes; i-- > 0;) {
        const unsigned char byte = (unsigned char)token->text[i];
        struct special_edge *edge = node == 0 ? NULL : edge_of(matcher, node, byte);
        uint32_t next = edge == NULL ? matcher->root_next[byte] : edge->next;
        if (next == 0) {
            next = matcher->n_nodes++;
            matcher->nodes[next] = (struct special_node){.user_defined = TOKEN_NONE, .any = TOKEN_NONE};
            builder->parent[next] = node;
            builder->depth[next] = token->n_bytes - i;
            if (edge == NULL)
                matcher->root_next[byte] = next;
            else
                *edge = (struct special_edge){.node = node, .next = next, .byte = byte};
        }
        node = next;
    }
    matcher->nodes[node].any = id;
    if (token->type == TOKEN_USER_DEFINED)
        matcher->nodes[node].user_defined = id;
}

// Fills order[]: nodes by depth, the root first.
static void sort_by_depth(const struct special_matcher *matcher, struct builder *builder)
{
    for (uint32_t i = 0; i < matcher->n_nodes; i++)
        builder->counts[builder->depth[i] + 1]++;
    for (uint32_t d = 0; d <= builder->most; d++)
        builder->counts[d + 1] += builder->counts[d];
    for (uint32_t i = 0; i < matcher->n_nodes; i++)
        builder->order[builder->counts[builder->depth[i]]++] = i;
}

static void build(struct special_matcher *matcher, struct builder *builder)
{
    const struct vocabulary *vocabulary = matcher->vocabulary;
    matcher->n_nodes = 1;
    matcher->nodes[0] = (struct special_node){.user_defined = TOKEN_NONE, .any = TOKEN_NONE};
    builder->depth[0] = builder->parent[0] = 0;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++)
        if (is_special(&vocabulary->tokens[id]))
            add_token(matcher, builder, id);
    sort_by_depth(matcher, builder);
    // The byte that leads to a node is found again from the edges: parents come before their children here.
    for (uint64_t at = 0; at < matcher->n_slots; at++)
        if (matcher->edges[at].next != 0)
            matcher->nodes[matcher->edges[at].next].fail = matcher->edges[at].byte;
    for (uint32_t i = 1; i < matcher->n_nodes; i++) {
        struct special_node *node = &matcher->nodes[builder->order[i]];
        const uint32_t parent = builder->parent[builder->order[i]];
        node->fail = parent == 0 ? 0 : step(matcher, matcher->nodes[parent].fail, (unsigned char)node->fail);
        if (node->any == TOKEN_NONE)
            node->any = matcher->nodes[node->fail].any;
        if (node->user_defined == TOKEN_NONE)
            node->user_defined = matcher->nodes[node->fail].user_defined;
    }
}

enum chord_status special_load(struct special_matcher *matcher, const struct vocabulary *vocabulary,
                               struct chord_error *err)
{
    struct memory_account *account = vocabulary->account;
    struct builder builder = {0};
    uint64_t n = 1;
    *matcher = (struct special_matcher){.vocabulary = vocabulary};
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        const struct vocabulary_token *token = &vocabulary->tokens[id];
        if (!is_special(token))
            continue;
        n += token->n_bytes;
        matcher->has_any = true;
        matcher->has_user_defined |= token->type == TOKEN_USER_DEFINED;
        if (token->n_bytes > builder.most)
            builder.most = token->n_bytes;
    }
    if (!matcher->has_any)
        return CHORD_OK;
    if (n > INT32_MAX)
        return chord_fail(err, CHORD_TOKENIZER, "the special tokens have %llu bytes together; chord takes 2147483647",
                          (unsigned long long)n);
    matcher->n_slots = 16;
    while (matcher->n_slots < n + n / 2)
        matcher->n_slots *= 2;
    matcher->nodes = memory_alloc(account, MEMORY_TOKENIZER, n * sizeof *matcher->nodes, 16);
    matcher->edges = memory_zalloc(account, MEMORY_TOKENIZER, matcher->n_slots, sizeof *matcher->edges);
    builder.parent = memory_alloc(account, MEMORY_TOKENIZER, n * sizeof *builder.parent, 16);
    builder.depth = memory_alloc(account, MEMORY_TOKENIZER, n * sizeof *builder.depth, 16);
    builder.order = memory_alloc(account, MEMORY_TOKENIZER, n * sizeof *builder.order, 16);
    builder.counts = memory_zalloc(account, MEMORY_TOKENIZER, (uint64_t)builder.most + 2, sizeof *builder.counts);
    const bool held = matcher->nodes != NULL && matcher->edges != NULL && builder.parent != NULL &&
                      builder.depth != NULL && builder.order != NULL && builder.counts != NULL;
    if (held)
        build(matcher, &builder);
    memory_free(account, builder.parent);
    memory_free(account, builder.depth);
    memory_free(account, builder.order);
    memory_free(account, builder.counts);
    if (!held) {
        special_free(matcher);
        return memory_account_fail(account, err, n * sizeof *matcher->nodes, "the special tokens");
    }
    return CHORD_OK;
}

void special_free(struct special_matcher *matcher)
{
    if (matcher->vocabulary == NULL)
        return;
    memory_free(matcher->vocabulary->account, matcher->nodes);
    memory_free(matcher->vocabulary->account, matcher->edges);
    matcher->nodes = NULL;
    matcher->edges = NULL;
}

static bool append_match(struct special_matches *matches, uint64_t at, uint32_t id)
{
    if (matches->n == matches->capacity) {
        uint64_t capacity = matches->capacity < 16 ? 16 : matches->capacity * 2, n_bytes;
        if (!checked_mul(capacity, sizeof *matches->items, &n_bytes))
            return false;
        struct special_match *items = memory_resize(matches->account, MEMORY_TOKENIZER, matches->items, n_bytes);
        if (items == NULL)
            return false;
        matches->items = items;
        matches->capacity = capacity;
    }
    matches->items[matches->n++] = (struct special_match){.at = at, .id = id};
    return true;
}

bool special_search(const struct special_matcher *matcher, const char *text, uint64_t n_bytes, bool parse_special,
                    struct special_matches *matches)
{
    if (!(parse_special ? matcher->has_any : matcher->has_user_defined))
        return true;
    uint32_t node = 0;
    for (uint64_t at = n_bytes; at-- > 0;) {
        node = step(matcher, node, (unsigned char)text[at]);
        const uint32_t id = parse_special ? matcher->nodes[node].any : matcher->nodes[node].user_defined;
        if (id != TOKEN_NONE && !append_match(matches, at, id))
            return false;
    }
    return true;
}

void special_matches_free(struct special_matches *matches)
{
    memory_free(matches->account, matches->items);
    *matches = (struct special_matches){.account = matches->account};
}
