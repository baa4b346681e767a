// Split models, good and bad.
#include "gguf_files.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_errors),
        cmocka_unit_test(test_split_without_counts),
        cmocka_unit_test(test_split_with_too_many_tensors),
        cmocka_unit_test(test_split_keys),
        cmocka_unit_test(test_split_of_one),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
