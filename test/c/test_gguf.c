#include "../malformed/good.h"
#include "../malformed/malformed.h"
#include "gguf/gguf.h"
#include "gguf/header.h"
#include "quant/quant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Helpers ---------------------------------------------------------------------------------------------------------

static char folder[64]; // temporary, of this run

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/chord-gguf-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    char path[512];
    (void)state;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
    return rmdir(folder);
}

// Valid for the next three calls.
static const char *path_in_folder(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static const char *write_file(const char *name, struct maker *m)
{
    const char *path = path_in_folder(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (m->n > 0)
        assert_int_equal(fwrite(m->bytes, 1, m->n, file), m->n);
    assert_int_equal(fclose(file), 0);
    if (m->sparse_bytes > m->n)
        assert_int_equal(truncate(path, (off_t)m->sparse_bytes), 0);
    return path;
}

static void clear(struct maker *m)
{
    free(m->bytes);
    *m = (struct maker){0};
}

// Opens from memory; afterwards `account` must hold nothing unless there is a result.
static enum chord_status open_maker(struct gguf **out, const struct maker *m, bool any_type,
                                    struct memory_account *account, struct chord_error *err)
{
    const struct gguf_source source = maker_source(m, "made.gguf");
    memset(err, 0, sizeof *err);
    const enum chord_status status = gguf_open_source(out, &source, any_type, account, err);
    if (status != CHORD_OK) {
        assert_null(*out);
        assert_int_equal(err->code, status);
        assert_true(strlen(err->message) > 0);
        assert_int_equal(atomic_load(&account->total), 0);
    }
    return status;
}

static void close_all(struct gguf *gguf, struct memory_account *account)
{
    gguf_close(gguf);
    assert_int_equal(atomic_load(&account->total), 0);
}

static bool string_is(struct gguf_string string, const char *text)
{
    return string.n_bytes == strlen(text) && memcmp(string.bytes, text, string.n_bytes) == 0;
}

static const char *fixture(const char *name)
{
    static char path[1024];
    const char *fixtures = getenv("CHORD_FIXTURES");
    snprintf(path, sizeof path, "%s/%s", fixtures != NULL ? fixtures : "../shared/fixtures", name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no %s; set CHORD_FIXTURES\n", path);
        skip();
    }
    return path;
}

static unsigned char *read_whole(const char *path, uint64_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = (uint64_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

// ---- Good files ------------------------------------------------------------------------------------------------------

static void check_good(const struct gguf *gguf, const struct good_layout *layout)
{
    static const char *const names[GOOD_N_TENSORS] = {
        "token_embd.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down_exps.weight",
        "output_norm.weight.of.a.name.with.exactly.64.bytes.in.its.length"};
    static const uint64_t ne[GOOD_N_TENSORS][4] = {{8, 3, 1, 1}, {64, 2, 1, 1}, {256, 1, 2, 1}, {5, 1, 1, 1}};
    static const uint32_t types[GOOD_N_TENSORS] = {QUANT_F32, QUANT_Q4_0, QUANT_Q4_K, QUANT_F16};
    static const uint32_t dimensions[GOOD_N_TENSORS] = {2, 2, 4, 1};
    assert_int_equal(gguf_n_files(gguf), 1);
    assert_int_equal(gguf_file(gguf, 0)->header_bytes, layout->header_bytes);
    assert_null(gguf_file(gguf, 1));
    assert_int_equal(gguf_n_values(gguf), GOOD_N_VALUES);
    assert_null(gguf_value(gguf, GOOD_N_VALUES));
    assert_true(string_is(gguf_value(gguf, 0)->key, "general.architecture"));
    assert_true(string_is(gguf_value(gguf, GOOD_N_VALUES - 1)->key, "t.uint64s"));
    assert_int_equal(gguf_n_tensors(gguf), GOOD_N_TENSORS);
    assert_null(gguf_tensor(gguf, GOOD_N_TENSORS));
    assert_null(gguf_find_tensor(gguf, "token_embd.weigh"));
    assert_null(gguf_find_tensor(gguf, ""));
    for (unsigned i = 0; i < GOOD_N_TENSORS; i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        assert_true(string_is(tensor->name, names[i]));
        assert_ptr_equal(gguf_find_tensor(gguf, names[i]), tensor);
        assert_int_equal(tensor->type, types[i]);
        assert_int_equal(tensor->n_dimensions, dimensions[i]);
        assert_memory_equal(tensor->ne, ne[i], sizeof ne[i]);
        assert_int_equal(tensor->file, 0);
        assert_int_equal(tensor->offset, layout->data_at + layout->offsets[i]);
        assert_int_equal(tensor->n_bytes, layout->sizes[i]);
    }
}

static void test_good_from_memory(void **state)
{
    (void)state;
    static const uint32_t alignments[] = {1, 2, 8, 16, 32, 64, 4096, 65536};
    for (uint32_t version = 2; version <= 3; version++)
        for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++)
            for (int longer = 0; longer < 2; longer++) {
                struct maker m = {0};
                struct memory_account account;
                struct chord_error err;
                struct gguf *gguf;
                memory_account_init(&account, UINT64_MAX);
                const struct good_layout layout = put_good_file(&m, version, alignments[i]);
                put_fill(&m, 0xaa, longer ? 1000 : 0); // more than the last tensor is allowed
                assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_OK);
                assert_int_equal(gguf_file(gguf, 0)->version, version);
                check_good(gguf, &layout);
                close_all(gguf, &account);
                clear(&m);
            }
}

static void test_good_from_file(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    unsigned char data[512];
    memory_account_init(&account, UINT64_MAX);
    const struct good_layout layout = put_good_file(&m, 3, 32);
    const char *path = write_file("good.gguf", &m);
    assert_int_equal(gguf_open(&gguf, path, &account, &err), CHORD_OK);
    check_good(gguf, &layout);
    assert_string_equal(gguf_file(gguf, 0)->path, path);
    assert_int_equal(gguf_file(gguf, 0)->os.size, m.n);
    for (uint64_t i = 0; i < GOOD_N_TENSORS; i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        assert_true(tensor->n_bytes <= sizeof data);
        assert_int_equal(os_file_read(&gguf_file(gguf, 0)->os, tensor->offset, data, tensor->n_bytes, &err), CHORD_OK);
        for (uint64_t b = 0; b < tensor->n_bytes; b++)
            assert_int_equal(data[b], i + 1);
    }
    close_all(gguf, &account);
    clear(&m);
}

static void test_nothing_in_it(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    put_head(&m, 3, 0, 0);
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_OK);
    assert_int_equal(gguf_n_values(gguf), 0);
    assert_int_equal(gguf_n_tensors(gguf), 0);
    assert_null(gguf_value(gguf, 0));
    assert_null(gguf_tensor(gguf, 0));
    assert_null(gguf_find(gguf, "general.architecture"));
    assert_null(gguf_find_tensor(gguf, "t"));
    close_all(gguf, &account);
    clear(&m);
    gguf_close(NULL);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf = NULL;
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(gguf_open(&gguf, path_in_folder("absent.gguf"), &account, &err), CHORD_FILE_NOT_FOUND);
    assert_non_null(strstr(err.message, "absent.gguf"));
    assert_int_equal(gguf_open(&gguf, folder, &account, &err), CHORD_IO);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(gguf_open(&gguf, folder, &account, NULL), CHORD_IO);
    assert_null(gguf);
    assert_int_equal(atomic_load(&account.total), 0);
}

// ---- Values ----------------------------------------------------------------------------------------------------------

static struct gguf *open_good(struct maker *m, struct memory_account *account)
{
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(account, UINT64_MAX);
    put_good_file(m, 3, 32);
    assert_int_equal(open_maker(&gguf, m, false, account, &err), CHORD_OK);
    return gguf;
}

static void test_integers(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct gguf *gguf = open_good(&m, &account);
    struct chord_error err;
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    static const struct {
        const char *key;
        enum chord_status u32_status, u64_status;
        uint64_t value;
    } rows[] = {
        {"t.uint8", CHORD_OK, CHORD_OK, 200},
        {"t.uint16", CHORD_OK, CHORD_OK, 65535},
        {"t.uint32", CHORD_OK, CHORD_OK, UINT32_MAX},
        {"t.uint64", CHORD_GGUF_METADATA, CHORD_OK, UINT64_MAX},
        {"t.int8", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"t.int16", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"t.int32", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"t.int64", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"t.float32", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"t.bool", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"t.int32s", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"general.architecture", CHORD_GGUF_METADATA, CHORD_GGUF_METADATA, 0},
        {"absent", CHORD_NOT_FOUND, CHORD_NOT_FOUND, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(gguf_get_u32(gguf, rows[i].key, &u32, &err), rows[i].u32_status);
        if (rows[i].u32_status == CHORD_OK)
            assert_int_equal(u32, rows[i].value);
        else
            assert_non_null(strstr(err.message, rows[i].key));
        assert_int_equal(gguf_get_u64(gguf, rows[i].key, &u64, NULL), rows[i].u64_status);
        if (rows[i].u64_status == CHORD_OK)
            assert_true(u64 == rows[i].value);
    }
    assert_int_equal(gguf_get_u32_or(gguf, "absent", 42, &u32, &err), CHORD_OK);
    assert_int_equal(u32, 42);
    assert_int_equal(gguf_get_u32_or(gguf, "t.uint8", 42, &u32, &err), CHORD_OK);
    assert_int_equal(u32, 200);
    assert_int_equal(gguf_get_u32_or(gguf, "t.int8", 42, &u32, &err), CHORD_GGUF_METADATA);
    assert_non_null(strstr(err.message, "'t.int8' is -128, below 0"));
    assert_int_equal(gguf_get_u32(gguf, "t.uint64", &u32, &err), CHORD_GGUF_METADATA);
    assert_non_null(strstr(err.message, "is 18446744073709551615, above 4294967295"));
    assert_int_equal(gguf_get_u32(gguf, "t.strings", &u32, &err), CHORD_GGUF_METADATA);
    assert_non_null(strstr(err.message, "is an array of string, where an integer is wanted"));
    close_all(gguf, &account);
    clear(&m);
}

static void test_floats_bools_strings(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct gguf *gguf = open_good(&m, &account);
    struct chord_error err;
    struct gguf_string string;
    float f32 = 0;
    bool truth = false;
    assert_int_equal(gguf_get_f32(gguf, "t.float32", &f32, &err), CHORD_OK);
    assert_true(f32 == 1e-5f);
    assert_int_equal(gguf_get_f32(gguf, "t.int16", &f32, &err), CHORD_OK);
    assert_true(f32 == -32768.0f);
    assert_int_equal(gguf_get_f32(gguf, "t.uint64", &f32, &err), CHORD_OK);
    assert_true(f32 == 0x1p64f);
    assert_int_equal(gguf_get_f32(gguf, "t.float64", &f32, &err), CHORD_GGUF_METADATA);
    assert_non_null(strstr(err.message, "is 1e+300, beyond single precision"));
    assert_int_equal(gguf_get_f32(gguf, "t.bool", &f32, &err), CHORD_GGUF_METADATA);
    assert_int_equal(gguf_get_f32(gguf, "t.float32s", &f32, &err), CHORD_GGUF_METADATA);
    assert_int_equal(gguf_get_f32(gguf, "absent", &f32, NULL), CHORD_NOT_FOUND);
    assert_int_equal(gguf_get_f32_or(gguf, "absent", 0.5f, &f32, &err), CHORD_OK);
    assert_true(f32 == 0.5f);
    assert_int_equal(gguf_get_f32_or(gguf, "general.architecture", 0.5f, &f32, &err), CHORD_GGUF_METADATA);

    assert_int_equal(gguf_get_bool(gguf, "t.bool", &truth, &err), CHORD_OK);
    assert_true(truth);
    assert_int_equal(gguf_get_bool(gguf, "t.uint8", &truth, &err), CHORD_GGUF_METADATA);
    assert_int_equal(gguf_get_bool(gguf, "t.bools", &truth, &err), CHORD_GGUF_METADATA);
    assert_int_equal(gguf_get_bool(gguf, "absent", &truth, &err), CHORD_NOT_FOUND);
    assert_int_equal(gguf_get_bool_or(gguf, "t.uint8", false, &truth, &err), CHORD_GGUF_METADATA);
    truth = false;
    assert_int_equal(gguf_get_bool_or(gguf, "t.bool", false, &truth, &err), CHORD_OK);
    assert_true(truth);
    assert_int_equal(gguf_get_bool_or(gguf, "absent", false, &truth, &err), CHORD_OK);
    assert_false(truth);

    assert_int_equal(gguf_get_string(gguf, "general.architecture", &string, &err), CHORD_OK);
    assert_true(string_is(string, "llama"));
    assert_int_equal(gguf_get_string(gguf, "t.string.empty", &string, &err), CHORD_OK);
    assert_true(string_is(string, ""));
    assert_int_equal(gguf_get_string(gguf, "t.strings", &string, &err), CHORD_GGUF_METADATA);
    assert_int_equal(gguf_get_string(gguf, "absent", &string, &err), CHORD_NOT_FOUND);
    close_all(gguf, &account);
    clear(&m);
}

static void test_elements(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct gguf *gguf = open_good(&m, &account);
    int64_t integer;
    double number;
    const struct gguf_value *value = gguf_find(gguf, "t.int32s");
    assert_int_equal(value->type, GGUF_ARRAY);
    assert_int_equal(value->element, GGUF_INT32);
    assert_int_equal(value->n_elements, 3);
    assert_int_equal(value->n_data_bytes, 12);
    assert_true(gguf_element_i64(value, 1, &integer) && integer == -2);
    assert_true(gguf_element_f64(value, 1, &number) && number == -2.0);
    assert_false(gguf_element_i64(value, 3, &integer));
    assert_false(gguf_element_f64(value, 3, &number));
    value = gguf_find(gguf, "t.float32s");
    assert_true(gguf_element_f64(value, 1, &number) && number == -2.25);
    assert_false(gguf_element_i64(value, 1, &integer));
    value = gguf_find(gguf, "t.bools");
    assert_true(gguf_element_i64(value, 2, &integer) && integer == 1);
    value = gguf_find(gguf, "t.uint64s");
    assert_true(gguf_element_i64(value, 0, &integer) && integer == 7);
    assert_false(gguf_element_i64(value, 1, &integer)); // above 2^63 - 1
    assert_true(gguf_element_f64(value, 1, &number) && number == 0x1p64);
    assert_true(gguf_element_i64(gguf_find(gguf, "t.int64"), 0, &integer) && integer == INT64_MIN);
    assert_true(gguf_element_i64(gguf_find(gguf, "t.int8"), 0, &integer) && integer == -128);
    assert_true(gguf_element_f64(gguf_find(gguf, "t.float64"), 0, &number) && number == 1e300);
    assert_false(gguf_element_i64(gguf_find(gguf, "t.uint8s.none"), 0, &integer));
    assert_false(gguf_element_f64(gguf_find(gguf, "t.strings"), 0, &number));

    static const char *const texts[] = {"<s>", "", "\xe2\x96\x81the", "\xff"};
    struct gguf_string string;
    value = gguf_find(gguf, "t.strings");
    struct gguf_string_walk walk = gguf_strings(value);
    for (int i = 0; i < 4; i++)
        assert_true(gguf_next_string(&walk, &string) && string_is(string, texts[i]));
    assert_false(gguf_next_string(&walk, &string));
    assert_ptr_equal(walk.at, value->data + value->n_data_bytes);
    walk = gguf_strings(gguf_find(gguf, "t.strings.none"));
    assert_false(gguf_next_string(&walk, &string));
    walk = gguf_strings(gguf_find(gguf, "t.int32s"));
    assert_false(gguf_next_string(&walk, &string));
    walk = gguf_strings(gguf_find(gguf, "general.architecture"));
    assert_true(gguf_next_string(&walk, &string) && string_is(string, "llama"));
    assert_false(gguf_next_string(&walk, &string));

    assert_string_equal(gguf_value_type_name(GGUF_UINT8), "uint8");
    assert_string_equal(gguf_value_type_name(GGUF_FLOAT64), "float64");
    assert_null(gguf_value_type_name(13));
    assert_null(gguf_value_type_name(UINT32_MAX));
    close_all(gguf, &account);
    clear(&m);
}

// ---- Bad files -------------------------------------------------------------------------------------------------------

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
    put_tensor_2d(&m, "a", 256, 1, 23, 0); // IQ4_XS: 136 bytes
    put_tensor_2d(&m, "b", 32, 1, QUANT_Q8_0, 160);
    put_tensor_2d(&m, "c", 256, 1, 23, 224);
    put_padding(&m, 32);
    put_fill(&m, 0, 224 + 136);
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_GGUF_TENSOR_TYPE);
    assert_non_null(strstr(err.message, "tensor 'a': chord does not read type 23, IQ4_XS"));
    assert_int_equal(open_maker(&gguf, &m, true, &account, &err), CHORD_OK);
    assert_int_equal(gguf_tensor(gguf, 0)->type, 23);
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

// ---- Size and memory -------------------------------------------------------------------------------------------------

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

// ---- Split models ----------------------------------------------------------------------------------------------------

struct part {
    uint16_t number, count;
    uint32_t n_tensors_said;
    const char *tensors[3]; // names
};

static const char *write_part(const char *name, const struct part *part)
{
    struct maker m = {0};
    uint64_t n_tensors = 0;
    while (n_tensors < 3 && part->tensors[n_tensors] != NULL)
        n_tensors++;
    put_head(&m, 3, n_tensors, part->number == 0 ? 4 : 3);
    if (part->number == 0)
        put_key_string(&m, "general.architecture", "llama");
    put_key_u16(&m, "split.no", part->number);
    put_key_u16(&m, "split.count", part->count);
    put_key(&m, "split.tensors.count", GGUF_INT32);
    put_u32(&m, part->n_tensors_said);
    for (uint64_t i = 0; i < n_tensors; i++)
        put_tensor_2d(&m, part->tensors[i], 8, 1, TYPE_F32, 32 * i);
    put_padding(&m, 32);
    for (uint64_t i = 0; i < n_tensors; i++)
        put_fill(&m, (unsigned char)part->tensors[i][0], 32);
    const char *path = write_file(name, &m);
    clear(&m);
    return path;
}

static const struct part parts[3] = {
    {0, 3, 4, {"a", "b"}},
    {1, 3, 4, {NULL}},
    {2, 3, 4, {"c", "d"}},
};

static const char *write_parts(void)
{
    write_part("m-00002-of-00003.gguf", &parts[1]);
    write_part("m-00003-of-00003.gguf", &parts[2]);
    return write_part("m-00001-of-00003.gguf", &parts[0]);
}

static void expect_split_error(const char *path, enum chord_status code, const char *message)
{
    struct memory_account account;
    struct chord_error err = {0};
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    const enum chord_status status = gguf_open(&gguf, path, &account, &err);
    if (status != code || strstr(err.message, message) == NULL)
        fail_msg("%s: %s", chord_status_name(status), err.message);
    assert_null(gguf);
    assert_int_equal(atomic_load(&account.total), 0);
}

static void test_split(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    struct gguf_string string;
    const char *path = write_parts();
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(gguf_open(&gguf, path, &account, &err), CHORD_OK);
    assert_int_equal(gguf_n_files(gguf), 3);
    assert_string_equal(gguf_file(gguf, 2)->path, path_in_folder("m-00003-of-00003.gguf"));
    assert_int_equal(gguf_n_tensors(gguf), 4);
    for (uint64_t i = 0; i < 4; i++) {
        const char name[2] = {(char)('a' + i), 0};
        unsigned char data[32];
        const struct gguf_tensor *tensor = gguf_find_tensor(gguf, name);
        assert_ptr_equal(tensor, gguf_tensor(gguf, i));
        assert_ptr_equal(tensor, gguf_tensor(gguf, 0) + i);
        assert_int_equal(tensor->file, i < 2 ? 0 : 2);
        assert_int_equal(os_file_read(&gguf_file(gguf, tensor->file)->os, tensor->offset, data, 32, &err), CHORD_OK);
        assert_int_equal(data[0], name[0]);
        assert_int_equal(data[31], name[0]);
    }
    assert_int_equal(gguf_get_string(gguf, "general.architecture", &string, &err), CHORD_OK);
    close_all(gguf, &account);

    for (int64_t n = 0;; n++) { // every allocation fails once
        atomic_store(&account.fail_after, n);
        const enum chord_status status = gguf_open(&gguf, path, &account, &err);
        if (status == CHORD_OK)
            break;
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
        assert_int_equal(atomic_load(&account.total), 0);
    }
    close_all(gguf, &account);
}

static void test_split_errors(void **state)
{
    (void)state;
    struct part part;
    char first[256];
    strcpy(first, write_parts());
    expect_split_error(path_in_folder("m-00002-of-00003.gguf"), CHORD_GGUF_SPLIT,
                       "is file 2 of 3 of a split model; open the first instead, ");
    expect_split_error(path_in_folder("m-00003-of-00003.gguf"), CHORD_GGUF_SPLIT, "/m-00001-of-00003.gguf");

    part = parts[2], part.number = 1;
    write_part("m-00003-of-00003.gguf", &part);
    expect_split_error(first, CHORD_GGUF_SPLIT, "m-00003-of-00003.gguf: says that it is file 2 of 3, but");
    part = parts[2], part.count = 4;
    write_part("m-00003-of-00003.gguf", &part);
    expect_split_error(first, CHORD_GGUF_SPLIT, "says that it is file 3 of 4, but");
    part = parts[2], part.n_tensors_said = 5;
    write_part("m-00003-of-00003.gguf", &part);
    expect_split_error(first, CHORD_GGUF_SPLIT, "is of a model with 5 tensors");
    part = parts[2], part.tensors[1] = NULL;
    write_part("m-00003-of-00003.gguf", &part);
    expect_split_error(first, CHORD_GGUF_SPLIT, "split.tensors.count says 4 tensors, the 3 files hold 3");
    part = parts[2], part.tensors[1] = "a";
    write_part("m-00003-of-00003.gguf", &part);
    expect_split_error(first, CHORD_GGUF_TENSOR, "m-00003-of-00003.gguf: the tensor 'a' appears twice");

    struct maker m = {0};
    put_good_file(&m, 3, 32); // a model of its own under that name
    write_file("m-00003-of-00003.gguf", &m);
    expect_split_error(first, CHORD_GGUF_SPLIT, "says that it is file 1 of 1, but");
    clear(&m);
    make_version_1(&m);
    write_file("m-00003-of-00003.gguf", &m);
    expect_split_error(first, CHORD_GGUF_VERSION, "m-00003-of-00003.gguf: GGUF version 1");
    clear(&m);
    assert_int_equal(unlink(path_in_folder("m-00003-of-00003.gguf")), 0);
    expect_split_error(first, CHORD_GGUF_SPLIT, "m-00003-of-00003.gguf: file 3 of the model's 3 is missing");

    expect_split_error(write_part("renamed.gguf", &parts[0]), CHORD_GGUF_SPLIT,
                       "its name must end in -00001-of-00003.gguf");
    expect_split_error(write_part("second.gguf", &parts[1]), CHORD_GGUF_SPLIT, "ends in -00001-of-");
}

// Two files of one tensor each, with counts of the tensors only where they are asked for.
static const char *write_pair(bool first_counts, bool second_counts)
{
    for (uint16_t i = 0; i < 2; i++) {
        struct maker m = {0};
        const bool counts = i == 0 ? first_counts : second_counts;
        put_head(&m, 3, 1, counts ? 3 : 2);
        put_key_u16(&m, "split.no", i);
        put_key_u16(&m, "split.count", 2);
        if (counts)
            put_key_u32(&m, "split.tensors.count", 2);
        put_tensor_2d(&m, i == 0 ? "a" : "b", 8, 1, TYPE_F32, 0);
        put_padding(&m, 32);
        put_fill(&m, 0, 32);
        write_file(i == 0 ? "p-00001-of-00002.gguf" : "p-00002-of-00002.gguf", &m);
        clear(&m);
    }
    return path_in_folder("p-00001-of-00002.gguf");
}

static void test_split_without_counts(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(gguf_open(&gguf, write_pair(i & 1, i & 2), &account, &err), CHORD_OK);
        assert_int_equal(gguf_n_tensors(gguf), 2);
        close_all(gguf, &account);
    }
}

