#include "graph/fuse.h"

// Of each value: nodes that read it, the caller of the graph counted as one.
static void count_uses(const struct graph *graph, uint32_t *uses)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++)
        for (uint32_t k = 0; k < graph->nodes[i].n_in; k++)
            uses[graph->nodes[i].in[k]]++;
    if (graph->head_begin < graph->embedding_begin)
        uses[graph->logits]++;
    if (graph->embedding_begin < graph->n_nodes)
        uses[graph->embedding]++;
}

// Makes `linear` norm its own input in place of `norm`, the node before it. False: they do not fit together.
static bool take_norm(const struct graph *graph, const uint32_t *uses, const struct graph_node *norm,
                      struct graph_node *linear)
{
    if ((norm->op != GRAPH_RMS_NORM && norm->op != GRAPH_LAYER_NORM) || linear->op != GRAPH_LINEAR ||
        linear->linear.n_heads != 1 || linear->in[0] != norm->out[0] || uses[norm->out[0]] != 1 ||
        norm->norm.segment != graph->values[norm->in[0]].width)
        return false;
    linear->in[0] = norm->in[0];
    linear->linear.has_norm = true;
    linear->linear.is_layer_norm = norm->op == GRAPH_LAYER_NORM;
    linear->linear.norm_weight = norm->vector[0];
    linear->linear.norm_bias = norm->vector[1];
    linear->linear.norm_eps = norm->norm.eps;
    return true;
}

// Makes `linear` do what `next`, the node behind it, does with its results. False: they do not fit together.
static bool take_epilogue(const uint32_t *uses, struct graph_node *linear, const struct graph_node *next)
{
    if (linear->op != GRAPH_LINEAR || linear->linear.epilogue != GRAPH_EPILOGUE_NONE)
        return false;
    for (uint32_t k = 0; k < linear->n_out; k++)
        if (uses[linear->out[k]] != 1)
            return false;
    if (next->op == GRAPH_GLU && linear->n_out == next->n_in && next->in[0] == linear->out[0] &&
        (next->n_in == 1 || next->in[1] == linear->out[1])) {
        linear->linear.epilogue = GRAPH_EPILOGUE_GLU;
        linear->linear.glu = next->glu.kind;
    } else if (next->op == GRAPH_ADD && linear->n_out == 1 &&
               (next->in[0] == linear->out[0] || next->in[1] == linear->out[0])) {
        linear->linear.epilogue = GRAPH_EPILOGUE_ADD;
        linear->n_in = 2;
        linear->in[1] = next->in[next->in[0] == linear->out[0]];
    } else {
        return false;
    }
    linear->out[0] = next->out[0];
    return true;
}

static void join_nodes(struct graph *graph, const uint32_t *uses)
{
    uint32_t n = 0, head_begin = 0, embedding_begin = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        struct graph_node node = graph->nodes[i];
        const bool is_last_of_part =
            i + 1 == graph->n_nodes || i + 1 == graph->head_begin || i + 1 == graph->embedding_begin;
        if (i == graph->head_begin)
            head_begin = n;
        if (i == graph->embedding_begin)
            embedding_begin = n;
        if (!is_last_of_part && take_norm(graph, uses, &node, &graph->nodes[i + 1]))
            continue;
        if (!is_last_of_part && take_epilogue(uses, &node, &graph->nodes[i + 1]))
            i++;
        graph->nodes[n++] = node;
    }
    graph->embedding_begin = graph->embedding_begin < graph->n_nodes ? embedding_begin : n;
    graph->head_begin = graph->head_begin < graph->n_nodes ? head_begin : n;
    graph->n_nodes = n;
}

// Drops the values that no node makes, with lifetimes anew. new_ids [n_values].
static void renumber_values(struct graph *graph, uint32_t *new_ids)
{
    const uint32_t dropped = UINT32_MAX;
    uint32_t n = 0;
    for (uint32_t v = 0; v < graph->n_values; v++)
        new_ids[v] = dropped;
    for (uint32_t i = 0; i < graph->n_nodes; i++)
        for (uint32_t k = 0; k < graph->nodes[i].n_out; k++)
            new_ids[graph->nodes[i].out[k]] = 0;
    for (uint32_t v = 0; v < graph->n_values; v++)
        if (new_ids[v] != dropped) {
            new_ids[v] = n;
            graph->values[n++] = graph->values[v];
        }
    graph->n_values = n;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        struct graph_node *node = &graph->nodes[i];
        for (uint32_t k = 0; k < node->n_in; k++) {
            node->in[k] = new_ids[node->in[k]];
            graph->values[node->in[k]].last_node = i;
        }
        for (uint32_t k = 0; k < node->n_out; k++) {
            node->out[k] = new_ids[node->out[k]];
            graph->values[node->out[k]].first_node = graph->values[node->out[k]].last_node = i;
        }
    }
    if (graph->head_begin < graph->embedding_begin) {
        graph->logits = new_ids[graph->logits];
        graph->values[graph->logits].last_node = graph->embedding_begin - 1;
    }
    if (graph->embedding_begin < graph->n_nodes) {
        graph->embedding = new_ids[graph->embedding];
        graph->values[graph->embedding].last_node = graph->n_nodes;
    }
}

enum chord_status graph_fuse(struct graph *graph, struct chord_error *err)
{
    uint32_t *per_value = memory_zalloc(graph->account, MEMORY_METADATA, graph->n_values, sizeof *per_value);
    if (per_value == NULL)
        return memory_account_fail(graph->account, err, graph->n_values * sizeof *per_value, "the graph");
    count_uses(graph, per_value);
    join_nodes(graph, per_value);
    renumber_values(graph, per_value);
    memory_free(graph->account, per_value);
    return CHORD_OK;
}
