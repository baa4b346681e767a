#include "weights/pager.h"

#include "weights/pager_state.h"

#include <string.h>

// ---- creation --------------------------------------------------------------------------------------------------------

static bool init_sync(struct pager *pager)
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

static bool allocate_lists(struct pager *pager, const struct pager_tile *tiles)
{
    struct memory_account *account = pager->account;
    pager->tiles = memory_zalloc(account, MEMORY_METADATA, pager->n_tiles, sizeof *pager->tiles);
    pager->slots = memory_zalloc(account, MEMORY_METADATA, pager->n_tiles, sizeof *pager->slots);
    pager->pin_order = memory_zalloc(account, MEMORY_METADATA, pager->n_tiles, sizeof *pager->pin_order);
    pager->layers = memory_zalloc(account, MEMORY_METADATA, pager->n_layers, sizeof *pager->layers);
    if (pager->tiles == NULL || pager->slots == NULL || pager->pin_order == NULL || pager->layers == NULL)
        return false;
    memcpy(pager->tiles, tiles, pager->n_tiles * sizeof *tiles);
    for (uint32_t i = 0; i < pager->n_tiles; i++)
        pager->slots[i].frame = NO_FRAME;
    return true;
}

static enum chord_status start_readers(struct pager *pager, uint32_t n_wanted, struct chord_error *err)
{
    if (!init_sync(pager))
        return chord_fail(err, CHORD_THREAD, "the system has no lock left for the pager");
    n_wanted = n_wanted < PAGER_MAX_READERS ? n_wanted : PAGER_MAX_READERS;
    for (; pager->n_readers < n_wanted; pager->n_readers++)
        if (uv_thread_create(&pager->readers[pager->n_readers], pager_reader_main, pager) != 0)
            break;
    if (pager->n_readers == 0)
        return chord_fail(err, CHORD_THREAD, "the system starts no thread that reads weights");
    return CHORD_OK;
}

uint64_t pager_bytes_per_tile(void)
{
    // With PAGER_LRU frames have lists too.
    return sizeof(struct pager_tile) + sizeof(struct slot) + 4 * sizeof(uint32_t);
}

static void reclaim(void *user, uint64_t n_bytes)
{
    pager_shrink(user, n_bytes);
}

enum chord_status pager_create(struct pager **out, const struct pager_tile *tiles, uint32_t n_tiles,
                               const struct os_stream *streams, uint32_t n_files, const struct pager_options *options,
                               struct memory_account *account, struct chord_error *err)
{
    struct pager *pager = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *pager);
    if (pager == NULL)
        return memory_account_fail(account, err, sizeof *pager, "the pager");
    pager->account = account;
    pager->streams = streams;
    pager->n_tiles = n_tiles;
    pager->n_files = n_files;
    pager->n_layers = options->n_layers;
    pager->policy = options->policy;
    pager->pass = 1;
    enum chord_status status = CHORD_OK;
    if (!allocate_lists(pager, tiles) || !pager_allocate_memory(pager, options))
        status = memory_account_fail(account, err, options->memory, "weights in memory");
    if (status == CHORD_OK)
        status = start_readers(pager, options->n_readers * n_files, err);
    if (status != CHORD_OK) {
        pager_free(pager);
        return status;
    }
    account->reclaim = reclaim;
    account->reclaim_user = pager;
    *out = pager;
    return CHORD_OK;
}

void pager_free(struct pager *pager)
{
    if (pager == NULL)
        return;
    if (pager->account->reclaim_user == pager)
        pager->account->reclaim = NULL;
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
    pager_free_memory(pager);
    memory_free(pager->account, pager->layers);
    memory_free(pager->account, pager->pin_order);
    memory_free(pager->account, pager->slots);
    memory_free(pager->account, pager->tiles);
    memory_free(pager->account, pager);
}

// ---- passes ----------------------------------------------------------------------------------------------------------

