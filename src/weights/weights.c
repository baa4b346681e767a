#include "weights/weights.h"

#include "base/checked.h"
#include "base/half.h"
#include "os/thread.h"
#include "weights/paging.h"

#include <stdatomic.h>
#include <string.h>

struct weights {
    const struct gguf *gguf;
    struct memory_account *account;
    enum weights_mode mode;
    struct weight *items; // [n_items], in the order of the directory
    uint64_t n_items;
    float *scales;     // of all items
    const void **maps; // [n_files]
    uint32_t n_files;
    uint64_t mapped_bytes;
    struct paging *paging; // paged mode
};

// Paged mode: tiles of a small model are a small part of it, but not smaller than what a disk likes to read.
#define TILES_PER_MODEL 128u
#define LEAST_TILE_BYTES (64u << 10)
// Of rows in a tile of paged mode, so that the kernels of prompts find whole panels.
#define TILE_ROWS_MULTIPLE 16u

static const struct os_file *file_of(const struct weights *weights, uint32_t index)
{
    return &gguf_file(weights->gguf, index)->os;
}

// Rows of a tile, of matrices of n_rows rows each. Tiles are as equal as can be: a frame of the pager's ring holds any of them.
static uint64_t rows_of(const struct weight *weight, uint64_t n_rows, uint64_t tile_bytes)
{
    const uint64_t fit = tile_bytes / weight->row_bytes;
    const uint64_t most = fit == 0 ? 1 : fit < n_rows ? fit : n_rows;
    const uint64_t n_tiles = (n_rows + most - 1) / most;
    const uint64_t even = (n_rows + n_tiles - 1) / n_tiles;
    uint64_t rows = (even + TILE_ROWS_MULTIPLE - 1) / TILE_ROWS_MULTIPLE * TILE_ROWS_MULTIPLE;
    rows = rows <= most ? rows : even;
    while (n_rows != weight->n_rows && n_rows % rows != 0)
        rows--;
    return rows;
}

static uint64_t choose_tile_bytes(const struct gguf *gguf, enum weights_mode mode)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < gguf_n_tensors(gguf); i++)
        sum += gguf_tensor(gguf, i)->n_bytes; // spans of files: no sum of them overflows
    const uint64_t part = sum / TILES_PER_MODEL;
    if (mode == WEIGHTS_MAPPED || part > WEIGHTS_TILE_BYTES)
        return WEIGHTS_TILE_BYTES;
    return part < LEAST_TILE_BYTES ? LEAST_TILE_BYTES : part;
}

// X.scale of X.weight, with one number for all of it or for each of its matrices.
static const struct gguf_tensor *find_scale_tensor(const struct gguf *gguf, const struct gguf_tensor *tensor)
{
    static const char suffix[] = ".weight", replaced[] = ".scale";
    const size_t n_suffix = sizeof suffix - 1;
    char name[GGUF_MAX_TENSOR_NAME_BYTES + 1];
    const size_t n = (size_t)tensor->name.n_bytes;
    if (n <= n_suffix || n >= sizeof name || memcmp(tensor->name.bytes + n - n_suffix, suffix, n_suffix) != 0)
        return NULL;
    memcpy(name, tensor->name.bytes, n - n_suffix);
    memcpy(name + n - n_suffix, replaced, sizeof replaced);
    const struct gguf_tensor *scale = gguf_find_tensor(gguf, name);
    const bool fits = scale != NULL && scale->type == QUANT_F32 && scale->ne[1] * scale->ne[2] * scale->ne[3] == 1 &&
                      (scale->ne[0] == 1 || scale->ne[0] == tensor->ne[2] * tensor->ne[3]);
    return fits ? scale : NULL;
}

