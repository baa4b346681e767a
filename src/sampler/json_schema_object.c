// Objects of a schema: their members in order, and those that are not named.
#include "sampler/json_schema_terms.h"

#include <string.h>

#define MAX_KEY_PARTS 24u

struct member {
    struct json_string name;
    bool is_required;
    uint32_t node; // "name":value
};

struct object {
    struct compiler *c;
    struct member *members;
    uint32_t n_members;
    uint32_t others; // a member that is not named, as a node
    bool has_others;
    uint32_t min, max; // members; max UINT32_MAX
};

static uint32_t no_memory(struct compiler *c)
{
    schema_no_memory(&c->reader);
    return 0;
}

static uint32_t sequence2(struct compiler *c, uint32_t first, uint32_t second)
{
    return grammar_sequence(c->text.builder, (uint32_t[]){first, second}, 2);
}

static uint32_t with_comma(struct compiler *c, uint32_t node)
{
    return sequence2(c, json_text_plain(&c->text, ","), node);
}

// ---- Named members ---------------------------------------------------------------------------------------------------

// Does every propertyNames of the terms allow it?
static bool may_be_named(struct compiler *c, const struct terms *terms, struct json_string name)
{
    const struct json_value value = {.type = JSON_STRING, .text = name};
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct json_value *names = terms->items[i].schema->property_names;
        if (names != NULL && !schema_validates(c, names, &value))
            return false;
    }
    return true;
}

static void add_member(struct object *o, const struct terms *terms, struct json_string name,
                       const struct json_value *at)
{
    struct compiler *c = o->c;
    struct terms value;
    const bool is_required = terms_require(terms, name);
    if (schema_failed(c) || !terms_of_member(c, terms, name, &value))
        return;
    const bool may_be = !value.is_false && may_be_named(c, terms, name);
    if (!may_be && !is_required)
        return;
    const uint32_t reference = may_be ? terms_reference(c, &value, at) : grammar_choice(c->text.builder, NULL, 0);
    const uint32_t parts[3] = {json_text_string(&c->text, name), json_text_plain(&c->text, ":"), reference};
    o->members[o->n_members++] = (struct member){name, is_required, grammar_sequence(c->text.builder, parts, 3)};
}

static bool is_named_before(const struct terms *terms, uint32_t i, struct json_string name)
{
    for (uint32_t k = 0; k < i; k++)
        if (json_member_n(terms->items[k].schema->properties, name) != NULL)
            return true;
    return false;
}

static bool is_in(const struct object *o, struct json_string name)
{
    for (uint32_t i = 0; i < o->n_members; i++)
        if (json_string_compare(o->members[i].name, name) == 0)
            return true;
    return false;
}

// Those of `properties`, then those that are only required.
static bool find_members(struct object *o, const struct terms *terms)
{
    struct compiler *c = o->c;
    uint64_t n = 0;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        n += (s->properties != NULL ? s->properties->n : 0) + (uint64_t)(s->required != NULL ? s->required->n : 0);
    }
    o->members = arena_alloc(c->reader.arena, n + 1, sizeof *o->members);
    if (o->members == NULL)
        return no_memory(c) != 0;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct json_value *properties = terms->items[i].schema->properties;
        for (const struct json_value *p = properties != NULL ? properties->first : NULL; p != NULL; p = p->next)
            if (!is_named_before(terms, i, p->key))
                add_member(o, terms, p->key, p);
    }
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct json_value *required = terms->items[i].schema->required;
        for (const struct json_value *r = required != NULL ? required->first : NULL; r != NULL; r = r->next)
            if (!terms_name(terms, r->text) && !is_in(o, r->text))
                add_member(o, terms, r->text, r);
    }
    return !schema_failed(c);
}

// ---- Others ----------------------------------------------------------------------------------------------------------

// What every key that is not named must be and must not be.
struct key_parts {
    struct automaton_part items[MAX_KEY_PARTS];
    uint32_t n, min, max;
};

