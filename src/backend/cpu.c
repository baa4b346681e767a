#include "backend/backend.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

// Bytes of weights in one chunk of a LINEAR: large enough that handing it out costs nothing, small enough that a thread
// which loses its core delays the others by some microseconds only.
#define LINEAR_CHUNK_BYTES 131072u
// The same where prompts make each row cost hundreds of times as much.
#define PROMPT_CHUNK_BYTES 32768u
// Work per chunk below which threads are not worth waking, in floats touched.
#define ROW_CHUNK_FLOATS 16384u

struct backend {
    const struct graph *graph;
    struct weights *weights;
    const struct kernels *kernels;
    struct pool *pool;
    const struct kv_layout *kv;
    struct memory_account *account;

    uint32_t row_capacity, output_capacity;
    float *tokens;                         // [token_floats * row_capacity]: values of token rows, each value contiguous
    float *outputs;                        // [output_floats * output_capacity]
    float *rope;                           // [row_capacity, 2, n_rot / 2]: cosines, then sines of each row's position
    char *activations[N_ACTIVATION_TYPES]; // [row_capacity, column_bytes], NULL where no weight wants the type
    char *gemm_scratch;                    // [n_threads, gemm.scratch_bytes]
    _Atomic uint64_t weight_bytes;
};

// One run over rows: what every node needs.
struct run {
    struct backend *backend;
    const struct batch_row *rows; // NULL in the head
    const uint32_t *output_rows;  // NULL in the trunk
    uint32_t n_rows;              // token rows in the trunk, output rows in the head
    uint32_t n_matvec;            // of them, the first ones, that take the matvec family; the others take the GEMM
    struct chord_error *err;
};

static float *value_of(const struct backend *backend, graph_value id)
{
    const struct graph_value_info *value = &backend->graph->values[id];
    return value->rows == GRAPH_TOKEN_ROWS ? backend->tokens + value->offset * backend->row_capacity
                                           : backend->outputs + value->offset * backend->output_capacity;
}

static uint32_t width_of(const struct backend *backend, graph_value id)
{
    return backend->graph->values[id].width;
}

// ---- Scratch --------------------------------------------------------------------------------------------------------

// Bytes from one prepared column of n elements to the next: room for the form of the matvec family and of the GEMM.
static uint64_t column_bytes(const struct kernels *kernels, enum activation_type type, uint64_t n)
{
    const uint64_t for_matvec = kernels->activation[type].bytes(n), for_gemm = kernels->gemm.columns[type].bytes(n);
    return for_matvec > for_gemm ? for_matvec : for_gemm;
}

