// JSON Schema to a grammar: every text of it is a JSON document that the schema validates, in the form in which JSON.stringify writes it.
//
// Supported (draft 2020-12, with `items` as an array, `additionalItems` and `definitions` of earlier ones): type, enum, const; properties,
// required, additionalProperties, patternProperties, propertyNames, minProperties, maxProperties; items, prefixItems, minItems, maxItems;
// minLength, maxLength, pattern, format (date, time, date-time, uuid, email, ipv4); minimum, maximum, exclusiveMinimum,
// exclusiveMaximum, multipleOf; $ref within the document, $defs; allOf; anyOf; oneOf and not where it can be told that no text is of
// two branches, or of what is denied; boolean schemas; annotations. Everything else is refused by name, with its JSON pointer.
//
// A schema says what is valid; what is written is narrower in these ways:
//   - members come in the order of `properties`, those of additionalProperties at the end, no key twice among the named ones;
//   - what a schema does not mention is not written: members beyond `properties` only if additionalProperties is there and not false, elements
//     beyond `prefixItems` likewise with `items`; but a schema that mentions none at all is of any members or elements;
//   - without `type`, the types that the other keywords are about, if there are such;
//   - integers are within 2^53, numbers as in json_number.h.
#ifndef CHORD_SAMPLER_JSON_SCHEMA_H
#define CHORD_SAMPLER_JSON_SCHEMA_H

#include "base/alloc.h"
#include "base/json.h"
#include "base/status.h"
#include "sampler/grammar.h"

// `schema`: JSON text. INVALID_ARGUMENT names what is not supported or not sound, and where; or that no document is valid.
enum chord_status json_schema_compile(const char *schema, uint64_t n_bytes, struct memory_account *account,
                                      struct grammar **out, struct chord_error *err);

// A node of `builder` for the schema `root`, within which $ref stays; 0 when it has failed, as for the reasons above it then has.
uint32_t json_schema_node(struct grammar_builder *builder, const struct json_value *root,
                          struct memory_account *account);

// What the schema `root` of objects says of their member `name`: JSON, as above. With `until` the member's strings as they are, without quotes
// and escapes, null as that word, and nothing else: those in which `until` (1 to GRAMMAR_MAX_FORBIDDEN bytes) does not occur. It is to begin what
// follows, and its first character not to stand in it again: then a text ends where `until` first occurs.
uint32_t json_schema_member(struct grammar_builder *builder, const struct json_value *root, struct json_string name,
                            const struct json_string *until, struct memory_account *account);

#endif
