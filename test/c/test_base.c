// src/base: status, checked arithmetic, accounted allocation, hash tables, half precision.
#include "base/alloc.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/xxh64.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <math.h>
#include <pthread.h>

#include <cmocka.h>

// ---- Status ---------------------------------------------------------------------------------------------------------

static const enum chord_status codes[] = {
#define X(code, name, text) code,
    CHORD_STATUS_MAP(X)
#undef X
};

#define N_CODES (sizeof codes / sizeof codes[0])

static void test_status_names(void **state)
{
    (void)state;
    assert_int_equal(CHORD_OK, 0);
    assert_string_equal(chord_status_name(CHORD_GGUF_TRUNCATED), "GGUF_TRUNCATED");
    for (size_t i = 0; i < N_CODES; i++) {
        assert_true(strlen(chord_status_text(codes[i])) > 0);
        assert_string_not_equal(chord_status_name(codes[i]), "UNKNOWN");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(chord_status_name(codes[i]), chord_status_name(codes[j]));
    }
    assert_string_equal(chord_status_name((enum chord_status)9999), "UNKNOWN");
    assert_string_equal(chord_status_text((enum chord_status)9999), "unknown status");
}

static void test_fail(void **state)
{
    (void)state;
    struct chord_error err;
    assert_int_equal(chord_fail(&err, CHORD_IO, "%s: %d", "a", 7), CHORD_IO);
    assert_int_equal(err.code, CHORD_IO);
    assert_string_equal(err.message, "a: 7");
    assert_int_equal(chord_fail(NULL, CHORD_IO, "%s", "a"), CHORD_IO);

    // Messages that are too long end at a character's border, whatever that is.
    for (size_t before = CHORD_ERROR_MESSAGE_BYTES - 8; before < CHORD_ERROR_MESSAGE_BYTES + 2; before++) {
        char text[CHORD_ERROR_MESSAGE_BYTES + 64];
        memset(text, 'a', sizeof text);
        for (size_t at = before; at + 4 < sizeof text; at += 4)
            memcpy(text + at, "\xf0\x9f\x98\x80", 5);
        chord_fail(&err, CHORD_IO, "%s", text);
        const size_t n = strlen(err.message);
        const size_t whole = before >= CHORD_ERROR_MESSAGE_BYTES - 1
                                 ? CHORD_ERROR_MESSAGE_BYTES - 1
                                 : before + (CHORD_ERROR_MESSAGE_BYTES - 1 - before) / 4 * 4;
        assert_int_equal(n, whole);
        assert_memory_equal(err.message, text, n);
    }
}

static void expect_printable(const char *text, size_t n, size_t out_bytes, const char *expected)
{
    char out[64];
    memset(out, '#', sizeof out);
    assert_ptr_equal(chord_printable(out, out_bytes, text, n), out);
    assert_string_equal(out, expected);
    for (size_t i = out_bytes; i < sizeof out; i++)
        assert_int_equal(out[i], '#');
}

static void test_printable(void **state)
{
    (void)state;
    char nothing = '#';
    expect_printable("plain", 5, 64, "plain");
    expect_printable("plain", 3, 64, "pla");
    expect_printable("", 0, 64, "");
    expect_printable("a\0b\n\x1b[0m\x7f", 9, 64, "a?b??[0m?");
    expect_printable("\xe2\x96\x81the", 6, 64, "\xe2\x96\x81the");
    expect_printable("\xe2\x96", 2, 64, "??");           // cut character
    expect_printable("\xc0\x80\xff", 3, 64, "???");      // overlong, never valid
    expect_printable("\xed\xa0\x80", 3, 64, "???");      // surrogate
    expect_printable("\xf4\x90\x80\x80", 4, 64, "????"); // beyond U+10FFFF
    expect_printable("\xf4\x8f\xbf\xbf", 4, 64, "\xf4\x8f\xbf\xbf");
    expect_printable("12345678", 8, 12, "12345678");
    expect_printable("12345678", 8, 9, "12345678"); // just fits
    expect_printable("123456789", 9, 9, "12345...");
    expect_printable("1234\xe2\x96\x81\xe2\x96\x81", 10, 9, "1234...");
    expect_printable("123456789", 9, 4, "...");
    expect_printable("123456789", 9, 3, "..");
    expect_printable("123456789", 9, 1, "");
    chord_printable(&nothing, 0, "abc", 3);
    assert_int_equal(nothing, '#');
}

