// The weights of a graph as the weight store wants to know them: in the order of their use.
#ifndef CHORD_GRAPH_USES_H
#define CHORD_GRAPH_USES_H

#include "graph/graph.h"

// out: room for graph_max_uses. What belongs to no layer counts as layer graph->n_layer. Returns how many there are.
uint32_t graph_list_uses(const struct graph *graph, struct weights_use *out);
uint32_t graph_max_uses(const struct graph *graph);

// out: room for graph_count_experts. Returns how many layers with experts there are.
uint32_t graph_list_experts(const struct graph *graph, struct weights_experts *out);
uint32_t graph_count_experts(const struct graph *graph);

#endif
