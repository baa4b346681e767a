// Grammars described by JSON: which texts they have, what is refused, and that memory is given back.

#include "sampler/grammar_form.h"
#include "sampler/recognizer.h"
#include "account_helpers.h"

#include <string.h>

static enum chord_status compile(const char *text, struct grammar **out, struct chord_error *err)
{
    return grammar_form_compile(text, strlen(text), &account, out, err);
}

// Whether the grammar has the text.
static bool has(const struct grammar *grammar, const void *text, size_t n_bytes)
{
    struct recognizer *recognizer;
    struct chord_error err;
    assert_int_equal(recognizer_create(&recognizer, grammar, 0, &account, &err), CHORD_OK);
    uint32_t state = recognizer_start(recognizer);
    for (size_t i = 0; i < n_bytes && state != RECOGNIZER_DEAD; i++)
        state = recognizer_next(recognizer, state, ((const unsigned char *)text)[i]);
    const bool can_end = state != RECOGNIZER_DEAD && recognizer_can_end(recognizer, state);
    recognizer_free(recognizer);
    return can_end;
}

// The member m of an object; `until`: what follows its name in the part.
#define MEMBER(schema, until)                                                                                     \
    "{\"rules\":[],\"schemas\":[true,{\"properties\":{\"n\":{},\"m\":{" schema "}},\"$defs\":{\"d\":{\"format\":" \
    "\"date\"}}}],\"root\":{\"member\":[1,\"m\"" until "]}}"

static void test_forms(void **state)
{
    static const struct {
        const char *form;
        const char *of[4], *not_of[4];
    } cases[] = {
        {"{\"rules\":[],\"root\":\"text\"}", {"text"}, {"", "tex", "texts"}},
        {"{\"rules\":[],\"root\":{\"seq\":[\"a\",{\"any\":[\"b\",{\"schema\":{\"type\":\"boolean\"}}]}]}}",
         {"ab", "atrue", "afalse"},
         {"a", "b", "anull"}},
        {"{\"rules\":[],\"root\":{\"repeat\":[{\"class\":[[48,57],[252,252]]},2,3]}}",
         {"12", "1ü3"},
         {"1", "1234", "ab"}},
        {"{\"root\":{\"repeat\":[{\"except\":[[97,97]]},0,null]},\"rules\":[]}", {"", "bcd ü"}, {"a", "ba"}},
        {"{\"rules\":[{\"any\":[\"\",{\"seq\":[\"a\",{\"rule\":1}]}]},{\"seq\":[\"b\",{\"rule\":0}]}],"
         "\"root\":{\"rule\":0}}",
         {"", "ab", "abab"},
         {"a", "aba", "ba"}},
        {"{\"rules\":[],\"root\":{\"seq\":[{\"schema\":{\"$ref\":\"#/$defs/x\",\"$defs\":{\"x\":{\"const\":1}}}},"
         "{\"schema\":{\"type\":\"object\",\"properties\":{\"y\":{\"enum\":[\"z\"]}},\"required\":[\"y\"]}}]}}",
         {"1{\"y\":\"z\"}"},
         {"1{}", "2{\"y\":\"z\"}"}},
        {"{\"rules\":[],\"root\":{\"without\":[{\"repeat\":[{\"class\":[[97,98]]},0,5]},\"aab\"]}}",
         {"", "aaaa", "ababa"},
         {"aab", "aaab", "babbab"}},
        {MEMBER("\"type\":\"string\",\"minLength\":2,\"maxLength\":9000", ""),
         {"\"ab\"", "\"</a\\n\""},
         {"ab", "\"a\""}},
        {MEMBER("\"type\":\"string\",\"minLength\":2,\"maxLength\":9", ",\"</a>\""),
         {"ab", "</a", "\"\\\n\t\x01</é ", "<</a >"},
         {"a", "</a>", "<</a>", "123456789 "}},
        {MEMBER("\"type\":[\"string\",\"null\",\"integer\"],\"minLength\":5", ",\"</a>\""),
         {"null", "12345"},
         {"nul", "12", "1234"}},
        {MEMBER("\"type\":\"string\"", ",\"\\n</p>\""),
         {"", "\n</p", "\n\n</q>", "</p>"},
         {"\n</p>", "\n\n</p>", "a\n</p>b"}},
        {MEMBER("\"pattern\":\"^[a-z]{3,5000}$\",\"maxLength\":4000", ",\"</a>\""),
         {"abc", "abcdef"},
         {"ab", "ABC", "abc</"}},
        {MEMBER("\"pattern\":\"<b>\"", ",\"</a>\""), {"<b>", "</a<b></a"}, {"b", "<b></a>", "</a><b>"}},
        {MEMBER("\"pattern\":\"^(</a>b|</ab|[x/]*)$\"", ",\"</a>\""), {"</ab", "x/", ""}, {"</a>b", "</a>"}},
        {MEMBER("\"$ref\":\"#/$defs/d\"", ",\"</a>\""), {"2020-02-29"}, {"2021-02-29", "x", "\"2020-02-29\""}},
        {MEMBER("\"enum\":[\"a\\\"b\",\"</a>\",\"\\n\",4]", ",\"</a>\""), {"a\"b", "\n"}, {"</a>", "4", "a"}},
        {MEMBER("\"anyOf\":[{\"const\":\"x\"},{\"type\":[\"string\",\"null\"],\"minLength\":3}]", ",\"</a>\""),
         {"x", "yyy", "null"},
         {"", "y"}},
    };
    struct chord_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *grammar;
        if (compile(cases[i].form, &grammar, &err) != CHORD_OK)
            fail_msg("%s: %s", cases[i].form, err.message);
        for (size_t k = 0; k < 4 && cases[i].of[k] != NULL; k++)
            if (!has(grammar, cases[i].of[k], strlen(cases[i].of[k])))
                fail_msg("%s lacks '%s'", cases[i].form, cases[i].of[k]);
        for (size_t k = 0; k < 4 && cases[i].not_of[k] != NULL; k++)
            if (has(grammar, cases[i].not_of[k], strlen(cases[i].not_of[k])))
                fail_msg("%s has '%s'", cases[i].form, cases[i].not_of[k]);
        grammar_free(grammar);
    }
}

