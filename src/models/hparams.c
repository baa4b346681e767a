#include "models/arch.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Beyond what any published model has; sizes computed from values below these cannot overflow 64 bits.
#define MAX_LAYERS 1024u
#define MAX_WIDTH (1u << 20)
#define MAX_HEADS 4096u
#define MAX_EXPERTS 1024u
#define MAX_HEAD_DIM 1024u
#define MAX_ROT 512u
#define MAX_CONTEXT (1u << 28)
#define MAX_VOCAB (1u << 24)

static const char *key_of(struct hparams_reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

static void check_range(struct hparams_reader *r, uint64_t value, uint64_t least, uint64_t most)
{
    if (r->status == CHORD_OK && (value < least || value > most))
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS, "'%s' is %llu; chord runs models with %llu to %llu", r->key,
                               (unsigned long long)value, (unsigned long long)least, (unsigned long long)most);
}

uint32_t hparams_u32(struct hparams_reader *r, const char *name, uint64_t least, uint64_t most)
{
    uint32_t value = 0;
    if (r->status != CHORD_OK)
        return 0;
    r->status = gguf_get_u32(r->gguf, key_of(r, name), &value, r->err);
    if (r->status == CHORD_NOT_FOUND)
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS,
                               "the metadata lacks '%s', without which the model cannot be run", r->key);
    check_range(r, value, least, most);
    return value;
}

uint32_t hparams_u32_or(struct hparams_reader *r, const char *name, uint32_t absent, uint64_t least, uint64_t most)
{
    uint32_t value = absent;
    if (r->status != CHORD_OK)
        return absent;
    r->status = gguf_get_u32_or(r->gguf, key_of(r, name), absent, &value, r->err);
    check_range(r, value, least, most);
    return value;
}

float hparams_f32_or(struct hparams_reader *r, const char *name, float absent, float least, float most)
{
    float value = absent;
    if (r->status != CHORD_OK)
        return absent;
    r->status = gguf_get_f32_or(r->gguf, key_of(r, name), absent, &value, r->err);
    if (r->status == CHORD_OK && !(value >= least && value <= most))
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS, "'%s' is %g; it must lie between %g and %g", r->key,
                               (double)value, (double)least, (double)most);
    return value;
}

bool hparams_bool_or(struct hparams_reader *r, const char *name, bool absent)
{
    bool value = absent;
    if (r->status == CHORD_OK)
        r->status = gguf_get_bool_or(r->gguf, key_of(r, name), absent, &value, r->err);
    return value;
}

void hparams_fail(struct hparams_reader *r, const char *format, ...)
{
    char message[CHORD_ERROR_MESSAGE_BYTES];
    va_list args;
    if (r->status != CHORD_OK)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS, "%s", message);
}

static bool string_is(struct gguf_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.bytes, text, s.n_bytes) == 0;
}

static void read_rope_scaling(struct hparams_reader *r, struct hparams *h)
{
    struct gguf_string type;
    h->rope_factor = 1;
    h->rope_attn_factor = hparams_f32_or(r, "rope.scaling.attn_factor", 1, 1e-3f, 1e3f);
    h->rope_n_ctx_orig = hparams_u32_or(r, "rope.scaling.original_context_length", h->n_ctx_train, 1, MAX_CONTEXT);
    if (r->status != CHORD_OK)
        return;
    const enum chord_status status = gguf_get_string(r->gguf, key_of(r, "rope.scaling.type"), &type, NULL);
    if (status == CHORD_NOT_FOUND) {
        // Files of 2023 name the factor alone.
        h->rope_factor = hparams_f32_or(r, "rope.scale_linear", 1, 1e-3f, 1e6f);
        h->rope_scaling = h->rope_factor == 1 ? ROPE_SCALING_NONE : ROPE_SCALING_LINEAR;
        return;
    }
    if (status != CHORD_OK) {
        r->status = gguf_get_string(r->gguf, r->key, &type, r->err);
        return;
    }
    if (string_is(type, "none") || string_is(type, "longrope")) // whose factors are tensors
        return;
    if (string_is(type, "linear")) {
        h->rope_scaling = ROPE_SCALING_LINEAR;
    } else if (string_is(type, "yarn")) {
        h->rope_scaling = ROPE_SCALING_YARN;
        h->yarn_fast = hparams_f32_or(r, "rope.scaling.yarn_beta_fast", 32, 1e-3f, 1e6f);
        h->yarn_slow = hparams_f32_or(r, "rope.scaling.yarn_beta_slow", 1, 1e-3f, 1e6f);
        if (r->status == CHORD_OK && !(h->rope_base > 1))
            r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS,
                                   "'%s' is %g; YaRN needs waves of different lengths, so more than 1",
                                   key_of(r, "rope.freq_base"), (double)h->rope_base);
    } else {
        char printable[64];
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS, "RoPE scaling of type '%s' is not supported",
                               chord_printable(printable, sizeof printable, type.bytes, type.n_bytes));
        return;
    }
    h->rope_factor = hparams_f32_or(r, "rope.scaling.factor", 1, 1e-3f, 1e6f);
}

