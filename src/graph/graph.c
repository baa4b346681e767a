#include "graph/graph.h"

#include "base/checked.h"
#include "graph/fuse.h"

#include <stdio.h>
#include <string.h>

void graph_free(struct graph *graph)
{
    if (graph == NULL)
        return;
    for (uint32_t i = 0; i < graph->n_vectors; i++)
        memory_free(graph->account, graph->vectors[i]);
    memory_free(graph->account, graph->vectors);
    for (uint32_t i = 0; i < graph->n_ropes; i++)
        memory_free(graph->account, graph->ropes[i].inverse_frequency);
    memory_free(graph->account, graph->values);
    memory_free(graph->account, graph->nodes);
    memory_free(graph->account, graph);
}

enum chord_status graph_begin(struct graph_builder *b, struct weights *weights, const struct gguf *gguf,
                              struct memory_account *account, struct chord_error *err)
{
    *b = (struct graph_builder){
        .weights = weights, .gguf = gguf, .account = account, .err = err, .layer = GRAPH_NO_LAYER};
    b->graph = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *b->graph);
    b->tensor_used = memory_zalloc(account, MEMORY_METADATA, gguf_n_tensors(gguf), sizeof(bool));
    if (b->graph == NULL || b->tensor_used == NULL) {
        memory_free(account, b->graph);
        memory_free(account, b->tensor_used);
        return b->status = memory_account_fail(account, err, sizeof *b->graph, "the graph");
    }
    b->graph->account = account;
    b->graph->head_begin = b->graph->embedding_begin = UINT32_MAX;
    return CHORD_OK;
}

void graph_build_fail(struct graph_builder *b, enum chord_status code, const char *format, ...)
{
    char message[CHORD_ERROR_MESSAGE_BYTES];
    va_list args;
    if (b->status != CHORD_OK)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    b->status = chord_fail(b->err, code, "%s", message);
}

static void fail_memory(struct graph_builder *b, uint64_t bytes, const char *what)
{
    if (b->status == CHORD_OK)
        b->status = memory_account_fail(b->account, b->err, bytes, what);
}

void graph_set_layer(struct graph_builder *b, uint32_t layer)
{
    b->layer = layer;
}

// Makes room for one more element of a builder's list. False: out of memory.
static bool grow(struct graph_builder *b, void **list, uint32_t n, uint32_t *capacity, size_t element)
{
    if (n < *capacity)
        return true;
    const uint32_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = memory_resize(b->account, MEMORY_METADATA, *list, (uint64_t)wanted * element);
    if (grown == NULL) {
        fail_memory(b, (uint64_t)wanted * element, "the graph");
        return false;
    }
    *list = grown;
    *capacity = wanted;
    return true;
}

static uint64_t tensor_index(const struct graph_builder *b, const struct gguf_tensor *tensor)
{
    return (uint64_t)(tensor - gguf_tensor(b->gguf, 0));
}

bool graph_has_tensor(const struct graph_builder *b, const char *name)
{
    return gguf_find_tensor(b->gguf, name) != NULL;
}

static const struct weight *find_tensor(struct graph_builder *b, const char *name)
{
    if (b->status != CHORD_OK)
        return NULL;
    const struct weight *weight = weights_find(b->weights, name);
    if (weight == NULL) {
        graph_build_fail(b, CHORD_MODEL_TENSOR,
                         "the model lacks the tensor '%s', which its architecture needs; the file is incomplete or "
                         "was converted for another program",
                         name);
        return NULL;
    }
    b->tensor_used[tensor_index(b, weight->tensor)] = true;
    if (weight->scale_tensor != NULL)
        b->tensor_used[tensor_index(b, weight->scale_tensor)] = true;
    return weight;
}

const struct weight *graph_matrix(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out)
{
    const struct weight *weight = find_tensor(b, name);
    if (weight == NULL)
        return NULL;
    if (weight->n != n_in || weight->n_rows != n_out) {
        graph_build_fail(b, CHORD_MODEL_TENSOR,
                         "tensor '%s' has the shape [%llu, %llu]; the hyperparameters imply [%llu, %llu]", name,
                         (unsigned long long)weight->n, (unsigned long long)weight->n_rows, (unsigned long long)n_in,
                         (unsigned long long)n_out);
        return NULL;
    }
    return weight;
}

