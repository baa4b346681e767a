// Strings of a schema: lengths, patterns, formats.
#include "sampler/json_schema_terms.h"

#include <string.h>

#define MAX_REGEXES 24u
#define MAX_STATES 4096u
#define FEW_STATES 256u
#define LAST_CODE_POINT 0x10ffffu

static const struct grammar_range any_character = {0, LAST_CODE_POINT};

bool terms_regexes(struct compiler *c, const struct terms *terms, const struct regex **out, uint32_t capacity,
                   uint32_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        const struct regex *both[2] = {s->regex, s->format_regex};
        for (int k = 0; k < 2; k++) {
            if (both[k] == NULL)
                continue;
            if (*n == capacity)
                return schema_fail(&c->reader, s->json, "more than %u patterns for one string", capacity) != NULL;
            out[(*n)++] = both[k];
        }
    }
    return true;
}

static uint32_t no_memory(struct compiler *c)
{
    schema_no_memory(&c->reader);
    return 0;
}

static uint32_t as_automaton(struct compiler *c, const struct automaton_part *parts, uint32_t n,
                             const struct json_value *at)
{
    struct automaton automaton;
    switch (automaton_make(c->reader.arena, parts, n, MAX_STATES, &automaton)) {
    case AUTOMATON_DONE:
        return json_text_automaton(&c->text, &automaton);
    case AUTOMATON_TOO_LARGE:
        schema_fail(&c->reader, at, "these patterns and lengths are too large together");
        return 0;
    default:
        return no_memory(c);
    }
}

// A text that is searched for a pattern: following all its possible beginnings is what an automaton saves.
static bool begins_with_anything(const struct regex *regex)
{
    if (regex->kind == REGEX_REPEAT)
        return regex->max == GRAMMAR_UNBOUNDED && regex->children[0]->kind == REGEX_CLASS &&
               regex->children[0]->n == 1 && regex->children[0]->ranges[0].first == 0;
    if (regex->kind == REGEX_CHOICE || regex->kind == REGEX_SEQUENCE)
        for (uint32_t i = 0; i < regex->n && (regex->kind == REGEX_CHOICE || i == 0); i++)
            if (begins_with_anything(regex->children[i]))
                return true;
    return false;
}

uint32_t schema_string_of(struct compiler *c, const struct automaton_part *parts, uint32_t n_parts, uint32_t min,
                          uint32_t max, const struct json_value *at)
{
    struct arena *arena = c->reader.arena;
    struct automaton_part with_length[MAX_REGEXES + 1];
    struct automaton automaton;
    if (min > max)
        return grammar_choice(c->text.builder, NULL, 0);
    if (n_parts == 0)
        return grammar_repeat(c->text.builder, json_text_class(&c->text, &any_character, 1), min, max);
    if (n_parts == 1 && !parts[0].negated) {
        const struct regex *regex = regex_with_length(arena, parts[0].regex, min, max);
        if (regex != NULL) {
            const struct automaton_part part = {.regex = regex};
            if (begins_with_anything(regex) &&
                automaton_make(arena, &part, 1, FEW_STATES, &automaton) == AUTOMATON_DONE)
                return json_text_automaton(&c->text, &automaton);
            return json_text_regex(&c->text, regex);
        }
    }
    bool all_negated = true; // an automaton has no characters but those of parts that are not
    for (uint32_t i = 0; i < n_parts; i++) {
        with_length[i] = parts[i];
        all_negated &= parts[i].negated;
    }
    if (min > 0 || max < UINT32_MAX || all_negated) {
        const struct regex *any = regex_repeat(arena, regex_class(arena, &any_character, 1, false), min, max);
        if (any == NULL)
            return no_memory(c);
        with_length[n_parts++] = (struct automaton_part){.regex = any};
    }
    return as_automaton(c, with_length, n_parts, at);
}

// Can a text of the expression have the character?
static bool regex_has(const struct regex *regex, uint32_t character)
{
    bool has = false;
    for (uint32_t i = 0; i < regex->n && !has; i++)
        has = regex->kind == REGEX_CLASS ? regex->ranges[i].first <= character && character <= regex->ranges[i].last
                                         : regex_has(regex->children[i], character);
    return has;
}

// Of texts of all of the parts: can `until` occur in them? False only where one of its characters in ASCII cannot.
static bool may_have(const struct automaton_part *parts, uint32_t n, struct json_string until)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < until.n_bytes; k++)
            if ((unsigned char)until.bytes[k] < 0x80 && !regex_has(parts[i].regex, (unsigned char)until.bytes[k]))
                return false;
    return true;
}

// As schema_string_of, without the texts in which `until` occurs.
static uint32_t raw_string_of(struct compiler *c, struct automaton_part *parts, uint32_t n, uint32_t min, uint32_t max,
                              const struct json_value *at)
{
    struct arena *arena = c->reader.arena;
    struct automaton automaton;
    if (!may_have(parts, n, c->until))
        return schema_string_of(c, parts, n, min, max, at);
    if (n > 0) { // an automaton knows of texts that can go on in no other way
        const struct regex *any =
            regex_repeat(arena, regex_class(arena, &any_character, 1, false), 0, GRAMMAR_UNBOUNDED);
        const struct regex *around[3] = {any, regex_text(arena, c->until), any};
        const struct regex *length = regex_repeat(arena, regex_class(arena, &any_character, 1, false), min, max);
        const struct regex *forbidden = regex_sequence(arena, around, 3);
        struct automaton_part all[MAX_REGEXES + 2];
        if (length == NULL || forbidden == NULL)
            return no_memory(c);
        memcpy(all, parts, n * sizeof *parts);
        all[n] = (struct automaton_part){.regex = forbidden, .negated = true};
        all[n + 1] = (struct automaton_part){.regex = length};
        const uint32_t n_all = n + 1 + (min > 0 || max < UINT32_MAX);
        if (automaton_make(arena, all, n_all, MAX_STATES, &automaton) == AUTOMATON_DONE)
            return json_text_automaton(&c->text, &automaton);
    }
    const uint32_t node = schema_string_of(c, parts, n, min, max, at);
    return grammar_without(c->text.builder, node, c->until.bytes, c->until.n_bytes);
}

uint32_t schema_string(struct compiler *c, const struct terms *terms, const struct json_value *at)
{
    struct grammar_builder *b = c->text.builder;
    const struct regex *regexes[MAX_REGEXES];
    struct automaton_part parts[MAX_REGEXES];
    uint32_t n, min, max;
    if (!terms_regexes(c, terms, regexes, MAX_REGEXES, &n))
        return 0;
    for (uint32_t i = 0; i < n; i++)
        parts[i] = (struct automaton_part){.regex = regexes[i]};
    terms_length(terms, &min, &max);
    if (c->text.is_raw)
        return raw_string_of(c, parts, n, min, max, at);
    if (n > 0 || min > 0 || max < UINT32_MAX)
        return json_text_quoted(&c->text, schema_string_of(c, parts, n, min, max, at));
    if (c->any_string == 0) {
        const uint32_t rule = grammar_rule(b, "string");
        grammar_define(b, rule, json_text_quoted(&c->text, schema_string_of(c, NULL, 0, 0, UINT32_MAX, at)));
        c->any_string = rule + 1;
    }
    return grammar_reference(b, c->any_string - 1);
}