// ---- Checked arithmetic ---------------------------------------------------------------------------------------------

static void test_checked(void **state)
{
    (void)state;
    uint64_t out = 0;
    assert_true(checked_add(UINT64_MAX - 1, 1, &out) && out == UINT64_MAX);
    assert_false(checked_add(UINT64_MAX, 1, &out));
    assert_true(checked_sub(5, 5, &out) && out == 0);
    assert_false(checked_sub(4, 5, &out));
    assert_true(checked_mul(UINT32_MAX, UINT32_MAX, &out) && out == UINT64_C(0xfffffffe00000001));
    assert_true(checked_mul(0, UINT64_MAX, &out) && out == 0);
    assert_false(checked_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    assert_true(is_power_of_two(1) && is_power_of_two(UINT64_C(1) << 63));
    assert_false(is_power_of_two(0) || is_power_of_two(3) || is_power_of_two(UINT64_MAX));
    assert_true(checked_align(0, 32, &out) && out == 0);
    assert_true(checked_align(1, 32, &out) && out == 32);
    assert_true(checked_align(32, 32, &out) && out == 32);
    assert_true(checked_align(33, 1, &out) && out == 33);
    assert_true(checked_align(UINT64_MAX - 31, 32, &out) && out == UINT64_MAX - 31);
    assert_false(checked_align(UINT64_MAX - 30, 32, &out));
}

// ---- Allocation -----------------------------------------------------------------------------------------------------

static void test_alloc_accounts(void **state)
{
    (void)state;
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    unsigned char *a = memory_alloc(&account, MEMORY_KV, 1000, 1);
    assert_non_null(a);
    memset(a, 0xaa, 1000);
    const uint64_t held = atomic_load(&account.held[MEMORY_KV]);
    assert_true(held >= 1000 && held < 1100);
    assert_int_equal(atomic_load(&account.total), held);
    assert_int_equal(atomic_load(&account.n_allocations), 1);
    unsigned char *b = memory_zalloc(&account, MEMORY_SCRATCH, 10, 100);
    assert_non_null(b);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b[i], 0);
    assert_int_equal(atomic_load(&account.held[MEMORY_KV]), held);
    assert_int_equal(atomic_load(&account.total), 2 * held);
    memory_free(&account, a);
    assert_int_equal(atomic_load(&account.held[MEMORY_KV]), 0);
    assert_int_equal(atomic_load(&account.peak), 2 * held);
    memory_free(&account, b);
    memory_free(&account, NULL);
    assert_int_equal(atomic_load(&account.total), 0);
    assert_int_equal(atomic_load(&account.peak), 2 * held);

    void *none = memory_alloc(&account, MEMORY_KV, 0, 1), *also_none = memory_zalloc(&account, MEMORY_KV, 0, 8);
    assert_non_null(none);
    assert_non_null(also_none);
    assert_ptr_not_equal(none, also_none);
    memory_free(&account, none);
    memory_free(&account, also_none);
    assert_int_equal(atomic_load(&account.total), 0);
    for (int i = 0; i < N_MEMORY_REGIONS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(memory_region_name((enum memory_region)i),
                                    memory_region_name((enum memory_region)j));
    assert_string_equal(memory_region_name(N_MEMORY_REGIONS), "unknown");
}

static void test_alloc_aligns(void **state)
{
    (void)state;
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    for (uint64_t alignment = 1; alignment <= (1u << 21); alignment *= 2)
        for (uint64_t bytes = 1; bytes < 5000; bytes += 1237) {
            unsigned char *block = memory_alloc(&account, MEMORY_WEIGHTS, bytes, alignment);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % (alignment < 16 ? 16 : alignment), 0);
            memset(block, 1, bytes);
            memory_free(&account, block);
        }
    assert_int_equal(atomic_load(&account.total), 0);
}