const struct weight *graph_expert_matrices(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out,
                                           uint32_t n_expert)
{
    const struct weight *weight = find_tensor(b, name);
    if (weight == NULL)
        return NULL;
    const uint64_t *ne = weight->tensor->ne;
    if (ne[0] != n_in || ne[1] != n_out || ne[2] != n_expert || ne[3] != 1) {
        graph_build_fail(b, CHORD_MODEL_TENSOR,
                         "tensor '%s' has the shape [%llu, %llu, %llu]; the hyperparameters imply [%llu, %llu, %u]",
                         name, (unsigned long long)ne[0], (unsigned long long)ne[1], (unsigned long long)ne[2],
                         (unsigned long long)n_in, (unsigned long long)n_out, n_expert);
        return NULL;
    }
    return weight;
}

const float *graph_vectors(struct graph_builder *b, const char *name, uint64_t n, uint64_t n_vectors)
{
    const struct weight *weight = graph_matrix(b, name, n, n_vectors);
    struct graph *graph = b->graph;
    if (weight == NULL ||
        !grow(b, (void **)&graph->vectors, graph->n_vectors, &b->vector_capacity, sizeof *graph->vectors))
        return NULL;
    const uint64_t total = n * n_vectors; // of a tensor that lies in the file: it cannot overflow
    float *vector = memory_alloc(b->account, MEMORY_WEIGHTS, total * sizeof *vector, 64);
    if (vector == NULL) {
        fail_memory(b, total * sizeof *vector, name);
        return NULL;
    }
    graph->vectors[graph->n_vectors++] = vector;
    if (weights_mode(b->weights) == WEIGHTS_DIRECTORY)
        for (uint64_t i = 0; i < total; i++)
            vector[i] = 1; // a plan reads no tensor; the graph's shape does not depend on the values
    else
        b->status = weights_read_rows(b->weights, weight, 0, n_vectors, vector, b->err);
    return vector;
}

const float *graph_vector(struct graph_builder *b, const char *name, uint64_t n)
{
    return graph_vectors(b, name, n, 1);
}

const float *graph_optional_vector(struct graph_builder *b, const char *name, uint64_t n)
{
    return graph_has_tensor(b, name) ? graph_vector(b, name, n) : NULL;
}

static graph_value new_value(struct graph_builder *b, uint32_t width)
{
    struct graph *graph = b->graph;
    if (b->status != CHORD_OK ||
        !grow(b, (void **)&graph->values, graph->n_values, &b->value_capacity, sizeof *graph->values))
        return 0;
    graph->values[graph->n_values] =
        (struct graph_value_info){.width = width,
                                  .rows = graph->head_begin == UINT32_MAX ? GRAPH_TOKEN_ROWS : GRAPH_OUTPUT_ROWS,
                                  .first_node = graph->n_nodes,
                                  .last_node = graph->n_nodes};
    return graph->n_values++;
}

static uint32_t width_of(const struct graph_builder *b, graph_value value)
{
    return value < b->graph->n_values ? b->graph->values[value].width : 0;
}

// Appends a node and stretches the lifetimes of what it touches. NULL when building has failed.
static struct graph_node *add_node(struct graph_builder *b, struct graph_node node)
{
    struct graph *graph = b->graph;
    if (b->status != CHORD_OK ||
        !grow(b, (void **)&graph->nodes, graph->n_nodes, &b->node_capacity, sizeof *graph->nodes))
        return NULL;
    node.layer = b->layer;
    for (uint32_t i = 0; i < node.n_in; i++)
        graph->values[node.in[i]].last_node = graph->n_nodes;
    graph->nodes[graph->n_nodes] = node;
    return &graph->nodes[graph->n_nodes++];
}

