// What can be told of values without writing them: whether a schema validates one, and whether two schemas have none in common.
#include "sampler/json_schema_terms.h"

#include <string.h>

#define MAX_REGEXES 24u
#define MAX_STATES 2048u
#define MAX_DEPTH 16u // of schemas that are compared

bool regex_matches(struct compiler *c, const struct regex *regex, struct json_string text)
{
    struct arena work;
    struct automaton automaton;
    if (schema_failed(c))
        return false;
    arena_init(&work, c->reader.arena->account, c->reader.arena->region);
    const struct automaton_part parts[2] = {{.regex = regex}, {.regex = regex_text(&work, text)}};
    const enum automaton_result result =
        parts[1].regex == NULL ? AUTOMATON_NO_MEMORY : automaton_make(&work, parts, 2, UINT32_MAX, &automaton);
    const bool matches = result == AUTOMATON_DONE && !automaton.is_empty;
    arena_free(&work);
    if (result == AUTOMATON_NO_MEMORY)
        schema_no_memory(&c->reader);
    else if (result == AUTOMATON_TOO_LARGE)
        schema_fail(&c->reader, c->reader.root, "a pattern is too large for a text that it is compared with");
    return matches;
}

bool string_has(struct json_string text, struct json_string part)
{
    for (uint32_t i = 0; part.n_bytes <= text.n_bytes && i <= text.n_bytes - part.n_bytes; i++)
        if (memcmp(text.bytes + i, part.bytes, part.n_bytes) == 0)
            return true;
    return false;
}

// ---- Values ----------------------------------------------------------------------------------------------------------

static bool are_equal(const struct json_value *a, const struct json_value *b)
{
    struct decimal x, y;
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case JSON_NUMBER:
        if (decimal_read(a->text, &x) && decimal_read(b->text, &y))
            return decimal_compare(&x, &y) == 0;
        return json_string_compare(a->text, b->text) == 0;
    case JSON_STRING:
        return json_string_compare(a->text, b->text) == 0;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    default:
        return true;
    }
    if (a->n != b->n)
        return false;
    for (const struct json_value *x_child = a->first, *y_child = b->first; x_child != NULL; x_child = x_child->next) {
        const struct json_value *other = a->type == JSON_OBJECT ? json_member_n(b, x_child->key) : y_child;
        if (other == NULL || !are_equal(x_child, other))
            return false;
        y_child = y_child->next;
    }
    return true;
}

static uint32_t type_of(const struct json_value *value)
{
    static const uint32_t types[] = {
        [JSON_NULL] = TYPE_NULL,     [JSON_FALSE] = TYPE_BOOLEAN, [JSON_TRUE] = TYPE_BOOLEAN,
        [JSON_STRING] = TYPE_STRING, [JSON_ARRAY] = TYPE_ARRAY,   [JSON_OBJECT] = TYPE_OBJECT};
    struct decimal decimal;
    if (value->type != JSON_NUMBER)
        return types[value->type];
    return decimal_read(value->text, &decimal) && decimal_is_integer(&decimal) ? TYPE_INTEGER : TYPE_FRACTION;
}

static bool validates(struct compiler *c, const struct schema *s, const struct json_value *value, uint32_t depth);

static bool validates_json(struct compiler *c, const struct json_value *json, const struct json_value *value,
                           uint32_t depth)
{
    return validates(c, schema_read(&c->reader, json), value, depth + 1);
}

static bool validates_number(struct compiler *c, const struct schema *s, const struct json_value *value)
{
    const struct number_bounds *b = &s->bounds;
    struct decimal n;
    bool known = true;
    if (!decimal_read(value->text, &n))
        return schema_fail(&c->reader, value, "a number of too many digits") != NULL;
    const int min_order = b->has_min ? decimal_compare(&n, &b->min) : 1,
              max_order = b->has_max ? decimal_compare(&n, &b->max) : -1;
    const bool is_multiple = !b->has_unit || decimal_is_multiple(&n, &b->unit, &known);
    if (!known)
        return schema_fail(&c->reader, s->json, "multipleOf of too many digits") != NULL;
    return is_multiple && min_order >= b->excludes_min && max_order <= -(int)b->excludes_max;
}

