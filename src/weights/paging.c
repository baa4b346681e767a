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
    struct expert_pager *experts; // NULL: a dense model
    uint32_t *slots;              // of the tiles of all matrices of the schedule, by weight.slots_at + tile

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
        status = os_stream_open_faster(&paging->streams[i], &file->os, file->path, err);
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
    if (paging->account->reclaim_user == paging)
        paging->account->reclaim = NULL;
    expert_pager_free(paging->experts);
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

struct expert_pager *paging_experts(const struct paging *paging)
{
    return paging->experts;
}

uint64_t paging_shrink(struct paging *paging, uint64_t n_bytes)
{
    const uint64_t freed = paging->experts != NULL ? expert_pager_shrink(paging->experts, n_bytes) : 0;
    return freed < n_bytes ? freed + pager_shrink(paging->pager, n_bytes - freed) : freed;
}

uint64_t paging_grow(struct paging *paging, uint64_t n_bytes)
{
    const uint64_t taken = pager_grow(paging->pager, n_bytes);
    return paging->experts != NULL ? taken + expert_pager_grow(paging->experts, n_bytes - taken) : taken;
}

static void reclaim(void *user, uint64_t n_bytes)
{
    paging_shrink(user, n_bytes);
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

// ---- memory ----------------------------------------------------------------------------------------------------------

static uint64_t span_bytes_of(const struct pager_tile *tiles, uint32_t n_tiles)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n_tiles; i++)
        bytes += (tiles[i].offset % STREAM_ALIGNMENT + tiles[i].n_bytes + STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT *
                 STREAM_ALIGNMENT;
    return bytes;
}

static void describe_experts(const struct weights_experts *experts, uint32_t n_layers, struct expert_layer *out)
{
    for (uint32_t i = 0; i < n_layers; i++) {
        out[i] = (struct expert_layer){.layer = experts[i].layer};
        for (uint32_t part = 0; part < EXPERT_PARTS; part++) {
            const struct weight *weight = experts[i].weight[part];
            out[i].parts[part] = (struct expert_part){
                .offset = weight->tensor->offset,
                .tile_bytes = (uint32_t)(weight->tile_rows * weight->row_bytes),
                .n_tiles = (uint32_t)(weight->n_tiles / experts[i].n_experts),
                .file = weight->tensor->file,
            };
        }
    }
}

// How memory is shared out: what every step uses comes first, then experts.
struct shares {
    uint64_t dense, ring; // ring: of dense
    uint64_t experts;     // frames
    uint64_t least;       // that would do, of all
};

static struct shares share_out(const struct schedule *schedule, const struct expert_layer *layers, uint32_t n_layers,
                               uint64_t memory, uint32_t n_threads)
{
    const uint64_t least_ring = pager_frame_bytes(schedule->tiles, schedule->n_tiles) * PAGER_LEAST_FRAMES;
    struct shares shares = {.dense = memory, .least = least_ring};
    if (n_layers != 0) {
        const uint64_t least_experts = expert_pager_frame_bytes(layers, n_layers) * EXPERT_PAGER_LEAST_FRAMES;
        const uint64_t all_dense = span_bytes_of(schedule->tiles, schedule->n_tiles) + least_ring;
        shares.least += least_experts;
        const uint64_t left = memory > least_experts ? memory - least_experts : 0;
        shares.dense = left < all_dense ? left : all_dense;
        shares.experts = least_experts + left - shares.dense;
        if (shares.dense == all_dense) {
            shares.ring = least_ring;
            return shares;
        }
    }
    shares.ring = choose_ring(schedule->tiles, schedule->n_tiles, shares.dense, n_threads);
    return shares;
}

static enum expert_cache_policy expert_policy(enum weights_policy policy)
{
    return policy == WEIGHTS_LRU ? EXPERT_CACHE_LRU : EXPERT_CACHE_PREDICTED;
}

static enum chord_status create_experts(struct paging *paging, const struct expert_layer *layers,
                                        const struct weights_paging *options, uint64_t memory, struct chord_error *err)
{
    const struct expert_pager_options pager = {
        .policy = expert_policy(options->policy),
        .n_layers = options->n_expert_layers,
        .n_experts = options->experts[0].n_experts,
        .n_model_layers = options->n_layers,
        .memory = memory,
        .n_readers = PAGER_READERS_PER_FILE * paging->n_files,
    };
    const enum chord_status status =
        expert_pager_create(&paging->experts, layers, paging->streams, &pager, paging->account, err);
    if (status == CHORD_OK) { // in place of the other pager alone
        paging->account->reclaim = reclaim;
        paging->account->reclaim_user = paging;
    }
    return status;
}

