// Schemas as they were read: each object's keywords, looked at once. Internal to json_schema*.c.
#ifndef CHORD_SAMPLER_JSON_SCHEMA_READ_H
#define CHORD_SAMPLER_JSON_SCHEMA_READ_H

#include "base/json.h"
#include "sampler/json_number.h"
#include "sampler/json_schema.h"

enum schema_type {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_FRACTION = 8, // a number that is no integer
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127,
};
#define TYPE_NUMBER (TYPE_INTEGER | TYPE_FRACTION)

struct schema {
    const struct json_value *json;
    bool is_false;      // the schema `false`; `true` is one without keywords
    bool is_bare;       // says nothing but $ref and allOf
    uint32_t types;     // enum schema_type, of `type`; 0: not given
    uint32_t mentioned; // types that other keywords are about
    // NULL where there is none.
    const struct json_value *ref, *all_of, *any_of, *one_of, *not, *values, *constant;
    const struct json_value *properties, *required, *additional, *patterns, *property_names;
    const struct json_value *items, *prefix_items, *pattern, *format;
    uint32_t min_length, max_length, min_items, max_items, min_properties, max_properties; // max: UINT32_MAX where none
    struct number_bounds bounds;                                                           // but for is_integer
    const struct regex *regex, *format_regex;                                              // of pattern and format
    const struct regex **pattern_regexes; // of patternProperties, in their order
};

#define SCHEMA_BUCKETS 1024u

// A place in the document that has been read. Schemas that say the same share what was read first, so that they are compiled once.
struct schema_entry {
    const struct json_value *json;
    const struct schema *schema;
    uint32_t hash; // of what the schema says
    struct schema_entry *next_by_place, *next_by_hash;
};

struct schema_reader {
    struct arena *arena;
    const struct json_value *root;
    struct schema_entry *by_place[SCHEMA_BUCKETS], *by_hash[SCHEMA_BUCKETS];
    enum chord_status status; // of what failed first
    struct chord_error *err;
};

// NULL with the reader's status when it is no sound schema, or has a keyword that is not supported.
const struct schema *schema_read(struct schema_reader *reader, const struct json_value *json);
// What $ref of the schema refers to; NULL as above.
const struct schema *schema_resolve(struct schema_reader *reader, const struct schema *schema);

// INVALID_ARGUMENT with the JSON pointer of `at`, unless the reader has failed already. Returns NULL.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
const struct schema *
schema_fail(struct schema_reader *reader, const struct json_value *at, const char *format, ...);
const struct schema *schema_no_memory(struct schema_reader *reader);

// The JSON pointer of `at` within `root` as a URI fragment, "#/properties/a", printable and terminated; cut at the front where there is no room.
void schema_pointer(const struct json_value *root, const struct json_value *at, char *out, size_t out_bytes);

#endif