// Each file alone is within the limit.
static void test_split_with_too_many_tensors(void **state)
{
    (void)state;
    char first[256];
    for (uint16_t part = 0; part < 2; part++) {
        const uint32_t n = GGUF_MAX_TENSORS / 2 + part;
        struct maker m = {0};
        char name[32];
        put_head(&m, 3, n, 2);
        put_key_u16(&m, "split.no", part);
        put_key_u16(&m, "split.count", 2);
        for (uint32_t i = 0; i < n; i++) {
            snprintf(name, sizeof name, "%u.%u", part, i);
            put_tensor_2d(&m, name, 8, 1, TYPE_F32, 32 * (uint64_t)i);
        }
        m.sparse_bytes = good_align(m.n, 32) + 32 * (uint64_t)n;
        write_file(part == 0 ? "p-00001-of-00002.gguf" : "p-00002-of-00002.gguf", &m);
        clear(&m);
    }
    strcpy(first, path_in_folder("p-00001-of-00002.gguf"));
    expect_split_error(first, CHORD_GGUF_LIMIT, "262145 tensors in its files, where 262144 is the most");
}

static void test_split_keys(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    static const char *const keys[] = {"split.no", "split.count", "split.tensors.count"};
    for (size_t k = 0; k < 3; k++)
        for (int kind = 0; kind < 4; kind++) {
            struct maker m = {0};
            put_head(&m, 3, 0, 1);
            if (kind == 0) {
                put_key(&m, keys[k], GGUF_BOOL);
                put_u8(&m, 1);
            } else if (kind == 1) {
                put_key_array(&m, keys[k], GGUF_UINT8, 1);
                put_u8(&m, 1);
            } else if (kind == 2) {
                put_key(&m, keys[k], GGUF_UINT64);
                put_u64(&m, UINT64_MAX);
            } else {
                put_key(&m, keys[k], GGUF_FLOAT32);
                put_f32(&m, 1);
            }
            assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_GGUF_SPLIT);
            assert_non_null(strstr(err.message, keys[k]));
            clear(&m);
        }
    struct maker m = {0};
    put_split_file(&m, 0, 2);
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_GGUF_SPLIT);
    assert_non_null(strstr(err.message, "cannot be opened from memory"));
    clear(&m);

    struct part part = parts[0];
    write_parts();
    put_head(&m, 3, 0, 1); // a second file whose keys are malformed
    put_key_string(&m, "split.no", "1");
    write_file("m-00002-of-00003.gguf", &m);
    clear(&m);
    expect_split_error(write_part("m-00001-of-00003.gguf", &part), CHORD_GGUF_SPLIT,
                       "m-00002-of-00003.gguf: split.no is no count");
}