// A special token is none of the texts that any characters are.
static void test_tokens(void **state)
{
    static const char form[] =
        "{\"rules\":[],\"root\":{\"seq\":[{\"repeat\":[{\"except\":[]},0,null]},{\"token\":66051}]}}";
    static const unsigned char spelled[] = {'a', 0xff, 0x00, 0x01, 0x02, 0x03},
                               other[] = {0xff, 0x00, 0x01, 0x02, 0x04};
    struct grammar *grammar;
    struct chord_error err;
    unsigned char spelling[GRAMMAR_TOKEN_BYTES];
    (void)state;
    grammar_spell_token(66051, spelling);
    assert_memory_equal(spelling, spelled + 1, sizeof spelling);
    assert_int_equal(compile(form, &grammar, &err), CHORD_OK);
    assert_true(has(grammar, spelled, sizeof spelled));
    assert_true(has(grammar, spelled + 1, sizeof spelled - 1));
    assert_false(has(grammar, other, sizeof other));
    assert_false(has(grammar, spelled, sizeof spelled - 1));
    assert_false(has(grammar, "a", 1));
    grammar_free(grammar);
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
        {"{\"rules\":[],\"root\":{\"schema\":{\"type\":5}}}", "type"},
        {"{\"rules\":[],\"root\":{\"without\":[\"a\"]}}", "does not occur"},
        {"{\"rules\":[],\"root\":{\"without\":[\"a\",\"\"]}}", "1 to 64 bytes"},
        {"{\"rules\":[],\"root\":{\"member\":[0,\"a\"]}}", "number of a schema"},
        {"{\"rules\":[],\"schemas\":[true],\"root\":{\"member\":[1,\"a\"]}}", "number of a schema"},
        {"{\"rules\":[],\"schemas\":[true],\"root\":{\"member\":[0,1]}}", "number of a schema"},
        {"{\"rules\":[],\"schemas\":[true],\"root\":{\"member\":[0,\"a\",null]}}", "number of a schema"},
        {"{\"rules\":[],\"schemas\":1,\"root\":\"\"}", "rules and a root"},
        {MEMBER("\"pattern\":\"(\"", ",\"x\""), "#/properties/m/pattern"},
        {MEMBER("\"type\":\"integer\"", ",\"x\""), "no text matches"},
        {"{\"rules\":", "expected a value"},
        {"{\"rules\":[{\"rule\":0}],\"root\":{\"rule\":0}}", ""},
    };
    struct chord_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *grammar;
        memset(&err, 0, sizeof err);
        if (compile(cases[i].text, &grammar, &err) != CHORD_INVALID_ARGUMENT ||
            strstr(err.message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].text, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_forms),
        TEST(test_tokens),
        TEST(test_what_is_no_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
