// quantize/imatrix: both formats read, cut off, hostile; models quantized with them. CHORD_TEST_QUICK=1: fewer places to cut.
#include "test_folder.h"

#include "../malformed/maker.h"
#include "gguf/gguf.h"
#include "quant/quant.h"
#include "quantize/imatrix.h"
#include "quantize/quantize.h"

#include <math.h>

#include "account_helpers.h"
#include "quick.h"

struct made_entry {
    const char *name;
    uint64_t n_columns, n_matrices; // sums: their product
    float counts[4];                // one for each matrix; of .dat the first alone
};

static const struct made_entry made[] = {
    {"blk.1.ffn_down_exps.weight", 256, 3, {4, 0, 2}},
    {"blk.0.attn_q.weight", 512, 1, {8}},
    {"token_embd.weight", 32, 1, {8}},
};
#define N_MADE (sizeof made / sizeof *made)

static float sum_at(size_t entry, uint64_t i)
{
    return (float)((i * 7 + entry) % 13) + 0.25f * (float)(i % 3);
}

static const char *write_file(const char *name, struct maker *m)
{
    const char *path = test_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(m->bytes, 1, m->n, file), m->n);
    assert_int_equal(fclose(file), 0);
    free(m->bytes);
    *m = (struct maker){0};
    return path;
}

static void put_dat_entry(struct maker *m, const char *name, uint32_t calls, uint32_t n_sums)
{
    put_u32(m, (uint32_t)strlen(name));
    put(m, name, strlen(name));
    put_u32(m, calls);
    put_u32(m, n_sums);
}

static struct maker make_dat(void)
{
    struct maker m = {0};
    put_u32(&m, N_MADE);
    for (size_t i = 0; i < N_MADE; i++) {
        const uint64_t n = made[i].n_columns * made[i].n_matrices;
        put_dat_entry(&m, made[i].name, (uint32_t)made[i].counts[0], (uint32_t)n);
        for (uint64_t k = 0; k < n; k++)
            put_f32(&m, sum_at(i, k));
    }
    return m;
}

static void put_dat_end(struct maker *m)
{
    put_u32(m, 17);
    put_u32(m, 9);
    put(m, "texts.txt", 9);
}

static void put_gguf_keys(struct maker *m, uint64_t n_tensors, const char *type)
{
    put_head(m, 3, n_tensors, 4);
    put_key_string(m, "general.type", type);
    put_key_array(m, "imatrix.datasets", GGUF_STRING, 2);
    put_string(m, "texts.txt");
    put_string(m, "more.txt");
    put_key_u32(m, "imatrix.chunk_count", 17);
    put_key_u32(m, "imatrix.chunk_size", 512);
}

static struct maker make_gguf(const char *type)
{
    struct maker m = {0};
    uint64_t offset = 0;
    char name[80];
    put_gguf_keys(&m, 2 * N_MADE, type);
    for (size_t i = 0; i < N_MADE; i++) {
        snprintf(name, sizeof name, "%s.in_sum2", made[i].name);
        put_tensor_2d(&m, name, made[i].n_columns, made[i].n_matrices, QUANT_F32, offset);
        offset += (made[i].n_columns * made[i].n_matrices * 4 + 31) / 32 * 32;
        snprintf(name, sizeof name, "%s.counts", made[i].name);
        put_tensor_2d(&m, name, 1, made[i].n_matrices, QUANT_F32, offset);
        offset += 32;
    }
    for (size_t i = 0; i < N_MADE; i++) {
        put_padding(&m, 32);
        for (uint64_t k = 0; k < made[i].n_columns * made[i].n_matrices; k++)
            put_f32(&m, sum_at(i, k));
        put_padding(&m, 32);
        for (uint64_t k = 0; k < made[i].n_matrices; k++)
            put_f32(&m, made[i].counts[k]);
    }
    put_padding(&m, 32);
    return m;
}

