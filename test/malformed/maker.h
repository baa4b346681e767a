// Builds GGUF files in memory, byte for byte and without checking anything, so that bad ones can be made.
#ifndef CHORD_TEST_MALFORMED_MAKER_H
#define CHORD_TEST_MALFORMED_MAKER_H

#include "gguf/header.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct maker {
    unsigned char *bytes; // malloc'd
    uint64_t n, capacity;
    uint64_t sparse_bytes; // when larger than n: the file is that long, with zeros from n on
};

static inline void put(struct maker *m, const void *bytes, uint64_t n)
{
    if (m->n + n > m->capacity) {
        m->capacity = (m->n + n) * 2;
        m->bytes = realloc(m->bytes, m->capacity);
        if (m->bytes == NULL)
            abort();
    }
    if (n > 0)
        memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static inline void put_number(struct maker *m, uint64_t number, unsigned n_bytes)
{
    unsigned char bytes[8];
    for (unsigned i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    put(m, bytes, n_bytes);
}

static inline void put_u8(struct maker *m, uint8_t number)
{
    put_number(m, number, 1);
}

static inline void put_u32(struct maker *m, uint32_t number)
{
    put_number(m, number, 4);
}

static inline void put_u64(struct maker *m, uint64_t number)
{
    put_number(m, number, 8);
}

static inline void put_f32(struct maker *m, float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_u32(m, bits);
}

static inline void put_f64(struct maker *m, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_u64(m, bits);
}

static inline void put_string(struct maker *m, const char *text)
{
    put_u64(m, strlen(text));
    put(m, text, strlen(text));
}

static inline void put_fill(struct maker *m, unsigned char byte, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        put_u8(m, byte);
}

static inline void put_head(struct maker *m, uint32_t version, uint64_t n_tensors, uint64_t n_values)
{
    put(m, "GGUF", 4);
    put_u32(m, version);
    put_u64(m, n_tensors);
    put_u64(m, n_values);
}

static inline void put_key(struct maker *m, const char *key, uint32_t type)
{
    put_string(m, key);
    put_u32(m, type);
}

static inline void put_key_u32(struct maker *m, const char *key, uint32_t value)
{
    put_key(m, key, GGUF_UINT32);
    put_u32(m, value);
}

static inline void put_key_u16(struct maker *m, const char *key, uint16_t value)
{
    put_key(m, key, GGUF_UINT16);
    put_number(m, value, 2);
}

static inline void put_key_string(struct maker *m, const char *key, const char *value)
{
    put_key(m, key, GGUF_STRING);
    put_string(m, value);
}

static inline void put_key_array(struct maker *m, const char *key, uint32_t element, uint64_t n)
{
    put_key(m, key, GGUF_ARRAY);
    put_u32(m, element);
    put_u64(m, n);
}

static inline void put_tensor_2d(struct maker *m, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type,
                                 uint64_t offset)
{
    put_string(m, name);
    put_u32(m, 2);
    put_u64(m, ne0);
    put_u64(m, ne1);
    put_u32(m, type);
    put_u64(m, offset);
}

static inline void put_padding(struct maker *m, uint64_t alignment)
{
    while (m->n % alignment != 0)
        put_u8(m, 0);
}

// A struct gguf_source over the file made.
static inline enum chord_status maker_read(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                                           struct chord_error *err)
{
    const struct maker *m = context;
    const uint64_t there = offset >= m->n ? 0 : m->n - offset < n_bytes ? m->n - offset : n_bytes;
    (void)err;
    assert(offset + n_bytes <= (m->sparse_bytes > m->n ? m->sparse_bytes : m->n));
    if (there > 0)
        memcpy(out, m->bytes + offset, there);
    memset((unsigned char *)out + there, 0, n_bytes - there);
    return CHORD_OK;
}

static inline struct gguf_source maker_source(const struct maker *m, const char *name)
{
    return (struct gguf_source){.name = name,
                                .n_bytes = m->sparse_bytes > m->n ? m->sparse_bytes : m->n,
                                .read = maker_read,
                                .context = m};
}

#endif
