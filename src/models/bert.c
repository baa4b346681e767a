// bert and nomic-bert: encoders, for embeddings and for ranking. Every token of a text sees all others; norms stand behind what is added
// to the residual stream. bert has learned positions and biases, nomic-bert RoPE and, mostly, a gated feed-forward without biases.
#include "models/blocks.h"

static void load_hparams(struct hparams_reader *r, struct hparams *h)
{
    use_layer_norm(r, h, true);
    h->is_encoder = true;
}

static void load_bert_hparams(struct hparams_reader *r, struct hparams *h)
{
    load_hparams(r, h);
    h->n_ctx_most = h->n_ctx_train;
}

static graph_value add_token_types(struct graph_builder *b, const struct hparams *h, graph_value x)
{
    static const char name[] = "token_types.weight";
    const struct gguf_tensor *types = gguf_find_tensor(b->gguf, name);
    uint32_t n_types = types != NULL && types->ne[1] < UINT32_MAX ? (uint32_t)types->ne[1] : 1;
    if (b->status == CHORD_OK)
        b->status = gguf_get_u32_or(b->gguf, "tokenizer.ggml.token_type_count", n_types, &n_types, b->err);
    return graph_token_type(b, x, graph_matrix(b, name, h->n_embd, n_types));
}

static graph_value build_encoder(struct graph_builder *b, const struct hparams *h, graph_value x,
                                 const struct attention_options *attention, struct ffn_options ffn)
{
    x = build_norm(b, h, x, "token_embd_norm");
    for (uint32_t layer = 0; layer < h->n_layer && b->status == CHORD_OK; layer++) {
        graph_set_layer(b, layer);
        ffn.kind = graph_has_tensor(b, layer_tensor(b, "ffn_gate.weight").text) ? FFN_GATED : FFN_PLAIN;
        ffn.activation = ffn.kind == FFN_GATED ? GLU_SILU : GLU_GELU;
        x = graph_add(b, x, build_attention(b, h, x, *attention));
        x = build_layer_norm(b, h, x, "attn_output_norm");
        x = graph_add(b, x, build_ffn(b, h, x, "", h->n_ff, ffn));
        x = build_layer_norm(b, h, x, "layer_output_norm");
    }
    build_embedding(b, h, x, false);
    return 0;
}

static graph_value build_bert(struct graph_builder *b, const struct hparams *h)
{
    const struct attention_options attention = {
        .fused = true, .bias = REQUIRED, .output_bias = REQUIRED, .no_rope = true};
    graph_value x = graph_embed(b, graph_matrix(b, "token_embd.weight", h->n_embd, h->n_vocab));
    x = add_token_types(b, h, x);
    x = graph_position(b, x, graph_matrix(b, "position_embd.weight", h->n_embd, h->n_ctx_most));
    return build_encoder(b, h, x, &attention, (struct ffn_options){.bias = REQUIRED});
}

static graph_value build_nomic_bert(struct graph_builder *b, const struct hparams *h)
{
    const struct attention_options attention = {
        .fused = true, .bias = OPTIONAL, .output_bias = OPTIONAL, .rope = build_rope(b, h, ROPE_NEOX)};
    graph_value x = graph_embed(b, graph_matrix(b, "token_embd.weight", h->n_embd, h->n_vocab));
    if (graph_has_tensor(b, "token_types.weight"))
        x = add_token_types(b, h, x);
    return build_encoder(b, h, x, &attention, (struct ffn_options){.bias = OPTIONAL});
}

const struct arch arch_bert = {.name = "bert", .load_hparams = load_bert_hparams, .build = build_bert};
const struct arch arch_nomic_bert = {.name = "nomic-bert", .load_hparams = load_hparams, .build = build_nomic_bert};
