#include "backend/cpu_run.h"

#include "os/large_pages.h"
#include "os/thread.h"

#include <math.h>
#include <string.h>

// ---- Scratch --------------------------------------------------------------------------------------------------------

// The most bytes per row of any input that some weight wants in this form; 0: none does.
static uint64_t most_column_bytes(const struct graph *graph, const struct kernels *kernels, enum activation_type type)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const struct graph_node *node = &graph->nodes[i];
        const bool is_experts = node->op == GRAPH_EXPERTS;
        for (uint32_t k = 0; k < (is_experts ? 3 : node->op == GRAPH_LINEAR ? node->n_out : 0); k++) {
            if (node->weight[k]->type->activation != type)
                continue;
            const uint64_t bytes = column_bytes(kernels, type, node->weight[k]->n) *
                                   (is_experts ? node->experts.n_used : node->linear.n_heads);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

// Floats of the working row of a thread: whole cache lines, so that threads do not share any.
static uint64_t working_row_floats(const struct graph *graph)
{
    return (graph->activation_floats + 15) / 16 * 16;
}

static uint64_t thread_scratch_bytes(const struct graph *graph, const struct kernels *kernels)
{
    return kernels->gemm.scratch_bytes + working_row_floats(graph) * sizeof(float) +
           attention_scratch_bytes(graph->head_dim);
}

static uint64_t partial_bytes(const struct graph *graph)
{
    uint32_t n_head = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].op == GRAPH_ATTENTION && graph->nodes[i].attention.n_head > n_head)
            n_head = graph->nodes[i].attention.n_head;
    return (uint64_t)n_head * PARTIAL_SLOTS * attention_partial_floats(graph->head_dim) * sizeof(float);
}

uint64_t backend_scratch_bytes(const struct graph *graph, const struct kernels *kernels, uint32_t n_threads,
                               uint32_t n_rows, uint32_t n_outputs)
{
    uint64_t per_row =
        (graph->token_floats + graph->rope_floats) * sizeof(float) + graph->n_expert_used * sizeof(uint32_t);
    for (int type = 0; type < N_ACTIVATION_TYPES; type++)
        per_row += most_column_bytes(graph, kernels, (enum activation_type)type);
    return thread_scratch_bytes(graph, kernels) * n_threads + partial_bytes(graph) +
           graph->n_expert * (sizeof(struct expert_group) + sizeof(uint32_t)) + per_row * n_rows +
           graph->output_floats * sizeof(float) * n_outputs;
}

// Large pieces in large pages: a prompt's activations are read with long strides.
static void *alloc_scratch(struct memory_account *account, uint64_t bytes, uint64_t alignment)
{
    void *scratch = memory_alloc(account, MEMORY_SCRATCH, bytes, alignment);
    if (scratch != NULL)
        os_prefer_large_pages(scratch, bytes);
    return scratch;
}

static void publish_tuning(struct backend *backend)
{
    const struct tuning_choice *best = &backend->tuning.best;
    atomic_store(&backend->tuned, (uint64_t)best->prefetch.far << 32 | best->prefetch.near << 16 | best->n_threads);
}

