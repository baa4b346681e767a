#include "model.h"

#include "layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS_PER_LAYER 9

// Order of a layer's tensors in model->tensors, after token_embd.
enum layer_tensor { ATTN_NORM, ATTN_Q, ATTN_K, ATTN_V, ATTN_OUTPUT, FFN_NORM, FFN_GATE, FFN_UP, FFN_DOWN };

static void *allocate(size_t count, size_t bytes)
{
    void *p = aligned_alloc(64, (count * bytes + 63) / 64 * 64);
    if (p == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", count * bytes);
        exit(1);
    }
    memset(p, 0, count * bytes);
    return p;
}

// ---- Parameters ------------------------------------------------------------------------------------------------------

static void add_tensor(struct model *model, const char *name, size_t rows, size_t cols)
{
    struct tensor *tensor = &model->tensors[model->n_tensors++];
    *tensor = (struct tensor){.rows = rows, .cols = cols, .offset = model->n_params, .decays = rows > 1};
    snprintf(tensor->name, sizeof tensor->name, "%s.weight", name);
    model->n_params += (rows * cols + 15) / 16 * 16;
}

static void add_layer(struct model *model, size_t layer)
{
    const struct shape *s = &model->shape;
    static const char *const names[TENSORS_PER_LAYER] = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
                                                         "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"};
    for (int i = 0; i < TENSORS_PER_LAYER; i++) {
        char name[32];
        const size_t rows = i == ATTN_NORM || i == FFN_NORM ? 1 : i == FFN_GATE || i == FFN_UP ? s->n_ff : s->n_embd;
        snprintf(name, sizeof name, "blk.%zu.%s", layer, names[i]);
        add_tensor(model, name, rows, i == FFN_DOWN ? s->n_ff : s->n_embd);
    }
}

// Normal deviates by Box and Muller: 0.02, and less by sqrt(2 n_layer) for what is added to the residual stream.
static void initialise(struct model *model, uint64_t seed)
{
    const double pi = 3.14159265358979323846;
    for (size_t t = 0; t < model->n_tensors; t++) {
        const struct tensor *tensor = &model->tensors[t];
        const bool adds = strstr(tensor->name, "attn_output") != NULL || strstr(tensor->name, "ffn_down") != NULL;
        const double deviation = adds ? 0.02 / sqrt(2.0 * (double)model->shape.n_layer) : 0.02;
        for (size_t i = tensor->offset; i < tensor->offset + tensor->rows * tensor->cols; i++) {
            const double u = 1 - random_uniform(seed, 2 * i), v = random_uniform(seed, 2 * i + 1);
            model->params[i] = tensor->decays ? (real)(deviation * sqrt(-2 * log(u)) * cos(2 * pi * v)) : 1;
        }
    }
}

struct model *model_create(struct shape shape, uint64_t seed)
{
    struct model *model = allocate(1, sizeof *model);
    model->shape = shape;
    model->tensors = allocate(2 + TENSORS_PER_LAYER * shape.n_layer, sizeof *model->tensors);
    add_tensor(model, "token_embd", shape.n_vocab, shape.n_embd);
    for (size_t layer = 0; layer < shape.n_layer; layer++)
        add_layer(model, layer);
    add_tensor(model, "output_norm", 1, shape.n_embd);
    model->params = allocate(model->n_params, sizeof(real));
    model->gradients = allocate(model->n_params, sizeof(real));
    initialise(model, seed);
    return model;
}

void model_free(struct model *model)
{
    free(model->tensors);
    free(model->params);
    free(model->gradients);
    free(model);
}

static const struct tensor *layer_tensor(const struct model *model, size_t layer, enum layer_tensor which)
{
    return &model->tensors[1 + layer * TENSORS_PER_LAYER + which];
}

static real *vector_of(const struct model *model, real *array, size_t layer, enum layer_tensor which)
{
    return array + layer_tensor(model, layer, which)->offset;
}

static struct matrix matrix_in(real *array, const struct tensor *tensor)
{
    return matrix_of(array + tensor->offset, tensor->rows, tensor->cols);
}

