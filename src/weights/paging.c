#include "weights/paging.h"

#include "base/checked.h"
#include "os/thread.h"

#include <string.h>

// What paging_read_rows reads at once.
#define ROWS_BYTES (256u << 10)
// The ring: enough that readers and threads that compute seldom wait for each other, no more, for pins are worth more.
#define RING_BYTES (UINT64_C(48) << 20)
#define MOST_RING_BYTES (UINT64_C(64) << 20)

struct paging {
    struct memory_account *account;
    const struct gguf *gguf;
    struct os_stream *streams; // [n_files]
    uint32_t n_files;
    struct pager *pager;
    uint32_t *slots; // of the tiles of all matrices of the schedule, by weight.slots_at + tile

    uint8_t *rows; // rows_bytes, aligned to STREAM_ALIGNMENT: what paging_read_rows reads; guarded by the mutex
    uint64_t rows_bytes;
    uv_mutex_t mutex;
    bool has_mutex;
};

static uint64_t rows_buffer_bytes(uint64_t widest_row)
{
    return (ROWS_BYTES + 2 * widest_row + 2 * STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT * STREAM_ALIGNMENT;
}

enum chord_status paging_open(struct paging **out, const struct gguf *gguf, uint64_t widest_row,
                              struct memory_account *account, struct chord_error *err)
{
    struct paging *paging = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *paging);
    if (paging == NULL)
        return memory_account_fail(account, err, sizeof *paging, "the weight store");
    paging->account = account;
    paging->gguf = gguf;
    paging->n_files = gguf_n_files(gguf);
    if (widest_row > UINT32_MAX / 2) {
        paging_close(paging);
        return chord_fail(err, CHORD_MODEL_TENSOR, "a row of %.1f GiB is too long to be read in parts",
                          (double)widest_row / 0x1p30);
    }
    paging->rows_bytes = rows_buffer_bytes(widest_row);
    paging->rows = memory_alloc(account, MEMORY_METADATA, paging->rows_bytes, STREAM_ALIGNMENT);
    paging->streams = memory_zalloc(account, MEMORY_METADATA, paging->n_files, sizeof *paging->streams);
    enum chord_status status = CHORD_OK;
    if (paging->rows == NULL || paging->streams == NULL)
        status = memory_account_fail(account, err, paging->rows_bytes, "rows of weights");
    else if (uv_mutex_init(&paging->mutex) != 0)
        status = chord_fail(err, CHORD_THREAD, "the system has no lock left for the weight store");
    else
        paging->has_mutex = true;
    for (uint32_t i = 0; i < paging->n_files && status == CHORD_OK; i++) {
        const struct gguf_file *file = gguf_file(gguf, i);
        status = os_stream_open(&paging->streams[i], &file->os, file->path, true, err);
    }
    if (status != CHORD_OK) {
        paging_close(paging);
        return status;
    }
    *out = paging;
    return CHORD_OK;
}

void paging_close(struct paging *paging)
{
    if (paging == NULL)
        return;
    pager_free(paging->pager);
    for (uint32_t i = 0; paging->streams != NULL && i < paging->n_files; i++)
        os_stream_close(&paging->streams[i]);
    if (paging->has_mutex)
        uv_mutex_destroy(&paging->mutex);
    memory_free(paging->account, paging->slots);
    memory_free(paging->account, paging->streams);
    memory_free(paging->account, paging->rows);
    memory_free(paging->account, paging);
}

struct pager *paging_pager(const struct paging *paging)
{
    return paging->pager;
}

// ---- the schedule ----------------------------------------------------------------------------------------------------

static uint64_t count_tiles(const struct weights_use *uses, uint32_t n_uses)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < n_uses; i++)
        for (uint32_t k = 0; k < uses[i].n_weights; k++)
            n += uses[i].weight[k]->n_tiles;
    return n;
}

// Tiles listed so far, and where each stands.
struct schedule {
    struct pager_tile *tiles;
    uint32_t n_tiles;
    uint32_t *slots; // NULL: not wanted
    uint32_t slots_at[WEIGHTS_MOST_TOGETHER];
};

