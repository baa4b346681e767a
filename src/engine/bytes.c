// chord.h's view of a model as bytes: spans of its files, and whole layers.
#include "engine/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum chord_status chord_model_read(struct chord_model *model, uint64_t offset, uint64_t n_bytes, void *out,
                                   struct chord_error *err)
{
    if (offset > model->file_bytes || n_bytes > model->file_bytes - offset)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "%" PRIu64 " bytes at %" PRIu64 " reach past the model's end at %" PRIu64, n_bytes, offset,
                          model->file_bytes);
    char *to = out;
    for (uint32_t file = 0; n_bytes > 0; file++) {
        const uint64_t size = gguf_file(model->gguf, file)->os.size;
        if (offset < size) {
            const uint64_t n = n_bytes < size - offset ? n_bytes : size - offset;
            const enum chord_status status = weights_read_bytes(model->weights, file, offset, n, to, err);
            if (status != CHORD_OK)
                return status;
            to += n;
            n_bytes -= n;
            offset = 0;
        } else {
            offset -= size;
        }
    }
    return CHORD_OK;
}

// The next tensor of the layer from row *at of the directory on, and *at behind it; NULL: no more.
static const struct gguf_tensor *next_of_layer(const struct chord_model *model, uint32_t layer, uint64_t *at)
{
    char prefix[24];
    const uint64_t n_prefix = (uint64_t)snprintf(prefix, sizeof prefix, "blk.%" PRIu32 ".", layer);
    while (*at < gguf_n_tensors(model->gguf)) {
        const struct gguf_tensor *tensor = gguf_tensor(model->gguf, (*at)++);
        if (tensor->name.n_bytes > n_prefix && memcmp(tensor->name.bytes, prefix, n_prefix) == 0)
            return tensor;
    }
    return NULL;
}

// No overflow: the spans of the tensors lie side by side in files whose sizes add up to file_bytes.
static uint64_t align(uint64_t n)
{
    return (n + CHORD_LAYER_ALIGNMENT - 1) / CHORD_LAYER_ALIGNMENT * CHORD_LAYER_ALIGNMENT;
}

enum chord_status chord_model_layer_bytes(const struct chord_model *model, uint32_t layer, uint64_t *n_bytes,
                                          struct chord_error *err)
{
    uint64_t at = 0;
    *n_bytes = 0;
    for (const struct gguf_tensor *tensor; (tensor = next_of_layer(model, layer, &at)) != NULL;)
        *n_bytes = align(*n_bytes) + tensor->n_bytes;
    if (*n_bytes == 0)
        return chord_fail(err, CHORD_NOT_FOUND, "the model has no layer %" PRIu32 ": the last one is %" PRIu32, layer,
                          model->hparams.n_layer - 1);
    return CHORD_OK;
}

enum chord_status chord_model_read_layer(struct chord_model *model, uint32_t layer, void *out, struct chord_error *err)
{
    uint64_t n_bytes, done = 0, at = 0;
    enum chord_status status = chord_model_layer_bytes(model, layer, &n_bytes, err);
    if (status != CHORD_OK)
        return status;
    for (const struct gguf_tensor *tensor; (tensor = next_of_layer(model, layer, &at)) != NULL;) {
        const uint64_t begin = align(done);
        memset((char *)out + done, 0, begin - done);
        status =
            weights_read_bytes(model->weights, tensor->file, tensor->offset, tensor->n_bytes, (char *)out + begin, err);
        if (status != CHORD_OK)
            return status;
        done = begin + tensor->n_bytes;
    }
    return CHORD_OK;
}