// ---- Activations -----------------------------------------------------------------------------------------------------

struct layer_activations {
    real *input;                       // the residual stream before the layer [T, n_embd]
    real *normed, *scale;              // [T, n_embd], [T]
    real *q, *k, *v, *attended;        // [T, n_embd]
    real *probabilities;               // [n_sequences, n_head, n_ctx, n_ctx]
    real *middle;                      // the residual stream before the feed-forward part
    real *normed_ffn, *scale_ffn;
    real *gate, *up, *activated;       // [T, n_ff]
};

struct activations {
    size_t n_sequences, n_rows; // n_rows = n_sequences * n_ctx = T
    uint32_t n_threads;
    struct layer_activations *layers;
    real *stream;              // after the last layer [T, n_embd]
    real *normed, *scale;
    real *logits;              // [T, n_vocab]
    real *wide, *narrow, *dstream, *partial; // backward: [T, n_ff], [T, n_embd], [T, n_embd], norm partials
    real *dq, *dk, *dv;
    real *cosines, *sines;
    double *row_loss;
    struct attention attention;
    struct gemm_scratch *scratch;
    size_t n_layer;
};

struct activations *activations_create(const struct model *model, size_t n_sequences, uint32_t n_threads)
{
    const struct shape *s = &model->shape;
    struct activations *a = allocate(1, sizeof *a);
    const size_t T = n_sequences * s->n_ctx, narrow = T * s->n_embd, wide = T * s->n_ff;
    a->n_sequences = n_sequences;
    a->n_rows = T;
    a->n_threads = n_threads;
    a->n_layer = s->n_layer;
    a->layers = allocate(s->n_layer, sizeof *a->layers);
    for (size_t l = 0; l < s->n_layer; l++) {
        struct layer_activations *layer = &a->layers[l];
        real **narrow_ones[] = {&layer->input,    &layer->normed, &layer->q,         &layer->k, &layer->v,
                                &layer->attended, &layer->middle, &layer->normed_ffn};
        real **wide_ones[] = {&layer->gate, &layer->up, &layer->activated};
        for (size_t i = 0; i < sizeof narrow_ones / sizeof *narrow_ones; i++)
            *narrow_ones[i] = allocate(narrow, sizeof(real));
        for (size_t i = 0; i < sizeof wide_ones / sizeof *wide_ones; i++)
            *wide_ones[i] = allocate(wide, sizeof(real));
        layer->scale = allocate(T, sizeof(real));
        layer->scale_ffn = allocate(T, sizeof(real));
        layer->probabilities = allocate(n_sequences * s->n_head * s->n_ctx * s->n_ctx, sizeof(real));
    }
    real **rest[] = {&a->stream, &a->normed, &a->narrow, &a->dstream, &a->dq, &a->dk, &a->dv};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        *rest[i] = allocate(narrow, sizeof(real));
    a->scale = allocate(T, sizeof(real));
    a->logits = allocate(T * s->n_vocab, sizeof(real));
    a->wide = allocate(wide, sizeof(real));
    a->partial = allocate((T / 64 + 1) * s->n_embd, sizeof(real));
    a->row_loss = allocate(T, sizeof(double));
    a->cosines = allocate(s->n_ctx * s->head_dim / 2, sizeof(real));
    a->sines = allocate(s->n_ctx * s->head_dim / 2, sizeof(real));
    rope_table(a->cosines, a->sines, s->n_ctx, s->head_dim);
    a->scratch = gemm_scratch_create(n_threads);
    a->attention = (struct attention){
        .n_sequences = n_sequences, .n_ctx = s->n_ctx, .n_head = s->n_head, .head_dim = s->head_dim};
    a->attention.scratch = allocate(n_threads, sizeof *a->attention.scratch);
    a->attention.rows = allocate(n_threads, sizeof *a->attention.rows);
    for (uint32_t i = 0; i < n_threads; i++) {
        a->attention.scratch[i] = gemm_scratch_create(1);
        a->attention.rows[i] = allocate(s->n_ctx * s->n_ctx, sizeof(real));
    }
    return a;
}

