// Gradient check: the analytic gradients against central differences, in double precision on a toy model.
// Built with -DTRAINER_DOUBLE. Exits with 1 when a gradient is off by more than the differences' own error.
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#if !defined(TRAINER_DOUBLE)
#error "the gradient check is built in double precision: -DTRAINER_DOUBLE"
#endif

#define N_SEQUENCES 2
// Differences over five points err by STEP^4 times a fifth derivative, of up to 10^6 here, and by some 1e-15 / STEP.
#define STEP 1e-4
#define TOLERANCE 1e-9

static const struct shape shape = {
    .n_vocab = 37, .n_embd = 24, .n_layer = 2, .n_head = 3, .head_dim = 8, .n_ff = 40, .n_ctx = 150};

static double mean_loss(const struct model *model, struct activations *a, struct pool *pool, const struct batch *batch)
{
    const struct loss loss = model_forward(model, a, pool, batch);
    return loss.sum / (double)loss.n;
}

// d(loss) / d(*p)
static double difference(const struct model *model, struct activations *a, struct pool *pool, const struct batch *batch,
                         real *p)
{
    static const double at[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
    const real kept = *p;
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        *p = kept + at[i] * STEP;
        sum += weight[i] * mean_loss(model, a, pool, batch);
    }
    *p = kept;
    return sum / (12 * STEP);
}

int main(void)
{
    struct memory_account account;
    struct pool *pool;
    uint32_t tokens[N_SEQUENCES * 150], targets[N_SEQUENCES * 150];
    double worst = 0;
    memory_account_init(&account, UINT64_MAX);
    if (pool_create(&pool, 2, &account, NULL) != CHORD_OK)
        return 1;
    struct model *model = model_create(shape, 7);
    // Larger weights than training starts from, so that no term is negligible.
    for (size_t i = 0; i < model->n_params; i++)
        model->params[i] *= 3 + random_uniform(11, i);
    struct activations *a = activations_create(model, N_SEQUENCES, 2);
    for (size_t i = 0; i < N_SEQUENCES * shape.n_ctx; i++) {
        tokens[i] = (uint32_t)(random_bits(1, i) % shape.n_vocab);
        targets[i] = i % 13 == 5 ? IGNORED_TARGET : (uint32_t)(random_bits(2, i) % shape.n_vocab);
    }
    const struct batch batch = {
        .tokens = tokens, .targets = targets, .n_sequences = N_SEQUENCES, .dropout = 0.2, .seed = 3};
    mean_loss(model, a, pool, &batch);
    model_backward(model, a, pool, &batch);
    for (size_t t = 0; t < model->n_tensors; t++) {
        const struct tensor *tensor = &model->tensors[t];
        for (size_t k = 0; k < 6; k++) {
            real *p = &model->params[tensor->offset + random_bits(5, t * 6 + k) % (tensor->rows * tensor->cols)];
            const double numeric = difference(model, a, pool, &batch, p);
            const double analytic = model->gradients[p - model->params], error = fabs(numeric - analytic);
            if (error > TOLERANCE)
                printf("%s[%zu]: analytic %.9g, difference %.9g\n", tensor->name,
                       (size_t)(p - model->params) - tensor->offset, analytic, numeric);
            worst = error > worst ? error : worst;
        }
    }
    printf("largest error of a gradient: %.2g (allowed: %.0e)\n", worst, TOLERANCE);
    activations_free(a);
    model_free(model);
    pool_free(pool);
    return worst <= TOLERANCE ? 0 : 1;
}
