// Brings experts from disk when a router has chosen them, into a fixed number of frames, and keeps those that are likely to be
// chosen again (weights/expert_cache.h).
//
// A frame holds one expert of one layer: the tiles of its matrices. Experts are used in waves: a wave holds as many of the
// experts wanted as there are frames for; its tiles that are absent are read by reader threads, in order, while those that are
// present are used. Nothing of a wave is evicted before it ends.
//
// Memory of frames is counted in the account, region MEMORY_WEIGHTS.
#ifndef CHORD_WEIGHTS_EXPERT_PAGER_H
#define CHORD_WEIGHTS_EXPERT_PAGER_H

#include "base/alloc.h"
#include "base/status.h"
#include "os/stream.h"
#include "weights/expert_cache.h"
#include "weights/pager.h"

#include <stdbool.h>
#include <stdint.h>

#define EXPERT_PARTS 3u // gate, up, down
#define EXPERT_PAGER_LEAST_FRAMES 2u

// One matrix of all experts of a layer: expert e begins at offset + e * n_tiles * tile_bytes of the file.
struct expert_part {
    uint64_t offset;
    uint32_t tile_bytes;
    uint32_t n_tiles; // of one expert
    uint32_t file;
};

struct expert_layer {
    struct expert_part parts[EXPERT_PARTS];
    uint32_t layer; // of the model: for the statistics
};

struct expert_pager_options {
    enum expert_cache_policy policy;
    uint32_t n_layers, n_experts; // with experts; of one layer
    uint32_t n_model_layers;      // above every expert_layer.layer
    uint64_t memory;              // for frames: at least EXPERT_PAGER_LEAST_FRAMES
    uint32_t n_readers;           // threads
};

struct expert_pager; // opaque

uint64_t expert_pager_frame_bytes(const struct expert_layer *layers, uint32_t n_layers);
// Held beside frames, at most.
uint64_t expert_pager_metadata_bytes(const struct expert_layer *layers, uint32_t n_layers, uint32_t n_experts);

// layers [options->n_layers] are copied; streams outlive the pager. Reads nothing yet.
enum chord_status expert_pager_create(struct expert_pager **out, const struct expert_layer *layers,
                                      const struct os_stream *streams, const struct expert_pager_options *options,
                                      struct memory_account *account, struct chord_error *err);
void expert_pager_free(struct expert_pager *pager); // no wave may be under way; NULL is fine

// The router of `layer` (0..n_layers-1) has chosen: waves of that layer follow.
void expert_pager_begin_layer(struct expert_pager *pager, uint32_t layer);
// Starts a wave over the first of experts[n >= 1], each named once: returns how many, at least one. First puts those that are in
// memory to the front of the list. The others are read in the order of the list: gate and up of all, then down.
// is_prompt: no token being generated chose any of them.
uint32_t expert_pager_begin_wave(struct expert_pager *pager, uint32_t *experts, uint32_t n, bool is_prompt);
// Waits until tile `tile` of a matrix of an expert of the wave is in memory; *bytes is valid until the wave ends. From any
// thread, any number of times. IO when something of the wave could not be read.
enum chord_status expert_pager_acquire(struct expert_pager *pager, uint32_t expert, uint32_t part, uint32_t tile,
                                       const void **bytes, struct chord_error *err);
// No tile of the wave is in use any more. What was not read yet is not read for it.
void expert_pager_end_wave(struct expert_pager *pager);

// Copies n_bytes from byte `begin` of a tile that is in memory; false: it is not. From any thread, at any time.
bool expert_pager_copy(struct expert_pager *pager, uint32_t layer, uint32_t expert, uint32_t part, uint32_t tile,
                       uint64_t begin, uint64_t n_bytes, void *out);

// Gives memory of frames back, of none that the wave under way uses, until n_bytes are free or the least number of frames is left.
// Returns the bytes. From any thread, at any time.
uint64_t expert_pager_shrink(struct expert_pager *pager, uint64_t n_bytes);
// Takes up to n_bytes more, as far as the account's ceiling and the memory of the creation allow. Returns the bytes.
uint64_t expert_pager_grow(struct expert_pager *pager, uint64_t n_bytes);

// Drops every expert, at the end of the wave under way if there is one. From any thread.
void expert_pager_clear(struct expert_pager *pager);

// Adds what tiles of experts were used, read and waited for; to totals also the time in which readers read.
void expert_pager_add_layer(struct expert_pager *pager, uint32_t model_layer, struct pager_stats *sum);
void expert_pager_add_totals(struct expert_pager *pager, struct pager_totals *sum);
uint64_t expert_pager_memory(struct expert_pager *pager); // of frames, held
enum expert_cache_policy expert_pager_policy(const struct expert_pager *pager);

// Checks the pager's own rules: frames and memory as counted, tiles in memory only of experts that have a frame. For tests.
bool expert_pager_sane(struct expert_pager *pager);

#endif