static bool add_part(struct compiler *c, struct key_parts *parts, const struct regex *regex, bool negated,
                     const struct json_value *at)
{
    if (regex == NULL)
        return no_memory(c) != 0;
    if (parts->n == MAX_KEY_PARTS)
        return schema_fail(&c->reader, at, "more than %u patterns for one key", MAX_KEY_PARTS) != NULL;
    parts->items[parts->n++] = (struct automaton_part){regex, negated};
    return true;
}

// propertyNames as parts: of strings' own keywords, enum and const.
static bool add_property_names(struct compiler *c, struct key_parts *parts, const struct json_value *json)
{
    struct terms names = {0};
    const struct regex *regexes[MAX_KEY_PARTS];
    uint32_t n, min, max;
    if (!terms_add(c, &names, json) || !terms_regexes(c, &names, regexes, MAX_KEY_PARTS, &n))
        return false;
    for (uint32_t i = 0; i < names.n; i++) {
        const struct schema *s = names.items[i].schema;
        if (s->any_of != NULL || s->one_of != NULL || s->not != NULL || s->values != NULL || s->constant != NULL)
            return schema_fail(&c->reader, json,
                               "propertyNames is supported with pattern, format, minLength and maxLength only") != NULL;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!add_part(c, parts, regexes[i], false, json))
            return false;
    terms_length(&names, &min, &max);
    parts->min = min > parts->min ? min : parts->min;
    parts->max = (terms_types(&names) & TYPE_STRING) == 0 ? 0 : max < parts->max ? max : parts->max;
    if ((terms_types(&names) & TYPE_STRING) == 0)
        parts->min = 1;
    return true;
}

// Characters of a name at `at`; NULL at its end.
static uint32_t character_at(const struct json_string name, uint32_t at, uint32_t *n)
{
    const unsigned char *p = (const unsigned char *)name.bytes + at;
    *n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t code = *n == 1 ? p[0] : p[0] & (0x7fu >> *n);
    for (uint32_t i = 1; i < *n; i++)
        code = code << 6 | (p[i] & 63);
    return code;
}

#define MAX_NAME_BYTES 300u

// Any text but the names, which are sorted and begin alike up to byte `at`.
static uint32_t any_but(struct compiler *c, const struct json_string *names, uint32_t n, uint32_t at, uint32_t any)
{
    struct grammar_builder *b = c->text.builder;
    struct grammar_range *taken = arena_alloc(c->reader.arena, n + 1, sizeof *taken);
    uint32_t *alternatives = arena_alloc(c->reader.arena, (uint64_t)n + 3, sizeof *alternatives), n_alternatives = 0,
             n_taken = 0;
    if (taken == NULL || alternatives == NULL)
        return no_memory(c);
    uint32_t i = n > 0 && names[0].n_bytes == at ? 1 : 0; // a name that ends here comes first
    if (i == 0)
        alternatives[n_alternatives++] = grammar_sequence(b, NULL, 0);
    while (i < n) {
        uint32_t n_bytes, other, end = i + 1;
        const uint32_t character = character_at(names[i], at, &n_bytes);
        while (end < n && character_at(names[end], at, &other) == character)
            end++;
        taken[n_taken] = (struct grammar_range){character, character};
        const uint32_t rest = any_but(c, names + i, end - i, at + n_bytes, any);
        alternatives[n_alternatives++] = sequence2(c, json_text_class(&c->text, &taken[n_taken], 1), rest);
        n_taken++;
        i = end;
    }
    const struct regex *free = regex_class(c->reader.arena, taken, n_taken, true);
    if (free == NULL)
        return no_memory(c);
    alternatives[n_alternatives++] = sequence2(c, json_text_class(&c->text, free->ranges, free->n), any);
    return grammar_choice(b, alternatives, n_alternatives);
}

// By bytes, which is by code points. Names are few or come sorted from their objects; so insertion will do for up to thousands.
static void sort_names(struct json_string *names, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const struct json_string name = names[i];
        uint32_t k = i;
        for (; k > 0 && json_string_compare(names[k - 1], name) > 0; k--)
            names[k] = names[k - 1];
        names[k] = name;
    }
}

