// quantize: which type each tensor takes; whole files made and read again; bounded memory; what fails leaves nothing.
#include "test_folder.h"

#include "../malformed/maker.h"
#include "gguf/gguf.h"
#include "os/output.h"
#include "quant/quant.h"
#include "quantize/mixes.h"
#include "quantize/quantize.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

// --------------------------------------------------------------------------------------------------------------- files

struct made_tensor {
    const char *name;
    uint32_t type;
    uint64_t columns, rows; // rows 0: a vector
};

static uint64_t element_count(const struct made_tensor *t)
{
    return t->columns * (t->rows > 0 ? t->rows : 1);
}

static uint64_t byte_count(const struct made_tensor *t)
{
    const struct quant_traits *type = quant_traits(t->type);
    return element_count(t) / type->block_size * type->block_bytes;
}

static float value_of(uint64_t index)
{
    uint64_t x = (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 32;
    return ((float)(x & 0xffffff) / 8388608.0f - 1.0f) * 0.1f;
}

static void put_string_pair(struct maker *m, const char *key, const char *text)
{
    put_string(m, key);
    put_u32(m, GGUF_STRING);
    put_string(m, text);
}

static void put_u32_pair(struct maker *m, const char *key, uint32_t value)
{
    put_string(m, key);
    put_u32(m, GGUF_UINT32);
    put_u32(m, value);
}

// A model of `n_layer` layers with these tensors, values value_of(index within the tensor).
static const char *write_model(const char *name, const struct made_tensor *tensors, size_t n, uint32_t n_layer,
                               uint32_t alignment)
{
    struct maker m = {0};
    put_head(&m, 3, n, 9);
    put_string_pair(&m, "general.architecture", "llama");
    put_u32_pair(&m, "llama.block_count", n_layer);
    put_u32_pair(&m, "general.alignment", alignment);
    put_u32_pair(&m, "general.file_type", 0);
    put_u32_pair(&m, "llama.attention.head_count", 8);
    put_u32_pair(&m, "llama.attention.head_count_kv", 8);
    put_string(&m, "a.list");
    put_u32(&m, GGUF_ARRAY);
    put_u32(&m, GGUF_STRING);
    put_u64(&m, 2);
    put_string(&m, "one");
    put_string(&m, "");
    put_u32_pair(&m, "llama.expert_count", 0);
    put_string_pair(&m, "general.name", "made");
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        put_string(&m, tensors[i].name);
        put_u32(&m, tensors[i].rows > 0 ? 2 : 1);
        put_u64(&m, tensors[i].columns);
        if (tensors[i].rows > 0)
            put_u64(&m, tensors[i].rows);
        put_u32(&m, tensors[i].type);
        put_u64(&m, offset);
        offset = (offset + byte_count(&tensors[i]) + alignment - 1) / alignment * alignment;
    }
    for (size_t i = 0; i < n; i++) {
        put_fill(&m, 0, (alignment - m.n % alignment) % alignment);
        const uint64_t n_elements = element_count(&tensors[i]);
        float *x = malloc(n_elements * sizeof *x);
        void *row = malloc(byte_count(&tensors[i]));
        assert_true(x != NULL && row != NULL);
        for (uint64_t e = 0; e < n_elements; e++)
            x[e] = value_of(e);
        quant_traits(tensors[i].type)->quantize_row(x, row, n_elements);
        put(&m, row, byte_count(&tensors[i]));
        free(row);
        free(x);
    }
    const char *path = test_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(m.bytes, 1, m.n, file), m.n);
    assert_int_equal(fclose(file), 0);
    free(m.bytes);
    return path;
}

