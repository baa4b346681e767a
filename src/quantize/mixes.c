#include "quantize/mixes.h"

#include "quant/quant.h"

#include <stdio.h>
#include <string.h>

static const struct mix mixes[] = {
    {"F32", "F32", 0},      {"F16", "F16", 1},      {"BF16", "BF16", 32},     {"Q8_0", "Q8_0", 7},
    {"Q4_0", "Q4_0", 2},    {"Q4_1", "Q4_1", 3},    {"Q5_0", "Q5_0", 8},      {"Q5_1", "Q5_1", 9},
    {"Q2_K", "Q2_K", 10},   {"Q2_K_S", "Q2_K", 21}, {"Q3_K_S", "Q3_K", 11},   {"Q3_K_M", "Q3_K", 12},
    {"Q3_K_L", "Q3_K", 13}, {"Q4_K_S", "Q4_K", 14}, {"Q4_K_M", "Q4_K", 15},   {"Q5_K_S", "Q5_K", 16},
    {"Q5_K_M", "Q5_K", 17}, {"Q6_K", "Q6_K", 18},   {"IQ4_NL", "IQ4_NL", 25}, {"IQ4_XS", "IQ4_XS", 30},
    {"TQ1_0", "TQ1_0", 36}, {"TQ2_0", "TQ2_0", 37}, {"I2_S", "I2_S", 40},
};
#define N_MIXES (sizeof mixes / sizeof *mixes)

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool same_letters(const char *a, const char *b)
{
    while (*a != '\0' && upper(*a) == upper(*b))
        a++, b++;
    return *a == '\0' && *b == '\0';
}

const struct mix *mix_by_name(const char *name)
{
    static const char *const short_names[][2] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        if (same_letters(name, short_names[i][0]))
            name = short_names[i][1];
    for (size_t i = 0; i < N_MIXES; i++)
        if (same_letters(name, mixes[i].name))
            return &mixes[i];
    return NULL;
}

const char *mix_name(uint32_t index)
{
    return index < N_MIXES ? mixes[index].name : NULL;
}

// --------------------------------------------------------------------------------------------------------------- model

static bool equals(struct gguf_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.bytes, text, (size_t)s.n_bytes) == 0;
}

// The largest number under "<architecture>.<key>": some models have one for each layer. 0: none.
static uint32_t largest(const struct gguf *gguf, struct gguf_string architecture, const char *key)
{
    char name[128];
    uint32_t most = 0;
    if (architecture.n_bytes > 64)
        return 0;
    snprintf(name, sizeof name, "%.*s.%s", (int)architecture.n_bytes, architecture.bytes, key);
    const struct gguf_value *value = gguf_find(gguf, name);
    for (uint64_t i = 0; value != NULL && i < value->n_elements; i++) {
        int64_t n;
        if (gguf_element_i64(value, i, &n) && n > most && n <= UINT32_MAX)
            most = (uint32_t)n;
    }
    return most;
}

struct mix_model mix_model_of(const struct gguf *gguf)
{
    struct gguf_string architecture = {.bytes = "", .n_bytes = 0};
    (void)gguf_get_string(gguf, "general.architecture", &architecture, NULL);
    struct mix_model model = {
        .n_layer = largest(gguf, architecture, "block_count"),
        .n_head = largest(gguf, architecture, "attention.head_count"),
        .n_head_kv = largest(gguf, architecture, "attention.head_count_kv"),
        .n_expert = largest(gguf, architecture, "expert_count"),
        .is_falcon = equals(architecture, "falcon"),
        .is_tied = gguf_find_tensor(gguf, "output.weight") == NULL,
    };
    if (model.n_head_kv == 0)
        model.n_head_kv = model.n_head;
    return model;
}

// -------------------------------------------------------------------------------------------------------------- tensor

enum role { OTHER, OUTPUT, EMBEDDING, ATTENTION_V, ATTENTION_K, ATTENTION_OUTPUT, FEED_FORWARD_DOWN };

// A tensor's name as a terminated string: at most 64 bytes, without zeros.
struct name {
    char text[GGUF_MAX_TENSOR_NAME_BYTES + 1];
};

static struct name name_of(const struct gguf_tensor *tensor)
{
    struct name name = {0};
    memcpy(name.text, tensor->name.bytes, (size_t)tensor->name.n_bytes);
    return name;
}

static bool contains(const struct name *name, const char *part)
{
    return strstr(name->text, part) != NULL;
}

