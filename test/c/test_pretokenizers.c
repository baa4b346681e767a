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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unicode),
        TEST(test_pretokenizers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
