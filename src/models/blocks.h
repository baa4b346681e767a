// Pieces that architectures share.
#ifndef CHORD_MODELS_BLOCKS_H
#define CHORD_MODELS_BLOCKS_H

#include "models/arch.h"

// "blk.<layer>.<name>" of the builder's layer, in a buffer of the caller's.
struct tensor_name {
    char text[80];
};
struct tensor_name layer_tensor(const struct graph_builder *b, const char *name);

// Whether an architecture's files have a tensor.
enum presence { ABSENT, OPTIONAL, REQUIRED };

// A linear layer "blk.<layer>.<name>.weight" with the bias "....bias".
struct graph_linear layer_linear(struct graph_builder *b, const char *name, uint64_t n_in, uint64_t n_out,
                                 enum presence bias);

// The norm of the model's kind with the vectors "<name>.weight" and "<name>.bias" (h->norm_bias), over rows.
graph_value build_norm(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name);
// The same of "blk.<layer>.<name>...".
graph_value build_layer_norm(struct graph_builder *b, const struct hparams *h, graph_value x, const char *name);

// The frequencies of h's base, scaling and factors (rope_freqs.weight; rope_factors_short.weight up to the original context, else
// rope_factors_long.weight). Returns the table's number.
uint32_t build_rope(struct graph_builder *b, const struct hparams *h, enum rope_kind kind);

// Frequencies of a base alone.
uint32_t build_plain_rope(struct graph_builder *b, enum rope_kind kind, uint32_t n_rot, float base);

enum qk_norm {
    QK_NORM_NONE,
    QK_NORM_HEADS, // over each head, one weight vector [head_dim] for all
    QK_NORM_ROWS,  // over the whole row
    // LayerNorm without bias over each head, with weights of its own [n_heads, head_dim], where the file has them
    QK_NORM_EACH_HEAD,
};

struct attention_options {
    bool fused;                // attn_qkv, unless the file has attn_q
    enum presence bias;        // of q, k, v
    enum presence output_bias; // of attn_output
    enum qk_norm qk_norm;      // of queries and keys, before RoPE; an RMS norm unless its name says otherwise
    bool no_rope;
    uint32_t rope;        // table
    uint32_t window;      // 0: all keys
    bool sinks;           // attn_sinks.weight
    const char *sub_norm; // norm of attention's result, before attn_output; NULL: none
};
// attn_q/k/v, or attn_qkv of all three, RoPE, attention, attn_output: [n_embd] -> [n_embd].
graph_value build_attention(struct graph_builder *b, const struct hparams *h, graph_value x,
                            struct attention_options options);

enum ffn_kind {
    FFN_GATED,       // ffn_down(f(ffn_gate x) * ffn_up x)
    FFN_GATED_FUSED, // the same, where ffn_up holds the rows of gate, then those of up
    FFN_PLAIN,       // ffn_down(f(ffn_up x))
};
struct ffn_options {
    enum ffn_kind kind;
    enum glu_kind activation;
    enum presence bias;
    const char *sub_norm; // norm before ffn_down; NULL: none
};
// n_ff elements between; `suffix` of the tensors' names: "" or "_shexp".
graph_value build_ffn(struct graph_builder *b, const struct hparams *h, graph_value x, const char *suffix,
                      uint32_t n_ff, struct ffn_options options);

// Beside the chosen experts one for all tokens: as it is, or scaled by a gate of its own.
enum shared_expert { SHARED_NONE, SHARED_PLAIN, SHARED_GATED };

struct experts_options {
    enum glu_kind activation;
    enum presence bias; // of router and experts
    bool renormalized;  // the chosen experts' weights add up to 1
    enum shared_expert shared;
};
// Router ffn_gate_inp, experts ffn_{gate,up,down}_exps; shared: ffn_{gate,up,down}_shexp and, SHARED_GATED, their gate ffn_gate_inp_shexp.
graph_value build_experts(struct graph_builder *b, const struct hparams *h, graph_value x,
                          struct experts_options options);

// Decoder-only transformers: embedding, layers of attention and feed-forward (or experts) around a residual stream, head. What
// hparams say (norms, windows, scales, soft caps) needs no option.
struct transformer {
    enum rope_kind rope;
    struct attention_options attention;
    struct ffn_options ffn;
    struct experts_options experts;
    bool learned_positions; // position_embd.weight, and no RoPE
    // x + attention(attn_norm x) + ffn(of the same norm's result, or of ffn_norm x where a layer has it)
    bool parallel;
    bool only_post_norms;       // attention and ffn read x as it is
    bool post_norms;            // norms post_attention_norm and post_ffw_norm of what is added to x
    const char *ffn_norm;       // NULL: "ffn_norm"
    const char *attention_norm; // where a layer has this norm, attention alone reads its result in place of attn_norm's
    enum presence head_bias;
    // In place of build_attention; may be NULL.
    graph_value (*build_attention)(struct graph_builder *b, const struct hparams *h, graph_value x,
                                   const struct attention_options *options);
    // Changes what a layer has in a way of its own; may be NULL.
    void (*layer)(const struct hparams *h, uint32_t layer, struct attention_options *attention);
};
// Returns the logits.
graph_value build_transformer(struct graph_builder *b, const struct hparams *h, const struct transformer *t);

// Final norm and output matrix: output.weight, or the embedding where the file has none. And the embedding part, of the normed rows.
graph_value build_head(struct graph_builder *b, const struct hparams *h, graph_value x, const struct weight *embedding,
                       enum presence bias);

// The embedding part over rows x of the trunk: final norm where `normed`, and the classifier of models for ranking: cls.weight [n_embd,
// n_embd] and tanh, where the file has it, then cls.output.weight, one row for each
// of classifier.output_labels, or one.
void build_embedding(struct graph_builder *b, const struct hparams *h, graph_value x, bool normed);

// For load_hparams. LAYER_NORM in place of RMS_NORM.
void use_layer_norm(struct hparams_reader *r, struct hparams *h, bool bias);
// Architectures that are nothing without experts. Files that do not say how wide an expert is mean that the chosen ones together are
// as wide as feed_forward_length.
void require_experts(struct hparams_reader *r, struct hparams *h);
// Leading dense layers, shared experts counted in widths of one, and a factor of the experts' weights.
void use_shared_experts(struct hparams_reader *r, struct hparams *h);

#endif