graph_value graph_embed(struct graph_builder *b, const struct weight *embedding)
{
    if (b->status != CHORD_OK)
        return 0;
    const graph_value out = new_value(b, (uint32_t)embedding->n);
    add_node(b, (struct graph_node){.op = GRAPH_EMBED, .n_out = 1, .out = {out}, .weight = {embedding}});
    return out;
}

// A node of one input whose result is as wide as `width`; the rest of it as in `node`.
static graph_value unary(struct graph_builder *b, struct graph_node node, graph_value x, uint32_t width)
{
    const graph_value out = new_value(b, width);
    node.n_in = node.n_out = 1;
    node.in[0] = x;
    node.out[0] = out;
    add_node(b, node);
    return out;
}

graph_value graph_position(struct graph_builder *b, graph_value x, const struct weight *positions)
{
    return unary(b, (struct graph_node){.op = GRAPH_POSITION, .weight = {positions}}, x, width_of(b, x));
}

graph_value graph_token_type(struct graph_builder *b, graph_value x, const struct weight *types)
{
    return unary(b, (struct graph_node){.op = GRAPH_TOKEN_TYPE, .weight = {types}}, x, width_of(b, x));
}

graph_value graph_rms_norm(struct graph_builder *b, graph_value x, const float *weight, uint32_t segment, float eps)
{
    const struct graph_node node = {.op = GRAPH_RMS_NORM, .vector = {weight}, .norm = {.eps = eps, .segment = segment}};
    return unary(b, node, x, width_of(b, x));
}

graph_value graph_layer_norm(struct graph_builder *b, graph_value x, const float *weight, const float *bias,
                             uint32_t segment, float eps)
{
    const struct graph_node node = {
        .op = GRAPH_LAYER_NORM, .vector = {weight, bias}, .norm = {.eps = eps, .segment = segment}};
    return unary(b, node, x, width_of(b, x));
}

graph_value graph_layer_norm_each(struct graph_builder *b, graph_value x, const float *weights, uint32_t segment,
                                  float eps)
{
    const struct graph_node node = {
        .op = GRAPH_LAYER_NORM, .vector = {weights}, .norm = {.eps = eps, .segment = segment, .own_weights = true}};
    return unary(b, node, x, width_of(b, x));
}

graph_value graph_slice(struct graph_builder *b, graph_value x, uint32_t first, uint32_t n)
{
    return unary(b, (struct graph_node){.op = GRAPH_SLICE, .slice = {.first = first}}, x, n);
}

graph_value graph_heads_with(struct graph_builder *b, graph_value x, const graph_value *beside,
                             const struct graph_heads *heads)
{
    const graph_value out = new_value(b, heads->n_heads * heads->out_width);
    struct graph_node node = {.op = GRAPH_HEADS,
                              .n_in = beside != NULL ? 2 : 1,
                              .in = {x},
                              .n_out = 1,
                              .out = {out},
                              .heads = {.n_heads = heads->n_heads,
                                        .in_width = heads->in_width,
                                        .first = heads->first,
                                        .n = heads->n,
                                        .out_width = heads->out_width}};
    if (beside != NULL)
        node.in[1] = *beside;
    add_node(b, node);
    return out;
}

graph_value graph_join_heads(struct graph_builder *b, graph_value x, graph_value beside, uint32_t n_heads)
{
    const uint32_t n = width_of(b, x) / n_heads, n_beside = width_of(b, beside) / n_heads;
    const struct graph_heads heads = {n_heads, n, 0, n, n + n_beside};
    const graph_value out = graph_heads_with(b, x, &beside, &heads);
    if (b->status == CHORD_OK)
        b->graph->nodes[b->graph->n_nodes - 1].heads.beside_each = true;
    return out;
}

graph_value graph_scale(struct graph_builder *b, graph_value x, float factor)
{
    return unary(b, (struct graph_node){.op = GRAPH_SCALE, .scale = {.factor = factor}}, x, width_of(b, x));
}

