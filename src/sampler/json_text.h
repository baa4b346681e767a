// Parts of JSON text as nodes of a grammar, in the one form that JSON.stringify writes: no white space, characters as themselves but
// for ", \ and control characters, escapes in lower case and as short as there are. Or strings as they are: without quotes and escapes.
#ifndef CHORD_SAMPLER_JSON_TEXT_H
#define CHORD_SAMPLER_JSON_TEXT_H

#include "base/arena.h"
#include "base/json.h"
#include "sampler/automaton.h"
#include "sampler/grammar.h"
#include "sampler/regex.h"

// `arena` is for what is needed meanwhile; where it has no memory, the builder has failed.
struct json_text {
    struct grammar_builder *builder;
    struct arena *arena;
    bool is_raw;                    // strings as they are
    uint32_t escapes, beyond_ascii; // rules that many strings share: + 1; 0: not made
};

// Fails the builder for want of memory; returns 0.
uint32_t json_text_no_memory(struct json_text *text);

// Nodes between the quotes of a string.
uint32_t json_text_characters(struct json_text *text, struct json_string string); // this text
uint32_t json_text_class(struct json_text *text, const struct grammar_range *ranges, uint32_t n_ranges);
uint32_t json_text_regex(struct json_text *text, const struct regex *regex);
uint32_t json_text_automaton(struct json_text *text, const struct automaton *automaton);

// Nodes with their quotes, if there are any.
uint32_t json_text_quoted(struct json_text *text, uint32_t node);
uint32_t json_text_string(struct json_text *text, struct json_string string);

// Exactly this value, its members in their order, numbers as they are written.
uint32_t json_text_value(struct json_text *text, const struct json_value *value);

// NUL-terminated, as it is.
uint32_t json_text_plain(struct json_text *text, const char *plain);

#endif
