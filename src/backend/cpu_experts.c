// ROUTE and EXPERTS: each row's experts, and their matrices over the rows that chose them.
//
// Rows and their experts become columns, sorted by expert: an expert's rows of weights are read once for all its columns, and
// a result depends on its row of weights and its column alone. Three passes: gate and up with their activation, down, and
// for each row the sum of its experts' results in the order of its route. In paged mode the first two run in waves, over as many
// experts as there is memory for.
#include "backend/cpu_run.h"
#include "backend/routes.h"

#include "os/thread.h"

#include <string.h>

// ---- Routes -------------------------------------------------------------------------------------------------------------

static void route_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    float *numbers = row_of(run, node->out[0], row);
    route_experts(node, row_of(run, node->in[0], row), width_of(run->backend, node->in[0]), numbers,
                  numbers + node->route.n_used);
}

enum chord_status run_route(const struct run *run, const struct graph_node *node)
{
    return for_each_row(run, node, width_of(run->backend, node->in[0]) * node->route.n_used, route_row);
}

// ---- Columns ------------------------------------------------------------------------------------------------------------

static inline uint32_t expert_of(const float *route, uint32_t k)
{
    return (uint32_t)route[k];
}

// Fills the backend's groups, chosen experts in ascending order, and route_columns. Returns how many are chosen.
static uint32_t group_by_expert(const struct run *run, const struct graph_node *node)
{
    struct expert_group *groups = run->backend->groups;
    uint32_t *columns = run->backend->route_columns;
    const uint32_t n_used = node->experts.n_used, n_expert = node->experts.n_expert;
    uint32_t n_chosen = 0, first = 0;
    memset(groups, 0, n_expert * sizeof *groups);
    for (uint32_t row = 0; row < run->n_rows; row++)
        for (uint32_t k = 0; k < n_used; k++) {
            struct expert_group *group = &groups[expert_of(row_of(run, node->in[1], row), k)];
            columns[row * n_used + k] = group->n++; // within its expert
            group->n_matvec += row < run->n_matvec;
        }
    for (uint32_t e = 0; e < n_expert; e++) {
        groups[e].first = first;
        first += groups[e].n;
        if (groups[e].n != 0)
            run->backend->chosen[n_chosen++] = e;
    }
    for (uint32_t row = 0; row < run->n_rows; row++)
        for (uint32_t k = 0; k < n_used; k++)
            columns[row * n_used + k] += groups[expert_of(row_of(run, node->in[1], row), k)].first;
    return n_chosen;
}

// ---- Passes -------------------------------------------------------------------------------------------------------------

// One or two matrices of every expert over that expert's columns.
struct expert_pass {
    const struct run *run;
    const struct graph_node *node;
    const struct weight *weight[2];
    float *out[2];        // [columns, n_rows]; with two matrices, out[0] ends as f(out[0]) * out[1]
    const float *bias[2]; // [n_expert, n_rows], or NULL
    uint32_t n_matrices;
    const uint32_t *experts; // [n_experts]: of the wave
    uint32_t n_experts;
    uint64_t n_rows; // of one expert
    uint64_t rows_per_chunk;
    uint32_t chunks_per_expert;
    uint64_t column_bytes[N_ACTIVATION_TYPES]; // 0: not wanted
    struct tuning_choice choice;
    struct job_failure failure;
};

static void prepare(const struct expert_pass *pass, enum activation_type type, const float *in, uint64_t width,
                    bool generated, uint32_t column)
{
    const struct kernels *kernels = pass->run->backend->kernels;
    char *out = pass->run->backend->activations[type] + column * pass->column_bytes[type];
    if (generated)
        kernels->activation[type].quantize(in, out, width);
    else
        kernels->gemm.columns[type].prepare(in, out, width);
}

static bool is_in_wave(const struct expert_pass *pass, uint32_t row, uint32_t k)
{
    return pass->run->backend->groups[expert_of(row_of(pass->run, pass->node->in[1], row), k)].in_wave;
}

