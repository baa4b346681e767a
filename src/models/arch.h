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

// What of a text's rows makes its vector: {arch}.pooling_type. NONE: the metadata does not say, or says so. RANK: the first row (of an
// encoder; else the last), through a classifier.
enum pooling { POOLING_NONE, POOLING_MEAN, POOLING_CLS, POOLING_LAST, POOLING_RANK };

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

// Keys "<architecture>.<name>" of the metadata. All values are within the ranges that hparams.c checks: no zero divisors, heads divide.
// Those below the line are 0 (or what the line says) unless the architecture's file reads them.
struct hparams {
    const char *arch;
    uint32_t n_ctx_train;
    uint32_t n_ctx;   // asked for, which is n_ctx_train where nobody asked: chooses between long and short RoPE factors
    uint32_t n_vocab; // rows of token_embd.weight
    uint32_t n_embd;
    uint32_t n_layer;
    uint32_t n_ff;
    uint32_t n_head;
    uint32_t n_head_kv; // divides n_head
    uint32_t head_dim;  // attention.key_length, or n_embd / n_head
    uint32_t value_dim; // attention.value_length: head_dim, where the architecture does not say otherwise
    uint32_t n_rot;     // even, <= head_dim
    enum pooling pooling;
    uint32_t n_expert;      // 0: dense
    uint32_t n_expert_used; // per token, 1..n_expert
    uint32_t n_ff_expert;   // of one expert
    uint32_t n_ff_shared;   // of the shared expert, for architectures that have one
    float norm_rms_eps;
    float rope_base;
    enum rope_scaling rope_scaling;
    float rope_factor;        // of linear and YaRN scaling, 1 without
    uint32_t rope_n_ctx_orig; // context before scaling: of YaRN, and of long RoPE factors
    float rope_attn_factor;   // magnitude of cosines and sines beside what YaRN gives them, 1 without
    float yarn_fast,
        yarn_slow; // turns over that context from which on, and up to which, waves stay or are interpolated
    // ----
    bool is_encoder;            // every token of a text sees all others; there is no head
    bool layer_norm, norm_bias; // norms are LAYER_NORM, with norm_eps; they have biases
    float norm_eps;             // of LAYER_NORM
    uint32_t n_ctx_most;        // positions that the model has rows for; 0: any number
    uint32_t n_window;          // of layers with a sliding window; 0: none has one
    float window_rope_base;  // of layers with a window, without scaling, where not 0; else they turn as the others do
    uint32_t window_period;  // of so many layers the last one has no window; 0: all have one
    uint32_t n_dense_layers; // of a mixture of experts: the first ones, which have none
    float expert_scale;      // of the weights of chosen experts; 0: 1
    bool expert_sigmoid;     // weights of experts are sigmoids of the router's logits, not their softmax
    bool expert_norm;        // the weights of the chosen experts add up to 1
    uint32_t n_expert_groups, n_expert_groups_used; // of as many experts each; 0 or 1: no groups
    // Latent attention: width of the vectors that queries (0: none), and keys and values, come from, and elements of a head's key
    // and value before the matrices of attention take part in the comparison of keys.
    uint32_t n_q_lora, n_kv_lora, key_dim_mla, value_dim_mla;
    bool split_latent;     // the KV cache holds the narrow vector, one key and value for all heads
    float attention_scale; // of scores; 0: 1 / sqrt(head_dim)
    float attention_cap, logit_cap;
    float embedding_scale, residual_scale, logit_scale; // 0: 1
};

// Reads keys of the architecture, "<architecture>.<name>"; the first error stays and turns later calls into no-ops.
struct hparams_reader {
    const struct gguf *gguf;
    const char *arch;
    struct chord_error *err;
    enum chord_status status;
    char key[128];
};
uint32_t hparams_u32(struct hparams_reader *r, const char *name, uint64_t least, uint64_t most);
uint32_t hparams_u32_or(struct hparams_reader *r, const char *name, uint32_t absent, uint64_t least, uint64_t most);
float hparams_f32_or(struct hparams_reader *r, const char *name, float absent, float least, float most);
bool hparams_bool_or(struct hparams_reader *r, const char *name, bool absent);
// CHORD_MODEL_HPARAMS with a message of the architecture's own.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void hparams_fail(struct hparams_reader *r, const char *format, ...);

struct arch {
    const char *name;    // general.architecture
    bool values_differ;  // heads of keys and of values may have different widths
    bool sigmoid_gating; // the router's logits may be gated by sigmoids, experts chosen in groups
    // Reads what the architecture needs beyond the common hyperparameters, errors stay in the reader; may be NULL.
    void (*load_hparams)(struct hparams_reader *r, struct hparams *h);
    // Builds the graph and returns the logits (of an encoder: anything); errors stay in the builder.
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

extern const struct arch arch_llama, arch_qwen2, arch_qwen2moe, arch_qwen3, arch_qwen3moe, arch_gemma, arch_gemma2,
    arch_gemma3, arch_phi3, arch_phi2, arch_olmo2, arch_smollm3, arch_granite, arch_starcoder2, arch_stablelm,
    arch_gpt2, arch_falcon, arch_command_r, arch_cohere2, arch_gpt_oss, arch_deepseek, arch_deepseek2, arch_bitnet,
    arch_bitnet_25, arch_bitnet_b158, arch_bert, arch_nomic_bert;

#endif
