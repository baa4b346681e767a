#include "sampler/grammar_form.h"

#include "sampler/json_schema.h"

struct form {
    struct grammar_builder *b;
    struct arena arena;
    uint32_t *rules; // [n_rules]: the builder's
    uint32_t n_rules;
    const struct json_value *schemas; // an array, or NULL
};

static uint32_t refuse(struct form *f, const char *what)
{
    grammar_builder_fail(f->b, "the form of a grammar: %s", what);
    return 0;
}

static void *allocate(struct form *f, uint32_t count, size_t bytes)
{
    struct chord_error error;
    void *room = arena_alloc(&f->arena, count == 0 ? 1 : count, bytes);
    if (room == NULL) {
        memory_account_fail(f->arena.account, &error, count * bytes, "a grammar");
        grammar_builder_fail_with(f->b, &error);
    }
    return room;
}

// A number of digits only, at most `most`.
static bool read_count(const struct json_value *value, uint32_t most, uint32_t *out)
{
    uint64_t count = 0;
    if (value == NULL || value->type != JSON_NUMBER || value->text.n_bytes > 10)
        return false;
    for (uint32_t i = 0; i < value->text.n_bytes; i++) {
        const char digit = value->text.bytes[i];
        if (digit < '0' || digit > '9')
            return false;
        count = count * 10 + (uint64_t)(digit - '0');
    }
    *out = (uint32_t)count;
    return count <= most;
}

static uint32_t part_node(struct form *f, const struct json_value *part);

static uint32_t parts_node(struct form *f, const struct json_value *parts, bool is_choice)
{
    if (parts->type != JSON_ARRAY)
        return refuse(f, "expected an array of parts");
    uint32_t n = 0, *nodes = allocate(f, parts->n, sizeof *nodes);
    if (nodes == NULL)
        return 0;
    for (const struct json_value *part = parts->first; part != NULL; part = part->next)
        nodes[n++] = part_node(f, part);
    return is_choice ? grammar_choice(f->b, nodes, n) : grammar_sequence(f->b, nodes, n);
}

static uint32_t repeat_node(struct form *f, const struct json_value *of)
{
    const struct json_value *most = json_element(of, 2);
    uint32_t min, max = GRAMMAR_UNBOUNDED;
    if (of->type != JSON_ARRAY || of->n != 3 || !read_count(json_element(of, 1), GRAMMAR_UNBOUNDED - 1, &min) ||
        (most->type != JSON_NULL && !read_count(most, GRAMMAR_UNBOUNDED - 1, &max)) || max < min)
        return refuse(f, "expected a part, the least and the most of its repetitions");
    return grammar_repeat(f->b, part_node(f, json_element(of, 0)), min, max);
}

static uint32_t class_node(struct form *f, const struct json_value *of, bool negated)
{
    if (of->type != JSON_ARRAY)
        return refuse(f, "expected an array of ranges");
    uint32_t n = 0;
    struct grammar_range *ranges = allocate(f, of->n, sizeof *ranges);
    if (ranges == NULL)
        return 0;
    for (const struct json_value *range = of->first; range != NULL; range = range->next, n++)
        if (range->type != JSON_ARRAY || range->n != 2 ||
            !read_count(json_element(range, 0), 0x10ffff, &ranges[n].first) ||
            !read_count(json_element(range, 1), 0x10ffff, &ranges[n].last) || ranges[n].first > ranges[n].last)
            return refuse(f, "expected the first and the last code point of a range");
    return grammar_class(f->b, ranges, n, negated);
}

static uint32_t rule_node(struct form *f, const struct json_value *of)
{
    uint32_t rule;
    if (f->n_rules == 0 || !read_count(of, f->n_rules - 1, &rule))
        return refuse(f, "expected the number of a rule");
    return grammar_reference(f->b, f->rules[rule]);
}

static uint32_t token_node(struct form *f, const struct json_value *of)
{
    uint32_t token;
    if (!read_count(of, UINT32_MAX, &token))
        return refuse(f, "expected the id of a token");
    return grammar_token(f->b, token);
}