static void describe(struct weight *weight, const struct gguf *gguf, const struct gguf_tensor *tensor,
                     uint64_t tile_bytes)
{
    weight->tensor = tensor;
    weight->type = quant_traits(tensor->type);
    weight->n = tensor->ne[0];
    weight->n_rows = tensor->ne[1] * tensor->ne[2] * tensor->ne[3]; // cannot overflow: the span was checked
    weight->row_bytes = (tensor->n_bytes - weight->type->tail_bytes) / weight->n_rows;
    weight->scale_tensor = find_scale_tensor(gguf, tensor);
    weight->tile_rows = rows_of(weight, tensor->ne[2] > 1 ? tensor->ne[1] : weight->n_rows, tile_bytes);
    weight->n_tiles = (weight->n_rows + weight->tile_rows - 1) / weight->tile_rows;
    weight->expert_part = UINT32_MAX;
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

static enum chord_status open_paging(struct weights *weights, struct chord_error *err)
{
    uint64_t widest = 0;
    for (uint64_t i = 0; i < weights->n_items; i++)
        widest = weights->items[i].row_bytes > widest ? weights->items[i].row_bytes : widest;
    return paging_open(&weights->paging, weights->gguf, widest, weights->account, err);
}

static uint64_t n_scales(const struct weight *weight)
{
    return weight->scale_tensor != NULL ? weight->scale_tensor->ne[0] : weight->type->tail_bytes != 0;
}

static enum chord_status multiply_by_float_at(const struct weights *weights, const struct gguf_tensor *tensor,
                                              uint64_t offset, float *out, struct chord_error *err)
{
    uint8_t bytes[4];
    const enum chord_status status =
        os_file_read(file_of(weights, tensor->file), tensor->offset + offset, bytes, sizeof bytes, err);
    const uint32_t low = (uint32_t)(bytes[0] | bytes[1] << 8), high = (uint32_t)(bytes[2] | bytes[3] << 8);
    if (status == CHORD_OK)
        *out *= float_from_bits(low | high << 16);
    return status;
}

static enum chord_status read_scales(struct weights *weights, struct chord_error *err)
{
    uint64_t n = 0;
    enum chord_status status = CHORD_OK;
    for (uint64_t i = 0; i < weights->n_items; i++)
        n += n_scales(&weights->items[i]);
    if (n == 0)
        return CHORD_OK;
    weights->scales = memory_zalloc(weights->account, MEMORY_METADATA, n, sizeof(float));
    if (weights->scales == NULL)
        return memory_account_fail(weights->account, err, n * sizeof(float), "the scales of tensors");
    float *next = weights->scales;
    for (uint64_t i = 0; i < weights->n_items && status == CHORD_OK; i++) {
        struct weight *weight = &weights->items[i];
        const uint64_t count = n_scales(weight);
        if (count == 0)
            continue;
        weight->scales = next;
        weight->scale_rows = weight->n_rows / count;
        for (uint64_t k = 0; k < count && status == CHORD_OK; k++, next++) {
            *next = 1.0f;
            if (weight->type->tail_bytes != 0)
                status = multiply_by_float_at(weights, weight->tensor, weight->n_rows * weight->row_bytes, next, err);
            if (status == CHORD_OK && weight->scale_tensor != NULL)
                status = multiply_by_float_at(weights, weight->scale_tensor, 4 * k, next, err);
        }
    }
    return status;
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
    const uint64_t tile_bytes = choose_tile_bytes(gguf, mode);
    for (uint64_t i = 0; i < weights->n_items; i++)
        describe(&weights->items[i], gguf, gguf_tensor(gguf, i), tile_bytes);
    enum chord_status status = mode == WEIGHTS_MAPPED  ? map_files(weights, err)
                               : mode == WEIGHTS_PAGED ? open_paging(weights, err)
                                                       : CHORD_OK;
    if (status == CHORD_OK && mode != WEIGHTS_DIRECTORY)
        status = read_scales(weights, err);
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
    paging_close(weights->paging);
    for (uint32_t i = 0; weights->maps != NULL && i < weights->n_files; i++)
        if (weights->maps[i] != NULL)
            os_file_unmap(weights->maps[i], file_of(weights, i)->size);
    memory_free(weights->account, (void *)weights->maps);
    memory_free(weights->account, weights->scales);
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

// ---- Paging -------------------------------------------------------------------------------------------------------------

struct pager *weights_pager(const struct weights *weights)
{
    return weights->paging == NULL ? NULL : paging_pager(weights->paging);
}

enum chord_status weights_start_paging(struct weights *weights, const struct weights_use *uses, uint32_t n_uses,
                                       const struct weights_paging *options, struct chord_error *err)
{
    return paging_start(weights->paging, weights->items, uses, n_uses, options, err);
}

void weights_begin_pass(struct weights *weights, const struct weight *first, const struct weight *last)
{
    if (weights->paging != NULL)
        pager_begin_pass(paging_pager(weights->paging), first->slots_begin, last->slots_end);
}

void weights_end_pass(struct weights *weights)
{
    if (weights->paging != NULL)
        pager_end_pass(paging_pager(weights->paging));
}

void weights_settle(struct weights *weights, uint64_t spare)
{
    const uint64_t held = atomic_load(&weights->account->total), ceiling = weights->account->ceiling;
    const uint64_t left = ceiling > held ? ceiling - held : 0;
    if (weights->paging == NULL)
        return;
    // Memory that goes back and forth costs reads: small changes are let be.
    if (left < spare / 2)
        paging_shrink(weights->paging, spare - left);
    else if (left > spare + spare / 2)
        paging_grow(weights->paging, left - spare);
}

struct expert_pager *weights_expert_pager(const struct weights *weights)
{
    return weights->paging == NULL ? NULL : paging_experts(weights->paging);
}

void weights_begin_experts(struct weights *weights, const struct weight *weight)
{
    if (weights->paging != NULL)
        expert_pager_begin_layer(paging_experts(weights->paging), weight->expert_part / EXPERT_PARTS);
}

uint32_t weights_begin_wave(struct weights *weights, uint32_t *experts, uint32_t n, bool is_prompt)
{
    return weights->paging == NULL ? n
                                   : expert_pager_begin_wave(paging_experts(weights->paging), experts, n, is_prompt);
}

void weights_end_wave(struct weights *weights)
{
    if (weights->paging != NULL)
        expert_pager_end_wave(paging_experts(weights->paging));
}

static enum chord_status acquire_expert(struct weights *weights, const struct weight *weight, uint64_t tile,
                                        const void **rows, struct chord_error *err)
{
    const uint32_t n_tiles = (uint32_t)(weight->tensor->ne[1] / weight->tile_rows);
    return expert_pager_acquire(paging_experts(weights->paging), (uint32_t)(tile / n_tiles),
                                weight->expert_part % EXPERT_PARTS, (uint32_t)(tile % n_tiles), rows, err);
}

enum chord_status weights_acquire(struct weights *weights, const struct weight *weight, uint64_t tile,
                                  const void **rows, struct chord_error *err)
{
    if (weight->expert_part != UINT32_MAX)
        return acquire_expert(weights, weight, tile, rows, err);
    if (weights->paging != NULL)
        return pager_acquire(paging_pager(weights->paging), paging_slot(weights->paging, weight, tile), rows, err);
    const char *first = (const char *)weights->maps[weight->tensor->file] + weight->tensor->offset;
    *rows = first + tile * weight->tile_rows * weight->row_bytes;
    return CHORD_OK;
}

void weights_release(struct weights *weights, const struct weight *weight, uint64_t tile, uint64_t n_rows)
{
    if (weights->paging != NULL && weight->expert_part == UINT32_MAX)
        pager_release(paging_pager(weights->paging), paging_slot(weights->paging, weight, tile),
                      n_rows * weight->row_bytes);
}

void weight_dequantize_row(const struct weight *weight, uint64_t row, const void *bytes, float *out)
{
    weight->type->dequantize_row(bytes, out, weight->n);
    for (uint64_t i = 0; weight->scales != NULL && i < weight->n; i++)
        out[i] *= weight->scales[row / weight->scale_rows];
}

// ---- Single rows --------------------------------------------------------------------------------------------------------

static void read_mapped_rows(const struct weights *weights, const struct weight *weight, uint64_t first,
                             uint64_t n_rows, float *out)
{
    const char *rows = (const char *)weights->maps[weight->tensor->file] + weight->tensor->offset;
    for (uint64_t r = 0; r < n_rows; r++)
        weight_dequantize_row(weight, first + r, rows + (first + r) * weight->row_bytes, out + r * weight->n);
}

enum chord_status weights_read_rows(struct weights *weights, const struct weight *weight, uint64_t first,
                                    uint64_t n_rows, float *out, struct chord_error *err)
{
    if (weights->mode == WEIGHTS_PAGED)
        return paging_read_rows(weights->paging, weight, first, n_rows, out, err);
    read_mapped_rows(weights, weight, first, n_rows, out);
    return CHORD_OK;
}

enum chord_status weights_read_bytes(struct weights *weights, uint32_t file, uint64_t offset, uint64_t n_bytes,
                                     void *out, struct chord_error *err)
{
    const struct gguf_file *of = gguf_file(weights->gguf, file);
    const enum chord_status status = os_file_check_unchanged(&of->os, of->path, err);
    if (status == CHORD_OK && weights->paging != NULL)
        return paging_read_bytes(weights->paging, weights->items, file, offset, n_bytes, out, err);
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

static void preload_mapped(struct weights *weights, uint64_t *done, double seconds, const _Atomic bool *cancel)
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

enum chord_status weights_preload(struct weights *weights, double seconds, const _Atomic bool *cancel, uint64_t *done,
                                  uint64_t *total, struct chord_error *err)
{
    if (weights->paging != NULL)
        return pager_preload(paging_pager(weights->paging), seconds, cancel, done, total, err);
    *total = weights->mapped_bytes;
    preload_mapped(weights, done, seconds, cancel);
    return CHORD_OK;
}

void weights_clear_cache(struct weights *weights)
{
    if (weights->paging != NULL) {
        pager_clear(paging_pager(weights->paging));
        if (paging_experts(weights->paging) != NULL)
            expert_pager_clear(paging_experts(weights->paging));
    } else {
        for (uint32_t i = 0; i < weights->n_files; i++)
            os_file_forget(file_of(weights, i), weights->maps[i]);
    }
}

uint64_t weights_mapped_bytes(const struct weights *weights)
{
    return weights->mapped_bytes;
}

uint64_t weights_resident_bytes(const struct weights *weights)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < weights->n_files && weights->mode == WEIGHTS_MAPPED; i++) {
        const uint64_t resident = os_file_resident_bytes(weights->maps[i], file_of(weights, i)->size);
        if (resident == UINT64_MAX)
            return UINT64_MAX;
        sum += resident;
    }
    return sum;
}
