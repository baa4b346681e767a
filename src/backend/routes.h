// ROUTE of graph/ops.h for one row: which experts run, and what their results weigh.
#ifndef CHORD_BACKEND_ROUTES_H
#define CHORD_BACKEND_ROUTES_H

#include "graph/graph.h"

#define ROUTE_MOST_EXPERTS 1024

// Of a ROUTE node and its logits [n <= ROUTE_MOST_EXPERTS]: numbers and weights [n_used]. Whatever the logits are, NaN included,
// the numbers are n_used different ones below n.
void route_experts(const struct graph_node *node, const float *logits, uint32_t n, float *numbers, float *weights);

#endif
