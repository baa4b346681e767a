#include "sampler/json_schema_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Errors ----------------------------------------------------------------------------------------------------------

void schema_pointer(const struct json_value *root, const struct json_value *at, char *out, size_t out_bytes)
{
    char text[CHORD_ERROR_MESSAGE_BYTES / 2];
    size_t begin = sizeof text; // written from the end
    for (; at != root && at->parent != NULL; at = at->parent) {
        char part[96], name[80];
        if (at->parent->type == JSON_OBJECT) {
            snprintf(part, sizeof part, "/%s", chord_printable(name, sizeof name, at->key.bytes, at->key.n_bytes));
        } else {
            unsigned index = 0;
            for (const struct json_value *e = at->parent->first; e != at; e = e->next)
                index++;
            snprintf(part, sizeof part, "/%u", index);
        }
        const size_t n = strlen(part);
        if (n + 4 > begin) {
            begin -= 3;
            memcpy(text + begin, "...", 3);
            break;
        }
        begin -= n;
        memcpy(text + begin, part, n);
    }
    snprintf(out, out_bytes, "#%.*s", (int)(sizeof text - begin), text + begin);
}

const struct schema *schema_fail(struct schema_reader *reader, const struct json_value *at, const char *format, ...)
{
    char pointer[CHORD_ERROR_MESSAGE_BYTES / 2], text[CHORD_ERROR_MESSAGE_BYTES / 2];
    va_list arguments;
    if (reader->status != CHORD_OK)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    schema_pointer(reader->root, at, pointer, sizeof pointer);
    reader->status = chord_fail(reader->err, CHORD_INVALID_ARGUMENT, "schema, %s: %s", pointer, text);
    return NULL;
}

const struct schema *schema_no_memory(struct schema_reader *reader)
{
    if (reader->status == CHORD_OK)
        reader->status = memory_account_fail(reader->arena->account, reader->err, 0, "the schema");
    return NULL;
}

// ---- Keywords --------------------------------------------------------------------------------------------------------

static bool read_type_name(struct schema_reader *r, const struct json_value *name, uint32_t *types)
{
    static const struct {
        const char *name;
        uint32_t types;
    } rows[] = {
        {"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER}, {"number", TYPE_NUMBER},
        {"string", TYPE_STRING}, {"array", TYPE_ARRAY},     {"object", TYPE_OBJECT},
    };
    if (name->type == JSON_STRING) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            if (json_string_is(name->text, rows[i].name)) {
                *types |= rows[i].types;
                return true;
            }
        }
    }
    return schema_fail(r, name, "expected null, boolean, integer, number, string, array or object") != NULL;
}

static bool read_types(struct schema_reader *r, const struct json_value *value, uint32_t *types)
{
    if (value->type != JSON_ARRAY)
        return read_type_name(r, value, types);
    for (const struct json_value *name = value->first; name != NULL; name = name->next)
        if (!read_type_name(r, name, types))
            return false;
    return value->n > 0 || schema_fail(r, value, "expected at least one type") != NULL;
}

static bool read_count(struct schema_reader *r, const struct json_value *value, uint32_t *out)
{
    struct decimal decimal;
    int64_t count;
    if (value->type != JSON_NUMBER || !decimal_read(value->text, &decimal) || !decimal_scaled(&decimal, 0, &count) ||
        count < 0)
        return schema_fail(r, value, "expected a whole number from 0 on") != NULL;
    *out = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX - 1;
    return true;
}

static bool read_decimal(struct schema_reader *r, const struct json_value *value, struct decimal *out)
{
    if (value->type != JSON_NUMBER)
        return schema_fail(r, value, "expected a number") != NULL;
    return decimal_read(value->text, out) || schema_fail(r, value, "a number of too many digits") != NULL;
}

// The narrower of what the bounds say already and one more.
static bool read_bound(struct schema_reader *r, const struct json_value *value, struct number_bounds *b, bool is_max,
                       bool excludes)
{
    struct decimal decimal;
    if (!read_decimal(r, value, &decimal))
        return false;
    bool *has = is_max ? &b->has_max : &b->has_min, *excluded = is_max ? &b->excludes_max : &b->excludes_min;
    struct decimal *bound = is_max ? &b->max : &b->min;
    const int order = *has ? decimal_compare(&decimal, bound) * (is_max ? -1 : 1) : 1;
    if (order > 0) {
        *bound = decimal;
        *excluded = excludes;
    } else if (order == 0) {
        *excluded |= excludes;
    }
    *has = true;
    return true;
}