// Frames go to the tiles that the pass streams first; others give theirs up.
static void keep_what_comes_first(struct pager *pager)
{
    uint32_t n_kept = 0, last = pager->first;
    for (uint32_t i = pager->first; i < pager->end && n_kept < pager->n_frames - pager->n_retired; i++) {
        if (!pager->slots[i].is_pinned)
            n_kept++;
        last = i + 1;
    }
    for (uint32_t frame = 0; frame < pager->n_frames; frame++) {
        const uint32_t tile = pager->frame_tile[frame];
        if (tile == NO_FRAME || (tile >= pager->first && tile < last))
            continue;
        if (pager->slots[tile].state == SLOT_READING)
            pager->slots[tile].is_unwanted = true;
        else
            pager_forget(pager, &pager->slots[tile]);
    }
}

// What an earlier pass left behind.
static void forget_pass(struct pager *pager)
{
    for (uint32_t i = 0; i < pager->n_tiles; i++) {
        struct slot *slot = &pager->slots[i];
        atomic_store_explicit(&slot->used, 0, memory_order_relaxed);
        if (slot->state == SLOT_FAILED)
            slot->state = SLOT_ABSENT;
        slot->is_expected = false;
        if (pager->policy == PAGER_LRU)
            atomic_store_explicit(&slot->data, NULL, memory_order_relaxed);
    }
    pager->n_expected = 0;
    pager->pass_failed = false;
}

void pager_begin_pass(struct pager *pager, uint32_t first, uint32_t end)
{
    uv_mutex_lock(&pager->mutex);
    forget_pass(pager);
    pager->pass++;
    pager->in_pass = true;
    pager->first = first;
    pager->end = end;
    pager->ahead = first;
    pager->n_looked = 0;
    if (pager->policy == PAGER_PIN)
        keep_what_comes_first(pager);
    uv_cond_broadcast(&pager->work);
    uv_mutex_unlock(&pager->mutex);
}

static void clear(struct pager *pager)
{
    for (uint32_t i = 0; i < pager->n_tiles; i++) {
        if (pager->slots[i].state == SLOT_READING)
            pager->slots[i].is_unwanted = true;
        else
            pager_forget(pager, &pager->slots[i]);
    }
    pager->first = pager->end = 0; // nothing is read ahead before the next pass
    pager->clear_wanted = false;
    pager_discard_memory(pager);
}

void pager_end_pass(struct pager *pager)
{
    uv_mutex_lock(&pager->mutex);
    pager->in_pass = false;
    if (pager->clear_wanted)
        clear(pager);
    uv_mutex_unlock(&pager->mutex);
}

static const void *data_of(struct pager *pager, uint32_t tile)
{
    return atomic_load_explicit(&pager->slots[tile].data, memory_order_acquire);
}

enum chord_status pager_acquire(struct pager *pager, uint32_t tile, const void **bytes, struct chord_error *err)
{
    enum chord_status status = CHORD_OK;
    *bytes = data_of(pager, tile);
    if (*bytes != NULL)
        return CHORD_OK;
    const uint64_t begin = os_now_ns();
    uv_mutex_lock(&pager->mutex);
    // The frame that a tile waits for may be held by one whose user gave up: after a failure there is no waiting.
    while (data_of(pager, tile) == NULL && !pager->pass_failed)
        uv_cond_wait(&pager->arrival, &pager->mutex);
    layer_of(pager, tile)->stall_ns += os_now_ns() - begin;
    *bytes = data_of(pager, tile);
    if (*bytes == NULL) {
        status = pager->error.code;
        if (err != NULL)
            *err = pager->error;
    }
    uv_mutex_unlock(&pager->mutex);
    return status;
}

