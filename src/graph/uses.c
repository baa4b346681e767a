#include "graph/uses.h"

uint32_t graph_max_uses(const struct graph *graph)
{
    return graph->n_nodes * GRAPH_MAX_LINEAR;
}

uint32_t graph_list_uses(const struct graph *graph, struct weights_use *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const struct graph_node *node = &graph->nodes[i];
        if (node->op != GRAPH_LINEAR)
            continue;
        const uint32_t layer = node->layer == GRAPH_NO_LAYER ? graph->n_layer : node->layer;
        if (node->linear.epilogue == GRAPH_EPILOGUE_GLU && node->n_out == 2) {
            out[n++] =
                (struct weights_use){.weight = {node->weight[0], node->weight[1]}, .n_weights = 2, .layer = layer};
            continue;
        }
        for (uint32_t k = 0; k < node->n_out; k++)
            out[n++] = (struct weights_use){.weight = {node->weight[k]}, .n_weights = 1, .layer = layer};
    }
    return n;
}

uint32_t graph_count_experts(const struct graph *graph)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++)
        n += graph->nodes[i].op == GRAPH_EXPERTS;
    return n;
}

uint32_t graph_list_experts(const struct graph *graph, struct weights_experts *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const struct graph_node *node = &graph->nodes[i];
        if (node->op == GRAPH_EXPERTS)
            out[n++] = (struct weights_experts){
                .weight = {node->weight[0], node->weight[1], node->weight[2]},
                .n_experts = node->experts.n_expert,
                .n_used = node->experts.n_used,
                .layer = node->layer,
            };
    }
    return n;
}