static void list_tile(struct schedule *schedule, const struct weights_use *use, uint32_t which, uint64_t tile)
{
    const struct weight *weight = use->weight[which];
    const uint64_t first = tile * weight->tile_rows, left = weight->n_rows - first;
    const uint64_t n_rows = left < weight->tile_rows ? left : weight->tile_rows;
    if (schedule->slots != NULL)
        schedule->slots[schedule->slots_at[which] + tile] = schedule->n_tiles;
    schedule->tiles[schedule->n_tiles++] = (struct pager_tile){
        .offset = weight->tensor->offset + first * weight->row_bytes,
        .n_bytes = (uint32_t)(n_rows * weight->row_bytes),
        .file = (uint16_t)weight->tensor->file,
        .layer = (uint16_t)use->layer,
    };
}

// Matrices used together are used by rows: the tile that begins with the smallest row comes next.
static void list_use(struct schedule *schedule, const struct weights_use *use)
{
    uint64_t next[WEIGHTS_MOST_TOGETHER] = {0};
    for (;;) {
        uint32_t which = use->n_weights;
        uint64_t row = UINT64_MAX;
        for (uint32_t k = 0; k < use->n_weights; k++)
            if (next[k] < use->weight[k]->n_tiles && next[k] * use->weight[k]->tile_rows < row) {
                which = k;
                row = next[k] * use->weight[k]->tile_rows;
            }
        if (which == use->n_weights)
            return;
        list_tile(schedule, use, which, next[which]++);
    }
}

static uint64_t choose_ring(const struct pager_tile *tiles, uint32_t n_tiles, uint64_t memory, uint32_t n_threads)
{
    const uint64_t frame = pager_frame_bytes(tiles, n_tiles), least = frame * PAGER_LEAST_FRAMES;
    uint64_t ring = frame * (2 * (uint64_t)n_threads + PAGER_LEAST_FRAMES);
    ring = ring < RING_BYTES ? RING_BYTES : ring;
    ring = ring > MOST_RING_BYTES ? MOST_RING_BYTES : ring;
    ring = ring > memory / 8 ? memory / 8 : ring;
    ring = ring / frame * frame;
    return ring < least ? least : ring;
}

// Lists the tiles of all uses, and tells their matrices where they stand.
static void fill_schedule(struct schedule *schedule, struct weight *items, const struct weights_use *uses,
                          uint32_t n_uses)
{
    uint32_t n_slots = 0;
    for (uint32_t i = 0; i < n_uses; i++) {
        const uint32_t begin = schedule->n_tiles;
        for (uint32_t k = 0; k < uses[i].n_weights; k++) {
            schedule->slots_at[k] = n_slots;
            n_slots += (uint32_t)uses[i].weight[k]->n_tiles;
        }
        list_use(schedule, &uses[i]);
        for (uint32_t k = 0; k < uses[i].n_weights; k++) {
            struct weight *weight = &items[uses[i].weight[k] - items];
            weight->slots_at = schedule->slots_at[k];
            weight->slots_begin = begin;
            weight->slots_end = schedule->n_tiles;
        }
    }
}

static enum chord_status create_pager(struct paging *paging, const struct schedule *schedule,
                                      const struct weights_paging *options, struct chord_error *err)
{
    struct memory_account *account = paging->account;
    const uint64_t held = atomic_load(&account->total) + options->spare;
    const uint64_t memory = account->ceiling > held ? account->ceiling - held : 0;
    const struct pager_options pager = {
        .policy = options->policy == WEIGHTS_LRU ? PAGER_LRU : PAGER_PIN,
        .memory = memory,
        .ring_bytes = choose_ring(schedule->tiles, schedule->n_tiles, memory, options->n_threads),
        .n_readers = PAGER_READERS_PER_FILE,
        .n_layers = options->n_layers,
    };
    const enum chord_status status =
        pager.ring_bytes > memory
            ? chord_fail(err, CHORD_MEMORY_BUDGET, "paging needs %.1f MiB for tiles in flight and has %.1f MiB",
                         (double)pager.ring_bytes / 0x1p20, (double)memory / 0x1p20)
            : pager_create(&paging->pager, schedule->tiles, schedule->n_tiles, paging->streams, paging->n_files, &pager,
                           account, err);
    return status;
}

