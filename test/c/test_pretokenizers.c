// Unicode tables, and pre-tokenizers against what regular expressions make of the same texts
// (test/golden/pretokenizers.js).

#include "tokenizer_helpers.h"

#include "tokenizer/pretokenizers.h"

static void test_unicode(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char text[4];
        uint32_t used;
        const uint32_t n = unicode_encode(c, text);
        const bool scalar = c < 0xd800 || c > 0xdfff;
        assert_int_equal(unicode_decode((unsigned char *)text, n, &used), scalar ? c : UNICODE_INVALID);
        assert_int_equal(used, scalar ? n : 1);
        for (uint32_t cut = 1; scalar && cut < n; cut++)
            assert_int_equal(unicode_decode((unsigned char *)text, cut, &used), UNICODE_INVALID);
    }
    for (uint32_t i = 1; i < unicode_n_ranges; i++)
        assert_true(unicode_ranges[i - 1] >> 8 < unicode_ranges[i] >> 8);
    const struct {
        uint32_t c;
        unsigned class;
    } known[] = {
        {'a', UNICODE_LOWER},
        {'Z', UNICODE_UPPER},
        {'5', UNICODE_NUMBER},
        {' ', UNICODE_SPACE},
        {'$', UNICODE_SYMBOL},
        {'-', UNICODE_PUNCTUATION},
        {0x85, UNICODE_SPACE},
        {0xa0, UNICODE_SPACE},
        {0x200b, 0},
        {0xfeff, 0},
        {0x1c5, UNICODE_UPPER},
        {0x2b0, UNICODE_OTHER_LETTER},
        {0x301, UNICODE_MARK},
        {0xbd, UNICODE_NUMBER},
        {0x4e2d, UNICODE_OTHER_LETTER},
        {0x1f600, UNICODE_SYMBOL},
        {0x20000, UNICODE_OTHER_LETTER},
        {0x10ffff, 0},
        {UNICODE_INVALID, 0},
        {0x3000, UNICODE_SPACE},
        {0xe0100, UNICODE_MARK},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(unicode_class_of(known[i].c), known[i].class);
    const struct unicode_set sets[] = {unicode_han, unicode_decimals, unicode_joiners};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (uint32_t k = 1; k < sets[i].n; k++)
            assert_true(sets[i].ranges[k - 1].last + 1 < sets[i].ranges[k].first);
    const uint32_t in_han[] = {0x2e80, 0x3005, 0x3007, 0x4e00, 0x9fff, 0xf900, 0x20000};
    for (size_t i = 0; i < sizeof in_han / sizeof *in_han; i++)
        assert_true(unicode_set_has(unicode_han, in_han[i]));
    assert_false(unicode_set_has(unicode_han, 0x3042) || unicode_set_has(unicode_han, UNICODE_INVALID));
    for (uint32_t c = 0; c < 0x3400; c++) {
        assert_true(!unicode_set_has(unicode_decimals, c) || unicode_class_of(c) == UNICODE_NUMBER);
        assert_true(!unicode_set_has(unicode_joiners, c) ||
                    (unicode_class_of(c) & (UNICODE_LETTER | UNICODE_MARK | UNICODE_SPACE)) == 0);
    }
    assert_int_equal(unicode_fold_to_ascii('S'), 's');
    assert_int_equal(unicode_fold_to_ascii(0x17f), 's');
    assert_int_equal(unicode_fold_to_ascii(0xe9), 0xe9);
}

static void test_pretokenizers(void **state)
{
    static const struct {
        const char *name, *text;
        uint8_t lengths[80];
    } cases[] = {
#include "pretokenizer_cases.h"
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name;
        const struct pretokenizer *p = pretokenizer_find(cases[i].name, strlen(cases[i].name), &name);
        assert_non_null(p);
        struct piece_walk walk;
        uint64_t from, to, at = 0;
        uint32_t n = 0;
        piece_walk_init(&walk, p, cases[i].text, strlen(cases[i].text));
        while (piece_walk_next(&walk, &from, &to)) {
            assert_int_equal(from, at);
            if (to - from != cases[i].lengths[n])
                fail_msg("%s: '%s', piece %u has %llu bytes, not %u", cases[i].name, cases[i].text, n,
                         (unsigned long long)(to - from), cases[i].lengths[n]);
            at = to;
            n++;
        }
        assert_int_equal(at, strlen(cases[i].text));
        assert_int_equal(cases[i].lengths[n], 0);
    }
}

static uint32_t count_pieces(const char *pretokenizer, const char *text, uint64_t n)
{
    struct piece_walk walk;
    uint64_t from, to;
    uint32_t n_pieces = 0;
    const char *name;
    const struct pretokenizer *p = pretokenizer_find(pretokenizer, strlen(pretokenizer), &name);
    assert_non_null(p);
    piece_walk_init(&walk, p, text, n);
    while (piece_walk_next(&walk, &from, &to))
        n_pieces++;
    return n_pieces;
}

// Runs that are cut many times are read once: with a reading for each cut this takes minutes.
static void test_long_runs(void **state)
{
    enum { N = 1000000 };
    (void)state;
    char *text = malloc(N + 1);
    assert_non_null(text);
    memset(text, '7', N);
    text[N] = 'x';
    assert_int_equal(count_pieces("superbpe", text, N), (N + 2) / 3);
    assert_int_equal(count_pieces("tiny_aya", text, N), (N + 2) / 3);
    assert_int_equal(count_pieces("tiny_aya", text, N + 1), (N + 2) / 3 + 1); // as many, and x
    memset(text, ' ', N);
    assert_int_equal(count_pieces("jais-2", text, N), N / 512 + 1);     // 64 are left over
    assert_int_equal(count_pieces("jais-2", text, N + 1), N / 512 + 7); // 63 in six, and " x"
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unicode),
        TEST(test_pretokenizers),
        TEST(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
