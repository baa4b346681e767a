// The header of the file that a quantizer writes. Internal to quantize/.
#ifndef CHORD_QUANTIZE_HEADER_H
#define CHORD_QUANTIZE_HEADER_H

#include "gguf/gguf.h"
#include "os/output.h"
#include "quantize/imatrix.h"
#include "quantize/mixes.h"

#include <stdatomic.h>
#include <stdint.h>

// A tensor of the input and what becomes of it.
struct quantize_item {
    const struct gguf_tensor *tensor;
    const struct quant_traits *type;        // in the output
    const struct imatrix_entry *importance; // what its values are weighed with; NULL: nothing
    uint64_t offset;                        // of its data in the output, from the start of the data
    uint64_t n_bytes;                       // in the output
    uint64_t first_piece;                   // pieces of all tensors before it
    uint64_t first_measure;                 // the same of pieces that are measured
    _Atomic uint32_t largest;               // bits of the largest magnitude of what was measured
};

// What a header is made of.
struct quantize_head {
    const struct gguf *gguf;
    const struct mix *mix;
    const struct quantize_item *items; // of all tensors
    const struct imatrix *imatrix;     // NULL: none; else what is said of it replaces what the input says of one
};

// Where the data begin: after the header, at a multiple of the file's alignment. 0: beyond 64 bits.
uint64_t quantize_data_at(const struct quantize_head *head);

// Writes the header; what lies between its end and the data reads as zeros.
enum chord_status quantize_write_header(const struct quantize_head *head, const struct os_output *output,
                                        struct memory_account *account, struct chord_error *err);

// general.alignment, or the format's default.
uint32_t quantize_alignment(const struct gguf *gguf);

#endif
