// Quantizing a model file: reads one GGUF model (the files of a split one together) and writes another in which matrices
// have the types of a mix (quantize/mixes.h). Metadata goes over as it is but for general.file_type,
// general.quantization_version and what says that the file is one of several.
//
// Tensors stream through in pieces of QUANTIZE_PIECE values, each read, converted and written by one thread, so that memory
// does not grow with the model: besides the input's header (gguf/gguf.h) a quantizer holds QUANTIZE_TENSOR_BYTES for each
// tensor and QUANTIZE_THREAD_BYTES for each thread, and QUANTIZE_OTHER_BYTES. A block's result depends on its own values
// alone, or, of I2_S, on the largest magnitude of its tensor too, for which that is read beforehand: so the file is the same with
// any number of threads.
//
// With an importance matrix (quantize/imatrix.h) the tensors that it knows and whose types can weigh their values (quant.h:
// quant_weighted_of) are weighed with it, the others quantized as without one; and a few tensors take other types (quantize/mixes.c).
// Importances are read with the piece that wants them: QUANTIZE_IMPORTANCE_BYTES more for each thread, and the list of the matrix.
//
// The output grows under a temporary name beside its own (os/output.h) and takes its name when it is whole.
#ifndef CHORD_QUANTIZE_QUANTIZE_H
#define CHORD_QUANTIZE_QUANTIZE_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define QUANTIZE_PIECE 65536u // a multiple of every type's block
#define QUANTIZE_THREAD_BYTES (UINT64_C(800) << 10)
#define QUANTIZE_IMPORTANCE_BYTES (UINT64_C(260) << 10)
#define QUANTIZE_TENSOR_BYTES UINT64_C(64)
#define QUANTIZE_OTHER_BYTES (UINT64_C(128) << 10)

struct quantizer; // opaque

struct quantizer_options {
    const char *type;    // of mix_by_name
    uint32_t n_threads;  // >= 1
    bool requantize;     // also from tensors that are quantized: what they have lost stays lost
    const char *imatrix; // path of an importance matrix; NULL: none
};

// Opens the input, chooses types, makes the temporary file and writes its header. `account` must outlive the result.
// INVALID_ARGUMENT: no such type; the output is one of the input's files; a tensor is quantized to another type than it is to
// take, without `requantize`; no tensors; an importance matrix of another model: it knows none of the tensors, or of another length. IO:
// the output cannot be made, or there is no room for it. Codes of gguf_open and imatrix_open.
enum chord_status quantizer_open(struct quantizer **out, const char *input, const char *output,
                                 const struct quantizer_options *options, struct memory_account *account,
                                 struct chord_error *err);

// Converts for about `seconds` (at least some pieces). When the last is done it puts the file on the disk under its name:
// *done == *total then, and not before. Both are bytes of the input's tensors. On failure (CANCELLED when *cancel or *stop is set,
// each of which may be NULL; INVALID_ARGUMENT for a value that is not finite or does not fit the type; IO; FILE_CHANGED) nothing is
// left of the output, and the quantizer is good for quantizer_free only. Not after it was done.
enum chord_status quantizer_run(struct quantizer *quantizer, double seconds, const _Atomic bool *cancel,
                                const _Atomic bool *stop, uint64_t *done, uint64_t *total, struct chord_error *err);

// The mix's name, static.
const char *quantizer_type(const struct quantizer *quantizer);
// Bytes of the input's tensors, and of the whole output file.
uint64_t quantizer_input_bytes(const struct quantizer *quantizer);
uint64_t quantizer_output_bytes(const struct quantizer *quantizer);

// With an importance matrix: tensors that are weighed with it, and tensors that would be if it knew them. 0 without.
void quantizer_weighted(const struct quantizer *quantizer, uint64_t *n_weighted, uint64_t *n_unweighted);

// Removes what was written unless it was finished; only quantizer_free may follow.
void quantizer_discard(struct quantizer *quantizer);

// Does the same, and frees all. NULL is fine.
void quantizer_free(struct quantizer *quantizer);

#endif