// All names that `properties` and `required` have.
static struct json_string *gather_names(struct compiler *c, const struct terms *terms, uint32_t *n)
{
    uint64_t capacity = 1;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        capacity +=
            (s->properties != NULL ? s->properties->n : 0) + (uint64_t)(s->required != NULL ? s->required->n : 0);
    }
    struct json_string *names = arena_alloc(c->reader.arena, capacity, sizeof *names);
    *n = 0;
    for (uint32_t i = 0; names != NULL && i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        for (uint32_t k = 0; s->properties != NULL && k < s->properties->n; k++)
            names[(*n)++] = s->properties->by_key[k]->key;
        for (const struct json_value *r = s->required != NULL ? s->required->first : NULL; r != NULL; r = r->next)
            names[(*n)++] = r->text;
    }
    if (names == NULL)
        return NULL;
    sort_names(names, *n);
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < *n; i++)
        if (n_kept == 0 || json_string_compare(names[n_kept - 1], names[i]) != 0)
            names[n_kept++] = names[i];
    *n = n_kept;
    return names;
}

static uint32_t other_member(struct compiler *c, uint32_t key, uint32_t value)
{
    const uint32_t parts[3] = {json_text_quoted(&c->text, key), json_text_plain(&c->text, ":"), value};
    return grammar_sequence(c->text.builder, parts, 3);
}

// Keys of any text but the names.
static void find_unlimited_others(struct object *o, const struct terms *terms, const struct json_string *names,
                                  uint32_t n_names, const struct json_value *at)
{
    struct compiler *c = o->c;
    const uint32_t any = schema_string_of(c, NULL, 0, 0, UINT32_MAX, at);
    for (uint32_t i = 0; i < n_names; i++)
        if (names[i].n_bytes > MAX_NAME_BYTES)
            schema_fail(&c->reader, at, "a property's name of more than %u bytes beside additionalProperties",
                        MAX_NAME_BYTES);
    struct terms value = {0};
    for (uint32_t i = 0; i < terms->n && !schema_failed(c); i++)
        if (terms->items[i].schema->additional != NULL)
            terms_add(c, &value, terms->items[i].schema->additional);
    if (!schema_failed(c))
        o->others = other_member(c, any_but(c, names, n_names, 0, any), terms_reference(c, &value, at));
}

// The names as one expression that keys are not of.
static bool add_names(struct compiler *c, struct key_parts *parts, const struct json_string *names, uint32_t n_names,
                      const struct json_value *at)
{
    const struct regex **texts = arena_alloc(c->reader.arena, (uint64_t)n_names + 1, sizeof *texts);
    if (texts == NULL) {
        no_memory(c);
        return false;
    }
    for (uint32_t i = 0; i < n_names; i++)
        texts[i] = regex_text(c->reader.arena, names[i]);
    return n_names == 0 || add_part(c, parts, regex_choice(c->reader.arena, texts, n_names), true, at);
}

// All patterns of the terms as such that keys are not of.
static bool add_patterns(struct compiler *c, struct key_parts *parts, const struct terms *terms,
                         const struct json_value *at)
{
    for (uint32_t i = 0; i < terms->n; i++)
        for (uint32_t k = 0; terms->items[i].schema->patterns != NULL && k < terms->items[i].schema->patterns->n; k++)
            if (!add_part(c, parts, terms->items[i].schema->pattern_regexes[k], true, at))
                return false;
    return true;
}