void activations_free(struct activations *a)
{
    for (size_t l = 0; l < a->n_layer; l++) {
        struct layer_activations *layer = &a->layers[l];
        real *all[] = {layer->input,  layer->normed,     layer->scale, layer->q,    layer->k,
                       layer->v,      layer->attended,   layer->gate,  layer->up,   layer->activated,
                       layer->middle, layer->normed_ffn, layer->scale_ffn, layer->probabilities};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
    for (uint32_t i = 0; i < a->n_threads; i++) {
        gemm_scratch_free(a->attention.scratch[i]);
        free(a->attention.rows[i]);
    }
    real *all[] = {a->stream, a->normed, a->narrow, a->dstream, a->dq,      a->dk,   a->dv,
                   a->scale,  a->logits, a->wide,   a->partial, a->cosines, a->sines};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    gemm_scratch_free(a->scratch);
    free(a->attention.scratch);
    free(a->attention.rows);
    free(a->row_loss);
    free(a->layers);
    free(a);
}

const real *model_logits(const struct activations *a)
{
    return a->logits;
}

// ---- Forward ---------------------------------------------------------------------------------------------------------

// One draw of dropout has a place in the model: 0 the embedding, then two per layer.
static uint64_t dropout_seed(const struct batch *batch, size_t place)
{
    return random_bits(batch->seed, place);
}

// out [T, rows of w] = x [T, cols of w] w^T
static void linear(const struct model *model, struct activations *a, struct pool *pool, const struct tensor *w,
                   const real *x, real *out)
{
    gemm(pool, a->scratch, matrix_of((real *)x, a->n_rows, w->cols), transposed(matrix_in(model->params, w)),
         matrix_of(out, a->n_rows, w->rows), false);
}

static void layer_forward(const struct model *model, struct activations *a, struct pool *pool,
                          const struct batch *batch, size_t l, real *out)
{
    const struct shape *s = &model->shape;
    struct layer_activations *layer = &a->layers[l];
    const size_t T = a->n_rows, n = T * s->n_embd;
    norm_forward(pool, layer->input, vector_of(model, model->params, l, ATTN_NORM), layer->normed, layer->scale, T,
                 s->n_embd);
    linear(model, a, pool, layer_tensor(model, l, ATTN_Q), layer->normed, layer->q);
    linear(model, a, pool, layer_tensor(model, l, ATTN_K), layer->normed, layer->k);
    linear(model, a, pool, layer_tensor(model, l, ATTN_V), layer->normed, layer->v);
    rope(pool, layer->q, a->cosines, a->sines, T, s->n_ctx, s->n_head, s->head_dim, 1);
    rope(pool, layer->k, a->cosines, a->sines, T, s->n_ctx, s->n_head, s->head_dim, 1);
    attention_forward(pool, &a->attention, layer->q, layer->k, layer->v, layer->probabilities, layer->attended);
    linear(model, a, pool, layer_tensor(model, l, ATTN_OUTPUT), layer->attended, a->narrow);
    memcpy(layer->middle, layer->input, n * sizeof(real));
    residual_forward(pool, layer->middle, a->narrow, n, batch->dropout, dropout_seed(batch, 1 + 2 * l));

    norm_forward(pool, layer->middle, vector_of(model, model->params, l, FFN_NORM), layer->normed_ffn,
                 layer->scale_ffn, T, s->n_embd);
    linear(model, a, pool, layer_tensor(model, l, FFN_GATE), layer->normed_ffn, layer->gate);
    linear(model, a, pool, layer_tensor(model, l, FFN_UP), layer->normed_ffn, layer->up);
    swiglu_forward(pool, layer->gate, layer->up, layer->activated, T * s->n_ff);
    linear(model, a, pool, layer_tensor(model, l, FFN_DOWN), layer->activated, a->narrow);
    memcpy(out, layer->middle, n * sizeof(real));
    residual_forward(pool, out, a->narrow, n, batch->dropout, dropout_seed(batch, 2 + 2 * l));
}

struct loss_job {
    struct activations *a;
    const struct batch *batch;
    size_t n_vocab;
};

// Loss of each row.
static void loss_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct loss_job *job = context;
    const size_t end = (size_t)(chunk + 1) * 64;
    (void)thread;
    for (size_t r = (size_t)chunk * 64; r < end && r < job->a->n_rows; r++) {
        const real *logits = job->a->logits + r * job->n_vocab;
        const uint32_t target = job->batch->targets[r];
        real max = logits[0];
        double sum = 0;
        for (size_t i = 1; i < job->n_vocab; i++)
            max = logits[i] > max ? logits[i] : max;
        for (size_t i = 0; i < job->n_vocab; i++)
            sum += (double)real_exp(logits[i] - max);
        job->a->row_loss[r] = target == IGNORED_TARGET ? 0 : log(sum) + (double)max - (double)logits[target];
    }
}