// The most column_bytes of any input that some weight wants in this form; 0: none does.
static uint64_t most_column_bytes(const struct graph *graph, const struct kernels *kernels, enum activation_type type)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const struct graph_node *node = &graph->nodes[i];
        for (uint32_t k = 0; node->op == GRAPH_LINEAR && k < node->n_out; k++) {
            if (node->weight[k]->type->activation != type)
                continue;
            const uint64_t bytes = column_bytes(kernels, type, node->weight[k]->n);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

uint64_t backend_scratch_bytes(const struct graph *graph, const struct kernels *kernels, uint32_t n_threads,
                               uint32_t n_rows, uint32_t n_outputs)
{
    uint64_t per_row = (graph->token_floats + graph->rope.n_rot) * sizeof(float);
    for (int type = 0; type < N_ACTIVATION_TYPES; type++)
        per_row += most_column_bytes(graph, kernels, (enum activation_type)type);
    return (uint64_t)kernels->gemm.scratch_bytes * n_threads + per_row * n_rows +
           graph->output_floats * sizeof(float) * n_outputs;
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
    const uint64_t scratch = (uint64_t)kernels->gemm.scratch_bytes * pool_n_threads(pool);
    backend->gemm_scratch = memory_alloc(account, MEMORY_SCRATCH, scratch, GEMM_ALIGNMENT);
    if (backend->gemm_scratch == NULL) {
        const enum chord_status status = memory_account_fail(account, err, scratch, "the panels of the GEMM");
        backend_free(backend);
        return status;
    }
    *out = backend;
    return CHORD_OK;
}

static void release_token_scratch(struct backend *backend)
{
    memory_free(backend->account, backend->tokens);
    memory_free(backend->account, backend->rope);
    backend->tokens = backend->rope = NULL;
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
    memory_free(backend->account, backend->gemm_scratch);
    memory_free(backend->account, backend);
}

// Allocates token scratch for n_rows into *backend, whose pointers are NULL. False: out of memory.
static bool allocate_token_scratch(struct backend *backend, uint32_t n_rows)
{
    const struct graph *graph = backend->graph;
    backend->tokens = memory_alloc(backend->account, MEMORY_SCRATCH, graph->token_floats * n_rows * sizeof(float), 64);
    backend->rope =
        memory_alloc(backend->account, MEMORY_SCRATCH, (uint64_t)graph->rope.n_rot * n_rows * sizeof(float), 64);
    bool complete = backend->tokens != NULL && backend->rope != NULL;
    for (int type = 0; complete && type < N_ACTIVATION_TYPES; type++) {
        const uint64_t bytes = most_column_bytes(graph, backend->kernels, (enum activation_type)type);
        if (bytes == 0)
            continue;
        backend->activations[type] =
            memory_alloc(backend->account, MEMORY_SCRATCH, bytes * n_rows, ACTIVATION_ALIGNMENT);
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

enum chord_status backend_reserve(struct backend *backend, uint32_t n_rows, uint32_t n_outputs, struct chord_error *err)
{
    const enum chord_status status = reserve_rows(backend, n_rows, err);
    if (status != CHORD_OK || n_outputs <= backend->output_capacity)
        return status;
    const uint64_t bytes = backend->graph->output_floats * n_outputs * sizeof(float);
    float *outputs = memory_alloc(backend->account, MEMORY_SCRATCH, bytes, 64);
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

// Calls row(run, node, r) for every row, on several threads when there is enough of it.
static enum chord_status for_each_row(const struct run *run, const struct graph_node *node, uint32_t floats_per_row,
                                      void (*row)(const struct run *, const struct graph_node *, uint32_t))
{
    const uint32_t fit = ROW_CHUNK_FLOATS / (floats_per_row + 1) + 1;
    struct row_job job = {.run = run, .node = node, .row = row, .rows_per_chunk = fit};
    pool_run(run->backend->pool, run_row_chunk, &job, (run->n_rows + fit - 1) / fit);
    return CHORD_OK;
}

static float *row_of(const struct run *run, graph_value value, uint32_t row)
{
    return value_of(run->backend, value) + (uint64_t)row * width_of(run->backend, value);
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

static void rope_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const struct graph_rope *rope = &run->backend->graph->rope;
    const float *cosines = run->backend->rope + (uint64_t)row * rope->n_rot;
    run->backend->kernels->rope(row_of(run, node->in[0], row), node->rope.n_heads, node->rope.head_dim, rope->n_rot,
                                rope->kind, cosines, cosines + rope->n_rot / 2);
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
        run->backend->kernels->kv_store(k + (uint64_t)head * kv->head_dim, v + (uint64_t)head * kv->head_dim,
                                        kv->head_dim, at->position % KV_BLOCK_TOKENS,
                                        (uint16_t *)(block + kv_keys_at(kv, node->layer, head)),
                                        (uint16_t *)(block + kv_values_at(kv, node->layer, head)));
}

static enum chord_status run_kv_store(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->in[0]) * 2, kv_store_row);
}

static void silu_mul_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    run->backend->kernels->silu_mul(row_of(run, node->in[0], row), row_of(run, node->in[1], row),
                                    row_of(run, node->out[0], row), width_of(run->backend, node->out[0]));
}

static enum chord_status run_silu_mul(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->out[0]), silu_mul_row);
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

