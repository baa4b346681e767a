#include "sampler/json_schema_terms.h"

#include <string.h>

#define MAX_REF_DEPTH 200u

// ---- Terms -----------------------------------------------------------------------------------------------------------

// The schemas that were entered to get here: one that comes again is defined by itself.
struct trail {
    const struct schema *schema;
    const struct trail *outer;
    uint32_t depth;
};

static bool add_schema(struct compiler *c, struct terms *terms, const struct schema *s, const struct trail *outer)
{
    const struct trail trail = {s, outer, outer != NULL ? outer->depth + 1 : 0};
    if (s == NULL)
        return false;
    for (const struct trail *t = outer; t != NULL; t = t->outer)
        if (t->schema == s)
            return schema_fail(&c->reader, s->json, "it is defined by itself") != NULL;
    if (trail.depth > MAX_REF_DEPTH)
        return schema_fail(&c->reader, s->json, "more than %u references in a row", MAX_REF_DEPTH) != NULL;
    terms->is_false |= s->is_false;
    if (s->ref != NULL && !add_schema(c, terms, schema_resolve(&c->reader, s), &trail))
        return false;
    for (const struct json_value *one = s->all_of != NULL ? s->all_of->first : NULL; one != NULL; one = one->next)
        if (!add_schema(c, terms, schema_read(&c->reader, one), &trail))
            return false;
    if (s->is_bare)
        return true;
    for (uint32_t i = 0; i < terms->n; i++) {
        if (terms->items[i].schema != s)
            continue;
        if (terms->items[i].done != 0)
            return schema_fail(&c->reader, s->json, "one of its own branches refers to it") != NULL;
        return true;
    }
    if (terms->n == MAX_TERMS)
        return schema_fail(&c->reader, s->json, "more than %u schemas for one value", MAX_TERMS) != NULL;
    terms->items[terms->n++] = (struct term){.schema = s};
    return true;
}

bool terms_add(struct compiler *c, struct terms *terms, const struct json_value *json)
{
    return add_schema(c, terms, schema_read(&c->reader, json), NULL);
}

bool terms_of_member(struct compiler *c, const struct terms *terms, struct json_string name, struct terms *out)
{
    *out = (struct terms){0};
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        const struct json_value *property = json_member_n(s->properties, name);
        bool found = property != NULL;
        uint32_t n = 0;
        if (property != NULL && !terms_add(c, out, property))
            return false;
        for (const struct json_value *p = s->patterns != NULL ? s->patterns->first : NULL; p != NULL; p = p->next) {
            if (!regex_matches(c, s->pattern_regexes[n++], name))
                continue;
            found = true;
            if (!terms_add(c, out, p))
                return false;
        }
        if (!found && s->additional != NULL && !terms_add(c, out, s->additional))
            return false;
    }
    return !schema_failed(c);
}

bool terms_of_element(struct compiler *c, const struct terms *terms, uint32_t index, struct terms *out)
{
    *out = (struct terms){0};
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        const struct json_value *element = json_element(s->prefix_items, index);
        element = element != NULL ? element : s->items;
        if (element != NULL && !terms_add(c, out, element))
            return false;
    }
    return true;
}

uint32_t terms_types(const struct terms *terms)
{
    uint32_t types = terms->is_false ? 0 : TYPE_ALL;
    for (uint32_t i = 0; i < terms->n; i++)
        if (terms->items[i].schema->types != 0)
            types &= terms->items[i].schema->types;
    return types;
}

uint32_t terms_chosen_types(const struct terms *terms)
{
    uint32_t mentioned = 0;
    for (uint32_t i = 0; i < terms->n; i++) {
        if (terms->items[i].schema->types != 0)
            return terms_types(terms);
        mentioned |= terms->items[i].schema->mentioned;
    }
    return mentioned != 0 ? terms_types(terms) & mentioned : terms_types(terms);
}

bool terms_require(const struct terms *terms, struct json_string name)
{
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct json_value *required = terms->items[i].schema->required;
        for (const struct json_value *r = required != NULL ? required->first : NULL; r != NULL; r = r->next)
            if (json_string_compare(r->text, name) == 0)
                return true;
    }
    return false;
}