static bool stays(const struct gguf_tensor *tensor, const struct name *name)
{
    // Parts of names of matrices that are too small to matter, or too delicate.
    static const char *const parts[] = {
        "_norm.weight",
        "ffn_gate_inp.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "position_embd",
        "token_types",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "attn_rel_b.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
    };
    static const char suffix[] = "weight";
    const size_t n = strlen(name->text), n_suffix = sizeof suffix - 1;
    uint32_t n_dimensions = tensor->n_dimensions;
    while (n_dimensions > 1 && tensor->ne[n_dimensions - 1] == 1)
        n_dimensions--;
    if (n_dimensions < 2 || n < n_suffix || strcmp(name->text + n - n_suffix, suffix) != 0)
        return true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (contains(name, parts[i]))
            return true;
    return false;
}

static enum role role_of(const struct name *name, bool is_tied)
{
    if (strcmp(name->text, "output.weight") == 0)
        return OUTPUT;
    if (strcmp(name->text, "token_embd.weight") == 0 || strcmp(name->text, "per_layer_token_embd.weight") == 0)
        return is_tied ? OUTPUT : EMBEDDING;
    // Values alone, or in one matrix with what they are made of or stand beside.
    if (contains(name, "attn_v.weight") || contains(name, "attn_qkv.weight") || contains(name, "attn_kv_b.weight"))
        return ATTENTION_V;
    if (contains(name, "attn_k.weight"))
        return ATTENTION_K;
    if (contains(name, "attn_output.weight"))
        return ATTENTION_OUTPUT;
    return contains(name, "ffn_down") ? FEED_FORWARD_DOWN : OTHER;
}

static uint32_t layer_of(const struct name *name)
{
    unsigned layer;
    return sscanf(name->text, "blk.%9u.", &layer) == 1 ? layer : 0;
}

// The layers that the mixes _M treat better: the first and the last eighth, and every third in between.
static bool is_better_layer(uint32_t layer, uint32_t n_layer)
{
    const uint32_t eighth = n_layer / 8;
    return layer < eighth || layer >= (uint32_t)((uint64_t)7 * n_layer / 8) || (layer - eighth) % 3 == 2;
}

static bool is_mix(const struct mix *mix, const char *name)
{
    return strcmp(mix->name, name) == 0;
}

static const char *output_type(const struct mix *mix, const struct mix_model *model, const struct gguf_tensor *tensor)
{
    const struct quant_traits *base = quant_traits_by_name(mix->type);
    const bool fits = tensor->ne[0] % base->block_size == 0;
    return model->is_falcon || !fits || base->type == QUANT_Q8_0 ? "Q8_0" : "Q6_K";
}

static const char *values_type(const struct mix *mix, const struct mix_model *model, uint32_t layer)
{
    const bool few_heads = model->n_head_kv > 0 && model->n_head / model->n_head_kv >= 4;
    const char *type = mix->type;
    if (model->n_expert == 8) // in a mixture of few experts all of the attention is small
        return "Q8_0";
    if (is_mix(mix, "Q2_K"))
        type = few_heads ? "Q4_K" : "Q3_K";
    else if (is_mix(mix, "Q2_K_S") && few_heads)
        type = "Q4_K";
    else if (is_mix(mix, "Q3_K_M"))
        type = layer < 2 ? "Q5_K" : "Q4_K";
    else if ((is_mix(mix, "IQ4_NL") || is_mix(mix, "IQ4_XS")) && few_heads)
        type = "Q5_K";
    else if (is_mix(mix, "Q3_K_L") || (is_mix(mix, "Q4_K_S") && layer < 4))
        type = "Q5_K";
    else if ((is_mix(mix, "Q4_K_M") || is_mix(mix, "Q5_K_M")) && is_better_layer(layer, model->n_layer))
        type = "Q6_K";
    // Llama 2 and 3 of 70 billion parameters: eight query heads share a value head, so this matrix is an eighth as large.
    const bool is_70b = model->n_layer == 80 && model->n_head == 64 && model->n_head_kv == 8;
    return is_70b && (strcmp(type, "Q3_K") == 0 || strcmp(type, "Q4_K") == 0) ? "Q5_K" : type;
}