static void test_split_of_one(void **state)
{
    (void)state;
    const struct part whole = {0, 1, 1, {"a"}};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(gguf_open(&gguf, write_part("one.gguf", &whole), &account, &err), CHORD_OK);
    assert_int_equal(gguf_n_files(gguf), 1);
    close_all(gguf, &account);
}

// ---- Fixtures --------------------------------------------------------------------------------------------------------

static void test_fixture_models(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    uint32_t u32;
    float f32;
    const char *path = fixture("models/stories260K-f32.gguf");
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(gguf_open(&gguf, path, &account, &err), CHORD_OK);
    assert_int_equal(gguf_n_tensors(gguf), 47);
    assert_int_equal(gguf_get_u32(gguf, "llama.block_count", &u32, &err), CHORD_OK);
    assert_int_equal(u32, 5);
    assert_int_equal(gguf_get_f32(gguf, "llama.attention.layer_norm_rms_epsilon", &f32, &err), CHORD_OK);
    assert_true(f32 == 1e-5f);
    const struct gguf_tensor *tensor = gguf_find_tensor(gguf, "token_embd.weight");
    assert_non_null(tensor);
    assert_int_equal(tensor->ne[0], 64);
    assert_int_equal(tensor->ne[1], 512);
    assert_int_equal(tensor->n_bytes, 64 * 512 * 4);
    uint64_t n_elements = 0;
    for (uint64_t i = 0; i < gguf_n_tensors(gguf); i++)
        n_elements += gguf_tensor(gguf, i)->n_bytes / 4;
    assert_int_equal(n_elements, 260032);
    assert_int_equal(gguf_find(gguf, "tokenizer.ggml.tokens")->n_elements, 512);
    close_all(gguf, &account);

    assert_int_equal(gguf_open(&gguf, fixture("models/llama-2-tiny-random.gguf"), &account, &err), CHORD_OK);
    assert_int_equal(gguf_find(gguf, "tokenizer.ggml.tokens")->n_elements, 32000);
    close_all(gguf, &account);
}