static bool validates_string(struct compiler *c, const struct schema *s, const struct json_value *value)
{
    uint32_t length = 0;
    for (uint32_t i = 0; i < value->text.n_bytes; i++)
        length += ((unsigned char)value->text.bytes[i] & 0xc0) != 0x80;
    return length >= s->min_length && length <= s->max_length &&
           (s->regex == NULL || regex_matches(c, s->regex, value->text)) &&
           (s->format_regex == NULL || regex_matches(c, s->format_regex, value->text));
}

static bool validates_array(struct compiler *c, const struct schema *s, const struct json_value *value, uint32_t depth)
{
    uint32_t index = 0;
    if (value->n < s->min_items || value->n > s->max_items)
        return false;
    for (const struct json_value *e = value->first; e != NULL; e = e->next, index++) {
        const struct json_value *schema = json_element(s->prefix_items, index);
        schema = schema != NULL ? schema : s->items;
        if (schema != NULL && !validates_json(c, schema, e, depth))
            return false;
    }
    return true;
}

static bool validates_object(struct compiler *c, const struct schema *s, const struct json_value *value, uint32_t depth)
{
    if (value->n < s->min_properties || value->n > s->max_properties)
        return false;
    for (const struct json_value *r = s->required != NULL ? s->required->first : NULL; r != NULL; r = r->next)
        if (json_member_n(value, r->text) == NULL)
            return false;
    for (const struct json_value *m = value->first; m != NULL; m = m->next) {
        const struct json_value *schema = json_member_n(s->properties, m->key);
        const struct json_value name = {.type = JSON_STRING, .text = m->key};
        bool found = schema != NULL;
        uint32_t n = 0;
        if (found && !validates_json(c, schema, m, depth))
            return false;
        for (const struct json_value *p = s->patterns != NULL ? s->patterns->first : NULL; p != NULL; p = p->next) {
            if (!regex_matches(c, s->pattern_regexes[n++], m->key))
                continue;
            found = true;
            if (!validates_json(c, p, m, depth))
                return false;
        }
        if (!found && s->additional != NULL && !validates_json(c, s->additional, m, depth))
            return false;
        if (s->property_names != NULL && !validates_json(c, s->property_names, &name, depth))
            return false;
    }
    return true;
}

static uint32_t count_valid(struct compiler *c, const struct json_value *branches, const struct json_value *value,
                            uint32_t depth)
{
    uint32_t n = 0;
    for (const struct json_value *branch = branches->first; branch != NULL; branch = branch->next)
        n += validates_json(c, branch, value, depth);
    return n;
}

static bool has_value(const struct schema *s, const struct json_value *value)
{
    for (const struct json_value *v = s->values->first; v != NULL; v = v->next)
        if (are_equal(v, value))
            return true;
    return false;
}

static bool validates(struct compiler *c, const struct schema *s, const struct json_value *value, uint32_t depth)
{
    if (s == NULL || schema_failed(c) || s->is_false)
        return false;
    if (depth > JSON_MAX_DEPTH)
        return schema_fail(&c->reader, s->json, "too deep to compare a value with") != NULL;
    if ((s->types != 0 && !(s->types & type_of(value))) || (s->constant != NULL && !are_equal(s->constant, value)) ||
        (s->values != NULL && !has_value(s, value)))
        return false;
    if ((s->ref != NULL && !validates(c, schema_resolve(&c->reader, s), value, depth + 1)) ||
        (s->all_of != NULL && count_valid(c, s->all_of, value, depth) < s->all_of->n) ||
        (s->any_of != NULL && count_valid(c, s->any_of, value, depth) == 0) ||
        (s->one_of != NULL && count_valid(c, s->one_of, value, depth) != 1) ||
        (s->not != NULL && validates_json(c, s->not, value, depth)))
        return false;
    switch (value->type) {
    case JSON_NUMBER:
        return validates_number(c, s, value);
    case JSON_STRING:
        return validates_string(c, s, value);
    case JSON_ARRAY:
        return validates_array(c, s, value, depth);
    case JSON_OBJECT:
        return validates_object(c, s, value, depth);
    default:
        return true;
    }
}

