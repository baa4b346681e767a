// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019) with clipping of the global norm.
#ifndef CHORD_DEMO_MODEL_OPTIMIZER_H
#define CHORD_DEMO_MODEL_OPTIMIZER_H

#include "model.h"

struct optimizer {
    real *mean, *variance; // [n_params]
    double beta1, beta2, epsilon, weight_decay, clip;
    uint64_t n_steps;
};

struct optimizer *optimizer_create(const struct model *model);
void optimizer_free(struct optimizer *optimizer);

// One step with the model's gradients. Returns the norm of the gradients before clipping.
double optimizer_step(struct optimizer *optimizer, struct model *model, struct pool *pool, double learning_rate);

#endif