enum chord_status paging_start(struct paging *paging, struct weight *items, const struct weights_use *uses,
                               uint32_t n_uses, const struct weights_paging *options, struct chord_error *err)
{
    struct memory_account *account = paging->account;
    const uint64_t n_tiles = count_tiles(uses, n_uses);
    struct schedule schedule = {0};
    enum chord_status status = CHORD_OK;
    schedule.tiles = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *schedule.tiles);
    paging->slots = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *paging->slots);
    schedule.slots = paging->slots;
    if (schedule.tiles == NULL || schedule.slots == NULL) {
        status = memory_account_fail(account, err, n_tiles * sizeof *schedule.tiles, "the list of tiles");
    } else {
        fill_schedule(&schedule, items, uses, n_uses);
        status = create_pager(paging, &schedule, options, err);
    }
    memory_free(account, schedule.tiles);
    return status;
}

uint32_t paging_slot(const struct paging *paging, const struct weight *weight, uint64_t tile)
{
    return paging->slots[weight->slots_at + tile];
}

static uint64_t widest_row(const struct weights_use *uses, uint32_t n_uses)
{
    uint64_t widest = 0;
    for (uint32_t i = 0; i < n_uses; i++)
        for (uint32_t k = 0; k < uses[i].n_weights; k++)
            widest = uses[i].weight[k]->row_bytes > widest ? uses[i].weight[k]->row_bytes : widest;
    return widest;
}

static void describe_layers(const struct weights_use *uses, uint32_t n_uses, struct weights_layer_plan *layers)
{
    for (uint32_t i = 0; i < n_uses; i++)
        for (uint32_t k = 0; k < uses[i].n_weights; k++)
            layers[uses[i].layer].n_bytes += uses[i].weight[k]->n_rows * uses[i].weight[k]->row_bytes;
}

enum chord_status weights_plan_paging(const struct weights_use *uses, uint32_t n_uses, uint64_t memory,
                                      uint32_t n_threads, struct weights_layer_plan *layers,
                                      struct weights_paging_plan *out, struct memory_account *account,
                                      struct chord_error *err)
{
    const uint64_t n_tiles = count_tiles(uses, n_uses);
    struct schedule schedule = {.tiles = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *schedule.tiles)};
    bool *is_pinned = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *is_pinned);
    if (schedule.tiles == NULL || is_pinned == NULL) {
        memory_free(account, schedule.tiles);
        memory_free(account, is_pinned);
        return memory_account_fail(account, err, n_tiles * sizeof *schedule.tiles, "the list of tiles");
    }
    for (uint32_t i = 0; i < n_uses; i++)
        list_use(&schedule, &uses[i]);
    *out = (struct weights_paging_plan){
        .ring_bytes = choose_ring(schedule.tiles, schedule.n_tiles, memory, n_threads),
        .least_bytes = pager_frame_bytes(schedule.tiles, schedule.n_tiles) * PAGER_LEAST_FRAMES,
        .n_tiles = n_tiles,
        .metadata_bytes =
            n_tiles * (sizeof(uint32_t) + pager_bytes_per_tile()) + rows_buffer_bytes(widest_row(uses, n_uses)),
    };
    for (uint32_t i = 0; i < schedule.n_tiles; i++)
        out->step_bytes += schedule.tiles[i].n_bytes;
    const uint64_t for_pins = memory > out->ring_bytes ? memory - out->ring_bytes : 0;
    pager_choose_pins(schedule.tiles, schedule.n_tiles, for_pins, is_pinned);
    if (layers != NULL)
        describe_layers(uses, n_uses, layers);
    for (uint32_t i = 0; i < schedule.n_tiles; i++) {
        const uint64_t bytes = is_pinned[i] ? schedule.tiles[i].n_bytes : 0;
        out->pinned_bytes += bytes;
        if (layers != NULL)
            layers[schedule.tiles[i].layer].pinned_bytes += bytes;
    }
    memory_free(account, is_pinned);
    memory_free(account, schedule.tiles);
    return CHORD_OK;
}

// ---- single rows -----------------------------------------------------------------------------------------------------