static bool read_unit(struct schema_reader *r, const struct json_value *value, struct number_bounds *b)
{
    if (!read_decimal(r, value, &b->unit))
        return false;
    b->has_unit = true;
    return (b->unit.n > 0 && !b->unit.negative) || schema_fail(r, value, "expected a number above 0") != NULL;
}

static bool read_regex(struct schema_reader *r, const struct json_value *at, struct json_string pattern,
                       const struct regex **out)
{
    const char *problem;
    *out = regex_parse(r->arena, pattern, &problem);
    if (*out != NULL)
        return true;
    return (problem != NULL ? schema_fail(r, at, "this pattern is not supported: %s", problem) : schema_no_memory(r)) !=
           NULL;
}

#define YEAR "[0-9]{4}"
#define LEAP_YEAR "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
#define DATE                                                                                                           \
    "(" YEAR "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])" \
    ")|" LEAP_YEAR "-02-29)"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define ATOM "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
#define LABEL "[a-zA-Z0-9]+(-+[a-zA-Z0-9]+)*"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

// RFC 3339, RFC 9562, and the addresses of RFC 5321 that need no quotes.
static bool read_format(struct schema_reader *r, const struct json_value *value, const struct regex **out)
{
    static const struct {
        const char *name, *pattern;
    } rows[] = {
        {"date", "^" DATE "$"},
        {"time", "^" TIME "$"},
        {"date-time", "^" DATE "T" TIME "$"},
        {"uuid", "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"},
        {"email", "^" ATOM "(\\." ATOM ")*@(" LABEL "\\.)+" LABEL "$"},
        {"ipv4", "^(" OCTET "\\.){3}" OCTET "$"},
    };
    if (value->type != JSON_STRING)
        return schema_fail(r, value, "expected a string") != NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (json_string_is(value->text, rows[i].name))
            return read_regex(r, value, (struct json_string){rows[i].pattern, (uint32_t)strlen(rows[i].pattern)}, out);
    return schema_fail(r, value,
                       "this format is not supported; there are date, time, date-time, uuid, email and ipv4") != NULL;
}

static bool read_pattern(struct schema_reader *r, const struct json_value *value, const struct regex **out)
{
    if (value->type != JSON_STRING)
        return schema_fail(r, value, "expected a string") != NULL;
    return read_regex(r, value, value->text, out);
}

static bool read_patterns(struct schema_reader *r, const struct json_value *value, const struct regex ***out)
{
    uint32_t n = 0;
    if (value->type != JSON_OBJECT)
        return schema_fail(r, value, "expected an object") != NULL;
    *out = arena_alloc(r->arena, (uint64_t)value->n + 1, sizeof **out);
    if (*out == NULL)
        return schema_no_memory(r) != NULL;
    for (const struct json_value *member = value->first; member != NULL; member = member->next)
        if (!read_regex(r, member, member->key, &(*out)[n++]))
            return false;
    return true;
}

// How a keyword is read.
enum keyword_kind {
    IGNORED, // annotations, and what says what the document is
    VALUE,   // any value; these store it at `field`
    STRING,
    ARRAY,
    SOME_SCHEMAS, // an array that is not empty
    OBJECT,
    NAMES,      // an array of strings
    COUNT,      // a number of elements, stored at `field`
    OTHER,      // by its name
    FALSE_ONLY, // what is false by default is supported if it is that
};