static enum chord_status open_made(struct imatrix **out, struct maker *m, struct chord_error *err)
{
    memset(err, 0, sizeof *err);
    const enum chord_status status = imatrix_open(out, write_file("matrix", m), &account, err);
    if (status != CHORD_OK) {
        assert_null(*out);
        assert_int_equal(err->code, status);
        assert_true(status == CHORD_OUT_OF_MEMORY || strstr(err->message, "matrix") != NULL);
    }
    return status;
}

// ------------------------------------------------------------------------------------------------------------- reading

static void check_entries(const struct imatrix *m, bool is_gguf)
{
    struct chord_error err;
    float sums[768];
    assert_int_equal(imatrix_n_entries(m), N_MADE);
    assert_int_equal(imatrix_n_chunks(m), 17);
    assert_int_equal(imatrix_dataset(m).n_bytes, 9);
    assert_memory_equal(imatrix_dataset(m).bytes, "texts.txt", 9);
    for (size_t i = 0; i < N_MADE; i++) {
        const uint64_t n = made[i].n_columns * made[i].n_matrices;
        const struct imatrix_entry *entry =
            imatrix_find(m, (struct gguf_string){.bytes = made[i].name, .n_bytes = strlen(made[i].name)});
        assert_non_null(entry);
        assert_int_equal(entry->n_sums, n);
        for (uint64_t first = 0; first < n; first += 100) { // across the borders of experts
            const uint64_t now = n - first < 100 ? n - first : 100;
            assert_int_equal(imatrix_read(m, entry, first, now, sums, &err), CHORD_OK);
            for (uint64_t k = 0; k < now; k++) {
                const float count = made[i].counts[is_gguf ? (first + k) / made[i].n_columns : 0];
                assert_true(sums[k] == (count > 0 ? sum_at(i, first + k) / count : 1.0f));
            }
        }
    }
    assert_null(imatrix_find(m, (struct gguf_string){.bytes = "blk.0.attn_q", .n_bytes = 12}));
    assert_null(imatrix_find(m, (struct gguf_string){.bytes = "", .n_bytes = 0}));
    assert_int_equal(imatrix_check_unchanged(m, &err), CHORD_OK);
}

