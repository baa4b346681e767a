// JSON Schemas as grammars: what can be seen without choosing texts. What the grammars write is tested by test/js/schema.test.js.

#include "sampler/json_schema.h"
#include "sampler/recognizer.h"
#include "account_helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum chord_status compile(const char *schema, struct grammar **out, struct chord_error *err)
{
    return json_schema_compile(schema, strlen(schema), &account, out, err);
}

static bool accepts(const char *schema, const char *text)
{
    struct grammar *grammar;
    struct recognizer *recognizer;
    struct chord_error err;
    if (compile(schema, &grammar, &err) != CHORD_OK)
        fail_msg("%s: %s", schema, err.message);
    assert_int_equal(recognizer_create(&recognizer, grammar, 4, &account, &err), CHORD_OK);
    uint32_t at = recognizer_start(recognizer);
    for (const char *p = text; *p != '\0' && at != RECOGNIZER_DEAD; p++)
        at = recognizer_next(recognizer, at, (unsigned char)*p);
    const bool result = at != RECOGNIZER_DEAD && recognizer_can_end(recognizer, at);
    recognizer_free(recognizer);
    grammar_free(grammar);
    return result;
}

// Every integer and decimal near the bounds, against arithmetic.
static void test_ranges(void **state)
{
    static const int bounds[][2] = {{-12, 7}, {0, 0}, {5, 120}, {-130, -99}, {1, 1000}, {-1, 0}, {99, 101}};
    (void)state;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const int low = bounds[i][0], high = bounds[i][1];
        char schema[128], text[32];
        struct grammar *grammar;
        struct recognizer *recognizer;
        struct chord_error err;
        for (int tenths = 0; tenths < 2; tenths++) {
            snprintf(schema, sizeof schema, "{\"type\":\"%s\",\"minimum\":%d,\"exclusiveMaximum\":%d}",
                     tenths ? "number" : "integer", low, high + 1);
            assert_int_equal(compile(schema, &grammar, &err), CHORD_OK);
            assert_int_equal(recognizer_create(&recognizer, grammar, 4, &account, &err), CHORD_OK);
            for (int n = -1500; n < 1500; n++) {
                if (tenths)
                    snprintf(text, sizeof text, "%s%d.%d", n < 0 ? "-" : "", abs(n) / 10, abs(n) % 10);
                else
                    snprintf(text, sizeof text, "%d", n);
                uint32_t at = recognizer_start(recognizer);
                for (const char *p = text; *p != '\0' && at != RECOGNIZER_DEAD; p++)
                    at = recognizer_next(recognizer, at, (unsigned char)*p);
                const bool accepted = at != RECOGNIZER_DEAD && recognizer_can_end(recognizer, at);
                const int scale = tenths ? 10 : 1;
                if (accepted != (n >= low * scale && n < (high + 1) * scale))
                    fail_msg("%s and %s", schema, text);
            }
            recognizer_free(recognizer);
            grammar_free(grammar);
        }
    }
}

static void test_multiples(void **state)
{
    static const int units[] = {2, 3, 7, 10, 12, 64, 100, 125, 360, 1000, 1500};
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        char schema[96], text[16];
        struct grammar *grammar;
        struct recognizer *recognizer;
        struct chord_error err;
        snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"multipleOf\":%d,\"minimum\":-2003,\"maximum\":4007}",
                 units[i]);
        assert_int_equal(compile(schema, &grammar, &err), CHORD_OK);
        assert_int_equal(recognizer_create(&recognizer, grammar, 4, &account, &err), CHORD_OK);
        for (int n = -2100; n < 4100; n++) {
            snprintf(text, sizeof text, "%d", n);
            uint32_t at = recognizer_start(recognizer);
            for (const char *p = text; *p != '\0' && at != RECOGNIZER_DEAD; p++)
                at = recognizer_next(recognizer, at, (unsigned char)*p);
            const bool accepted = at != RECOGNIZER_DEAD && recognizer_can_end(recognizer, at);
            if (accepted != (n >= -2003 && n <= 4007 && n % units[i] == 0))
                fail_msg("%s and %s", schema, text);
        }
        recognizer_free(recognizer);
        grammar_free(grammar);
    }
}

