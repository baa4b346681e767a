// The reader of JSON: what it accepts and gives, what it refuses and where, and that memory is given back.

#include "base/json.h"
#include "account_helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// From a copy of the exact size, so that the sanitizer sees a byte too many.
static enum chord_status read_text(struct json_document *out, const char *text, size_t n, struct chord_error *err)
{
    char *copy = malloc(n + (n == 0));
    assert_non_null(copy);
    memcpy(copy, text, n);
    enum chord_status status = json_read(out, copy, n, "test", &account, MEMORY_METADATA, err);
    free(copy);
    return status;
}

static void test_values(void **state)
{
    static const char text[] =
        " { \"a\" : [1, -0.5e+10, true, false, null, \"x\"],\n\"\\u0000\": {}, \"\": [] , \"0\":\"\"} ";
    struct json_document d;
    struct chord_error err;
    (void)state;
    assert_int_equal(read_text(&d, text, sizeof text - 1, &err), CHORD_OK);
    assert_int_equal(d.root->type, JSON_OBJECT);
    assert_int_equal(d.root->n, 4);
    const struct json_value *a = json_member(d.root, "a");
    assert_ptr_equal(a, d.root->first);
    assert_ptr_equal(a->parent, d.root);
    assert_int_equal(a->n, 6);
    static const enum json_type types[] = {JSON_NUMBER, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_STRING};
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(json_element(a, i)->type, types[i]);
    assert_null(json_element(a, 6));
    assert_true(json_string_is(json_element(a, 1)->text, "-0.5e+10"));
    assert_true(json_string_is(json_element(a, 5)->text, "x"));
    // Keys keep their order; any bytes may be in them.
    assert_int_equal(a->next->key.n_bytes, 1);
    assert_int_equal(a->next->key.bytes[0], 0);
    assert_ptr_equal(json_member_n(d.root, (struct json_string){"\0", 1}), a->next);
    assert_ptr_equal(json_member(d.root, ""), a->next->next);
    assert_ptr_equal(json_member(d.root, "0"), a->next->next->next);
    assert_null(json_member(d.root, "b"));
    assert_null(json_member(a, "a"));
    json_free(&d);
}