// The row's input, in the columns of its experts.
static void prepare_input_row(const struct run *run, const struct expert_pass *pass, uint32_t row)
{
    const uint32_t n_used = pass->node->experts.n_used;
    const uint32_t *columns = run->backend->route_columns + (uint64_t)row * n_used;
    for (int type = 0; type < N_ACTIVATION_TYPES; type++) {
        const uint64_t bytes = pass->column_bytes[type];
        char *prepared = run->backend->activations[type];
        const char *first = NULL;
        for (uint32_t k = 0; bytes != 0 && k < n_used; k++) {
            if (!is_in_wave(pass, row, k))
                continue;
            if (first == NULL)
                prepare(pass, (enum activation_type)type, row_of(run, pass->node->in[0], row),
                        width_of(run->backend, pass->node->in[0]), row < run->n_matvec, columns[k]);
            else
                memcpy(prepared + columns[k] * bytes, first, bytes);
            first = first == NULL ? prepared + columns[k] * bytes : first;
        }
    }
}

// The results of gate and up of the row's experts, as input of down.
static void prepare_hidden_row(const struct run *run, const struct expert_pass *pass, uint32_t row)
{
    const uint32_t n_used = pass->node->experts.n_used;
    const uint64_t width = pass->weight[0]->n;
    const uint32_t *columns = run->backend->route_columns + (uint64_t)row * n_used;
    const float *hidden = value_of(run->backend, pass->node->out[1]);
    for (uint32_t k = 0; k < n_used; k++)
        if (is_in_wave(pass, row, k))
            prepare(pass, pass->weight[0]->type->activation, hidden + columns[k] * width, width, row < run->n_matvec,
                    columns[k]);
}

struct prepare_job {
    const struct expert_pass *pass;
    void (*row)(const struct run *run, const struct expert_pass *pass, uint32_t row);
    uint32_t rows_per_chunk;
};

static void prepare_rows(void *context, uint32_t chunk, uint32_t thread)
{
    const struct prepare_job *job = context;
    const struct run *run = job->pass->run;
    const uint32_t first = chunk * job->rows_per_chunk;
    (void)thread;
    for (uint32_t row = first; row < first + job->rows_per_chunk && row < run->n_rows; row++)
        job->row(run, job->pass, row);
}

// Rows first .. end - 1 of an expert.
static void run_expert_rows(struct expert_pass *pass, uint32_t expert, uint64_t first, uint64_t end, uint32_t thread)
{
    struct backend *backend = pass->run->backend;
    const struct expert_group *group = &backend->groups[expert];
    const uint64_t base = expert * pass->n_rows;
    for (uint32_t i = 0; i < pass->n_matrices; i++) {
        const enum activation_type type = pass->weight[i]->type->activation;
        const struct columns columns = {.prepared =
                                            backend->activations[type] + group->first * pass->column_bytes[type],
                                        .stride = pass->column_bytes[type],
                                        .n = group->n,
                                        .n_matvec = group->n_matvec,
                                        .out = pass->out[i] + group->first * pass->n_rows,
                                        .out_stride = pass->n_rows,
                                        .first_row = base,
                                        .prefetch = pass->choice.prefetch};
        struct chord_error error;
        const enum chord_status status =
            multiply_rows(backend, pass->weight[i], base + first, base + end, &columns, thread, &error);
        if (status != CHORD_OK) {
            keep_error(&pass->failure, status, &error);
            return;
        }
        for (uint32_t c = group->first; pass->bias[i] != NULL && c < group->first + group->n; c++) {
            float *out = pass->out[i] + c * pass->n_rows + first;
            backend->kernels->add(out, pass->bias[i] + base + first, out, end - first);
        }
    }
    for (uint32_t c = group->first; pass->n_matrices == 2 && c < group->first + group->n; c++) {
        float *gate = pass->out[0] + c * pass->n_rows + first;
        backend->kernels->glu[pass->node->experts.glu](gate, pass->out[1] + c * pass->n_rows + first, gate,
                                                       end - first);
    }
}

