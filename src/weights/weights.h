// Weight store: the one way to reach tensor data. A kernel acquires a tile, uses it, releases it.
//
// A tile is a run of whole rows of one tensor, at most WEIGHTS_TILE_BYTES (a single row larger than that is its own tile).
// In a tensor of several matrices, the experts of a layer, it never crosses from one matrix to the next, and all are alike.
// In mapped mode, the mode when everything fits, the files are mapped read-only and a tile is a pointer into the mapping:
// nothing is read before it is used, nothing is copied.
//
// After weights_open the directory is immutable; acquire and release may be called from any thread.
#ifndef CHORD_WEIGHTS_WEIGHTS_H
#define CHORD_WEIGHTS_WEIGHTS_H

#include "base/alloc.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "quant/quant.h"

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
    uint64_t tile_rows; // rows of every tile but the last, >= 1
    uint64_t n_tiles;
};

struct weights; // opaque

enum weights_mode {
    WEIGHTS_DIRECTORY, // shapes only: nothing can be acquired (planning)
    WEIGHTS_MAPPED,
};

// Maps the files of `gguf`, which must outlive the store.
enum chord_status weights_open(struct weights **out, const struct gguf *gguf, enum weights_mode mode,
                               struct memory_account *account, struct chord_error *err);
enum weights_mode weights_mode(const struct weights *weights);
void weights_close(struct weights *weights); // no tile may be in use; NULL is fine

// The matrix of a tensor, or NULL when the file has none of that name.
const struct weight *weights_find(const struct weights *weights, const char *name);

// First byte of row tile * tile_rows; the tile's rows follow each other. Valid until the release. Fails only on
// I/O (never in mapped mode).
enum chord_status weights_acquire(struct weights *weights, const struct weight *weight, uint64_t tile,
                                  const void **rows, struct chord_error *err);
void weights_release(struct weights *weights, const struct weight *weight, uint64_t tile);

// Dequantizes rows first .. first + n_rows - 1 into out [n_rows, n].
enum chord_status weights_read_rows(struct weights *weights, const struct weight *weight, uint64_t first,
                                    uint64_t n_rows, float *out, struct chord_error *err);

// Copies `n_bytes` from byte `offset` of file `file` (as in struct gguf_tensor) to `out`: whatever lies there, header and
// padding included; the span must be inside the file. From any thread, also while a step runs. FILE_CHANGED or IO;
// `out` is then unspecified.
enum chord_status weights_read_bytes(struct weights *weights, uint32_t file, uint64_t offset, uint64_t n_bytes,
                                     void *out, struct chord_error *err);

// FILE_CHANGED when a file's size or modification time is no longer that of the opening.
enum chord_status weights_check_unchanged(const struct weights *weights, struct chord_error *err);

// Reads mapped bytes into memory for about `seconds`, from byte *done of weights_mapped_bytes() on; advances *done.
void weights_preload(struct weights *weights, uint64_t *done, double seconds, const _Atomic bool *cancel);
// Tells the system that the mapped pages are not needed for now.
void weights_clear_cache(struct weights *weights);

uint64_t weights_mapped_bytes(const struct weights *weights);
uint64_t weights_resident_bytes(const struct weights *weights); // UINT64_MAX: the system cannot tell

#endif
