// The memory of a pager: which tiles are pinned, frames, giving back and taking more.
#include "base/checked.h"
#include "os/pages.h"
#include "weights/pager_state.h"

#include <string.h>

uint64_t pager_frame_bytes(const struct pager_tile *tiles, uint32_t n_tiles)
{
    uint64_t most = STREAM_ALIGNMENT;
    for (uint32_t i = 0; i < n_tiles; i++)
        most = span_bytes(&tiles[i]) > most ? span_bytes(&tiles[i]) : most;
    return most;
}

// ---- which tiles are pinned ------------------------------------------------------------------------------------------

static uint32_t reversed_bits(uint32_t value, uint32_t n_bits)
{
    uint32_t reversed = 0;
    for (uint32_t i = 0; i < n_bits; i++)
        reversed |= (value >> i & 1) << (n_bits - 1 - i);
    return reversed;
}

// A walk over 0 .. n - 1 in the sequence of van der Corput: however many are taken from its beginning, they lie evenly over
// the step. So pins can be given back one by one, the last first, and those that stay are spread as well as they can be.
struct pin_walk {
    uint32_t n, n_bits;
    uint64_t at;
};

static struct pin_walk begin_walk(uint32_t n)
{
    struct pin_walk walk = {.n = n};
    while ((UINT64_C(1) << walk.n_bits) < n)
        walk.n_bits++;
    return walk;
}

static bool walk_on(struct pin_walk *walk, uint32_t *tile)
{
    while (walk->at < UINT64_C(1) << walk->n_bits) {
        *tile = reversed_bits((uint32_t)walk->at++, walk->n_bits);
        if (*tile < walk->n)
            return true;
    }
    return false;
}

uint64_t pager_choose_pins(const struct pager_tile *tiles, uint32_t n_tiles, uint64_t memory, bool *is_pinned)
{
    struct pin_walk walk = begin_walk(n_tiles);
    uint64_t bytes = 0;
    uint32_t tile;
    memset(is_pinned, 0, n_tiles * sizeof *is_pinned);
    while (walk_on(&walk, &tile) && bytes + span_bytes(&tiles[tile]) <= memory) {
        is_pinned[tile] = true;
        bytes += span_bytes(&tiles[tile]);
    }
    return bytes;
}

// Pins as many tiles as `memory` holds, and gives each its place.
static void place_pins(struct pager *pager, uint64_t memory)
{
    struct pin_walk walk = begin_walk(pager->n_tiles);
    uint32_t tile;
    for (uint32_t i = 0; walk_on(&walk, &tile); i++)
        pager->pin_order[i] = tile;
    for (uint32_t i = 0; i < pager->n_tiles; i++)
        pager->slots[i].place = UINT64_MAX;
    for (; pager->n_places < pager->n_tiles; pager->n_places++) {
        const uint32_t next = pager->pin_order[pager->n_places];
        const uint64_t bytes = span_bytes(&pager->tiles[next]);
        if (pager->pin_space + bytes > memory)
            break;
        pager->slots[next].place = pager->pin_space;
        pager->slots[next].is_pinned = true;
        pager->pin_space += bytes;
    }
    pager->n_pinned = pager->n_places;
    pager->pinned_bytes = pager->pin_space;
}

// ---- creation --------------------------------------------------------------------------------------------------------

static uint64_t frames_held(const struct pager *pager)
{
    return (pager->n_frames - pager->n_retired) * pager->frame_bytes;
}