static void test_dates(void **state)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31},
                     years[] = {1900, 2000, 2023, 2024, 2100};
    (void)state;
    for (size_t i = 0; i < sizeof years / sizeof years[0]; i++) {
        const int year = years[i], is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            for (int day = 27; day <= 32; day++) {
                char text[32];
                snprintf(text, sizeof text, "\"%04d-%02d-%02d\"", year, month, day);
                const int most = days[month - 1] + (month == 2 && is_leap);
                assert_int_equal(accepts("{\"type\":\"string\",\"format\":\"date\"}", text), day <= most);
            }
        }
    }
}

static void test_canonical(void **state)
{
    (void)state;
    assert_true(accepts("{}", "{\"a\":[1,-0.5,1e+21,true,null,\"\\u0000\\n\\\"/\xc3\xa9\"]}"));
    assert_false(accepts("{}", "{\"a\": 1}"));
    assert_false(accepts("{}", "[1, 2]"));
    assert_false(accepts("{}", "\"\\/\""));
    assert_false(accepts("{}", "\"\\u00e9\""));
    assert_false(accepts("{}", "\"\\u000A\""));
    assert_false(accepts("{}", "01"));
    assert_false(accepts("{}", "-"));
    assert_false(accepts("{}", "1e400"));
    assert_false(accepts("{\"type\":\"integer\"}", "-0"));
    assert_true(accepts("{\"type\":\"integer\"}", "9007199254740991"));
    assert_false(accepts("{\"type\":\"integer\"}", "9007199254740992"));
}

// Chains of references as long as a schema may make them: an error or a grammar, and no stack is used up.
static void test_long_chains(void **state)
{
    enum { N = 3000 };
    static char schema[N * 64];
    struct grammar *grammar;
    struct chord_error err;
    (void)state;
    for (int in_place = 0; in_place < 2; in_place++) {
        size_t n = (size_t)sprintf(schema, "{\"$ref\":\"#/$defs/0\",\"$defs\":{\"%d\":{\"type\":\"null\"}", N);
        for (int i = 0; i < N; i++)
            n += (size_t)sprintf(schema + n,
                                 in_place ? ",\"%d\":{\"$ref\":\"#/$defs/%d\"}"
                                          : ",\"%d\":{\"items\":{\"$ref\":\"#/$defs/%d\"}}",
                                 i, i + 1);
        sprintf(schema + n, "}}");
        const enum chord_status status = compile(schema, &grammar, &err);
        assert_int_equal(status, in_place ? CHORD_INVALID_ARGUMENT : CHORD_OK);
        grammar_free(grammar);
    }
}

static void test_memory_failures(void **state)
{
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"a.b\","
                                 "\"maxLength\":9},\"b\":{\"enum\":[1,\"x\"],\"type\":\"string\"},"
                                 "\"c\":{\"type\":\"number\",\"minimum\":-1.5},\"d\":{\"type\":\"integer\","
                                 "\"multipleOf\":7},\"e\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},"
                                 "\"f\":{\"oneOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"type\":\"string\","
                                 "\"pattern\":\"^b\"}]}},\"additionalProperties\":{\"type\":\"null\"}}";
    int64_t n = 0;
    (void)state;
    for (;; n++) {
        struct grammar *grammar;
        struct chord_error err;
        fail_allocation(n);
        const enum chord_status status = compile(schema, &grammar, &err);
        if (!allocation_failed(status)) {
            grammar_free(grammar);
            break;
        }
        assert_null(grammar);
    }
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ranges),    TEST(test_multiples),   TEST(test_dates),
        TEST(test_canonical), TEST(test_long_chains), TEST(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