graph_value graph_soft_cap(struct graph_builder *b, graph_value x, float cap)
{
    return unary(b, (struct graph_node){.op = GRAPH_SOFT_CAP, .scale = {.factor = cap}}, x, width_of(b, x));
}

graph_value graph_activation(struct graph_builder *b, graph_value x, enum glu_kind kind)
{
    return unary(b, (struct graph_node){.op = GRAPH_GLU, .glu = {.kind = kind}}, x, width_of(b, x));
}

void graph_linear(struct graph_builder *b, graph_value x, const struct graph_linear *linears, uint32_t n,
                  graph_value *out)
{
    struct graph_node node = {.op = GRAPH_LINEAR, .n_in = 1, .in = {x}, .n_out = n, .linear = {.n_heads = 1}};
    for (uint32_t i = 0; i < n; i++) {
        out[i] = 0;
        if (b->status != CHORD_OK)
            continue;
        node.weight[i] = linears[i].weight;
        node.vector[i] = linears[i].bias;
        node.out[i] = out[i] = new_value(b, (uint32_t)linears[i].weight->n_rows);
        b->graph->weight_bytes += linears[i].weight->n_rows * linears[i].weight->row_bytes;
    }
    if (width_of(b, x) > b->graph->activation_floats)
        b->graph->activation_floats = width_of(b, x);
    add_node(b, node);
}

graph_value graph_linear1(struct graph_builder *b, graph_value x, struct graph_linear linear)
{
    graph_value out;
    graph_linear(b, x, &linear, 1, &out);
    return out;
}

graph_value graph_linear_heads(struct graph_builder *b, graph_value x, const struct weight *matrices, uint32_t n_heads)
{
    if (b->status != CHORD_OK)
        return 0;
    const graph_value out = graph_linear1(b, x, (struct graph_linear){.weight = matrices});
    if (b->status == CHORD_OK)
        b->graph->nodes[b->graph->n_nodes - 1].linear.n_heads = n_heads;
    return out;
}

void graph_rope(struct graph_builder *b, graph_value x, uint32_t n_heads, uint32_t head_dim, uint32_t first,
                uint32_t table)
{
    add_node(b,
             (struct graph_node){.op = GRAPH_ROPE,
                                 .n_in = 1,
                                 .in = {x},
                                 .rope = {.n_heads = n_heads, .head_dim = head_dim, .first = first, .table = table}});
}

graph_value graph_attention(struct graph_builder *b, graph_value q, graph_value k, graph_value v,
                            const struct graph_attention *a)
{
    struct graph_node node = {.op = GRAPH_KV_STORE,
                              .n_in = 2,
                              .in = {k, v},
                              .attention = {.n_head = a->n_head,
                                            .n_head_kv = a->n_head_kv,
                                            .head_dim = a->head_dim,
                                            .window = a->window,
                                            .scale = a->scale,
                                            .soft_cap = a->soft_cap,
                                            .kv_layer = a->is_encoder ? 0 : b->layer}};
    add_node(b, node);
    const graph_value out = new_value(b, a->n_head * a->head_dim);
    node.op = GRAPH_ATTENTION;
    node.n_in = 1;
    node.in[0] = q;
    node.n_out = 1;
    node.out[0] = out;
    node.vector[0] = a->sinks;
    add_node(b, node);
    b->graph->n_head_kv = a->n_head_kv;
    b->graph->head_dim = a->head_dim;
    if (b->layer != GRAPH_NO_LAYER && b->layer + 1 > b->graph->n_layer)
        b->graph->n_layer = b->layer + 1;
    b->graph->is_encoder = a->is_encoder;
    b->graph->n_kv_layers = a->is_encoder ? 1 : b->graph->n_layer;
    return out;
}

graph_value graph_glu(struct graph_builder *b, graph_value gate, graph_value up, enum glu_kind kind)
{
    const graph_value out = new_value(b, width_of(b, gate));
    add_node(b, (struct graph_node){
                    .op = GRAPH_GLU, .n_in = 2, .in = {gate, up}, .n_out = 1, .out = {out}, .glu = {.kind = kind}});
    return out;
}

