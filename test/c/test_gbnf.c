// GBNF: what grammars in text accept, what is wrong with others and where, and random inputs.

#include "sampler/gbnf.h"
#include "sampler/random.h"
#include "sampler/recognizer.h"
#include "account_helpers.h"
#include "quick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool accepts(const struct grammar *grammar, const char *text, uint64_t n)
{
    struct recognizer *r;
    struct chord_error err;
    assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
    uint32_t at = recognizer_start(r);
    for (uint64_t i = 0; i < n; i++)
        at = recognizer_next(r, at, (unsigned char)text[i]);
    const bool accepted = recognizer_can_end(r, at);
    recognizer_free(r);
    return accepted;
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        const char *in[6], *out[6];
    } cases[] = {
        {"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "ye", "yesno", "Yes"}},
        {"root ::= | \"a\"", {"", "a"}, {"b", "aa"}},
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::= [a-cx\\-]+", {"a", "cab-x"}, {"", "d", "a d"}},
        {"root ::= [-a]* [a-]", {"a", "-", "a-a"}, {"b"}},
        {"root ::= [^a-c]?", {"", "d", "\n", "\xc3\xa9", "\xf0\x9f\x98\x80"}, {"a", "dd", "\xff", "\xc3"}},
        {"root ::= .", {"a", "\n", "\xe2\x82\xac"}, {"", "ab", "\xed\xa0\x80", "\xc0\xaf"}},
        {"root ::= \"a\"{2}", {"aa"}, {"a", "aaa"}},
        {"root ::= \"ab\"{1,}", {"ab", "ababab"}, {"", "aba"}},
        {"root ::= [ab]{1,3}", {"a", "bab"}, {"", "aaaa"}},
        {"root ::= \"a\"{0}", {""}, {"a"}},
        {"root ::= \"a\" * \"b\" {2 , 3}", {"bb", "aabbb"}, {"b", "abbbb"}},
        {"root ::= (\"a\" | \"b\" (\"c\" | )) \"d\"", {"ad", "bd", "bcd"}, {"acd", "d"}},
        {"root ::= a b-2\na ::= \"x\"\n# comment\n\nb-2 ::= \"y\" # and one\r\n", {"xy"}, {"x", "yx"}},
        {"root ::=\n  \"a\" |\n  \"b\"\n  | \"c\" (\n \"d\"\n)\nother ::= root", {"a", "b", "cd"}, {"c"}},
        {"root::=\"\\x41\\u00e9\\U0001F600\\n\\t\\r\\\\\\\"\\[\\]\"", {"A\xc3\xa9\xf0\x9f\x98\x80\n\t\r\\\"[]"}, {"A"}},
        {"root ::= [\\x41-\\x43\\u4e00-\\u9fff\\]]", {"B", "\xe6\x97\xa5", "]"}, {"D", "\xe3\x81\x82"}},
        {"root ::= \"\xe6\x97\xa5\" [\xe6\x97\xa5\xe6\x9c\xac]", {"\xe6\x97\xa5\xe6\x9c\xac"}, {"\xe6\x97\xa5"}},
        {"root ::= \"(\" root \")\" | \"\"", {"", "((()))"}, {"(", "(()"}},
        {"root ::= (\"a\"*)* (\"b\"?){3}", {"", "aaa", "bbb", "ab"}, {"bbbb", "ba"}},
        {"root ::= ((\"a\"?){2,5}){0,2} \"c\"", {"c", "ac", "aaaaaaaaaac"}, {"aaaaaaaaaaac", "a"}},
        {"root ::= \"a long text, longer than the sixty-four bytes that a literal is gathered in, and then some\"",
         {"a long text, longer than the sixty-four bytes that a literal is gathered in, and then some"},
         {"a long text, longer than the sixty-four bytes that a literal is gathered in, and then som"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *grammar;
        struct chord_error err;
        if (gbnf_compile(cases[i].grammar, strlen(cases[i].grammar), &account, &grammar, &err) != CHORD_OK)
            fail_msg("%s: %s", cases[i].grammar, err.message);
        for (int k = 0; k < 6; k++) {
            const char *in = cases[i].in[k], *out = cases[i].out[k];
            if (in != NULL && !accepts(grammar, in, strlen(in)))
                fail_msg("%s does not take '%s'", cases[i].grammar, in);
            if (out != NULL && accepts(grammar, out, strlen(out)))
                fail_msg("%s takes '%s'", cases[i].grammar, out);
        }
        grammar_free(grammar);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *message;
    } cases[] = {
        {"", "no rule 'root'"},
        {"a ::= \"b\"", "no rule 'root'"},
        {"root ::= \"a", "line 1, column 10: this text has no closing quotation mark"},
        {"root ::= [a-", "line 1, column 10: this class has no closing bracket"},
        {"root ::= []", "line 1, column 10: this class is empty"},
        {"root ::= [z-a]", "line 1, column 11: this range descends"},
        {"root ::= (\"a\"", "line 1, column 10: this group has no closing parenthesis"},
        {"root ::= \"a\")", "line 1, column 13: expected an item, | or the end of the line"},
        {"root ::= *", "line 1, column 10: there is nothing before this"},
        {"root ::= \"a\" | {2}", "line 1, column 16: there is nothing before this"},
        {"root ::= \"a\"{", "line 1, column 14: expected a number"},
        {"root ::= \"a\"{,3}", "line 1, column 14: expected a number"},
        {"root ::= \"a\"{3,2}", "line 1, column 13: the largest number"},
        {"root ::= \"a\"{2;3}", "line 1, column 15: expected } or ,"},
        {"root ::= \"a\"{99999999999}", "line 1, column 14: this number is too large"},
        {"root = \"a\"", "line 1, column 6: expected ::="},
        {"\n\n  root ::= b", "line 3, column 12: this rule is not defined"},
        {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: a rule of this name is defined already"},
        {"root ::= \"\\q\"", "line 1, column 11: an unknown escape"},
        {"root ::= \"\\x4\"", "line 1, column 14: expected a hexadecimal digit"},
        {"root ::= \"\\ud800\"", "line 1, column 13: there is no character"},
        {"root ::= \"\\U00110000\"", "line 1, column 13: there is no character"},
        {"root ::= \"\xe6\x97\xa5\" \"\xff\"", "line 1, column 15: this is not UTF-8"},
        {"root ::= \"a\" $", "line 1, column 14: expected an item"},
        {"root ::= root \"a\" | \"a\"", "'root' is left-recursive"},
        {"root ::= \"x\" a\na ::= [b]* c\nc ::= \"\" a", "is left-recursive"},
        {"root ::= \"a\" root", "no text matches"},
        {"|", "line 1, column 1: expected the name of a rule"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar *grammar;
        struct chord_error err;
        assert_int_equal(gbnf_compile(cases[i].grammar, strlen(cases[i].grammar), &account, &grammar, &err),
                         CHORD_INVALID_ARGUMENT);
        assert_null(grammar);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("%s: '%s' is not in '%s'", cases[i].grammar, cases[i].message, err.message);
    }
}

// Inputs of any size end, in an error where they are too large.
static void test_sizes(void **state)
{
    (void)state;
    enum { MOST = 200000 };
    static char text[MOST];
    struct grammar *grammar;
    struct chord_error err;
    static const struct {
        const char *start, *repeated, *end;
        enum chord_status status;
    } cases[] = {
        {"root ::= ", "(", "", CHORD_INVALID_ARGUMENT}, {"root ::= \"a\"", "?", "", CHORD_INVALID_ARGUMENT},
        {"root ::= \"a\"", " | \"b\"", "", CHORD_OK},   {"root ::= \"", "abcdefgh", "\"", CHORD_OK},
        {"root ::= [", "a-z", "]", CHORD_OK},           {"root ::= ", "[a-z]{0,1000} ", "", CHORD_OK},
        {"root ::= ", "\n", "\"a\"", CHORD_OK},         {"root ::= ", "(\"\" | \"a\"*)* ", "", CHORD_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t n = strlen(cases[i].start);
        const uint64_t n_repeated = strlen(cases[i].repeated);
        memcpy(text, cases[i].start, n);
        while (n + n_repeated + 4 < (quick() ? MOST / 20 : MOST)) {
            memcpy(text + n, cases[i].repeated, n_repeated);
            n += n_repeated;
        }
        memcpy(text + n, cases[i].end, strlen(cases[i].end));
        n += strlen(cases[i].end);
        const enum chord_status status = gbnf_compile(text, n, &account, &grammar, &err);
        if (status != cases[i].status)
            fail_msg("%s: %s", cases[i].repeated, status != CHORD_OK ? err.message : "no error");
        grammar_free(grammar);
    }
    assert_int_equal(gbnf_compile(text, GBNF_MAX_BYTES + 1ull, &account, &grammar, &err), CHORD_INVALID_ARGUMENT);
}

// Pieces of grammars and any bytes, in any order: an error or a grammar, which then reads any text.
static void test_random_inputs(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "root", "root ::= ", "\nroot ::= ", "\na ::= ", "\nb ::= ",   " a ", " b ",      "\"x\"", "\"\\x41",
        "\"",   "[a-z]",     "[^\"\\\\]",   "[",        "]",          "(",   ")",        "|",     "*",
        "+",    "?",         "{2,5}",       "{3}",      "{0,100000}", "{",   "}",        ",",     ".",
        "#",    "\n",        " ",           "::=",      "\\u00e9",    "-",   "\xc3\xa9",
    };
    struct random_state random;
    int n_grammars = 0;
    random_seed(&random, 913);
    for (int i = 0; i < 913; i++) {
        char text[400];
        uint64_t n = 0;
        struct grammar *grammar;
        struct chord_error err = {0};
        const uint64_t n_pieces = 1 + random_next(&random) % 24;
        if (i % 4 != 0) // most begin as a grammar does
            n += (uint64_t)snprintf(text, sizeof text, "a ::= \"a\" b*\nb ::= [0-9]{1,9} | \"(\" a \")\"\nroot ::= a ");
        for (uint64_t k = 0; k < n_pieces; k++) {
            const uint64_t kind = random_next(&random) % (sizeof pieces / sizeof *pieces + 1);
            if (kind < sizeof pieces / sizeof *pieces) {
                memcpy(text + n, pieces[kind], strlen(pieces[kind]));
                n += strlen(pieces[kind]);
            } else {
                text[n++] = (char)random_next(&random);
            }
        }
        if (gbnf_compile(text, n, &account, &grammar, &err) != CHORD_OK) {
            assert_null(grammar);
            assert_int_equal(err.code, CHORD_INVALID_ARGUMENT);
            assert_true(strlen(err.message) > 0);
            continue;
        }
        n_grammars++;
        struct recognizer *r;
        assert_int_equal(recognizer_create(&r, grammar, 8, &account, &err), CHORD_OK);
        uint32_t at = recognizer_start(r);
        for (int k = 0; k < 200 && at != RECOGNIZER_DEAD && at != RECOGNIZER_FULL; k++) {
            const uint32_t before = at;
            at = recognizer_next(r, at, (unsigned char)"ax()0123456789zA"[random_next(&random) % 16]);
            if (at == RECOGNIZER_DEAD && recognizer_error(r)->code == CHORD_OK)
                at = before;
        }
        recognizer_free(r);
        grammar_free(grammar);
    }
    assert_true(n_grammars > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_texts),
        TEST(test_errors),
        TEST(test_sizes),
        TEST(test_random_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