static void test_resize(void **state)
{
    (void)state;
    struct memory_account account;
    unsigned char *block = NULL;
    memory_account_init(&account, UINT64_MAX);
    for (uint64_t n = 1; n < 100000; n *= 3) {
        block = memory_resize(&account, MEMORY_METADATA, block, n);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        for (uint64_t i = 0; i < n / 3; i++)
            assert_int_equal(block[i], (unsigned char)(i * 7));
        for (uint64_t i = 0; i < n; i++)
            block[i] = (unsigned char)(i * 7);
        assert_true(atomic_load(&account.total) >= n && atomic_load(&account.total) < n + 100);
    }
    block = memory_resize(&account, MEMORY_METADATA, block, 10);
    assert_non_null(block);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(block[i], (unsigned char)(i * 7));
    assert_true(atomic_load(&account.total) < 110);

    const uint64_t held = atomic_load(&account.total);
    account.ceiling = held + 1000;
    assert_null(memory_resize(&account, MEMORY_METADATA, block, 5000)); // the old block stays
    assert_int_equal(atomic_load(&account.total), held);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(block[i], (unsigned char)(i * 7));
    memory_free(&account, block);
    assert_int_equal(atomic_load(&account.total), 0);
}

static void test_region_ceilings(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    memory_account_init(&account, 100000);
    account.region_ceiling[MEMORY_KV] = 9000;
    void *block = memory_alloc(&account, MEMORY_KV, 6000, 1);
    assert_non_null(block);
    const uint64_t held = atomic_load(&account.total);
    assert_int_equal(memory_left(&account, MEMORY_KV), 9000 - held);
    assert_int_equal(memory_left(&account, MEMORY_SCRATCH), 100000 - held);
    assert_null(memory_alloc(&account, MEMORY_KV, 6000, 1));
    assert_int_equal(atomic_load(&account.total), held);
    assert_int_equal(atomic_load(&account.held[MEMORY_KV]), held);
    assert_int_equal(memory_account_fail(&account, &err, 6000, "a test"), CHORD_MEMORY_BUDGET);
    assert_non_null(strstr(err.message, "memory.kv allows"));
    assert_int_equal(memory_account_fail(&account, &err, 200000, "a test"), CHORD_MEMORY_BUDGET);
    assert_null(strstr(err.message, "memory.kv"));
    void *other = memory_alloc(&account, MEMORY_SCRATCH, 80000, 1);
    assert_non_null(other);
    assert_int_equal(memory_left(&account, MEMORY_SCRATCH), 100000 - atomic_load(&account.total));
    account.region_ceiling[MEMORY_KV] = UINT64_MAX;
    assert_null(memory_alloc(&account, MEMORY_KV, 30000, 1)); // of all there is too little, and nothing is counted
    assert_int_equal(atomic_load(&account.held[MEMORY_KV]), held);
    memory_free(&account, other);
    account.region_ceiling[MEMORY_KV] = held;
    assert_int_equal(memory_left(&account, MEMORY_KV), 0);
    assert_true(memory_reserve(&account, MEMORY_KV, 0));
    assert_false(memory_reserve(&account, MEMORY_KV, 1));
    memory_free(&account, block);
    assert_int_equal(atomic_load(&account.total), 0);
}

