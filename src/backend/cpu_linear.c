// LINEAR: up to three matrices over one input, generated rows by the matvec family, prompt rows by the GEMM, with what
// graph/fuse.h joined to it: the norm of its input while that is prepared, the epilogue by whoever has a range of rows done.
#include "backend/cpu_run.h"

#include "os/thread.h"

// Bytes of weights in the smallest and the largest piece of work that a thread takes. The smallest lets the threads end
// together within microseconds. The largest is long because memory gives more to long runs: on two cores of an AVX-512 server
// 2 MB read 12 to 15 % more than 128 KB did.
#define SMALLEST_BYTES 32768u
#define LARGEST_BYTES 2097152u
// Pieces where prompts make each row cost hundreds of times as much.
#define PROMPT_SMALLEST_BYTES 8192u
#define PROMPT_LARGEST_BYTES 32768u

struct linear_matrix {
    const struct weight *weight;
    const float *bias;
    float *out;
};

// Matrices of one shape whose rows are done together: one, or the gate and the up of a GLU.
struct linear_part {
    struct linear_matrix matrices[2];
    uint32_t n_matrices;
    uint64_t n_rows;
    uint64_t rows_per_chunk;
    uint32_t n_chunks;
};

struct linear_job {
    const struct run *run;
    const struct graph_node *node;
    const float *in;
    uint32_t width;                            // of a column: of in, or of one of its heads
    uint32_t n_heads;                          // columns of a row; those of all rows' first heads come first
    uint64_t column_bytes[N_ACTIVATION_TYPES]; // 0: not wanted by this node
    struct linear_part parts[GRAPH_MAX_LINEAR];
    uint32_t n_parts;
    uint64_t weight_bytes;
    struct tuning_choice choice; // for generated rows
    uint32_t columns_per_chunk;  // when activations are prepared
    struct job_failure failure;
};

static void prepare_column(const struct linear_job *job, uint32_t column, uint32_t thread)
{
    const struct backend *backend = job->run->backend;
    const struct kernels *kernels = backend->kernels;
    const uint32_t row = column % job->run->n_rows, head = column / job->run->n_rows;
    const float *in = job->in + ((uint64_t)row * job->n_heads + head) * job->width;
    if (job->node->linear.has_norm) {
        float *normed = backend->normed + thread * backend->normed_floats;
        const struct graph_node *node = job->node;
        if (node->linear.is_layer_norm)
            kernels->layer_norm(in, node->linear.norm_weight, node->linear.norm_bias, node->linear.norm_eps, normed,
                                job->width);
        else
            kernels->rms_norm(in, node->linear.norm_weight, node->linear.norm_eps, normed, job->width);
        in = normed;
    }
    for (int type = 0; type < N_ACTIVATION_TYPES; type++) {
        if (job->column_bytes[type] == 0)
            continue;
        char *out = backend->activations[type] + column * job->column_bytes[type];
        if (row < job->run->n_matvec)
            kernels->activation[type].quantize(in, out, job->width);
        else
            kernels->gemm.columns[type].prepare(in, out, job->width);
    }
}

static void prepare_columns(void *context, uint32_t chunk, uint32_t thread)
{
    const struct linear_job *job = context;
    const uint32_t first = chunk * job->columns_per_chunk;
    const uint32_t n = job->run->n_rows * job->n_heads;
    for (uint32_t c = first; c < first + job->columns_per_chunk && c < n; c++)
        prepare_column(job, c, thread);
}

// A run of rows of one matrix, inside one tile.
struct row_range {
    const void *rows;
    uint64_t first, n;
};

