#include "optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PARAMS_PER_CHUNK 65536

struct optimizer *optimizer_create(const struct model *model)
{
    struct optimizer *o = calloc(1, sizeof *o);
    if (o == NULL)
        exit(1);
    *o = (struct optimizer){.mean = calloc(model->n_params, sizeof(real)),
                            .variance = calloc(model->n_params, sizeof(real)),
                            .beta1 = 0.9,
                            .beta2 = 0.95,
                            .epsilon = 1e-8,
                            .weight_decay = 0.1,
                            .clip = 1};
    if (o->mean == NULL || o->variance == NULL)
        exit(1);
    return o;
}

void optimizer_free(struct optimizer *optimizer)
{
    free(optimizer->mean);
    free(optimizer->variance);
    free(optimizer);
}

// Summed tensor by tensor in index order: the same on any number of threads.
static double gradient_norm(const struct model *model)
{
    double squares = 0;
    for (size_t t = 0; t < model->n_tensors; t++) {
        const struct tensor *tensor = &model->tensors[t];
        double of_tensor = 0;
        for (size_t i = tensor->offset; i < tensor->offset + tensor->rows * tensor->cols; i++)
            of_tensor += (double)model->gradients[i] * (double)model->gradients[i];
        squares += of_tensor;
    }
    return sqrt(squares);
}

struct step {
    struct optimizer *o;
    real *params;
    const real *gradients;
    size_t n;
    real factor, rate, shrink, correction1, correction2;
};

static void update_chunk(void *context, uint32_t chunk, uint32_t thread)
{
    const struct step *s = context;
    const size_t first = (size_t)chunk * PARAMS_PER_CHUNK;
    const size_t end = first + PARAMS_PER_CHUNK < s->n ? first + PARAMS_PER_CHUNK : s->n;
    const real beta1 = (real)s->o->beta1, beta2 = (real)s->o->beta2, epsilon = (real)s->o->epsilon;
    (void)thread;
    for (size_t i = first; i < end; i++) {
        const real g = s->gradients[i] * s->factor;
        const real m = s->o->mean[i] = beta1 * s->o->mean[i] + (1 - beta1) * g;
        const real v = s->o->variance[i] = beta2 * s->o->variance[i] + (1 - beta2) * g * g;
        s->params[i] -= s->rate * (m * s->correction1) / ((real)sqrt((double)(v * s->correction2)) + epsilon) +
                        s->shrink * s->params[i];
    }
}

double optimizer_step(struct optimizer *o, struct model *model, struct pool *pool, double learning_rate)
{
    const double norm = gradient_norm(model);
    o->n_steps++;
    for (size_t t = 0; t < model->n_tensors; t++) {
        const struct tensor *tensor = &model->tensors[t];
        struct optimizer part = *o;
        part.mean += tensor->offset;
        part.variance += tensor->offset;
        struct step step = {.o = &part,
                            .params = model->params + tensor->offset,
                            .gradients = model->gradients + tensor->offset,
                            .n = tensor->rows * tensor->cols,
                            .factor = (real)(norm > o->clip ? o->clip / norm : 1),
                            .rate = (real)learning_rate,
                            .shrink = (real)(tensor->decays ? learning_rate * o->weight_decay : 0),
                            .correction1 = (real)(1 / (1 - pow(o->beta1, (double)o->n_steps))),
                            .correction2 = (real)(1 / (1 - pow(o->beta2, (double)o->n_steps)))};
        pool_run(pool, update_chunk, &step, (uint32_t)((step.n + PARAMS_PER_CHUNK - 1) / PARAMS_PER_CHUNK));
    }
    return norm;
}
