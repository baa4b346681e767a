// Pieces that architectures share.
#ifndef CHORD_MODELS_BLOCKS_H
#define CHORD_MODELS_BLOCKS_H

#include "models/arch.h"

// "blk.<layer>.<name>" of the builder's layer, in a buffer of the caller's.
struct tensor_name {
    char text[80];
};
struct tensor_name layer_tensor(const struct graph_builder *b, const char *name);

// A linear layer "blk.<layer>.<name>.weight" with the bias "....bias" when the file has one (with_bias) or none.
struct graph_linear layer_linear(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out,
                                 bool with_bias);

// Token embedding [n_vocab, n_embd].
graph_value build_embedding(struct graph_builder *b, const struct hparams *h, const struct weight **embedding);

// RMS norm with the layer's vector "<name>.weight".
graph_value build_layer_norm(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name);

struct attention_options {
    bool bias;    // q, k, v (and output, where the file has it) with biases
    bool qk_norm; // RMS norm of each head's query and key before RoPE
};
// attn_q/k/v, RoPE, attention, attn_output: [n_embd] -> [n_embd].
graph_value build_attention(struct graph_builder *b, const struct hparams *h, graph_value x,
                            struct attention_options options);

// ffn_down(silu(ffn_gate x) * ffn_up x) with n_ff elements between; `suffix` of the tensors' names: "" or "_shexp".
graph_value build_swiglu(struct graph_builder *b, const struct hparams *h, graph_value x, const char *suffix,
                         uint32_t n_ff);

struct experts_options {
    bool renormalized; // the chosen experts' weights add up to 1
    bool shared;       // beside them an expert for all tokens, scaled by a gate of its own
};
// The routed experts of ffn_gate_inp and ffn_{gate,up,down}_exps, and the shared one of ffn_*_shexp.
graph_value build_experts(struct graph_builder *b, const struct hparams *h, graph_value x,
                          struct experts_options options);

// output_norm, then output.weight or, where the file has none, the embedding again.
graph_value build_head(struct graph_builder *b, const struct hparams *h, graph_value x, const struct weight *embedding);

// Frequencies from the hyperparameters, and from the tensor rope_freqs.weight where the file has it (Llama 3.1).
void build_rope(struct graph_builder *b, const struct hparams *h, enum rope_kind kind);

// The whole of a pre-norm transformer: x += attention(norm(x)); x += ffn(norm(x)) per layer, where ffn is a mixture of experts
// when the hyperparameters have some.
graph_value build_prenorm_transformer(struct graph_builder *b, const struct hparams *h, enum rope_kind kind,
                                      struct attention_options attention, struct experts_options experts);

// load_hparams of architectures that are nothing without experts: MODEL_HPARAMS when the file names none. Files that do not say
// how wide an expert is mean that the chosen ones together are as wide as feed_forward_length.
enum chord_status require_experts(const struct gguf *gguf, struct hparams *h, struct chord_error *err);

#endif
