// Forward and backward passes of the pieces between the matrix products, over [n_rows, n_cols] activations.
// All run on the pool in chunks of rows of fixed size, so results do not depend on the number of threads.
#ifndef CHORD_DEMO_MODEL_LAYERS_H
#define CHORD_DEMO_MODEL_LAYERS_H

#include "gemm.h"
#include "real.h"

// out = x / rms(x) * weight; scale [n_rows] keeps 1 / rms.
void norm_forward(struct pool *pool, const real *x, const real *weight, real *out, real *scale, size_t n_rows,
                  size_t n_cols);
// dx += , dweight += ; partial: scratch of [n_rows / 64 + 1, n_cols].
void norm_backward(struct pool *pool, const real *x, const real *weight, const real *scale, const real *dout,
                   real *dx, real *dweight, real *partial, size_t n_rows, size_t n_cols);

// RoPE. cosines, sines [n_ctx, head_dim / 2]: of position * base^(-2i / head_dim).
void rope_table(real *cosines, real *sines, size_t n_ctx, size_t head_dim);
// Turns the pairs (2i, 2i + 1) of every head; direction -1 turns back, as the gradient wants.
void rope(struct pool *pool, real *x, const real *cosines, const real *sines, size_t n_rows, size_t n_ctx,
          size_t n_head, size_t head_dim, int direction);

// out = silu(gate) * up, and its gradients in place of gate and up.
void swiglu_forward(struct pool *pool, const real *gate, const real *up, real *out, size_t n);
void swiglu_backward(struct pool *pool, real *gate, real *up, const real *dout, size_t n);

// x += dropped(add): each element kept with probability 1 - share and scaled up, by counter-based random numbers.
void residual_forward(struct pool *pool, real *x, const real *add, size_t n, double share, uint64_t seed);
// dadd = dropped(dx).
void residual_backward(struct pool *pool, const real *dx, real *dadd, size_t n, double share, uint64_t seed);

// Causal attention. q, k, v, out [n_sequences * n_ctx, n_head * head_dim]; probabilities [n_sequences, n_head, n_ctx, n_ctx].
struct attention {
    size_t n_sequences, n_ctx, n_head, head_dim;
    struct gemm_scratch **scratch; // one per thread, each for a single thread
    real **rows;                   // per thread: [n_ctx, n_ctx]
};
void attention_forward(struct pool *pool, const struct attention *a, const real *q, const real *k, const real *v,
                       real *probabilities, real *out);
void attention_backward(struct pool *pool, const struct attention *a, const real *q, const real *k, const real *v,
                        const real *probabilities, const real *dout, real *dq, real *dk, real *dv);

#endif
