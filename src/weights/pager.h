// Brings tiles from disk in the order in which a step uses them, under a fixed number of bytes.
//
// Pin and stream (PAGER_PIN): some tiles are pinned: read once, kept. They are spread evenly over the step, so that the disk
// works while they are computed with. The others stream through a ring of reused frames that reader threads fill ahead of
// their use. For a scan that repeats itself no policy reads fewer bytes (Belady 1966): hits are pinned bytes / all bytes.
//
// Least recently used (PAGER_LRU): all memory is frames, and a frame is taken from the tile whose use is longest ago. Over a
// scan that repeats itself this hits nothing unless everything fits; it is here to be compared with.
//
// A pass uses tiles first..end-1 once each, in ascending order of their first use. Passes follow each other; what comes
// after the last tile is expected to be tile 0.
//
// Memory of tiles is counted in the account, region MEMORY_WEIGHTS. While a pager lives, an allocation of that account that
// finds no room takes memory of tiles (memory_account.reclaim).
#ifndef CHORD_WEIGHTS_PAGER_H
#define CHORD_WEIGHTS_PAGER_H

#include "base/alloc.h"
#include "base/status.h"
#include "os/stream.h"

#include <stdint.h>

// Frames with which any pass comes to its end, if each thread uses at most four tiles that follow each other at a time.
#define PAGER_LEAST_FRAMES 8u
// Reader threads: two keep a disk busy, more gain nothing.
#define PAGER_READERS_PER_FILE 2u

struct pager_tile {
    uint64_t offset; // in the file
    uint32_t n_bytes;
    uint16_t file;
    uint16_t layer; // < n_layers of the options; for the statistics
};

struct pager; // opaque

enum pager_policy { PAGER_PIN, PAGER_LRU };

struct pager_options {
    enum pager_policy policy;
    uint64_t memory;     // for tiles, bytes, at most
    uint64_t ring_bytes; // of it for frames, with PAGER_PIN: at least PAGER_LEAST_FRAMES
    uint32_t n_readers;  // threads per file: PAGER_READERS_PER_FILE
    uint32_t n_layers;   // >= 1
};

struct pager_stats {
    uint64_t hits, misses;          // tiles used that were, were not in memory before their pass
    uint64_t hit_bytes, miss_bytes; // the same in bytes
    uint64_t evictions;             // tiles whose memory was taken for another
    uint64_t read_bytes;
    uint64_t stall_ns; // that compute threads waited for tiles, added up
};

struct pager_totals {
    enum pager_policy policy;
    struct pager_stats all;
    uint64_t busy_ns; // in which at least one reader read
    uint64_t n_pinned, pinned_bytes;
    uint64_t frame_bytes_held; // memory of frames
    uint64_t n_tiles, tile_bytes;
};

// Memory of a frame that holds any of the tiles.
uint64_t pager_frame_bytes(const struct pager_tile *tiles, uint32_t n_tiles);

// What a pager holds of every tile, whether it is in memory or not.
uint64_t pager_bytes_per_tile(void);

// Which tiles `memory` bytes pin: is_pinned [n_tiles]. Returns the memory they take.
uint64_t pager_choose_pins(const struct pager_tile *tiles, uint32_t n_tiles, uint64_t memory, bool *is_pinned);

// tiles [n_tiles] in the order of a step; copied. streams [n_files] outlive the pager. Reads nothing yet.
enum chord_status pager_create(struct pager **out, const struct pager_tile *tiles, uint32_t n_tiles,
                               const struct os_stream *streams, uint32_t n_files, const struct pager_options *options,
                               struct memory_account *account, struct chord_error *err);
void pager_free(struct pager *pager); // no tile may be in use; NULL is fine

// Starts a pass. Not while one is under way.
void pager_begin_pass(struct pager *pager, uint32_t first, uint32_t end);
// No tile is in use any more. A pass that is ended in the middle is forgotten, its errors too.
void pager_end_pass(struct pager *pager);

// Waits until a tile of the pass is in memory. *bytes is valid until all of the tile's bytes were released. From any thread, any
// number of times. IO when it, or another tile of the pass, could not be read.
enum chord_status pager_acquire(struct pager *pager, uint32_t tile, const void **bytes, struct chord_error *err);
// n_bytes of the tile are used: each byte is released once in a pass.
void pager_release(struct pager *pager, uint32_t tile, uint64_t n_bytes);

// Copies bytes begin .. begin + n_bytes - 1 of a tile that is in memory to `out`; false, and nothing copied, when it is not. For those who
// are not part of the pass: the tile counts as unused. From any thread, at any time; as long as it copies, nobody else gets at the
// pager's state, so ask for a fraction of a MiB.
bool pager_copy(struct pager *pager, uint32_t tile, uint64_t begin, uint64_t n_bytes, void *out);

// Gives memory of tiles back until n_bytes are free, or as much as can be given now: not of tiles that the pass under way may
// be using, nor the least number of frames. Returns the bytes. From any thread, at any time.
uint64_t pager_shrink(struct pager *pager, uint64_t n_bytes);
// Between passes: takes up to n_bytes more for tiles, as far as the account's ceiling, the tiles and the memory of the creation
// allow. Returns the bytes.
uint64_t pager_grow(struct pager *pager, uint64_t n_bytes);

// Drops every tile, at the end of the pass under way if there is one. Pins are read again when next used. From any thread.
void pager_clear(struct pager *pager);

// Reads pinned tiles that are not in memory for about `seconds`, or until *cancel; beside a pass those of the pass come
// first. *done of *total bytes of pins are in memory then. IO when one cannot be read.
enum chord_status pager_preload(struct pager *pager, double seconds, const _Atomic bool *cancel, uint64_t *done,
                                uint64_t *total, struct chord_error *err);

void pager_get_totals(struct pager *pager, struct pager_totals *out);
void pager_get_layer(struct pager *pager, uint32_t layer, struct pager_stats *out);

// Checks the pager's own rules: bytes held as counted, frames used once, tiles handed out present. For tests.
bool pager_sane(struct pager *pager);

#endif
