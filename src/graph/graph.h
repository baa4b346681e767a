// The graph of a model: a list of operations in the order they run, with shapes, weights and a scratch plan.
//
// A graph is built once, when a model is opened, for any number of rows: a value has a width and a kind of rows (the tokens
// of a batch, or those of them whose logits are wanted), and its place in scratch memory is in units of floats per row. The
// list has three parts: the trunk, run once per batch over its token rows; the head (final norm and output matrix), run over
// the output rows a few at a time, so that the logits of a whole prompt never lie in memory at once; and the embedding (final
// norm, classifier), run in place of the head over the rows of texts that are to be vectors. An encoder has no head.
//
// The order of the nodes is the order in which a step uses weights.
#ifndef CHORD_GRAPH_GRAPH_H
#define CHORD_GRAPH_GRAPH_H

#include "base/alloc.h"
#include "base/status.h"
#include "graph/ops.h"
#include "kernels/kernels.h"
#include "weights/weights.h"

#include <stdbool.h>
#include <stdint.h>

#define GRAPH_MAX_LINEAR 3
#define GRAPH_MAX_OUT 4
#define GRAPH_MAX_ROPES 2
#define GRAPH_NO_LAYER UINT32_MAX

typedef uint32_t graph_value; // index into graph.values

enum graph_rows { GRAPH_TOKEN_ROWS, GRAPH_OUTPUT_ROWS };

struct graph_value_info {
    uint32_t width; // floats per row
    enum graph_rows rows;
    uint64_t offset;                // in its region of scratch: floats per row, so it begins at offset * row capacity
    uint32_t first_node, last_node; // lifetime
};

// What a LINEAR does with its results before it gives them away.
enum graph_epilogue {
    GRAPH_EPILOGUE_NONE,
    // out[0] = f(result 0) * result 1 of two matrices of one shape, out[1] is working space; f(result 0) of one
    GRAPH_EPILOGUE_GLU,
    GRAPH_EPILOGUE_ADD, // one matrix: out[0] = in[1] + result
};

struct graph_node {
    enum graph_op op;
    uint32_t layer; // or GRAPH_NO_LAYER
    uint32_t n_in, n_out;
    graph_value in[2];
    graph_value out[GRAPH_MAX_OUT];
    const struct weight *weight[GRAPH_MAX_LINEAR]; // [width of out, width of in]
    // Norm weight and bias [segment], bias of a LINEAR [width of out], sinks of ATTENTION [n_head], biases of EXPERTS' matrices
    // [n_expert, rows of one expert]; NULL: none. Owned by the graph.
    const float *vector[GRAPH_MAX_LINEAR];
    union {
        struct {
            float eps;
            uint32_t segment;
            bool own_weights; // each segment has weights of its own, those of a row one behind the other
        } norm;
        struct {
            uint32_t n_heads, head_dim;
            uint32_t first; // element of a head at which what turns begins
            uint32_t table; // of graph.ropes
        } rope;
        struct {
            uint32_t first;
        } slice;
        struct {
            uint32_t n_heads, in_width, first, n, out_width;
            bool beside_each; // in[1] has a head for each of in[0]
        } heads;
        struct {
            float factor; // or cap
        } scale;
        struct {
            enum glu_kind kind;
        } glu;
        struct {
            uint32_t n_head, n_head_kv, head_dim;
            uint32_t window;       // keys visible to a query, itself included; 0: all before it
            float scale, soft_cap; // soft_cap 0: none
            uint32_t kv_layer;     // of the KV cache
        } attention;               // of KV_STORE too
        struct {
            bool has_norm;      // the input is normed first, over whole rows:
            bool is_layer_norm; // by LAYER_NORM, else by RMS_NORM
            const float *norm_weight, *norm_bias;
            float norm_eps;
            enum graph_epilogue epilogue;
            enum glu_kind glu;
            uint32_t n_heads; // a matrix for each head of in[0] and out[0], one's rows after another's; 1: one for all
        } linear;
        struct {
            uint32_t n_used;
            bool renormalized; // weights: over the chosen experts, not over all
            bool is_sigmoid;
            uint32_t n_groups, n_groups_used; // n_groups 1: none
        } route;
        struct {
            enum glu_kind glu;
            uint32_t n_expert, n_used; // weight: gate, up, down of all experts, one expert's rows after another's
        } experts;
    };
};