// Keys that are not named, as nodes with their values: those that one pattern of patternProperties matches and no other does, and, if the
// terms are open, those that none matches.
static void find_others(struct object *o, const struct terms *terms, const struct json_value *at)
{
    struct compiler *c = o->c;
    struct grammar_builder *b = c->text.builder;
    const bool is_open = terms_are_open(terms);
    struct key_parts parts = {.max = UINT32_MAX};
    uint32_t n_names, n_patterns = 0, alternatives[MAX_KEY_PARTS + 1], n = 0;
    struct terms value;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        n_patterns += s->patterns != NULL ? s->patterns->n : 0;
        if (s->property_names != NULL && (is_open || s->patterns != NULL) &&
            !add_property_names(c, &parts, s->property_names))
            return;
    }
    if (!is_open && n_patterns == 0)
        return;
    const struct json_string *names = gather_names(c, terms, &n_names);
    if (names == NULL) {
        no_memory(c);
        return;
    }
    o->has_others = true;
    if (n_patterns == 0 && parts.n == 0 && parts.min == 0 && parts.max == UINT32_MAX) {
        find_unlimited_others(o, terms, names, n_names, at);
        return;
    }
    // The patterns are behind the names, each in turn the one that keys are of.
    if (!add_names(c, &parts, names, n_names, at))
        return;
    const uint32_t first_pattern = parts.n;
    if (!add_patterns(c, &parts, terms, at))
        return;
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct json_value *patterns = terms->items[i].schema->patterns;
        for (const struct json_value *p = patterns != NULL ? patterns->first : NULL; p != NULL; p = p->next, chosen++) {
            value = (struct terms){0};
            bool ok = terms_add(c, &value, p);
            for (uint32_t k = 0; ok && k < terms->n; k++)
                if (k != i && terms->items[k].schema->additional != NULL)
                    ok = terms_add(c, &value, terms->items[k].schema->additional);
            if (!ok)
                return;
            parts.items[first_pattern + chosen].negated = false;
            const uint32_t key = schema_string_of(c, parts.items, parts.n, parts.min, parts.max, p);
            parts.items[first_pattern + chosen].negated = true;
            alternatives[n++] = other_member(c, key, terms_reference(c, &value, p));
        }
    }
    if (is_open) {
        value = (struct terms){0};
        for (uint32_t i = 0; i < terms->n; i++)
            if (terms->items[i].schema->additional != NULL && !terms_add(c, &value, terms->items[i].schema->additional))
                return;
        const uint32_t key = schema_string_of(c, parts.items, parts.n, parts.min, parts.max, at);
        alternatives[n++] = other_member(c, key, terms_reference(c, &value, at));
    }
    o->others = grammar_choice(b, alternatives, n);
}

// ---- Together --------------------------------------------------------------------------------------------------------

// Members from `i` on, each with a comma before it.
static uint32_t members_after(struct object *o, uint32_t i)
{
    struct compiler *c = o->c;
    struct grammar_builder *b = c->text.builder;
    uint32_t *parts = arena_alloc(c->reader.arena, (uint64_t)o->n_members - i + 1, sizeof *parts), n = 0;
    if (parts == NULL)
        return no_memory(c);
    for (; i < o->n_members; i++) {
        const uint32_t member = with_comma(c, o->members[i].node);
        parts[n++] = o->members[i].is_required ? member : grammar_repeat(b, member, 0, 1);
    }
    if (o->has_others)
        parts[n++] = grammar_repeat(b, with_comma(c, o->others), 0, GRAMMAR_UNBOUNDED);
    return grammar_sequence(b, parts, n);
}

// Each of the members that may be the first, and what follows it. Rules share what follows.
static uint32_t members_of_any_number(struct object *o)
{
    struct compiler *c = o->c;
    struct grammar_builder *b = c->text.builder;
    uint32_t *alternatives = arena_alloc(c->reader.arena, (uint64_t)o->n_members + 2, sizeof *alternatives), n = 0,
             n_first = 0;
    uint32_t *rules = arena_alloc(c->reader.arena, (uint64_t)o->n_members + 2, sizeof *rules);
    if (alternatives == NULL || rules == NULL)
        return no_memory(c);
    while (n_first < o->n_members && !o->members[n_first].is_required)
        n_first++;
    const bool has_required = n_first < o->n_members;
    // after[i]: what may follow once a member before `i` is there.
    uint32_t after = has_required ? with_comma(c, sequence2(c, o->members[n_first].node, members_after(o, n_first + 1)))
                                  : members_after(o, n_first);
    for (uint32_t i = n_first; i-- > 0;) {
        const uint32_t rule = grammar_rule(b, "members");
        grammar_define(b, rule, after);
        alternatives[n++] = sequence2(c, o->members[i].node, grammar_reference(b, rule));
        after = sequence2(c, grammar_repeat(b, with_comma(c, o->members[i].node), 0, 1), grammar_reference(b, rule));
    }
    if (has_required) {
        alternatives[n++] = sequence2(c, o->members[n_first].node, members_after(o, n_first + 1));
    } else {
        if (o->has_others)
            alternatives[n++] = sequence2(c, o->others, members_after(o, o->n_members));
        alternatives[n++] = grammar_sequence(b, NULL, 0);
    }
    return grammar_choice(b, alternatives, n);
}

