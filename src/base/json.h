// A strict reader of JSON (RFC 8259): the whole text as a tree. Keys keep their order; a key that comes twice in one object is an
// error, as are invalid UTF-8, lone surrogates, anything after the value, and more than JSON_MAX_DEPTH levels.
#ifndef CHORD_BASE_JSON_H
#define CHORD_BASE_JSON_H

#include "base/alloc.h"
#include "base/arena.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define JSON_MAX_DEPTH 256u
#define JSON_MAX_BYTES (16u * 1024 * 1024)

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

// UTF-8, not terminated; may hold U+0000.
struct json_string {
    const char *bytes;
    uint32_t n_bytes;
};

struct json_value {
    enum json_type type;
    uint32_t n;                             // elements of an array, members of an object
    struct json_string text;                // of a string: unescaped; of a number: as it is written
    struct json_string key;                 // of a member
    const struct json_value *parent;        // NULL: the root
    const struct json_value *first, *next;  // the first element or member; the next of the same array or object
    const struct json_value *const *by_key; // of an object: its members by the bytes of their keys, for json_member
};

struct json_document {
    struct arena arena; // holds all of it
    const struct json_value *root;
};

// Reads `text`, which is not kept. INVALID_ARGUMENT names `what`, the line, the column (in characters) and what is wrong there.
// After a failure there is nothing to free.
enum chord_status json_read(struct json_document *out, const char *text, uint64_t n_bytes, const char *what,
                            struct memory_account *account, enum memory_region region, struct chord_error *err);
void json_free(struct json_document *document);

// The member of that name, or NULL; also NULL when `object` is no object.
const struct json_value *json_member(const struct json_value *object, const char *key);
const struct json_value *json_member_n(const struct json_value *object, struct json_string key);
// Element `index`, or NULL.
const struct json_value *json_element(const struct json_value *array, uint32_t index);

bool json_string_is(struct json_string string, const char *text);
int json_string_compare(struct json_string a, struct json_string b); // by bytes, as memcmp

#endif
