#include "weights/expert_pager.h"

#include "os/pages.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <string.h>

#define MAX_READERS 16u
// A read that fails is tried once more: disks, and networks behind them, have moments.
#define MOST_TRIES 2

enum tile_state { TILE_ABSENT, TILE_READING, TILE_PRESENT };

// One per tile of every expert. Guarded by the mutex, but for the atomic.
struct tile {
    _Atomic(const uint8_t *) data; // NULL: who acquires it waits
    uint8_t state;
};

struct layer {
    struct expert_layer is;
    uint32_t first_tile[EXPERT_PARTS]; // of an expert's tiles, those of the part
    uint32_t n_tiles;                  // of one expert
    uint64_t tiles_at;                 // in pager.tiles, of expert 0
};

// What a reader is to read: tile `tile` of an expert of the wave.
struct wanted {
    uint32_t expert, tile;
};

struct expert_pager {
    struct memory_account *account;
    const struct os_stream *streams;
    uint32_t n_layers, n_experts, n_model_layers;
    enum expert_cache_policy policy;
    struct layer *layers; // [n_layers]
    struct tile *tiles;
    struct expert_cache *cache;
    struct pager_stats *stats; // [n_model_layers]

    uint8_t *frames; // n_frames * frame_bytes of address space
    uint64_t frame_bytes;
    uint32_t n_frames;
    uint64_t *frame_expert; // [n_frames]: layer * n_experts + expert whose tiles lie there, or NOBODY
    uint32_t *retired;      // [n_frames], the first n_retired count
    uint32_t n_retired;

    uv_mutex_t mutex;
    uv_cond_t work, arrival; // for readers, for those who wait
    bool has_sync, stop, in_wave, clear_wanted, wave_failed;
    uv_thread_t readers[MAX_READERS];
    uint32_t n_readers, n_reading;

    uint32_t layer;       // of the wave
    uint32_t *wave;       // [n_experts], the first n_wave count
    struct wanted *queue; // [n_experts * most tiles]
    uint32_t n_wave, n_queued, n_taken;
    struct chord_error error;
    uint64_t busy_ns, busy_since; // at least one reader reads
};

#define NOBODY UINT64_MAX

// ---- Shapes -------------------------------------------------------------------------------------------------------------

// Memory that holds any tile of the part, wherever it begins between two multiples of STREAM_ALIGNMENT.
static uint64_t place_bytes(const struct expert_part *part)
{
    return (part->tile_bytes + STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT * STREAM_ALIGNMENT + STREAM_ALIGNMENT;
}

static uint64_t expert_bytes(const struct expert_layer *layer)
{
    uint64_t bytes = 0;
    for (uint32_t part = 0; part < EXPERT_PARTS; part++)
        bytes += layer->parts[part].n_tiles * place_bytes(&layer->parts[part]);
    return bytes;
}

static uint32_t tiles_of(const struct expert_layer *layer)
{
    return layer->parts[0].n_tiles + layer->parts[1].n_tiles + layer->parts[2].n_tiles;
}

uint64_t expert_pager_frame_bytes(const struct expert_layer *layers, uint32_t n_layers)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < n_layers; i++)
        most = expert_bytes(&layers[i]) > most ? expert_bytes(&layers[i]) : most;
    return most;
}

static uint64_t count_tiles(const struct expert_layer *layers, uint32_t n_layers, uint32_t n_experts)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < n_layers; i++)
        n += (uint64_t)tiles_of(&layers[i]) * n_experts;
    return n;
}

static uint32_t most_tiles(const struct expert_layer *layers, uint32_t n_layers)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < n_layers; i++)
        most = tiles_of(&layers[i]) > most ? tiles_of(&layers[i]) : most;
    return most;
}

static uint32_t count_frames(const struct expert_layer *layers, uint32_t n_layers, uint32_t n_experts, uint64_t memory)
{
    const uint64_t n = memory / expert_pager_frame_bytes(layers, n_layers), all = (uint64_t)n_layers * n_experts;
    return (uint32_t)(n < all ? n : all);
}