bool schema_validates(struct compiler *c, const struct json_value *schema, const struct json_value *value)
{
    return validates_json(c, schema, value, 0) && !schema_failed(c);
}

bool terms_validate(struct compiler *c, const struct terms *terms, const struct json_value *value)
{
    for (uint32_t i = 0; i < terms->n; i++)
        if (!validates(c, terms->items[i].schema, value, 0))
            return false;
    return !terms->is_false && !schema_failed(c);
}

// ---- Two schemas -----------------------------------------------------------------------------------------------------

static bool apart(struct compiler *c, const struct terms *a, const struct terms *b, uint32_t depth);

static const struct schema *with_values(const struct terms *terms)
{
    for (uint32_t i = 0; i < terms->n; i++)
        if (terms->items[i].schema->constant != NULL || terms->items[i].schema->values != NULL)
            return terms->items[i].schema;
    return NULL;
}

// No value of the schema's enum or const is of both.
static bool values_apart(struct compiler *c, const struct schema *s, const struct terms *a, const struct terms *b)
{
    const struct json_value *first = s->constant != NULL ? s->constant : s->values->first;
    for (const struct json_value *v = first; v != NULL; v = s->constant != NULL ? NULL : v->next)
        if (terms_validate(c, a, v) && terms_validate(c, b, v))
            return false;
    return !schema_failed(c);
}

// A keyword with branches of either that has not been entered: all its branches are apart from the other. *found: there is one.
static bool branches_apart(struct compiler *c, const struct terms *a, const struct terms *b, uint32_t depth,
                           bool *found)
{
    for (int side = 0; side < 2; side++) {
        const struct terms *terms = side == 0 ? a : b;
        for (uint32_t i = 0; i < terms->n; i++) {
            const struct schema *s = terms->items[i].schema;
            const bool any = s->any_of != NULL && !(terms->items[i].done & DONE_ANY_OF);
            if (!any && (s->one_of == NULL || (terms->items[i].done & DONE_ONE_OF)))
                continue;
            const struct json_value *branches = any ? s->any_of : s->one_of;
            *found = true;
            for (const struct json_value *branch = branches->first; branch != NULL; branch = branch->next) {
                struct terms entered = *terms;
                entered.items[i].done |= any ? DONE_ANY_OF : DONE_ONE_OF;
                if (!terms_add(c, &entered, branch) ||
                    !apart(c, side == 0 ? &entered : a, side == 0 ? b : &entered, depth + 1))
                    return false;
            }
            return true;
        }
    }
    *found = false;
    return false;
}

static bool strings_apart(struct compiler *c, const struct terms *a, const struct terms *b)
{
    const struct regex *regexes[2 * MAX_REGEXES];
    struct automaton_part parts[2 * MAX_REGEXES];
    struct automaton automaton;
    uint32_t n_a, n_b, min_a, max_a, min_b, max_b;
    terms_length(a, &min_a, &max_a);
    terms_length(b, &min_b, &max_b);
    if (max_a < min_b || max_b < min_a)
        return true;
    if (!terms_regexes(c, a, regexes, MAX_REGEXES, &n_a) || !terms_regexes(c, b, regexes + n_a, MAX_REGEXES, &n_b))
        return false;
    const uint32_t min = min_a > min_b ? min_a : min_b, max = max_a < max_b ? max_a : max_b;
    for (uint32_t i = 0; i < n_a + n_b; i++) {
        parts[i] = (struct automaton_part){.regex = regexes[i]};
        if (regexes[i]->shortest > max || regexes[i]->longest < min)
            return true;
    }
    if (n_a + n_b < 2)
        return false;
    struct arena work;
    arena_init(&work, c->reader.arena->account, c->reader.arena->region);
    const enum automaton_result result = automaton_make(&work, parts, n_a + n_b, MAX_STATES, &automaton);
    arena_free(&work);
    if (result == AUTOMATON_NO_MEMORY)
        schema_no_memory(&c->reader);
    return result == AUTOMATON_DONE && automaton.is_empty;
}

