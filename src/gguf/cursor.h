// Bounded cursor over the start of a file: the only way in which the reader gets at bytes.
//
// The bytes walked over so far stay in one growing buffer, so that what has been checked can be borrowed
// afterwards. Nothing beyond the source's size or GGUF_MAX_HEADER_BYTES is ever touched, and nothing is allocated
// for a length before the source is known to be that long.
//
// What fails returns false, with the code in `status` and a message in `err` that names the source and the item being
// read. The caller stops there.
#ifndef CHORD_GGUF_CURSOR_H
#define CHORD_GGUF_CURSOR_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// Where header bytes come from: a file, or memory (tests, fuzzing).
struct gguf_source {
    const char *name; // path, for messages
    uint64_t n_bytes;
    // Reads exactly n_bytes at offset; the range lies inside the source.
    enum chord_status (*read)(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                              struct chord_error *err);
    const void *context;
};

struct gguf_cursor {
    const struct gguf_source *source;
    struct memory_account *account;
    struct chord_error *err;
    enum chord_status status;

    unsigned char *bytes; // the source's first n_read bytes, owned; moves when it grows
    uint64_t n_read;
    uint64_t at;    // next byte, <= n_read
    uint64_t limit; // no byte at or beyond this is read: the source's size or GGUF_MAX_HEADER_BYTES

    // The item being read, for messages. Offsets, because `bytes` moves.
    const char *item; // "key", "tensor"; NULL: the file's head
    uint64_t index, n_items;
    uint64_t name_at, n_name_bytes; // 0 bytes: not known yet, `index` must do
};

void gguf_cursor_init(struct gguf_cursor *cursor, const struct gguf_source *source,
                      struct memory_account *account, struct chord_error *err);
void gguf_cursor_free(struct gguf_cursor *cursor);

// Reports a failure: "NAME: ITEM: text". Always false.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
bool gguf_cursor_fail(struct gguf_cursor *cursor, enum chord_status code, const char *format, ...);

// Slow path of gguf_cursor_need: reads on until n_bytes lie in the buffer, or fails.
bool gguf_cursor_fill(struct gguf_cursor *cursor, uint64_t n_bytes);

// True when bytes[at, at + n_bytes) may be read. May move `bytes`.
static inline bool gguf_cursor_need(struct gguf_cursor *cursor, uint64_t n_bytes)
{
    return n_bytes <= cursor->n_read - cursor->at || gguf_cursor_fill(cursor, n_bytes);
}

static inline uint32_t gguf_load_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t gguf_load_u64(const unsigned char *p)
{
    return (uint64_t)gguf_load_u32(p) | (uint64_t)gguf_load_u32(p + 4) << 32;
}

static inline bool gguf_cursor_u32(struct gguf_cursor *cursor, uint32_t *out)
{
    if (!gguf_cursor_need(cursor, 4))
        return false;
    *out = gguf_load_u32(cursor->bytes + cursor->at);
    cursor->at += 4;
    return true;
}

static inline bool gguf_cursor_u64(struct gguf_cursor *cursor, uint64_t *out)
{
    if (!gguf_cursor_need(cursor, 8))
        return false;
    *out = gguf_load_u64(cursor->bytes + cursor->at);
    cursor->at += 8;
    return true;
}

// Steps over n_bytes.
static inline bool gguf_cursor_skip(struct gguf_cursor *cursor, uint64_t n_bytes)
{
    if (!gguf_cursor_need(cursor, n_bytes))
        return false;
    cursor->at += n_bytes;
    return true;
}

// Steps over a string: u64 length, bytes. More than max_bytes: GGUF_LIMIT; more than there is: GGUF_TRUNCATED.
bool gguf_cursor_skip_string(struct gguf_cursor *cursor, uint64_t max_bytes, uint64_t *n_bytes);

// True when `count` things of at least `least_bytes` each can still follow: the check that comes before any
// allocation for them. More than any header may hold: GGUF_LIMIT; more than the source holds: GGUF_TRUNCATED.
// `what` names them in the plural.
bool gguf_cursor_has_room(struct gguf_cursor *cursor, uint64_t count, uint64_t least_bytes,
                          const char *what);

#endif