// How the positions of tokens turn queries and keys.
struct graph_rope {
    enum rope_kind kind;
    uint32_t n_rot;
    float *inverse_frequency; // [n_rot / 2], radians per position, scaling applied; owned by the graph
    float magnitude;          // multiplies cos and sin (YaRN), else 1
    uint32_t first_float;     // of its cosines among those of all tables of a row
};

struct graph {
    struct graph_node *nodes;
    uint32_t n_nodes;
    uint32_t head_begin;      // nodes from here on are the head
    uint32_t embedding_begin; // nodes from here on are the embedding; head_begin: there is no head
    struct graph_value_info *values;
    uint32_t n_values;
    graph_value logits;    // [outputs, n_vocab], where there is a head
    graph_value embedding; // [outputs, n], where there is an embedding
    uint32_t n_layer;
    // Rows of a text see each other: a batch has all rows of a text or none, with n_keys (backend/backend.h).
    bool is_encoder;
    uint32_t n_kv_layers, n_head_kv, head_dim; // of the KV cache; an encoder's layers take turns in one
    uint32_t n_expert, n_expert_used;          // of its EXPERTS, or 0
    struct graph_rope ropes[GRAPH_MAX_ROPES];
    uint32_t n_ropes, rope_floats; // cosines and sines of a row, of all tables
    uint64_t token_floats;         // scratch per token row
    uint64_t output_floats;        // scratch per output row
    uint64_t activation_floats;    // widest input of a LINEAR: what prepared activations are sized by
    uint64_t weight_bytes;         // that one step over one token reads
    float **vectors;
    uint32_t n_vectors;
    struct memory_account *account;
};

void graph_free(struct graph *graph); // NULL is fine

// ---- Building -------------------------------------------------------------------------------------------------------
//
// A builder keeps the first error and turns every later call into a no-op that returns harmless values, so that an
// architecture's build function reads as the forward pass and checks once, in graph_finish.

struct graph_builder {
    struct graph *graph;
    struct weights *weights;
    const struct gguf *gguf;
    struct memory_account *account;
    struct chord_error *err;
    enum chord_status status;
    uint32_t layer;
    bool *tensor_used; // [n_tensors]
    uint32_t node_capacity, value_capacity, vector_capacity;
};

struct graph_linear {
    const struct weight *weight; // NULL: absent
    const float *bias;           // NULL: none
};

enum chord_status graph_begin(struct graph_builder *b, struct weights *weights, const struct gguf *gguf,
                              struct memory_account *account, struct chord_error *err);

// Ends the building (logits: of a graph without a head, anything): assigns scratch, checks that every tensor of the file was used (MODEL_TENSOR names the first that was
// not), hands the graph over. On failure everything is freed and the builder's first error returned.
enum chord_status graph_finish(struct graph_builder *b, graph_value logits, struct graph **out);

// Records an error of the architecture's own (printf style); the first stays.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void graph_build_fail(struct graph_builder *b, enum chord_status code, const char *format, ...);

// Nodes made from here on belong to `layer` (GRAPH_NO_LAYER: to none); %-names of tensors are the caller's business.
void graph_set_layer(struct graph_builder *b, uint32_t layer);

bool graph_has_tensor(const struct graph_builder *b, const char *name);
// The matrix `name` of shape [n_out, n_in]; MODEL_TENSOR when it is missing or of another shape.
const struct weight *graph_matrix(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out);
// The matrices `name` of shape [n_expert, n_out, n_in].
const struct weight *graph_expert_matrices(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out,
                                           uint32_t n_expert);
// The vector `name` of n elements, read now and kept as floats.
const float *graph_vector(struct graph_builder *b, const char *name, uint64_t n);
// The vectors `name` of shape [n_vectors, n], one behind the other.
const float *graph_vectors(struct graph_builder *b, const char *name, uint64_t n, uint64_t n_vectors);
// graph_vector of a tensor that may be absent: NULL then.
const float *graph_optional_vector(struct graph_builder *b, const char *name, uint64_t n);

graph_value graph_embed(struct graph_builder *b, const struct weight *embedding);
// Adds the row of `positions` [n_positions, width of x] that belongs to each row's position.
graph_value graph_position(struct graph_builder *b, graph_value x, const struct weight *positions);
// The same by each row's type.
graph_value graph_token_type(struct graph_builder *b, graph_value x, const struct weight *types);
graph_value graph_rms_norm(struct graph_builder *b, graph_value x, const float *weight, uint32_t segment, float eps);
// bias may be NULL.
graph_value graph_layer_norm(struct graph_builder *b, graph_value x, const float *weight, const float *bias,
                             uint32_t segment, float eps);