enum chord_status backend_create(struct backend **out, const struct graph *graph, struct weights *weights,
                                 const struct kernels *kernels, struct pool *pool, const struct kv_layout *kv_layout,
                                 struct memory_account *account, struct chord_error *err)
{
    struct backend *backend = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *backend);
    if (backend == NULL)
        return memory_account_fail(account, err, sizeof *backend, "the CPU backend");
    backend->graph = graph;
    backend->weights = weights;
    backend->kernels = kernels;
    backend->pool = pool;
    backend->kv = kv_layout;
    backend->account = account;
    backend->layer_ns = memory_zalloc(account, MEMORY_METADATA, graph->n_layer + 1, sizeof *backend->layer_ns);
    if (backend->layer_ns == NULL) {
        backend_free(backend);
        return memory_account_fail(account, err, (graph->n_layer + 1) * sizeof *backend->layer_ns,
                                   "figures of the layers");
    }
    const uint64_t n_threads = pool_n_threads(pool);
    backend->normed_floats = working_row_floats(graph);
    backend->gemm_scratch = alloc_scratch(account, kernels->gemm.scratch_bytes * n_threads, GEMM_ALIGNMENT);
    if (backend->gemm_scratch != NULL)
        backend->normed = memory_alloc(account, MEMORY_SCRATCH, backend->normed_floats * n_threads * sizeof(float), 64);
    if (backend->normed != NULL)
        backend->attention_scratch =
            memory_alloc(account, MEMORY_SCRATCH, attention_scratch_bytes(graph->head_dim) * n_threads, 64);
    if (backend->attention_scratch != NULL)
        backend->partials = memory_alloc(account, MEMORY_SCRATCH, partial_bytes(graph), 64);
    if (backend->partials != NULL && graph->n_expert != 0)
        backend->groups = memory_zalloc(account, MEMORY_SCRATCH, graph->n_expert, sizeof *backend->groups);
    if (backend->groups != NULL)
        backend->chosen = memory_zalloc(account, MEMORY_SCRATCH, graph->n_expert, sizeof *backend->chosen);
    if (backend->partials == NULL || (graph->n_expert != 0 && backend->chosen == NULL)) {
        const enum chord_status status =
            memory_account_fail(account, err, thread_scratch_bytes(graph, kernels) * n_threads + partial_bytes(graph),
                                "working space of the compute threads");
        backend_free(backend);
        return status;
    }
    tuning_init(&backend->tuning, pool_n_threads(pool));
    publish_tuning(backend);
    *out = backend;
    return CHORD_OK;
}

static void release_token_scratch(struct backend *backend)
{
    memory_free(backend->account, backend->tokens);
    memory_free(backend->account, backend->rope);
    memory_free(backend->account, backend->route_columns);
    backend->tokens = backend->rope = NULL;
    backend->route_columns = NULL;
    for (int type = 0; type < N_ACTIVATION_TYPES; type++) {
        memory_free(backend->account, backend->activations[type]);
        backend->activations[type] = NULL;
    }
    backend->row_capacity = 0;
}

void backend_free(struct backend *backend)
{
    if (backend == NULL)
        return;
    release_token_scratch(backend);
    memory_free(backend->account, backend->outputs);
    memory_free(backend->account, backend->chosen);
    memory_free(backend->account, backend->groups);
    memory_free(backend->account, backend->partials);
    memory_free(backend->account, backend->attention_scratch);
    memory_free(backend->account, backend->normed);
    memory_free(backend->account, backend->gemm_scratch);
    memory_free(backend->account, (void *)backend->layer_ns);
    memory_free(backend->account, backend);
}

// Allocates token scratch for n_rows into *backend, whose pointers are NULL. False: out of memory.
static bool allocate_token_scratch(struct backend *backend, uint32_t n_rows)
{
    const struct graph *graph = backend->graph;
    backend->tokens = alloc_scratch(backend->account, graph->token_floats * n_rows * sizeof(float), 64);
    backend->rope =
        memory_alloc(backend->account, MEMORY_SCRATCH, ((uint64_t)graph->rope_floats * n_rows + 1) * sizeof(float), 64);
    bool complete = backend->tokens != NULL && backend->rope != NULL;
    if (complete && graph->n_expert_used != 0) {
        backend->route_columns =
            memory_zalloc(backend->account, MEMORY_SCRATCH, (uint64_t)graph->n_expert_used * n_rows, sizeof(uint32_t));
        complete = backend->route_columns != NULL;
    }
    for (int type = 0; complete && type < N_ACTIVATION_TYPES; type++) {
        const uint64_t bytes = most_column_bytes(graph, backend->kernels, (enum activation_type)type);
        if (bytes == 0)
            continue;
        backend->activations[type] = alloc_scratch(backend->account, bytes * n_rows, ACTIVATION_ALIGNMENT);
        complete = backend->activations[type] != NULL;
    }
    if (complete)
        backend->row_capacity = n_rows;
    else
        release_token_scratch(backend);
    return complete;
}

