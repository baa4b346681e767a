// Tiny models with random weights as GGUF files, for the tests of weights, graph, models, backend and engine.
//
// A test may change, add or drop any value and tensor between tiny_init and the encoding. Of each tensor the values that the
// file will dequantize to are kept, for references.
#ifndef CHORD_TEST_TINY_MODEL_H
#define CHORD_TEST_TINY_MODEL_H

#include "../malformed/maker.h"
#include "quant/quant.h"

#include <math.h>
#include <stdio.h>

struct tiny_options {            // 0 and NULL: the default
    const char *arch;            // "llama"
    uint32_t n_vocab, n_padding; // 300; of them, rows of the embedding without a token
    uint32_t n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff, n_ctx; // 32, 2, 4, 2, n_embd / n_head, 48, 256
    uint32_t n_rot;                                                     // head_dim
    uint32_t n_expert, n_expert_used, n_ff_expert; // 0: dense (8 of architectures with experts); 2, 24 (llama: n_ff)
    uint32_t n_ff_shared;                          // 40, of qwen2moe
    uint32_t type;                                 // of matrices: F32
    bool biases;                                   // on q, k, v
    bool tied;                                     // no output.weight
    bool rope_freqs;                               // the tensor
    uint64_t seed;
};

#define TINY_MOST_TENSORS 128
#define TINY_MOST_VALUES 64

struct tiny_tensor {
    char name[64];
    uint32_t type;
    uint32_t n_dimensions;
    uint64_t ne[4]; // unused ones are 1
    float *values;  // [ne3 * ne2 * ne1, ne0], as dequantized
    unsigned char *bytes;
    uint64_t n_bytes;
};

struct tiny_value {
    char key[96];
    struct maker body; // type and payload
};

struct tiny_model {
    struct tiny_options options; // without defaults left open
    struct tiny_tensor tensors[TINY_MOST_TENSORS];
    uint32_t n_tensors;
    struct tiny_value values[TINY_MOST_VALUES];
    uint32_t n_values;
    uint64_t random;
};

// ---- Random numbers ------------------------------------------------------------------------------------------------------

static inline uint64_t tiny_random(uint64_t *state) // splitmix64
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline double tiny_uniform(uint64_t *state) // [-1, 1)
{
    return (double)(tiny_random(state) >> 11) * 0x1p-52 - 1;
}

// ---- Values --------------------------------------------------------------------------------------------------------------

static inline struct tiny_value *tiny_find(struct tiny_model *m, const char *key)
{
    for (uint32_t i = 0; i < m->n_values; i++)
        if (strcmp(m->values[i].key, key) == 0)
            return &m->values[i];
    return NULL;
}

// An emptied value for the caller to fill, which begins with its type.
static inline struct maker *tiny_set(struct tiny_model *m, const char *key, uint32_t type)
{
    struct tiny_value *value = tiny_find(m, key);
    if (value == NULL) {
        assert(m->n_values < TINY_MOST_VALUES && strlen(key) < sizeof value->key);
        value = &m->values[m->n_values++];
        *value = (struct tiny_value){0};
        snprintf(value->key, sizeof value->key, "%s", key);
    }
    value->body.n = 0;
    put_u32(&value->body, type);
    return &value->body;
}

static inline void tiny_set_u32(struct tiny_model *m, const char *key, uint32_t number)
{
    put_u32(tiny_set(m, key, GGUF_UINT32), number);
}

static inline void tiny_set_f32(struct tiny_model *m, const char *key, float number)
{
    put_f32(tiny_set(m, key, GGUF_FLOAT32), number);
}

static inline void tiny_set_string(struct tiny_model *m, const char *key, const char *text)
{
    put_string(tiny_set(m, key, GGUF_STRING), text);
}

static inline struct maker *tiny_set_array(struct tiny_model *m, const char *key, uint32_t element, uint64_t n)
{
    struct maker *body = tiny_set(m, key, GGUF_ARRAY);
    put_u32(body, element);
    put_u64(body, n);
    return body;
}

static inline void tiny_drop(struct tiny_model *m, const char *key)
{
    struct tiny_value *value = tiny_find(m, key);
    assert(value != NULL);
    free(value->body.bytes);
    *value = m->values[--m->n_values];
}