#define FIELD(name) offsetof(struct schema, name)
static const struct keyword {
    const char *name;
    enum keyword_kind kind;
    uint32_t mentions; // enum schema_type
    size_t field;
} keywords[] = {
    {"type", OTHER, 0, 0},
    {"properties", OBJECT, TYPE_OBJECT, FIELD(properties)},
    {"required", NAMES, TYPE_OBJECT, FIELD(required)},
    {"additionalProperties", VALUE, TYPE_OBJECT, FIELD(additional)},
    {"items", OTHER, TYPE_ARRAY, 0},
    {"enum", ARRAY, 0, FIELD(values)},
    {"const", VALUE, 0, FIELD(constant)},
    {"description", IGNORED, 0, 0},
    {"title", IGNORED, 0, 0},
    {"$ref", STRING, 0, FIELD(ref)},
    {"anyOf", SOME_SCHEMAS, 0, FIELD(any_of)},
    {"oneOf", SOME_SCHEMAS, 0, FIELD(one_of)},
    {"allOf", SOME_SCHEMAS, 0, FIELD(all_of)},
    {"not", VALUE, 0, FIELD(not )},
    {"minimum", OTHER, TYPE_NUMBER, 0},
    {"maximum", OTHER, TYPE_NUMBER, 0},
    {"exclusiveMinimum", OTHER, TYPE_NUMBER, 0},
    {"exclusiveMaximum", OTHER, TYPE_NUMBER, 0},
    {"multipleOf", OTHER, TYPE_NUMBER, 0},
    {"minLength", COUNT, TYPE_STRING, FIELD(min_length)},
    {"maxLength", COUNT, TYPE_STRING, FIELD(max_length)},
    {"pattern", OTHER, TYPE_STRING, 0},
    {"format", OTHER, TYPE_STRING, 0},
    {"prefixItems", SOME_SCHEMAS, TYPE_ARRAY, FIELD(prefix_items)},
    {"additionalItems", OTHER, TYPE_ARRAY, 0},
    {"minItems", COUNT, TYPE_ARRAY, FIELD(min_items)},
    {"maxItems", COUNT, TYPE_ARRAY, FIELD(max_items)},
    {"uniqueItems", FALSE_ONLY, 0, 0},
    {"patternProperties", OTHER, TYPE_OBJECT, 0},
    {"propertyNames", VALUE, TYPE_OBJECT, FIELD(property_names)},
    {"minProperties", COUNT, TYPE_OBJECT, FIELD(min_properties)},
    {"maxProperties", COUNT, TYPE_OBJECT, FIELD(max_properties)},
    {"default", IGNORED, 0, 0},
    {"examples", IGNORED, 0, 0},
    {"$comment", IGNORED, 0, 0},
    {"$schema", IGNORED, 0, 0},
    {"$id", IGNORED, 0, 0},
    {"$defs", IGNORED, 0, 0},
    {"definitions", IGNORED, 0, 0},
    {"deprecated", IGNORED, 0, 0},
    {"readOnly", IGNORED, 0, 0},
    {"writeOnly", IGNORED, 0, 0},
    {"nullable", FALSE_ONLY, 0, 0},
};

static const struct keyword *find_keyword(struct json_string name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (json_string_is(name, keywords[i].name))
            return &keywords[i];
    return NULL;
}

// Keywords without a field of their own. `additionalItems` has a meaning beside an array of `items` only.
static bool read_other(struct schema_reader *r, const struct json_value *value, struct schema *s)
{
    const struct json_string name = value->key;
    if (json_string_is(name, "type"))
        return read_types(r, value, &s->types);
    if (json_string_is(name, "items")) {
        if (value->type != JSON_ARRAY) {
            if (s->items == NULL)
                s->items = value;
            return true;
        }
        if (json_member(s->json, "prefixItems") != NULL)
            return schema_fail(r, value, "expected a schema, beside prefixItems") != NULL;
        s->prefix_items = value;
        s->items = json_member(s->json, "additionalItems");
        return true;
    }
    if (json_string_is(name, "additionalItems"))
        return true;
    if (json_string_is(name, "pattern")) {
        s->pattern = value;
        return read_pattern(r, value, &s->regex);
    }
    if (json_string_is(name, "format")) {
        s->format = value;
        return read_format(r, value, &s->format_regex);
    }
    if (json_string_is(name, "patternProperties")) {
        s->patterns = value;
        return read_patterns(r, value, &s->pattern_regexes);
    }
    if (json_string_is(name, "multipleOf"))
        return read_unit(r, value, &s->bounds);
    const bool is_max = json_string_is(name, "maximum") || json_string_is(name, "exclusiveMaximum");
    return read_bound(r, value, &s->bounds, is_max, name.bytes[0] == 'e');
}