static enum chord_status reserve_rows(struct backend *backend, uint32_t n_rows, struct chord_error *err)
{
    const uint32_t before = backend->row_capacity;
    if (n_rows <= before)
        return CHORD_OK;
    // Nothing in scratch outlives a run, so the old memory goes first: the peak is that of the larger size alone.
    release_token_scratch(backend);
    if (allocate_token_scratch(backend, n_rows))
        return CHORD_OK;
    const enum chord_status status = memory_account_fail(
        backend->account, err, backend_scratch_bytes(backend->graph, backend->kernels, 0, n_rows, 0),
        "activations of one batch");
    if (before != 0)
        allocate_token_scratch(backend, before); // where even that fails, the next reserve starts from nothing
    return status;
}

void backend_trim(struct backend *backend, uint32_t n_rows)
{
    if (backend->row_capacity > n_rows)
        release_token_scratch(backend);
}

enum chord_status backend_reserve(struct backend *backend, uint32_t n_rows, uint32_t n_outputs, struct chord_error *err)
{
    const enum chord_status status = reserve_rows(backend, n_rows, err);
    if (status != CHORD_OK || n_outputs <= backend->output_capacity)
        return status;
    const uint64_t bytes = backend->graph->output_floats * n_outputs * sizeof(float);
    float *outputs = alloc_scratch(backend->account, bytes, 64);
    if (outputs == NULL)
        return memory_account_fail(backend->account, err, bytes, "logits");
    memory_free(backend->account, backend->outputs);
    backend->outputs = outputs;
    backend->output_capacity = n_outputs;
    return CHORD_OK;
}

// ---- Operations on single rows ----------------------------------------------------------------------------------------

struct row_job {
    const struct run *run;
    const struct graph_node *node;
    void (*row)(const struct run *run, const struct graph_node *node, uint32_t row);
    uint32_t rows_per_chunk;
};

static void run_row_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct row_job *job = context;
    (void)thread;
    const uint32_t first = chunk * job->rows_per_chunk;
    for (uint32_t r = first; r < first + job->rows_per_chunk && r < job->run->n_rows; r++)
        job->row(job->run, job->node, r);
}

enum chord_status for_each_row(const struct run *run, const struct graph_node *node, uint32_t floats_per_row,
                               void (*row)(const struct run *, const struct graph_node *, uint32_t))
{
    const uint32_t fit = ROW_CHUNK_FLOATS / (floats_per_row + 1) + 1;
    struct row_job job = {.run = run, .node = node, .row = row, .rows_per_chunk = fit};
    pool_run(run->backend->pool, run_row_chunk, &job, (run->n_rows + fit - 1) / fit);
    return CHORD_OK;
}

static enum chord_status run_embed(const struct run *run, const struct graph_node *node)
{
    for (uint32_t r = 0; r < run->n_rows; r++) {
        const enum chord_status status = weights_read_rows(run->backend->weights, node->weight[0], run->rows[r].token,
                                                           1, row_of(run, node->out[0], r), run->err);
        if (status != CHORD_OK)
            return status;
    }
    return CHORD_OK;
}

// Adds the row `index` of the node's weight.
static enum chord_status add_weight_row(const struct run *run, const struct graph_node *node, uint32_t row,
                                        uint64_t index)
{
    float *out = row_of(run, node->out[0], row);
    const enum chord_status status = weights_read_rows(run->backend->weights, node->weight[0], index, 1, out, run->err);
    if (status == CHORD_OK)
        run->backend->kernels->add(row_of(run, node->in[0], row), out, out, width_of(run->backend, node->out[0]));
    return status;
}

static enum chord_status run_position(const struct run *run, const struct graph_node *node)
{
    enum chord_status status = CHORD_OK;
    for (uint32_t r = 0; r < run->n_rows && status == CHORD_OK; r++)
        status = add_weight_row(run, node, r, run->rows[r].position);
    return status;
}