bool pager_allocate_memory(struct pager *pager, const struct pager_options *options)
{
    pager->frame_bytes = pager_frame_bytes(pager->tiles, pager->n_tiles);
    const uint64_t ring = options->policy == PAGER_LRU ? options->memory : options->ring_bytes;
    const uint64_t n_frames = ring / pager->frame_bytes;
    pager->n_frames = n_frames < pager->n_tiles ? (uint32_t)n_frames : pager->n_tiles;
    const uint64_t for_frames = pager->n_frames * pager->frame_bytes;
    place_pins(pager, options->policy == PAGER_PIN && options->memory > for_frames ? options->memory - for_frames : 0);
    pager->window = (uint32_t)(options->ring_bytes / pager->frame_bytes);
    pager->free_frames = memory_zalloc(pager->account, MEMORY_METADATA, pager->n_frames, sizeof *pager->free_frames);
    pager->retired_frames =
        memory_zalloc(pager->account, MEMORY_METADATA, pager->n_frames, sizeof *pager->retired_frames);
    pager->frame_tile = memory_zalloc(pager->account, MEMORY_METADATA, pager->n_frames, sizeof *pager->frame_tile);
    if (pager->free_frames == NULL || pager->retired_frames == NULL || pager->frame_tile == NULL)
        return false;
    for (uint32_t i = 0; i < pager->n_frames; i++) {
        pager->free_frames[pager->n_free++] = pager->n_frames - 1 - i;
        pager->frame_tile[i] = NO_FRAME;
    }
    if (!memory_reserve(pager->account, MEMORY_WEIGHTS, frames_held(pager) + pager->pinned_bytes))
        return false;
    pager->pin_pages = pager->pin_space == 0 ? NULL : os_pages_reserve(pager->pin_space);
    pager->ring = pager->n_frames == 0 ? NULL : os_pages_reserve(frames_held(pager));
    if ((pager->pin_space != 0 && pager->pin_pages == NULL) || (pager->n_frames != 0 && pager->ring == NULL)) {
        memory_unreserve(pager->account, MEMORY_WEIGHTS, frames_held(pager) + pager->pinned_bytes);
        os_pages_free(pager->pin_pages, pager->pin_space);
        os_pages_free(pager->ring, frames_held(pager));
        pager->pin_pages = pager->ring = NULL;
        return false;
    }
    return true;
}

void pager_free_memory(struct pager *pager)
{
    if (pager->pin_pages != NULL || pager->ring != NULL)
        memory_unreserve(pager->account, MEMORY_WEIGHTS, frames_held(pager) + pager->pinned_bytes);
    os_pages_free(pager->pin_pages, pager->pin_space);
    os_pages_free(pager->ring, pager->n_frames * pager->frame_bytes);
    memory_free(pager->account, pager->frame_tile);
    memory_free(pager->account, pager->retired_frames);
    memory_free(pager->account, pager->free_frames);
}

// ---- frames ----------------------------------------------------------------------------------------------------------

void pager_forget(struct pager *pager, struct slot *slot)
{
    atomic_store_explicit(&slot->data, NULL, memory_order_relaxed);
    slot->state = SLOT_ABSENT;
    if (slot->frame == NO_FRAME)
        return;
    pager->frame_tile[slot->frame] = NO_FRAME;
    pager->free_frames[pager->n_free++] = slot->frame;
    slot->frame = NO_FRAME;
}

// Takes the memory of the tile whose use is longest ago.
static bool evict_least_recent(struct pager *pager)
{
    uint32_t oldest = NO_FRAME;
    for (uint32_t frame = 0; frame < pager->n_frames; frame++) {
        const uint32_t tile = pager->frame_tile[frame];
        if (tile == NO_FRAME || pager->slots[tile].state != SLOT_PRESENT || pager->slots[tile].is_expected)
            continue;
        if (oldest == NO_FRAME || pager->slots[tile].last_use < pager->slots[oldest].last_use)
            oldest = tile;
    }
    if (oldest == NO_FRAME)
        return false;
    pager_forget(pager, &pager->slots[oldest]);
    layer_of(pager, oldest)->evictions++;
    return true;
}

uint32_t pager_find_frame(struct pager *pager)
{
    if (pager->n_free == 0 && !(pager->policy == PAGER_LRU && evict_least_recent(pager)))
        return NO_FRAME;
    return pager->free_frames[--pager->n_free];
}

void pager_discard_memory(struct pager *pager)
{
    for (uint32_t i = 0; i < pager->n_tiles; i++) {
        const struct slot *slot = &pager->slots[i];
        if (slot->is_pinned && slot->state == SLOT_ABSENT)
            os_pages_discard(pager->pin_pages + slot->place, span_bytes(&pager->tiles[i]));
    }
    for (uint32_t i = 0; i < pager->n_free; i++)
        os_pages_discard(pager->ring + pager->free_frames[i] * pager->frame_bytes, pager->frame_bytes);
}

// ---- giving back and taking more -------------------------------------------------------------------------------------

// Whether a pinned tile's memory can be given away now.
static bool can_unpin(const struct pager *pager, uint32_t tile)
{
    const struct slot *slot = &pager->slots[tile];
    const bool in_pass = pager->in_pass && tile >= pager->first && tile < pager->end;
    return slot->is_pinned && slot->state != SLOT_READING && !(in_pass && slot->last_pass != pager->pass);
}

