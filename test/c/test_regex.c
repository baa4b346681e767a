// Regular expressions and their automata: which texts they are of, how long these are, and what is refused.

#include "sampler/automaton.h"
#include "account_helpers.h"

#include <string.h>

static struct arena arena;

static int set_up_arena(void **state)
{
    set_up(state);
    arena_init(&arena, &account, MEMORY_SCRATCH);
    return 0;
}

static int tear_down_arena(void **state)
{
    arena_free(&arena);
    return tear_down(state);
}

static struct json_string string_of(const char *text)
{
    return (struct json_string){text, (uint32_t)strlen(text)};
}

static const struct regex *parse(const char *pattern)
{
    const char *problem;
    const struct regex *regex = regex_parse(&arena, string_of(pattern), &problem);
    if (regex == NULL)
        fail_msg("%s: %s", pattern, problem);
    return regex;
}

static struct automaton automaton_of(const struct automaton_part *parts, uint32_t n)
{
    struct automaton automaton;
    assert_int_equal(automaton_make(&arena, parts, n, 4096, &automaton), AUTOMATON_DONE);
    return automaton;
}

// The code points of ASCII text and of two-byte characters are enough here.
static bool accepts(const struct automaton *automaton, const char *text)
{
    uint32_t state = 0;
    if (automaton->n_states == 0)
        return false;
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        const struct automaton_state *s = automaton->states[state];
        const uint32_t c = *p < 0x80 ? *p : (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
        p += c >= 0x80;
        uint32_t k = 0;
        while (k < s->n_edges && (c < s->edges[k].range.first || c > s->edges[k].range.last))
            k++;
        if (k == s->n_edges)
            return false;
        state = s->edges[k].to;
    }
    return automaton->states[state]->accepts;
}