uint64_t expert_pager_metadata_bytes(const struct expert_layer *layers, uint32_t n_layers, uint32_t n_experts)
{
    const uint32_t n_frames = n_layers * n_experts;
    return sizeof(struct expert_pager) + n_layers * sizeof(struct layer) +
           count_tiles(layers, n_layers, n_experts) * sizeof(struct tile) +
           expert_cache_bytes(n_layers, n_experts, n_frames) + n_frames * (sizeof(uint64_t) + sizeof(uint32_t)) +
           n_experts * (sizeof(uint32_t) + most_tiles(layers, n_layers) * sizeof(struct wanted)) +
           (uint64_t)n_layers * sizeof(struct pager_stats);
}

// ---- Creation -----------------------------------------------------------------------------------------------------------

static void reader_main(void *arg);

static bool init_sync(struct expert_pager *pager)
{
    if (uv_mutex_init(&pager->mutex) != 0)
        return false;
    if (uv_cond_init(&pager->work) != 0) {
        uv_mutex_destroy(&pager->mutex);
        return false;
    }
    if (uv_cond_init(&pager->arrival) != 0) {
        uv_cond_destroy(&pager->work);
        uv_mutex_destroy(&pager->mutex);
        return false;
    }
    pager->has_sync = true;
    return true;
}

static enum chord_status start_readers(struct expert_pager *pager, uint32_t n_wanted, struct chord_error *err)
{
    if (!init_sync(pager))
        return chord_fail(err, CHORD_THREAD, "the system has no lock left for the expert cache");
    n_wanted = n_wanted < MAX_READERS ? n_wanted : MAX_READERS;
    for (; pager->n_readers < n_wanted; pager->n_readers++)
        if (uv_thread_create(&pager->readers[pager->n_readers], reader_main, pager) != 0)
            break;
    if (pager->n_readers == 0)
        return chord_fail(err, CHORD_THREAD, "the system starts no thread that reads weights");
    return CHORD_OK;
}

static void describe_layers(struct expert_pager *pager, const struct expert_layer *layers)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < pager->n_layers; i++) {
        struct layer *layer = &pager->layers[i];
        layer->is = layers[i];
        layer->tiles_at = at;
        for (uint32_t part = 0; part < EXPERT_PARTS; part++) {
            layer->first_tile[part] = layer->n_tiles;
            layer->n_tiles += layers[i].parts[part].n_tiles;
        }
        at += (uint64_t)layer->n_tiles * pager->n_experts;
    }
}

static bool allocate_lists(struct expert_pager *pager, const struct expert_layer *layers)
{
    struct memory_account *account = pager->account;
    const uint32_t n_layers = pager->n_layers, n_experts = pager->n_experts;
    pager->layers = memory_zalloc(account, MEMORY_METADATA, n_layers, sizeof *pager->layers);
    pager->tiles =
        memory_zalloc(account, MEMORY_METADATA, count_tiles(layers, n_layers, n_experts), sizeof *pager->tiles);
    pager->stats = memory_zalloc(account, MEMORY_METADATA, pager->n_model_layers, sizeof *pager->stats);
    pager->frame_expert = memory_zalloc(account, MEMORY_METADATA, pager->n_frames, sizeof *pager->frame_expert);
    pager->retired = memory_zalloc(account, MEMORY_METADATA, pager->n_frames, sizeof *pager->retired);
    pager->wave = memory_zalloc(account, MEMORY_METADATA, n_experts, sizeof *pager->wave);
    pager->queue = memory_zalloc(account, MEMORY_METADATA, (uint64_t)n_experts * most_tiles(layers, n_layers),
                                 sizeof *pager->queue);
    if (pager->layers == NULL || pager->tiles == NULL || pager->stats == NULL || pager->frame_expert == NULL ||
        pager->retired == NULL || pager->wave == NULL || pager->queue == NULL)
        return false;
    describe_layers(pager, layers);
    for (uint32_t i = 0; i < pager->n_frames; i++)
        pager->frame_expert[i] = NOBODY;
    return true;
}

