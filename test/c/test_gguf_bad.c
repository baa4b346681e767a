// Files that are refused, and what it costs; running out of memory.
#include "gguf_files.h"

#include "quant/quant.h"

// ---- Bad files ------------------------------------------------------------------------------------------------------

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MALFORMED_FILES; i++) {
        const struct malformed *file = &malformed_files[i];
        struct maker m = {0};
        struct memory_account account;
        struct chord_error err;
        struct gguf *gguf;
        memory_account_init(&account, UINT64_MAX);
        file->make(&m);
        for (int from_file = 0; from_file < 2; from_file++) {
            enum chord_status status;
            if (from_file)
                status = gguf_open(&gguf, write_file("made.gguf", &m), &account, &err);
            else
                status = open_maker(&gguf, &m, false, &account, &err);
            if (status != file->code || strstr(err.message, file->message) == NULL)
                fail_msg("%s: %s: %s", file->name, chord_status_name(status), err.message);
            assert_non_null(strstr(err.message, "made.gguf"));
            assert_null(gguf);
            assert_int_equal(atomic_load(&account.total), 0);
        }
        const struct gguf_source source = maker_source(&m, "made.gguf");
        assert_int_equal(gguf_open_source(&gguf, &source, false, &account, NULL), file->code);
        // Nothing is allocated for what a length claims: what can be is in proportion to the bytes that are there.
        if (m.sparse_bytes == 0 && atomic_load(&account.peak) > 20 * m.n + 4096)
            fail_msg("%s: %llu bytes of memory for a file of %llu", file->name,
                     (unsigned long long)atomic_load(&account.peak), (unsigned long long)m.n);
        clear(&m);
    }
}

// No two ways of being bad give the same message.
static void test_malformed_messages_differ(void **state)
{
    (void)state;
    static char messages[N_MALFORMED_FILES][CHORD_ERROR_MESSAGE_BYTES];
    for (size_t i = 0; i < N_MALFORMED_FILES; i++) {
        struct maker m = {0};
        struct memory_account account;
        struct chord_error err;
        struct gguf *gguf;
        memory_account_init(&account, UINT64_MAX);
        malformed_files[i].make(&m);
        open_maker(&gguf, &m, false, &account, &err);
        strcpy(messages[i], err.message);
        clear(&m);
        for (size_t j = 0; j < i; j++)
            if (strcmp(messages[i], messages[j]) == 0 && strncmp(malformed_files[i].name, "elements-", 9) != 0)
                fail_msg("%s and %s: %s", malformed_files[j].name, malformed_files[i].name, messages[i]);
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct maker m = {0};
        const struct good_layout layout = put_good_file(&m, version, 32);
        const uint64_t whole = m.n;
        assert_int_equal(layout.end, whole);
        for (m.n = 0; m.n < whole; m.n++) {
            struct memory_account account;
            struct chord_error err;
            struct gguf *gguf;
            memory_account_init(&account, UINT64_MAX);
            if (open_maker(&gguf, &m, false, &account, &err) != CHORD_GGUF_TRUNCATED)
                fail_msg("cut at %llu: %s: %s", (unsigned long long)m.n, chord_status_name(err.code), err.message);
        }
        clear(&m);
    }
}

// Every byte of a good header set to other values: opened or refused, but never a crash, and nothing left behind.
static void test_damage_at_every_byte(void **state)
{
    (void)state;
    struct maker m = {0};
    const struct good_layout layout = put_good_file(&m, 3, 32);
    uint64_t n_refused = 0;
    for (uint64_t at = 0; at < layout.header_bytes; at++) {
        const unsigned char was = m.bytes[at];
        const unsigned char others[] = {0x00, 0xff, was ^ 1, was ^ 0x80, (unsigned char)(was + 1), 0x20};
        for (size_t i = 0; i < sizeof others; i++) {
            struct memory_account account;
            struct chord_error err;
            struct gguf *gguf;
            memory_account_init(&account, UINT64_MAX);
            m.bytes[at] = others[i];
            if (open_maker(&gguf, &m, false, &account, &err) != CHORD_OK)
                n_refused++;
            close_all(gguf, &account);
        }
        m.bytes[at] = was;
    }
    assert_true(n_refused > layout.header_bytes);
    clear(&m);
}