static uint32_t without_node(struct form *f, const struct json_value *of)
{
    const struct json_value *text = json_element(of, 1);
    if (of->type != JSON_ARRAY || of->n != 2 || text->type != JSON_STRING)
        return refuse(f, "expected a part and the text that does not occur in it");
    return grammar_without(f->b, part_node(f, json_element(of, 0)), text->text.bytes, text->text.n_bytes);
}

static uint32_t member_node(struct form *f, const struct json_value *of)
{
    const struct json_value *name = json_element(of, 1), *until = json_element(of, 2);
    uint32_t schema;
    if (of->type != JSON_ARRAY || (of->n != 2 && of->n != 3) || name->type != JSON_STRING ||
        (until != NULL && until->type != JSON_STRING) || f->schemas == NULL || f->schemas->n == 0 ||
        !read_count(json_element(of, 0), f->schemas->n - 1, &schema))
        return refuse(f, "expected the number of a schema, the name of a member and perhaps a text");
    return json_schema_member(f->b, json_element(f->schemas, schema), name->text, until != NULL ? &until->text : NULL,
                              f->arena.account);
}

static uint32_t part_node(struct form *f, const struct json_value *part)
{
    if (grammar_builder_failed(f->b))
        return 0;
    if (part->type == JSON_STRING)
        return grammar_literal(f->b, part->text.bytes, part->text.n_bytes);
    if (part->type != JSON_OBJECT || part->n != 1)
        return refuse(f, "expected a text or an object of one member");
    const struct json_value *of = part->first;
    if (json_string_is(of->key, "seq") || json_string_is(of->key, "any"))
        return parts_node(f, of, json_string_is(of->key, "any"));
    if (json_string_is(of->key, "repeat"))
        return repeat_node(f, of);
    if (json_string_is(of->key, "class") || json_string_is(of->key, "except"))
        return class_node(f, of, json_string_is(of->key, "except"));
    if (json_string_is(of->key, "rule"))
        return rule_node(f, of);
    if (json_string_is(of->key, "token"))
        return token_node(f, of);
    if (json_string_is(of->key, "schema"))
        return json_schema_node(f->b, of, f->arena.account);
    if (json_string_is(of->key, "without"))
        return without_node(f, of);
    if (json_string_is(of->key, "member"))
        return member_node(f, of);
    return refuse(f, "a part of no known kind");
}

static uint32_t root_node(struct form *f, const struct json_value *form)
{
    const struct json_value *rules = json_member(form, "rules"), *root = json_member(form, "root");
    f->schemas = json_member(form, "schemas");
    if (rules == NULL || rules->type != JSON_ARRAY || root == NULL ||
        (f->schemas != NULL && f->schemas->type != JSON_ARRAY))
        return refuse(f, "expected rules and a root");
    f->rules = allocate(f, rules->n, sizeof *f->rules);
    if (f->rules == NULL)
        return 0;
    f->n_rules = rules->n;
    for (uint32_t i = 0; i < rules->n; i++)
        f->rules[i] = grammar_rule(f->b, "rule of a form");
    const struct json_value *rule = rules->first;
    for (uint32_t i = 0; i < rules->n; i++, rule = rule->next)
        grammar_define(f->b, f->rules[i], part_node(f, rule));
    return part_node(f, root);
}

uint32_t grammar_form(struct grammar_builder *builder, const struct json_value *form, struct memory_account *account)
{
    struct form f = {.b = builder};
    arena_init(&f.arena, account, MEMORY_SCRATCH);
    const uint32_t node = root_node(&f, form);
    arena_free(&f.arena);
    return node;
}

enum chord_status grammar_form_compile(const char *text, uint64_t n_bytes, struct memory_account *account,
                                       struct grammar **out, struct chord_error *err)
{
    struct json_document document;
    struct grammar_builder *builder;
    *out = NULL;
    enum chord_status status = json_read(&document, text, n_bytes, "a grammar", account, MEMORY_SCRATCH, err);
    if (status != CHORD_OK)
        return status;
    status = grammar_builder_create(&builder, account, err);
    if (status == CHORD_OK) {
        status = grammar_finish(builder, grammar_form(builder, document.root, account), out, err);
        grammar_builder_free(builder);
    }
    json_free(&document);
    return status;
}