// ---- Attention ----------------------------------------------------------------------------------------------------------

struct attention_job {
    const struct run *run;
    const struct graph_node *node;
};

// One chunk: the query heads of one KV head of one row.
static void run_attention_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct attention_job *job = context;
    const struct graph_node *node = job->node;
    const struct kv_layout *kv = job->run->backend->kv;
    (void)thread;
    const uint32_t row = chunk / node->attention.n_head_kv, head = chunk % node->attention.n_head_kv;
    const struct batch_row *at = &job->run->rows[row];
    const uint32_t n_q = node->attention.n_head / node->attention.n_head_kv;
    const uint32_t end = at->position + 1, window = node->attention.window;
    const uint64_t heads_at = (uint64_t)head * n_q * kv->head_dim;
    const struct attention_args args = {
        .q = row_of(job->run, node->in[0], row) + heads_at,
        .n_q = n_q,
        .head_dim = kv->head_dim,
        .scale = node->attention.scale,
        .blocks = (const void *const *)at->kv->blocks,
        .k_offset = kv_keys_at(kv, node->layer, head),
        .v_offset = kv_values_at(kv, node->layer, head),
        .first = window != 0 && end > window ? end - window : 0,
        .end = end,
        .out = row_of(job->run, node->out[0], row) + heads_at,
    };
    job->run->backend->kernels->attention(&args);
}

static enum chord_status run_attention(const struct run *run, const struct graph_node *node)
{
    struct attention_job job = {.run = run, .node = node};
    pool_run(run->backend->pool, run_attention_chunk, &job, run->n_rows * node->attention.n_head_kv);
    return CHORD_OK;
}

// ---- Matrices -----------------------------------------------------------------------------------------------------------

struct linear_part {
    const struct weight *weight;
    const float *bias;
    float *out;
    uint64_t rows_per_chunk;
    uint64_t chunks_per_tile;
    uint32_t n_chunks;
};

struct linear_job {
    const struct run *run;
    const float *in;
    uint32_t width;
    uint64_t column_bytes[N_ACTIVATION_TYPES]; // 0: not wanted by this node
    struct linear_part parts[GRAPH_MAX_LINEAR];
    uint32_t n_parts;
    uint32_t columns_per_chunk; // when activations are prepared
    _Atomic bool failed;
    _Atomic bool error_taken; // by the first chunk that failed: it alone writes run->err
    enum chord_status status;
};

static void prepare_columns(void *context, uint32_t chunk, uint32_t thread)
{
    const struct linear_job *job = context;
    struct backend *backend = job->run->backend;
    const struct kernels *kernels = backend->kernels;
    (void)thread;
    const uint32_t first = chunk * job->columns_per_chunk;
    for (uint32_t c = first; c < first + job->columns_per_chunk && c < job->run->n_rows; c++)
        for (int type = 0; type < N_ACTIVATION_TYPES; type++) {
            if (job->column_bytes[type] == 0)
                continue;
            const float *in = job->in + (uint64_t)c * job->width;
            char *out = backend->activations[type] + c * job->column_bytes[type];
            if (c < job->run->n_matvec)
                kernels->activation[type].quantize(in, out, job->width);
            else
                kernels->gemm.columns[type].prepare(in, out, job->width);
        }
}

// A run of rows of one matrix, inside one tile.
struct row_range {
    const void *rows;
    uint64_t first, n;
};

static void multiply_generated(const struct linear_job *job, const struct linear_part *part, struct row_range range)
{
    const struct backend *backend = job->run->backend;
    const struct weight *weight = part->weight;
    const enum activation_type type = weight->type->activation;
    matvec_kernel *matvec = backend->kernels->matvec[weight->type->type];
    for (uint32_t c = 0; c < job->run->n_matvec; c += MATVEC_MAX_COLUMNS) {
        const void *columns[MATVEC_MAX_COLUMNS];
        float *out[MATVEC_MAX_COLUMNS];
        const uint32_t left = job->run->n_matvec - c;
        const uint32_t n_columns = left < MATVEC_MAX_COLUMNS ? left : MATVEC_MAX_COLUMNS;
        for (uint32_t k = 0; k < n_columns; k++) {
            columns[k] = backend->activations[type] + (c + k) * job->column_bytes[type];
            out[k] = part->out + (c + k) * weight->n_rows + range.first;
        }
        matvec(range.rows, weight->row_bytes, range.n, weight->n, columns, n_columns, out, PREFETCH_DEFAULT);
    }
}