static void count_use(struct pager *pager, uint32_t tile)
{
    struct pager_stats *stats = layer_of(pager, tile);
    const uint64_t n_bytes = pager->tiles[tile].n_bytes;
    if (pager->slots[tile].read_in_pass) {
        stats->misses++;
        stats->miss_bytes += n_bytes;
    } else {
        stats->hits++;
        stats->hit_bytes += n_bytes;
    }
    pager->slots[tile].read_in_pass = false;
}

void pager_release(struct pager *pager, uint32_t tile, uint64_t n_bytes)
{
    struct slot *slot = &pager->slots[tile];
    const uint64_t used = atomic_fetch_add_explicit(&slot->used, n_bytes, memory_order_acq_rel) + n_bytes;
    if (used != pager->tiles[tile].n_bytes)
        return;
    uv_mutex_lock(&pager->mutex);
    count_use(pager, tile);
    slot->last_pass = pager->pass;
    slot->last_use = ++pager->use;
    atomic_store_explicit(&slot->used, 0, memory_order_relaxed);
    if (pager->policy == PAGER_LRU) {
        atomic_store_explicit(&slot->data, NULL, memory_order_relaxed);
        pager->n_expected -= slot->is_expected;
        slot->is_expected = false;
    } else if (!slot->is_pinned) {
        pager_forget(pager, slot);
        layer_of(pager, tile)->evictions++;
    }
    if (!slot->is_pinned)
        uv_cond_signal(&pager->work);
    uv_mutex_unlock(&pager->mutex);
}

bool pager_copy(struct pager *pager, uint32_t tile, uint64_t begin, uint64_t n_bytes, void *out)
{
    const struct pager_tile *t = &pager->tiles[tile];
    struct slot *slot = &pager->slots[tile];
    uv_mutex_lock(&pager->mutex);
    const bool is_present = slot->state == SLOT_PRESENT;
    if (is_present)
        memcpy(out, place_of(pager, slot) + (t->offset - span_begin(t)) + begin, n_bytes);
    uv_mutex_unlock(&pager->mutex);
    return is_present;
}

// ---- between passes --------------------------------------------------------------------------------------------------

void pager_clear(struct pager *pager)
{
    uv_mutex_lock(&pager->mutex);
    if (pager->in_pass)
        pager->clear_wanted = true;
    else
        clear(pager);
    uv_mutex_unlock(&pager->mutex);
}

static uint64_t count_pins_present(const struct pager *pager)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < pager->n_tiles; i++)
        if (pager->slots[i].is_pinned && pager->slots[i].state == SLOT_PRESENT)
            bytes += span_bytes(&pager->tiles[i]);
    return bytes;
}

static bool a_pin_failed(const struct pager *pager)
{
    for (uint32_t i = 0; i < pager->n_tiles; i++)
        if (pager->slots[i].is_pinned && pager->slots[i].state == SLOT_FAILED)
            return true;
    return false;
}

enum chord_status pager_preload(struct pager *pager, double seconds, const _Atomic bool *cancel, uint64_t *done,
                                uint64_t *total, struct chord_error *err)
{
    const uint64_t deadline = os_now_ns() + (uint64_t)(seconds * 1e9);
    enum chord_status status = CHORD_OK;
    uv_mutex_lock(&pager->mutex);
    if (!pager->in_pass) { // what failed before is tried again
        pager->pass++;
        for (uint32_t i = 0; i < pager->n_tiles; i++)
            if (pager->slots[i].state == SLOT_FAILED)
                pager->slots[i].state = SLOT_ABSENT;
    }
    pager->preloading = true;
    uv_cond_broadcast(&pager->work);
    for (;;) {
        *done = count_pins_present(pager);
        *total = pager->pinned_bytes;
        if (a_pin_failed(pager)) {
            status = pager->error.code;
            if (err != NULL)
                *err = pager->error;
        }
        const uint64_t now = os_now_ns();
        if (status != CHORD_OK || *done == *total || now >= deadline || (cancel != NULL && atomic_load(cancel)))
            break;
        uv_cond_timedwait(&pager->arrival, &pager->mutex, deadline - now);
    }
    pager->preloading = false;
    uv_mutex_unlock(&pager->mutex);
    return status;
}