static void test_any_type(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    put_head(&m, 3, 3, 0);
    put_tensor_2d(&m, "a", 256, 1, 24, 0); // I8
    put_tensor_2d(&m, "b", 32, 1, QUANT_Q8_0, 160);
    put_tensor_2d(&m, "c", 256, 1, 24, 224);
    put_padding(&m, 32);
    put_fill(&m, 0, 224 + 136);
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_GGUF_TENSOR_TYPE);
    assert_non_null(strstr(err.message, "tensor 'a': chord does not read type 24, I8"));
    assert_int_equal(open_maker(&gguf, &m, true, &account, &err), CHORD_OK);
    assert_int_equal(gguf_tensor(gguf, 0)->type, 24);
    assert_int_equal(gguf_tensor(gguf, 0)->n_bytes, 0);
    assert_int_equal(gguf_tensor(gguf, 0)->ne[0], 256);
    assert_int_equal(gguf_tensor(gguf, 1)->n_bytes, 34);
    close_all(gguf, &account);

    const char *path = write_file("any-type.gguf", &m);
    assert_int_equal(gguf_open(&gguf, path, &account, &err), CHORD_GGUF_TENSOR_TYPE);
    assert_int_equal(gguf_open_any_type(&gguf, path, &account, &err), CHORD_OK);
    close_all(gguf, &account);
    clear(&m);

    put_tensor_file(&m, 32, 1, 77, 0); // a number that is no type at all is still refused
    assert_int_equal(open_maker(&gguf, &m, true, &account, &err), CHORD_GGUF_TENSOR_TYPE);
    clear(&m);
}

// ---- Size and memory ------------------------------------------------------------------------------------------------

// As many keys and tensors as there may be, the tensors in reverse order: the work must not grow with the square.
static void test_many(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    char name[32];
    memory_account_init(&account, UINT64_MAX);
    put_head(&m, 3, GGUF_MAX_TENSORS, GGUF_MAX_VALUES);
    for (uint32_t i = 0; i < GGUF_MAX_VALUES; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        put_key_u32(&m, name, i);
    }
    for (uint32_t i = 0; i < GGUF_MAX_TENSORS; i++) {
        snprintf(name, sizeof name, "tensor.%u", i);
        put_tensor_2d(&m, name, 8, 1, TYPE_F32, (uint64_t)(GGUF_MAX_TENSORS - 1 - i) * 32);
    }
    const uint64_t header_bytes = m.n;
    m.sparse_bytes = good_align(m.n, 32) + UINT64_C(32) * GGUF_MAX_TENSORS;
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_OK);
    for (uint32_t i = 0; i < GGUF_MAX_VALUES; i += 1111) {
        uint32_t value;
        snprintf(name, sizeof name, "key.%u", i);
        assert_int_equal(gguf_get_u32(gguf, name, &value, &err), CHORD_OK);
        assert_int_equal(value, i);
    }
    for (uint32_t i = 0; i < GGUF_MAX_TENSORS; i += 11111) {
        snprintf(name, sizeof name, "tensor.%u", i);
        assert_ptr_equal(gguf_find_tensor(gguf, name), gguf_tensor(gguf, i));
    }
    // What gguf.h promises.
    assert_true(atomic_load(&account.peak) <=
                3 * header_bytes + 150 * (uint64_t)GGUF_MAX_VALUES + 250 * (uint64_t)GGUF_MAX_TENSORS);
    close_all(gguf, &account);

    m.sparse_bytes -= 32; // the last byte of the first tensor in the directory is missing
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_GGUF_TRUNCATED);
    assert_non_null(strstr(err.message, "tensor 'tensor.0'"));
    clear(&m);
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    struct maker m = {0};
    struct chord_error err;
    put_head(&m, 3, 2, 2);
    put_key_array(&m, "filler", GGUF_UINT8, 300000); // makes the header buffer grow
    put_fill(&m, 1, 300000);
    put_key_string(&m, "k", "v");
    put_tensor_2d(&m, "b", 8, 1, TYPE_F32, 32); // unsorted, so that the sort allocates
    put_tensor_2d(&m, "a", 8, 1, TYPE_F32, 0);
    put_padding(&m, 32);
    put_fill(&m, 0, 64);
    for (int64_t n = 0;; n++) {
        struct memory_account account;
        struct gguf *gguf;
        memory_account_init(&account, UINT64_MAX);
        atomic_store(&account.fail_after, n);
        const enum chord_status status = open_maker(&gguf, &m, false, &account, &err);
        if (status == CHORD_OK) {
            assert_true(n >= 12); // at least so many were tried
            close_all(gguf, &account);
            break;
        }
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
    }
    // The same by the ceiling, and the message says so.
    const uint64_t ceilings[] = {0, 10, 1000, 100000, 300000, 600000};
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        struct memory_account account;
        struct gguf *gguf;
        memory_account_init(&account, ceilings[i]);
        assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_MEMORY_BUDGET);
        assert_true(atomic_load(&account.peak) <= ceilings[i]);
    }
    clear(&m);
}

static enum chord_status read_nothing(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                                      struct chord_error *err)
{
    (void)context, (void)offset, (void)out, (void)n_bytes;
    return chord_fail(err, CHORD_IO, "the disk is gone");
}

static void test_read_error(void **state)
{
    (void)state;
    const struct gguf_source source = {.name = "made.gguf", .n_bytes = 100, .read = read_nothing};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(gguf_open_source(&gguf, &source, false, &account, &err), CHORD_IO);
    assert_string_equal(err.message, "made.gguf: the disk is gone");
    assert_int_equal(atomic_load(&account.total), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_malformed_messages_differ),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_damage_at_every_byte),
        cmocka_unit_test(test_any_type),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_read_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