static bool read_names(struct schema_reader *r, const struct json_value *value)
{
    for (const struct json_value *name = value->first; name != NULL; name = name->next)
        if (name->type != JSON_STRING)
            return schema_fail(r, name, "expected the name of a property") != NULL;
    return true;
}

static bool read_keyword(struct schema_reader *r, const struct json_value *value, struct schema *s)
{
    static const char *const wanted[] = {[STRING] = "a string",
                                         [ARRAY] = "an array",
                                         [SOME_SCHEMAS] = "an array of schemas",
                                         [OBJECT] = "an object",
                                         [NAMES] = "an array of names"};
    const struct keyword *keyword = find_keyword(value->key);
    char name[64];
    if (keyword == NULL)
        return schema_fail(r, value, "'%s' is not supported",
                           chord_printable(name, sizeof name, value->key.bytes, value->key.n_bytes)) != NULL;
    s->mentioned |= keyword->mentions;
    bool fits = true;
    switch (keyword->kind) {
    case IGNORED:
        return true;
    case FALSE_ONLY:
        return value->type == JSON_FALSE || schema_fail(r, value, "'%s' is not supported", keyword->name) != NULL;
    case OTHER:
        return read_other(r, value, s);
    case COUNT:
        return read_count(r, value, (uint32_t *)((char *)s + keyword->field));
    case STRING:
        fits = value->type == JSON_STRING;
        break;
    case OBJECT:
        fits = value->type == JSON_OBJECT;
        break;
    case ARRAY:
        fits = value->type == JSON_ARRAY;
        break;
    case SOME_SCHEMAS:
        fits = value->type == JSON_ARRAY && value->n > 0;
        break;
    case NAMES:
        fits = value->type == JSON_ARRAY && read_names(r, value);
        break;
    case VALUE:
        break;
    }
    *(const struct json_value **)((char *)s + keyword->field) = value;
    return fits || schema_fail(r, value, "expected %s", wanted[keyword->kind]) != NULL;
}

static bool says_nothing(const struct json_value *member)
{
    const struct keyword *keyword = find_keyword(member->key);
    return keyword != NULL && keyword->kind == IGNORED;
}

static bool is_bare(const struct json_value *json)
{
    for (const struct json_value *member = json->first; member != NULL; member = member->next) {
        const struct keyword *keyword = find_keyword(member->key);
        if (keyword->kind != IGNORED && keyword->kind != FALSE_ONLY && keyword->field != FIELD(ref) &&
            keyword->field != FIELD(all_of))
            return false;
    }
    return true;
}

// ---- Schemas that say the same ---------------------------------------------------------------------------------------

static bool are_alike(const struct json_value *a, const struct json_value *b)
{
    if (a->type != b->type || a->n != b->n || json_string_compare(a->text, b->text) != 0)
        return false;
    for (a = a->first, b = b->first; a != NULL; a = a->next, b = b->next)
        if (json_string_compare(a->key, b->key) != 0 || !are_alike(a, b))
            return false;
    return true;
}

// The next member from `member` on that says something.
static const struct json_value *said(const struct json_value *member)
{
    while (member != NULL && says_nothing(member))
        member = member->next;
    return member;
}

static bool say_the_same(const struct json_value *a, const struct json_value *b)
{
    if (a->type != b->type)
        return false;
    const struct json_value *x = said(a->first), *y = said(b->first);
    for (; x != NULL && y != NULL; x = said(x->next), y = said(y->next))
        if (json_string_compare(x->key, y->key) != 0 || !are_alike(x, y))
            return false;
    return x == NULL && y == NULL;
}

static uint32_t hash_text(uint32_t hash, struct json_string text)
{
    for (uint32_t i = 0; i < text.n_bytes; i++)
        hash = (hash ^ (unsigned char)text.bytes[i]) * 16777619u;
    return hash;
}

static uint32_t hash_said(const struct json_value *json)
{
    uint32_t hash = 2166136261u + json->type;
    for (const struct json_value *x = said(json->first); x != NULL; x = said(x->next))
        hash = (hash_text(hash_text(hash, x->key), x->text) ^ (uint32_t)x->type ^ x->n) * 16777619u;
    return hash;
}