static void test_texts(void **state)
{
    // `yes` and `no`: texts with '|' between them.
    static const struct {
        const char *pattern, *yes, *no;
    } cases[] = {
        {"^abc$", "abc", "|ab|abcd|xabc"},
        {"abc", "abc|xabc|abcx|ababc", "|ab|ab c"},
        {"^a", "a|ab", "|ba"},
        {"a$", "a|ba", "|ab"},
        {"", "|a|anything", NULL},
        {"^$", "", "a"},
        {"^a*$", "|a|aaa", "b|ab"},
        {"^a+?b??$", "a|ab|aab", "|b|abb"},
        {"^a{2}$", "aa", "a|aaa"},
        {"^a{2,}$", "aa|aaaaa", "|a"},
        {"^a{1,3}$", "a|aa|aaa", "|aaaa"},
        {"^(a{0,2}){2}$", "|a|aaaa", "aaaaa"},
        {"^(ab|cd)+$", "ab|abcd|cdcdab", "|a|abc"},
        {"^(?:a|(?<name>b))c$", "ac|bc", "c|abc"},
        {"^[a-c-]$", "a|b|c|-", "d|ab"},
        {"^[^a-c]$", "d|-|\xc3\xa9", "a|c|de|"},
        {"^[]|$", "", NULL}, // an empty class matches nothing, but this ends anywhere
        {"^[\\]\\\\^-]$", "]|\\|^|-", "a"},
        {"^\\d\\D\\w\\W\\s\\S$", "0a_- x", "000000|0a_-xx"},
        {"^.$", "a|\xc3\xa9| ", "|\n|\r|ab"},
        {"^\\t\\x41\\u0042\\u{43}\\.$", "\tABC.", "\tABCx"},
        {"^a|b$", "a|ab|b|xb|ax", "x|bx|"},
        {"(^|x)a($|y)", "a|xa|ay|xay|bxa|ayb", "ba|ab|xab"},
        {"a(^b|c)", "ac|xacx", "ab"},
        {"(a$)?b", "b|ab|xbx", "a|"},
        {"^(a?)*$", "|a|aa", "b"},
        {"^(|a)+$", "|a|aa", "b"},
        {"\\^\\$", "^$|a^$b", "|^|$"},
        {"^\xc3\xa9+$", "\xc3\xa9|\xc3\xa9\xc3\xa9", "e"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct automaton_part part = {.regex = parse(cases[i].pattern)};
        const struct automaton automaton = automaton_of(&part, 1);
        for (int k = 0; k < 2; k++) {
            const char *at = k == 0 ? cases[i].yes : cases[i].no;
            for (; at != NULL;) {
                char text[64];
                const char *end = strchr(at, '|');
                const size_t n = end != NULL ? (size_t)(end - at) : strlen(at);
                memcpy(text, at, n);
                text[n] = '\0';
                if (accepts(&automaton, text) != (k == 0))
                    fail_msg("/%s/ and \"%s\"", cases[i].pattern, text);
                at = end != NULL ? end + 1 : NULL;
            }
        }
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *pattern, *problem;
    } cases[] = {
        {"(?=a)", "look-ahead is not supported"},
        {"a(?!b)", "look-ahead is not supported"},
        {"(?<=a)b", "look-behind is not supported"},
        {"(?<!a)b", "look-behind is not supported"},
        {"(?i:a)", "a group with flags is not supported"},
        {"(a)\\1", "back-references (\\1) are not supported"},
        {"\\k<a>", "back-references (\\k) are not supported"},
        {"\\b", "word boundaries (\\b) are not supported"},
        {"\\p{L}", "properties of characters (\\p) are not supported"},
        {"\\y", "an escape that regular expressions do not have"},
        {"a\\", "it ends in a backslash"},
        {"\\u12", "\\u needs four hexadecimal digits"},
        {"\\u{110000}", "\\u needs four hexadecimal digits"},
        {"\\xg0", "\\x needs two hexadecimal digits"},
        {"\\c1", "\\c needs a letter"},
        {"[a", "'[' without ']'"},
        {"[b-a]", "a range of characters that does not ascend"},
        {"[\\d-z]", "a range of characters between sets of them"},
        {"(a", "'(' without ')'"},
        {"a)", "')' without '('"},
        {"(?<n", "the name of a group does not end"},
        {"*a", "a quantifier with nothing before it"},
        {"a**", "a quantifier with nothing before it"},
        {"^*", "a quantifier on an anchor"},
        {"a{", "'{' that begins no repetition: escape it"},
        {"a{1", "'{' without '}'"},
        {"a{3,2}", "a repetition whose least is more than its most"},
        {"a{1000001}", "a repetition of more than a million"},
        {"a]", "a closing bracket that must be escaped"},
        {"(^a)+", "an anchor in something repeated is not supported"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *problem;
        assert_null(regex_parse(&arena, string_of(cases[i].pattern), &problem));
        assert_non_null(problem);
        assert_string_equal(problem, cases[i].problem);
    }
}

static void test_deep_groups(void **state)
{
    char pattern[512];
    const char *problem;
    (void)state;
    memset(pattern, '(', 200);
    memset(pattern + 200, ')', 200);
    assert_null(regex_parse(&arena, (struct json_string){pattern, 400}, &problem));
    assert_string_equal(problem, "more than 100 groups within each other");
    assert_non_null(regex_parse(&arena, (struct json_string){pattern + 110, 180}, &problem));
}

static void test_lengths(void **state)
{
    static const struct {
        const char *pattern;
        uint32_t shortest, longest;
    } cases[] = {
        {"^$", 0, 0},
        {"^abc$", 3, 3},
        {"abc", 3, GRAMMAR_UNBOUNDED},
        {"^(a|bcd)?$", 0, 3},
        {"^(ab){2,5}$", 4, 10},
        {"^a{1000000}$", 1000000, 1000000},
        {"^((a{1000000}){1000000}){1000000}$", GRAMMAR_UNBOUNDED, GRAMMAR_UNBOUNDED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct regex *regex = parse(cases[i].pattern);
        assert_int_equal(regex->shortest, cases[i].shortest);
        assert_int_equal(regex->longest, cases[i].longest);
    }
}

// regex_with_length against the automaton of the expression and any characters of that number.
static void test_with_length(void **state)
{
    static const char *const patterns[] = {"^[a-z]+$", "^[A-Z][a-z]*x$", "^a{2,4}$", "^abc$", "^x", "^(ab)*$", "^$"};
    static const char *const texts[] = {"",    "a",    "ab", "abc", "Ax",   "Aax",  "Aaax",  "aa",
                                        "aaa", "aaaa", "x",  "xyz", "xyzw", "abab", "ababab"};
    uint32_t n_said = 0;
    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        for (uint32_t min = 0; min < 4; min++) {
            for (uint32_t max = min; max < 5; max++) {
                const struct regex *regex = parse(patterns[i]), *any = regex_class(&arena, NULL, 0, true);
                const struct regex *with_length = regex_with_length(&arena, regex, min, max);
                if (with_length == NULL)
                    continue;
                n_said++;
                const struct automaton_part one = {.regex = with_length};
                const struct automaton_part both[2] = {{.regex = regex},
                                                       {.regex = regex_repeat(&arena, any, min, max)}};
                const struct automaton a = automaton_of(&one, 1), b = automaton_of(both, 2);
                assert_int_equal(a.is_empty, b.is_empty);
                for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++)
                    assert_int_equal(accepts(&a, texts[k]), accepts(&b, texts[k]));
            }
        }
    }
    assert_true(n_said > 40);
    for (size_t i = 0; i < 3; i++) // where anchors make sequences of sequences too
        assert_non_null(regex_with_length(&arena, parse(patterns[i]), 2, 100000));
}

static void test_parts(void **state)
{
    const struct automaton_part begins_and_ends[2] = {{.regex = parse("^a")}, {.regex = parse("z$")}};
    const struct automaton both = automaton_of(begins_and_ends, 2);
    (void)state;
    assert_true(accepts(&both, "az"));
    assert_true(accepts(&both, "axyz"));
    assert_false(accepts(&both, "a"));
    assert_false(accepts(&both, "z"));

    const struct automaton_part but[3] = {{.regex = parse("^[a-z]{1,3}$")},
                                          {.regex = parse("^(abc|b)$"), .negated = true},
                                          {.regex = parse("q"), .negated = true}};
    const struct automaton rest = automaton_of(but, 3);
    assert_true(accepts(&rest, "a"));
    assert_true(accepts(&rest, "abd"));
    assert_false(accepts(&rest, "abc"));
    assert_false(accepts(&rest, "b"));
    assert_false(accepts(&rest, "aqa"));

    const struct automaton_part nothing[2] = {{.regex = parse("^a")}, {.regex = parse("^b")}};
    assert_true(automaton_of(nothing, 2).is_empty);
}

static void test_limits(void **state)
{
    struct automaton automaton;
    struct automaton_part part = {.regex = parse("^(a|b)*a(a|b){20}$")}; // 2^21 states
    (void)state;
    assert_int_equal(automaton_make(&arena, &part, 1, 4096, &automaton), AUTOMATON_TOO_LARGE);
    part.regex = parse("^((a{1000}){1000}){1000}$");
    assert_int_equal(automaton_make(&arena, &part, 1, 4096, &automaton), AUTOMATON_TOO_LARGE);
}

static void test_memory_failures(void **state)
{
    int64_t n = 0;
    (void)state;
    for (;; n++) {
        const char *problem = NULL;
        struct automaton automaton = {0};
        enum automaton_result result = AUTOMATON_NO_MEMORY;
        atomic_store(&account.fail_after, n);
        const struct automaton_part part = {.regex = regex_parse(&arena, string_of("(a|[b-d]x){2,300}$"), &problem)};
        assert_null(problem);
        if (part.regex != NULL)
            result = automaton_make(&arena, &part, 1, 4096, &automaton);
        atomic_store(&account.fail_after, -1);
        arena_free(&arena);
        if (result == AUTOMATON_DONE)
            break;
        assert_int_equal(result, AUTOMATON_NO_MEMORY);
        assert_int_equal(atomic_load(&account.total), 0);
    }
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_texts, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_refused, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_deep_groups, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_lengths, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_with_length, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_parts, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_limits, set_up_arena, tear_down_arena),
        cmocka_unit_test_setup_teardown(test_memory_failures, set_up_arena, tear_down_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
