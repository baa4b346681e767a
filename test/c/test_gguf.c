// Good files: made ones, and the fixtures. Bad ones: test_gguf_bad.c; split ones: test_gguf_split.c.
#include "gguf_files.h"

#include "quant/quant.h"

// ---- Good files -----------------------------------------------------------------------------------------------------

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

// ---- Values ---------------------------------------------------------------------------------------------------------

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

// ---- Fixtures -------------------------------------------------------------------------------------------------------

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
        assert_true(atomic_load(&account.total) <= header_bytes + header_bytes / 4 + 4096);
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
        cmocka_unit_test(test_fixture_models),
        cmocka_unit_test(test_fixture_cut_at_every_byte),
        cmocka_unit_test(test_fixture_vocabularies),
        cmocka_unit_test(test_fixture_malformed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
