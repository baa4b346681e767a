// Architectures: one file each, one row in the table of archs.c.
//
// An architecture reads its hyperparameters, then writes its forward pass as a graph. Names and shapes of tensors, optional
// tensors, kind of RoPE and activation live in its file and nowhere else.
#ifndef CHORD_MODELS_ARCH_H
#define CHORD_MODELS_ARCH_H

#include "base/status.h"
#include "gguf/gguf.h"
#include "graph/graph.h"

#include <stdbool.h>
#include <stdint.h>

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

// Keys "<architecture>.<name>" of the metadata. All values are within the ranges that hparams.c checks: no zero divisors, heads divide.
struct hparams {
    const char *arch;
    uint32_t n_ctx_train;
    uint32_t n_vocab; // rows of token_embd.weight
    uint32_t n_embd;
    uint32_t n_layer;
    uint32_t n_ff;
    uint32_t n_head;
    uint32_t n_head_kv;     // divides n_head
    uint32_t head_dim;      // attention.key_length, or n_embd / n_head
    uint32_t n_rot;         // even, <= head_dim
    uint32_t n_expert;      // 0: dense
    uint32_t n_expert_used; // per token, 1..n_expert
    uint32_t n_ff_expert;   // of one expert
    uint32_t n_ff_shared;   // of the shared expert, for architectures that have one
    float norm_rms_eps;
    float rope_base;
    enum rope_scaling rope_scaling;
    float rope_factor;        // of linear and YaRN scaling, 1 without
    uint32_t rope_n_ctx_orig; // YaRN: context before scaling
    float rope_attn_factor;   // YaRN
};

struct arch {
    const char *name; // general.architecture
    // Reads what the architecture needs beyond the common hyperparameters; may be NULL.
    enum chord_status (*load_hparams)(const struct gguf *gguf, struct hparams *h, struct chord_error *err);
    // Builds the graph and returns the logits; errors stay in the builder.
    graph_value (*build)(struct graph_builder *b, const struct hparams *h);
};

// The row of an architecture, or NULL.
const struct arch *arch_find(const char *name, uint64_t n_bytes);
// Row `index` of the table, or NULL past its end: for messages.
const struct arch *arch_at(uint32_t index);

// Common hyperparameters of gguf's architecture, checked. *arch is set too. UNSUPPORTED_ARCHITECTURE, MODEL_HPARAMS, GGUF_METADATA.
enum chord_status hparams_load(const struct gguf *gguf, struct hparams *h, const struct arch **arch,
                               struct chord_error *err);

// The graph of a model. UNSUPPORTED..., MODEL_TENSOR, memory codes.
enum chord_status arch_build_graph(const struct arch *arch, const struct hparams *h, struct weights *weights,
                                   const struct gguf *gguf, struct memory_account *account, struct graph **out,
                                   struct chord_error *err);

extern const struct arch arch_llama, arch_qwen2, arch_qwen2moe, arch_qwen3, arch_qwen3moe;

#endif
