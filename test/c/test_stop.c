// Stop strings against a naive search, on random text over tiny alphabets, cut into pieces in many ways.

#include "sampler/random.h"
#include "sampler/stop.h"
#include "account_helpers.h"

#include <stdlib.h>
#include <string.h>

static struct stop_string string_of(const char *text)
{
    return (struct stop_string){.bytes = text, .n_bytes = strlen(text)};
}

static struct stop_matcher *matcher_of(const struct stop_string *strings, uint32_t n)
{
    struct stop_matcher *m;
    struct chord_error err;
    assert_int_equal(stop_matcher_create(&m, strings, n, &account, &err), CHORD_OK);
    return m;
}

// Where the text is cut: before the longest stop string that ends at the earliest end of any. False: none.
static bool naive_search(const struct stop_string *strings, uint32_t n_strings, const char *text, uint64_t n,
                         uint64_t *cut)
{
    for (uint64_t end = 1; end <= n; end++) {
        uint64_t longest = 0;
        for (uint32_t i = 0; i < n_strings; i++) {
            const uint64_t bytes = strings[i].n_bytes;
            if (bytes <= end && bytes > longest && memcmp(text + end - bytes, strings[i].bytes, bytes) == 0)
                longest = bytes;
        }
        if (longest > 0) {
            *cut = end - longest;
            return true;
        }
    }
    *cut = n;
    return false;
}

// The least that may be held back: the longest suffix of the text that begins a stop string.
static uint64_t naive_held(const struct stop_string *strings, uint32_t n_strings, const char *text, uint64_t n)
{
    uint64_t held = 0;
    for (uint32_t i = 0; i < n_strings; i++)
        for (uint64_t bytes = 1; bytes < strings[i].n_bytes && bytes <= n; bytes++)
            if (bytes > held && memcmp(text + n - bytes, strings[i].bytes, bytes) == 0)
                held = bytes;
    return held;
}

// Feeds the text in pieces that end where `borders` (one bit per byte) says, and checks all that is written.
static void check_pieces(const struct stop_string *strings, uint32_t n_strings, const char *text, uint64_t n,
                         const unsigned char *borders)
{
    struct stop_matcher *m = matcher_of(strings, n_strings);
    uint64_t cut;
    const bool found = naive_search(strings, n_strings, text, n, &cut);
    char *all = malloc(n + 1);
    uint64_t n_all = 0;
    bool stopped = false;
    for (uint64_t at = 0; at < n && !stopped;) {
        uint64_t end = at + 1;
        while (end < n && !borders[end])
            end++;
        // Exactly the promised room, so that a sanitizer sees a byte too many.
        char *out = malloc(end - at + stop_matcher_max_held(m));
        uint64_t n_out;
        stopped = stop_matcher_push(m, text + at, end - at, out, &n_out);
        memcpy(all + n_all, out, n_out);
        n_all += n_out;
        free(out);
        at = end;
        if (!stopped)
            assert_int_equal(at - n_all, naive_held(strings, n_strings, text, at));
    }
    assert_int_equal(stopped, found);
    char rest[64];
    uint64_t n_rest;
    assert_true(stop_matcher_max_held(m) <= sizeof rest);
    stop_matcher_finish(m, rest, &n_rest);
    if (stopped)
        assert_int_equal(n_rest, 0);
    memcpy(all + n_all, rest, n_rest);
    n_all += n_rest;
    assert_int_equal(n_all, cut);
    assert_memory_equal(all, text, cut);
    free(all);
    stop_matcher_free(m, &account);
}

static void random_texts_and_every_split(void **state)
{
    (void)state;
    struct random_state random;
    random_seed(&random, 1);
    uint32_t n_found = 0, n_not = 0;
    for (int round = 0; round < 3000; round++) {
        const unsigned n_letters = 1 + (unsigned)(random_next(&random) % 3);
        char bytes[5][8];
        struct stop_string strings[5];
        const uint32_t n_strings = (uint32_t)(random_next(&random) % 6);
        for (uint32_t i = 0; i < n_strings; i++) {
            strings[i] = (struct stop_string){.bytes = bytes[i], .n_bytes = 1 + random_next(&random) % 7};
            for (uint64_t b = 0; b < strings[i].n_bytes; b++)
                bytes[i][b] = (char)('a' + random_next(&random) % n_letters);
        }
        char text[12];
        const uint64_t n = 1 + random_next(&random) % sizeof text;
        for (uint64_t b = 0; b < n; b++)
            text[b] = (char)('a' + random_next(&random) % (n_letters + round % 2));
        uint64_t cut;
        if (naive_search(strings, n_strings, text, n, &cut))
            n_found++;
        else
            n_not++;
        // Every way to cut short texts into pieces, 64 ways for longer ones.
        const uint32_t n_ways = n <= 7 ? 1u << (n - 1) : 64;
        for (uint32_t way = 0; way < n_ways; way++) {
            unsigned char borders[sizeof text] = {0};
            const uint64_t mask = n <= 7 ? way : random_next(&random);
            for (uint64_t b = 1; b < n; b++)
                borders[b] = mask >> (b - 1) & 1;
            check_pieces(strings, n_strings, text, n, borders);
        }
    }
    // Both cases must have been met, or the test says little.
    assert_true(n_found > 500 && n_not > 500);
}

