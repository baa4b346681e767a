#include "export.h"

#include "gguf/gguf.h"
#include "quant/quant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 32

struct writer {
    FILE *file;
    uint64_t at;
    uint64_t n_values;
};

static void put(struct writer *w, const void *bytes, uint64_t n)
{
    fwrite(bytes, 1, n, w->file);
    w->at += n;
}

static void put_u32(struct writer *w, uint32_t value)
{
    put(w, &value, sizeof value);
}

static void put_u64(struct writer *w, uint64_t value)
{
    put(w, &value, sizeof value);
}

static void put_bytes(struct writer *w, const void *bytes, uint64_t n)
{
    put_u64(w, n);
    put(w, bytes, n);
}

static void put_key(struct writer *w, const char *key, enum gguf_value_type type)
{
    put_bytes(w, key, strlen(key));
    put_u32(w, type);
    w->n_values++;
}

static void put_string(struct writer *w, const char *key, const char *value)
{
    put_key(w, key, GGUF_STRING);
    put_bytes(w, value, strlen(value));
}

static void put_uint(struct writer *w, const char *key, uint64_t value)
{
    put_key(w, key, GGUF_UINT32);
    put_u32(w, (uint32_t)value);
}

static void put_float(struct writer *w, const char *key, float value)
{
    put_key(w, key, GGUF_FLOAT32);
    put(w, &value, sizeof value);
}

static void put_bool(struct writer *w, const char *key, bool value)
{
    put_key(w, key, GGUF_BOOL);
    put(w, &(unsigned char){value}, 1);
}

static void put_array(struct writer *w, const char *key, enum gguf_value_type element, uint64_t n)
{
    put_key(w, key, GGUF_ARRAY);
    put_u32(w, element);
    put_u64(w, n);
}

// GPT-2 writes bytes as characters that can be seen: printable ones as themselves, the others from U+0100 on.
static size_t visible(unsigned char byte, char *out)
{
    uint32_t character = 0;
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    if (printable) {
        character = byte;
    } else {
        character = 0x100;
        for (unsigned char b = 0; b < byte; b++)
            character += !((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae);
    }
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    out[0] = (char)(0xc0 | character >> 6);
    out[1] = (char)(0x80 | (character & 0x3f));
    return 2;
}

static size_t token_text(const struct vocabulary *v, uint32_t token, char *out)
{
    unsigned char bytes[256];
    size_t n = 0;
    if (token == TOKEN_BOS || token == TOKEN_EOS) {
        strcpy(out, token == TOKEN_BOS ? "<s>" : "</s>");
        return strlen(out);
    }
    const size_t n_bytes = vocabulary_bytes(v, token, bytes);
    for (size_t i = 0; i < n_bytes; i++)
        n += visible(bytes[i], out + n);
    return n;
}

static void put_vocabulary(struct writer *w, const struct vocabulary *v)
{
    char text[1100];
    put_string(w, "tokenizer.ggml.model", "gpt2");
    put_string(w, "tokenizer.ggml.pre", "gpt-2");
    put_array(w, "tokenizer.ggml.tokens", GGUF_STRING, v->n_tokens);
    for (uint32_t token = 0; token < v->n_tokens; token++)
        put_bytes(w, text, token_text(v, token, text));
    put_array(w, "tokenizer.ggml.token_type", GGUF_INT32, v->n_tokens);
    for (uint32_t token = 0; token < v->n_tokens; token++)
        put_u32(w, token < FIRST_BYTE_TOKEN ? 3 : 1); // control, normal
    put_array(w, "tokenizer.ggml.merges", GGUF_STRING, v->n_tokens - FIRST_MERGE_TOKEN);
    for (uint32_t i = 0; i < v->n_tokens - FIRST_MERGE_TOKEN; i++) {
        size_t n = token_text(v, v->merges[i][0], text);
        text[n++] = ' ';
        n += token_text(v, v->merges[i][1], text + n);
        put_bytes(w, text, n);
    }
    put_uint(w, "tokenizer.ggml.bos_token_id", TOKEN_BOS);
    put_uint(w, "tokenizer.ggml.eos_token_id", TOKEN_EOS);
    put_bool(w, "tokenizer.ggml.add_bos_token", true);
    put_bool(w, "tokenizer.ggml.add_eos_token", false);
}

// Values of general.file_type for the types that one may ask for.
static uint32_t file_type(const char *type)
{
    static const struct {
        const char *name;
        uint32_t value;
    } known[] = {{"F32", 0},   {"F16", 1},   {"BF16", 32}, {"Q4_0", 2},  {"Q4_1", 3},  {"Q5_0", 8}, {"Q5_1", 9},
                 {"Q8_0", 7},  {"Q2_K", 10}, {"Q3_K", 11}, {"Q4_K", 14}, {"Q5_K", 16}, {"Q6_K", 18}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, type) == 0)
            return known[i].value;
    return 0;
}