static const char *down_type(const struct mix *mix, const struct mix_model *model, uint32_t layer)
{
    const uint32_t n = model->n_layer;
    const bool better = is_better_layer(layer, n);
    if (is_mix(mix, "Q2_K"))
        return "Q3_K";
    if (is_mix(mix, "Q2_K_S") && layer < n / 8)
        return "Q4_K";
    if (is_mix(mix, "Q3_K_M"))
        return layer < n / 16 ? "Q5_K" : !model->is_falcon || better ? "Q4_K" : "Q3_K";
    if (is_mix(mix, "Q3_K_L"))
        return model->is_falcon ? "Q4_K" : "Q5_K";
    if (is_mix(mix, "Q4_K_M") && model->is_falcon)
        return layer < n / 16 ? "Q6_K" : better ? "Q5_K" : "Q4_K";
    if ((is_mix(mix, "Q4_K_M") || is_mix(mix, "Q5_K_M")) && better)
        return "Q6_K";
    if ((is_mix(mix, "IQ4_NL") || is_mix(mix, "IQ4_XS")) && layer < n / 8 && !model->has_imatrix)
        return "Q5_K";
    if (is_mix(mix, "Q4_0") && layer < n / 8 && model->has_imatrix)
        return "Q4_1";
    if (is_mix(mix, "Q5_0") && layer < n / 8 && model->has_imatrix)
        return "Q5_1";
    return is_mix(mix, "Q4_K_S") && !model->is_falcon && layer < n / 8 ? "Q5_K" : mix->type;
}

static const char *attention_output_type(const struct mix *mix, const struct mix_model *model)
{
    if (model->is_falcon)
        return is_mix(mix, "Q3_K_L") ? "Q4_K" : mix->type;
    if (model->n_expert == 8) {
        const bool few_bits = is_mix(mix, "Q2_K") || is_mix(mix, "Q3_K_S") || is_mix(mix, "Q3_K_M") ||
                              is_mix(mix, "Q4_K_S") || is_mix(mix, "Q4_K_M") || is_mix(mix, "IQ4_NL") ||
                              is_mix(mix, "IQ4_XS");
        return few_bits ? "Q5_K" : mix->type;
    }
    return is_mix(mix, "Q2_K") ? "Q3_K" : is_mix(mix, "Q3_K_M") ? "Q4_K" : is_mix(mix, "Q3_K_L") ? "Q5_K" : mix->type;
}

static const char *wanted_type(const struct mix *mix, const struct mix_model *model, const struct gguf_tensor *tensor,
                               const struct name *name)
{
    const enum role role = role_of(name, model->is_tied);
    if (is_mix(mix, "I2_S") && (role == OUTPUT || role == EMBEDDING))
        return "F16";
    switch (role) {
    case OUTPUT:
        return output_type(mix, model, tensor);
    case EMBEDDING:
        return is_mix(mix, "TQ1_0") || is_mix(mix, "TQ2_0") ? "Q4_K" : mix->type;
    case ATTENTION_V:
        return values_type(mix, model, layer_of(name));
    case ATTENTION_K:
        return model->n_expert == 8 ? "Q8_0" : mix->type;
    case ATTENTION_OUTPUT:
        return attention_output_type(mix, model);
    case FEED_FORWARD_DOWN:
        return down_type(mix, model, layer_of(name));
    case OTHER:
        break;
    }
    return mix->type;
}

// For rows that are no whole number of blocks: the type of 32 elements with as many bits or more; then F16.
static const char *type_for_row(const char *type, uint64_t n)
{
    static const char *const instead[][2] = {{"Q2_K", "Q4_0"},  {"Q3_K", "Q4_0"}, {"TQ2_0", "Q4_0"},
                                             {"TQ1_0", "Q4_0"}, {"I2_S", "Q4_0"}, {"IQ4_XS", "IQ4_NL"},
                                             {"Q4_K", "Q5_0"},  {"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"}};
    if (n % quant_traits_by_name(type)->block_size == 0)
        return type;
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++)
        if (strcmp(type, instead[i][0]) == 0 && n % 32 == 0)
            return instead[i][1];
    return "F16";
}

uint32_t mix_type_of(const struct mix *mix, const struct mix_model *model, const struct gguf_tensor *tensor)
{
    const struct name name = name_of(tensor);
    if (stays(tensor, &name))
        return tensor->type;
    const bool is_float = quant_traits_by_name(mix->type)->block_size == 1;
    const char *type = is_float ? mix->type : type_for_row(wanted_type(mix, model, tensor, &name), tensor->ne[0]);
    return quant_traits_by_name(type)->type;
}