// "<arch>.<name>"
static inline const char *tiny_key(const struct tiny_model *m, const char *name)
{
    static char key[96];
    snprintf(key, sizeof key, "%s.%s", m->options.arch, name);
    return key;
}

// 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes, then words, each with its own letters.
static inline void tiny_set_vocabulary(struct tiny_model *m)
{
    const uint32_t n = m->options.n_vocab - m->options.n_padding;
    char text[32];
    struct maker *tokens = tiny_set_array(m, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (uint32_t id = 0; id < n; id++) {
        const uint32_t word = id - 259;
        if (id < 3)
            snprintf(text, sizeof text, "%s", id == 0 ? "<unk>" : id == 1 ? "<s>" : "</s>");
        else if (id < 259)
            snprintf(text, sizeof text, "<0x%02X>", id - 3);
        else if (word < 27)
            snprintf(text, sizeof text, "%c", word == 26 ? '.' : 'a' + (int)word);
        else if (word == 27)
            snprintf(text, sizeof text, "\xe2\x96\x81"); // U+2581, SentencePiece's space
        else
            snprintf(text, sizeof text, "\xe2\x96\x81%c%u", 'a' + (int)(word % 26), word);
        put_string(tokens, text);
    }
    struct maker *types = tiny_set_array(m, "tokenizer.ggml.token_type", GGUF_INT32, n);
    for (uint32_t id = 0; id < n; id++)
        put_u32(types, id == 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1);
    struct maker *scores = tiny_set_array(m, "tokenizer.ggml.scores", GGUF_FLOAT32, n);
    for (uint32_t id = 0; id < n; id++)
        put_f32(scores, -(float)id);
    tiny_set_string(m, "tokenizer.ggml.model", "llama");
    tiny_set_u32(m, "tokenizer.ggml.bos_token_id", 1);
    tiny_set_u32(m, "tokenizer.ggml.eos_token_id", 2);
}

// ---- Tensors -------------------------------------------------------------------------------------------------------------

static inline struct tiny_tensor *tiny_tensor(struct tiny_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_tensors; i++)
        if (strcmp(m->tensors[i].name, name) == 0)
            return &m->tensors[i];
    return NULL;
}

static inline const float *tiny_values(struct tiny_model *m, const char *name) // NULL: no such tensor
{
    const struct tiny_tensor *tensor = tiny_tensor(m, name);
    return tensor != NULL ? tensor->values : NULL;
}

// Makes the tensor's bytes from its values (random ones of types that chord does not write), and its values from the bytes.
static inline void tiny_quantize(struct tiny_tensor *t)
{
    const struct quant_traits *traits = quant_traits(t->type);
    const uint64_t n_rows = t->ne[1] * t->ne[2] * t->ne[3];
    uint64_t row_bytes;
    if (!quant_row_bytes(t->type, t->ne[0], &row_bytes) ||
        !quant_tensor_bytes(t->type, t->ne[0], n_rows, &t->n_bytes))
        abort();
    t->bytes = realloc(t->bytes, t->n_bytes);
    if (t->bytes == NULL)
        abort();
    uint64_t random = t->type;
    for (uint64_t row = 0; row < n_rows; row++) {
        if (traits->quantize_row != NULL)
            traits->quantize_row(t->values + row * t->ne[0], t->bytes + row * row_bytes, t->ne[0]);
        else // any bytes are blocks; without the bits that make a scale infinite
            for (uint64_t i = 0; i < row_bytes; i++)
                t->bytes[row * row_bytes + i] = tiny_random(&random) & (traits->tail_bytes != 0 ? 0xff : 0x3f);
        traits->dequantize_row(t->bytes + row * row_bytes, t->values + row * t->ne[0], t->ne[0]);
    }
    if (traits->tail_bytes != 0) { // 0.03125, and what nobody is to read
        memset(t->bytes + row_bytes * n_rows, 0xff, traits->tail_bytes);
        memcpy(t->bytes + row_bytes * n_rows, "\x00\x00\x00\x3d", 4);
        for (uint64_t i = 0; i < t->ne[0] * n_rows; i++)
            t->values[i] *= 0x1p-5f;
    }
}