// Reads n_bytes at offset into paging->rows, and tells where they begin. With the mutex held.
static enum chord_status read_part(struct paging *paging, uint32_t file, uint64_t offset, uint64_t n_bytes,
                                   const uint8_t **out, struct chord_error *err)
{
    const uint64_t slack = offset % STREAM_ALIGNMENT;
    const uint64_t bytes = (slack + n_bytes + STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT * STREAM_ALIGNMENT;
    *out = paging->rows + slack;
    return os_stream_read(&paging->streams[file], offset - slack, paging->rows, bytes, err);
}

enum chord_status paging_read_rows(struct paging *paging, const struct weight *weight, uint64_t first, uint64_t n_rows,
                                   float *out, struct chord_error *err)
{
    const uint64_t fit = ROWS_BYTES / weight->row_bytes + 1;
    enum chord_status status = CHORD_OK;
    uv_mutex_lock(&paging->mutex);
    for (uint64_t done = 0; done < n_rows && status == CHORD_OK;) {
        const uint64_t count = n_rows - done < fit ? n_rows - done : fit;
        const uint8_t *rows;
        status = read_part(paging, weight->tensor->file, weight->tensor->offset + (first + done) * weight->row_bytes,
                           count * weight->row_bytes, &rows, err);
        for (uint64_t r = 0; r < count && status == CHORD_OK; r++, done++)
            weight->type->dequantize_row(rows + r * weight->row_bytes, out + done * weight->n, weight->n);
    }
    uv_mutex_unlock(&paging->mutex);
    return status;
}

// ---- any bytes ---------------------------------------------------------------------------------------------------------

static enum chord_status read_from_file(struct paging *paging, uint32_t file, uint64_t offset, uint64_t n_bytes,
                                        uint8_t *out, struct chord_error *err)
{
    enum chord_status status = CHORD_OK;
    uv_mutex_lock(&paging->mutex);
    for (uint64_t done = 0; done < n_bytes && status == CHORD_OK;) {
        const uint64_t count = n_bytes - done < ROWS_BYTES ? n_bytes - done : ROWS_BYTES;
        const uint8_t *part;
        status = read_part(paging, file, offset + done, count, &part, err);
        if (status == CHORD_OK)
            memcpy(out + done, part, count);
        done += count;
    }
    uv_mutex_unlock(&paging->mutex);
    return status;
}

// The matrix that holds a byte of a file, and how many of n_bytes bytes from there on lie in it; NULL: none holds it, and so many
// lie before the next one.
static const struct weight *matrix_at(const struct paging *paging, const struct weight *items, uint32_t file,
                                      uint64_t offset, uint64_t n_bytes, uint64_t *n_there)
{
    *n_there = n_bytes;
    for (uint64_t i = 0; i < gguf_n_tensors(paging->gguf); i++) {
        const struct gguf_tensor *tensor = items[i].tensor;
        if (tensor->file != file || offset >= tensor->offset + tensor->n_bytes)
            continue;
        if (offset >= tensor->offset) {
            const uint64_t left = tensor->offset + tensor->n_bytes - offset;
            *n_there = n_bytes < left ? n_bytes : left;
            return &items[i];
        }
        const uint64_t before = tensor->offset - offset;
        *n_there = before < *n_there ? before : *n_there;
    }
    return NULL;
}

// Bytes of a matrix of the schedule: from its tiles, as far as they are in memory.
static enum chord_status read_from_tiles(struct paging *paging, const struct weight *weight, uint64_t offset,
                                         uint64_t n_bytes, uint8_t *out, struct chord_error *err)
{
    const struct gguf_tensor *tensor = weight->tensor;
    const uint64_t tile_bytes = weight->tile_rows * weight->row_bytes;
    enum chord_status status = CHORD_OK;
    for (uint64_t done = 0; done < n_bytes && status == CHORD_OK;) {
        const uint64_t at = offset - tensor->offset + done, begin = at % tile_bytes;
        uint64_t count = n_bytes - done < ROWS_BYTES ? n_bytes - done : ROWS_BYTES;
        count = count < tile_bytes - begin ? count : tile_bytes - begin;
        if (!pager_copy(paging->pager, paging_slot(paging, weight, at / tile_bytes), begin, count, out + done))
            status = read_from_file(paging, tensor->file, offset + done, count, out + done, err);
        done += count;
    }
    return status;
}

enum chord_status paging_read_bytes(struct paging *paging, const struct weight *items, uint32_t file, uint64_t offset,
                                    uint64_t n_bytes, void *out, struct chord_error *err)
{
    enum chord_status status = CHORD_OK;
    for (uint64_t done = 0, n_there; done < n_bytes && status == CHORD_OK; done += n_there) {
        uint8_t *to = (uint8_t *)out + done;
        const struct weight *weight = matrix_at(paging, items, file, offset + done, n_bytes - done, &n_there);
        if (weight != NULL && weight->slots_begin < weight->slots_end)
            status = read_from_tiles(paging, weight, offset + done, n_there, to, err);
        else
            status = read_from_file(paging, file, offset + done, n_there, to, err);
    }
    return status;
}