graph_value graph_add(struct graph_builder *b, graph_value x, graph_value y)
{
    const graph_value out = new_value(b, width_of(b, x));
    add_node(b, (struct graph_node){.op = GRAPH_ADD, .n_in = 2, .in = {x, y}, .n_out = 1, .out = {out}});
    return out;
}

graph_value graph_route(struct graph_builder *b, graph_value logits, const struct graph_routing *routing)
{
    const graph_value out = new_value(b, 2 * routing->n_used);
    add_node(b, (struct graph_node){.op = GRAPH_ROUTE,
                                    .n_in = 1,
                                    .in = {logits},
                                    .n_out = 1,
                                    .out = {out},
                                    .vector = {routing->bias},
                                    .route = {.n_used = routing->n_used,
                                              .renormalized = routing->renormalized,
                                              .is_sigmoid = routing->is_sigmoid,
                                              .n_groups = routing->n_groups == 0 ? 1 : routing->n_groups,
                                              .n_groups_used = routing->n_groups_used}});
    return out;
}

graph_value graph_experts(struct graph_builder *b, graph_value x, graph_value route,
                          const struct graph_experts *experts)
{
    if (b->status != CHORD_OK)
        return 0;
    const uint32_t n_used = width_of(b, route) / 2, n_embd = width_of(b, x), n_ff = (uint32_t)experts->down->n;
    struct graph_node node = {.op = GRAPH_EXPERTS,
                              .n_in = 2,
                              .in = {x, route},
                              .n_out = 4,
                              .weight = {experts->gate, experts->up, experts->down},
                              .vector = {experts->biases[0], experts->biases[1], experts->biases[2]},
                              .experts = {.glu = experts->glu, .n_expert = experts->n_expert, .n_used = n_used}};
    node.out[0] = new_value(b, n_embd);
    node.out[1] = new_value(b, n_used * n_ff);
    node.out[2] = new_value(b, n_used * n_ff);
    node.out[3] = new_value(b, n_used * n_embd);
    add_node(b, node);
    for (int i = 0; i < 3; i++)
        b->graph->weight_bytes += node.weight[i]->n_rows * node.weight[i]->row_bytes / experts->n_expert * n_used;
    b->graph->n_expert = experts->n_expert;
    b->graph->n_expert_used = n_used;
    return node.out[0];
}

graph_value graph_sigmoid_scale(struct graph_builder *b, graph_value gate, graph_value x)
{
    const graph_value out = new_value(b, width_of(b, x));
    add_node(b, (struct graph_node){.op = GRAPH_SIGMOID_SCALE, .n_in = 2, .in = {gate, x}, .n_out = 1, .out = {out}});
    return out;
}

graph_value graph_begin_head(struct graph_builder *b, graph_value x)
{
    b->layer = GRAPH_NO_LAYER;
    b->graph->head_begin = b->graph->n_nodes;
    return unary(b, (struct graph_node){.op = GRAPH_GATHER}, x, width_of(b, x));
}

graph_value graph_begin_embedding(struct graph_builder *b, graph_value x)
{
    b->layer = GRAPH_NO_LAYER;
    b->graph->embedding_begin = b->graph->n_nodes;
    if (b->graph->head_begin == UINT32_MAX)
        b->graph->head_begin = b->graph->n_nodes;
    return unary(b, (struct graph_node){.op = GRAPH_GATHER}, x, width_of(b, x));
}

void graph_end_embedding(struct graph_builder *b, graph_value embedding)
{
    b->graph->embedding = embedding;
}