static enum chord_status run_token_type(const struct run *run, const struct graph_node *node)
{
    enum chord_status status = CHORD_OK;
    const uint64_t last = node->weight[0]->n_rows - 1;
    for (uint32_t r = 0; r < run->n_rows && status == CHORD_OK; r++)
        status = add_weight_row(run, node, r, run->rows[r].token_type < last ? run->rows[r].token_type : last);
    return status;
}

static enum chord_status run_gather(const struct run *run, const struct graph_node *node)
{
    for (uint32_t r = 0; r < run->n_rows; r++)
        memcpy(row_of(run, node->out[0], r), row_of(run, node->in[0], run->output_rows[r]),
               width_of(run->backend, node->in[0]) * sizeof(float));
    return CHORD_OK;
}

static void rms_norm_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const uint32_t width = width_of(run->backend, node->in[0]), segment = node->norm.segment;
    const float *in = row_of(run, node->in[0], row);
    float *out = row_of(run, node->out[0], row);
    for (uint32_t at = 0; at < width; at += segment)
        run->backend->kernels->rms_norm(in + at, node->vector[0], node->norm.eps, out + at, segment);
}

static enum chord_status run_rms_norm(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->in[0]), rms_norm_row);
}

static void layer_norm_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const uint32_t width = width_of(run->backend, node->in[0]), segment = node->norm.segment;
    const float *in = row_of(run, node->in[0], row);
    float *out = row_of(run, node->out[0], row);
    for (uint32_t at = 0; at < width; at += segment)
        run->backend->kernels->layer_norm(in + at, node->vector[0] + (node->norm.own_weights ? at : 0), node->vector[1],
                                          node->norm.eps, out + at, segment);
}

static enum chord_status run_layer_norm(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->in[0]), layer_norm_row);
}

static void slice_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    memcpy(row_of(run, node->out[0], row), row_of(run, node->in[0], row) + node->slice.first,
           width_of(run->backend, node->out[0]) * sizeof(float));
}

static enum chord_status run_slice(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), slice_row);
}

static void heads_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const uint32_t n = node->heads.n, n_all = node->n_in == 2 ? width_of(run->backend, node->in[1]) : 0;
    const uint32_t n_beside = node->heads.beside_each ? n_all / node->heads.n_heads : n_all;
    const float *in = row_of(run, node->in[0], row) + node->heads.first;
    const float *beside = node->n_in == 2 ? row_of(run, node->in[1], row) : NULL;
    float *out = row_of(run, node->out[0], row);
    for (uint32_t h = 0; h < node->heads.n_heads; h++, in += node->heads.in_width, out += node->heads.out_width) {
        memcpy(out, in, n * sizeof *out);
        if (beside != NULL)
            memcpy(out + n, beside + (node->heads.beside_each ? h * n_beside : 0), n_beside * sizeof *out);
        memset(out + n + n_beside, 0, (node->heads.out_width - n - n_beside) * sizeof *out);
    }
}

static enum chord_status run_heads(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), heads_row);
}

static void rope_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const struct graph *graph = run->backend->graph;
    const struct graph_rope *rope = &graph->ropes[node->rope.table];
    const float *cosines = run->backend->rope + (uint64_t)row * graph->rope_floats + rope->first_float;
    run->backend->kernels->rope(row_of(run, node->in[0], row) + node->rope.first, node->rope.n_heads,
                                node->rope.head_dim, rope->n_rot, rope->kind, cosines, cosines + rope->n_rot / 2);
}

static enum chord_status run_rope(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->in[0]), rope_row);
}

static void kv_store_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const struct kv_layout *kv = run->backend->kv;
    const struct batch_row *at = &run->rows[row];
    char *block = at->kv->blocks[at->position / KV_BLOCK_TOKENS];
    const float *k = row_of(run, node->in[0], row), *v = row_of(run, node->in[1], row);
    for (uint32_t head = 0; head < node->attention.n_head_kv; head++)
        run->backend->kernels->kv_store[kv->type](k + (uint64_t)head * kv->head_dim, v + (uint64_t)head * kv->head_dim,
                                                  kv->head_dim, at->position % KV_BLOCK_TOKENS,
                                                  block + kv_keys_at(kv, node->attention.kv_layer, head),
                                                  block + kv_values_at(kv, node->attention.kv_layer, head));
}

