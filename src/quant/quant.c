#include "quant/quant.h"

#include "base/checked.h"
#include "quant/blocks.h"

#include <stddef.h>
#include <string.h>

// Indexed by type id; ids without a row have no name.
static const struct quant_traits traits[] = {
#define TRAITS(id, shown_name, shown, elements, bytes, wanted, tail, quantize) \
    [id] = {.name = shown,                                                     \
            .type = id,                                                        \
            .block_size = elements,                                            \
            .block_bytes = bytes,                                              \
            .activation = wanted,                                              \
            .tail_bytes = tail,                                                \
            .dequantize_row = quant_dequantize_##shown_name,                   \
            .quantize_row = quantize,                                          \
            .dot = quant_dot_##shown_name},
#define X(id, ENUM, name, shown, elements, bytes, wanted) \
    TRAITS(id, name, shown, elements, bytes, wanted, 0, quant_quantize_##name)
    QUANT_WRITTEN_TYPE_MAP(X)
#undef X
#define X(id, ENUM, name, shown, elements, bytes, wanted) TRAITS(id, name, shown, elements, bytes, wanted, 0, NULL)
        QUANT_CODED_READ_TYPE_MAP(X)
#undef X
#define X(id, ENUM, name, shown, elements, bytes, wanted) \
    TRAITS(id, name, shown, elements, bytes, wanted, QUANT_SCALE_TAIL_BYTES, NULL)
            QUANT_TENSOR_SCALED_TYPE_MAP(X)
#undef X
};

#define N_TRAITS (sizeof traits / sizeof traits[0])

// Type ids that files carry and chord does not read. Ids below 64 are those of ggml; from 133 on they belong to
// ik_llama.cpp, which adds 200 to an id for the row-interleaved variant of its type.
static const struct {
    uint32_t type;
    const char *name;
} unread[] = {
    {4, "Q4_2 (no longer part of the format: convert the model again)"},
    {5, "Q4_3 (no longer part of the format: convert the model again)"},
    {9, "Q8_1"},
    {15, "Q8_K"},
    {24, "I8"},
    {25, "I16"},
    {26, "I32"},
    {27, "I64"},
    {28, "F64"},
    {31, "Q4_0_4_4 (interleaved, no longer part of the format: use the Q4_0 file)"},
    {32, "Q4_0_4_8 (interleaved, no longer part of the format: use the Q4_0 file)"},
    {33, "Q4_0_8_8 (interleaved, no longer part of the format: use the Q4_0 file)"},
    {37, "IQ4_NL_4_8 (no longer part of the format: use the IQ4_NL file)"},
    {38, "TL1 of bitnet.cpp (use the I2_S file), or IQ4_NL_8_8, no longer part of the format"},
    {133, "Q6_0 of ik_llama.cpp"},
    {134, "IQ1_BN of ik_llama.cpp"},
    {135, "IQ2_BN of ik_llama.cpp"},
    {137, "IQ2_K of ik_llama.cpp"},
    {138, "IQ3_K of ik_llama.cpp"},
    {139, "IQ4_K of ik_llama.cpp"},
    {140, "IQ5_K of ik_llama.cpp"},
    {141, "IQ6_K of ik_llama.cpp"},
    {144, "IQ4_KS of ik_llama.cpp"},
    {145, "IQ2_KS of ik_llama.cpp"},
    {146, "IQ4_KSS of ik_llama.cpp"},
    {151, "Q8_KV of ik_llama.cpp"},
    {152, "IQ5_KS of ik_llama.cpp"},
    {153, "IQ2_KT of ik_llama.cpp"},
    {154, "IQ3_KT of ik_llama.cpp"},
    {155, "IQ4_KT of ik_llama.cpp"},
    {156, "IQ3_KS of ik_llama.cpp"},
    {157, "IQ2_KL of ik_llama.cpp"},
    {158, "IQ1_KT of ik_llama.cpp"},
};

const struct quant_traits *quant_traits(uint32_t type)
{
    return type < N_TRAITS && traits[type].name != NULL ? &traits[type] : NULL;
}

const struct quant_traits *quant_traits_by_name(const char *name)
{
    for (size_t i = 0; i < N_TRAITS; i++) {
        if (traits[i].name != NULL && strcmp(traits[i].name, name) == 0)
            return &traits[i];
    }
    return NULL;
}

quant_weighted quant_weighted_of(uint32_t type)
{
    static const quant_weighted weighted[] = {
#define X(ENUM, name) [QUANT_##ENUM] = quant_quantize_weighted_##name,
        QUANT_WEIGHTED_TYPE_MAP(X)
#undef X
    };
    return type < sizeof weighted / sizeof *weighted ? weighted[type] : NULL;
}

const char *quant_unread_type_name(uint32_t type)
{
    for (size_t i = 0; i < sizeof unread / sizeof unread[0]; i++) {
        if (unread[i].type == type)
            return unread[i].name;
    }
    if (type >= 202 && type < 400)
        return "a row-interleaved type of ik_llama.cpp (use the file that was not repacked)";
    return NULL;
}

bool quant_row_bytes(uint32_t type, uint64_t n, uint64_t *out)
{
    const struct quant_traits *t = quant_traits(type);
    if (t == NULL || n % t->block_size != 0)
        return false;
    return checked_mul(n / t->block_size, t->block_bytes, out);
}

bool quant_tensor_bytes(uint32_t type, uint64_t n, uint64_t n_rows, uint64_t *out)
{
    uint64_t row_bytes;
    return quant_row_bytes(type, n, &row_bytes) && checked_mul(row_bytes, n_rows, out) &&
           checked_add(*out, quant_traits(type)->tail_bytes, out);
}