static unsigned char *read_all(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

static int files_in_folder(void)
{
    int n = 0;
    DIR *dir = opendir(test_folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static enum chord_status quantize_in(struct memory_account *account, const char *input, const char *output,
                                     const char *type, uint32_t n_threads, bool requantize, struct chord_error *err)
{
    struct quantizer *q;
    const struct quantizer_options options = {.type = type, .n_threads = n_threads, .requantize = requantize};
    memset(err, 0, sizeof *err);
    enum chord_status status = quantizer_open(&q, input, output, &options, account, err);
    uint64_t done = 0, total = 1, before = 0;
    while (status == CHORD_OK && done < total) {
        status = quantizer_run(q, 0.0, NULL, NULL, &done, &total, err);
        assert_true(done >= before && done <= total);
        before = done;
        if (status == CHORD_OK)
            assert_int_equal(total, quantizer_input_bytes(q));
    }
    if (status == CHORD_OK) {
        struct stat st;
        assert_int_equal(stat(output, &st), 0);
        assert_int_equal(st.st_size, quantizer_output_bytes(q));
    } else {
        assert_int_equal(err->code, status);
        assert_true(strlen(err->message) > 0);
    }
    quantizer_free(q);
    assert_int_equal(atomic_load(&account->total), 0);
    return status;
}

static enum chord_status quantize(const char *input, const char *output, const char *type, uint32_t n_threads,
                                  struct chord_error *err)
{
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    return quantize_in(&account, input, output, type, n_threads, false, err);
}

// --------------------------------------------------------------------------------------------------------------- mixes

static const char *type_in(const char *mix, const struct mix_model *model, const char *name, uint64_t columns)
{
    const struct gguf_tensor tensor = {
        .name = {name, strlen(name)}, .type = QUANT_F32, .n_dimensions = 2, .ne = {columns, 64, 1, 1}};
    assert_non_null(mix_by_name(mix));
    return quant_traits(mix_type_of(mix_by_name(mix), model, &tensor))->name;
}

// As llama.cpp's llama-quantize wrote it for models of these hyperparameters.
static void test_mixes(void **state)
{
    (void)state;
    const struct mix_model llama = {.n_layer = 32, .n_head = 32, .n_head_kv = 32};
    const struct mix_model gqa = {.n_layer = 80, .n_head = 64, .n_head_kv = 8};
    const struct mix_model mixtral = {.n_layer = 32, .n_head = 32, .n_head_kv = 8, .n_expert = 8};
    const struct mix_model falcon = {.n_layer = 32, .n_head = 71, .n_head_kv = 1, .is_falcon = true};
    const struct mix_model tied = {.n_layer = 16, .n_head = 32, .n_head_kv = 8, .is_tied = true};
    static const struct {
        const char *mix, *name;
        uint64_t columns;
        const char *llama, *gqa, *mixtral, *falcon, *tied;
    } rows[] = {
        {"Q4_K_M", "output.weight", 4096, "Q6_K", "Q6_K", "Q6_K", "Q8_0", "Q6_K"},
        {"Q4_K_M", "token_embd.weight", 4096, "Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q6_K"},
        {"Q4_K_M", "blk.0.attn_v.weight", 4096, "Q6_K", "Q6_K", "Q8_0", "Q6_K", "Q6_K"},
        {"Q4_K_M", "blk.4.attn_v.weight", 4096, "Q4_K", "Q6_K", "Q8_0", "Q4_K", "Q6_K"},
        {"Q4_K_M", "blk.10.attn_v.weight", 4096, "Q4_K", "Q5_K", "Q8_0", "Q4_K", "Q6_K"},
        {"Q4_K_M", "blk.6.ffn_down.weight", 4096, "Q6_K", "Q6_K", "Q6_K", "Q5_K", "Q4_K"},
        {"Q4_K_M", "blk.0.ffn_down.weight", 4096, "Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K"},
        {"Q4_K_M", "blk.5.attn_output.weight", 4096, "Q4_K", "Q4_K", "Q5_K", "Q4_K", "Q4_K"},
        {"Q4_K_M", "blk.5.attn_k.weight", 4096, "Q4_K", "Q4_K", "Q8_0", "Q4_K", "Q4_K"},
        {"Q4_K_M", "blk.5.ffn_gate_inp.weight", 4096, "F32", "F32", "F32", "F32", "F32"},
        {"Q4_K_M", "blk.5.attn_q.weight", 4096, "Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q4_K"},
        {"Q4_K_M", "blk.5.attn_q.weight", 4064, "Q5_0", "Q5_0", "Q5_0", "Q5_0", "Q5_0"},
        {"Q4_K_M", "blk.5.attn_q.weight", 4063, "F16", "F16", "F16", "F16", "F16"},
        {"Q4_K_M", "output.weight", 4064, "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"},
        {"Q4_K_S", "blk.3.attn_v.weight", 4096, "Q5_K", "Q5_K", "Q8_0", "Q5_K", "Q5_K"},
        {"Q4_K_S", "blk.3.ffn_down.weight", 4096, "Q5_K", "Q5_K", "Q5_K", "Q4_K", "Q4_K"},
        {"Q5_K_M", "blk.31.ffn_down.weight", 4096, "Q6_K", "Q5_K", "Q6_K", "Q6_K", "Q6_K"},
        {"Q5_K_S", "blk.0.attn_v.weight", 4096, "Q5_K", "Q5_K", "Q8_0", "Q5_K", "Q5_K"},
        {"Q3_K_M", "blk.1.attn_v.weight", 4096, "Q5_K", "Q5_K", "Q8_0", "Q5_K", "Q5_K"},
        {"Q3_K_M", "blk.2.attn_v.weight", 4096, "Q4_K", "Q5_K", "Q8_0", "Q4_K", "Q4_K"},
        {"Q3_K_M", "blk.1.ffn_down.weight", 4096, "Q5_K", "Q5_K", "Q5_K", "Q5_K", "Q4_K"},
        {"Q3_K_M", "blk.4.ffn_down.weight", 4096, "Q4_K", "Q5_K", "Q4_K", "Q3_K", "Q4_K"},
        {"Q3_K_M", "blk.4.attn_output.weight", 4096, "Q4_K", "Q4_K", "Q5_K", "Q3_K", "Q4_K"},
        {"Q3_K_L", "blk.9.ffn_down.weight", 4096, "Q5_K", "Q5_K", "Q5_K", "Q4_K", "Q5_K"},
        {"Q3_K_L", "blk.9.attn_output.weight", 4096, "Q5_K", "Q5_K", "Q3_K", "Q4_K", "Q5_K"},
        {"Q3_K_S", "blk.9.attn_output.weight", 4096, "Q3_K", "Q3_K", "Q5_K", "Q3_K", "Q3_K"},
        {"Q2_K", "blk.9.attn_v.weight", 4096, "Q3_K", "Q5_K", "Q8_0", "Q4_K", "Q4_K"},
        {"Q2_K", "blk.9.ffn_down.weight", 4096, "Q3_K", "Q3_K", "Q3_K", "Q3_K", "Q3_K"},
        {"Q2_K", "blk.9.attn_q.weight", 4096, "Q2_K", "Q2_K", "Q2_K", "Q2_K", "Q2_K"},
        {"Q2_K", "blk.9.attn_q.weight", 96, "Q4_0", "Q4_0", "Q4_0", "Q4_0", "Q4_0"},
        {"Q6_K", "blk.9.attn_q.weight", 96, "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"},
        {"Q5_K_S", "blk.9.attn_q.weight", 96, "Q5_1", "Q5_1", "Q5_1", "Q5_1", "Q5_1"},
        {"Q8_0", "output.weight", 4096, "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"},
        {"Q4_0", "output.weight", 4096, "Q6_K", "Q6_K", "Q6_K", "Q8_0", "Q6_K"},
        {"Q4_0", "blk.0.attn_norm.weight", 4096, "F32", "F32", "F32", "F32", "F32"},
        {"Q4_0", "blk.0.attn_q.bias", 4096, "F32", "F32", "F32", "F32", "F32"},
        {"TQ2_0", "token_embd.weight", 4096, "Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q6_K"},
        {"TQ2_0", "output.weight", 4096, "Q6_K", "Q6_K", "Q6_K", "Q8_0", "Q6_K"},
        {"TQ2_0", "blk.3.ffn_down.weight", 4096, "TQ2_0", "TQ2_0", "TQ2_0", "TQ2_0", "TQ2_0"},
        {"I2_S", "token_embd.weight", 4096, "F16", "F16", "F16", "F16", "F16"},
        {"I2_S", "blk.3.attn_q.weight", 96, "Q4_0", "Q4_0", "Q4_0", "Q4_0", "Q4_0"},
        {"I2_S", "blk.3.ffn_up.weight", 384, "I2_S", "I2_S", "I2_S", "I2_S", "I2_S"},
        {"TQ1_0", "blk.3.attn_q.weight", 96, "Q4_0", "Q4_0", "Q4_0", "Q4_0", "Q4_0"},
        {"IQ4_XS", "blk.3.attn_v.weight", 4096, "IQ4_XS", "Q5_K", "Q8_0", "Q5_K", "Q5_K"},
        {"IQ4_XS", "blk.1.ffn_down.weight", 4096, "Q5_K", "Q5_K", "Q5_K", "Q5_K", "Q5_K"},
        {"IQ4_XS", "blk.3.attn_q.weight", 96, "IQ4_NL", "IQ4_NL", "IQ4_NL", "IQ4_NL", "IQ4_NL"},
        {"IQ4_NL", "output.weight", 4096, "Q6_K", "Q6_K", "Q6_K", "Q8_0", "Q6_K"},
        {"F16", "output.weight", 4063, "F16", "F16", "F16", "F16", "F16"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(type_in(rows[i].mix, &llama, rows[i].name, rows[i].columns), rows[i].llama);
        assert_string_equal(type_in(rows[i].mix, &gqa, rows[i].name, rows[i].columns), rows[i].gqa);
        assert_string_equal(type_in(rows[i].mix, &mixtral, rows[i].name, rows[i].columns), rows[i].mixtral);
        assert_string_equal(type_in(rows[i].mix, &falcon, rows[i].name, rows[i].columns), rows[i].falcon);
        assert_string_equal(type_in(rows[i].mix, &tied, rows[i].name, rows[i].columns), rows[i].tied);
    }
    assert_ptr_equal(mix_by_name("q4_k"), mix_by_name("Q4_K_M"));
    assert_null(mix_by_name("Q4"));
    assert_null(mix_by_name(""));
}

// --------------------------------------------------------------------------------------------------------------- files

static const struct made_tensor small[] = {
    {"token_embd.weight", QUANT_F16, 256, 300},       {"blk.0.attn_norm.weight", QUANT_F32, 256, 0},
    {"blk.0.attn_v.weight", QUANT_F32, 256, 256},     {"blk.0.ffn_down.weight", QUANT_BF16, 768, 256},
    {"blk.0.attn_q.weight", QUANT_F32, 288, 3},       {"blk.1.attn_q.weight", QUANT_F32, 7, 9371},
    {"blk.1.ffn_gate_inp.weight", QUANT_F16, 256, 5}, {"output.weight", QUANT_F32, 256, 300},
};
#define N_SMALL (sizeof small / sizeof *small)

// Written down once more: codes in blocks of 128, then the scale, a float, and zeros.
static void quantize_i2_s(const float *x, unsigned char *out, uint64_t n)
{
    float scale = 0;
    memset(out, 0, n / 4 + 32);
    for (uint64_t e = 0; e < n; e++)
        scale = fabsf(x[e]) > scale ? fabsf(x[e]) : scale;
    for (uint64_t e = 0; e < n; e++) {
        const unsigned code = 1 + (x[e] * (1 / scale) >= 0.5f) - (x[e] * (1 / scale) <= -0.5f);
        out[e / 128 * 32 + e % 32] |= (unsigned char)(code << (6 - e % 128 / 32 * 2));
    }
    memcpy(out + n / 4, &scale, 4);
}

static void check_output(const char *input, const char *output, const char *type, uint32_t alignment)
{
    struct memory_account account;
    struct chord_error err;
    struct gguf *from, *to;
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(gguf_open(&from, input, &account, &err), CHORD_OK);
    assert_int_equal(gguf_open(&to, output, &account, &err), CHORD_OK);
    const struct mix_model model = mix_model_of(from);
    uint32_t number;
    assert_int_equal(gguf_get_u32(to, "general.file_type", &number, &err), CHORD_OK);
    assert_int_equal(number, mix_by_name(type)->file_type);
    assert_int_equal(gguf_get_u32(to, "general.quantization_version", &number, &err), CHORD_OK);
    assert_int_equal(number, 2);
    assert_int_equal(gguf_get_u32(to, "general.alignment", &number, &err), CHORD_OK);
    assert_int_equal(number, alignment);
    assert_int_equal(gguf_n_values(to), gguf_n_values(from) + 1);
    const struct gguf_value *list = gguf_find(to, "a.list");
    assert_non_null(list);
    assert_int_equal(list->n_elements, 2);
    assert_int_equal(gguf_n_tensors(to), gguf_n_tensors(from));
    for (uint64_t i = 0; i < gguf_n_tensors(to); i++) {
        const struct gguf_tensor *a = gguf_tensor(from, i), *b = gguf_tensor(to, i);
        assert_int_equal(b->type, mix_type_of(mix_by_name(type), &model, a));
        assert_memory_equal(a->ne, b->ne, sizeof a->ne);
        const uint64_t n = a->ne[0] * a->ne[1];
        unsigned char *in = malloc(a->n_bytes), *out = malloc(b->n_bytes), *expected = malloc(b->n_bytes);
        float *x = malloc(n * sizeof *x);
        assert_int_equal(os_file_read(&gguf_file(from, 0)->os, a->offset, in, a->n_bytes, &err), CHORD_OK);
        assert_int_equal(os_file_read(&gguf_file(to, 0)->os, b->offset, out, b->n_bytes, &err), CHORD_OK);
        quant_traits(a->type)->dequantize_row(in, x, n);
        if (b->type == QUANT_I2_S)
            quantize_i2_s(x, expected, n);
        else
            quant_traits(b->type)->quantize_row(x, expected, n);
        assert_memory_equal(out, expected, b->n_bytes);
        free(in);
        free(out);
        free(expected);
        free(x);
    }
    gguf_close(from);
    gguf_close(to);
}

// Every tensor is what its quantizer makes of all of it at once; the same file with any number of threads.
static void test_whole_files(void **state)
{
    (void)state;
    static const char *const types[] = {"F32",  "F16",  "BF16",   "Q8_0",  "Q4_0",   "Q4_1", "Q5_0",
                                        "Q5_1", "Q2_K", "Q4_K_M", "TQ2_0", "IQ4_XS", "I2_S"};
    struct chord_error err;
    char input[600], output[600];
    strcpy(input, write_model("in.gguf", small, N_SMALL, 2, 64));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        strcpy(output, test_path("out.gguf"));
        assert_int_equal(quantize(input, output, types[i], 3, &err), CHORD_OK);
        check_output(input, output, types[i], 64);
        size_t n_three, n_one;
        unsigned char *three = read_all(output, &n_three);
        assert_int_equal(quantize(input, output, types[i], 1, &err), CHORD_OK); // in place of the one before
        unsigned char *one = read_all(output, &n_one);
        assert_int_equal(n_one, n_three);
        assert_memory_equal(one, three, n_one);
        free(one);
        free(three);
    }
    assert_int_equal(files_in_folder(), 2);
}

// From a type whose scale stands behind the tensor's last row: copied whole, and as values with the scale.
static void test_from_i2_s(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct gguf *from, *to;
    char input[600], ternary[600], output[600];
    strcpy(input, write_model("in.gguf", small, N_SMALL, 2, 32));
    strcpy(ternary, test_path("ternary.gguf"));
    strcpy(output, test_path("out.gguf"));
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(quantize(input, ternary, "I2_S", 2, &err), CHORD_OK);
    if (quantize_in(&account, ternary, output, "F32", 2, true, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    assert_int_equal(gguf_open(&from, ternary, &account, &err), CHORD_OK);
    assert_int_equal(gguf_open(&to, output, &account, &err), CHORD_OK);
    const struct gguf_tensor *a = gguf_find_tensor(from, "blk.0.ffn_down.weight");
    const struct gguf_tensor *b = gguf_find_tensor(to, "blk.0.ffn_down.weight");
    const uint64_t n = 768 * 256;
    unsigned char *codes = malloc(a->n_bytes);
    float *values = malloc(n * sizeof *values), *got = malloc(b->n_bytes), scale;
    assert_int_equal(a->type, QUANT_I2_S);
    assert_int_equal(a->n_bytes, n / 4 + 32);
    assert_int_equal(b->n_bytes, n * sizeof *got);
    assert_int_equal(os_file_read(&gguf_file(from, 0)->os, a->offset, codes, a->n_bytes, &err), CHORD_OK);
    assert_int_equal(os_file_read(&gguf_file(to, 0)->os, b->offset, got, b->n_bytes, &err), CHORD_OK);
    memcpy(&scale, codes + n / 4, 4);
    quant_traits(QUANT_I2_S)->dequantize_row(codes, values, n);
    for (uint64_t e = 0; e < n; e++)
        assert_true(got[e] == values[e] * scale);
    gguf_close(to);
    assert_int_equal(quantize(ternary, output, "I2_S", 3, &err), CHORD_OK);
    assert_int_equal(gguf_open(&to, output, &account, &err), CHORD_OK);
    b = gguf_find_tensor(to, "blk.0.ffn_down.weight");
    assert_int_equal(b->n_bytes, a->n_bytes);
    assert_int_equal(os_file_read(&gguf_file(to, 0)->os, b->offset, values, b->n_bytes, &err), CHORD_OK);
    assert_memory_equal(values, codes, a->n_bytes);
    gguf_close(from);
    gguf_close(to);
    free(codes);
    free(values);
    free(got);
    unlink(ternary);
}

// Memory is what quantize.h says, however large the tensors.
static void test_bounded_memory(void **state)
{
    (void)state;
    static const struct made_tensor large[] = {{"blk.0.attn_q.weight", QUANT_F32, 4096, 700},
                                               {"blk.0.attn_k.weight", QUANT_F32, 1 << 20, 2}};
    struct chord_error err;
    char input[600];
    strcpy(input, write_model("large.gguf", large, 2, 1, 32));
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads += 3) {
        struct memory_account account, of_header;
        struct gguf *gguf;
        memory_account_init(&of_header, UINT64_MAX);
        assert_int_equal(gguf_open(&gguf, input, &of_header, &err), CHORD_OK);
        gguf_close(gguf);
        const uint64_t bound = atomic_load(&of_header.peak) + 2 * QUANTIZE_TENSOR_BYTES +
                               n_threads * QUANTIZE_THREAD_BYTES + QUANTIZE_OTHER_BYTES;
        memory_account_init(&account, bound);
        assert_int_equal(quantize_in(&account, input, test_path("out.gguf"), "Q8_0", n_threads, false, &err), CHORD_OK);
        assert_true(atomic_load(&account.peak) <= bound);
        assert_true(atomic_load(&account.peak) < 12 << 20); // of files of 19 MiB
    }
    unlink(input);
}

// Without memory at the n-th allocation: a code of memory, and nothing left.
static void test_no_memory(void **state)
{
    (void)state;
    struct chord_error err;
    char input[600];
    strcpy(input, write_model("in.gguf", small, N_SMALL, 2, 32));
    unlink(test_path("out.gguf"));
    for (int64_t n = 1;; n++) {
        struct memory_account account;
        memory_account_init(&account, UINT64_MAX);
        atomic_store(&account.fail_after, n);
        const enum chord_status status = quantize_in(&account, input, test_path("out.gguf"), "Q4_0", 2, false, &err);
        assert_int_equal(files_in_folder(), status == CHORD_OK ? 2 : 1);
        if (status == CHORD_OK)
            break;
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
        assert_true(n < 100);
    }
}

// -------------------------------------------------------------------------------------------------------------- errors

static void test_refused(void **state)
{
    (void)state;
    static const struct made_tensor quantized[] = {{"blk.0.attn_q.weight", QUANT_Q8_0, 256, 8}};
    struct chord_error err;
    char input[600], output[600], link_path[600];
    unlink(test_path("out.gguf"));
    strcpy(input, write_model("in.gguf", small, N_SMALL, 2, 32));
    strcpy(output, test_path("out.gguf"));
    strcpy(link_path, test_path("link.gguf"));
    assert_int_equal(quantize(input, output, "Q9", 1, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "Q4_K_M"));
    assert_int_equal(quantize(input, input, "Q4_0", 1, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(link(input, link_path), 0);
    assert_int_equal(quantize(input, link_path, "Q4_0", 1, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(quantize(test_path("none.gguf"), output, "Q4_0", 1, &err), CHORD_FILE_NOT_FOUND);
    assert_int_equal(quantize(input, test_path("no/out.gguf"), "Q4_0", 1, &err), CHORD_IO);
    assert_non_null(strstr(err.message, "no/out.gguf"));
    assert_int_equal(quantize(input, test_folder, "Q4_0", 1, &err), CHORD_IO); // a folder has the name
    assert_int_equal(files_in_folder(), 1);

    strcpy(input, write_model("in.gguf", quantized, 1, 1, 32));
    assert_int_equal(quantize(input, output, "Q4_0", 1, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "blk.0.attn_q.weight"));
    assert_int_equal(files_in_folder(), 1);
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(quantize_in(&account, input, output, "Q4_0", 1, true, &err), CHORD_OK);
    assert_int_equal(quantize(input, output, "Q8_0", 1, &err), CHORD_OK); // nothing to change
    unlink(output);
}

// A value that is no number or too large for the type is found, and the old file of that name stays.
static void test_bad_values(void **state)
{
    (void)state;
    static const struct made_tensor one[] = {{"blk.0.attn_q.weight", QUANT_F32, 256, 512}};
    static const struct {
        float value;
        const char *type;
        enum chord_status status;
    } rows[] = {{NAN, "Q4_0", CHORD_INVALID_ARGUMENT},
                {INFINITY, "Q8_0", CHORD_INVALID_ARGUMENT},
                {-INFINITY, "F16", CHORD_INVALID_ARGUMENT},
                {65520.0f, "F16", CHORD_INVALID_ARGUMENT},
                {65519.0f, "F16", CHORD_OK},
                {65520.0f, "BF16", CHORD_OK}};
    struct chord_error err;
    char input[600], output[600];
    strcpy(output, test_path("out.gguf"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        strcpy(input, write_model("in.gguf", one, 1, 1, 32));
        FILE *file = fopen(input, "r+b");
        assert_non_null(file);
        fseek(file, -4 * 1000, SEEK_END);
        assert_int_equal(fwrite(&rows[i].value, 4, 1, file), 1);
        fclose(file);
        file = fopen(output, "wb");
        fputs("before", file);
        fclose(file);
        assert_int_equal(quantize(input, output, rows[i].type, 2, &err), rows[i].status);
        size_t n;
        unsigned char *bytes = read_all(output, &n);
        if (rows[i].status != CHORD_OK) {
            assert_non_null(strstr(err.message, "value 130072 of the tensor 'blk.0.attn_q.weight'"));
            assert_int_equal(n, 6);
            assert_memory_equal(bytes, "before", 6);
        }
        free(bytes);
        assert_int_equal(files_in_folder(), 2);
    }
    unlink(output);
}

static void test_cancel(void **state)
{
    (void)state;
    struct memory_account account;
    struct chord_error err;
    struct quantizer *q;
    uint64_t done, total;
    const struct quantizer_options options = {.type = "Q6_K", .n_threads = 1};
    char input[600];
    strcpy(input, write_model("in.gguf", small, N_SMALL, 2, 32));
    memory_account_init(&account, UINT64_MAX);
    assert_int_equal(quantizer_open(&q, input, test_path("out.gguf"), &options, &account, &err), CHORD_OK);
    assert_int_equal(quantizer_run(q, 0.0, NULL, NULL, &done, &total, &err), CHORD_OK);
    assert_true(done > 0 && done < total);
    assert_int_equal(files_in_folder(), 2);
    _Atomic bool cancel = true;
    assert_int_equal(quantizer_run(q, 1.0, NULL, &cancel, &done, &total, &err), CHORD_CANCELLED);
    assert_int_equal(files_in_folder(), 1);
    quantizer_free(q);

    assert_int_equal(quantizer_open(&q, input, test_path("out.gguf"), &options, &account, &err), CHORD_OK);
    assert_int_equal(files_in_folder(), 2);
    quantizer_free(q); // given up
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(atomic_load(&account.total), 0);
}

// The system refuses writes past a size: at once where it can promise room, else at the write.
static void test_no_room(void **state)
{
    (void)state;
    struct chord_error err;
    struct rlimit old;
    char input[600];
    strcpy(input, write_model("in.gguf", small, N_SMALL, 2, 32));
    void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit limit = {.rlim_cur = 100000, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const enum chord_status status = quantize(input, test_path("out.gguf"), "Q8_0", 2, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, CHORD_IO);
    assert_non_null(strstr(err.message, "out.gguf"));
    assert_int_equal(files_in_folder(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixes),      cmocka_unit_test(test_whole_files), cmocka_unit_test(test_bounded_memory),
        cmocka_unit_test(test_from_i2_s),  cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_values), cmocka_unit_test(test_cancel),      cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