// ---- figures ---------------------------------------------------------------------------------------------------------

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

void pager_get_totals(struct pager *pager, struct pager_totals *out)
{
    *out = (struct pager_totals){.policy = pager->policy, .n_tiles = pager->n_tiles};
    uv_mutex_lock(&pager->mutex);
    for (uint32_t i = 0; i < pager->n_layers; i++)
        add(&out->all, &pager->layers[i]);
    for (uint32_t i = 0; i < pager->n_tiles; i++)
        out->tile_bytes += pager->tiles[i].n_bytes;
    out->busy_ns = pager->busy_ns + (pager->n_reading > 0 ? os_now_ns() - pager->busy_since : 0);
    out->n_pinned = pager->n_pinned;
    out->pinned_bytes = pager->pinned_bytes;
    out->frame_bytes_held = (pager->n_frames - pager->n_retired) * pager->frame_bytes;
    uv_mutex_unlock(&pager->mutex);
}

void pager_get_layer(struct pager *pager, uint32_t layer, struct pager_stats *out)
{
    uv_mutex_lock(&pager->mutex);
    *out = pager->layers[layer];
    uv_mutex_unlock(&pager->mutex);
}

static bool frames_sane(const struct pager *pager)
{
    uint32_t n_held = 0;
    for (uint32_t frame = 0; frame < pager->n_frames; frame++) {
        const uint32_t tile = pager->frame_tile[frame];
        if (tile == NO_FRAME)
            continue;
        n_held++;
        if (tile >= pager->n_tiles || pager->slots[tile].frame != frame || pager->slots[tile].is_pinned)
            return false;
    }
    for (uint32_t i = 0; i < pager->n_free; i++)
        if (pager->free_frames[i] >= pager->n_frames || pager->frame_tile[pager->free_frames[i]] != NO_FRAME)
            return false;
    for (uint32_t i = 0; i < pager->n_retired; i++)
        if (pager->retired_frames[i] >= pager->n_frames || pager->frame_tile[pager->retired_frames[i]] != NO_FRAME)
            return false;
    return n_held + pager->n_free + pager->n_retired == pager->n_frames;
}

static bool slot_sane(const struct pager *pager, const struct slot *slot)
{
    const bool has_data = atomic_load_explicit(&slot->data, memory_order_relaxed) != NULL;
    const bool has_memory = slot->state == SLOT_PRESENT || slot->state == SLOT_READING;
    const bool is_given_out = pager->policy == PAGER_PIN || slot->is_expected;
    if (has_data != (slot->state == SLOT_PRESENT && is_given_out))
        return false;
    if (slot->is_pinned)
        return slot->place != UINT64_MAX && slot->frame == NO_FRAME;
    return (slot->frame != NO_FRAME) == has_memory;
}

bool pager_sane(struct pager *pager)
{
    uint64_t pinned_bytes = 0, n_pinned = 0;
    uint32_t n_expected = 0;
    uv_mutex_lock(&pager->mutex);
    bool sane = frames_sane(pager);
    for (uint32_t i = 0; i < pager->n_tiles; i++) {
        const struct slot *slot = &pager->slots[i];
        sane = sane && slot_sane(pager, slot);
        pinned_bytes += slot->is_pinned ? span_bytes(&pager->tiles[i]) : 0;
        n_pinned += slot->is_pinned;
        n_expected += slot->is_expected;
    }
    const uint64_t held = (pager->n_frames - pager->n_retired) * pager->frame_bytes + pinned_bytes;
    sane = sane && pinned_bytes == pager->pinned_bytes && n_pinned == pager->n_pinned &&
           n_expected == pager->n_expected && held <= atomic_load(&pager->account->held[MEMORY_WEIGHTS]);
    uv_mutex_unlock(&pager->mutex);
    return sane;
}