static void test_ceiling(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    memory_account_init(&account, 10000);
    void *block = memory_alloc(&account, MEMORY_KV, 6000, 1);
    assert_non_null(block);
    const uint64_t held = atomic_load(&account.total);
    assert_null(memory_alloc(&account, MEMORY_KV, 6000, 1));
    assert_null(memory_alloc(&account, MEMORY_KV, UINT64_MAX, 1));
    assert_null(memory_alloc(&account, MEMORY_KV, UINT64_MAX - 64, 64));
    assert_null(memory_zalloc(&account, MEMORY_KV, UINT64_C(1) << 33, UINT64_C(1) << 33));
    assert_int_equal(atomic_load(&account.total), held);
    assert_int_equal(atomic_load(&account.peak), held);
    assert_int_equal(memory_account_fail(&account, &err, 6000, "a test"), CHORD_MEMORY_BUDGET);
    assert_non_null(strstr(err.message, "a test"));
    assert_int_equal(memory_account_fail(&account, &err, UINT64_MAX, "a test"), CHORD_MEMORY_BUDGET);
    assert_int_equal(memory_account_fail(&account, &err, 100, "a test"), CHORD_OUT_OF_MEMORY);

    // What is held by other means counts as well.
    assert_true(memory_reserve(&account, MEMORY_WEIGHTS, 10000 - held));
    assert_false(memory_reserve(&account, MEMORY_WEIGHTS, 1));
    assert_false(memory_reserve(&account, MEMORY_WEIGHTS, UINT64_MAX));
    assert_null(memory_alloc(&account, MEMORY_KV, 1, 1));
    assert_int_equal(atomic_load(&account.held[MEMORY_WEIGHTS]), 10000 - held);
    memory_unreserve(&account, MEMORY_WEIGHTS, 10000 - held);
    assert_int_equal(atomic_load(&account.held[MEMORY_WEIGHTS]), 0);
    memory_free(&account, block);
    assert_int_equal(atomic_load(&account.total), 0);
}

static void test_failure_injection(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 5; n++) {
        struct memory_account account;
        void *blocks[6];
        memory_account_init(&account, UINT64_MAX);
        atomic_store(&account.fail_after, n);
        for (int i = 0; i < 6; i++) { // the one with index n fails, no other
            blocks[i] = i % 2 ? memory_zalloc(&account, MEMORY_KV, 1, 64) : memory_alloc(&account, MEMORY_KV, 64, 64);
            assert_int_equal(blocks[i] == NULL, i == n);
        }
        assert_int_equal(atomic_load(&account.n_allocations), 5);
        for (int i = 0; i < 6; i++)
            memory_free(&account, blocks[i]);
        assert_int_equal(atomic_load(&account.total), 0);
    }
}

static void *allocate_often(void *context)
{
    struct memory_account *account = context;
    void *blocks[8] = {0};
    for (unsigned i = 0; i < 20000; i++) {
        memory_free(account, blocks[i % 8]);
        blocks[i % 8] = memory_alloc(account, (enum memory_region)(i % N_MEMORY_REGIONS), i % 500, 16);
    }
    for (unsigned i = 0; i < 8; i++)
        memory_free(account, blocks[i]);
    return NULL;
}

static void test_account_of_threads(void **state)
{
    (void)state;
    struct memory_account account;
    pthread_t threads[4];
    memory_account_init(&account, 12000); // often too little
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_often, &account), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&account.total), 0);
    for (int i = 0; i < N_MEMORY_REGIONS; i++)
        assert_int_equal(atomic_load(&account.held[i]), 0);
    assert_true(atomic_load(&account.peak) <= 12000);
    assert_true(atomic_load(&account.peak) > 1000);
}

// ---- Hash -----------------------------------------------------------------------------------------------------------

static void test_hash(void **state)
{
    (void)state;
    // The same on every machine: values computed by another program from the definition.
    assert_true(hash_bytes("", 0, 0) == UINT64_C(0x3da4588b8c08334f));
    assert_true(hash_bytes("chord", 5, 1) == UINT64_C(0x90953d64f38c508d));
    assert_true(hash_bytes("general.architecture", 20, 42) == UINT64_C(0x57435d551f8cbb04));
    assert_true(hash_bytes("a", 1, 0) != hash_bytes("a", 1, 1));
    assert_true(hash_bytes("a\0", 2, 0) != hash_bytes("a", 1, 0));
    assert_true(hash_bytes("\0\0\0", 3, 0) != hash_bytes("\0\0", 2, 0));

    // Every bit of the input moves about half of the bits of the result.
    unsigned char bytes[24];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37);
    const uint64_t hash = hash_bytes(bytes, sizeof bytes, 7);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        const int moved = __builtin_popcountll(hash ^ hash_bytes(bytes, sizeof bytes, 7));
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_true(moved >= 10 && moved <= 54);
    }
}

