// What the files of the CPU backend share: cpu.c (creation, scratch memory, runs, operations on single rows), cpu_linear.c
// (matrices), cpu_experts.c (mixtures of experts), cpu_attention.c (attention).
#ifndef CHORD_BACKEND_CPU_RUN_H
#define CHORD_BACKEND_CPU_RUN_H

#include "backend/backend.h"
#include "backend/tuning.h"

// Columns of an EXPERTS node that one expert multiplies: those of generated rows first, in ascending order of the rows.
struct expert_group {
    uint32_t first, n, n_matvec;
    bool in_wave;
};

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
    float *normed;                         // [n_threads, normed_floats]: a row on its way into an activation
    uint64_t normed_floats;
    char *attention_scratch;           // [n_threads, attention_scratch_bytes]
    struct expert_group *groups;       // [n_expert]: by expert
    uint32_t *chosen;                  // [n_expert]: those that any row chose, in the order of their use
    backend_route_trace *trace_routes; // NULL: nobody wants to know
    void *trace_user;
    uint32_t *route_columns; // [row_capacity, n_expert_used]: the column of a row's k-th expert
    float *partials;         // [n_head, PARTIAL_SLOTS, attention_partial_floats]
    _Atomic uint64_t weight_bytes;
    _Atomic uint64_t *layer_ns; // [graph->n_layer + 1]
    struct tuning tuning;
    _Atomic uint64_t tuned;         // tuning.best for other threads: far << 32 | near << 16 | n_threads
    uint64_t tuned_ns, tuned_bytes; // of this run's matrices that count for tuning
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

static inline float *value_of(const struct backend *backend, graph_value id)
{
    const struct graph_value_info *value = &backend->graph->values[id];
    return value->rows == GRAPH_TOKEN_ROWS ? backend->tokens + value->offset * backend->row_capacity
                                           : backend->outputs + value->offset * backend->output_capacity;
}

static inline uint32_t width_of(const struct backend *backend, graph_value id)
{
    return backend->graph->values[id].width;
}

// The row `row` of a value.
static inline float *row_of(const struct run *run, graph_value value, uint32_t row)
{
    return value_of(run->backend, value) + (uint64_t)row * width_of(run->backend, value);
}

// Bytes from one prepared column of n elements to the next: room for the form of the matvec family and of the GEMM.
static inline uint64_t column_bytes(const struct kernels *kernels, enum activation_type type, uint64_t n)
{
    const uint64_t for_matvec = kernels->activation[type].bytes(n), for_gemm = kernels->gemm.columns[type].bytes(n);
    return for_matvec > for_gemm ? for_matvec : for_gemm;
}

// Work per chunk below which threads are not worth waking, in floats touched.
#define ROW_CHUNK_FLOATS 16384u

// Partial results of attention at a time, of all heads: the first slot for what came before, the others for one span each.
#define PARTIAL_SLOTS 33

// Columns that a matrix is multiplied with: the first n_matvec by the matvec family, the others by the GEMM.
struct columns {
    const char *prepared; // column c, for the activation type of the matrix, at c * stride
    uint64_t stride;
    uint32_t n, n_matvec;
    float *out; // of row r and column c: out[c * out_stride + r - first_row]
    uint64_t out_stride, first_row;
    struct prefetch prefetch;
};

// Rows first .. end - 1 of a matrix times all columns, tile by tile.
enum chord_status multiply_rows(struct backend *backend, const struct weight *weight, uint64_t first, uint64_t end,
                                const struct columns *columns, uint32_t thread, struct chord_error *err);

// The first error of a job whose chunks may fail on any thread.
struct job_failure {
    _Atomic bool failed;
    _Atomic bool error_taken; // by the first chunk that failed: it alone writes *err
    enum chord_status status;
    struct chord_error *err;
};
void keep_error(struct job_failure *failure, enum chord_status status, const struct chord_error *error);

// Calls row(run, node, r) for every row, on several threads when there is enough of it.
enum chord_status for_each_row(const struct run *run, const struct graph_node *node, uint32_t floats_per_row,
                               void (*row)(const struct run *, const struct graph_node *, uint32_t));

// Bytes of weights in the smallest and the largest piece of work that a thread takes.
struct piece_bytes {
    uint64_t smallest, largest;
};
struct piece_bytes piece_bytes(const struct run *run, uint32_t n_columns); // n_columns: of one matrix, about

// Less than this, times columns, is done by the caller alone sooner than others join in.
#define SHARED_BYTES 196608u
// Matrices from which on a node counts for tuning: not those that lie in the caches of the cores.
#define TUNED_BYTES 524288u

// The operations of graph/ops.h that have files of their own. Everything of the rows before them is in place.
enum chord_status run_linear(const struct run *run, const struct graph_node *node);
enum chord_status run_route(const struct run *run, const struct graph_node *node);
enum chord_status run_experts(const struct run *run, const struct graph_node *node);
enum chord_status run_attention(const struct run *run, const struct graph_node *node);

#endif