static void run_pass_chunks(void *context, uint32_t first, uint32_t n, uint32_t thread)
{
    struct expert_pass *pass = context;
    for (uint32_t at = first; at < first + n;) {
        const uint32_t index = at / pass->chunks_per_expert, begin = index * pass->chunks_per_expert;
        const uint32_t last = begin + pass->chunks_per_expert, end = first + n < last ? first + n : last;
        const uint64_t end_row = (end - begin) * pass->rows_per_chunk;
        if (atomic_load_explicit(&pass->failure.failed, memory_order_relaxed))
            return;
        run_expert_rows(pass, pass->experts[index], (at - begin) * pass->rows_per_chunk,
                        end_row < pass->n_rows ? end_row : pass->n_rows, thread);
        at = end;
    }
}

static enum chord_status run_pass(struct expert_pass *pass,
                                  void (*prepare_row)(const struct run *, const struct expert_pass *, uint32_t))
{
    const struct run *run = pass->run;
    struct backend *backend = run->backend;
    uint64_t row_bytes = 0, width = 0;
    for (uint32_t i = 0; i < pass->n_matrices; i++) {
        const struct weight *weight = pass->weight[i];
        pass->column_bytes[weight->type->activation] =
            column_bytes(backend->kernels, weight->type->activation, weight->n);
        row_bytes += weight->row_bytes;
        width = weight->n;
    }
    const uint32_t n_used = pass->node->experts.n_used;
    uint32_t n_columns = 0;
    for (uint32_t i = 0; i < pass->n_experts; i++)
        n_columns += backend->groups[pass->experts[i]].n;
    const uint32_t columns_per_expert = (n_columns + pass->n_experts - 1) / pass->n_experts;
    const struct piece_bytes bytes = piece_bytes(run, columns_per_expert);
    const uint64_t multiple = run->n_matvec < run->n_rows ? backend->kernels->gemm.rows : 1;
    pass->rows_per_chunk = (bytes.smallest / row_bytes / multiple + 1) * multiple;
    pass->chunks_per_expert = (uint32_t)((pass->n_rows + pass->rows_per_chunk - 1) / pass->rows_per_chunk);
    pass->choice = tuning_current(&backend->tuning);
    pass->failure.err = run->err;

    struct prepare_job job = {
        .pass = pass, .row = prepare_row, .rows_per_chunk = ROW_CHUNK_FLOATS / (uint32_t)(width * n_used + 1) + 1};
    pool_run(backend->pool, prepare_rows, &job, (run->n_rows + job.rows_per_chunk - 1) / job.rows_per_chunk);
    const bool is_single_step = run->n_rows == 1 && run->n_matvec == 1;
    const bool is_paged = weights_mode(backend->weights) == WEIGHTS_PAGED;
    const uint64_t weight_bytes = row_bytes * pass->n_rows * pass->n_experts;
    struct pool_split split = {.most_at_once = (uint32_t)(bytes.largest / bytes.smallest)};
    if (weight_bytes * columns_per_expert < SHARED_BYTES)
        split.n_threads = 1;
    else if (is_single_step)
        split.n_threads = pass->choice.n_threads;
    const uint64_t started = os_now_ns();
    pool_run_ranges(backend->pool, run_pass_chunks, pass, pass->n_experts * pass->chunks_per_expert, split);
    if (is_single_step && weight_bytes >= TUNED_BYTES && !is_paged) { // else it is the disk that is timed
        backend->tuned_ns += os_now_ns() - started;
        backend->tuned_bytes += weight_bytes;
    }
    return pass->failure.status;
}

static void sum_row(const struct run *run, const struct graph_node *node, uint32_t row)
{
    const uint32_t n_used = node->experts.n_used, width = width_of(run->backend, node->out[0]);
    const uint32_t *columns = run->backend->route_columns + (uint64_t)row * n_used;
    const float *results = value_of(run->backend, node->out[3]);
    const float *weights = row_of(run, node->in[1], row) + n_used;
    float *out = row_of(run, node->out[0], row);
    for (uint32_t k = 0; k < n_used; k++) {
        const float *in = results + (uint64_t)columns[k] * width;
        for (uint32_t i = 0; i < width; i++)
            out[i] = k == 0 ? weights[0] * in[i] : out[i] + weights[k] * in[i];
    }
}

void backend_trace_routes(struct backend *backend, backend_route_trace *trace, void *user)
{
    backend->trace_routes = trace;
    backend->trace_user = user;
}