static struct schema *read_new(struct schema_reader *reader, const struct json_value *json)
{
    if (json->type != JSON_OBJECT && json->type != JSON_TRUE && json->type != JSON_FALSE) {
        schema_fail(reader, json, "expected a schema: an object, true or false");
        return NULL;
    }
    struct schema *s = arena_alloc(reader->arena, 1, sizeof *s);
    if (s == NULL) {
        schema_no_memory(reader);
        return NULL;
    }
    s->json = json;
    s->is_false = json->type == JSON_FALSE;
    s->max_length = s->max_items = s->max_properties = UINT32_MAX;
    for (const struct json_value *member = json->first; member != NULL; member = member->next)
        if (!read_keyword(reader, member, s))
            return NULL;
    s->is_bare = !s->is_false && is_bare(json);
    return s;
}

const struct schema *schema_read(struct schema_reader *reader, const struct json_value *json)
{
    struct schema_entry **place = &reader->by_place[((uintptr_t)json >> 4) % SCHEMA_BUCKETS];
    if (reader->status != CHORD_OK)
        return NULL;
    for (const struct schema_entry *e = *place; e != NULL; e = e->next_by_place)
        if (e->json == json)
            return e->schema;
    const uint32_t hash = hash_said(json);
    struct schema_entry **alike = &reader->by_hash[(hash ^ hash >> 16) % SCHEMA_BUCKETS];
    struct schema_entry *entry = arena_alloc(reader->arena, 1, sizeof *entry);
    if (entry == NULL)
        return schema_no_memory(reader);
    for (const struct schema_entry *e = *alike; e != NULL && entry->schema == NULL; e = e->next_by_hash)
        if (e->hash == hash && say_the_same(e->json, json))
            entry->schema = e->schema;
    if (entry->schema == NULL) {
        entry->schema = read_new(reader, json);
        if (entry->schema == NULL)
            return NULL;
        entry->next_by_hash = *alike;
        *alike = entry;
    }
    entry->json = json;
    entry->hash = hash;
    entry->next_by_place = *place;
    *place = entry;
    return entry->schema;
}

// ---- References ------------------------------------------------------------------------------------------------------

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

// One part of a JSON pointer in a URI fragment, unescaped (%XX, ~0, ~1) into out; false: too long or malformed.
static bool read_part(const char **at, const char *end, char *out, uint32_t capacity, uint32_t *n_out)
{
    *n_out = 0;
    while (*at < end && **at != '/') {
        char c = *(*at)++;
        if (c == '%') {
            if (end - *at < 2 || hex_digit((*at)[0]) < 0 || hex_digit((*at)[1]) < 0)
                return false;
            c = (char)(hex_digit((*at)[0]) * 16 + hex_digit((*at)[1]));
            *at += 2;
        }
        if (c == '~') {
            if (*at == end || ((*at)[0] != '0' && (*at)[0] != '1'))
                return false;
            c = *(*at)++ == '0' ? '~' : '/';
        }
        if (*n_out == capacity)
            return false;
        out[(*n_out)++] = c;
    }
    return true;
}

const struct schema *schema_resolve(struct schema_reader *reader, const struct schema *schema)
{
    const struct json_value *ref = schema->ref, *target = reader->root;
    const char *at = ref->text.bytes, *end = at + ref->text.n_bytes;
    char part[256];
    uint32_t n;
    if (at == end || *at != '#' || (end - at > 1 && at[1] != '/'))
        return schema_fail(reader, ref,
                           "only references to a place in the schema itself are supported, such as #/$defs/name");
    at++;
    while (target != NULL && at < end) {
        at++; // the slash
        if (!read_part(&at, end, part, sizeof part - 1, &n))
            return schema_fail(reader, ref, "a malformed JSON pointer");
        part[n] = '\0';
        if (target->type == JSON_ARRAY) {
            char *number_end;
            const unsigned long index = strtoul(part, &number_end, 10);
            target = n > 0 && *number_end == '\0' && part[0] >= '0' && part[0] <= '9' && index < target->n
                         ? json_element(target, (uint32_t)index)
                         : NULL;
        } else {
            target = json_member_n(target, (struct json_string){part, n});
        }
    }
    if (target == NULL)
        return schema_fail(reader, ref, "there is nothing at this place of the schema");
    return schema_read(reader, target);
}