static void put_metadata(struct writer *w, const char *type, const struct model *model, const struct vocabulary *v)
{
    const struct shape *s = &model->shape;
    put_string(w, "general.architecture", "llama");
    put_string(w, "general.name", "chord demo");
    put_string(w, "general.description",
               "A small language model trained on War and Peace by Leo Tolstoy (public domain), to try chord with");
    put_string(w, "general.license", "mit");
    put_uint(w, "general.file_type", file_type(type));
    put_uint(w, "llama.block_count", s->n_layer);
    put_uint(w, "llama.context_length", s->n_ctx);
    put_uint(w, "llama.embedding_length", s->n_embd);
    put_uint(w, "llama.feed_forward_length", s->n_ff);
    put_uint(w, "llama.attention.head_count", s->n_head);
    put_uint(w, "llama.attention.head_count_kv", s->n_head);
    put_float(w, "llama.attention.layer_norm_rms_epsilon", (float)NORM_EPS);
    put_uint(w, "llama.rope.dimension_count", s->head_dim);
    put_float(w, "llama.rope.freq_base", (float)ROPE_BASE);
    put_uint(w, "llama.vocab_size", s->n_vocab);
    put_vocabulary(w, v);
}

static const struct quant_traits *type_of(const struct tensor *tensor, const char *type)
{
    return quant_traits_by_name(tensor->rows > 1 ? type : "F32");
}

static uint64_t tensor_bytes(const struct tensor *tensor, const char *type)
{
    uint64_t row_bytes = 0;
    quant_row_bytes(type_of(tensor, type)->type, tensor->cols, &row_bytes);
    return row_bytes * tensor->rows;
}

static void put_padding(struct writer *w)
{
    while (w->at % ALIGNMENT != 0)
        put(w, "", 1);
}

static void put_directory(struct writer *w, const char *type, const struct model *model)
{
    uint64_t offset = 0;
    for (size_t t = 0; t < model->n_tensors; t++) {
        const struct tensor *tensor = &model->tensors[t];
        put_bytes(w, tensor->name, strlen(tensor->name));
        put_u32(w, tensor->rows > 1 ? 2 : 1);
        put_u64(w, tensor->cols);
        if (tensor->rows > 1)
            put_u64(w, tensor->rows);
        put_u32(w, type_of(tensor, type)->type);
        put_u64(w, offset);
        offset += (tensor_bytes(tensor, type) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

static void put_tensors(struct writer *w, const char *type, const struct model *model)
{
    for (size_t t = 0; t < model->n_tensors; t++) {
        const struct tensor *tensor = &model->tensors[t];
        const uint64_t row_bytes = tensor_bytes(tensor, type) / tensor->rows;
        void *row = malloc(row_bytes);
        float *values = malloc(tensor->cols * sizeof *values);
        if (row == NULL || values == NULL)
            exit(1);
        for (size_t r = 0; r < tensor->rows; r++) {
            for (size_t i = 0; i < tensor->cols; i++)
                values[i] = (float)model->params[tensor->offset + r * tensor->cols + i];
            type_of(tensor, type)->quantize_row(values, row, tensor->cols);
            put(w, row, row_bytes);
        }
        put_padding(w);
        free(values);
        free(row);
    }
}

bool export_gguf(const char *path, const char *type, const struct model *model, const struct vocabulary *v)
{
    char temporary[4096];
    if (quant_traits_by_name(type) == NULL) {
        fprintf(stderr, "there is no quantization type '%s'\n", type);
        return false;
    }
    snprintf(temporary, sizeof temporary, "%s.part", path);
    struct writer w = {.file = fopen(temporary, "wb")};
    if (w.file == NULL) {
        perror(temporary);
        return false;
    }
    put(&w, "GGUF", 4);
    put_u32(&w, 3);
    put_u64(&w, model->n_tensors);
    put_u64(&w, 0); // how many values follow: known at the end
    put_metadata(&w, type, model, v);
    put_directory(&w, type, model);
    put_padding(&w);
    put_tensors(&w, type, model);
    const uint64_t n_values = w.n_values;
    bool written = fseek(w.file, 16, SEEK_SET) == 0 && fwrite(&n_values, sizeof n_values, 1, w.file) == 1;
    written &= ferror(w.file) == 0;
    written &= fclose(w.file) == 0;
    if (!written || rename(temporary, path) != 0) {
        perror(path);
        remove(temporary);
        return false;
    }
    return true;
}