static enum chord_status create_pagers(struct paging *paging, const struct schedule *schedule,
                                       const struct expert_layer *layers, const struct weights_paging *options,
                                       struct chord_error *err)
{
    struct memory_account *account = paging->account;
    const uint32_t n_layers = options->n_expert_layers;
    const uint64_t metadata =
        n_layers != 0 ? expert_pager_metadata_bytes(layers, n_layers, options->experts[0].n_experts) : 0;
    const uint64_t held = atomic_load(&account->total) + options->spare + metadata;
    const uint64_t left = account->ceiling > held ? account->ceiling - held : 0;
    const uint64_t in_region = memory_left(account, MEMORY_WEIGHTS);
    const uint64_t memory = left < in_region ? left : in_region;
    const struct shares shares = share_out(schedule, layers, n_layers, memory, options->n_threads);
    const struct pager_options pager = {
        // With experts the choice is about them: what every step uses stays.
        .policy = options->policy == WEIGHTS_LRU && n_layers == 0 ? PAGER_LRU : PAGER_PIN,
        .memory = shares.dense,
        .ring_bytes = shares.ring,
        .n_readers = PAGER_READERS_PER_FILE,
        .n_layers = options->n_layers,
    };
    if (shares.least > memory || shares.ring > shares.dense)
        return chord_fail(err, CHORD_MEMORY_BUDGET, "paging needs %.1f MiB for tiles in flight and has %.1f MiB",
                          (double)shares.least / 0x1p20, (double)memory / 0x1p20);
    enum chord_status status = pager_create(&paging->pager, schedule->tiles, schedule->n_tiles, paging->streams,
                                            paging->n_files, &pager, account, err);
    if (status == CHORD_OK && n_layers != 0)
        status = create_experts(paging, layers, options, shares.experts, err);
    return status;
}

// The matrices of experts learn which they are.
static void number_parts(struct weight *items, const struct weights_paging *options)
{
    for (uint32_t i = 0; i < options->n_expert_layers; i++)
        for (uint32_t part = 0; part < EXPERT_PARTS; part++)
            items[options->experts[i].weight[part] - items].expert_part = i * EXPERT_PARTS + part;
}

enum chord_status paging_start(struct paging *paging, struct weight *items, const struct weights_use *uses,
                               uint32_t n_uses, const struct weights_paging *options, struct chord_error *err)
{
    struct memory_account *account = paging->account;
    const uint64_t n_tiles = count_tiles(uses, n_uses);
    struct schedule schedule = {0};
    struct expert_layer *layers = memory_zalloc(account, MEMORY_METADATA, options->n_expert_layers, sizeof *layers);
    enum chord_status status = CHORD_OK;
    schedule.tiles = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *schedule.tiles);
    paging->slots = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *paging->slots);
    schedule.slots = paging->slots;
    if (schedule.tiles == NULL || schedule.slots == NULL || (layers == NULL && options->n_expert_layers != 0)) {
        status = memory_account_fail(account, err, n_tiles * sizeof *schedule.tiles, "the list of tiles");
    } else {
        fill_schedule(&schedule, items, uses, n_uses);
        describe_experts(options->experts, options->n_expert_layers, layers);
        status = create_pagers(paging, &schedule, layers, options, err);
    }
    if (status == CHORD_OK)
        number_parts(items, options);
    memory_free(account, layers);
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

// share: of all experts, the frames.
static void plan_expert_layers(const struct weights_experts *experts, uint32_t n_layers, double share,
                               struct weights_layer_plan *layers, struct weights_paging_plan *out)
{
    for (uint32_t i = 0; i < n_layers; i++) {
        uint64_t bytes = 0, n_tiles = 0;
        for (uint32_t part = 0; part < EXPERT_PARTS; part++) {
            const struct weight *weight = experts[i].weight[part];
            const uint64_t tile_bytes = weight->tile_rows * weight->row_bytes;
            bytes += weight->tensor->n_bytes;
            n_tiles += weight->n_tiles / experts[i].n_experts;
            out->expert_tile_bytes = tile_bytes > out->expert_tile_bytes ? tile_bytes : out->expert_tile_bytes;
        }
        const uint64_t of_step = bytes / experts[i].n_experts * experts[i].n_used;
        const double absent = (double)experts[i].n_used * (1 - out->expert_hit_share);
        out->expert_step_bytes += of_step;
        out->pinned_bytes += (uint64_t)((double)of_step * out->expert_hit_share);
        out->expert_reads_per_wave += absent * (double)n_tiles / n_layers;
        if (layers != NULL) {
            layers[experts[i].layer].n_bytes += bytes;
            layers[experts[i].layer].pinned_bytes += (uint64_t)((double)bytes * share);
        }
    }
    out->step_bytes += out->expert_step_bytes;
}