static bool is_below(const struct number_bounds *a, const struct number_bounds *b)
{
    if (!a->has_max || !b->has_min)
        return false;
    const int order = decimal_compare(&a->max, &b->min);
    return order < 0 || (order == 0 && (a->excludes_max || b->excludes_min));
}

static bool numbers_apart(struct compiler *c, const struct terms *a, const struct terms *b)
{
    struct number_bounds x, y;
    terms_bounds(c, a, &x);
    terms_bounds(c, b, &y);
    return is_below(&x, &y) || is_below(&y, &x);
}

static bool arrays_apart(struct compiler *c, const struct terms *a, const struct terms *b, uint32_t depth)
{
    uint32_t min_a, max_a, min_b = 0, max_b = UINT32_MAX, n_prefix;
    bool rest;
    terms_elements(a, &min_a, &max_a, &n_prefix, &rest);
    // What b validates, not what would be written for it.
    for (uint32_t i = 0; i < b->n; i++) {
        const struct schema *s = b->items[i].schema;
        min_b = s->min_items > min_b ? s->min_items : min_b;
        max_b = s->max_items < max_b ? s->max_items : max_b;
        if (s->items != NULL && s->items->type == JSON_FALSE) {
            const uint32_t n = s->prefix_items != NULL ? s->prefix_items->n : 0;
            max_b = n < max_b ? n : max_b;
        }
    }
    if (max_a < min_b || max_b < min_a)
        return true;
    const uint32_t least = min_a > min_b ? min_a : min_b;
    for (uint32_t i = 0; i < least && i < 64; i++) {
        struct terms x, y;
        if (!terms_of_element(c, a, i, &x) || !terms_of_element(c, b, i, &y))
            return false;
        if (apart(c, &x, &y, depth + 1))
            return true;
    }
    return false;
}

// `name` is in every object of both, if there is one: can it be told apart by it?
static bool members_apart(struct compiler *c, const struct terms *a, const struct terms *b, struct json_string name,
                          uint32_t depth)
{
    struct terms x, y;
    if (!terms_of_member(c, a, name, &x) || !terms_of_member(c, b, name, &y))
        return false;
    // Not written for a.
    if (!terms_name(a, name) && !terms_require(a, name) && !terms_are_open(a) && x.n == 0)
        return true;
    return x.is_false || y.is_false || apart(c, &x, &y, depth + 1);
}

static bool objects_apart(struct compiler *c, const struct terms *a, const struct terms *b, uint32_t depth)
{
    const struct terms *both[2] = {a, b};
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < both[side]->n; i++) {
            const struct json_value *required = both[side]->items[i].schema->required;
            for (const struct json_value *r = required != NULL ? required->first : NULL; r != NULL; r = r->next)
                if (members_apart(c, a, b, r->text, depth))
                    return true;
        }
    }
    return false;
}

// No value that is written for `a` is one that `b` validates.
static bool apart(struct compiler *c, const struct terms *a, const struct terms *b, uint32_t depth)
{
    const struct schema *values = with_values(a) != NULL ? with_values(a) : with_values(b);
    bool found;
    if (schema_failed(c) || depth > MAX_DEPTH)
        return false;
    if (a->is_false || b->is_false)
        return true;
    if (values != NULL)
        return values_apart(c, values, a, b);
    const bool result = branches_apart(c, a, b, depth, &found);
    if (found)
        return result;
    const uint32_t types = terms_chosen_types(a) & terms_types(b);
    return !(types & (TYPE_NULL | TYPE_BOOLEAN)) && (!(types & TYPE_NUMBER) || numbers_apart(c, a, b)) &&
           (!(types & TYPE_STRING) || strings_apart(c, a, b)) &&
           (!(types & TYPE_ARRAY) || arrays_apart(c, a, b, depth)) &&
           (!(types & TYPE_OBJECT) || objects_apart(c, a, b, depth));
}

bool terms_apart(struct compiler *c, const struct terms *terms, const struct json_value *json)
{
    struct terms other = {0};
    return terms_add(c, &other, json) && apart(c, terms, &other, 0);
}