// Without bias, and with weights of its own for each segment: [width of x].
graph_value graph_layer_norm_each(struct graph_builder *b, graph_value x, const float *weights, uint32_t segment,
                                  float eps);
// The n elements of x from `first` on.
graph_value graph_slice(struct graph_builder *b, graph_value x, uint32_t first, uint32_t n);
// Up to three matrices over one input; n_out of each from its weight.
void graph_linear(struct graph_builder *b, graph_value x, const struct graph_linear *linears, uint32_t n,
                  graph_value *out);
graph_value graph_linear1(struct graph_builder *b, graph_value x, struct graph_linear linear);
// Head h of the result is head h of x times matrix h of `matrices` [n_heads, n_out, n_in] (graph_expert_matrices).
graph_value graph_linear_heads(struct graph_builder *b, graph_value x, const struct weight *matrices, uint32_t n_heads);
struct graph_heads {
    uint32_t n_heads, in_width, first, n, out_width; // widths: of one head; n, and the width of in[1], fit out_width
};
// HEADS of graph/ops.h; `beside` may be NULL.
graph_value graph_heads_with(struct graph_builder *b, graph_value x, const graph_value *beside,
                             const struct graph_heads *heads);
// Each of the n_heads heads of x followed by that of `beside`.
graph_value graph_join_heads(struct graph_builder *b, graph_value x, graph_value beside, uint32_t n_heads);
// Turns the heads of x in place, from their element `first` on, by the frequencies that graph_add_rope called `table`.
void graph_rope(struct graph_builder *b, graph_value x, uint32_t n_heads, uint32_t head_dim, uint32_t first,
                uint32_t table);
struct graph_attention {
    uint32_t n_head, n_head_kv, head_dim, window;
    float scale, soft_cap; // soft_cap 0: none
    const float *sinks;    // [n_head], or NULL: none
    bool is_encoder;       // of all attention of a graph
};
// Stores k and v, then attends with q: [n_head * head_dim].
graph_value graph_attention(struct graph_builder *b, graph_value q, graph_value k, graph_value v,
                            const struct graph_attention *a);
graph_value graph_glu(struct graph_builder *b, graph_value gate, graph_value up, enum glu_kind kind);
// f(x) alone.
graph_value graph_activation(struct graph_builder *b, graph_value x, enum glu_kind kind);
graph_value graph_scale(struct graph_builder *b, graph_value x, float factor);
graph_value graph_soft_cap(struct graph_builder *b, graph_value x, float cap);
graph_value graph_add(struct graph_builder *b, graph_value a, graph_value b_);
struct graph_routing {
    uint32_t n_used;
    bool renormalized;                // the weights of the chosen experts add up to 1
    bool is_sigmoid;                  // weights are sigmoids of the logits, not their softmax
    const float *bias;                // of sigmoids, for the choice alone: [n_expert], or NULL
    uint32_t n_groups, n_groups_used; // of sigmoids: groups of as many experts, in their order; 0 or 1: no groups
};
// The n_used experts of each row by its logits [n_expert]: weights are the softmax in F32 over all experts, or sigmoids. Of equal
// experts the one with the smaller number comes first.
graph_value graph_route(struct graph_builder *b, graph_value logits, const struct graph_routing *routing);
struct graph_experts {
    const struct weight *gate, *up, *down; // [n_expert, n_ff, n], the same, [n_expert, n, n_ff]
    const float *biases[3];                // of gate, up, down: [n_expert, rows of one], or NULL
    uint32_t n_expert;
    enum glu_kind glu;
};
// Mixture of experts over x, chosen and weighted by a graph_route: of x's width.
graph_value graph_experts(struct graph_builder *b, graph_value x, graph_value route,
                          const struct graph_experts *experts);
// sigmoid(gate) * x, where the gate has one element.
graph_value graph_sigmoid_scale(struct graph_builder *b, graph_value gate, graph_value x);
// Ends the trunk: what follows runs over output rows.
graph_value graph_begin_head(struct graph_builder *b, graph_value x);
// Ends the head, or the trunk of a graph without one: what follows runs over rows x of the trunk, and its last value is the embedding.
graph_value graph_begin_embedding(struct graph_builder *b, graph_value x);
void graph_end_embedding(struct graph_builder *b, graph_value embedding);
// A table of frequencies [n_rot / 2], in radians per position. Returns its number.
uint32_t graph_add_rope(struct graph_builder *b, enum rope_kind kind, uint32_t n_rot, const double *inverse_frequency,
                        float magnitude);

#endif
