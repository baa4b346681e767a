// LINEAR: up to three matrices over one input, generated rows by the matvec family, prompt rows by the GEMM.
#include "backend/cpu_run.h"

// Bytes of weights in one chunk of a LINEAR: large enough that handing it out costs nothing, small enough that a thread
// which loses its core delays the others by some microseconds only.
#define LINEAR_CHUNK_BYTES 131072u
// The same where prompts make each row cost hundreds of times as much.
#define PROMPT_CHUNK_BYTES 32768u

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

enum chord_status run_linear(const struct run *run, const struct graph_node *node)
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
