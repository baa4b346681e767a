// GGUF: metadata and tensor directory of a model file, or of the several files of a split model.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
//
// A file is hostile until proven otherwise. gguf_open reads the header only (never tensor data) through a
// bounded cursor and checks every count, length, type, offset and span before it believes it; afterwards
// everything below holds for every value it hands out. Time and memory are O(n) in the header's size.
// Besides the header's own bytes (at most three times while they are read, at most 1.25 times afterwards) memory goes
// into some 150 bytes per key and 250 per tensor.
//
// A `struct gguf` is immutable once opened and may be read from any thread.
#ifndef CHORD_GGUF_GGUF_H
#define CHORD_GGUF_GGUF_H

#include "base/alloc.h"
#include "base/status.h"
#include "os/file.h"

#include <stdbool.h>
#include <stdint.h>

enum gguf_value_type {
    GGUF_UINT8 = 0,
    GGUF_INT8 = 1,
    GGUF_UINT16 = 2,
    GGUF_INT16 = 3,
    GGUF_UINT32 = 4,
    GGUF_INT32 = 5,
    GGUF_FLOAT32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_UINT64 = 10,
    GGUF_INT64 = 11,
    GGUF_FLOAT64 = 12,
};

#define GGUF_MAX_DIMENSIONS 4
#define GGUF_DEFAULT_ALIGNMENT 32 // general.alignment may be any power of two that its u32 holds

// What a file may hold at most. Key and tensor names: the format's own limits; the others are far beyond any model
// known and keep a hostile file from costing more than a fraction of a second (a vocabulary of 256 thousand tokens with
// its merges takes some 15 MiB of header).
#define GGUF_MAX_HEADER_BYTES (UINT64_C(256) << 20)
#define GGUF_MAX_VALUES 65536u
#define GGUF_MAX_TENSORS 262144u // in all files together
#define GGUF_MAX_KEY_BYTES 65535u
#define GGUF_MAX_TENSOR_NAME_BYTES 64u
#define GGUF_MAX_STRING_BYTES (UINT64_C(16) << 20)  // a string by itself, such as a chat template
#define GGUF_MAX_ELEMENT_BYTES (UINT64_C(64) << 10) // a string in an array, such as a token
#define GGUF_MAX_FILES 1024u

// Bytes inside the header buffer: borrowed, not terminated, not necessarily UTF-8. Valid until gguf_close.
struct gguf_string {
    const char *bytes;
    uint64_t n_bytes;
};

// One key-value pair.
struct gguf_value {
    struct gguf_string key;
    enum gguf_value_type type;       // GGUF_ARRAY for arrays
    enum gguf_value_type element;    // for arrays the type of the elements (never GGUF_ARRAY); else = type
    uint64_t n_elements;             // 1 for scalars
    const unsigned char *data;       // elements as in the file: little-endian, unaligned; strings u64 length + bytes
    uint64_t n_data_bytes;
};

// One row of the tensor directory. Checked: type known to chord, 1..4 dimensions >= 1, ne[0] a multiple of
// the type's block, the elements at most 2^63 - 1, the span inside its file, aligned, not overlapping another, the
// name of 1..64 bytes without zeros and unique.
struct gguf_tensor {
    struct gguf_string name;
    uint32_t type;                            // quant/quant.h's enum quant_type
    uint32_t n_dimensions;
    uint64_t ne[GGUF_MAX_DIMENSIONS];         // ne[0] runs fastest; unused ones are 1
    uint32_t file;                            // which file of a split model
    uint64_t offset;                          // bytes from the start of that file
    uint64_t n_bytes;
};

struct gguf_file {
    char *path;
    struct os_file os;     // open until gguf_close
    uint32_t version;
    uint64_t header_bytes; // magic to the end of the tensor directory, without padding
};

struct gguf; // opaque

// Opens `path`: a whole model, or the first file of a split one (NAME-00001-of-0000N.gguf), whose other
// files must lie beside it and agree. `account` must outlive the result. On success *out is the caller's,
// to be given to gguf_close. Every failure has its own code (NOT_GGUF, GGUF_VERSION, GGUF_TRUNCATED, ...)
// and a message that names path, offset and key or tensor.
enum chord_status gguf_open(struct gguf **out, const char *path, struct memory_account *account,
                            struct chord_error *err);

// The same for who only looks at a file: tensors of types that quant_unread_type_name() knows, and chord cannot
// read, do not fail. They have n_bytes 0, and only their offset was checked. Nothing that reads weights may be
// given such a model.
enum chord_status gguf_open_any_type(struct gguf **out, const char *path, struct memory_account *account,
                                     struct chord_error *err);
void gguf_close(struct gguf *gguf); // NULL is fine

uint32_t gguf_n_files(const struct gguf *gguf);
const struct gguf_file *gguf_file(const struct gguf *gguf, uint32_t index);

uint64_t gguf_n_values(const struct gguf *gguf);
const struct gguf_value *gguf_value(const struct gguf *gguf, uint64_t index); // in file order
const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key); // NULL: no such key

uint64_t gguf_n_tensors(const struct gguf *gguf);
// File by file, in directory order; an array: gguf_tensor(gguf, 0) + i is gguf_tensor(gguf, i).
const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, uint64_t index);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name); // NULL: none

// Typed reads of scalars. A missing key: NOT_FOUND (no message is written then when `err` is NULL); another type
// or a value that does not fit: GGUF_METADATA. Unsigned and signed integers of any width are accepted for
// each other when the value fits; f32 and f64 for each other; integers are accepted for floats.
enum chord_status gguf_get_u32(const struct gguf *, const char *key, uint32_t *out, struct chord_error *);
enum chord_status gguf_get_u64(const struct gguf *, const char *key, uint64_t *out, struct chord_error *);
enum chord_status gguf_get_f32(const struct gguf *, const char *key, float *out, struct chord_error *);
enum chord_status gguf_get_bool(const struct gguf *, const char *key, bool *out, struct chord_error *);
enum chord_status gguf_get_string(const struct gguf *, const char *key, struct gguf_string *out,
                                  struct chord_error *);

// The same, with a value to use when the key is absent: only a malformed value fails.
enum chord_status gguf_get_u32_or(const struct gguf *, const char *key, uint32_t absent, uint32_t *out,
                                  struct chord_error *);
enum chord_status gguf_get_f32_or(const struct gguf *, const char *key, float absent, float *out,
                                  struct chord_error *);
enum chord_status gguf_get_bool_or(const struct gguf *, const char *key, bool absent, bool *out,
                                   struct chord_error *);

// Element `index` of a numeric value or array, as the widest type. False: not numeric, or no such element.
bool gguf_element_i64(const struct gguf_value *value, uint64_t index, int64_t *out); // also bool; not u64 above 2^63-1
bool gguf_element_f64(const struct gguf_value *value, uint64_t index, double *out);

// Walks the strings of a string or of an array of strings, O(1) each:
//   struct gguf_string_walk walk = gguf_strings(value); struct gguf_string s;
//   while (gguf_next_string(&walk, &s)) ...
struct gguf_string_walk {
    const unsigned char *at;
    uint64_t n_left;
};
struct gguf_string_walk gguf_strings(const struct gguf_value *value); // no strings: an empty walk
bool gguf_next_string(struct gguf_string_walk *walk, struct gguf_string *out);

// Name of a value type for messages and `inspect` ("uint32"). NULL for a type that does not exist.
const char *gguf_value_type_name(uint32_t type);

#endif
