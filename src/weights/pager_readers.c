// The threads of a pager: which tile is read next, into which memory, and what becomes of one that cannot be read.
#include "weights/pager_state.h"

// A read that fails is tried once more: disks, and networks behind them, have moments.
#define MOST_TRIES 2

void pager_publish(struct pager *pager, uint32_t tile)
{
    struct slot *slot = &pager->slots[tile];
    const struct pager_tile *t = &pager->tiles[tile];
    atomic_store_explicit(&slot->data, place_of(pager, slot) + (t->offset - span_begin(t)), memory_order_release);
}

// PAGER_LRU: the tile stays until it is used. False: enough of them wait for their use.
static bool expect(struct pager *pager, struct slot *slot)
{
    if (pager->policy != PAGER_LRU || slot->is_expected)
        return true;
    if (pager->n_expected >= pager->window)
        return false;
    pager->n_expected++;
    slot->is_expected = true;
    return true;
}

static void take_back(struct pager *pager, struct slot *slot)
{
    pager->n_expected -= slot->is_expected;
    slot->is_expected = false;
}

// Gives an absent tile a place. False: there is none.
static bool find_place(struct pager *pager, uint32_t tile)
{
    struct slot *slot = &pager->slots[tile];
    if (slot->is_pinned)
        return true;
    const uint32_t frame = pager_find_frame(pager);
    if (frame == NO_FRAME)
        return false;
    pager->frame_tile[frame] = tile;
    slot->frame = frame;
    return true;
}

// Looks at the tile that is next in order: true when a reader may go on to the one behind it. *found: it is to be read, and
// has a place.
static bool look_at(struct pager *pager, uint32_t tile, bool *found)
{
    struct slot *slot = &pager->slots[tile];
    const bool beyond = pager->n_looked >= pager->end - pager->first;
    const bool in_pass = tile >= pager->first && tile < pager->end;
    const bool is_used = slot->last_pass == pager->pass;
    *found = false;
    if (beyond && in_pass && !is_used && !slot->is_pinned)
        return false; // its bytes are still to be used in this pass
    if (!beyond && is_used)
        return true;
    if (!expect(pager, slot))
        return false;
    if (slot->state == SLOT_READING)
        slot->is_unwanted = false;
    if (slot->state == SLOT_PRESENT && pager->policy == PAGER_LRU) {
        pager_publish(pager, tile);
        uv_cond_broadcast(&pager->arrival);
    }
    if (slot->state != SLOT_ABSENT)
        return true;
    *found = find_place(pager, tile);
    if (!*found)
        take_back(pager, slot);
    return *found;
}

// The next tile to read, with a place for it: false when there is none to read or no frame.
static bool next_to_read(struct pager *pager, uint32_t *tile)
{
    // One lap beyond the pass at most: there, a tile may still be waiting for its use.
    const uint64_t most = pager->end == 0 ? 0 : (uint64_t)(pager->end - pager->first) + pager->n_tiles;
    bool found = false;
    while (!found && pager->n_looked < most && look_at(pager, pager->ahead, &found)) {
        *tile = pager->ahead;
        pager->n_looked++;
        pager->ahead = (pager->ahead + 1) % pager->n_tiles;
    }
    return found;
}

static bool next_to_preload(const struct pager *pager, uint32_t *tile)
{
    for (uint32_t rank = 0; pager->preloading && rank < pager->n_places; rank++) {
        const struct slot *slot = &pager->slots[pager->pin_order[rank]];
        if (slot->is_pinned && slot->state == SLOT_ABSENT) {
            *tile = pager->pin_order[rank];
            return true;
        }
    }
    return false;
}

static void count_reading(struct pager *pager, bool begins)
{
    const uint64_t now = os_now_ns();
    if (begins && pager->n_reading++ == 0)
        pager->busy_since = now;
    if (!begins && --pager->n_reading == 0)
        pager->busy_ns += now - pager->busy_since;
}

// With the mutex held, which it lets go while it reads.
static void read_tile(struct pager *pager, uint32_t index)
{
    const struct pager_tile *tile = &pager->tiles[index];
    struct slot *slot = &pager->slots[index];
    uint8_t *place = place_of(pager, slot);
    struct chord_error error;
    enum chord_status status;
    uint64_t pass;
    int n_tries = 0;
    slot->state = SLOT_READING;
    slot->is_unwanted = false;
    count_reading(pager, true);
    do { // what failed for an earlier pass is tried again for this one
        pass = pager->pass;
        n_tries++;
        uv_mutex_unlock(&pager->mutex);
        status = os_stream_read(&pager->streams[tile->file], span_begin(tile), place, span_bytes(tile), &error);
        uv_mutex_lock(&pager->mutex);
    } while (status != CHORD_OK && !slot->is_unwanted && !pager->stop && (pass != pager->pass || n_tries < MOST_TRIES));
    count_reading(pager, false);
    layer_of(pager, index)->read_bytes += status == CHORD_OK ? span_bytes(tile) : 0;
    if (status != CHORD_OK || slot->is_unwanted) {
        pager_forget(pager, slot);
        uv_cond_signal(&pager->work);
    }
    if (status != CHORD_OK && !slot->is_unwanted) {
        take_back(pager, slot);
        slot->state = SLOT_FAILED;
        if (index >= pager->first && index < pager->end) // others were read ahead, and will be tried again
            pager->pass_failed = true;
        pager->error = error;
    } else if (!slot->is_unwanted) {
        slot->state = SLOT_PRESENT;
        slot->read_in_pass = true;
        slot->last_use = ++pager->use;
        if (pager->policy == PAGER_PIN || slot->is_expected)
            pager_publish(pager, index);
    }
    uv_cond_broadcast(&pager->arrival);
}

void pager_reader_main(void *arg)
{
    struct pager *pager = arg;
    uint32_t tile;
    uv_mutex_lock(&pager->mutex);
    while (!pager->stop) {
        if (next_to_read(pager, &tile) || next_to_preload(pager, &tile))
            read_tile(pager, tile);
        else
            uv_cond_wait(&pager->work, &pager->mutex);
    }
    uv_mutex_unlock(&pager->mutex);
}