bool terms_name(const struct terms *terms, struct json_string name)
{
    for (uint32_t i = 0; i < terms->n; i++)
        if (json_member_n(terms->items[i].schema->properties, name) != NULL)
            return true;
    return false;
}

bool terms_are_open(const struct terms *terms)
{
    bool asks = false, mentions = false;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        if (s->additional != NULL && s->additional->type == JSON_FALSE)
            return false;
        asks |= s->additional != NULL;
        mentions |= (s->properties != NULL && s->properties->n > 0) || (s->required != NULL && s->required->n > 0) ||
                    (s->patterns != NULL && s->patterns->n > 0);
    }
    return asks || !mentions;
}

void terms_elements(const struct terms *terms, uint32_t *min, uint32_t *max, uint32_t *n_prefix, bool *rest)
{
    bool asks = false, refuses = false;
    *min = *n_prefix = 0;
    *max = UINT32_MAX;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        const uint32_t n = s->prefix_items != NULL ? s->prefix_items->n : 0;
        *min = s->min_items > *min ? s->min_items : *min;
        *max = s->max_items < *max ? s->max_items : *max;
        *n_prefix = n > *n_prefix ? n : *n_prefix;
        if (s->items != NULL && s->items->type == JSON_FALSE) {
            *max = n < *max ? n : *max;
            refuses = true;
        }
        asks |= s->items != NULL;
    }
    // Beyond what is mentioned only as far as it must be.
    *rest = !refuses;
    if (*rest && !asks && *n_prefix > 0) {
        const uint32_t most = *min > *n_prefix ? *min : *n_prefix;
        *max = most < *max ? most : *max;
    }
}

void terms_bounds(struct compiler *c, const struct terms *terms, struct number_bounds *out)
{
    *out = (struct number_bounds){0};
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct number_bounds *b = &terms->items[i].schema->bounds;
        const int min_order = b->has_min && out->has_min ? decimal_compare(&b->min, &out->min) : 1;
        const int max_order = b->has_max && out->has_max ? decimal_compare(&b->max, &out->max) : -1;
        if (b->has_min && min_order >= 0) {
            out->excludes_min = b->excludes_min || (min_order == 0 && out->excludes_min);
            out->min = b->min;
            out->has_min = true;
        }
        if (b->has_max && max_order <= 0) {
            out->excludes_max = b->excludes_max || (max_order == 0 && out->excludes_max);
            out->max = b->max;
            out->has_max = true;
        }
        if (b->has_unit && out->has_unit && decimal_compare(&b->unit, &out->unit) != 0) {
            bool known;
            if (decimal_is_multiple(&b->unit, &out->unit, &known)) {
                out->unit = b->unit;
            } else if (!decimal_is_multiple(&out->unit, &b->unit, &known)) {
                schema_fail(&c->reader, terms->items[i].schema->json,
                            "multipleOf and that of another schema for the same value, of which neither is a multiple "
                            "of the other");
                return;
            }
        } else if (b->has_unit) {
            out->unit = b->unit;
            out->has_unit = true;
        }
    }
}

void terms_length(const struct terms *terms, uint32_t *min, uint32_t *max)
{
    *min = 0;
    *max = UINT32_MAX;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct schema *s = terms->items[i].schema;
        *min = s->min_length > *min ? s->min_length : *min;
        *max = s->max_length < *max ? s->max_length : *max;
    }
}

// ---- Places ----------------------------------------------------------------------------------------------------------