static void utf8_characters_stay_whole(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "\xc3\xa9", "\xc3\xa8", "\xe2\x82\xac", "\xe2\x82\xad", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x81"};
    const uint64_t n_characters = sizeof characters / sizeof *characters;
    struct random_state random;
    random_seed(&random, 2);
    for (int round = 0; round < 5000; round++) {
        char bytes[3][40];
        struct stop_string strings[3];
        for (int i = 0; i < 3; i++) {
            bytes[i][0] = '\0';
            for (uint64_t k = 0; k <= random_next(&random) % 4; k++)
                strcat(bytes[i], characters[random_next(&random) % n_characters]);
            strings[i] = string_of(bytes[i]);
        }
        struct stop_matcher *m = matcher_of(strings, 3);
        for (int piece = 0; piece < 20; piece++) {
            char text[40] = "", out[80];
            uint64_t n_out;
            for (uint64_t k = 0; k <= random_next(&random) % 3; k++)
                strcat(text, characters[random_next(&random) % n_characters]);
            const bool stopped = stop_matcher_push(m, text, strlen(text), out, &n_out);
            for (uint64_t at = 0; at < n_out;) {
                const unsigned char lead = (unsigned char)out[at];
                assert_true((lead & 0xc0) != 0x80);
                at += lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
                assert_true(at <= n_out);
            }
            if (stopped)
                break;
        }
        stop_matcher_free(m, &account);
    }
}

static void the_longest_of_those_that_end_together(void **state)
{
    (void)state;
    const struct stop_string strings[] = {string_of("c"), string_of("abc"), string_of("bc"), string_of("abcd")};
    struct stop_matcher *m = matcher_of(strings, 4);
    char out[64];
    uint64_t n_out;
    assert_int_equal(stop_matcher_max_held(m), 3);
    assert_false(stop_matcher_push(m, "xab", 3, out, &n_out));
    assert_int_equal(n_out, 1);
    assert_true(stop_matcher_push(m, "cd", 2, out, &n_out));
    assert_int_equal(n_out, 0); // "abc" began first: nothing of it is given out
    assert_true(stop_matcher_push(m, "more", 4, out, &n_out));
    assert_int_equal(n_out, 0);
    stop_matcher_free(m, &account);
}

static void without_strings_nothing_is_held(void **state)
{
    (void)state;
    struct stop_matcher *m = matcher_of(NULL, 0);
    char out[8];
    uint64_t n_out;
    assert_int_equal(stop_matcher_max_held(m), 0);
    assert_false(stop_matcher_push(m, "text", 4, out, &n_out));
    assert_int_equal(n_out, 4);
    assert_memory_equal(out, "text", 4);
    assert_false(stop_matcher_push(m, "", 0, out, &n_out));
    assert_int_equal(n_out, 0);
    stop_matcher_finish(m, out, &n_out);
    assert_int_equal(n_out, 0);
    stop_matcher_free(m, &account);
    stop_matcher_free(NULL, &account);
}

static void long_strings(void **state)
{
    (void)state;
    // The worst for the failure links: a^32767 b, 64 KiB in all, against a text of a's.
    const uint64_t n = 32768;
    char *a = malloc(n), *b = malloc(n), *out = malloc(3 * n);
    memset(a, 'a', n);
    memset(b, 'a', n);
    a[n - 1] = 'b';
    b[n - 1] = 'c';
    const struct stop_string strings[] = {{a, n}, {b, n}};
    struct stop_matcher *m = matcher_of(strings, 2);
    uint64_t n_out;
    char *text = malloc(2 * n);
    memset(text, 'a', 2 * n);
    assert_false(stop_matcher_push(m, text, 2 * n, out, &n_out));
    assert_int_equal(n_out, n + 1);
    assert_true(stop_matcher_push(m, "c", 1, out, &n_out));
    assert_int_equal(n_out, 0);
    stop_matcher_free(m, &account);

    struct chord_error err;
    const struct stop_string more[] = {{a, n}, {b, n}, {"x", 1}};
    assert_int_equal(stop_matcher_create(&m, more, 3, &account, &err), CHORD_INVALID_ARGUMENT);
    assert_null(m);
    assert_non_null(strstr(err.message, "65536"));
    free(text);
    free(out);
    free(a);
    free(b);
}

static void bad_strings_are_refused(void **state)
{
    (void)state;
    struct stop_matcher *m;
    struct chord_error err;
    const struct stop_string empty[] = {string_of("a"), {"", 0}};
    assert_int_equal(stop_matcher_create(&m, empty, 2, &account, &err), CHORD_INVALID_ARGUMENT);
    assert_string_equal(err.message, "stop string 1 is empty");
    const struct stop_string inside[] = {{"\xa9z", 2}};
    assert_int_equal(stop_matcher_create(&m, inside, 1, &account, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "UTF-8"));
    // Lengths that would wrap around when summed.
    const struct stop_string huge[] = {string_of("a"), {"b", UINT64_MAX}};
    assert_int_equal(stop_matcher_create(&m, huge, 2, &account, &err), CHORD_INVALID_ARGUMENT);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    const struct stop_string strings[] = {string_of("abc"), string_of("b")};
    for (int64_t n = 0;; n++) {
        struct stop_matcher *m;
        struct chord_error err;
        fail_allocation(n);
        const enum chord_status status = stop_matcher_create(&m, strings, 2, &account, &err);
        if (!allocation_failed(status)) {
            assert_true(n >= 4);
            stop_matcher_free(m, &account);
            break;
        }
        assert_null(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(random_texts_and_every_split),
        TEST(utf8_characters_stay_whole),
        TEST(the_longest_of_those_that_end_together),
        TEST(without_strings_nothing_is_held),
        TEST(long_strings),
        TEST(bad_strings_are_refused),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