static void test_fixture_cut_at_every_byte(void **state)
{
    (void)state;
    struct maker m = {0};
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    m.bytes = read_whole(fixture("models/stories260K-f32.gguf"), &m.n);
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_OK);
    const uint64_t header_bytes = gguf_file(gguf, 0)->header_bytes;
    close_all(gguf, &account);
    for (m.n = 0; m.n <= header_bytes; m.n++)
        assert_int_equal(open_maker(&gguf, &m, false, &account, &err), CHORD_GGUF_TRUNCATED);
    clear(&m);
}

static void test_fixture_vocabularies(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        uint64_t n_tokens;
    } files[] = {
        {"vocab/ggml-vocab-llama-spm.gguf", 32000}, {"vocab/ggml-vocab-phi-3.gguf", 32064},
        {"vocab/ggml-vocab-gpt-2.gguf", 50257},     {"vocab/ggml-vocab-llama-bpe.gguf", 128256},
        {"vocab/ggml-vocab-qwen2.gguf", 151936},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct memory_account account;
        struct chord_error err;
        struct gguf *gguf;
        struct gguf_string string;
        uint64_t n = 0;
        memory_account_init(&account, UINT64_MAX);
        assert_int_equal(gguf_open(&gguf, fixture(files[i].path), &account, &err), CHORD_OK);
        const struct gguf_value *tokens = gguf_find(gguf, "tokenizer.ggml.tokens");
        struct gguf_string_walk walk = gguf_strings(tokens);
        while (gguf_next_string(&walk, &string))
            n++;
        assert_int_equal(n, files[i].n_tokens);
        assert_ptr_equal(walk.at, tokens->data + tokens->n_data_bytes);
        const uint64_t header_bytes = gguf_file(gguf, 0)->header_bytes;
        assert_true(atomic_load(&account.peak) <= 4 * header_bytes);
        assert_true(atomic_load(&account.total) <= header_bytes + header_bytes / 8);
        assert_true(atomic_load(&account.n_allocations) < 32); // none per token
        close_all(gguf, &account);
    }
}