uint32_t graph_add_rope(struct graph_builder *b, enum rope_kind kind, uint32_t n_rot, const double *inverse_frequency,
                        float magnitude)
{
    if (b->status != CHORD_OK)
        return 0;
    const uint32_t table = b->graph->n_ropes;
    if (table == GRAPH_MAX_ROPES) {
        graph_build_fail(b, CHORD_MODEL_HPARAMS, "an architecture with more than %d tables of RoPE", GRAPH_MAX_ROPES);
        return 0;
    }
    float *frequencies = memory_zalloc(b->account, MEMORY_METADATA, n_rot / 2, sizeof *frequencies);
    if (frequencies == NULL) {
        fail_memory(b, n_rot / 2 * sizeof *frequencies, "RoPE frequencies");
        return 0;
    }
    for (uint32_t i = 0; i < n_rot / 2; i++)
        frequencies[i] = (float)inverse_frequency[i];
    b->graph->ropes[table] = (struct graph_rope){.kind = kind,
                                                 .n_rot = n_rot,
                                                 .inverse_frequency = frequencies,
                                                 .magnitude = magnitude,
                                                 .first_float = b->graph->rope_floats};
    b->graph->rope_floats += n_rot;
    b->graph->n_ropes++;
    return table;
}

// First-fit over the values alive at one time: widths stand for bytes, since all values of a region have as many rows.
static uint64_t place(const struct graph *graph, uint32_t index)
{
    const struct graph_value_info *value = &graph->values[index];
    uint64_t offset = 0;
    bool moved;
    do {
        moved = false;
        for (uint32_t i = 0; i < index; i++) {
            const struct graph_value_info *other = &graph->values[i];
            if (other->rows != value->rows || other->last_node < value->first_node ||
                other->offset + other->width <= offset || offset + value->width <= other->offset)
                continue;
            offset = other->offset + other->width;
            moved = true;
        }
    } while (moved);
    return offset;
}

static void plan_scratch(struct graph *graph)
{
    // The head runs several times over what the trunk left: its input must outlive the last node.
    for (uint32_t i = graph->head_begin; i < graph->n_nodes; i++)
        for (uint32_t k = 0; k < graph->nodes[i].n_in; k++)
            if (graph->values[graph->nodes[i].in[k]].rows == GRAPH_TOKEN_ROWS)
                graph->values[graph->nodes[i].in[k]].last_node = graph->n_nodes;
    for (uint32_t i = 0; i < graph->n_values; i++) {
        struct graph_value_info *value = &graph->values[i];
        uint64_t *floats = value->rows == GRAPH_TOKEN_ROWS ? &graph->token_floats : &graph->output_floats;
        value->offset = place(graph, i);
        if (value->offset + value->width > *floats)
            *floats = value->offset + value->width;
    }
}

// X.input_scale: with it converters of NVFP4 models say how activations may be quantized to 4 bits, which they are not here.
static bool is_input_scale(const struct gguf_string *name)
{
    static const char suffix[] = ".input_scale";
    const size_t n = sizeof suffix - 1;
    return name->n_bytes > n && memcmp(name->bytes + name->n_bytes - n, suffix, n) == 0;
}

static void check_all_tensors_used(struct graph_builder *b)
{
    for (uint64_t i = 0; b->status == CHORD_OK && i < gguf_n_tensors(b->gguf); i++) {
        const struct gguf_string name = gguf_tensor(b->gguf, i)->name;
        char printable[80];
        if (!b->tensor_used[i] && !is_input_scale(&name))
            graph_build_fail(b, CHORD_MODEL_TENSOR,
                             "the file has the tensor '%s', which this architecture does not use: running the model "
                             "without it would give wrong text",
                             chord_printable(printable, sizeof printable, name.bytes, name.n_bytes));
    }
}

enum chord_status graph_finish(struct graph_builder *b, graph_value logits, struct graph **out)
{
    if (b->status == CHORD_OK) {
        b->graph->logits = logits;
        if (b->graph->embedding_begin == UINT32_MAX)
            b->graph->embedding_begin = b->graph->n_nodes;
        b->status = graph_fuse(b->graph, b->err);
    }
    if (b->status == CHORD_OK)
        plan_scratch(b->graph);
    check_all_tensors_used(b);
    memory_free(b->account, b->tensor_used);
    if (b->status != CHORD_OK) {
        graph_free(b->graph);
        return b->status;
    }
    *out = b->graph;
    return CHORD_OK;
}