static void multiply_generated(const struct backend *backend, const struct weight *weight, struct row_range range,
                               const struct columns *columns)
{
    matvec_kernel *matvec = backend->kernels->matvec[weight->type->type];
    for (uint32_t c = 0; c < columns->n_matvec; c += MATVEC_MAX_COLUMNS) {
        const void *prepared[MATVEC_MAX_COLUMNS];
        float *out[MATVEC_MAX_COLUMNS];
        const uint32_t left = columns->n_matvec - c;
        const uint32_t n = left < MATVEC_MAX_COLUMNS ? left : MATVEC_MAX_COLUMNS;
        for (uint32_t k = 0; k < n; k++) {
            prepared[k] = columns->prepared + (c + k) * columns->stride;
            out[k] = columns->out + (c + k) * columns->out_stride + (range.first - columns->first_row);
        }
        matvec(range.rows, weight->row_bytes, range.n, weight->n, prepared, n, out, columns->prefetch);
    }
}

static void multiply_prompt(const struct backend *backend, const struct weight *weight, struct row_range range,
                            const struct columns *columns, uint32_t thread)
{
    const struct gemm_kernels *gemm = &backend->kernels->gemm;
    const uint64_t first = columns->n_matvec;
    if (first == columns->n)
        return;
    gemm->multiply[weight->type->type](
        range.rows, weight->row_bytes, range.n, weight->n, columns->prepared + first * columns->stride, columns->stride,
        columns->n - first, columns->out + first * columns->out_stride + (range.first - columns->first_row),
        columns->out_stride, backend->gemm_scratch + (uint64_t)thread * gemm->scratch_bytes);
}

// Rows first .. end - 1, which lie in one tile and so in one matrix of the tensor.
static void multiply_by_scale(const struct weight *weight, uint64_t first, uint64_t end, const struct columns *columns)
{
    if (weight->scales == NULL)
        return;
    const float scale = weight->scales[first / weight->scale_rows];
    for (uint32_t c = 0; c < columns->n; c++) {
        float *out = columns->out + c * columns->out_stride;
        for (uint64_t r = first - columns->first_row; r < end - columns->first_row; r++)
            out[r] *= scale;
    }
}

enum chord_status multiply_rows(struct backend *backend, const struct weight *weight, uint64_t first, uint64_t end,
                                const struct columns *columns, uint32_t thread, struct chord_error *err)
{
    for (uint64_t row = first; row < end;) {
        const uint64_t tile = row / weight->tile_rows, in_tile = row % weight->tile_rows;
        const uint64_t left_in_tile = weight->tile_rows - in_tile;
        const uint64_t n = end - row < left_in_tile ? end - row : left_in_tile;
        const void *rows;
        const enum chord_status status = weights_acquire(backend->weights, weight, tile, &rows, err);
        if (status != CHORD_OK)
            return status;
        const struct row_range range = {(const char *)rows + in_tile * weight->row_bytes, row, n};
        multiply_generated(backend, weight, range, columns);
        multiply_prompt(backend, weight, range, columns, thread);
        multiply_by_scale(weight, row, row + n, columns);
        weights_release(backend->weights, weight, tile, n);
        row += n;
    }
    atomic_fetch_add_explicit(&backend->weight_bytes, (end - first) * weight->row_bytes, memory_order_relaxed);
    return CHORD_OK;
}

// Rows first .. end - 1 of one matrix, with their bias.
static enum chord_status multiply_matrix(const struct linear_job *job, const struct linear_matrix *matrix,
                                         uint64_t first, uint64_t end, uint32_t thread, struct chord_error *err)
{
    const struct run *run = job->run;
    const struct weight *weight = matrix->weight;
    const enum activation_type type = weight->type->activation;
    struct columns columns = {.stride = job->column_bytes[type],
                              .n = run->n_rows,
                              .n_matvec = run->n_matvec,
                              .out = matrix->out,
                              .out_stride = weight->n_rows,
                              .prefetch = job->choice.prefetch};
    const uint64_t rows_per_head = weight->n_rows / job->n_heads;
    enum chord_status status = CHORD_OK;
    for (uint64_t row = first; row < end && status == CHORD_OK;) {
        const uint64_t head = row / rows_per_head, left = (head + 1) * rows_per_head - row;
        const uint64_t n = end - row < left ? end - row : left;
        columns.prepared = run->backend->activations[type] + head * run->n_rows * columns.stride;
        status = multiply_rows(run->backend, weight, row, row + n, &columns, thread, err);
        row += n;
    }
    for (uint32_t c = 0; status == CHORD_OK && matrix->bias != NULL && c < run->n_rows; c++) {
        float *out = matrix->out + (uint64_t)c * weight->n_rows + first;
        run->backend->kernels->add(out, matrix->bias + first, out, end - first);
    }
    return status;
}

