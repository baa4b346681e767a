// ATTENTION. Rows of prompts go in tiles of consecutive rows. Each row of generated tokens is cut into spans of its context,
// so that all threads share a long one; their partial results are merged in ascending order, by as many threads as there
// are. Neither tiles nor threads have an influence on the bits (kernels/kernels.h).
#include "backend/cpu_run.h"

#include <string.h>

// One span of a row, or a row that has only one.
struct unit {
    uint32_t row, span;
    bool alone;
};

struct attention_job {
    const struct run *run;
    const struct graph_node *node;
    uint32_t group_heads, n_groups; // query heads of one call; groups of all KV heads
    uint32_t tile_rows, n_tiles;
    struct unit units[PARTIAL_SLOTS - 1];
    uint32_t n_units;
};

static uint32_t heads_per_kv(const struct graph_node *node)
{
    return node->attention.n_head / node->attention.n_head_kv;
}

static void first_and_last_span(const struct attention_job *job, uint32_t row, uint32_t *first, uint32_t *last)
{
    const uint32_t end = job->run->rows[row].position + 1, window = job->node->attention.window;
    *first = (window != 0 && end > window ? end - window : 0) / KV_SPAN_TOKENS;
    *last = (end - 1) / KV_SPAN_TOKENS;
}

// Arguments of all calls for rows row..row+n_rows-1 and a group of query heads.
static struct attention_args args_of(const struct attention_job *job, uint32_t row, uint32_t n_rows, uint32_t group,
                                     uint32_t thread)
{
    const struct graph_node *node = job->node;
    const struct backend *backend = job->run->backend;
    const struct kv_layout *kv = backend->kv;
    const struct batch_row *at = &job->run->rows[row];
    const uint32_t per_kv = heads_per_kv(node), groups_per_kv = job->n_groups / node->attention.n_head_kv;
    const uint32_t kv_head = group / groups_per_kv, first = group % groups_per_kv * job->group_heads;
    const uint64_t heads_at = ((uint64_t)kv_head * per_kv + first) * kv->head_dim;
    return (struct attention_args){
        .q = row_of(job->run, node->in[0], row) + heads_at,
        .out = row_of(job->run, node->out[0], row) + heads_at,
        .row_stride = width_of(backend, node->in[0]),
        .n_rows = n_rows,
        .n_q = per_kv - first < job->group_heads ? per_kv - first : job->group_heads,
        .head_dim = kv->head_dim,
        .scale = node->attention.scale,
        .soft_cap = node->attention.soft_cap,
        .sinks = node->vector[0] == NULL ? NULL : node->vector[0] + kv_head * per_kv + first,
        .position = at->position,
        .window = node->attention.window,
        .n_keys = at->n_keys,
        .blocks = (const void *const *)at->kv->blocks,
        .k_offset = kv_keys_at(kv, node->attention.kv_layer, kv_head),
        .v_offset = kv_values_at(kv, node->attention.kv_layer, kv_head),
        .scratch = backend->attention_scratch + thread * attention_scratch_bytes(kv->head_dim),
    };
}

// ---- prompts ---------------------------------------------------------------------------------------------------------

// Finds the tile `index`, or, with index UINT32_MAX, how many there are. A tile's rows follow each other in one sequence.
static uint32_t find_tile(const struct attention_job *job, uint32_t index, uint32_t *row, uint32_t *n_rows)
{
    const struct run *run = job->run;
    uint32_t n = 0;
    for (uint32_t r = run->n_matvec; r < run->n_rows; r += *n_rows, n++) {
        const struct batch_row *rows = run->rows + r;
        *row = r;
        *n_rows = 1;
        while (*n_rows < job->tile_rows && r + *n_rows < run->n_rows && rows[*n_rows].kv == rows->kv &&
               rows[*n_rows].position == rows->position + *n_rows)
            ++*n_rows;
        if (n == index)
            break;
    }
    return n;
}

// One chunk: a group of heads of one tile. Later tiles see more keys: they go first.
static void run_tile_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct attention_job *job = context;
    uint32_t row = 0, n_rows = 0;
    find_tile(job, job->n_tiles - 1 - chunk / job->n_groups, &row, &n_rows);
    const struct attention_args args = args_of(job, row, n_rows, chunk % job->n_groups, thread);
    job->run->backend->kernels->attention[job->run->backend->kv->type](&args);
}

// ---- generated tokens ------------------------------------------------------------------------------------------------

static float *partial_at(const struct attention_job *job, uint32_t head, uint32_t slot)
{
    const struct backend *backend = job->run->backend;
    return backend->partials +
           ((uint64_t)head * PARTIAL_SLOTS + slot) * attention_partial_floats(backend->kv->head_dim);
}

