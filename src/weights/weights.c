#include "weights/weights.h"

#include "base/checked.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <string.h>

struct weights {
    const struct gguf *gguf;
    struct memory_account *account;
    enum weights_mode mode;
    struct weight *items; // [n_items], in the order of the directory
    uint64_t n_items;
    const void **maps; // [n_files]
    uint32_t n_files;
    uint64_t mapped_bytes;
};

static const struct os_file *file_of(const struct weights *weights, uint32_t index)
{
    return &gguf_file(weights->gguf, index)->os;
}

static void describe(struct weight *weight, const struct gguf_tensor *tensor)
{
    weight->tensor = tensor;
    weight->type = quant_traits(tensor->type);
    weight->n = tensor->ne[0];
    weight->n_rows = tensor->ne[1] * tensor->ne[2] * tensor->ne[3]; // cannot overflow: the span was checked
    weight->row_bytes = tensor->n_bytes / weight->n_rows;
    const uint64_t fit = WEIGHTS_TILE_BYTES / weight->row_bytes;
    weight->tile_rows = fit == 0 ? 1 : fit < weight->n_rows ? fit : weight->n_rows;
    if (tensor->ne[2] > 1)
        while (tensor->ne[1] % weight->tile_rows != 0 || weight->tile_rows > tensor->ne[1])
            weight->tile_rows--;
    weight->n_tiles = (weight->n_rows + weight->tile_rows - 1) / weight->tile_rows;
}

static enum chord_status map_files(struct weights *weights, struct chord_error *err)
{
    for (uint32_t i = 0; i < weights->n_files; i++) {
        const enum chord_status status = os_file_map(file_of(weights, i), &weights->maps[i], err);
        if (status != CHORD_OK)
            return status;
        weights->mapped_bytes += file_of(weights, i)->size;
    }
    return CHORD_OK;
}

enum chord_status weights_open(struct weights **out, const struct gguf *gguf, enum weights_mode mode,
                               struct memory_account *account, struct chord_error *err)
{
    struct weights *weights = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *weights);
    if (weights == NULL)
        return memory_account_fail(account, err, sizeof *weights, "the weight store");
    weights->gguf = gguf;
    weights->mode = mode;
    weights->account = account;
    weights->n_items = gguf_n_tensors(gguf);
    weights->n_files = gguf_n_files(gguf);
    weights->items = memory_zalloc(account, MEMORY_METADATA, weights->n_items, sizeof *weights->items);
    weights->maps = memory_zalloc(account, MEMORY_METADATA, weights->n_files, sizeof *weights->maps);
    if (weights->items == NULL || weights->maps == NULL) {
        weights_close(weights);
        return memory_account_fail(account, err, gguf_n_tensors(gguf) * sizeof(struct weight), "the tensor directory");
    }
    for (uint64_t i = 0; i < weights->n_items; i++)
        describe(&weights->items[i], gguf_tensor(gguf, i));
    const enum chord_status status = mode == WEIGHTS_MAPPED ? map_files(weights, err) : CHORD_OK;
    if (status != CHORD_OK) {
        weights_close(weights);
        return status;
    }
    *out = weights;
    return CHORD_OK;
}

void weights_close(struct weights *weights)
{
    if (weights == NULL)
        return;
    for (uint32_t i = 0; weights->maps != NULL && i < weights->n_files; i++)
        if (weights->maps[i] != NULL)
            os_file_unmap(weights->maps[i], file_of(weights, i)->size);
    memory_free(weights->account, (void *)weights->maps);
    memory_free(weights->account, weights->items);
    memory_free(weights->account, weights);
}

enum weights_mode weights_mode(const struct weights *weights)
{
    return weights->mode;
}

const struct weight *weights_find(const struct weights *weights, const char *name)
{
    const struct gguf_tensor *tensor = gguf_find_tensor(weights->gguf, name);
    return tensor != NULL ? &weights->items[tensor - gguf_tensor(weights->gguf, 0)] : NULL;
}

enum chord_status weights_acquire(struct weights *weights, const struct weight *weight, uint64_t tile,
                                  const void **rows, struct chord_error *err)
{
    (void)err;
    const char *first = (const char *)weights->maps[weight->tensor->file] + weight->tensor->offset;
    *rows = first + tile * weight->tile_rows * weight->row_bytes;
    return CHORD_OK;
}

void weights_release(struct weights *weights, const struct weight *weight, uint64_t tile)
{
    (void)weights, (void)weight, (void)tile;
}

enum chord_status weights_read_rows(struct weights *weights, const struct weight *weight, uint64_t first,
                                    uint64_t n_rows, float *out, struct chord_error *err)
{
    for (uint64_t row = first; row < first + n_rows; row++) {
        const uint64_t tile = row / weight->tile_rows;
        const void *rows;
        const enum chord_status status = weights_acquire(weights, weight, tile, &rows, err);
        if (status != CHORD_OK)
            return status;
        weight->type->dequantize_row((const char *)rows + (row % weight->tile_rows) * weight->row_bytes, out,
                                     weight->n);
        weights_release(weights, weight, tile);
        out += weight->n;
    }
    return CHORD_OK;
}

enum chord_status weights_read_bytes(struct weights *weights, uint32_t file, uint64_t offset, uint64_t n_bytes,
                                     void *out, struct chord_error *err)
{
    const struct gguf_file *of = gguf_file(weights->gguf, file);
    const enum chord_status status = os_file_check_unchanged(&of->os, of->path, err);
    if (status == CHORD_OK && n_bytes > 0)
        memcpy(out, (const char *)weights->maps[file] + offset, n_bytes);
    return status;
}

enum chord_status weights_check_unchanged(const struct weights *weights, struct chord_error *err)
{
    for (uint32_t i = 0; i < weights->n_files; i++) {
        const struct gguf_file *file = gguf_file(weights->gguf, i);
        const enum chord_status status = os_file_check_unchanged(&file->os, file->path, err);
        if (status != CHORD_OK)
            return status;
    }
    return CHORD_OK;
}

void weights_preload(struct weights *weights, uint64_t *done, double seconds, const _Atomic bool *cancel)
{
    const uint64_t page = 4096, pages_per_look = 1024;
    const double deadline = os_now_seconds() + seconds;
    volatile unsigned char sink = 0;
    uint64_t begin = 0;
    for (uint32_t i = 0; i < weights->n_files; i++) {
        const uint64_t size = file_of(weights, i)->size;
        const unsigned char *map = weights->maps[i];
        while (*done < begin + size) {
            for (uint64_t n = 0; n < pages_per_look && *done < begin + size; n++) {
                sink = (unsigned char)(sink + map[*done - begin]);
                const uint64_t left = begin + size - *done;
                *done += left < page ? left : page;
            }
            if (os_now_seconds() > deadline || (cancel != NULL && atomic_load(cancel)))
                return;
        }
        begin += size;
    }
}

void weights_clear_cache(struct weights *weights)
{
    for (uint32_t i = 0; i < weights->n_files; i++)
        os_file_forget(file_of(weights, i), weights->maps[i]);
}

uint64_t weights_mapped_bytes(const struct weights *weights)
{
    return weights->mapped_bytes;
}

uint64_t weights_resident_bytes(const struct weights *weights)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < weights->n_files; i++) {
        const uint64_t resident = os_file_resident_bytes(weights->maps[i], file_of(weights, i)->size);
        if (resident == UINT64_MAX)
            return UINT64_MAX;
        sum += resident;
    }
    return sum;
}