static enum chord_status plan_experts(const struct weights_experts *experts, uint32_t n_layers, uint64_t n_frames,
                                      const struct expert_routes *routes, enum weights_policy policy,
                                      struct weights_layer_plan *layers, struct weights_paging_plan *out,
                                      struct memory_account *account, struct chord_error *err)
{
    const uint64_t n_all = (uint64_t)experts[0].n_experts * n_layers;
    const struct expert_shape shape = {
        .n_layers = n_layers,
        .n_experts = experts[0].n_experts,
        .n_used = experts[0].n_used,
        .n_frames = (uint32_t)(n_frames < n_all ? n_frames : n_all),
        .policy = expert_policy(policy),
    };
    const double share = (double)shape.n_frames / (double)n_all;
    enum chord_status status = CHORD_OK;
    out->expert_hit_share = share;
    if (routes != NULL && shape.n_frames != 0 && shape.n_frames < n_all)
        status = expert_routes_hit_share(routes, &shape, &out->expert_hit_share, account, err);
    if (status == CHORD_OK)
        plan_expert_layers(experts, n_layers, share, layers, out);
    return status;
}

static void plan_tiles(const struct schedule *schedule, const struct shares *shares, bool *is_pinned,
                       struct weights_layer_plan *layers, struct weights_paging_plan *out)
{
    for (uint32_t i = 0; i < schedule->n_tiles; i++)
        out->step_bytes += schedule->tiles[i].n_bytes;
    const uint64_t for_pins = shares->dense > shares->ring ? shares->dense - shares->ring : 0;
    pager_choose_pins(schedule->tiles, schedule->n_tiles, for_pins, is_pinned);
    for (uint32_t i = 0; i < schedule->n_tiles; i++) {
        const uint64_t bytes = is_pinned[i] ? schedule->tiles[i].n_bytes : 0;
        out->pinned_bytes += bytes;
        if (layers != NULL)
            layers[schedule->tiles[i].layer].pinned_bytes += bytes;
    }
}

enum chord_status weights_plan_paging(const struct weights_use *uses, uint32_t n_uses, uint64_t memory,
                                      const struct weights_experts *experts, uint32_t n_expert_layers,
                                      const struct expert_routes *routes, enum weights_policy policy,
                                      uint32_t n_threads, struct weights_layer_plan *layers,
                                      struct weights_paging_plan *out, struct memory_account *account,
                                      struct chord_error *err)
{
    const uint64_t n_tiles = count_tiles(uses, n_uses);
    struct schedule schedule = {.tiles = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *schedule.tiles)};
    bool *is_pinned = memory_zalloc(account, MEMORY_METADATA, n_tiles, sizeof *is_pinned);
    struct expert_layer *shapes = memory_zalloc(account, MEMORY_METADATA, n_expert_layers, sizeof *shapes);
    enum chord_status status = CHORD_OK;
    if (schedule.tiles == NULL || is_pinned == NULL || (shapes == NULL && n_expert_layers != 0)) {
        status = memory_account_fail(account, err, n_tiles * sizeof *schedule.tiles, "the list of tiles");
    } else {
        for (uint32_t i = 0; i < n_uses; i++)
            list_use(&schedule, &uses[i]);
        describe_experts(experts, n_expert_layers, shapes);
        const struct shares shares = share_out(&schedule, shapes, n_expert_layers, memory, n_threads);
        *out = (struct weights_paging_plan){
            .ring_bytes = shares.ring,
            .least_bytes = shares.least,
            .n_tiles = n_tiles,
            .metadata_bytes =
                n_tiles * (sizeof(uint32_t) + pager_bytes_per_tile()) + rows_buffer_bytes(widest_row(uses, n_uses)),
        };
        if (layers != NULL)
            describe_layers(uses, n_uses, layers);
        plan_tiles(&schedule, &shares, is_pinned, layers, out);
        if (n_expert_layers != 0) {
            const uint64_t frame_bytes = expert_pager_frame_bytes(shapes, n_expert_layers);
            out->metadata_bytes += expert_pager_metadata_bytes(shapes, n_expert_layers, experts[0].n_experts);
            out->expert_frame_bytes = shares.experts / frame_bytes * frame_bytes;
            status = plan_experts(experts, n_expert_layers, shares.experts / frame_bytes, routes, policy, layers, out,
                                  account, err);
        }
    }
    memory_free(account, shapes);
    memory_free(account, is_pinned);
    memory_free(account, schedule.tiles);
    return status;
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