// Values of the reference implementation; in pieces of any size it is the same.
static void test_xxh64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"", UINT64_C(0xef46db3751d8e999)},
        {"a", UINT64_C(0xd24ec4f1a98c6e5b)},
        {"abc", UINT64_C(0x44bc2cf5ad770999)},
        {"Nobody inspects the spammish repetition", UINT64_C(0xfbcea83c8a378bf1)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(xxh64(cases[i].text, strlen(cases[i].text), 0) == cases[i].value);
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37);
    for (size_t n = 0; n <= sizeof bytes; n += 7)
        for (size_t piece = 1; piece < 100; piece += 13) {
            struct xxh64 hash;
            xxh64_init(&hash, n);
            for (size_t at = 0; at < n; at += piece)
                xxh64_add(&hash, bytes + at, n - at < piece ? n - at : piece);
            assert_true(xxh64_value(&hash) == xxh64(bytes, n, n));
        }
    assert_true(xxh64(bytes, 64, 1) != xxh64(bytes, 64, 2));
}

static void test_string_table(void **state)
{
    (void)state;
    enum { N = 20000 };
    static char keys[N][12];
    struct memory_account account;
    struct string_table table;
    memory_account_init(&account, UINT64_MAX);
    assert_true(string_table_init(&table, &account, MEMORY_TOKENIZER, N, 12345));
    assert_int_equal(string_table_find(&table, "", 0), -1);
    for (uint32_t i = 0; i < N; i++) {
        const int n = snprintf(keys[i], sizeof keys[i], "%u", i * 7919u);
        assert_true(string_table_insert(&table, keys[i], (uint64_t)n, i));
        assert_false(string_table_insert(&table, keys[i], (uint64_t)n, i + 1));
    }
    assert_int_equal(table.n_used, N);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(string_table_find(&table, keys[i], strlen(keys[i])), i);
    assert_int_equal(string_table_find(&table, "no such key", 11), -1);
    assert_int_equal(string_table_find(&table, keys[5], strlen(keys[5]) + 1), -1); // the length counts
    assert_true(string_table_insert(&table, "", 0, UINT32_MAX));
    assert_true(string_table_find(&table, "", 0) == UINT32_MAX);
    string_table_free(&table, &account);
    assert_int_equal(string_table_find(&table, keys[0], 1), -1);
    string_table_free(&table, &account);
    assert_int_equal(atomic_load(&account.total), 0);
}

static void test_string_table_limits(void **state)
{
    (void)state;
    struct memory_account account;
    struct string_table table;
    char keys[64][4];
    memory_account_init(&account, UINT64_MAX);
    assert_true(string_table_init(&table, &account, MEMORY_TOKENIZER, 0, 1));
    uint32_t n = 0;
    for (; n < 64; n++) {
        snprintf(keys[n], sizeof keys[n], "%u", n);
        if (!string_table_insert(&table, keys[n], strlen(keys[n]), n))
            break;
    }
    assert_true(n >= 1 && n < 64); // full, and looking for what is not there still ends
    assert_int_equal(string_table_find(&table, "x", 1), -1);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(string_table_find(&table, keys[i], strlen(keys[i])), i);
    string_table_free(&table, &account);

    assert_false(string_table_init(&table, &account, MEMORY_TOKENIZER, UINT64_MAX, 1));
    assert_false(string_table_init(&table, &account, MEMORY_TOKENIZER, UINT64_C(1) << 62, 1));
    atomic_store(&account.fail_after, 0);
    assert_false(string_table_init(&table, &account, MEMORY_TOKENIZER, 8, 1));
    assert_int_equal(atomic_load(&account.total), 0);
}

// ---- Half precision -------------------------------------------------------------------------------------------------

// What a half means, by arithmetic on doubles.
static double value_of_half(uint16_t h)
{
    const int exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
    const double sign = h & 0x8000 ? -1.0 : 1.0;
    if (exponent == 0)
        return sign * ldexp(fraction, -24);
    return sign * ldexp(fraction + 1024, exponent - 25);
}

static bool half_is_finite(uint16_t h)
{
    return (h & 0x7c00) != 0x7c00;
}