static uint64_t frames_held(const struct expert_pager *pager)
{
    return (pager->n_frames - pager->n_retired) * pager->frame_bytes;
}

static bool allocate_frames(struct expert_pager *pager)
{
    if (!memory_reserve(pager->account, MEMORY_WEIGHTS, frames_held(pager)))
        return false;
    pager->frames = os_pages_reserve(frames_held(pager));
    if (pager->frames == NULL)
        memory_unreserve(pager->account, MEMORY_WEIGHTS, frames_held(pager));
    return pager->frames != NULL;
}

enum chord_status expert_pager_create(struct expert_pager **out, const struct expert_layer *layers,
                                      const struct os_stream *streams, const struct expert_pager_options *options,
                                      struct memory_account *account, struct chord_error *err)
{
    struct expert_pager *pager = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *pager);
    if (pager == NULL)
        return memory_account_fail(account, err, sizeof *pager, "the expert cache");
    pager->account = account;
    pager->streams = streams;
    pager->policy = options->policy;
    pager->n_layers = options->n_layers;
    pager->n_experts = options->n_experts;
    pager->n_model_layers = options->n_model_layers;
    pager->frame_bytes = expert_pager_frame_bytes(layers, options->n_layers);
    pager->n_frames = count_frames(layers, options->n_layers, options->n_experts, options->memory);
    enum chord_status status = CHORD_OK;
    if (!allocate_lists(pager, layers))
        status = memory_account_fail(account, err, pager->n_frames * sizeof(uint64_t), "the list of experts");
    if (status == CHORD_OK)
        status = expert_cache_create(&pager->cache, pager->n_layers, pager->n_experts, pager->n_frames, options->policy,
                                     account, err);
    if (status == CHORD_OK && !allocate_frames(pager))
        status = memory_account_fail(account, err, frames_held(pager), "experts in memory");
    if (status == CHORD_OK)
        status = start_readers(pager, options->n_readers, err);
    if (status != CHORD_OK) {
        expert_pager_free(pager);
        return status;
    }
    *out = pager;
    return CHORD_OK;
}

void expert_pager_free(struct expert_pager *pager)
{
    if (pager == NULL)
        return;
    if (pager->has_sync) {
        uv_mutex_lock(&pager->mutex);
        pager->stop = true;
        uv_cond_broadcast(&pager->work);
        uv_mutex_unlock(&pager->mutex);
        for (uint32_t i = 0; i < pager->n_readers; i++)
            uv_thread_join(&pager->readers[i]);
        uv_cond_destroy(&pager->arrival);
        uv_cond_destroy(&pager->work);
        uv_mutex_destroy(&pager->mutex);
    }
    if (pager->frames != NULL)
        memory_unreserve(pager->account, MEMORY_WEIGHTS, frames_held(pager));
    os_pages_free(pager->frames, pager->n_frames * pager->frame_bytes);
    expert_cache_free(pager->cache);
    memory_free(pager->account, pager->queue);
    memory_free(pager->account, pager->wave);
    memory_free(pager->account, pager->retired);
    memory_free(pager->account, pager->frame_expert);
    memory_free(pager->account, pager->stats);
    memory_free(pager->account, pager->tiles);
    memory_free(pager->account, pager->layers);
    memory_free(pager->account, pager);
}

// ---- Tiles --------------------------------------------------------------------------------------------------------------
// With the mutex held, what follows.

static struct tile *tiles_at(const struct expert_pager *pager, uint32_t layer, uint32_t expert)
{
    const struct layer *l = &pager->layers[layer];
    return pager->tiles + l->tiles_at + (uint64_t)expert * l->n_tiles;
}

static struct pager_stats *stats_of(struct expert_pager *pager, uint32_t layer)
{
    return &pager->stats[pager->layers[layer].is.layer];
}

// Where tile `tile` of an expert stands in the file, and in its frame.
struct tile_place {
    const struct expert_part *part;
    uint64_t file_at, frame_at;
};