static bool is_paged(const struct weight *weight)
{
    return weight->slots_begin < weight->slots_end || weight->expert_part != UINT32_MAX;
}

// Copies bytes of a tile of a matrix that is paged, when the tile is in memory.
static bool copy_from_tile(struct paging *paging, const struct weight *weight, uint64_t tile, uint64_t begin,
                           uint64_t n_bytes, void *out)
{
    if (weight->expert_part == UINT32_MAX)
        return pager_copy(paging->pager, paging_slot(paging, weight, tile), begin, n_bytes, out);
    const uint32_t n_tiles = (uint32_t)(weight->tensor->ne[1] / weight->tile_rows);
    return expert_pager_copy(paging->experts, weight->expert_part / EXPERT_PARTS, (uint32_t)(tile / n_tiles),
                             weight->expert_part % EXPERT_PARTS, (uint32_t)(tile % n_tiles), begin, n_bytes, out);
}

// Rows first .. first + n_rows - 1, of one tile and no more than fit, into paging->rows. With the mutex held.
static enum chord_status read_rows(struct paging *paging, const struct weight *weight, uint64_t first, uint64_t n_rows,
                                   const uint8_t **out, struct chord_error *err)
{
    const uint64_t begin = first % weight->tile_rows * weight->row_bytes, n_bytes = n_rows * weight->row_bytes;
    *out = paging->rows;
    if (is_paged(weight) && copy_from_tile(paging, weight, first / weight->tile_rows, begin, n_bytes, paging->rows))
        return CHORD_OK;
    return read_part(paging, weight->tensor->file, weight->tensor->offset + first * weight->row_bytes, n_bytes, out,
                     err);
}

enum chord_status paging_read_rows(struct paging *paging, const struct weight *weight, uint64_t first, uint64_t n_rows,
                                   float *out, struct chord_error *err)
{
    const uint64_t fit = ROWS_BYTES / weight->row_bytes + 1;
    enum chord_status status = CHORD_OK;
    uv_mutex_lock(&paging->mutex);
    for (uint64_t done = 0; done < n_rows && status == CHORD_OK;) {
        const uint64_t in_tile = weight->tile_rows - (first + done) % weight->tile_rows;
        uint64_t count = n_rows - done < fit ? n_rows - done : fit;
        const uint8_t *rows;
        count = count < in_tile ? count : in_tile;
        status = read_rows(paging, weight, first + done, count, &rows, err);
        for (uint64_t r = 0; r < count && status == CHORD_OK; r++, done++)
            weight_dequantize_row(weight, first + done, rows + r * weight->row_bytes, out + done * weight->n);
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

// The matrix in whose rows a byte of a file lies, and how many of n_bytes bytes from there on lie in it; NULL: none, and so many lie
// before the next one.
static const struct weight *matrix_at(const struct paging *paging, const struct weight *items, uint32_t file,
                                      uint64_t offset, uint64_t n_bytes, uint64_t *n_there)
{
    *n_there = n_bytes;
    for (uint64_t i = 0; i < gguf_n_tensors(paging->gguf); i++) {
        const struct gguf_tensor *tensor = items[i].tensor;
        const uint64_t end = tensor->offset + items[i].n_rows * items[i].row_bytes;
        if (tensor->file != file || offset >= end)
            continue;
        if (offset >= tensor->offset) {
            const uint64_t left = end - offset;
            *n_there = n_bytes < left ? n_bytes : left;
            return &items[i];
        }
        const uint64_t before = tensor->offset - offset;
        *n_there = before < *n_there ? before : *n_there;
    }
    return NULL;
}

// Bytes of a matrix that is paged: from its tiles, as far as they are in memory.
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
        if (!copy_from_tile(paging, weight, at / tile_bytes, begin, count, out + done))
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
        if (weight != NULL && is_paged(weight))
            status = read_from_tiles(paging, weight, offset + done, n_there, to, err);
        else
            status = read_from_file(paging, file, offset + done, n_there, to, err);
    }
    return status;
}