static void trace_rows(const struct run *run, const struct graph_node *node)
{
    uint32_t experts[ROUTE_MOST_EXPERTS];
    for (uint32_t row = 0; row < run->n_rows; row++) {
        const float *route = row_of(run, node->in[1], row);
        for (uint32_t k = 0; k < node->experts.n_used; k++)
            experts[k] = expert_of(route, k);
        run->backend->trace_routes(run->backend->trace_user, node->layer, experts, node->experts.n_used);
    }
}

static enum chord_status run_wave(const struct run *run, const struct graph_node *node, const uint32_t *experts,
                                  uint32_t n_experts)
{
    struct backend *backend = run->backend;
    struct expert_pass gate_up = {.run = run,
                                  .node = node,
                                  .weight = {node->weight[0], node->weight[1]},
                                  .out = {value_of(backend, node->out[1]), value_of(backend, node->out[2])},
                                  .bias = {node->vector[0], node->vector[1]},
                                  .n_matrices = 2,
                                  .experts = experts,
                                  .n_experts = n_experts,
                                  .n_rows = node->weight[0]->n_rows / node->experts.n_expert};
    struct expert_pass down = {.run = run,
                               .node = node,
                               .weight = {node->weight[2]},
                               .out = {value_of(backend, node->out[3])},
                               .bias = {node->vector[2]},
                               .n_matrices = 1,
                               .experts = experts,
                               .n_experts = n_experts,
                               .n_rows = node->weight[2]->n_rows / node->experts.n_expert};
    const enum chord_status status = run_pass(&gate_up, prepare_input_row);
    return status == CHORD_OK ? run_pass(&down, prepare_hidden_row) : status;
}

// Whether expert a goes before expert b: those that generated tokens chose; then those of a prompt, the one that most of its tokens
// chose first, for it is the first that stays in memory.
static bool goes_first(const struct expert_group *a, const struct expert_group *b)
{
    if (a->n_matvec != 0 || b->n_matvec != 0)
        return b->n_matvec == 0;
    return a->n > b->n;
}

// Returns how many of the chosen experts generated tokens chose; these come first.
static uint32_t sort_chosen(const struct expert_group *groups, uint32_t *chosen, uint32_t n)
{
    uint32_t n_generated = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t expert = chosen[i];
        uint32_t at = i;
        for (; at > 0 && goes_first(&groups[expert], &groups[chosen[at - 1]]); at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = expert;
        n_generated += groups[expert].n_matvec != 0;
    }
    return n_generated;
}

static enum chord_status run_waves(const struct run *run, const struct graph_node *node, uint32_t *experts, uint32_t n,
                                   bool is_prompt)
{
    struct backend *backend = run->backend;
    enum chord_status status = CHORD_OK;
    for (uint32_t done = 0, n_wave = 0; done < n && status == CHORD_OK; done += n_wave) {
        n_wave = weights_begin_wave(backend->weights, experts + done, n - done, is_prompt);
        for (uint32_t i = done; i < done + n_wave; i++)
            backend->groups[experts[i]].in_wave = true;
        status = run_wave(run, node, experts + done, n_wave);
        for (uint32_t i = done; i < done + n_wave; i++)
            backend->groups[experts[i]].in_wave = false;
        weights_end_wave(backend->weights);
    }
    return status;
}

enum chord_status run_experts(const struct run *run, const struct graph_node *node)
{
    struct backend *backend = run->backend;
    uint32_t *chosen = backend->chosen;
    const uint32_t n_chosen = group_by_expert(run, node);
    const uint32_t n_generated = sort_chosen(backend->groups, chosen, n_chosen);
    if (backend->trace_routes != NULL)
        trace_rows(run, node);
    weights_begin_experts(backend->weights, node->weight[0]);
    enum chord_status status = run_waves(run, node, chosen, n_generated, false);
    if (status == CHORD_OK)
        status = run_waves(run, node, chosen + n_generated, n_chosen - n_generated, true);
    if (status != CHORD_OK)
        return status;
    return for_each_row(run, node, width_of(backend, node->out[0]) * node->experts.n_used, sum_row);
}
