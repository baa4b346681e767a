#include "layers.h"
#include "model.h"

#include <string.h>

#define ROWS_PER_CHUNK 64
#define ELEMENTS_PER_CHUNK 16384

struct norm_job {
    const real *x, *weight, *dout;
    real *scale, *out, *dx, *partial;
    size_t n_rows, n_cols;
};

static void norm_forward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct norm_job *job = context;
    const size_t n = job->n_cols, end = (size_t)(chunk + 1) * ROWS_PER_CHUNK;
    (void)thread;
    for (size_t r = (size_t)chunk * ROWS_PER_CHUNK; r < end && r < job->n_rows; r++) {
        const real *x = job->x + r * n;
        real squares = 0;
        for (size_t i = 0; i < n; i++)
            squares += x[i] * x[i];
        const real scale = 1 / (real)sqrt((double)squares / (double)n + NORM_EPS);
        job->scale[r] = scale;
        for (size_t i = 0; i < n; i++)
            job->out[r * n + i] = x[i] * scale * job->weight[i];
    }
}

static size_t chunks_of(size_t n, size_t per_chunk)
{
    return (n + per_chunk - 1) / per_chunk;
}

void norm_forward(struct pool *pool, const real *x, const real *weight, real *out, real *scale, size_t n_rows,
                  size_t n_cols)
{
    struct norm_job job = {
        .x = x, .weight = weight, .out = out, .scale = scale, .n_rows = n_rows, .n_cols = n_cols};
    pool_run(pool, norm_forward_chunk, &job, (uint32_t)chunks_of(n_rows, ROWS_PER_CHUNK));
}

static void norm_backward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct norm_job *job = context;
    const size_t n = job->n_cols, end = (size_t)(chunk + 1) * ROWS_PER_CHUNK;
    real *dweight = job->partial + chunk * n;
    (void)thread;
    memset(dweight, 0, n * sizeof *dweight);
    for (size_t r = (size_t)chunk * ROWS_PER_CHUNK; r < end && r < job->n_rows; r++) {
        const real *x = job->x + r * n, *dout = job->dout + r * n;
        real *dx = job->dx + r * n;
        const real scale = job->scale[r];
        real dot = 0;
        for (size_t i = 0; i < n; i++) {
            dot += dout[i] * job->weight[i] * x[i];
            dweight[i] += dout[i] * x[i] * scale;
        }
        const real mean = dot * scale * scale * scale / (real)n;
        for (size_t i = 0; i < n; i++)
            dx[i] += dout[i] * job->weight[i] * scale - x[i] * mean;
    }
}

void norm_backward(struct pool *pool, const real *x, const real *weight, const real *scale, const real *dout,
                   real *dx, real *dweight, real *partial, size_t n_rows, size_t n_cols)
{
    const size_t n_chunks = chunks_of(n_rows, ROWS_PER_CHUNK);
    struct norm_job job = {.x = x,
                           .weight = weight,
                           .scale = (real *)scale,
                           .dout = dout,
                           .dx = dx,
                           .partial = partial,
                           .n_rows = n_rows,
                           .n_cols = n_cols};
    pool_run(pool, norm_backward_chunk, &job, (uint32_t)n_chunks);
    for (size_t chunk = 0; chunk < n_chunks; chunk++)
        for (size_t i = 0; i < n_cols; i++)
            dweight[i] += partial[chunk * n_cols + i];
}

void rope_table(real *cosines, real *sines, size_t n_ctx, size_t head_dim)
{
    const size_t half = head_dim / 2;
    for (size_t position = 0; position < n_ctx; position++)
        for (size_t i = 0; i < half; i++) {
            const double angle = (double)position * pow(ROPE_BASE, -2.0 * (double)i / (double)head_dim);
            cosines[position * half + i] = (real)cos(angle);
            sines[position * half + i] = (real)sin(angle);
        }
}

struct rope_job {
    real *x;
    const real *cosines, *sines;
    size_t n_rows, n_ctx, n_head, head_dim;
    int direction;
};

static void rope_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct rope_job *job = context;
    const size_t end = (size_t)(chunk + 1) * ROWS_PER_CHUNK, half = job->head_dim / 2;
    (void)thread;
    for (size_t r = (size_t)chunk * ROWS_PER_CHUNK; r < end && r < job->n_rows; r++) {
        const real *cosines = job->cosines + r % job->n_ctx * half, *sines = job->sines + r % job->n_ctx * half;
        for (size_t head = 0; head < job->n_head; head++) {
            real *x = job->x + (r * job->n_head + head) * job->head_dim;
            for (size_t i = 0; i < half; i++) {
                const real a = x[2 * i], b = x[2 * i + 1], s = sines[i] * (real)job->direction;
                x[2 * i] = a * cosines[i] - b * s;
                x[2 * i + 1] = a * s + b * cosines[i];
            }
        }
    }
}