static struct tile_place place_of(const struct expert_pager *pager, uint32_t layer, uint32_t expert, uint32_t tile)
{
    const struct layer *l = &pager->layers[layer];
    struct tile_place place = {0};
    uint32_t part = 0;
    while (part + 1 < EXPERT_PARTS && tile >= l->first_tile[part + 1])
        place.frame_at += l->is.parts[part].n_tiles * place_bytes(&l->is.parts[part]), part++;
    const uint32_t in_part = tile - l->first_tile[part];
    place.part = &l->is.parts[part];
    place.frame_at += in_part * place_bytes(place.part);
    place.file_at = place.part->offset + ((uint64_t)expert * place.part->n_tiles + in_part) * place.part->tile_bytes;
    return place;
}

static void forget(struct expert_pager *pager, uint64_t who)
{
    const uint32_t layer = (uint32_t)(who / pager->n_experts);
    struct tile *tiles = tiles_at(pager, layer, (uint32_t)(who % pager->n_experts));
    for (uint32_t i = 0; i < pager->layers[layer].n_tiles; i++) {
        atomic_store_explicit(&tiles[i].data, NULL, memory_order_relaxed);
        tiles[i].state = TILE_ABSENT;
    }
}

static bool is_complete(const struct expert_pager *pager, uint32_t layer, uint32_t expert)
{
    const struct tile *tiles = tiles_at(pager, layer, expert);
    for (uint32_t i = 0; i < pager->layers[layer].n_tiles; i++)
        if (tiles[i].state != TILE_PRESENT)
            return false;
    return true;
}

// ---- Waves --------------------------------------------------------------------------------------------------------------

void expert_pager_begin_layer(struct expert_pager *pager, uint32_t layer)
{
    uv_mutex_lock(&pager->mutex);
    pager->layer = layer;
    expert_cache_begin_layer(pager->cache, layer);
    uv_mutex_unlock(&pager->mutex);
}

// Moves the experts that are in memory to the front; both kinds stay in their order. pager->wave serves as working space.
static void put_present_first(struct expert_pager *pager, uint32_t *experts, uint32_t n)
{
    uint32_t n_present = 0, n_absent = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (is_complete(pager, pager->layer, experts[i]))
            experts[n_present++] = experts[i];
        else
            pager->wave[n_absent++] = experts[i];
    }
    memcpy(experts + n_present, pager->wave, n_absent * sizeof *experts);
}

// Holds a frame for the expert. False: there is none.
static bool hold(struct expert_pager *pager, uint32_t expert, bool is_prompt)
{
    uint32_t frame;
    if (is_prompt ? expert_cache_pass(pager->cache, pager->layer, expert, &frame)
                  : expert_cache_use(pager->cache, pager->layer, expert, &frame))
        return true;
    if (frame == EXPERT_CACHE_NONE)
        return false;
    if (pager->frame_expert[frame] != NOBODY) {
        forget(pager, pager->frame_expert[frame]);
        stats_of(pager, pager->layer)->evictions++;
    }
    pager->frame_expert[frame] = (uint64_t)pager->layer * pager->n_experts + expert;
    return true;
}

static void count_uses(struct expert_pager *pager, uint32_t expert)
{
    const struct tile *tiles = tiles_at(pager, pager->layer, expert);
    struct pager_stats *stats = stats_of(pager, pager->layer);
    for (uint32_t i = 0; i < pager->layers[pager->layer].n_tiles; i++) {
        const uint64_t bytes = place_of(pager, pager->layer, expert, i).part->tile_bytes;
        const bool is_hit = tiles[i].state == TILE_PRESENT;
        stats->hits += is_hit;
        stats->misses += !is_hit;
        stats->hit_bytes += is_hit ? bytes : 0;
        stats->miss_bytes += is_hit ? 0 : bytes;
    }
}

static void want(struct expert_pager *pager, uint32_t expert, uint32_t tile)
{
    if (tiles_at(pager, pager->layer, expert)[tile].state == TILE_ABSENT)
        pager->queue[pager->n_queued++] = (struct wanted){expert, tile};
}