static void multiply_prompt(const struct linear_job *job, const struct linear_part *part, struct row_range range,
                            uint32_t thread)
{
    const struct backend *backend = job->run->backend;
    const struct gemm_kernels *gemm = &backend->kernels->gemm;
    const struct weight *weight = part->weight;
    const enum activation_type type = weight->type->activation;
    const uint64_t first = job->run->n_matvec, stride = job->column_bytes[type];
    if (first == job->run->n_rows)
        return;
    gemm->multiply[weight->type->type](range.rows, weight->row_bytes, range.n, weight->n,
                                       backend->activations[type] + first * stride, stride, job->run->n_rows - first,
                                       part->out + first * weight->n_rows + range.first, weight->n_rows,
                                       backend->gemm_scratch + (uint64_t)thread * gemm->scratch_bytes);
}

static void add_bias(const struct linear_job *job, const struct linear_part *part, struct row_range range)
{
    for (uint32_t c = 0; part->bias != NULL && c < job->run->n_rows; c++) {
        float *out = part->out + (uint64_t)c * part->weight->n_rows + range.first;
        job->run->backend->kernels->add(out, part->bias + range.first, out, range.n);
    }
}

static void run_linear_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    struct linear_job *job = context;
    const struct linear_part *part = job->parts;
    if (atomic_load_explicit(&job->failed, memory_order_relaxed))
        return;
    for (; chunk >= part->n_chunks; part++)
        chunk -= part->n_chunks;
    const struct weight *weight = part->weight;
    const uint64_t tile = chunk / part->chunks_per_tile;
    const uint64_t in_tile = chunk % part->chunks_per_tile * part->rows_per_chunk;
    const uint64_t first_row = tile * weight->tile_rows + in_tile;
    const uint64_t tile_end =
        (tile + 1) * weight->tile_rows < weight->n_rows ? (tile + 1) * weight->tile_rows : weight->n_rows;
    if (first_row >= tile_end)
        return; // the last tile is shorter than the others
    const uint64_t left = tile_end - first_row;
    const uint64_t n_rows = left < part->rows_per_chunk ? left : part->rows_per_chunk;
    const void *rows;
    struct chord_error error;
    struct backend *backend = job->run->backend;
    const enum chord_status status = weights_acquire(backend->weights, weight, tile, &rows, &error);
    if (status != CHORD_OK) {
        if (!atomic_exchange(&job->error_taken, true)) {
            job->status = status;
            if (job->run->err != NULL)
                *job->run->err = error;
        }
        atomic_store(&job->failed, true);
        return;
    }
    const struct row_range range = {(const char *)rows + in_tile * weight->row_bytes, first_row, n_rows};
    multiply_generated(job, part, range);
    multiply_prompt(job, part, range, thread);
    add_bias(job, part, range);
    weights_release(backend->weights, weight, tile);
    atomic_fetch_add_explicit(&backend->weight_bytes, n_rows * weight->row_bytes, memory_order_relaxed);
}

