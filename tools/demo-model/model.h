// The model that is trained: llama's architecture with tied embeddings, forward and backward over batches.
//
// Pre-norm blocks x += attention(norm(x)), x += swiglu(norm(x)); RMS norm, RoPE over adjacent pairs, causal attention;
// dropout on the embedding and on what each block adds.
#ifndef CHORD_DEMO_MODEL_MODEL_H
#define CHORD_DEMO_MODEL_MODEL_H

#include "gemm.h"
#include "real.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shape {
    size_t n_vocab, n_embd, n_layer, n_head, head_dim, n_ff, n_ctx; // n_head * head_dim = n_embd
};

#define NORM_EPS 1e-5
#define ROPE_BASE 10000.0

// Parameters lie in one array; each is [rows, cols] at its offset, rows being outputs. Vectors have one row.
struct tensor {
    char name[48]; // as in a GGUF file
    size_t rows, cols, offset;
    bool decays;   // weight decay applies: to matrices
};

struct model {
    struct shape shape;
    size_t n_params, n_tensors;
    struct tensor *tensors; // token_embd, per layer the nine of a block, output_norm
    real *params, *gradients;
};

struct model *model_create(struct shape shape, uint64_t seed);
void model_free(struct model *model);

// Activations of a batch of n_sequences of n_ctx tokens each; reused from step to step.
struct activations;
struct activations *activations_create(const struct model *model, size_t n_sequences, uint32_t n_threads);
void activations_free(struct activations *a);

struct batch {
    const uint32_t *tokens;  // [n_sequences, n_ctx]
    const uint32_t *targets; // the token after each; IGNORED_TARGET counts for nothing
    size_t n_sequences;
    double dropout;          // share of what is added that is dropped; 0: none
    uint64_t seed;           // of the dropout: another for every step
};
#define IGNORED_TARGET UINT32_MAX

// Sum of the negative log-likelihoods of the targets, and how many counted.
struct loss {
    double sum;
    size_t n;
};
struct loss model_forward(const struct model *model, struct activations *a, struct pool *pool,
                          const struct batch *batch);
// After model_forward: fills model->gradients with those of the mean loss.
void model_backward(struct model *model, struct activations *a, struct pool *pool, const struct batch *batch);

// [n_sequences * n_ctx, n_vocab] of the last forward pass; overwritten by model_backward.
const real *model_logits(const struct activations *a);

#endif