static void read_attention(struct hparams_reader *r, struct hparams *h, bool values_differ)
{
    h->n_head = hparams_u32(r, "attention.head_count", 1, MAX_HEADS);
    h->n_head_kv = hparams_u32_or(r, "attention.head_count_kv", h->n_head, 1, MAX_HEADS);
    if (r->status != CHORD_OK)
        return;
    if (h->n_head % h->n_head_kv != 0) {
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS, "%u query heads cannot share %u KV heads evenly", h->n_head,
                               h->n_head_kv);
        return;
    }
    h->head_dim = hparams_u32_or(r, "attention.key_length", h->n_embd / h->n_head, 1, MAX_HEAD_DIM);
    h->value_dim = hparams_u32_or(r, "attention.value_length", h->head_dim, 1, MAX_HEAD_DIM);
    if (r->status == CHORD_OK && h->value_dim != h->head_dim && !values_differ)
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS,
                               "keys of %u and values of %u elements: this architecture has them equal", h->head_dim,
                               h->value_dim);
    const uint32_t most_rot = h->head_dim < MAX_ROT ? h->head_dim : MAX_ROT;
    h->n_rot = hparams_u32_or(r, "rope.dimension_count", most_rot, 2, most_rot);
    if (r->status == CHORD_OK && h->n_rot % 2 != 0)
        r->status = chord_fail(r->err, CHORD_MODEL_HPARAMS, "RoPE over %u elements: the number must be even", h->n_rot);
}

static void read_experts(struct hparams_reader *r, struct hparams *h, bool sigmoid_gating)
{
    h->n_expert = hparams_u32_or(r, "expert_count", 0, 0, MAX_EXPERTS);
    if (r->status != CHORD_OK || h->n_expert == 0)
        return;
    h->n_expert_used = hparams_u32(r, "expert_used_count", 1, h->n_expert);
    h->n_ff_expert = hparams_u32_or(r, "expert_feed_forward_length", 0, 0, MAX_WIDTH);
    h->n_ff_shared = hparams_u32_or(r, "expert_shared_feed_forward_length", h->n_ff, 1, MAX_WIDTH);
    h->expert_sigmoid = hparams_u32_or(r, "expert_gating_func", 1, 1, sigmoid_gating ? 2 : 1) == 2; // 1: softmax
}

static void read_vocabulary_size(struct hparams_reader *r, struct hparams *h)
{
    if (r->status != CHORD_OK)
        return;
    const struct gguf_tensor *embedding = gguf_find_tensor(r->gguf, "token_embd.weight");
    if (embedding == NULL) {
        r->status = chord_fail(r->err, CHORD_MODEL_TENSOR,
                               "the file has no tensor 'token_embd.weight': it holds no complete model%s",
                               gguf_n_tensors(r->gguf) == 0 ? " (a vocabulary alone: loadTokenizer reads it)" : "");
        return;
    }
    if (embedding->ne[1] == 0 || embedding->ne[1] > MAX_VOCAB) {
        r->status = chord_fail(r->err, CHORD_MODEL_TENSOR, "'token_embd.weight' has %llu rows; 1 to %u are possible",
                               (unsigned long long)embedding->ne[1], MAX_VOCAB);
        return;
    }
    h->n_vocab = (uint32_t)embedding->ne[1];
}

static enum chord_status find_arch(const struct gguf *gguf, const struct arch **arch, struct chord_error *err)
{
    struct gguf_string name;
    char printable[64], known[400] = "";
    const enum chord_status status = gguf_get_string(gguf, "general.architecture", &name, err);
    if (status == CHORD_NOT_FOUND)
        return chord_fail(err, CHORD_MODEL_HPARAMS, "the metadata lacks 'general.architecture': not a language model");
    if (status != CHORD_OK)
        return status;
    *arch = arch_find(name.bytes, name.n_bytes);
    if (*arch != NULL)
        return CHORD_OK;
    for (uint32_t i = 0; arch_at(i) != NULL; i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : ", ", arch_at(i)->name);
    }
    return chord_fail(err, CHORD_UNSUPPORTED_ARCHITECTURE,
                      "models of the architecture '%s' are not supported; chord runs %s",
                      chord_printable(printable, sizeof printable, name.bytes, name.n_bytes), known);
}

enum chord_status hparams_load(const struct gguf *gguf, struct hparams *h, const struct arch **arch,
                               struct chord_error *err)
{
    const enum chord_status status = find_arch(gguf, arch, err);
    if (status != CHORD_OK)
        return status;
    *h = (struct hparams){.arch = (*arch)->name};
    struct hparams_reader r = {.gguf = gguf, .arch = h->arch, .err = err};
    h->n_ctx_train = hparams_u32(&r, "context_length", 1, MAX_CONTEXT);
    h->n_ctx = h->n_ctx_train;
    h->n_embd = hparams_u32(&r, "embedding_length", 1, MAX_WIDTH);
    h->n_layer = hparams_u32(&r, "block_count", 1, MAX_LAYERS);
    h->n_ff = hparams_u32(&r, "feed_forward_length", 1, MAX_WIDTH);
    read_attention(&r, h, (*arch)->values_differ);
    h->pooling = (enum pooling)hparams_u32_or(&r, "pooling_type", POOLING_NONE, POOLING_NONE, POOLING_RANK);
    h->norm_rms_eps = hparams_f32_or(&r, "attention.layer_norm_rms_epsilon", 1e-5f, 0, 1);
    h->rope_base = hparams_f32_or(&r, "rope.freq_base", 10000, 1, 1e12f);
    read_rope_scaling(&r, h);
    read_experts(&r, h, (*arch)->sigmoid_gating);
    read_vocabulary_size(&r, h);
    if (r.status == CHORD_OK && (*arch)->load_hparams != NULL)
        (*arch)->load_hparams(&r, h);
    return r.status;
}