static void split_into_chunks(struct linear_part *part, const struct run *run)
{
    const struct weight *weight = part->weight;
    const uint64_t multiple = run->n_matvec < run->n_rows ? run->backend->kernels->gemm.rows : 1;
    // Several generated tokens multiply the work of a chunk; an eighth is where rows become too few for the kernels.
    const uint64_t bytes =
        run->n_matvec < run->n_rows ? PROMPT_CHUNK_BYTES : LINEAR_CHUNK_BYTES / (run->n_rows < 8 ? run->n_rows : 8);
    const uint64_t rows = (bytes / weight->row_bytes / multiple + 1) * multiple;
    part->rows_per_chunk = rows < weight->tile_rows ? rows : weight->tile_rows;
    part->chunks_per_tile = (weight->tile_rows + part->rows_per_chunk - 1) / part->rows_per_chunk;
    part->n_chunks = (uint32_t)(weight->n_tiles * part->chunks_per_tile);
}

static enum chord_status run_linear(const struct run *run, const struct graph_node *node)
{
    struct backend *backend = run->backend;
    struct linear_job job = {.run = run,
                             .in = value_of(backend, node->in[0]),
                             .width = width_of(backend, node->in[0]),
                             .n_parts = node->n_out};
    uint32_t n_chunks = 0;
    for (uint32_t i = 0; i < node->n_out; i++) {
        const enum activation_type type = node->weight[i]->type->activation;
        job.column_bytes[type] = column_bytes(backend->kernels, type, job.width);
        job.parts[i] = (struct linear_part){
            .weight = node->weight[i], .bias = node->vector[i], .out = value_of(backend, node->out[i])};
        split_into_chunks(&job.parts[i], run);
        n_chunks += job.parts[i].n_chunks;
    }
    job.columns_per_chunk = ROW_CHUNK_FLOATS / (job.width + 1) + 1;
    pool_run(backend->pool, prepare_columns, &job, (run->n_rows + job.columns_per_chunk - 1) / job.columns_per_chunk);
    pool_run(backend->pool, run_linear_chunk, &job, n_chunks);
    return job.status;
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
    const struct graph_rope *rope = &backend->graph->rope;
    const uint32_t half = rope->n_rot / 2;
    for (uint32_t r = 0; r < n_rows; r++) {
        float *cosines = backend->rope + (uint64_t)r * rope->n_rot, *sines = cosines + half;
        for (uint32_t i = 0; i < half; i++) {
            const double angle = (double)rows[r].position * (double)rope->inverse_frequency[i];
            cosines[i] = (float)cos(angle) * rope->magnitude;
            sines[i] = (float)sin(angle) * rope->magnitude;
        }
    }
}

enum chord_status backend_run_trunk(struct backend *backend, const struct batch_row *rows, uint32_t n_rows,
                                    bool (*abort_requested)(void *user), void *user, struct chord_error *err)
{
    const struct graph *graph = backend->graph;
    struct run run = {.backend = backend, .rows = rows, .n_rows = n_rows, .err = err};
    while (run.n_matvec < n_rows && !rows[run.n_matvec].in_prompt)
        run.n_matvec++;
    fill_rope_tables(backend, rows, n_rows);
    for (uint32_t i = 0; i < graph->head_begin; i++) {
        if (abort_requested != NULL && abort_requested(user))
            return chord_fail(err, CHORD_CANCELLED, "cancelled");
        const enum chord_status status = run_op[graph->nodes[i].op](&run, &graph->nodes[i]);
        if (status != CHORD_OK)
            return status;
    }
    return CHORD_OK;
}

enum chord_status backend_run_head(struct backend *backend, const uint32_t *output_rows, uint32_t n_outputs,
                                   float **logits, struct chord_error *err)
{
    const struct graph *graph = backend->graph;
    const struct run run = {
        .backend = backend, .output_rows = output_rows, .n_rows = n_outputs, .n_matvec = n_outputs, .err = err};
    for (uint32_t i = graph->head_begin; i < graph->n_nodes; i++) {
        const enum chord_status status = run_op[graph->nodes[i].op](&run, &graph->nodes[i]);
        if (status != CHORD_OK)
            return status;
    }
    *logits = value_of(backend, graph->logits);
    return CHORD_OK;
}

uint64_t backend_weight_bytes(const struct backend *backend)
{
    return atomic_load_explicit(&backend->weight_bytes, memory_order_relaxed);
}
