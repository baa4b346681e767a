// Weight store: the one way to reach tensor data. A kernel acquires a tile, uses it, releases it.
//
// A tile is a run of whole rows of one tensor, at most WEIGHTS_TILE_BYTES (a single row larger than that is its own tile); in
// paged mode less where the model is small.
// In a tensor of several matrices, the experts of a layer, it never crosses from one matrix to the next, and all are alike.
// In mapped mode, the mode when everything fits, the files are mapped read-only and a tile is a pointer into the mapping:
// nothing is read before it is used, nothing is copied. In paged mode, when it does not, tiles are read into memory of the
// store's own, some to stay, the others ahead of their use (weights/pager.h); the files are not mapped.
//
// After weights_open the directory is immutable; acquire and release may be called from any thread.
#ifndef CHORD_WEIGHTS_WEIGHTS_H
#define CHORD_WEIGHTS_WEIGHTS_H

#include "base/alloc.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "quant/quant.h"
#include "weights/expert_routes.h"

#include <stdbool.h>
#include <stdint.h>

#define WEIGHTS_TILE_BYTES (2u << 20)

// A matrix [n_rows, n]: row r holds n elements in row_bytes bytes. A tensor of more than two dimensions has its upper ones
// folded into n_rows; a vector is one row.
struct weight {
    const struct gguf_tensor *tensor;
    const struct quant_traits *type;
    uint64_t n; // elements of a row
    uint64_t n_rows;
    uint64_t row_bytes;
    // NULL in most files. Else the scale of each scale_rows rows: products with rows as they lie in tiles are to be multiplied
    // by it. From the tensor's tail (quant/quant.h), or, of X.weight, from the F32 tensor X.scale, which holds one for all or
    // one for each matrix.
    const float *scales;
    uint64_t scale_rows;
    const struct gguf_tensor *scale_tensor; // the latter, or NULL
    uint64_t tile_rows;                     // rows of every tile but the last, >= 1
    uint64_t n_tiles;
    // Paged mode: where the numbers of its tiles in the schedule stand, and the schedule of it and those used with it.
    uint32_t slots_at, slots_begin, slots_end;
    uint32_t
        expert_part; // paged mode, of experts: its number among their matrices, three of each layer; else UINT32_MAX
};

struct weights; // opaque

enum weights_mode {
    WEIGHTS_DIRECTORY, // shapes and tiles as in paged mode: nothing can be acquired (planning)
    WEIGHTS_MAPPED,
    WEIGHTS_PAGED,
};

// Maps or opens the files of `gguf`, which must outlive the store, and reads the scales of tensors that have one.
enum chord_status weights_open(struct weights **out, const struct gguf *gguf, enum weights_mode mode,
                               struct memory_account *account, struct chord_error *err);
enum weights_mode weights_mode(const struct weights *weights);
void weights_close(struct weights *weights); // no tile may be in use; NULL is fine

// The matrix of a tensor, or NULL when the file has none of that name.
const struct weight *weights_find(const struct weights *weights, const char *name);

// ---- Paged mode --------------------------------------------------------------------------------------------------------

#define WEIGHTS_MOST_TOGETHER 2u

// Matrices of as many rows each that are used together, row by row.
struct weights_use {
    const struct weight *weight[WEIGHTS_MOST_TOGETHER];
    uint32_t n_weights;
    uint32_t layer; // for the statistics
};

// The experts of a layer: matrices [n_experts, rows, cols] of which those are used that a router chooses (weights/expert_pager.h).
struct weights_experts {
    const struct weight *weight[3]; // gate, up, down
    uint32_t n_experts, n_used;     // of a layer; by one token
    uint32_t layer;                 // for the statistics
};

// Of experts WEIGHTS_PIN keeps those whose next use is expected soonest (weights/expert_cache.h).
enum weights_policy { WEIGHTS_PIN, WEIGHTS_LRU };

struct weights_paging {
    uint64_t spare;     // bytes that the account is to have left: tiles get all else that its ceiling allows
    uint32_t n_threads; // that compute
    uint32_t n_layers;  // above every weights_use.layer
    enum weights_policy policy;
    const struct weights_experts *experts; // [n_expert_layers], in the order of their use, all of one n_experts
    uint32_t n_expert_layers;              // 0: a dense model
};

// uses[n_uses] are what a step uses, each matrix once, in that order. Before this nothing can be acquired in paged mode.
// MEMORY_BUDGET when that is less than weights_paging_plan.least_bytes.
enum chord_status weights_start_paging(struct weights *weights, const struct weights_use *uses, uint32_t n_uses,
                                       const struct weights_paging *options, struct chord_error *err);