// Values `offset` + random within +-`range`.
static inline struct tiny_tensor *tiny_add(struct tiny_model *m, const char *name, uint32_t type, uint64_t n,
                                           uint64_t n_rows, double offset, double range)
{
    assert(m->n_tensors < TINY_MOST_TENSORS && strlen(name) < 64);
    struct tiny_tensor *t = &m->tensors[m->n_tensors++];
    *t = (struct tiny_tensor){.type = type, .n_dimensions = n_rows > 1 ? 2 : 1, .ne = {n, n_rows, 1, 1}};
    snprintf(t->name, sizeof t->name, "%s", name);
    t->values = malloc(n * n_rows * sizeof *t->values);
    if (t->values == NULL)
        abort();
    for (uint64_t i = 0; i < n * n_rows; i++)
        t->values[i] = (float)(offset + range * tiny_uniform(&m->random));
    tiny_quantize(t);
    return t;
}

// Matrices of n_matrices experts.
static inline struct tiny_tensor *tiny_add_experts(struct tiny_model *m, const char *name, uint32_t type, uint64_t n,
                                                   uint64_t n_rows, uint64_t n_matrices, double range)
{
    struct tiny_tensor *t = tiny_add(m, name, type, n, n_rows * n_matrices, 0, range);
    t->n_dimensions = 3;
    t->ne[1] = n_rows;
    t->ne[2] = n_matrices;
    return t;
}

// Gives the tensor another shape; its values begin as they were.
static inline void tiny_reshape(struct tiny_tensor *t, uint64_t n, uint64_t n_rows)
{
    const uint64_t before = t->ne[0] * t->ne[1];
    t->values = realloc(t->values, n * n_rows * sizeof *t->values);
    if (t->values == NULL)
        abort();
    for (uint64_t i = before; i < n * n_rows; i++)
        t->values[i] = 0.5f;
    t->n_dimensions = n_rows > 1 ? 2 : 1;
    t->ne[0] = n;
    t->ne[1] = n_rows;
    tiny_quantize(t);
}

static inline void tiny_drop_tensor(struct tiny_model *m, const char *name)
{
    struct tiny_tensor *t = tiny_tensor(m, name);
    assert(t != NULL);
    free(t->values);
    free(t->bytes);
    memmove(t, t + 1, (size_t)(&m->tensors[--m->n_tensors] - t) * sizeof *t);
}

static inline void tiny_add_layer(struct tiny_model *m, uint32_t layer)
{
    const struct tiny_options *o = &m->options;
    const uint32_t n_q = o->n_head * o->head_dim, n_kv = o->n_head_kv * o->head_dim;
    const double wide = 1.7 / sqrt(o->n_embd);
    char name[64];
#define TINY_NAME(suffix) (snprintf(name, sizeof name, "blk.%u.%s", layer, suffix), name)
    tiny_add(m, TINY_NAME("attn_norm.weight"), QUANT_F32, o->n_embd, 1, 1, 0.3);
    tiny_add(m, TINY_NAME("attn_q.weight"), o->type, o->n_embd, n_q, 0, wide);
    tiny_add(m, TINY_NAME("attn_k.weight"), o->type, o->n_embd, n_kv, 0, wide);
    tiny_add(m, TINY_NAME("attn_v.weight"), o->type, o->n_embd, n_kv, 0, wide);
    tiny_add(m, TINY_NAME("attn_output.weight"), o->type, n_q, o->n_embd, 0, 1.7 / sqrt(n_q));
    if (o->biases) {
        tiny_add(m, TINY_NAME("attn_q.bias"), QUANT_F32, n_q, 1, 0, 0.5);
        tiny_add(m, TINY_NAME("attn_k.bias"), QUANT_F32, n_kv, 1, 0, 0.5);
        tiny_add(m, TINY_NAME("attn_v.bias"), QUANT_F32, n_kv, 1, 0, 0.5);
    }
    if (strncmp(o->arch, "qwen3", 5) == 0) {
        tiny_add(m, TINY_NAME("attn_q_norm.weight"), QUANT_F32, o->head_dim, 1, 1, 0.3);
        tiny_add(m, TINY_NAME("attn_k_norm.weight"), QUANT_F32, o->head_dim, 1, 1, 0.3);
    }
    tiny_add(m, TINY_NAME("ffn_norm.weight"), QUANT_F32, o->n_embd, 1, 1, 0.3);
    if (o->n_expert == 0) {
        tiny_add(m, TINY_NAME("ffn_gate.weight"), o->type, o->n_embd, o->n_ff, 0, wide);
        tiny_add(m, TINY_NAME("ffn_up.weight"), o->type, o->n_embd, o->n_ff, 0, wide);
        tiny_add(m, TINY_NAME("ffn_down.weight"), o->type, o->n_ff, o->n_embd, 0, 1.7 / sqrt(o->n_ff));
    } else {
        const uint32_t n_expert = o->n_expert, n_ff = o->n_ff_expert;
        tiny_add(m, TINY_NAME("ffn_gate_inp.weight"), QUANT_F32, o->n_embd, n_expert, 0, 2 * wide);
        tiny_add_experts(m, TINY_NAME("ffn_gate_exps.weight"), o->type, o->n_embd, n_ff, n_expert, wide);
        tiny_add_experts(m, TINY_NAME("ffn_up_exps.weight"), o->type, o->n_embd, n_ff, n_expert, wide);
        tiny_add_experts(m, TINY_NAME("ffn_down_exps.weight"), o->type, n_ff, o->n_embd, n_expert, 1.7 / sqrt(n_ff));
    }
    if (o->n_ff_shared != 0) {
        tiny_add(m, TINY_NAME("ffn_gate_inp_shexp.weight"), QUANT_F32, o->n_embd, 1, 0, wide);
        tiny_add(m, TINY_NAME("ffn_gate_shexp.weight"), o->type, o->n_embd, o->n_ff_shared, 0, wide);
        tiny_add(m, TINY_NAME("ffn_up_shexp.weight"), o->type, o->n_embd, o->n_ff_shared, 0, wide);
        tiny_add(m, TINY_NAME("ffn_down_shexp.weight"), o->type, o->n_ff_shared, o->n_embd, 0,
                 1.7 / sqrt(o->n_ff_shared));
    }
#undef TINY_NAME
}