// While the results of rows first .. end - 1 are still in the thread's cache.
static void run_epilogue(const struct linear_job *job, const struct linear_part *part, uint64_t first, uint64_t end)
{
    const struct kernels *kernels = job->run->backend->kernels;
    const enum graph_epilogue epilogue = job->node->linear.epilogue;
    const float *residual = epilogue == GRAPH_EPILOGUE_ADD ? value_of(job->run->backend, job->node->in[1]) : NULL;
    for (uint32_t c = 0; epilogue != GRAPH_EPILOGUE_NONE && c < job->run->n_rows; c++) {
        const uint64_t at = c * part->n_rows + first;
        float *out = part->matrices[0].out + at;
        if (epilogue == GRAPH_EPILOGUE_GLU)
            kernels->glu[job->node->linear.glu](out, part->n_matrices == 2 ? part->matrices[1].out + at : NULL, out,
                                                end - first);
        else
            kernels->add(residual + at, out, out, end - first);
    }
}

void keep_error(struct job_failure *failure, enum chord_status status, const struct chord_error *error)
{
    if (!atomic_exchange(&failure->error_taken, true)) {
        failure->status = status;
        if (failure->err != NULL)
            *failure->err = *error;
    }
    atomic_store(&failure->failed, true);
}

static void run_part(struct linear_job *job, const struct linear_part *part, uint64_t first, uint64_t end,
                     uint32_t thread)
{
    for (uint32_t i = 0; i < part->n_matrices; i++) {
        struct chord_error error;
        const enum chord_status status = multiply_matrix(job, &part->matrices[i], first, end, thread, &error);
        if (status != CHORD_OK) {
            keep_error(&job->failure, status, &error);
            return;
        }
    }
    run_epilogue(job, part, first, end);
}

static void run_linear_chunks(void *context, uint32_t first, uint32_t n, uint32_t thread)
{
    struct linear_job *job = context;
    const uint32_t end = first + n;
    uint32_t part_begin = 0;
    for (uint32_t i = 0; i < job->n_parts; part_begin += job->parts[i++].n_chunks) {
        const struct linear_part *part = &job->parts[i];
        const uint32_t from = first > part_begin ? first : part_begin;
        const uint32_t to = end < part_begin + part->n_chunks ? end : part_begin + part->n_chunks;
        if (from >= to || atomic_load_explicit(&job->failure.failed, memory_order_relaxed))
            continue;
        const uint64_t end_row = (to - part_begin) * part->rows_per_chunk;
        run_part(job, part, (from - part_begin) * part->rows_per_chunk, end_row < part->n_rows ? end_row : part->n_rows,
                 thread);
    }
}

struct piece_bytes piece_bytes(const struct run *run, uint32_t n_columns)
{
    if (run->n_matvec < run->n_rows)
        return (struct piece_bytes){PROMPT_SMALLEST_BYTES, PROMPT_LARGEST_BYTES};
    // Several generated tokens multiply the work of a piece; an eighth is where rows become too few for the kernels.
    const uint32_t n = n_columns < 8 ? n_columns : 8;
    return (struct piece_bytes){SMALLEST_BYTES / n, LARGEST_BYTES / n};
}

static uint64_t least_tile_rows(const struct linear_part *part)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < part->n_matrices; i++)
        least = part->matrices[i].weight->tile_rows < least ? part->matrices[i].weight->tile_rows : least;
    return least;
}

// In paged mode a thread works on half a tile at most, so that tiles are soon done with and few are in use at a time.
static uint32_t chunks_within_tiles(const struct linear_job *job, uint32_t most)
{
    for (uint32_t i = 0; i < job->n_parts; i++) {
        const uint64_t n = least_tile_rows(&job->parts[i]) / 2 / job->parts[i].rows_per_chunk;
        most = n < most ? (uint32_t)n : most;
    }
    return most == 0 ? 1 : most;
}