uint32_t terms_reference(struct compiler *c, const struct terms *terms, const struct json_value *for_messages)
{
    struct grammar_builder *b = c->text.builder;
    uint32_t hash = 2166136261u;
    char pointer[128];
    if (schema_failed(c))
        return 0;
    if (terms->is_false)
        return grammar_choice(b, NULL, 0);
    for (uint32_t i = 0; i < terms->n; i++)
        hash = ((hash ^ (uint32_t)((uintptr_t)terms->items[i].schema >> 4)) * 16777619u ^ terms->items[i].done) *
               16777619u;
    struct place **bucket = &c->buckets[(hash ^ hash >> 16) % SCHEMA_BUCKETS];
    for (struct place *p = *bucket; p != NULL; p = p->next_in_bucket) {
        bool same = p->hash == hash && p->n == terms->n;
        for (uint32_t i = 0; same && i < terms->n; i++)
            same = p->terms[i].schema == terms->items[i].schema && p->terms[i].done == terms->items[i].done;
        if (same)
            return grammar_reference(b, p->rule);
    }
    struct place *place = arena_alloc(c->reader.arena, 1, sizeof *place);
    struct term *copy = arena_alloc(c->reader.arena, terms->n + 1, sizeof *copy);
    if (place == NULL || copy == NULL) {
        schema_no_memory(&c->reader);
        return 0;
    }
    if (terms->n > 0)
        memcpy(copy, terms->items, terms->n * sizeof *copy);
    schema_pointer(c->reader.root, for_messages, pointer, sizeof pointer);
    *place =
        (struct place){.terms = copy, .n = terms->n, .hash = hash, .json = for_messages, .next_in_bucket = *bucket};
    place->rule = grammar_rule(b, pointer);
    *bucket = place;
    *(c->last != NULL ? &c->last->next : &c->first) = place;
    c->last = place;
    return grammar_reference(b, place->rule);
}

// ---- Branches --------------------------------------------------------------------------------------------------------

static bool is_raw_text(const struct compiler *c, const struct json_value *value)
{
    return value->type == JSON_NULL || (value->type == JSON_STRING && !string_has(value->text, c->until));
}

// The values of enum or const that all of the terms validate, as they are.
static uint32_t define_values(struct compiler *c, const struct terms *terms, const struct schema *s)
{
    const struct json_value *first = s->constant != NULL ? s->constant : s->values->first;
    const uint32_t n = s->constant != NULL ? 1 : s->values->n;
    uint32_t *nodes = arena_alloc(c->reader.arena, (uint64_t)n + 1, sizeof *nodes), n_nodes = 0;
    if (nodes == NULL) {
        schema_no_memory(&c->reader);
        return 0;
    }
    for (const struct json_value *value = first; value != NULL; value = s->constant != NULL ? NULL : value->next)
        if (terms_validate(c, terms, value) && (!c->text.is_raw || is_raw_text(c, value)))
            nodes[n_nodes++] = json_text_value(&c->text, value);
    return grammar_choice(c->text.builder, nodes, n_nodes);
}

// The terms with one branch of term `at`.
static bool enter_branch(struct compiler *c, const struct terms *terms, uint32_t at, uint32_t done,
                         const struct json_value *branch, struct terms *out)
{
    *out = *terms;
    out->items[at].done |= done;
    return terms_add(c, out, branch);
}

static uint32_t define_branches(struct compiler *c, const struct terms *terms, uint32_t at, uint32_t done)
{
    const struct schema *s = terms->items[at].schema;
    const struct json_value *branches = done == DONE_ANY_OF ? s->any_of : s->one_of;
    uint32_t *nodes = arena_alloc(c->reader.arena, branches->n, sizeof *nodes), n = 0;
    struct terms entered;
    if (nodes == NULL) {
        schema_no_memory(&c->reader);
        return 0;
    }
    for (const struct json_value *branch = branches->first; branch != NULL; branch = branch->next) {
        if (!enter_branch(c, terms, at, done, branch, &entered))
            return 0;
        if (done == DONE_ONE_OF) {
            unsigned index = 0;
            for (const struct json_value *other = branches->first; other != NULL; other = other->next, index++) {
                if (other == branch || terms_apart(c, &entered, other) || schema_failed(c))
                    continue;
                schema_fail(&c->reader, branch,
                            "oneOf is supported only where branches exclude each other, and this one may be valid "
                            "together with branch %u: "
                            "use anyOf, or tell them apart by a required property with a const",
                            index);
            }
        }
        nodes[n++] = terms_reference(c, &entered, branch);
    }
    return grammar_choice(c->text.builder, nodes, n);
}

// ---- Types -----------------------------------------------------------------------------------------------------------