static struct attention_args args_of_unit(const struct attention_job *job, uint32_t chunk, uint32_t thread)
{
    const struct unit *unit = &job->units[chunk / job->n_groups];
    struct attention_args args = args_of(job, unit->row, 1, chunk % job->n_groups, thread);
    if (!unit->alone) {
        const uint32_t head = (uint32_t)((args.q - row_of(job->run, job->node->in[0], unit->row)) / args.head_dim);
        args.partials = partial_at(job, head, 1 + chunk / job->n_groups);
        args.partial_stride = (uint64_t)PARTIAL_SLOTS * attention_partial_floats(args.head_dim);
        args.span = unit->span;
    }
    return args;
}

// Chunks are groups of heads of one unit: those of one unit lie side by side in its blocks.
static void run_units(void *context, uint32_t first, uint32_t n, uint32_t thread)
{
    const struct attention_job *job = context;
    const struct backend *backend = job->run->backend;
    struct attention_args args = args_of_unit(job, first, thread);
    for (uint32_t chunk = first; chunk < first + n; chunk++) {
        struct attention_args next = args;
        if (chunk + 1 < first + n) {
            next = args_of_unit(job, chunk + 1, thread);
            uint32_t first_span, last_span;
            first_and_last_span(job, job->units[(chunk + 1) / job->n_groups].row, &first_span, &last_span);
            const uint32_t span = job->units[(chunk + 1) / job->n_groups].span;
            const uint32_t end = next.position + 1;
            const uint32_t low = next.window != 0 && end > next.window ? end - next.window : 0;
            const uint32_t key = span == first_span ? low : span * KV_SPAN_TOKENS;
            args.next = (const char *)next.blocks[key / KV_BLOCK_TOKENS] + next.k_offset;
        }
        backend->kernels->attention[backend->kv->type](&args);
        args = next;
    }
}

// One head: merges the slots of each row that has several spans.
static void merge_head(void *context, uint32_t head, uint32_t thread)
{
    const struct attention_job *job = context;
    const struct backend *backend = job->run->backend;
    const uint32_t head_dim = backend->kv->head_dim;
    (void)thread;
    for (uint32_t i = 0, n; i < job->n_units; i += n) {
        const uint32_t row = job->units[i].row;
        for (n = 1; i + n < job->n_units && job->units[i + n].row == row;)
            n++;
        if (job->units[i].alone)
            continue;
        uint32_t first_span, last_span;
        first_and_last_span(job, row, &first_span, &last_span);
        const bool complete = job->units[i + n - 1].span == last_span;
        const bool resumed = job->units[i].span != first_span;
        float *partials = partial_at(job, head, resumed ? 0 : 1 + i);
        float *out = row_of(job->run, job->node->out[0], row) + (uint64_t)head * head_dim;
        const float *sinks = job->node->vector[0];
        backend->kernels->attention_merge(partials, resumed ? n + 1 : n, head_dim,
                                          complete && sinks == NULL ? out : NULL);
        if (complete && sinks != NULL) {
            attention_add_sink(partials, head_dim, sinks[head]);
            backend->kernels->attention_merge(partials, 1, head_dim, out);
        }
        if (!complete && !resumed)
            memcpy(partial_at(job, head, 0), partials, attention_partial_floats(head_dim) * sizeof *partials);
    }
}

static void run_generated(struct attention_job *job)
{
    struct pool *pool = job->run->backend->pool;
    const struct pool_split split = {.most_at_once = 4};
    uint32_t row = 0, span = UINT32_MAX; // the next unit; UINT32_MAX: the row's first span
    while (row < job->run->n_matvec) {
        bool several = false;
        for (job->n_units = 0; row < job->run->n_matvec && job->n_units < PARTIAL_SLOTS - 1;) {
            uint32_t first, last;
            first_and_last_span(job, row, &first, &last);
            span = span == UINT32_MAX ? first : span;
            job->units[job->n_units++] = (struct unit){.row = row, .span = span, .alone = first == last};
            several |= first != last;
            row += span == last;
            span = span == last ? UINT32_MAX : span + 1;
        }
        pool_run_ranges(pool, run_units, job, job->n_units * job->n_groups, split);
        if (several)
            pool_run(pool, merge_head, job, job->node->attention.n_head);
    }
}

enum chord_status run_attention(const struct run *run, const struct graph_node *node)
{
    const uint32_t per_kv = heads_per_kv(node);
    const uint32_t heads = per_kv < ATTENTION_MAX_HEADS ? per_kv : ATTENTION_MAX_HEADS;
    struct attention_job job = {
        .run = run,
        .node = node,
        .group_heads = heads,
        .n_groups = node->attention.n_head_kv * ((per_kv + heads - 1) / heads),
        .tile_rows = ATTENTION_MAX_COLUMNS / heads,
    };
    uint32_t row, n_rows;
    job.n_tiles = find_tile(&job, UINT32_MAX, &row, &n_rows);
    if (job.n_tiles != 0)
        pool_run(run->backend->pool, run_tile_chunk, &job, job.n_tiles * job.n_groups);
    run_generated(&job);
    return CHORD_OK;
}