struct loss model_forward(const struct model *model, struct activations *a, struct pool *pool,
                          const struct batch *batch)
{
    const struct shape *s = &model->shape;
    const size_t T = a->n_rows, n = T * s->n_embd;
    real *first = a->layers[0].input;
    memset(first, 0, n * sizeof(real));
    for (size_t r = 0; r < T; r++)
        memcpy(a->narrow + r * s->n_embd, model->params + batch->tokens[r] * s->n_embd, s->n_embd * sizeof(real));
    residual_forward(pool, first, a->narrow, n, batch->dropout, dropout_seed(batch, 0));
    for (size_t l = 0; l < s->n_layer; l++)
        layer_forward(model, a, pool, batch, l, l + 1 < s->n_layer ? a->layers[l + 1].input : a->stream);
    const struct tensor *output_norm = &model->tensors[model->n_tensors - 1];
    norm_forward(pool, a->stream, model->params + output_norm->offset, a->normed, a->scale, T, s->n_embd);
    linear(model, a, pool, &model->tensors[0], a->normed, a->logits);
    struct loss_job job = {a, batch, s->n_vocab};
    pool_run(pool, loss_chunk, &job, (uint32_t)((T + 63) / 64));
    struct loss loss = {0};
    for (size_t r = 0; r < T; r++) {
        loss.sum += a->row_loss[r];
        loss.n += batch->targets[r] != IGNORED_TARGET;
    }
    return loss;
}

// ---- Backward --------------------------------------------------------------------------------------------------------

struct dlogits_job {
    struct activations *a;
    const struct batch *batch;
    size_t n_vocab, n_counted;
};

// logits := d(mean loss) / d(logits) = (softmax - target) / n
static void dlogits_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct dlogits_job *job = context;
    const size_t end = (size_t)(chunk + 1) * 64;
    (void)thread;
    for (size_t r = (size_t)chunk * 64; r < end && r < job->a->n_rows; r++) {
        real *logits = job->a->logits + r * job->n_vocab, max = logits[0], sum = 0;
        const uint32_t target = job->batch->targets[r];
        if (target == IGNORED_TARGET) {
            memset(logits, 0, job->n_vocab * sizeof *logits);
            continue;
        }
        for (size_t i = 1; i < job->n_vocab; i++)
            max = logits[i] > max ? logits[i] : max;
        for (size_t i = 0; i < job->n_vocab; i++) {
            logits[i] = real_exp(logits[i] - max);
            sum += logits[i];
        }
        const real factor = 1 / (sum * (real)job->n_counted);
        for (size_t i = 0; i < job->n_vocab; i++)
            logits[i] *= factor;
        logits[target] -= 1 / (real)job->n_counted;
    }
}

// Gradients of out = x w^T: dw += dout^T x; dx = (or +=) dout w.
static void linear_backward(struct model *model, struct activations *a, struct pool *pool, const struct tensor *w,
                            const real *x, const real *dout, real *dx, bool add)
{
    const struct matrix out = matrix_of((real *)dout, a->n_rows, w->rows);
    gemm(pool, a->scratch, transposed(out), matrix_of((real *)x, a->n_rows, w->cols), matrix_in(model->gradients, w),
         true);
    gemm(pool, a->scratch, out, matrix_in(model->params, w), matrix_of(dx, a->n_rows, w->cols), add);
}