static void test_fixture_malformed(void **state)
{
    (void)state;
    char root[1024];
    struct memory_account account;
    struct chord_error err;
    struct gguf *gguf;
    int n = 0;
    snprintf(root, sizeof root, "%s", fixture("malformed"));
    memory_account_init(&account, UINT64_MAX);
    DIR *dir = opendir(root);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[2048];
        if (strstr(entry->d_name, ".gguf") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
        for (int any_type = 0; any_type < 2; any_type++) {
            const enum chord_status status =
                (any_type ? gguf_open_any_type : gguf_open)(&gguf, path, &account, &err);
            if (status != CHORD_OK)
                assert_non_null(strstr(err.message, entry->d_name));
            close_all(gguf, &account);
        }
        n++;
    }
    closedir(dir);
    assert_true(n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_from_memory),
        cmocka_unit_test(test_good_from_file),
        cmocka_unit_test(test_nothing_in_it),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats_bools_strings),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_malformed_messages_differ),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_damage_at_every_byte),
        cmocka_unit_test(test_any_type),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_read_error),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_errors),
        cmocka_unit_test(test_split_without_counts),
        cmocka_unit_test(test_split_with_too_many_tensors),
        cmocka_unit_test(test_split_keys),
        cmocka_unit_test(test_split_of_one),
        cmocka_unit_test(test_fixture_models),
        cmocka_unit_test(test_fixture_cut_at_every_byte),
        cmocka_unit_test(test_fixture_vocabularies),
        cmocka_unit_test(test_fixture_malformed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