static uint32_t define_number(struct compiler *c, const struct terms *terms, bool is_integer,
                              const struct json_value *at)
{
    struct number_bounds bounds;
    uint32_t node = 0;
    terms_bounds(c, terms, &bounds);
    bounds.is_integer = is_integer;
    if (schema_failed(c))
        return 0;
    const bool is_plain = is_integer && !bounds.has_min && !bounds.has_max && !bounds.has_unit;
    if (is_plain && c->any_integer > 0)
        return grammar_reference(c->text.builder, c->any_integer - 1);
    const char *problem = json_number(&c->text, &bounds, &node);
    if (problem != NULL)
        schema_fail(&c->reader, at, "minimum, maximum or multipleOf are not supported here: %s", problem);
    if (problem != NULL || !is_plain)
        return node;
    const uint32_t rule = grammar_rule(c->text.builder, "integer");
    grammar_define(c->text.builder, rule, node);
    c->any_integer = rule + 1;
    return grammar_reference(c->text.builder, rule);
}

static uint32_t pair(struct compiler *c, uint32_t first, uint32_t second)
{
    return grammar_sequence(c->text.builder, (uint32_t[]){first, second}, 2);
}

static uint32_t define_array(struct compiler *c, const struct terms *terms, const struct json_value *at)
{
    struct grammar_builder *b = c->text.builder;
    const uint32_t comma = json_text_plain(&c->text, ","), empty = grammar_sequence(b, NULL, 0);
    uint32_t min, max, n_prefix;
    bool has_rest;
    struct terms element;
    terms_elements(terms, &min, &max, &n_prefix, &has_rest);
    if (min > max)
        return grammar_choice(b, NULL, 0);
    // From the last to the first: what may follow element i - 1.
    uint32_t rest = empty;
    if (has_rest && max > n_prefix) {
        if (!terms_of_element(c, terms, n_prefix, &element))
            return 0;
        const uint32_t node = terms_reference(c, &element, at);
        const uint32_t least = min > n_prefix ? min - n_prefix : 0, most = max == UINT32_MAX ? max : max - n_prefix;
        if (n_prefix == 0) {
            const uint32_t more = grammar_repeat(b, pair(c, comma, node), least > 0 ? least - 1 : 0,
                                                 most == UINT32_MAX ? most : most - 1);
            rest = pair(c, node, more);
            rest = least > 0 ? rest : grammar_repeat(b, rest, 0, 1);
        } else {
            rest = grammar_repeat(b, pair(c, comma, node), least, most);
        }
    }
    for (uint32_t i = n_prefix < max ? n_prefix : max; i-- > 0;) {
        if (!terms_of_element(c, terms, i, &element))
            return 0;
        const uint32_t node = pair(c, terms_reference(c, &element, at), rest);
        rest = i > 0 ? pair(c, comma, node) : node;
        rest = min > i ? rest : grammar_repeat(b, rest, 0, 1);
    }
    return grammar_sequence(b, (uint32_t[]){json_text_plain(&c->text, "["), rest, json_text_plain(&c->text, "]")}, 3);
}

static uint32_t define_types(struct compiler *c, const struct terms *terms, const struct json_value *at)
{
    struct grammar_builder *b = c->text.builder;
    const uint32_t types = terms_chosen_types(terms) & (c->text.is_raw ? TYPE_STRING | TYPE_NULL : TYPE_ALL);
    uint32_t nodes[8], n = 0;
    if (types & TYPE_OBJECT)
        nodes[n++] = schema_object(c, terms, at);
    if (types & TYPE_ARRAY)
        nodes[n++] = define_array(c, terms, at);
    if (types & TYPE_STRING)
        nodes[n++] = schema_string(c, terms, at);
    if (types & TYPE_NUMBER)
        nodes[n++] = define_number(c, terms, (types & TYPE_FRACTION) == 0, at);
    if (types & TYPE_BOOLEAN) {
        nodes[n++] = json_text_plain(&c->text, "true");
        nodes[n++] = json_text_plain(&c->text, "false");
    }
    if (types & TYPE_NULL)
        nodes[n++] = json_text_plain(&c->text, "null");
    return n == 1 ? nodes[0] : grammar_choice(b, nodes, n);
}

