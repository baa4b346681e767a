// Causal attention of the trainer, one head of one sequence at a time.
#include "layers.h"

#include <string.h>

// Rows of queries that are multiplied with all keys they may see: what lies above the diagonal costs nothing but
// the rest of a block.
#define QUERY_BLOCK 128

struct attention_job {
    const struct attention *a;
    const real *q, *k, *v, *probabilities_in, *dout;
    real *probabilities, *out, *dq, *dk, *dv;
};

// The head of chunk = sequence * n_head + head inside a [n_sequences * n_ctx, n_head * head_dim] array.
static struct matrix head_of(const struct attention *a, const real *x, uint32_t chunk)
{
    const size_t width = a->n_head * a->head_dim, sequence = chunk / a->n_head, head = chunk % a->n_head;
    return (struct matrix){(real *)x + sequence * a->n_ctx * width + head * a->head_dim, a->n_ctx, a->head_dim, width,
                           1};
}

static struct matrix rows_of(struct matrix m, size_t first, size_t n)
{
    m.data += first * m.row_stride;
    m.rows = n;
    return m;
}

static struct matrix cols_of(struct matrix m, size_t n)
{
    m.cols = n;
    return m;
}

static void softmax_rows(struct matrix scores, size_t first_position, real scale)
{
    for (size_t i = 0; i < scores.rows; i++) {
        real *row = scores.data + i * scores.row_stride;
        const size_t n = first_position + i + 1;
        real max = row[0], sum = 0;
        for (size_t j = 1; j < n; j++)
            max = row[j] > max ? row[j] : max;
        for (size_t j = 0; j < n; j++) {
            row[j] = real_exp((row[j] - max) * scale);
            sum += row[j];
        }
        for (size_t j = 0; j < n; j++)
            row[j] /= sum;
        for (size_t j = n; j < scores.cols; j++)
            row[j] = 0;
    }
}

static void forward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct attention_job *job = context;
    const struct attention *a = job->a;
    struct gemm_scratch *scratch = a->scratch[thread];
    const struct matrix q = head_of(a, job->q, chunk), k = head_of(a, job->k, chunk);
    const struct matrix v = head_of(a, job->v, chunk), out = head_of(a, job->out, chunk);
    const struct matrix p = matrix_of(job->probabilities + (size_t)chunk * a->n_ctx * a->n_ctx, a->n_ctx, a->n_ctx);
    for (size_t first = 0; first < a->n_ctx; first += QUERY_BLOCK) {
        const size_t n = a->n_ctx - first < QUERY_BLOCK ? a->n_ctx - first : QUERY_BLOCK, seen = first + n;
        const struct matrix scores = cols_of(rows_of(p, first, n), seen);
        gemm(NULL, scratch, rows_of(q, first, n), transposed(rows_of(k, 0, seen)), scores, false);
        softmax_rows(scores, first, 1 / (real)sqrt((double)a->head_dim));
        gemm(NULL, scratch, scores, rows_of(v, 0, seen), rows_of(out, first, n), false);
    }
}

void attention_forward(struct pool *pool, const struct attention *a, const real *q, const real *k, const real *v,
                       real *probabilities, real *out)
{
    struct attention_job job = {.a = a, .q = q, .k = k, .v = v, .probabilities = probabilities, .out = out};
    pool_run(pool, forward_chunk, &job, (uint32_t)(a->n_sequences * a->n_head));
}

// dscores = p * (dp - sum(p * dp)) * scale, in place of dp.
static void softmax_rows_backward(struct matrix p, struct matrix dp, size_t first_position, real scale)
{
    for (size_t i = 0; i < dp.rows; i++) {
        const real *row = p.data + i * p.row_stride;
        real *drow = dp.data + i * dp.row_stride, dot = 0;
        const size_t n = first_position + i + 1;
        for (size_t j = 0; j < n; j++)
            dot += row[j] * drow[j];
        for (size_t j = 0; j < n; j++)
            drow[j] = row[j] * (drow[j] - dot) * scale;
        for (size_t j = n; j < dp.cols; j++)
            drow[j] = 0;
    }
}

static void backward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct attention_job *job = context;
    const struct attention *a = job->a;
    struct gemm_scratch *scratch = a->scratch[thread];
    const struct matrix q = head_of(a, job->q, chunk), k = head_of(a, job->k, chunk);
    const struct matrix v = head_of(a, job->v, chunk), dout = head_of(a, job->dout, chunk);
    const struct matrix dq = head_of(a, job->dq, chunk), dk = head_of(a, job->dk, chunk);
    const struct matrix dv = head_of(a, job->dv, chunk);
    const struct matrix p = matrix_of((real *)job->probabilities_in + (size_t)chunk * a->n_ctx * a->n_ctx, a->n_ctx,
                                      a->n_ctx);
    const struct matrix dscores_all = matrix_of(a->rows[thread], a->n_ctx, a->n_ctx);
    for (size_t i = 0; i < a->n_ctx; i++) {
        memset(dk.data + i * dk.row_stride, 0, a->head_dim * sizeof(real));
        memset(dv.data + i * dv.row_stride, 0, a->head_dim * sizeof(real));
    }
    for (size_t first = 0; first < a->n_ctx; first += QUERY_BLOCK) {
        const size_t n = a->n_ctx - first < QUERY_BLOCK ? a->n_ctx - first : QUERY_BLOCK, seen = first + n;
        const struct matrix rows = cols_of(rows_of(p, first, n), seen);
        const struct matrix dscores = cols_of(rows_of(dscores_all, first, n), seen);
        const struct matrix dout_rows = rows_of(dout, first, n);
        gemm(NULL, scratch, transposed(rows), dout_rows, rows_of(dv, 0, seen), true);
        gemm(NULL, scratch, dout_rows, transposed(rows_of(v, 0, seen)), dscores, false);
        softmax_rows_backward(rows, dscores, first, 1 / (real)sqrt((double)a->head_dim));
        gemm(NULL, scratch, dscores, rows_of(k, 0, seen), rows_of(dq, first, n), false);
        gemm(NULL, scratch, transposed(dscores), rows_of(q, first, n), rows_of(dk, 0, seen), true);
    }
}

void attention_backward(struct pool *pool, const struct attention *a, const real *q, const real *k, const real *v,
                        const real *probabilities, const real *dout, real *dq, real *dk, real *dv)
{
    struct attention_job job = {.a = a,
                                .q = q,
                                .k = k,
                                .v = v,
                                .probabilities_in = probabilities,
                                .dout = dout,
                                .dq = dq,
                                .dk = dk,
                                .dv = dv};
    pool_run(pool, backward_chunk, &job, (uint32_t)(a->n_sequences * a->n_head));
}