static enum chord_status run_kv_store(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->in[0]) * 2, kv_store_row);
}

static void glu_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    run->backend->kernels->glu[node->glu.kind](row_of(run, node->in[0], row),
                                               node->n_in == 2 ? row_of(run, node->in[1], row) : NULL,
                                               row_of(run, node->out[0], row), width_of(run->backend, node->out[0]));
}

static enum chord_status run_glu(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), glu_row);
}

static void add_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    run->backend->kernels->add(row_of(run, node->in[0], row), row_of(run, node->in[1], row),
                               row_of(run, node->out[0], row), width_of(run->backend, node->out[0]));
}

static enum chord_status run_add(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), add_row);
}

static void scale_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const float *in = row_of(run, node->in[0], row), factor = node->scale.factor;
    float *out = row_of(run, node->out[0], row);
    const uint32_t width = width_of(run->backend, node->out[0]);
    for (uint32_t i = 0; i < width; i++)
        out[i] = factor * in[i];
}

static enum chord_status run_scale(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), scale_row);
}

static void soft_cap_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const float *in = row_of(run, node->in[0], row), cap = node->scale.factor;
    float *out = row_of(run, node->out[0], row);
    const uint32_t width = width_of(run->backend, node->out[0]);
    for (uint32_t i = 0; i < width; i++)
        out[i] = cap * tanhf(in[i] / cap);
}

static enum chord_status run_soft_cap(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), soft_cap_row);
}

static void sigmoid_scale_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const float scale = 1 / (1 + expf(-*row_of(run, node->in[0], row)));
    const float *in = row_of(run, node->in[1], row);
    float *out = row_of(run, node->out[0], row);
    const uint32_t width = width_of(run->backend, node->out[0]);
    for (uint32_t i = 0; i < width; i++)
        out[i] = scale * in[i];
}

static enum chord_status run_sigmoid_scale(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), sigmoid_scale_row);
}

// ---- Runs ---------------------------------------------------------------------------------------------------------------

static enum chord_status (*const run_op[N_GRAPH_OPS])(const struct run *run, const struct graph_node *node) = {
#define X(ENUM, name) [GRAPH_##ENUM] = run_##name,
    GRAPH_OP_MAP(X)
#undef X
};

// In double precision: at position 100,000 the angle in single precision would be off by 0.004 radians.
static void fill_rope_tables(struct backend *backend, const struct batch_row *rows, uint32_t n_rows)
{
    const uint32_t n_tables = backend->graph->n_ropes;
    for (uint64_t k = 0; k < (uint64_t)n_rows * n_tables; k++) {
        const struct graph_rope *rope = &backend->graph->ropes[k % n_tables];
        const uint32_t r = (uint32_t)(k / n_tables), half = rope->n_rot / 2;
        float *cosines = backend->rope + (uint64_t)r * backend->graph->rope_floats + rope->first_float;
        float *sines = cosines + half;
        for (uint32_t i = 0; i < half; i++) {
            const double angle = (double)rows[r].position * (double)rope->inverse_frequency[i];
            cosines[i] = (float)cos(angle) * rope->magnitude;
            sines[i] = (float)sin(angle) * rope->magnitude;
        }
    }
}

// Tells the store which matrices the nodes begin .. end - 1 are about to use.
static void begin_pass(const struct backend *backend, uint32_t begin, uint32_t end)
{
    const struct weight *first = NULL, *last = NULL;
    for (uint32_t i = begin; i < end; i++) {
        const struct graph_node *node = &backend->graph->nodes[i];
        if (node->op != GRAPH_LINEAR)
            continue;
        if (first == NULL)
            first = node->weight[0];
        last = node->weight[node->n_out - 1];
    }
    if (first != NULL)
        weights_begin_pass(backend->weights, first, last);
}