// Gate and up are used together, row by row, and down after those of all experts.
static void queue_reads(struct expert_pager *pager)
{
    const struct layer *layer = &pager->layers[pager->layer];
    const uint32_t n_gate = layer->is.parts[0].n_tiles, n_up = layer->is.parts[1].n_tiles;
    pager->n_queued = pager->n_taken = 0;
    for (uint32_t i = 0; i < pager->n_wave; i++)
        for (uint32_t t = 0; t < n_gate || t < n_up; t++) {
            if (t < n_gate)
                want(pager, pager->wave[i], t);
            if (t < n_up)
                want(pager, pager->wave[i], n_gate + t);
        }
    for (uint32_t i = 0; i < pager->n_wave; i++)
        for (uint32_t t = n_gate + n_up; t < layer->n_tiles; t++)
            want(pager, pager->wave[i], t);
}

uint32_t expert_pager_begin_wave(struct expert_pager *pager, uint32_t *experts, uint32_t n, bool is_prompt)
{
    uv_mutex_lock(&pager->mutex);
    pager->in_wave = true;
    pager->wave_failed = false;
    put_present_first(pager, experts, n);
    for (pager->n_wave = 0; pager->n_wave < n && hold(pager, experts[pager->n_wave], is_prompt); pager->n_wave++) {
        pager->wave[pager->n_wave] = experts[pager->n_wave];
        count_uses(pager, experts[pager->n_wave]);
    }
    queue_reads(pager);
    const uint32_t n_wave = pager->n_wave;
    uv_cond_broadcast(&pager->work);
    uv_mutex_unlock(&pager->mutex);
    return n_wave;
}

enum chord_status expert_pager_acquire(struct expert_pager *pager, uint32_t expert, uint32_t part, uint32_t tile,
                                       const void **bytes, struct chord_error *err)
{
    const struct layer *layer = &pager->layers[pager->layer];
    struct tile *of = &tiles_at(pager, pager->layer, expert)[layer->first_tile[part] + tile];
    enum chord_status status = CHORD_OK;
    *bytes = atomic_load_explicit(&of->data, memory_order_acquire);
    if (*bytes != NULL)
        return CHORD_OK;
    const uint64_t begin = os_now_ns();
    uv_mutex_lock(&pager->mutex);
    while ((*bytes = atomic_load_explicit(&of->data, memory_order_acquire)) == NULL && !pager->wave_failed)
        uv_cond_wait(&pager->arrival, &pager->mutex);
    stats_of(pager, pager->layer)->stall_ns += os_now_ns() - begin;
    if (*bytes == NULL) {
        status = pager->error.code;
        if (err != NULL)
            *err = pager->error;
    }
    uv_mutex_unlock(&pager->mutex);
    return status;
}

bool expert_pager_copy(struct expert_pager *pager, uint32_t layer, uint32_t expert, uint32_t part, uint32_t tile,
                       uint64_t begin, uint64_t n_bytes, void *out)
{
    uv_mutex_lock(&pager->mutex); // nothing is evicted meanwhile
    const struct tile *of = &tiles_at(pager, layer, expert)[pager->layers[layer].first_tile[part] + tile];
    const uint8_t *bytes = atomic_load_explicit(&of->data, memory_order_acquire);
    if (bytes != NULL)
        memcpy(out, bytes + begin, n_bytes);
    uv_mutex_unlock(&pager->mutex);
    return bytes != NULL;
}

static void clear(struct expert_pager *pager)
{
    for (uint32_t frame = 0; frame < pager->n_frames; frame++) {
        const uint64_t who = pager->frame_expert[frame];
        if (who == NOBODY)
            continue;
        forget(pager, who);
        expert_cache_drop(pager->cache, (uint32_t)(who / pager->n_experts), (uint32_t)(who % pager->n_experts));
        pager->frame_expert[frame] = NOBODY;
        os_pages_discard(pager->frames + frame * pager->frame_bytes, pager->frame_bytes);
    }
    pager->clear_wanted = false;
}