// What paging would do with `memory` bytes for tiles, of a store in any mode whose tiles are those of paged mode.
struct weights_paging_plan {
    uint64_t step_bytes;     // of weights that a step over one token uses
    uint64_t pinned_bytes;   // of them in memory: always, or of experts as often as the routes say
    uint64_t ring_bytes;     // of memory for those that are not
    uint64_t least_bytes;    // of memory that paging can work with
    uint64_t metadata_bytes; // held beside
    uint64_t n_tiles;
    // With experts, else 0:
    uint64_t expert_step_bytes;   // of step_bytes
    uint64_t expert_frame_bytes;  // of memory for experts that stay
    uint64_t expert_tile_bytes;   // of the widest part of an expert that is read at once
    double expert_hit_share;      // of uses: as the routes say; without routes, were all chosen equally often
    double expert_reads_per_wave; // tiles of the experts of one layer that are not at hand
};
struct weights_layer_plan {
    uint64_t n_bytes, pinned_bytes; // of all experts: those in memory
};
// layers [n_layers], zeroed, and routes may be NULL.
enum chord_status weights_plan_paging(const struct weights_use *uses, uint32_t n_uses, uint64_t memory,
                                      const struct weights_experts *experts, uint32_t n_expert_layers,
                                      const struct expert_routes *routes, enum weights_policy policy,
                                      uint32_t n_threads, struct weights_layer_plan *layers,
                                      struct weights_paging_plan *out, struct memory_account *account,
                                      struct chord_error *err);

// A part of a step is about to use the matrices of the uses of first .. last, every row once; it has done so, or given up.
// Not while another part is under way. Nothing happens in other modes.
void weights_begin_pass(struct weights *weights, const struct weight *first, const struct weight *last);
void weights_end_pass(struct weights *weights);

// Between steps: lets the store have what the account has left but for `spare` bytes, or takes back what is missing of them.
void weights_settle(struct weights *weights, uint64_t spare);

struct pager *weights_pager(const struct weights *weights); // weights/pager.h; NULL in other modes
struct expert_pager *
weights_expert_pager(const struct weights *weights); // weights/expert_pager.h; NULL without experts too

// A router has chosen among the experts of the layer of this matrix.
void weights_begin_experts(struct weights *weights, const struct weight *weight);
// Then, again and again until all were used: the first of experts[n >= 1], at least one, as many as is returned, may be used until
// the end of the wave; the list is put into the order in which they are at hand. In other modes all, in the order given.
// is_prompt: only tokens of a prompt chose them; they are not kept at the cost of others.
uint32_t weights_begin_wave(struct weights *weights, uint32_t *experts, uint32_t n, bool is_prompt);
void weights_end_wave(struct weights *weights);

// ---- Use -----------------------------------------------------------------------------------------------------------------

// First byte of row tile * tile_rows; the tile's rows follow each other. Valid until the release. Fails only on
// I/O (never in mapped mode).
enum chord_status weights_acquire(struct weights *weights, const struct weight *weight, uint64_t tile,
                                  const void **rows, struct chord_error *err);
// n_rows of the tile were used; each row is used once in a pass.
void weights_release(struct weights *weights, const struct weight *weight, uint64_t tile, uint64_t n_rows);

// Row `row`, whose bytes are as in a tile, times its scale: out[weight->n].
void weight_dequantize_row(const struct weight *weight, uint64_t row, const void *bytes, float *out);

// Dequantizes rows first .. first + n_rows - 1 into out [n_rows, n].
enum chord_status weights_read_rows(struct weights *weights, const struct weight *weight, uint64_t first,
                                    uint64_t n_rows, float *out, struct chord_error *err);

// Copies `n_bytes` from byte `offset` of file `file` (as in struct gguf_tensor) to `out`: whatever lies there, header and
// padding included; the span must be inside the file. In paged mode tiles that are in memory, experts' too, are copied; all
// else is read past the page cache and not kept. From any thread, also while a step runs. FILE_CHANGED or IO;
// `out` is then unspecified.
enum chord_status weights_read_bytes(struct weights *weights, uint32_t file, uint64_t offset, uint64_t n_bytes,
                                     void *out, struct chord_error *err);

// FILE_CHANGED when a file's size or modification time is no longer that of the opening.
enum chord_status weights_check_unchanged(const struct weights *weights, struct chord_error *err);

// Brings what will stay in memory there, for about `seconds`: mapped bytes from *done on, which is advanced, or pinned tiles. *done
// of *total bytes have been read then. IO when some cannot be.
enum chord_status weights_preload(struct weights *weights, double seconds, const _Atomic bool *cancel, uint64_t *done,
                                  uint64_t *total, struct chord_error *err);
// Tells the system that the mapped pages are not needed for now, or gives the memory of tiles back until they are next used. From
// any thread.
void weights_clear_cache(struct weights *weights);

uint64_t weights_mapped_bytes(const struct weights *weights);
uint64_t weights_resident_bytes(const struct weights *weights); // of them in memory; UINT64_MAX: the system cannot tell

#endif