static void test_strings(void **state)
{
    static const struct {
        const char *json, *meaning;
    } cases[] = {
        {"\"\"", ""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u00e9\\u20AC\\ud83d\\uDE00\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f"},
        {"\"\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf\"", "\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_document d;
        struct chord_error err;
        assert_int_equal(read_text(&d, cases[i].json, strlen(cases[i].json), &err), CHORD_OK);
        assert_true(json_string_is(d.root->text, cases[i].meaning));
        json_free(&d);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "line 1, column 1: expected a value"},
        {" \n ", "line 2, column 2: expected a value"},
        {"[1,]", "column 4: expected a value"},
        {"[1 2]", "column 4: expected ',' or ']'"},
        {"[1", "column 3: expected ',' or ']'"},
        {"[", "column 2: expected a value"},
        {"{", "column 2: expected a key"},
        {"{\"a\"}", "column 5: expected ':'"},
        {"{\"a\":1,}", "column 8: expected a key"},
        {"{a:1}", "column 2: expected a key"},
        {"{\"a\":1 \"b\":2}", "column 8: expected ',' or '}'"},
        {"{\"a\":1,\n\"b\":2,\"a\":3}", "line 1, column 1: an object has the key twice: a"},
        {"{\"a\":1,\"\\u0061\":3}", "an object has the key twice: a"},
        {"nul", "expected a value"},
        {"True", "expected a value"},
        {"1 1", "column 3: something after the value"},
        {"nullx", "column 5: something after the value"},
        {"01", "a number that begins with 0"},
        {"-", "column 2: a digit is missing"},
        {"1.", "column 3: a digit is missing"},
        {".5", "expected a value"},
        {"1e", "column 3: a digit is missing"},
        {"1e+", "column 4: a digit is missing"},
        {"+1", "expected a value"},
        {"NaN", "expected a value"},
        {"\"", "column 1: a string that does not end"},
        {"\"\\", "column 1: a string that does not end"},
        {"\"\\\"", "column 1: a string that does not end"},
        {"\"\\x\"", "column 2: an escape that JSON does not have"},
        {"\"\\u12\"", "column 2: \\u needs four hexadecimal digits"},
        {"\"\\u12g4\"", "column 2: \\u needs four hexadecimal digits"},
        {"\"\\ud800\"", "column 2: a surrogate that is not one of a pair"},
        {"\"\\udc00\"", "a surrogate that is not one of a pair"},
        {"\"\\ud800\\u0041\"", "a surrogate that is not one of a pair"},
        {"\"\t\"", "column 2: a control character"},
        {"\"\xc3\xa9\x80\"", "column 3: not UTF-8"}, // columns are characters
        {"\"\xc0\x80\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "not UTF-8"},
        {"\"\xe2\x82\"", "not UTF-8"},
        {"'a'", "expected a value"},
        {"[1]//", "something after the value"},
        {"\xef\xbb\xbf"
         "1",
         "expected a value"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_document d;
        struct chord_error err;
        assert_int_equal(read_text(&d, cases[i].json, strlen(cases[i].json), &err), CHORD_INVALID_ARGUMENT);
        if (strstr(err.message, cases[i].message) == NULL || strncmp(err.message, "test: line ", 11) != 0)
            fail_msg("%s: %s", cases[i].json, err.message);
        assert_null(d.root);
    }
}

// Every prefix of a text that needs its last byte is refused.
static void test_prefixes(void **state)
{
    static const char text[] = "{\"key\":[1.5e-3,\"\\ud83d\\ude00\xe2\x82\xac\",{\"a\":null}],\"b\":true}";
    (void)state;
    for (size_t n = 0; n < sizeof text; n++) {
        struct json_document d;
        struct chord_error err;
        enum chord_status status = read_text(&d, text, n, &err);
        assert_int_equal(status, n == sizeof text - 1 ? CHORD_OK : CHORD_INVALID_ARGUMENT);
        if (status == CHORD_OK)
            json_free(&d);
    }
}

static void test_depth(void **state)
{
    char text[2 * (JSON_MAX_DEPTH + 1)];
    (void)state;
    for (unsigned depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
        struct json_document d;
        struct chord_error err;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        enum chord_status status = read_text(&d, text, 2 * (size_t)depth, &err);
        assert_int_equal(status, depth == JSON_MAX_DEPTH ? CHORD_OK : CHORD_INVALID_ARGUMENT);
        if (status == CHORD_OK)
            json_free(&d);
    }
}

// Many members, in no order of their keys: each is found.
static void test_members(void **state)
{
    enum { N = 500 };
    static char text[N * 16];
    struct json_document d;
    struct chord_error err;
    (void)state;
    size_t n = (size_t)snprintf(text, sizeof text, "{");
    for (unsigned i = 0; i < N; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"k%u\":%u", i > 0 ? "," : "", i * 7919 % N, i);
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    assert_int_equal(read_text(&d, text, n, &err), CHORD_OK);
    for (unsigned i = 0; i < N; i++) {
        char key[16], number[16];
        snprintf(key, sizeof key, "k%u", i * 7919 % N);
        snprintf(number, sizeof number, "%u", i);
        assert_true(json_string_is(json_member(d.root, key)->text, number));
    }
    json_free(&d);
}

static void test_memory_failures(void **state)
{
    static char text[4096]; // its tree takes several blocks of memory
    size_t n_bytes = 0;
    struct json_document d;
    struct chord_error err;
    int64_t n = 0;
    (void)state;
    text[n_bytes++] = '[';
    while (n_bytes < sizeof text - 8)
        n_bytes += (size_t)sprintf(text + n_bytes, "1,");
    n_bytes += (size_t)sprintf(text + n_bytes, "{}]");
    for (;; n++) {
        fail_allocation(n);
        enum chord_status status = read_text(&d, text, n_bytes, &err);
        if (!allocation_failed(status))
            break;
    }
    assert_true(n > 3);
    json_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values), TEST(test_strings), TEST(test_refused),         TEST(test_prefixes),
        TEST(test_depth),  TEST(test_members), TEST(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