// In: a->dstream is the gradient of the layer's output; out: of its input.
static void layer_backward(struct model *model, struct activations *a, struct pool *pool, const struct batch *batch,
                           size_t l)
{
    const struct shape *s = &model->shape;
    struct layer_activations *layer = &a->layers[l];
    const size_t T = a->n_rows, n = T * s->n_embd;
    real *dadded = a->dq; // free until the attention part
    residual_backward(pool, a->dstream, dadded, n, batch->dropout, dropout_seed(batch, 2 + 2 * l));
    linear_backward(model, a, pool, layer_tensor(model, l, FFN_DOWN), layer->activated, dadded, a->wide, false);
    swiglu_backward(pool, layer->gate, layer->up, a->wide, T * s->n_ff);
    linear_backward(model, a, pool, layer_tensor(model, l, FFN_GATE), layer->normed_ffn, layer->gate, a->narrow, false);
    linear_backward(model, a, pool, layer_tensor(model, l, FFN_UP), layer->normed_ffn, layer->up, a->narrow, true);
    norm_backward(pool, layer->middle, vector_of(model, model->params, l, FFN_NORM), layer->scale_ffn, a->narrow,
                  a->dstream, vector_of(model, model->gradients, l, FFN_NORM), a->partial, T, s->n_embd);

    residual_backward(pool, a->dstream, dadded, n, batch->dropout, dropout_seed(batch, 1 + 2 * l));
    linear_backward(model, a, pool, layer_tensor(model, l, ATTN_OUTPUT), layer->attended, dadded, a->narrow, false);
    attention_backward(pool, &a->attention, layer->q, layer->k, layer->v, layer->probabilities, a->narrow, a->dq,
                       a->dk, a->dv);
    rope(pool, a->dq, a->cosines, a->sines, T, s->n_ctx, s->n_head, s->head_dim, -1);
    rope(pool, a->dk, a->cosines, a->sines, T, s->n_ctx, s->n_head, s->head_dim, -1);
    linear_backward(model, a, pool, layer_tensor(model, l, ATTN_Q), layer->normed, a->dq, a->narrow, false);
    linear_backward(model, a, pool, layer_tensor(model, l, ATTN_K), layer->normed, a->dk, a->narrow, true);
    linear_backward(model, a, pool, layer_tensor(model, l, ATTN_V), layer->normed, a->dv, a->narrow, true);
    norm_backward(pool, layer->input, vector_of(model, model->params, l, ATTN_NORM), layer->scale, a->narrow,
                  a->dstream, vector_of(model, model->gradients, l, ATTN_NORM), a->partial, T, s->n_embd);
}

void model_backward(struct model *model, struct activations *a, struct pool *pool, const struct batch *batch)
{
    const struct shape *s = &model->shape;
    const size_t T = a->n_rows, n = T * s->n_embd;
    const struct tensor *output_norm = &model->tensors[model->n_tensors - 1];
    struct dlogits_job job = {a, batch, s->n_vocab, 0};
    for (size_t r = 0; r < T; r++)
        job.n_counted += batch->targets[r] != IGNORED_TARGET;
    memset(model->gradients, 0, model->n_params * sizeof(real));
    pool_run(pool, dlogits_chunk, &job, (uint32_t)((T + 63) / 64));
    linear_backward(model, a, pool, &model->tensors[0], a->normed, a->logits, a->narrow, false);
    memset(a->dstream, 0, n * sizeof(real));
    norm_backward(pool, a->stream, model->params + output_norm->offset, a->scale, a->narrow, a->dstream,
                  model->gradients + output_norm->offset, a->partial, T, s->n_embd);
    for (size_t l = s->n_layer; l-- > 0;)
        layer_backward(model, a, pool, batch, l);
    residual_backward(pool, a->dstream, a->narrow, n, batch->dropout, dropout_seed(batch, 0));
    for (size_t r = 0; r < T; r++)
        for (size_t i = 0; i < s->n_embd; i++)
            model->gradients[batch->tokens[r] * s->n_embd + i] += a->narrow[r * s->n_embd + i];
}
