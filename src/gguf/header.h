// The header of one GGUF file, parsed and checked: what gguf.c puts together for whole and split models.
#ifndef CHORD_GGUF_HEADER_H
#define CHORD_GGUF_HEADER_H

#include "base/alloc.h"
#include "base/hash.h"
#include "base/status.h"
#include "gguf/cursor.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stdint.h>

struct gguf_header {
    unsigned char *bytes; // magic to the end of the tensor directory; values and names point into it
    uint64_t n_bytes;
    uint32_t version;
    uint32_t alignment;

    struct gguf_value *values;
    uint64_t n_values;
    struct string_table keys; // key -> index into values

    // In directory order, offsets counted from the start of the file, `file` 0. Names are checked one by one but may
    // repeat: that is for the caller, who sees all files.
    struct gguf_tensor *tensors;
    uint64_t n_tensors;
};

// Reads and checks the header of `source`, tensor spans included. With `any_type`, tensors of types that
// quant_unread_type_name knows pass, with n_bytes 0. `seed` feeds the hash tables. On failure *out is empty.
enum chord_status gguf_header_read(struct gguf_header *out, const struct gguf_source *source, bool any_type,
                                   uint64_t seed, struct memory_account *account, struct chord_error *err);
void gguf_header_free(struct gguf_header *header, struct memory_account *account); // of a zeroed one: fine

// The key's value, or NULL.
const struct gguf_value *gguf_header_find(const struct gguf_header *header, const char *key);

// Checks that the tensors' spans do not overlap, and that they are aligned and inside the file (spans.c).
// Turns offsets into the data section, which begins at `data_at`, into offsets into the file.
bool gguf_check_spans(struct gguf_cursor *cursor, struct gguf_tensor *tensors, uint64_t n_tensors,
                      uint64_t data_at, uint32_t alignment);

// Opens a model from `source` as gguf_open does from a file; a split model is refused. For tests and fuzzing.
// source->name is copied; the source is not needed after the call.
enum chord_status gguf_open_source(struct gguf **out, const struct gguf_source *source, bool any_type,
                                   struct memory_account *account, struct chord_error *err);

#endif
