// Grammars described by JSON: what is of the form finishes, what is not is refused, and memory is given back.

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h> // cmocka.h needs these four before it
#include <cmocka.h>

#include "sampler/grammar_form.h"

#include <string.h>

static struct memory_account account;

static int set_up(void **state)
{
    (void)state;
    memory_account_init(&account, UINT64_MAX);
    return 0;
}

// Every test gives back what it took.
static int tear_down(void **state)
{
    (void)state;
    return atomic_load(&account.total) == 0 ? 0 : -1;
}

// A schema is the text "schema", in place of what it would describe; null is refused.
static uint32_t schema_node(struct grammar_builder *builder, const struct json_value *schema, void *context)
{
    (*(uint32_t *)context)++;
    if (schema->type == JSON_NULL)
        grammar_builder_fail(builder, "a schema of null");
    return grammar_literal(builder, "schema", 6);
}

// The status of reading and finishing a form, and its message.
static enum chord_status compile(const char *text, struct grammar **out, struct chord_error *err, uint32_t *n_schemas)
{
    struct json_document document;
    struct grammar_builder *builder;
    *n_schemas = 0;
    assert_int_equal(json_read(&document, text, strlen(text), "form", &account, MEMORY_SCRATCH, err), CHORD_OK);
    assert_int_equal(grammar_builder_create(&builder, &account, err), CHORD_OK);
    const uint32_t root = grammar_form(builder, document.root, schema_node, n_schemas, &account);
    json_free(&document);
    const enum chord_status status = grammar_finish(builder, root, out, err);
    grammar_builder_free(builder);
    return status;
}

static void test_forms(void **state)
{
    static const struct {
        const char *text;
        uint32_t n_schemas;
    } cases[] = {
        {"{\"rules\":[],\"root\":\"text\"}", 0},
        {"{\"rules\":[],\"root\":{\"seq\":[\"a\",{\"any\":[\"b\",{\"schema\":{}}]},{\"schema\":true}]}}", 2},
        {"{\"rules\":[],\"root\":{\"repeat\":[{\"class\":[[48,57],[97,1114111]]},2,9]}}", 0},
        {"{\"root\":{\"repeat\":[{\"except\":[]},0,null]},\"rules\":[]}", 0},
        {"{\"rules\":[],\"root\":{\"token\":4294967295}}", 0},
        {"{\"rules\":[{\"any\":[\"\",{\"seq\":[\"a\",{\"rule\":1}]}]},{\"seq\":[\"b\",{\"rule\":0}]}],\"root\":{"
         "\"rule\":0}}",
         0},
    };
    struct chord_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *grammar;
        uint32_t n_schemas;
        if (compile(cases[i].text, &grammar, &err, &n_schemas) != CHORD_OK)
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_int_equal(n_schemas, cases[i].n_schemas);
        grammar_free(grammar);
    }
}

static void test_what_is_no_form(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "rules and a root"},
        {"{\"rules\":{},\"root\":\"\"}", "rules and a root"},
        {"{\"rules\":[]}", "rules and a root"},
        {"{\"rules\":[],\"root\":1}", "a text or an object"},
        {"{\"rules\":[],\"root\":{\"seq\":[],\"any\":[]}}", "a text or an object"},
        {"{\"rules\":[],\"root\":{\"other\":[]}}", "no known kind"},
        {"{\"rules\":[],\"root\":{\"seq\":\"a\"}}", "array of parts"},
        {"{\"rules\":[],\"root\":{\"repeat\":[\"a\",1]}}", "repetitions"},
        {"{\"rules\":[],\"root\":{\"repeat\":[\"a\",2,1]}}", "repetitions"},
        {"{\"rules\":[],\"root\":{\"repeat\":[\"a\",-1,1]}}", "repetitions"},
        {"{\"rules\":[],\"root\":{\"repeat\":[\"a\",0,1.5]}}", "repetitions"},
        {"{\"rules\":[],\"root\":{\"repeat\":[\"a\",0,99999999999]}}", "repetitions"},
        {"{\"rules\":[],\"root\":{\"class\":{}}}", "array of ranges"},
        {"{\"rules\":[],\"root\":{\"class\":[[1]]}}", "code point"},
        {"{\"rules\":[],\"root\":{\"class\":[[2,1]]}}", "code point"},
        {"{\"rules\":[],\"root\":{\"except\":[[0,1114112]]}}", "code point"},
        {"{\"rules\":[],\"root\":{\"rule\":0}}", "number of a rule"},
        {"{\"rules\":[\"\"],\"root\":{\"rule\":1}}", "number of a rule"},
        {"{\"rules\":[],\"root\":{\"token\":4294967296}}", "id of a token"},
        {"{\"rules\":[],\"root\":{\"schema\":null}}", "a schema of null"},
        {"{\"rules\":[{\"rule\":0}],\"root\":{\"rule\":0}}", ""},
    };
    struct chord_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *grammar;
        uint32_t n_schemas;
        memset(&err, 0, sizeof err);
        if (compile(cases[i].text, &grammar, &err, &n_schemas) != CHORD_INVALID_ARGUMENT ||
            strstr(err.message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].text, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_form, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
