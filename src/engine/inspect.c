// chord.h's view of a file: metadata and tensor directory, without a model; and of this machine.
#include "engine/model.h"

#include "os/cpu.h"
#include "os/limits.h"

#include <stdlib.h>
#include <string.h>

struct chord_file {
    struct memory_account account;
    struct gguf *gguf;
};

enum chord_status chord_file_open(const char *path, struct chord_file **out, struct chord_error *err)
{
    struct chord_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left to open '%s'", path);
    memory_account_init(&file->account, UINT64_MAX);
    const enum chord_status status = gguf_open(&file->gguf, path, &file->account, err);
    if (status != CHORD_OK) {
        free(file);
        return status;
    }
    *out = file;
    return CHORD_OK;
}

void chord_file_close(struct chord_file *file)
{
    if (file == NULL)
        return;
    gguf_close(file->gguf);
    free(file);
}

uint32_t chord_file_n_parts(const struct chord_file *file)
{
    return gguf_n_files(file->gguf);
}

const char *chord_file_part(const struct chord_file *file, uint32_t index, uint64_t *n_bytes, uint32_t *version)
{
    const struct gguf_file *part = gguf_file(file->gguf, index);
    *n_bytes = part->os.size;
    *version = part->version;
    return part->path;
}

uint64_t chord_file_n_values(const struct chord_file *file)
{
    return gguf_n_values(file->gguf);
}

void chord_file_value(const struct chord_file *file, uint64_t index, struct chord_value *out)
{
    const struct gguf_value *value = gguf_value(file->gguf, index);
    *out = (struct chord_value){
        .key = {value->key.bytes, value->key.n_bytes},
        .type = gguf_value_type_name(value->type),
        .element = gguf_value_type_name(value->element),
        .n_elements = value->n_elements,
        .opaque = value,
    };
}

uint64_t chord_file_n_tensors(const struct chord_file *file)
{
    return gguf_n_tensors(file->gguf);
}

void chord_file_tensor(const struct chord_file *file, uint64_t index, struct chord_file_tensor *out)
{
    const struct gguf_tensor *tensor = gguf_tensor(file->gguf, index);
    *out = (struct chord_file_tensor){
        .name = {tensor->name.bytes, tensor->name.n_bytes},
        .type = quant_traits(tensor->type)->name,
        .n_dimensions = tensor->n_dimensions,
        .file = tensor->file,
        .offset = tensor->offset,
        .n_bytes = tensor->n_bytes,
    };
    memcpy(out->ne, tensor->ne, sizeof out->ne);
}

static void string_elements(const struct gguf_value *value, uint64_t n, struct chord_element_value *out)
{
    struct gguf_string_walk walk = gguf_strings(value);
    struct gguf_string s;
    for (uint64_t i = 0; i < n && gguf_next_string(&walk, &s); i++)
        out[i] = (struct chord_element_value){.kind = CHORD_ELEMENT_STRING, .s = {s.bytes, s.n_bytes}};
}

static struct chord_element_value number_element(const struct gguf_value *value, uint64_t index)
{
    struct chord_element_value out = {.kind = CHORD_ELEMENT_INT};
    switch (value->element) {
    case GGUF_FLOAT32:
    case GGUF_FLOAT64:
        out.kind = CHORD_ELEMENT_FLOAT;
        gguf_element_f64(value, index, &out.f);
        break;
    case GGUF_UINT64:
        out.kind = CHORD_ELEMENT_UINT;
        for (int i = 7; i >= 0; i--)
            out.u = out.u << 8 | value->data[index * 8 + (uint64_t)i];
        break;
    default:
        out.kind = value->element == GGUF_BOOL ? CHORD_ELEMENT_BOOL : CHORD_ELEMENT_INT;
        gguf_element_i64(value, index, &out.i);
    }
    return out;
}

void chord_value_elements(const struct chord_value *value, uint64_t n, struct chord_element_value *out)
{
    const struct gguf_value *v = value->opaque;
    if (v->element == GGUF_STRING) {
        string_elements(v, n, out);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        out[i] = number_element(v, i);
}

void chord_system_info(struct chord_system_info *out)
{
    struct kernels kernels;
    const uint32_t features = cpu_features();
    kernels_init(&kernels, features);
    *out = (struct chord_system_info){
        .tier = kernels.tier,
        .tiers = kernels_tier_names(),
        .n_processors = cpu_count(),
        .memory_free = os_memory_available(),
    };
    cpu_name(out->cpu_name, sizeof out->cpu_name);
}