#define MAX_COUNTED 4096u

// As above, with the number of members counted: a rule for what may follow each number of those before each.
static uint32_t members_of_a_number(struct object *o, const struct json_value *at)
{
    struct compiler *c = o->c;
    struct grammar_builder *b = c->text.builder;
    const uint32_t most = o->max < o->n_members ? o->max : o->n_members;
    const uint64_t n_rules = ((uint64_t)o->n_members + 1) * (most + 1);
    if (n_rules > MAX_COUNTED) {
        schema_fail(&c->reader, at,
                    "minProperties and maxProperties are supported for up to some 60 optional properties only");
        return 0;
    }
    uint32_t *rules = arena_alloc(c->reader.arena, n_rules, sizeof *rules);
    if (rules == NULL)
        return no_memory(c);
    for (uint64_t i = 0; i < n_rules; i++)
        rules[i] = grammar_rule(b, "members");
    for (uint32_t i = 0; i <= o->n_members; i++) {
        for (uint32_t count = 0; count <= most; count++) {
            uint32_t alternatives[2], n = 0;
            const uint32_t rule = rules[i * (most + 1) + count];
            if (i == o->n_members) {
                const uint32_t least = o->min > count ? o->min - count : 0,
                               left = o->max == UINT32_MAX ? o->max : o->max - count;
                if (least > left || (least > 0 && !o->has_others)) {
                    grammar_define(b, rule, grammar_choice(b, NULL, 0));
                } else if (!o->has_others || left == 0) {
                    grammar_define(b, rule, grammar_sequence(b, NULL, 0));
                } else {
                    const uint32_t more = with_comma(c, o->others);
                    uint32_t node = grammar_repeat(b, more, least, left);
                    if (count == 0) {
                        node = sequence2(
                            c, o->others,
                            grammar_repeat(b, more, least > 0 ? least - 1 : 0, left == UINT32_MAX ? left : left - 1));
                        node = least > 0 ? node : grammar_repeat(b, node, 0, 1);
                    }
                    grammar_define(b, rule, node);
                }
                continue;
            }
            const struct member *m = &o->members[i];
            if (count < most)
                alternatives[n++] = sequence2(c, count > 0 ? with_comma(c, m->node) : m->node,
                                              grammar_reference(b, rules[(i + 1) * (most + 1) + count + 1]));
            if (!m->is_required)
                alternatives[n++] = grammar_reference(b, rules[(i + 1) * (most + 1) + count]);
            grammar_define(b, rule, grammar_choice(b, alternatives, n));
        }
    }
    return grammar_reference(b, rules[0]);
}

uint32_t schema_object(struct compiler *c, const struct terms *terms, const struct json_value *at)
{
    struct object o = {.c = c, .max = UINT32_MAX};
    uint32_t n_required = 0;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        o.min = s->min_properties > o.min ? s->min_properties : o.min;
        o.max = s->max_properties < o.max ? s->max_properties : o.max;
    }
    if (!find_members(&o, terms))
        return 0;
    find_others(&o, terms, at);
    if (schema_failed(c))
        return 0;
    for (uint32_t i = 0; i < o.n_members; i++)
        n_required += o.members[i].is_required;
    // A key may come twice among those that are not named, and then counts once: only one of them can be asked for.
    if (o.has_others && o.min > n_required && o.min > 1) {
        schema_fail(
            &c->reader, at,
            "minProperties is supported only as far as properties that are required, or the first one, fulfil it");
        return 0;
    }
    const bool is_counted = o.min > n_required || o.max < o.n_members || (o.has_others && o.max < UINT32_MAX);
    const uint32_t members = is_counted ? members_of_a_number(&o, at) : members_of_any_number(&o);
    return grammar_sequence(c->text.builder,
                            (uint32_t[]){json_text_plain(&c->text, "{"), members, json_text_plain(&c->text, "}")}, 3);
}
