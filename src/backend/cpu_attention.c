// ATTENTION: one chunk of work for each KV head of each row.
#include "backend/cpu_run.h"

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

enum chord_status run_attention(const struct run *run, const struct graph_node *node)
{
    struct attention_job job = {.run = run, .node = node};
    pool_run(run->backend->pool, run_attention_chunk, &job, run->n_rows * node->attention.n_head_kv);
    return CHORD_OK;
}