static uint32_t define_place(struct compiler *c, const struct place *place)
{
    struct terms terms = {.n = place->n};
    if (place->n > 0)
        memcpy(terms.items, place->terms, place->n * sizeof *place->terms);
    for (uint32_t i = 0; i < terms.n; i++)
        if (terms.items[i].schema->constant != NULL || terms.items[i].schema->values != NULL)
            return define_values(c, &terms, terms.items[i].schema);
    for (uint32_t i = 0; i < terms.n; i++) {
        const struct schema *s = terms.items[i].schema;
        if (s->any_of != NULL && !(terms.items[i].done & DONE_ANY_OF))
            return define_branches(c, &terms, i, DONE_ANY_OF);
        if (s->one_of != NULL && !(terms.items[i].done & DONE_ONE_OF))
            return define_branches(c, &terms, i, DONE_ONE_OF);
    }
    for (uint32_t i = 0; i < terms.n; i++) {
        const struct json_value *denied = terms.items[i].schema->not ;
        if (denied != NULL && !terms_apart(c, &terms, denied))
            schema_fail(&c->reader, denied,
                        "not is supported only where nothing that is written could be what it denies");
    }
    return schema_failed(c) ? 0 : define_types(c, &terms, place->json);
}

// What the root describes, or what it says of its member `name`.
static bool described(struct compiler *c, const struct json_string *name, struct terms *out)
{
    struct terms root = {0};
    *out = (struct terms){0};
    if (!terms_add(c, name != NULL ? &root : out, c->reader.root))
        return false;
    return name == NULL || terms_of_member(c, &root, *name, out);
}

// The node in the compiler's builder; what the reader's status says is then to be looked at.
static uint32_t compile(struct compiler *c, const struct json_string *name)
{
    const struct json_value *json = c->reader.root;
    const struct json_value *property = name != NULL ? json_member_n(json_member(json, "properties"), *name) : NULL;
    struct terms terms;
    if (!described(c, name, &terms))
        return 0;
    const uint32_t node = terms_reference(c, &terms, property != NULL ? property : json);
    for (const struct place *p = c->first; p != NULL; p = p->next) {
        const uint32_t defined = define_place(c, p);
        if (schema_failed(c) || grammar_builder_failed(c->text.builder))
            break;
        grammar_define(c->text.builder, p->rule, defined);
    }
    return node;
}

static uint32_t node_of(struct grammar_builder *builder, const struct json_value *root, const struct json_string *name,
                        const struct json_string *until, struct memory_account *account)
{
    struct chord_error error;
    struct arena arena;
    uint32_t node = 0;
    arena_init(&arena, account, MEMORY_SCRATCH);
    struct compiler *c = arena_alloc(&arena, 1, sizeof *c);
    if (c == NULL) {
        memory_account_fail(account, &error, sizeof *c, "the schema");
        grammar_builder_fail_with(builder, &error);
    } else {
        c->reader = (struct schema_reader){.arena = &arena, .root = root, .err = &error};
        c->text = (struct json_text){.builder = builder, .arena = &arena, .is_raw = until != NULL};
        c->until = until != NULL ? *until : (struct json_string){0};
        node = compile(c, name);
        if (schema_failed(c))
            grammar_builder_fail_with(builder, &error);
    }
    arena_free(&arena);
    return node;
}

uint32_t json_schema_node(struct grammar_builder *builder, const struct json_value *root,
                          struct memory_account *account)
{
    return node_of(builder, root, NULL, NULL, account);
}

uint32_t json_schema_member(struct grammar_builder *builder, const struct json_value *root, struct json_string name,
                            const struct json_string *until, struct memory_account *account)
{
    return node_of(builder, root, &name, until, account);
}

enum chord_status json_schema_compile(const char *schema, uint64_t n_bytes, struct memory_account *account,
                                      struct grammar **out, struct chord_error *err)
{
    struct json_document document;
    struct grammar_builder *builder;
    *out = NULL;
    enum chord_status status = json_read(&document, schema, n_bytes, "schema", account, MEMORY_SCRATCH, err);
    if (status != CHORD_OK)
        return status;
    status = grammar_builder_create(&builder, account, err);
    if (status == CHORD_OK) {
        const uint32_t node = json_schema_node(builder, document.root, account);
        status = grammar_finish(builder, node, out, err);
        grammar_builder_free(builder);
    }
    json_free(&document);
    return status;
}