void expert_pager_end_wave(struct expert_pager *pager)
{
    uv_mutex_lock(&pager->mutex);
    pager->n_queued = pager->n_taken = 0;
    while (pager->n_reading > 0) // into frames of this wave: only after a failure
        uv_cond_wait(&pager->arrival, &pager->mutex);
    for (uint32_t i = 0; i < pager->n_wave; i++)
        expert_cache_release(pager->cache, pager->layer, pager->wave[i]);
    pager->n_wave = 0;
    pager->in_wave = false;
    if (pager->clear_wanted)
        clear(pager);
    uv_mutex_unlock(&pager->mutex);
}

// ---- Readers ------------------------------------------------------------------------------------------------------------

// With the mutex held, which it lets go while it reads.
static void read_tile(struct expert_pager *pager, struct wanted wanted)
{
    const uint32_t layer = pager->layer, frame = expert_cache_find(pager->cache, layer, wanted.expert);
    const struct tile_place place = place_of(pager, layer, wanted.expert, wanted.tile);
    struct tile *tile = &tiles_at(pager, layer, wanted.expert)[wanted.tile];
    const uint64_t slack = place.file_at % STREAM_ALIGNMENT;
    const uint64_t bytes =
        (slack + place.part->tile_bytes + STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT * STREAM_ALIGNMENT;
    uint8_t *memory = pager->frames + frame * pager->frame_bytes + place.frame_at;
    const struct os_stream *stream = &pager->streams[place.part->file];
    struct chord_error error;
    enum chord_status status;
    int n_tries = 0;
    tile->state = TILE_READING;
    if (pager->n_reading++ == 0)
        pager->busy_since = os_now_ns();
    do {
        uv_mutex_unlock(&pager->mutex);
        status = os_stream_read(stream, place.file_at - slack, memory, bytes, &error);
        uv_mutex_lock(&pager->mutex);
    } while (status != CHORD_OK && ++n_tries < MOST_TRIES && !pager->stop && !pager->wave_failed);
    if (--pager->n_reading == 0)
        pager->busy_ns += os_now_ns() - pager->busy_since;
    if (status == CHORD_OK) {
        stats_of(pager, layer)->read_bytes += bytes;
        tile->state = TILE_PRESENT;
        atomic_store_explicit(&tile->data, memory + slack, memory_order_release);
    } else {
        tile->state = TILE_ABSENT;
        if (!pager->wave_failed)
            pager->error = error;
        pager->wave_failed = true;
        pager->n_taken = pager->n_queued; // nobody waits for the others
    }
    uv_cond_broadcast(&pager->arrival);
}

static void reader_main(void *arg)
{
    struct expert_pager *pager = arg;
    uv_mutex_lock(&pager->mutex);
    while (!pager->stop) {
        if (pager->n_taken < pager->n_queued)
            read_tile(pager, pager->queue[pager->n_taken++]);
        else
            uv_cond_wait(&pager->work, &pager->mutex);
    }
    uv_mutex_unlock(&pager->mutex);
}

// ---- Memory -------------------------------------------------------------------------------------------------------------

uint64_t expert_pager_shrink(struct expert_pager *pager, uint64_t n_bytes)
{
    uint64_t freed = 0;
    uv_mutex_lock(&pager->mutex);
    while (freed < n_bytes && pager->n_frames > pager->n_retired + EXPERT_PAGER_LEAST_FRAMES) {
        const uint32_t frame = expert_cache_retire(pager->cache);
        if (frame == EXPERT_CACHE_NONE)
            break;
        if (pager->frame_expert[frame] != NOBODY)
            forget(pager, pager->frame_expert[frame]);
        pager->frame_expert[frame] = NOBODY;
        os_pages_discard(pager->frames + frame * pager->frame_bytes, pager->frame_bytes);
        pager->retired[pager->n_retired++] = frame;
        freed += pager->frame_bytes;
    }
    memory_unreserve(pager->account, MEMORY_WEIGHTS, freed);
    uv_mutex_unlock(&pager->mutex);
    return freed;
}

uint64_t expert_pager_grow(struct expert_pager *pager, uint64_t n_bytes)
{
    uint64_t taken = 0;
    uv_mutex_lock(&pager->mutex);
    while (pager->n_retired > 0 && taken + pager->frame_bytes <= n_bytes &&
           memory_reserve_spare(pager->account, MEMORY_WEIGHTS, pager->frame_bytes)) {
        expert_cache_restore(pager->cache, pager->retired[--pager->n_retired]);
        taken += pager->frame_bytes;
    }
    uv_mutex_unlock(&pager->mutex);
    return taken;
}

void expert_pager_clear(struct expert_pager *pager)
{
    uv_mutex_lock(&pager->mutex);
    if (pager->in_wave)
        pager->clear_wanted = true;
    else
        clear(pager);
    uv_mutex_unlock(&pager->mutex);
}

// ---- Figures ------------------------------------------------------------------------------------------------------------

static void add(struct pager_stats *sum, const struct pager_stats *stats)
{
    sum->hits += stats->hits;
    sum->misses += stats->misses;
    sum->hit_bytes += stats->hit_bytes;
    sum->miss_bytes += stats->miss_bytes;
    sum->evictions += stats->evictions;
    sum->read_bytes += stats->read_bytes;
    sum->stall_ns += stats->stall_ns;
}

void expert_pager_add_layer(struct expert_pager *pager, uint32_t model_layer, struct pager_stats *sum)
{
    uv_mutex_lock(&pager->mutex);
    add(sum, &pager->stats[model_layer]);
    uv_mutex_unlock(&pager->mutex);
}

void expert_pager_add_totals(struct expert_pager *pager, struct pager_totals *sum)
{
    uv_mutex_lock(&pager->mutex);
    for (uint32_t i = 0; i < pager->n_model_layers; i++)
        add(&sum->all, &pager->stats[i]);
    sum->busy_ns += pager->busy_ns + (pager->n_reading > 0 ? os_now_ns() - pager->busy_since : 0);
    uv_mutex_unlock(&pager->mutex);
}

enum expert_cache_policy expert_pager_policy(const struct expert_pager *pager)
{
    return pager->policy;
}

uint64_t expert_pager_memory(struct expert_pager *pager)
{
    uv_mutex_lock(&pager->mutex);
    const uint64_t bytes = frames_held(pager);
    uv_mutex_unlock(&pager->mutex);
    return bytes;
}

// Tiles of an expert without a frame are absent; those present have their data.
static bool tiles_sane(const struct expert_pager *pager, uint32_t layer, uint32_t expert)
{
    const struct tile *tiles = tiles_at(pager, layer, expert);
    const uint32_t frame = expert_cache_find(pager->cache, layer, expert);
    if (frame != EXPERT_CACHE_NONE && pager->frame_expert[frame] != (uint64_t)layer * pager->n_experts + expert)
        return false;
    for (uint32_t i = 0; i < pager->layers[layer].n_tiles; i++) {
        const bool has_data = atomic_load_explicit(&tiles[i].data, memory_order_relaxed) != NULL;
        if (has_data != (tiles[i].state == TILE_PRESENT) ||
            (frame == EXPERT_CACHE_NONE && tiles[i].state != TILE_ABSENT))
            return false;
    }
    return true;
}

bool expert_pager_sane(struct expert_pager *pager)
{
    uv_mutex_lock(&pager->mutex);
    bool sane =
        expert_cache_sane(pager->cache) && frames_held(pager) <= atomic_load(&pager->account->held[MEMORY_WEIGHTS]);
    for (uint32_t layer = 0; layer < pager->n_layers; layer++)
        for (uint32_t expert = 0; expert < pager->n_experts; expert++)
            sane = sane && tiles_sane(pager, layer, expert);
    uv_mutex_unlock(&pager->mutex);
    return sane;
}