static void test_both_formats(void **state)
{
    (void)state;
    struct chord_error err;
    struct imatrix *imatrix;
    struct maker dat = make_dat(), old = make_dat(), gguf = make_gguf("imatrix");
    put_dat_end(&dat);
    assert_int_equal(open_made(&imatrix, &dat, &err), CHORD_OK);
    check_entries(imatrix, false);
    imatrix_close(imatrix);
    assert_int_equal(open_made(&imatrix, &old, &err), CHORD_OK);
    assert_int_equal(imatrix_n_chunks(imatrix), 0);
    assert_int_equal(imatrix_dataset(imatrix).n_bytes, 0);
    imatrix_close(imatrix);
    assert_int_equal(open_made(&imatrix, &gguf, &err), CHORD_OK);
    check_entries(imatrix, true);
    imatrix_close(imatrix);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int is_gguf = 0; is_gguf < 2; is_gguf++) {
        for (int64_t n = 0;; n++) {
            struct chord_error err;
            struct imatrix *imatrix;
            struct maker m = is_gguf ? make_gguf("imatrix") : make_dat();
            if (!is_gguf)
                put_dat_end(&m);
            fail_allocation(n);
            if (!allocation_failed(open_made(&imatrix, &m, &err))) {
                imatrix_close(imatrix);
                break;
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- refused

// Cut off anywhere but where an old .dat file ends.
static void test_cut_off(void **state)
{
    (void)state;
    struct chord_error err;
    struct imatrix *imatrix;
    struct maker whole = make_dat();
    const uint64_t old_end = whole.n;
    put_dat_end(&whole);
    const char *path = write_file("matrix", &whole);
    const uint64_t step = quick() ? 97 : 5;
    for (uint64_t n = old_end + 17; n-- > 0; n -= n > old_end - 40 || n < 40 || n < step ? 0 : step - 1) {
        assert_int_equal(truncate(path, (off_t)n), 0);
        const enum chord_status status = imatrix_open(&imatrix, path, &account, &err);
        if (n == old_end || n == old_end + 4)
            assert_int_equal(status, CHORD_OK);
        else
            assert_int_equal(status, CHORD_GGUF_TRUNCATED);
        imatrix_close(imatrix);
    }
    struct maker gguf = make_gguf("imatrix");
    const uint64_t n_gguf = gguf.n;
    path = write_file("matrix", &gguf);
    for (uint64_t n = n_gguf - 32; n > 0; n -= n < step ? n : step) {
        assert_int_equal(truncate(path, (off_t)n), 0);
        assert_int_equal(imatrix_open(&imatrix, path, &account, &err), CHORD_GGUF_TRUNCATED);
    }
}

static void test_hostile_dat(void **state)
{
    (void)state;
    struct chord_error err;
    struct imatrix *imatrix;
    const struct {
        uint32_t n_entries, n_name, calls, n_sums;
        enum chord_status status;
    } rows[] = {
        {1, 3, 1, 2, CHORD_OK},
        {1, 3, 0, 2, CHORD_OK},
        {0, 3, 1, 2, CHORD_GGUF_LIMIT},
        {UINT32_MAX, 3, 1, 2, CHORD_NOT_GGUF},
        {INT32_MAX, 3, 1, 2, CHORD_GGUF_LIMIT},
        {262144, 3, 1, 2, CHORD_GGUF_TRUNCATED},
        {2, 3, 1, 2, CHORD_GGUF_TRUNCATED},
        {1, 0, 1, 2, CHORD_GGUF_LIMIT},
        {1, 65, 1, 2, CHORD_GGUF_LIMIT},
        {1, UINT32_MAX, 1, 2, CHORD_NOT_GGUF},
        {1, 3, UINT32_MAX, 2, CHORD_NOT_GGUF},
        {1, 3, 1, 0, CHORD_GGUF_LIMIT},
        {1, 3, 1, 1 << 30, CHORD_GGUF_TRUNCATED},
        {1, 3, 1, INT32_MAX, CHORD_GGUF_TRUNCATED},
        {1, 3, 1, UINT32_MAX, CHORD_NOT_GGUF},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct maker m = {0};
        put_u32(&m, rows[i].n_entries);
        put_u32(&m, rows[i].n_name);
        put(&m, "abc", 3);
        put_u32(&m, rows[i].calls);
        put_u32(&m, rows[i].n_sums);
        put_f32(&m, 1);
        put_f32(&m, 2);
        const enum chord_status status = open_made(&imatrix, &m, &err);
        if (status != rows[i].status)
            fail_msg("row %zu: %s", i, err.message);
        imatrix_close(imatrix);
    }
    // A name twice, one that holds a zero, and a text's name that is longer than any.
    struct maker twice = {0}, zero = {0}, end = make_dat();
    put_u32(&twice, 2);
    for (int i = 0; i < 2; i++) {
        put_dat_entry(&twice, "abc", 1, 1);
        put_f32(&twice, 1);
    }
    assert_int_equal(open_made(&imatrix, &twice, &err), CHORD_GGUF_TENSOR);
    assert_non_null(strstr(err.message, "'abc' occurs twice"));
    put_u32(&zero, 1);
    put_u32(&zero, 3);
    put(&zero, "a\0c", 3);
    put_u32(&zero, 1);
    put_u32(&zero, 1);
    put_f32(&zero, 1);
    assert_int_equal(open_made(&imatrix, &zero, &err), CHORD_GGUF_TENSOR);
    put_u32(&end, 17);
    put_u32(&end, 5000);
    put_fill(&end, 'x', 5000);
    assert_int_equal(open_made(&imatrix, &end, &err), CHORD_GGUF_LIMIT);
    assert_int_equal(imatrix_open(&imatrix, test_path("none"), &account, &err), CHORD_FILE_NOT_FOUND);
    assert_int_equal(imatrix_open(&imatrix, test_folder, &account, &err), CHORD_IO);
}

static void test_bad_gguf(void **state)
{
    (void)state;
    struct chord_error err;
    struct imatrix *imatrix;
    static const struct {
        const char *sums, *counts;
        uint64_t n_sums, n_counts;
        uint32_t sums_type, counts_type;
        enum chord_status status;
        const char *says;
    } rows[] = {
        {"a.in_sum2", "a.counts", 8, 2, QUANT_F32, QUANT_F32, CHORD_OK, ""},
        {"a.in_sum2", "b.counts", 8, 2, QUANT_F32, QUANT_F32, CHORD_GGUF_TENSOR, "no counts ('a.counts')"},
        {"a.in_sum2", "a.counts", 8, 2, QUANT_F16, QUANT_F32, CHORD_GGUF_TENSOR, "not F32"},
        {"a.in_sum2", "a.counts", 8, 2, QUANT_F32, QUANT_F16, CHORD_GGUF_TENSOR, "not F32"},
        {"a.in_sum2", "a.counts", 8, 3, QUANT_F32, QUANT_F32, CHORD_GGUF_TENSOR, "8 sums of 'a' cannot share 3 counts"},
        {"a.in_sum2", "a.counts", 2, 8, QUANT_F32, QUANT_F32, CHORD_GGUF_TENSOR, "2 sums of 'a' cannot share 8 counts"},
        {".in_sum2", ".counts", 8, 2, QUANT_F32, QUANT_F32, CHORD_GGUF_METADATA, "no tensors"},
        {"a.weight", "a.counts", 8, 2, QUANT_F32, QUANT_F32, CHORD_GGUF_METADATA, "no tensors"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct maker m = {0};
        put_gguf_keys(&m, 2, "imatrix");
        put_tensor_2d(&m, rows[i].sums, rows[i].n_sums, 1, rows[i].sums_type, 0);
        put_tensor_2d(&m, rows[i].counts, rows[i].n_counts, 1, rows[i].counts_type, 32);
        put_padding(&m, 32);
        put_fill(&m, 0, 64);
        const enum chord_status status = open_made(&imatrix, &m, &err);
        if (status != rows[i].status || strstr(err.message, rows[i].says) == NULL)
            fail_msg("row %zu: %s", i, err.message);
        imatrix_close(imatrix);
    }
    struct maker model = make_gguf("model");
    assert_int_equal(open_made(&imatrix, &model, &err), CHORD_GGUF_METADATA);
    assert_non_null(strstr(err.message, "general.type is 'model'"));
}

// Sums and counts are checked when they are read.
static void test_bad_values(void **state)
{
    (void)state;
    static const struct {
        float sum, count;
        enum chord_status status;
    } rows[] = {{1, 1, CHORD_OK},
                {0, 1, CHORD_OK},
                {-1, 1, CHORD_INVALID_ARGUMENT},
                {NAN, 1, CHORD_INVALID_ARGUMENT},
                {INFINITY, 1, CHORD_INVALID_ARGUMENT},
                {1, -1, CHORD_INVALID_ARGUMENT},
                {1, NAN, CHORD_INVALID_ARGUMENT},
                {1, INFINITY, CHORD_INVALID_ARGUMENT},
                {1e30f, 1e-30f, CHORD_INVALID_ARGUMENT}};
    struct chord_error err;
    struct imatrix *imatrix;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct maker m = {0};
        float out[2];
        put_gguf_keys(&m, 2, "imatrix");
        put_tensor_2d(&m, "a.in_sum2", 2, 1, QUANT_F32, 0);
        put_tensor_2d(&m, "a.counts", 1, 1, QUANT_F32, 32);
        put_padding(&m, 32);
        put_f32(&m, 1);
        put_f32(&m, rows[i].sum);
        put_padding(&m, 32);
        put_f32(&m, rows[i].count);
        put_padding(&m, 32);
        assert_int_equal(open_made(&imatrix, &m, &err), CHORD_OK);
        assert_int_equal(imatrix_read(imatrix, imatrix_entry(imatrix, 0), 0, 2, out, &err), rows[i].status);
        if (rows[i].status != CHORD_OK)
            assert_non_null(strstr(err.message, "of 'a' is "));
        imatrix_close(imatrix);
    }
}

// ---------------------------------------------------------------------------------------------------------- quantizing

struct made_tensor {
    const char *name;
    uint64_t ne[3];
};

// Rows shorter than a piece and longer ones, experts, tensors that the matrix lacks and that take no importances.
static const struct made_tensor tensors[] = {
    {"token_embd.weight", {32, 5, 1}},          {"blk.0.attn_q.weight", {512, 300, 1}},
    {"blk.0.attn_k.weight", {256, 4, 1}},       {"blk.0.attn_norm.weight", {512, 1, 1}},
    {"blk.0.attn_v.weight", {81920, 3, 1}},     {"blk.1.ffn_down_exps.weight", {256, 90, 3}},
    {"blk.1.ffn_gate_inp.weight", {256, 3, 1}},
};
#define N_TENSORS (sizeof tensors / sizeof *tensors)

static float value_at(uint64_t index)
{
    uint64_t x = (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 32;
    return ((float)(x & 0xffffff) / 8388608.0f - 1.0f) * 0.1f;
}

static const char *write_model(const char *name)
{
    struct maker m = {0};
    uint64_t offset = 0;
    put_head(&m, 3, N_TENSORS, 2);
    put_key_string(&m, "general.architecture", "llama");
    put_key_string(&m, "quantize.imatrix.file", "another");
    for (size_t i = 0; i < N_TENSORS; i++) {
        put_string(&m, tensors[i].name);
        put_u32(&m, 3);
        for (int d = 0; d < 3; d++)
            put_u64(&m, tensors[i].ne[d]);
        put_u32(&m, QUANT_F32);
        put_u64(&m, offset);
        offset += tensors[i].ne[0] * tensors[i].ne[1] * tensors[i].ne[2] * 4;
    }
    put_padding(&m, 32);
    for (size_t i = 0; i < N_TENSORS; i++)
        for (uint64_t e = 0; e < tensors[i].ne[0] * tensors[i].ne[1] * tensors[i].ne[2]; e++)
            put_f32(&m, value_at(e));
    return write_file(name, &m);
}

// The entries above, and one of rows that are longer than a piece.
static const char *write_imatrix(const char *name)
{
    struct maker m = make_dat();
    m.bytes[0] = N_MADE + 1;
    put_dat_entry(&m, "blk.0.attn_v.weight", 3, 81920);
    for (uint64_t k = 0; k < 81920; k++)
        put_f32(&m, sum_at(N_MADE, k));
    put_dat_end(&m);
    return write_file(name, &m);
}

static enum chord_status quantize(const char *type, const char *imatrix, uint32_t n_threads, uint64_t counts[2],
                                  struct chord_error *err)
{
    char input[512], output[512];
    struct quantizer *q;
    strcpy(input, test_path("model.gguf"));
    strcpy(output, test_path("out.gguf"));
    const struct quantizer_options options = {.type = type, .n_threads = n_threads, .imatrix = imatrix};
    enum chord_status status = quantizer_open(&q, input, output, &options, &account, err);
    for (uint64_t done = 0, total = 1; status == CHORD_OK && done < total;)
        status = quantizer_run(q, 1.0, NULL, NULL, &done, &total, err);
    if (status == CHORD_OK && counts != NULL)
        quantizer_weighted(q, &counts[0], &counts[1]);
    quantizer_free(q);
    return status;
}

static void *read_tensor(const struct gguf *gguf, const char *name, const struct gguf_tensor **out)
{
    struct chord_error err;
    const struct gguf_tensor *tensor = gguf_find_tensor(gguf, name);
    assert_non_null(tensor);
    void *bytes = malloc(tensor->n_bytes);
    assert_non_null(bytes);
    assert_int_equal(os_file_read(&gguf_file(gguf, 0)->os, tensor->offset, bytes, tensor->n_bytes, &err), CHORD_OK);
    *out = tensor;
    return bytes;
}

// Every tensor of `out.gguf` is what its quantizer makes of each of its rows with the row's importances.
static void check_output(const char *imatrix_file)
{
    struct chord_error err;
    struct gguf *gguf;
    struct imatrix *imatrix;
    assert_int_equal(gguf_open(&gguf, test_path("out.gguf"), &account, &err), CHORD_OK);
    assert_int_equal(imatrix_open(&imatrix, imatrix_file, &account, &err), CHORD_OK);
    for (size_t i = 0; i < N_TENSORS; i++) {
        const struct gguf_tensor *tensor;
        unsigned char *got = read_tensor(gguf, tensors[i].name, &tensor);
        unsigned char *expected = malloc(tensor->n_bytes), *at = expected;
        const uint64_t n = tensor->ne[0];
        float *x = malloc(n * sizeof *x), *importance = malloc(n * sizeof *x);
        const struct imatrix_entry *entry = imatrix_find(imatrix, tensor->name);
        const struct quant_traits *type = quant_traits(tensor->type);
        const quant_weighted weighted = entry != NULL ? quant_weighted_of(tensor->type) : NULL;
        for (uint64_t row = 0; row < tensor->ne[1] * tensor->ne[2]; row++) {
            for (uint64_t e = 0; e < n; e++)
                x[e] = value_at(row * n + e);
            if (entry != NULL)
                assert_int_equal(imatrix_read(imatrix, entry, row / tensor->ne[1] * n, n, importance, &err), CHORD_OK);
            if (weighted != NULL)
                weighted(x, importance, at, n);
            else
                type->quantize_row(x, at, n);
            at += n / type->block_size * type->block_bytes;
        }
        if (memcmp(got, expected, tensor->n_bytes) != 0)
            fail_msg("%s as %s", tensors[i].name, type->name);
        free(got);
        free(expected);
        free(x);
        free(importance);
    }
    uint32_t number = 0;
    struct gguf_string text;
    assert_int_equal(gguf_get_u32(gguf, "quantize.imatrix.entries_count", &number, &err), CHORD_OK);
    assert_int_equal(number, imatrix_n_entries(imatrix));
    assert_int_equal(gguf_get_u32(gguf, "quantize.imatrix.chunks_count", &number, &err), CHORD_OK);
    assert_int_equal(number, 17);
    assert_int_equal(gguf_get_string(gguf, "quantize.imatrix.file", &text, &err), CHORD_OK);
    assert_int_equal(text.n_bytes, 10); // "matrix.dat", without its folder
    assert_int_equal(gguf_get_string(gguf, "quantize.imatrix.dataset", &text, &err), CHORD_OK);
    assert_memory_equal(text.bytes, "texts.txt", 9);
    imatrix_close(imatrix);
    gguf_close(gguf);
}

static void test_whole_files(void **state)
{
    (void)state;
    static const char *const all[] = {"Q4_K_M", "Q3_K_S", "Q5_0", "Q4_1", "IQ4_XS", "Q2_K", "Q6_K", "Q5_K_S", "IQ4_NL"};
    const size_t n = quick() ? 3 : sizeof all / sizeof *all;
    struct chord_error err;
    char imatrix[512];
    write_model("model.gguf");
    strcpy(imatrix, write_imatrix("matrix.dat"));
    for (size_t i = 0; i < n; i++) {
        uint64_t counts[2];
        if (quantize(all[i], imatrix, 3, counts, &err) != CHORD_OK)
            fail_msg("%s: %s", all[i], err.message);
        assert_int_equal(counts[0], 3); // not the embedding, whose rows of 32 take Q8_0 as the output
        assert_int_equal(counts[1], 1);
        check_output(imatrix);
    }
    uint64_t counts[2];
    assert_int_equal(quantize("Q8_0", imatrix, 1, counts, &err), CHORD_OK); // takes none
    assert_true(counts[0] == 0 && counts[1] == 0);
    check_output(imatrix);
    assert_int_equal(quantize("Q4_K_M", NULL, 1, counts, &err), CHORD_OK);
    assert_true(counts[0] == 0 && counts[1] == 0);
}

// A matrix of another model is refused by name, before anything is written.
static void test_another_model(void **state)
{
    (void)state;
    struct chord_error err;
    char imatrix[512];
    write_model("model.gguf");
    unlink(test_path("out.gguf"));
    for (int i = 0; i < 3; i++) {
        static const char *const says[] = {
            "none of its 1 tensors, such as 'blk.9.attn_q.weight'",
            "it has 511 sums for the tensor 'blk.0.attn_q.weight', which has 512 columns",
            "it has 256 sums for the tensor 'blk.1.ffn_down_exps.weight', which has 256 "
            "columns in 3 matrices"};
        struct maker m = {0};
        const uint32_t n = i == 1 ? 511 : 256;
        put_u32(&m, 1);
        put_dat_entry(&m, i == 0 ? "blk.9.attn_q.weight" : i == 1 ? tensors[1].name : tensors[5].name, 1, n);
        for (uint32_t k = 0; k < n; k++)
            put_f32(&m, 1);
        strcpy(imatrix, write_file("other.dat", &m));
        assert_int_equal(quantize("Q4_K_M", imatrix, 1, NULL, &err), CHORD_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "other.dat"));
        if (strstr(err.message, says[i]) == NULL)
            fail_msg("%s", err.message);
    }
    assert_int_equal(quantize("Q4_K_M", test_path("none.dat"), 1, NULL, &err), CHORD_FILE_NOT_FOUND);
    struct maker bad = {0};
    put_u32(&bad, 1);
    put_dat_entry(&bad, "blk.0.attn_k.weight", 1, 256);
    for (uint32_t k = 0; k < 256; k++)
        put_f32(&bad, k == 200 ? -1 : 1);
    strcpy(imatrix, write_file("out.gguf", &bad));
    assert_int_equal(quantize("Q4_K_M", imatrix, 1, NULL, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "give the result another name"));
    assert_int_equal(rename(imatrix, test_path("bad.dat")), 0);
    assert_int_equal(quantize("Q4_K_M", test_path("bad.dat"), 2, NULL, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "the sum 200 of 'blk.0.attn_k.weight' is -1"));
    assert_int_equal(access(test_path("out.gguf"), F_OK), -1);
}

static void test_bounded_memory(void **state)
{
    (void)state;
    struct chord_error err;
    struct gguf *gguf;
    struct memory_account of_header;
    char imatrix[512];
    write_model("model.gguf");
    strcpy(imatrix, write_imatrix("matrix.dat"));
    memory_account_init(&of_header, UINT64_MAX);
    assert_int_equal(gguf_open(&gguf, test_path("model.gguf"), &of_header, &err), CHORD_OK);
    gguf_close(gguf);
    account.ceiling = atomic_load(&of_header.peak) + N_TENSORS * QUANTIZE_TENSOR_BYTES + (N_MADE + 1) * 150 +
                      2 * (QUANTIZE_THREAD_BYTES + QUANTIZE_IMPORTANCE_BYTES) + QUANTIZE_OTHER_BYTES;
    assert_int_equal(quantize("Q4_0", imatrix, 2, NULL, &err), CHORD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_both_formats), TEST(test_no_memory),     TEST(test_cut_off),
        TEST(test_hostile_dat),  TEST(test_bad_gguf),      TEST(test_bad_values),
        TEST(test_whole_files),  TEST(test_another_model), TEST(test_bounded_memory),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