static uint64_t unpin(struct pager *pager, uint64_t n_bytes)
{
    uint64_t freed = 0;
    for (uint32_t rank = pager->n_places; rank-- > 0 && freed < n_bytes;) {
        const uint32_t tile = pager->pin_order[rank];
        const uint64_t bytes = span_bytes(&pager->tiles[tile]);
        if (!can_unpin(pager, tile))
            continue;
        struct slot *slot = &pager->slots[tile];
        pager_forget(pager, slot);
        slot->is_pinned = false;
        os_pages_discard(pager->pin_pages + slot->place, bytes);
        layer_of(pager, tile)->evictions++;
        pager->pinned_bytes -= bytes;
        pager->n_pinned--;
        freed += bytes;
    }
    return freed;
}

static uint64_t retire_frames(struct pager *pager, uint64_t n_bytes)
{
    uint64_t freed = 0;
    while (freed < n_bytes && pager->n_frames > pager->n_retired + PAGER_LEAST_FRAMES) {
        const uint32_t frame = pager_find_frame(pager);
        if (frame == NO_FRAME)
            break;
        os_pages_discard(pager->ring + frame * pager->frame_bytes, pager->frame_bytes);
        pager->retired_frames[pager->n_retired++] = frame;
        freed += pager->frame_bytes;
    }
    return freed;
}

// Between passes: tiles that were read ahead wait for nobody.
static void stop_reading_ahead(struct pager *pager)
{
    for (uint32_t i = 0; i < pager->n_tiles; i++) {
        struct slot *slot = &pager->slots[i];
        pager->n_expected -= slot->is_expected;
        slot->is_expected = false;
        if (pager->policy == PAGER_LRU)
            atomic_store_explicit(&slot->data, NULL, memory_order_relaxed);
        else if (!slot->is_pinned && slot->state == SLOT_PRESENT)
            pager_forget(pager, slot);
    }
    pager->first = pager->end = 0;
}

uint64_t pager_shrink(struct pager *pager, uint64_t n_bytes)
{
    uv_mutex_lock(&pager->mutex);
    uint64_t freed = unpin(pager, n_bytes);
    while (freed < n_bytes) {
        const bool in_pass = pager->in_pass;
        if (!in_pass)
            stop_reading_ahead(pager);
        freed += retire_frames(pager, n_bytes - freed);
        if (freed >= n_bytes || in_pass || pager->n_reading == 0)
            break;
        uv_cond_wait(&pager->arrival, &pager->mutex); // what is being read now can be given back soon
        freed += unpin(pager, n_bytes - freed);
    }
    memory_unreserve(pager->account, MEMORY_WEIGHTS, freed);
    uv_mutex_unlock(&pager->mutex);
    return freed;
}

static uint64_t pin_more(struct pager *pager, uint64_t n_bytes)
{
    uint64_t taken = 0;
    for (uint32_t rank = 0; rank < pager->n_places; rank++) {
        const uint32_t tile = pager->pin_order[rank];
        struct slot *slot = &pager->slots[tile];
        const uint64_t bytes = span_bytes(&pager->tiles[tile]);
        if (slot->is_pinned || slot->state == SLOT_READING)
            continue;
        if (taken + bytes > n_bytes || !memory_reserve_spare(pager->account, MEMORY_WEIGHTS, bytes))
            break;
        pager_forget(pager, slot);
        slot->is_pinned = true;
        pager->pinned_bytes += bytes;
        pager->n_pinned++;
        taken += bytes;
    }
    return taken;
}

static uint64_t use_more_frames(struct pager *pager, uint64_t n_bytes)
{
    uint64_t taken = 0;
    while (pager->n_retired > 0 && taken + pager->frame_bytes <= n_bytes &&
           memory_reserve_spare(pager->account, MEMORY_WEIGHTS, pager->frame_bytes)) {
        pager->free_frames[pager->n_free++] = pager->retired_frames[--pager->n_retired];
        taken += pager->frame_bytes;
    }
    return taken;
}

uint64_t pager_grow(struct pager *pager, uint64_t n_bytes)
{
    uv_mutex_lock(&pager->mutex);
    uint64_t taken = use_more_frames(pager, n_bytes);
    taken += pin_more(pager, n_bytes - taken);
    uv_cond_broadcast(&pager->work);
    uv_mutex_unlock(&pager->mutex);
    return taken;
}