static void test_half_to_float(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        const float f = float_from_half(h);
        if (half_is_finite(h)) {
            assert_true((double)f == value_of_half(h));
            assert_int_equal(signbit(f) != 0, h >> 15);
        } else if ((h & 0x3ff) == 0) {
            assert_true(isinf(f) && (signbit(f) != 0) == (h >> 15));
        } else {
            assert_true(isnan(f) && (bits_from_float(f) & 0x400000) != 0); // quiet
        }
    }
}

static void test_half_round_trip(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        const uint16_t back = half_from_float(float_from_half(h));
        if (half_is_finite(h) || (h & 0x3ff) == 0)
            assert_int_equal(back, h);
        else
            assert_int_equal(back, h | 0x200); // made quiet
    }
}

// Between two neighbours everything below the middle goes down, everything above it up, the middle to the even one:
// together with the round trip and monotony that is all there is to rounding.
static void test_half_rounding(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x7c00; i++) {
        const uint16_t low = (uint16_t)i, high = (uint16_t)(i + 1), even = low & 1 ? high : low;
        const double above = high == 0x7c00 ? 65536.0 : value_of_half(high); // where 65520 would round to
        const float middle = (float)((value_of_half(low) + above) / 2);
        assert_true((double)middle == (value_of_half(low) + above) / 2); // exact in float
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            const float s = sign ? -1.0f : 1.0f;
            assert_int_equal(half_from_float(s * middle), even | sign);
            assert_int_equal(half_from_float(s * nextafterf(middle, 0.0f)), low | sign);
            assert_int_equal(half_from_float(s * nextafterf(middle, INFINITY)), high | sign);
            assert_int_equal(half_from_float(s * nextafterf((float)value_of_half(low), INFINITY)), low | sign);
            assert_int_equal(half_from_float(s * nextafterf((float)above, 0.0f)), high | sign);
        }
    }
    assert_int_equal(half_from_float(65519.996f), 0x7bff);
    assert_int_equal(half_from_float(65520.0f), 0x7c00);
    assert_int_equal(half_from_float(3.4e38f), 0x7c00);
    assert_int_equal(half_from_float(-INFINITY), 0xfc00);
    assert_int_equal(half_from_float(float_from_bits(1)), 0);
    assert_int_equal(half_from_float(float_from_bits(0x80000001)), 0x8000);
    assert_int_equal(half_from_float(float_from_bits(0x7f800001)) & 0x7e00, 0x7e00); // a NaN of low bits only
    assert_int_equal(half_from_float(float_from_bits(0xff800001)) & 0xfe00, 0xfe00);
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t b = (uint16_t)i;
        const float f = float_from_bf16(b);
        assert_int_equal(bits_from_float(f), i << 16);
        if (isnan(f))
            assert_int_equal(bf16_from_float(f), b | 0x40);
        else
            assert_int_equal(bf16_from_float(f), b);
        if ((b & 0x7f80) == 0x7f80)
            continue;
        // The half-way pattern and its neighbours; up is away from zero.
        assert_int_equal(bf16_from_float(float_from_bits(i << 16 | 0x7fff)), b);
        assert_int_equal(bf16_from_float(float_from_bits(i << 16 | 0x8000)), b & 1 ? b + 1 : b);
        assert_int_equal(bf16_from_float(float_from_bits(i << 16 | 0x8001)), b + 1);
        assert_int_equal(bf16_from_float(float_from_bits(i << 16 | 0xffff)), b + 1);
    }
    assert_int_equal(bf16_from_float(float_from_bits(0x7f7fffff)), 0x7f80); // the largest float becomes infinity
    assert_true(isnan(float_from_bf16(bf16_from_float(float_from_bits(0x7f800001)))));
    assert_true(isnan(float_from_bf16(bf16_from_float(float_from_bits(0xffffffff)))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_checked),
        cmocka_unit_test(test_alloc_accounts),
        cmocka_unit_test(test_alloc_aligns),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_region_ceilings),
        cmocka_unit_test(test_failure_injection),
        cmocka_unit_test(test_account_of_threads),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_xxh64),
        cmocka_unit_test(test_string_table),
        cmocka_unit_test(test_string_table_limits),
        cmocka_unit_test(test_half_to_float),
        cmocka_unit_test(test_half_round_trip),
        cmocka_unit_test(test_half_rounding),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
