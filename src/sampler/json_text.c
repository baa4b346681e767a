#include "sampler/json_text.h"

#include <string.h>

#define LAST_CODE_POINT 0x10ffffu

uint32_t json_text_no_memory(struct json_text *text)
{
    struct chord_error error;
    memory_account_fail(text->arena->account, &error, 0, "a grammar");
    grammar_builder_fail_with(text->builder, &error);
    return 0;
}

uint32_t json_text_plain(struct json_text *text, const char *plain)
{
    return grammar_literal(text->builder, plain, strlen(plain));
}

// The escape of `c`, not terminated; its bytes, 0: it needs none.
static uint32_t escape_of(uint32_t c, char out[6])
{
    static const char escaped[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *found = c != 0 && c < 0x80 ? strchr(escaped, (int)c) : NULL;
    if (found != NULL) {
        out[0] = '\\';
        out[1] = names[found - escaped];
        return 2;
    }
    if (c >= 0x20)
        return 0;
    memcpy(out, "\\u00", 4);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

// Writes the escaped form to `out`, which has room for 6 bytes for each of the string's; its length.
static uint64_t escape(struct json_string string, char *out)
{
    char *to = out;
    for (uint32_t i = 0; i < string.n_bytes; i++) {
        const unsigned char c = (unsigned char)string.bytes[i];
        const uint32_t n = escape_of(c, to);
        if (n == 0)
            *to = (char)c;
        to += n > 0 ? n : 1;
    }
    return (uint64_t)(to - out);
}

uint32_t json_text_characters(struct json_text *text, struct json_string string)
{
    if (text->is_raw)
        return grammar_literal(text->builder, string.bytes, string.n_bytes);
    char *escaped = arena_alloc(text->arena, (uint64_t)string.n_bytes + 2, 6);
    if (escaped == NULL)
        return json_text_no_memory(text);
    return grammar_literal(text->builder, escaped, escape(string, escaped));
}

uint32_t json_text_quoted(struct json_text *text, uint32_t node)
{
    if (text->is_raw)
        return node;
    const uint32_t quote = json_text_plain(text, "\"");
    return grammar_sequence(text->builder, (uint32_t[]){quote, node, quote}, 3);
}

uint32_t json_text_string(struct json_text *text, struct json_string string)
{
    if (text->is_raw)
        return json_text_characters(text, string);
    char *escaped = arena_alloc(text->arena, (uint64_t)string.n_bytes + 2, 6);
    if (escaped == NULL)
        return json_text_no_memory(text);
    const uint64_t n = escape(string, escaped + 1);
    escaped[0] = escaped[n + 1] = '"';
    return grammar_literal(text->builder, escaped, n + 2);
}

// The last of "\u00" and two digits: 16 * high + each of `digits`.
static uint32_t hex_escapes(struct json_text *text, char high, const struct grammar_range *ranges, uint32_t n)
{
    const char begin[5] = {'\\', 'u', '0', '0', high};
    const uint32_t parts[2] = {grammar_literal(text->builder, begin, 5),
                               grammar_class(text->builder, ranges, n, false)};
    return grammar_sequence(text->builder, parts, 2);
}

// Every character that needs an escape.
static uint32_t all_escapes(struct json_text *text)
{
    static const struct grammar_range letters[] = {{'"', '"'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'},
                                                   {'n', 'n'}, {'r', 'r'},   {'t', 't'}};
    static const struct grammar_range below_16[] = {{'0', '7'}, {'b', 'b'}, {'e', 'f'}};
    static const struct grammar_range below_32[] = {{'0', '9'}, {'a', 'f'}};
    if (text->escapes > 0)
        return grammar_reference(text->builder, text->escapes - 1);
    const uint32_t one_letter[2] = {json_text_plain(text, "\\"), grammar_class(text->builder, letters, 7, false)};
    const uint32_t alternatives[3] = {grammar_sequence(text->builder, one_letter, 2),
                                      hex_escapes(text, '0', below_16, 3), hex_escapes(text, '1', below_32, 2)};
    const uint32_t rule = grammar_rule(text->builder, "escape");
    grammar_define(text->builder, rule, grammar_choice(text->builder, alternatives, 3));
    text->escapes = rule + 1;
    return grammar_reference(text->builder, rule);
}

// Every character beyond ASCII: a rule, as spelling them out takes some work wherever it is done.
static uint32_t all_beyond_ascii(struct json_text *text)
{
    if (text->beyond_ascii == 0) {
        const uint32_t rule = grammar_rule(text->builder, "beyond ASCII");
        grammar_define(text->builder, rule,
                       grammar_class(text->builder, &(struct grammar_range){0x80, LAST_CODE_POINT}, 1, false));
        text->beyond_ascii = rule + 1;
    }
    return grammar_reference(text->builder, text->beyond_ascii - 1);
}

static bool ranges_have(const struct grammar_range *ranges, uint32_t n, uint32_t c)
{
    for (uint32_t i = 0; i < n; i++)
        if (ranges[i].first <= c && c <= ranges[i].last)
            return true;
    return false;
}

uint32_t json_text_class(struct json_text *text, const struct grammar_range *ranges, uint32_t n_ranges)
{
    if (text->is_raw)
        return grammar_class(text->builder, ranges, n_ranges, false);
    // What stands for itself: the ranges without what is below 0x20 and the two that are escaped.
    static const struct grammar_range plain[] = {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, LAST_CODE_POINT}};
    struct grammar_range *kept = arena_alloc(text->arena, 3 * (uint64_t)n_ranges + 1, sizeof *kept);
    uint32_t n_kept = 0, alternatives[36], n = 0, n_escaped = 0;
    bool goes_beyond = false;
    char escaped[6];
    if (kept == NULL)
        return json_text_no_memory(text);
    for (uint32_t i = 0; i < n_ranges; i++)
        goes_beyond |= ranges[i].first <= 0x80 && ranges[i].last == LAST_CODE_POINT;
    for (uint32_t i = 0; i < n_ranges; i++) {
        for (int k = 0; k < 3; k++) {
            const uint32_t first = ranges[i].first > plain[k].first ? ranges[i].first : plain[k].first;
            uint32_t last = ranges[i].last < plain[k].last ? ranges[i].last : plain[k].last;
            if (goes_beyond && last >= 0x80)
                last = 0x7f;
            if (first <= last)
                kept[n_kept++] = (struct grammar_range){first, last};
        }
    }
    if (n_kept > 0)
        alternatives[n++] = grammar_class(text->builder, kept, n_kept, false);
    if (goes_beyond)
        alternatives[n++] = all_beyond_ascii(text);
    for (uint32_t c = 0; c <= '\\'; c++)
        n_escaped += escape_of(c, escaped) > 0 && ranges_have(ranges, n_ranges, c);
    if (n_escaped == 34) {
        alternatives[n++] = all_escapes(text);
    } else {
        for (uint32_t c = 0; c <= '\\' && n_escaped > 0; c++) {
            const uint32_t n_bytes = escape_of(c, escaped);
            if (n_bytes > 0 && ranges_have(ranges, n_ranges, c))
                alternatives[n++] = grammar_literal(text->builder, escaped, n_bytes);
        }
    }
    return n == 1 ? alternatives[0] : grammar_choice(text->builder, alternatives, n);
}

uint32_t json_text_regex(struct json_text *text, const struct regex *regex)
{
    if (regex->kind == REGEX_CLASS)
        return json_text_class(text, regex->ranges, regex->n);
    uint32_t *children = arena_alloc(text->arena, regex->n + 1, sizeof *children);
    if (children == NULL)
        return json_text_no_memory(text);
    for (uint32_t i = 0; i < regex->n; i++)
        children[i] = json_text_regex(text, regex->children[i]);
    if (regex->kind == REGEX_SEQUENCE)
        return grammar_sequence(text->builder, children, regex->n);
    if (regex->kind == REGEX_CHOICE)
        return grammar_choice(text->builder, children, regex->n);
    return grammar_repeat(text->builder, children[0], regex->min, regex->max);
}

// Edges to `to` as one class.
static uint32_t edges_to(struct json_text *text, const struct automaton_state *state, uint32_t to)
{
    struct grammar_range *ranges = arena_alloc(text->arena, state->n_edges, sizeof *ranges);
    uint32_t n = 0;
    if (ranges == NULL)
        return json_text_no_memory(text);
    for (uint32_t i = 0; i < state->n_edges; i++)
        if (state->edges[i].to == to)
            ranges[n++] = state->edges[i].range;
    return json_text_class(text, ranges, n);
}

// A rule per state: what can follow there.
uint32_t json_text_automaton(struct json_text *text, const struct automaton *automaton)
{
    struct grammar_builder *b = text->builder;
    if (automaton->is_empty)
        return grammar_choice(b, NULL, 0);
    uint32_t *rules = arena_alloc(text->arena, automaton->n_states, sizeof *rules);
    if (rules == NULL)
        return json_text_no_memory(text);
    for (uint32_t i = 0; i < automaton->n_states; i++)
        rules[i] = grammar_rule(b, "string");
    for (uint32_t i = 0; i < automaton->n_states; i++) {
        const struct automaton_state *state = automaton->states[i];
        uint32_t *alternatives = arena_alloc(text->arena, state->n_edges + 1, sizeof *alternatives), n = 0;
        if (alternatives == NULL)
            return json_text_no_memory(text);
        for (uint32_t k = 0; k < state->n_edges; k++) {
            const uint32_t to = state->edges[k].to;
            uint32_t before = 0;
            while (state->edges[before].to != to)
                before++;
            if (before < k)
                continue;
            const uint32_t parts[2] = {edges_to(text, state, to), grammar_reference(b, rules[to])};
            alternatives[n++] = grammar_sequence(b, parts, 2);
        }
        if (state->accepts)
            alternatives[n++] = grammar_sequence(b, NULL, 0);
        grammar_define(b, rules[i], grammar_choice(b, alternatives, n));
    }
    return grammar_reference(b, rules[0]);
}

uint32_t json_text_value(struct json_text *text, const struct json_value *value)
{
    struct grammar_builder *b = text->builder;
    switch (value->type) {
    case JSON_NULL:
        return json_text_plain(text, "null");
    case JSON_FALSE:
        return json_text_plain(text, "false");
    case JSON_TRUE:
        return json_text_plain(text, "true");
    case JSON_NUMBER:
        return grammar_literal(b, value->text.bytes, value->text.n_bytes);
    case JSON_STRING:
        return json_text_string(text, value->text);
    default:
        break;
    }
    const bool is_object = value->type == JSON_OBJECT;
    uint32_t *parts = arena_alloc(text->arena, (uint64_t)value->n + 1, 4 * sizeof *parts), n = 0;
    if (parts == NULL)
        return json_text_no_memory(text);
    parts[n++] = json_text_plain(text, is_object ? "{" : "[");
    for (const struct json_value *child = value->first; child != NULL; child = child->next) {
        if (child != value->first)
            parts[n++] = json_text_plain(text, ",");
        if (is_object) {
            parts[n++] = json_text_string(text, child->key);
            parts[n++] = json_text_plain(text, ":");
        }
        parts[n++] = json_text_value(text, child);
    }
    parts[n++] = json_text_plain(text, is_object ? "}" : "]");
    return grammar_sequence(b, parts, n);
}