// *m is to be given to tiny_free.
static inline void tiny_init(struct tiny_model *m, struct tiny_options o)
{
#define TINY_DEFAULT(field, value) o.field = o.field != 0 ? o.field : (value)
    TINY_DEFAULT(arch, "llama");
    TINY_DEFAULT(n_vocab, 300);
    TINY_DEFAULT(n_embd, 32);
    TINY_DEFAULT(n_layer, 2);
    TINY_DEFAULT(n_head, 4);
    TINY_DEFAULT(n_head_kv, 2);
    TINY_DEFAULT(head_dim, o.n_embd / o.n_head);
    TINY_DEFAULT(n_ff, 48);
    TINY_DEFAULT(n_ctx, 256);
    TINY_DEFAULT(n_rot, o.head_dim);
    TINY_DEFAULT(seed, 1);
    if (strstr(o.arch, "moe") != NULL)
        TINY_DEFAULT(n_expert, 8);
    if (o.n_expert != 0) {
        TINY_DEFAULT(n_expert_used, 2);
        TINY_DEFAULT(n_ff_expert, strcmp(o.arch, "llama") == 0 ? o.n_ff : 24);
    }
    if (strcmp(o.arch, "qwen2moe") == 0)
        TINY_DEFAULT(n_ff_shared, 40);
#undef TINY_DEFAULT
    *m = (struct tiny_model){.options = o, .random = o.seed};
    tiny_set_string(m, "general.architecture", o.arch);
    tiny_set_string(m, "general.name", "tiny");
    tiny_set_u32(m, tiny_key(m, "context_length"), o.n_ctx);
    tiny_set_u32(m, tiny_key(m, "embedding_length"), o.n_embd);
    tiny_set_u32(m, tiny_key(m, "block_count"), o.n_layer);
    tiny_set_u32(m, tiny_key(m, "feed_forward_length"), o.n_ff);
    tiny_set_u32(m, tiny_key(m, "attention.head_count"), o.n_head);
    tiny_set_u32(m, tiny_key(m, "attention.head_count_kv"), o.n_head_kv);
    tiny_set_u32(m, tiny_key(m, "attention.key_length"), o.head_dim);
    tiny_set_u32(m, tiny_key(m, "attention.value_length"), o.head_dim);
    tiny_set_u32(m, tiny_key(m, "rope.dimension_count"), o.n_rot);
    if (o.n_expert != 0) {
        tiny_set_u32(m, tiny_key(m, "expert_count"), o.n_expert);
        tiny_set_u32(m, tiny_key(m, "expert_used_count"), o.n_expert_used);
        tiny_set_u32(m, tiny_key(m, "expert_feed_forward_length"), o.n_ff_expert);
    }
    if (o.n_ff_shared != 0)
        tiny_set_u32(m, tiny_key(m, "expert_shared_feed_forward_length"), o.n_ff_shared);
    tiny_set_f32(m, tiny_key(m, "attention.layer_norm_rms_epsilon"), 1e-5f);
    tiny_set_f32(m, tiny_key(m, "rope.freq_base"), 10000);
    tiny_set_vocabulary(m);
    tiny_add(m, "token_embd.weight", o.type, o.n_embd, o.n_vocab, 0, 1);
    for (uint32_t layer = 0; layer < o.n_layer; layer++)
        tiny_add_layer(m, layer);
    tiny_add(m, "output_norm.weight", QUANT_F32, o.n_embd, 1, 1, 0.3);
    if (!o.tied)
        tiny_add(m, "output.weight", o.type, o.n_embd, o.n_vocab, 0, 5 / sqrt(o.n_embd));
    if (o.rope_freqs)
        tiny_add(m, "rope_freqs.weight", QUANT_F32, o.n_rot / 2, 1, 4.5, 3.5);
}