void rope(struct pool *pool, real *x, const real *cosines, const real *sines, size_t n_rows, size_t n_ctx,
          size_t n_head, size_t head_dim, int direction)
{
    struct rope_job job = {x, cosines, sines, n_rows, n_ctx, n_head, head_dim, direction};
    pool_run(pool, rope_chunk, &job, (uint32_t)chunks_of(n_rows, ROWS_PER_CHUNK));
}

struct element_job {
    const real *a, *b, *dout;
    real *out, *out2;
    size_t n;
    double share;
    uint64_t seed;
};

static inline real sigmoid(real x)
{
    return 1 / (1 + real_exp(-x));
}

static void swiglu_forward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct element_job *job = context;
    const size_t end = (size_t)(chunk + 1) * ELEMENTS_PER_CHUNK;
    (void)thread;
    for (size_t i = (size_t)chunk * ELEMENTS_PER_CHUNK; i < end && i < job->n; i++)
        job->out[i] = job->a[i] * sigmoid(job->a[i]) * job->b[i];
}

void swiglu_forward(struct pool *pool, const real *gate, const real *up, real *out, size_t n)
{
    struct element_job job = {.a = gate, .b = up, .out = out, .n = n};
    pool_run(pool, swiglu_forward_chunk, &job, (uint32_t)chunks_of(n, ELEMENTS_PER_CHUNK));
}

static void swiglu_backward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct element_job *job = context;
    const size_t end = (size_t)(chunk + 1) * ELEMENTS_PER_CHUNK;
    (void)thread;
    for (size_t i = (size_t)chunk * ELEMENTS_PER_CHUNK; i < end && i < job->n; i++) {
        const real gate = job->out[i], up = job->out2[i], s = sigmoid(gate);
        job->out2[i] = job->dout[i] * gate * s;
        job->out[i] = job->dout[i] * up * s * (1 + gate * (1 - s));
    }
}

void swiglu_backward(struct pool *pool, real *gate, real *up, const real *dout, size_t n)
{
    struct element_job job = {.out = gate, .out2 = up, .dout = dout, .n = n};
    pool_run(pool, swiglu_backward_chunk, &job, (uint32_t)chunks_of(n, ELEMENTS_PER_CHUNK));
}

// Factor of element i: 0 where it is dropped. Four elements share the bits of one draw.
static real dropout_factor(const struct element_job *job, size_t i, real kept)
{
    const uint64_t bits = random_bits(job->seed, i / 4) >> 16 * (i % 4) & 0xffff;
    return (double)bits < job->share * 65536 ? 0 : kept;
}

static void residual_forward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct element_job *job = context;
    const size_t first = (size_t)chunk * ELEMENTS_PER_CHUNK;
    const size_t end = first + ELEMENTS_PER_CHUNK < job->n ? first + ELEMENTS_PER_CHUNK : job->n;
    const real kept = (real)(1 / (1 - job->share));
    (void)thread;
    for (size_t i = first; i < end; i++)
        job->out[i] += job->a[i] * (job->share > 0 ? dropout_factor(job, i, kept) : 1);
}

void residual_forward(struct pool *pool, real *x, const real *add, size_t n, double share, uint64_t seed)
{
    struct element_job job = {.a = add, .out = x, .n = n, .share = share, .seed = seed};
    pool_run(pool, residual_forward_chunk, &job, (uint32_t)chunks_of(n, ELEMENTS_PER_CHUNK));
}

static void residual_backward_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct element_job *job = context;
    const size_t first = (size_t)chunk * ELEMENTS_PER_CHUNK;
    const size_t end = first + ELEMENTS_PER_CHUNK < job->n ? first + ELEMENTS_PER_CHUNK : job->n;
    const real kept = (real)(1 / (1 - job->share));
    (void)thread;
    for (size_t i = first; i < end; i++)
        job->out[i] = job->a[i] * (job->share > 0 ? dropout_factor(job, i, kept) : 1);
}

void residual_backward(struct pool *pool, const real *dx, real *dadd, size_t n, double share, uint64_t seed)
{
    struct element_job job = {.a = dx, .out = dadd, .n = n, .share = share, .seed = seed};
    pool_run(pool, residual_backward_chunk, &job, (uint32_t)chunks_of(n, ELEMENTS_PER_CHUNK));
}
