// The operations of a graph, one row each. To add one: a row here, a builder function in graph/graph.h, a case-free row in the
// table of the backend that runs it (backend/cpu.c: run_<name>).
#ifndef CHORD_GRAPH_OPS_H
#define CHORD_GRAPH_OPS_H

// X(ENUM, name)
//   EMBED      out[t] = row token(t) of weight
//   GATHER     out[o] = in[row of output o]: from token rows to output rows
//   POSITION   out = in + row position(t) of weight
//   TOKEN_TYPE out = in + row type(t) of weight, its last row for types beyond it
//   RMS_NORM   out = in / rms(in) * vector, over each run of `segment` elements
//   LAYER_NORM out = (in - mean(in)) / deviation(in) * vector 0 + vector 1, over each run of `segment` elements
//   LINEAR     out_i = in weight_i^T + vector_i, for up to three matrices that share one input; what graph/fuse.h joins to
//              it runs in the same passes. Of a matrix for each head, head h of out = head h of in times matrix h
//   SLICE      out = elements first, first + 1, ... of in
//   HEADS      head h of out = elements first .. first + n - 1 of head h of in[0], then in[1], where there is one, the same for
//              all heads or a head of it for each, then zeros
//   ROPE       in turned by its row's position, in place
//   KV_STORE   keys in[0] and values in[1] of the row into its sequence's KV cache
//   ATTENTION  out = attention of queries in over the KV cache of the row's sequence
//   GLU        out = f(in[0]) * in[1], or f(in[0]) of one input, with an f of enum glu_kind
//   ADD        out = in[0] + in[1]
//   SCALE      out = factor * in
//   SOFT_CAP   out = cap * tanh(in / cap)
//   ROUTE      out = numbers and weights of the n_used experts with the largest logits in[0] [n_expert], largest first: out[k] is
//              the k-th expert's number, out[n_used + k] its weight. Gated by a sigmoid, largest are those of sigmoid(logit) +
//              vector 0 among the experts of the n_groups_used groups with the largest sums of their two largest
//   EXPERTS    out[0] = sum over k of weight(k) * down_e (f(gate_e in[0]) * up_e in[0]) for the experts e of the route in[1],
//              added in the order of the route; the other outs are working space
//   SIGMOID_SCALE  out = 1 / (1 + exp(-in[0])) * in[1], where in[0] has one element
#define GRAPH_OP_MAP(X)       \
    X(EMBED, embed)           \
    X(POSITION, position)     \
    X(TOKEN_TYPE, token_type) \
    X(GATHER, gather)         \
    X(RMS_NORM, rms_norm)     \
    X(LAYER_NORM, layer_norm) \
    X(LINEAR, linear)         \
    X(SLICE, slice)           \
    X(HEADS, heads)           \
    X(ROPE, rope)             \
    X(KV_STORE, kv_store)     \
    X(ATTENTION, attention)   \
    X(GLU, glu)               \
    X(ADD, add)               \
    X(SCALE, scale)           \
    X(SOFT_CAP, soft_cap)     \
    X(ROUTE, route)           \
    X(EXPERTS, experts)       \
    X(SIGMOID_SCALE, sigmoid_scale)

enum graph_op {
#define X(ENUM, name) GRAPH_##ENUM,
    GRAPH_OP_MAP(X)
#undef X
        N_GRAPH_OPS
};

#endif
