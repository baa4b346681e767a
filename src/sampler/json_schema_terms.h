// What a value must be at one place of a document: a list of schemas that all hold. Internal to json_schema*.c.
#ifndef CHORD_SAMPLER_JSON_SCHEMA_TERMS_H
#define CHORD_SAMPLER_JSON_SCHEMA_TERMS_H

#include "sampler/json_schema_read.h"

// A schema of the list, and which of its keywords are no longer to be looked at, as the list has a branch of them.
#define DONE_ANY_OF 1u
#define DONE_ONE_OF 2u
#define DONE_NOT 4u
struct term {
    const struct schema *schema;
    uint32_t done;
};

#define MAX_TERMS 64u
struct terms {
    struct term items[MAX_TERMS];
    uint32_t n;
    bool is_false; // the schema `false` is among them
};

struct compiler {
    struct schema_reader reader;
    struct json_text text;
    struct json_string until; // with text.is_raw: what does not occur in strings
    struct place *buckets[SCHEMA_BUCKETS];
    struct place *first, *last;       // in the order in which they are defined
    uint32_t any_string, any_integer; // rule + 1; 0: not made
};

// A rule for a list of terms, defined once.
struct place {
    const struct term *terms;
    uint32_t n;
    uint32_t rule;
    uint32_t hash;
    const struct json_value *json; // for messages
    struct place *next_in_bucket, *next;
};

static inline bool schema_failed(const struct compiler *c)
{
    return c->reader.status != CHORD_OK;
}

// Adds a schema with what $ref and allOf bring, those that say nothing left out. False when something failed.
bool terms_add(struct compiler *c, struct terms *terms, const struct json_value *json);
// The terms of a member `name`, of an element `index`, into *out; is_false where there can be none.
bool terms_of_member(struct compiler *c, const struct terms *terms, struct json_string name, struct terms *out);
bool terms_of_element(struct compiler *c, const struct terms *terms, uint32_t index, struct terms *out);

uint32_t terms_types(const struct terms *terms);        // enum schema_type that all of them allow
uint32_t terms_chosen_types(const struct terms *terms); // those of them that are written
bool terms_require(const struct terms *terms, struct json_string name);
bool terms_name(const struct terms *terms, struct json_string name); // in some `properties`
// May a member be written that no `properties` and no patternProperties has?
bool terms_are_open(const struct terms *terms);
// Elements from *n_prefix on are as `items` says; *rest false: there are none.
void terms_elements(const struct terms *terms, uint32_t *min, uint32_t *max, uint32_t *n_prefix, bool *rest);
void terms_bounds(struct compiler *c, const struct terms *terms, struct number_bounds *out);
void terms_length(const struct terms *terms, uint32_t *min, uint32_t *max);

// A node that refers to the terms' rule, which is made if it is new.
uint32_t terms_reference(struct compiler *c, const struct terms *terms, const struct json_value *for_messages);

// json_schema_check.c. Does the schema validate the value? What cannot be told fails.
bool schema_validates(struct compiler *c, const struct json_value *schema, const struct json_value *value);
bool terms_validate(struct compiler *c, const struct terms *terms, const struct json_value *value);
// True when no value that is written for `terms` is one that `json` validates; false also when that cannot be told.
bool terms_apart(struct compiler *c, const struct terms *terms, const struct json_value *json);
// The expressions that strings of the terms are of, without those of length.
bool terms_regexes(struct compiler *c, const struct terms *terms, const struct regex **out, uint32_t capacity,
                   uint32_t *n);
bool string_has(struct json_string text, struct json_string part);
bool regex_matches(struct compiler *c, const struct regex *regex, struct json_string text);

// json_schema_string.c, json_schema_object.c: the node of such values, with quotes and braces.
uint32_t schema_string(struct compiler *c, const struct terms *terms, const struct json_value *at);
uint32_t schema_object(struct compiler *c, const struct terms *terms, const struct json_value *at);
// What is between the quotes of a string that is of all of the parts.
uint32_t schema_string_of(struct compiler *c, const struct automaton_part *parts, uint32_t n_parts, uint32_t min,
                          uint32_t max, const struct json_value *at);

#endif