static void count_layer(struct backend *backend, uint32_t layer, uint64_t *since)
{
    const uint64_t now = os_now_ns();
    atomic_fetch_add_explicit(&backend->layer_ns[layer], now - *since, memory_order_relaxed);
    *since = now;
}

static uint32_t layer_of(const struct graph *graph, uint32_t node)
{
    return graph->nodes[node].layer == GRAPH_NO_LAYER ? graph->n_layer : graph->nodes[node].layer;
}

static enum chord_status run_nodes(const struct run *run, uint32_t begin, uint32_t end,
                                   bool (*abort_requested)(void *user), void *user)
{
    struct backend *backend = run->backend;
    const struct graph *graph = backend->graph;
    enum chord_status status = CHORD_OK;
    uint64_t since = os_now_ns();
    begin_pass(backend, begin, end);
    for (uint32_t i = begin; i < end && status == CHORD_OK; i++) {
        if (abort_requested != NULL && abort_requested(user))
            status = chord_fail(run->err, CHORD_CANCELLED, "cancelled");
        else
            status = run_op[graph->nodes[i].op](run, &graph->nodes[i]);
        if (i + 1 == end || status != CHORD_OK || layer_of(graph, i + 1) != layer_of(graph, i))
            count_layer(backend, layer_of(graph, i), &since);
    }
    weights_end_pass(backend->weights);
    return status;
}

enum chord_status backend_run_trunk(struct backend *backend, const struct batch_row *rows, uint32_t n_rows,
                                    bool (*abort_requested)(void *user), void *user, struct chord_error *err)
{
    struct run run = {.backend = backend, .rows = rows, .n_rows = n_rows, .err = err};
    while (run.n_matvec < n_rows && !rows[run.n_matvec].in_prompt)
        run.n_matvec++;
    fill_rope_tables(backend, rows, n_rows);
    backend->tuned_ns = backend->tuned_bytes = 0;
    const enum chord_status status = run_nodes(&run, 0, backend->graph->head_begin, abort_requested, user);
    if (status == CHORD_OK && backend->tuned_bytes != 0) {
        tuning_step_done(&backend->tuning, backend->tuned_ns, backend->tuned_bytes);
        publish_tuning(backend);
    }
    return status;
}

enum chord_status backend_run_head(struct backend *backend, const uint32_t *output_rows, uint32_t n_outputs,
                                   float **logits, struct chord_error *err)
{
    const struct graph *graph = backend->graph;
    const struct run run = {
        .backend = backend, .output_rows = output_rows, .n_rows = n_outputs, .n_matvec = n_outputs, .err = err};
    *logits = value_of(backend, graph->logits);
    return run_nodes(&run, graph->head_begin, graph->embedding_begin, NULL, NULL);
}

enum chord_status backend_run_embedding(struct backend *backend, const uint32_t *output_rows, uint32_t n_outputs,
                                        float **out, struct chord_error *err)
{
    const struct graph *graph = backend->graph;
    const struct run run = {
        .backend = backend, .output_rows = output_rows, .n_rows = n_outputs, .n_matvec = n_outputs, .err = err};
    *out = value_of(backend, graph->embedding);
    return run_nodes(&run, graph->embedding_begin, graph->n_nodes, NULL, NULL);
}

struct backend_tuning backend_tuning(const struct backend *backend)
{
    const uint64_t tuned = atomic_load(&backend->tuned);
    return (struct backend_tuning){.prefetch = {.far = (uint32_t)(tuned >> 32), .near = (uint32_t)tuned >> 16},
                                   .n_threads = (uint32_t)tuned & 0xffff};
}

uint64_t backend_layer_ns(const struct backend *backend, uint32_t layer)
{
    return atomic_load_explicit(&backend->layer_ns[layer], memory_order_relaxed);
}

uint64_t backend_weight_bytes(const struct backend *backend)
{
    return atomic_load_explicit(&backend->weight_bytes, memory_order_relaxed);
}