static inline void tiny_free(struct tiny_model *m)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        free(m->tensors[i].values);
        free(m->tensors[i].bytes);
    }
    for (uint32_t i = 0; i < m->n_values; i++)
        free(m->values[i].body.bytes);
    *m = (struct tiny_model){0};
}

// ---- Files ---------------------------------------------------------------------------------------------------------------

// Appends the file of tensors first .. first + n - 1; the others' values, too, when it is the first of n_files.
static inline void tiny_encode_part(const struct tiny_model *m, uint32_t first, uint32_t n, uint32_t index,
                                    uint32_t n_files, struct maker *out)
{
    uint64_t offset = 0;
    put_head(out, 3, n, (index == 0 ? m->n_values : 0) + (n_files > 1 ? 3 : 0));
    for (uint32_t i = 0; index == 0 && i < m->n_values; i++) {
        put_string(out, m->values[i].key);
        put(out, m->values[i].body.bytes, m->values[i].body.n);
    }
    if (n_files > 1) {
        put_key_u16(out, "split.no", (uint16_t)index);
        put_key_u16(out, "split.count", (uint16_t)n_files);
        put_key(out, "split.tensors.count", GGUF_INT32);
        put_u32(out, m->n_tensors);
    }
    for (uint32_t i = first; i < first + n; i++) {
        const struct tiny_tensor *t = &m->tensors[i];
        put_string(out, t->name);
        put_u32(out, t->n_dimensions);
        for (uint32_t d = 0; d < t->n_dimensions; d++)
            put_u64(out, t->ne[d]);
        put_u32(out, t->type);
        put_u64(out, offset);
        offset += (t->n_bytes + 31) / 32 * 32;
    }
    put_padding(out, 32);
    for (uint32_t i = first; i < first + n; i++) {
        put(out, m->tensors[i].bytes, m->tensors[i].n_bytes);
        put_padding(out, 32);
    }
}

static inline void tiny_encode(const struct tiny_model *m, struct maker *out)
{
    tiny_encode_part(m, 0, m->n_tensors, 0, 1, out);
}

static inline void tiny_write_maker(const struct maker *made, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(made->bytes, 1, made->n, file) != made->n || fclose(file) != 0)
        abort();
}

static inline void tiny_write(const struct tiny_model *m, const char *path)
{
    struct maker made = {0};
    tiny_encode(m, &made);
    tiny_write_maker(&made, path);
    free(made.bytes);
}

// "<stem>-00001-of-0000N.gguf" and so on; `path` (of `path_bytes`) gets the first.
static inline void tiny_write_split(const struct tiny_model *m, const char *stem, uint32_t n_files, char *path,
                                    size_t path_bytes)
{
    for (uint32_t i = n_files; i-- > 0;) {
        const uint32_t first = m->n_tensors * i / n_files, end = m->n_tensors * (i + 1) / n_files;
        struct maker made = {0};
        tiny_encode_part(m, first, end - first, i, n_files, &made);
        snprintf(path, path_bytes, "%s-%05u-of-%05u.gguf", stem, i + 1, n_files);
        tiny_write_maker(&made, path);
        free(made.bytes);
    }
}

#endif
