// Importance matrices: how much each column of each matrix of a model matters, as the mean square of the inputs that it was
// multiplied with while the model read some text. Written by llama.cpp's tool `imatrix`, in either of its formats:
//   GGUF  general.type = "imatrix", and for each matrix NAME the tensors NAME.in_sum2 (F32, sums of squares) and NAME.counts (F32, how
//         many inputs were summed up, one number for all sums or one for each expert)
//   .dat  int32 n, then n times: int32 n_name, name, int32 calls, int32 n_sums, f32 sums[n_sums]; then int32 chunks, int32
//         n_dataset, dataset, which old files lack. The sums are to be divided by `calls`, where that is above 0.
// Facts: https://github.com/ggml-org/llama.cpp, tools/imatrix and tools/quantize.
//
// A file is hostile until it is checked, as in gguf/gguf.h. Opening reads the list of matrices alone; sums are read when they are asked
// for. Besides what gguf_open holds of a GGUF file memory goes into some 150 bytes per matrix.
//
// Immutable once opened: any number of threads may read.
#ifndef CHORD_QUANTIZE_IMATRIX_H
#define CHORD_QUANTIZE_IMATRIX_H

#include "gguf/gguf.h"

#include <stdint.h>

struct imatrix; // opaque

// What the file holds for one tensor of a model.
struct imatrix_entry {
    char name[GGUF_MAX_TENSOR_NAME_BYTES + 1]; // of the model's tensor
    uint64_t n_sums;                           // >= 1
    uint64_t n_counts;                         // >= 1, a divisor of n_sums
    uint64_t sums_at;                          // where they begin in the file
    uint64_t counts_at;                        // GGUF
    float calls;                               // .dat: what the sums are divided by
};

// `account` must outlive the result. FILE_NOT_FOUND, IO, codes of gguf_open; GGUF_METADATA for a GGUF file that is something else;
// GGUF_TENSOR for sums without counts, or of another type or shape than they must have; GGUF_TRUNCATED, GGUF_LIMIT and NOT_GGUF for
// other files that are too short, too large, or no importance matrix.
enum chord_status imatrix_open(struct imatrix **out, const char *path, struct memory_account *account,
                               struct chord_error *err);
void imatrix_close(struct imatrix *imatrix); // NULL is fine

uint64_t imatrix_n_entries(const struct imatrix *imatrix);
const struct imatrix_entry *imatrix_entry(const struct imatrix *imatrix, uint64_t index);
// For the tensor of that name, or NULL.
const struct imatrix_entry *imatrix_find(const struct imatrix *imatrix, struct gguf_string name);

const char *imatrix_path(const struct imatrix *imatrix); // as it was opened

// What the file says of itself: texts that were read, in chunks of some hundred tokens. 0, empty: nothing.
uint32_t imatrix_n_chunks(const struct imatrix *imatrix);
struct gguf_string imatrix_dataset(const struct imatrix *imatrix); // valid until imatrix_close

// out[n] = the importances first .. first + n - 1 <= n_sums of an entry, finite and >= 0. An expert that no input reached has no
// importances: all its columns get 1. INVALID_ARGUMENT: a sum or count that is negative or not finite; IO.
enum chord_status imatrix_read(const struct imatrix *imatrix, const struct imatrix_entry *entry, uint64_t first,
                               uint64_t n, float *out, struct chord_error *err);

// FILE_CHANGED when the file is not what it was when it was opened.
enum chord_status imatrix_check_unchanged(const struct imatrix *imatrix, struct chord_error *err);

#endif