static void split_into_chunks(struct linear_part *part, const struct run *run)
{
    const uint64_t gemm_rows = run->backend->kernels->gemm.rows;
    const bool has_panels = run->n_matvec < run->n_rows && gemm_rows <= least_tile_rows(part);
    const uint64_t multiple = has_panels ? gemm_rows : 1;
    uint64_t row_bytes = 0;
    for (uint32_t i = 0; i < part->n_matrices; i++)
        row_bytes += part->matrices[i].weight->row_bytes;
    part->n_rows = part->matrices[0].weight->n_rows;
    part->rows_per_chunk = (piece_bytes(run, run->n_rows).smallest / row_bytes / multiple + 1) * multiple;
    // No chunk is longer than a tile: a thread waits for few tiles at a time.
    if (part->rows_per_chunk > least_tile_rows(part))
        part->rows_per_chunk = least_tile_rows(part);
    part->n_chunks = (uint32_t)((part->n_rows + part->rows_per_chunk - 1) / part->rows_per_chunk);
}

enum chord_status run_linear(const struct run *run, const struct graph_node *node)
{
    struct backend *backend = run->backend;
    const struct piece_bytes bytes = piece_bytes(run, run->n_rows);
    struct linear_job job = {.run = run,
                             .node = node,
                             .in = value_of(backend, node->in[0]),
                             .width = width_of(backend, node->in[0]) / node->linear.n_heads,
                             .n_heads = node->linear.n_heads,
                             .choice = tuning_current(&backend->tuning),
                             .failure = {.err = run->err}};
    const uint32_t matrices_per_part = node->linear.epilogue == GRAPH_EPILOGUE_GLU ? node->n_out : 1;
    uint32_t n_chunks = 0;
    for (uint32_t i = 0; i < node->n_out; i++) {
        job.weight_bytes += node->weight[i]->n_rows * node->weight[i]->row_bytes;
        const enum activation_type type = node->weight[i]->type->activation;
        struct linear_part *part = &job.parts[i / matrices_per_part];
        job.column_bytes[type] = column_bytes(backend->kernels, type, job.width);
        part->matrices[part->n_matrices++] = (struct linear_matrix){
            .weight = node->weight[i], .bias = node->vector[i], .out = value_of(backend, node->out[i])};
    }
    job.n_parts = node->n_out / matrices_per_part;
    for (uint32_t i = 0; i < job.n_parts; i++) {
        split_into_chunks(&job.parts[i], run);
        n_chunks += job.parts[i].n_chunks;
    }
    job.columns_per_chunk = ROW_CHUNK_FLOATS / (job.width + 1) + 1;
    const uint32_t n_columns = run->n_rows * job.n_heads;
    pool_run(backend->pool, prepare_columns, &job, (n_columns + job.columns_per_chunk - 1) / job.columns_per_chunk);
    const bool is_single_step = run->n_rows == 1 && run->n_matvec == 1;
    const bool is_paged = weights_mode(backend->weights) == WEIGHTS_PAGED;
    struct pool_split split = {.most_at_once = (uint32_t)(bytes.largest / bytes.smallest)};
    if (is_paged)
        split.most_at_once = chunks_within_tiles(&job, split.most_at_once);
    if (job.weight_bytes * run->n_rows < SHARED_BYTES)
        split.n_threads = 1;
    else if (is_single_step)
        split.n_threads = job.choice.n_threads;
    const uint64_t started = os_now_ns();
    pool_run_ranges(backend->pool, run_linear_chunks, &job, n_chunks, split);
    if (is_single_step && job.weight_bytes >= TUNED_BYTES && !is_paged) { // else it is the disk that is timed
        backend->tuned_ns += os_now_ns() - started;
        backend->tuned_bytes += job.weight_bytes;
    }
    return job.failure.status;
}
