// What the files of the pager share: pager.c (creation, passes, figures), pager_readers.c (threads that read), pager_memory.c
// (which tiles are pinned, memory given and taken).
#ifndef CHORD_WEIGHTS_PAGER_STATE_H
#define CHORD_WEIGHTS_PAGER_STATE_H

#include "os/thread.h"
#include "weights/pager.h"

#define PAGER_MAX_READERS 16u
#define NO_FRAME UINT32_MAX

enum slot_state { SLOT_ABSENT, SLOT_READING, SLOT_PRESENT, SLOT_FAILED };

// One per tile. Guarded by the mutex, but for the atomics.
struct slot {
    _Atomic(const uint8_t *) data; // the tile for those who acquire it; NULL: they wait
    _Atomic uint64_t used;         // bytes released in this pass
    uint64_t place;                // in pin_pages; UINT64_MAX: none
    uint64_t last_pass;            // the pass in which all of it was used last
    uint64_t last_use;             // PAGER_LRU: a number that grows with every use
    uint32_t frame;                // of a tile in memory or being read that is not pinned
    uint8_t state;
    bool is_pinned;
    bool is_expected;  // PAGER_LRU: readers have passed it, so it stays until it is used
    bool is_unwanted;  // while it is read: drop it afterwards
    bool read_in_pass; // for the statistics
};

struct pager {
    struct memory_account *account;
    struct pager_tile *tiles;
    struct slot *slots;
    const struct os_stream *streams;
    uint32_t n_tiles, n_files, n_layers;
    enum pager_policy policy;

    uint32_t *pin_order; // [n_tiles]: the tile to pin r-th
    uint32_t n_places;   // the first of pin_order have a place
    uint64_t n_pinned, pinned_bytes;
    uint8_t *pin_pages; // address space of the tiles that have a place, packed
    uint64_t pin_space;

    uint8_t *ring;
    uint64_t frame_bytes;
    uint32_t n_frames, n_free, n_retired;
    uint32_t *free_frames;       // [n_frames], the first n_free count
    uint32_t *retired_frames;    // [n_frames], the first n_retired count: their memory is given back
    uint32_t *frame_tile;        // [n_frames]
    uint32_t n_expected, window; // PAGER_LRU: tiles that wait for their use, and how many may
    uint64_t use;                // PAGER_LRU: uses so far

    uv_mutex_t mutex;
    uv_cond_t work, arrival; // for readers, for those who wait in pager_acquire
    bool has_sync, stop;
    bool preloading;   // readers with nothing else to do read pins
    bool in_pass;      // tiles may be in use
    bool clear_wanted; // when the pass has ended
    bool pass_failed;  // a tile of the pass could not be read: nobody waits for tiles any more
    uv_thread_t readers[PAGER_MAX_READERS];
    uint32_t n_readers, n_reading;

    uint32_t first, end; // the pass
    uint64_t pass;       // its number, from 1 on
    uint32_t ahead;      // the next tile that a reader looks at
    uint64_t n_looked;   // tiles it looked at since the pass began
    struct chord_error error;
    struct pager_stats *layers; // [n_layers]
    uint64_t busy_ns, busy_since;
};

// The aligned span of a file that holds a tile.
static inline uint64_t span_begin(const struct pager_tile *tile)
{
    return tile->offset - tile->offset % STREAM_ALIGNMENT;
}

static inline uint64_t span_bytes(const struct pager_tile *tile)
{
    const uint64_t end = tile->offset + tile->n_bytes;
    return (end + STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT * STREAM_ALIGNMENT - span_begin(tile);
}

static inline uint8_t *place_of(const struct pager *pager, const struct slot *slot)
{
    return slot->is_pinned ? pager->pin_pages + slot->place : pager->ring + slot->frame * pager->frame_bytes;
}

static inline struct pager_stats *layer_of(struct pager *pager, uint32_t tile)
{
    return &pager->layers[pager->tiles[tile].layer];
}

// With the mutex held, all of these.
void pager_forget(struct pager *pager, struct slot *slot); // the tile is no longer in memory (and not being read)
// A frame without a tile, of one that has none or, with PAGER_LRU, of the least recently used. NO_FRAME: none.
uint32_t pager_find_frame(struct pager *pager);
void pager_publish(struct pager *pager, uint32_t tile); // those who acquire the tile get it

void pager_discard_memory(struct pager *pager); // of frames and pins, all of them without a tile or being read

void pager_reader_main(void *pager);

// Pins and frames for options->memory bytes, counted and with address space. False: no memory.
bool pager_allocate_memory(struct pager *pager, const struct pager_options *options);
void pager_free_memory(struct pager *pager);

#endif
