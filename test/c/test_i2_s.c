// I2_S of bitnet.cpp: its blocks, activations of one scale per row, and that every tier multiplies them as integers, in the matvec
// and in the GEMM, to the last bit. Reads of its scale: test_weights.

#include "kernel_inputs.h"
#include "tiny_model.h"

#include "gguf/gguf.h"

#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

// ---- the format ------------------------------------------------------------------------------------------------------

static void blocks(void **state)
{
    (void)state;
    const struct quant_traits *t = quant_traits_by_name("I2_S");
    uint8_t row[64] = {0};
    float values[256];
    uint64_t bytes;
    assert_int_equal(t->type, 36);
    assert_int_equal(t->tail_bytes, 32);
    row[0] = 0xb4;       // elements 0, 32, 64, 96: codes 2, 3, 1, 0
    row[32 + 31] = 0x06; // elements 159, 191, 223, 255: codes 0, 0, 1, 2
    t->dequantize_row(row, values, 256);
    for (int e = 0; e < 256; e++) {
        const float want = e == 0 || e == 255 ? 1 : e == 32 ? 2 : e == 64 || e == 223 ? 0 : -1;
        assert_true(values[e] == want);
    }
    assert_true(quant_tensor_bytes(36, 256, 3, &bytes));
    assert_int_equal(bytes, 3 * 64 + 32);
    assert_true(quant_tensor_bytes(0, 256, 3, &bytes));
    assert_int_equal(bytes, 3 * 1024);
    assert_false(quant_tensor_bytes(36, 64, 3, &bytes));
    assert_false(quant_tensor_bytes(36, 128, UINT64_MAX / 32, &bytes));
}

static void activation_rows(void **state)
{
    (void)state;
    float x[384] = {0};
    uint8_t memory[sizeof(struct activation_q8_row) + 384] __attribute__((aligned(4)));
    struct activation_q8_row *y = (void *)memory;
    assert_int_equal(activation_bytes(ACTIVATION_Q8_PER_ROW, 384), sizeof memory);
    assert_true(activation_bytes(ACTIVATION_Q8_PER_ROW, UINT64_MAX) == UINT64_MAX);
    x[3] = 0.5f, x[200] = -2.54f, x[383] = 2.0f;
    activation_quantize(ACTIVATION_Q8_PER_ROW, x, y, 384);
    assert_true(y->scale == 2.54f / 127.0f);
    for (int e = 0; e < 384; e++)
        assert_int_equal(y->q[e], e == 3 ? 25 : e == 200 ? -127 : e == 383 ? 100 : 0);
    assert_int_equal(y->sum, -2);
    x[7] = NAN;
    activation_quantize(ACTIVATION_Q8_PER_ROW, x, y, 384);
    assert_true(isnan(y->scale));
    assert_int_equal(y->sum, 0);
}

// ---- products --------------------------------------------------------------------------------------------------------

enum { MOST_N = 6912, MOST_ROWS = 70, MOST_COLUMNS = 37 };

static struct guarded weights_memory, column_memory, x_memory;
static float outputs[MOST_COLUMNS * (MOST_ROWS + 3)];
static int codes[MOST_ROWS][MOST_N];
static int8_t q[MOST_COLUMNS][MOST_N];
static float scales[MOST_COLUMNS];

// Random bits, all of them set, or none.
static uint8_t *make_weights(uint64_t n_rows, uint64_t n, enum place place, int fill)
{
    uint8_t *w = guarded_place(&weights_memory, n_rows * n / 4, place);
    for (uint64_t r = 0; r < n_rows; r++)
        for (uint64_t i = 0; i < n / 4; i++) {
            const int byte = fill == 0 ? 0 : fill == 1 ? 255 : random_int(0, 255);
            w[r * n / 4 + i] = (uint8_t)byte;
            for (uint64_t g = 0; g < 4; g++)
                codes[r][i / 32 * 128 + 32 * g + i % 32] = (byte >> (6 - 2 * g) & 3) - 1;
        }
    return w;
}

// Written down from what quant.h says, in double precision.
static void quantize_plainly(const float *x, uint64_t n, uint32_t c)
{
    double absmax = 0;
    bool finite = true;
    for (uint64_t e = 0; e < n; e++) {
        finite = finite && isfinite(x[e]);
        absmax = fabs((double)x[e]) > absmax ? fabs((double)x[e]) : absmax;
    }
    const bool is_zero = absmax < (double)ACTIVATION_ABSMAX_MIN;
    scales[c] = !finite ? NAN : is_zero ? 0.0f : (float)absmax / 127.0f;
    for (uint64_t e = 0; e < n; e++)
        q[c][e] = (int8_t)(finite && !is_zero ? nearbyintf(x[e] * (127.0f / (float)absmax)) : 0);
}

static void check(const char *what, const struct kernels *k, uint64_t n, uint64_t row, uint32_t c, float got)
{
    int64_t dot = 0;
    for (uint64_t e = 0; e < n; e++)
        dot += codes[row][e] * q[c][e];
    const float want = scales[c] * (float)dot;
    if (isnan(want) ? !isnan(got) : got != want)
        fail_msg("%s, %s of %llu elements, row %llu, column %u: %.9g, expected %.9g", k->tier, what,
                 (unsigned long long)n, (unsigned long long)row, c, (double)got, (double)want);
}

static void fill_columns(float *x, uint64_t n, uint32_t n_columns)
{
    for (uint32_t c = 0; c < n_columns; c++) {
        const int fill = (int)(c % (N_X_FILLS + 1));
        fill_activations(x + c * n, n, fill < N_X_FILLS ? (enum activation_fill)fill : X_RANDOM);
        if (fill == N_X_FILLS)
            x[c * n + n - 1] = c % 2 == 0 ? INFINITY : NAN;
        quantize_plainly(x + c * n, n, c);
    }
}

static void check_matvec(const struct kernels *k, const uint8_t *w, uint64_t n_rows, uint64_t n, const float *x,
                         uint32_t n_columns)
{
    const struct activation_kernel *prepare = &k->activation[ACTIVATION_Q8_PER_ROW];
    const uint64_t bytes = prepare->bytes(n);
    uint8_t *prepared = guarded_place(&column_memory, bytes * n_columns, PLACE_END);
    assert_int_equal(bytes % ACTIVATION_ALIGNMENT, 0);
    for (uint32_t c = 0; c < n_columns; c++)
        prepare->quantize(x + c * n, prepared + c * bytes, n);
    assert_true(guarded_untouched(&column_memory, prepared, bytes * n_columns));
    for (uint32_t first = 0, count; first < n_columns; first += count) {
        const void *columns[MATVEC_MAX_COLUMNS];
        float *out[MATVEC_MAX_COLUMNS];
        count = first % MATVEC_MAX_COLUMNS + 1; // 1, 2, 4, 4, ...
        count = count < n_columns - first ? count : n_columns - first;
        for (uint32_t c = 0; c < count; c++) {
            columns[c] = prepared + (first + c) * bytes;
            out[c] = outputs + c * MOST_ROWS;
        }
        k->matvec[QUANT_I2_S](w, n / 4, n_rows, n, columns, count, out, PREFETCH_DEFAULT);
        for (uint32_t c = 0; c < count; c++)
            for (uint64_t r = 0; r < n_rows; r++)
                check("matvec", k, n, r, first + c, out[c][r]);
    }
}

static void check_gemm(const struct kernels *k, const uint8_t *w, uint64_t n_rows, uint64_t n, const float *x,
                       uint32_t n_columns)
{
    const struct gemm_column_kernel *prepare = &k->gemm.columns[ACTIVATION_Q8_PER_ROW];
    const uint64_t bytes = prepare->bytes(n), stride = n_rows + 3;
    uint8_t *prepared = guarded_place(&column_memory, bytes * n_columns, PLACE_END);
    void *scratch = aligned_alloc(GEMM_ALIGNMENT, GEMM_MAX_SCRATCH_BYTES);
    assert_int_equal(bytes % GEMM_ALIGNMENT, 0);
    for (uint32_t c = 0; c < n_columns; c++)
        prepare->prepare(x + c * n, prepared + c * bytes, n);
    assert_true(guarded_untouched(&column_memory, prepared, bytes * n_columns));
    for (uint64_t i = 0; i < stride * n_columns; i++)
        outputs[i] = 7.0f;
    k->gemm.multiply[QUANT_I2_S](w, n / 4, n_rows, n, prepared, bytes, n_columns, outputs, stride, scratch);
    for (uint32_t c = 0; c < n_columns; c++) {
        for (uint64_t r = 0; r < n_rows; r++)
            check("GEMM", k, n, r, c, outputs[c * stride + r]);
        for (uint64_t r = n_rows; r < stride; r++)
            assert_true(outputs[c * stride + r] == 7.0f);
    }
    free(scratch);
}

static void products_of_tier(const struct kernels *k)
{
    static const struct {
        uint64_t n, n_rows;
        uint32_t n_columns;
    } shapes[] = {{128, 1, 1}, {256, 2, 3}, {384, 33, 8}, {640, 16, 13}, {2560, 5, 37}, {6912, 3, 9}, {1152, 70, 5}};
    for (size_t s = 0; s < LENGTH(shapes); s++) {
        for (int fill = 0; fill < 3; fill++) {
            const uint64_t n = shapes[s].n, n_rows = shapes[s].n_rows;
            const uint32_t n_columns = shapes[s].n_columns;
            const uint8_t *w = make_weights(n_rows, n, (enum place)fill, fill);
            float *x = guarded_place(&x_memory, n * n_columns * sizeof *x, PLACE_END);
            fill_columns(x, n, n_columns);
            check_matvec(k, w, n_rows, n, x, n_columns);
            check_gemm(k, w, n_rows, n, x, n_columns);
        }
    }
}

static void products(void **state)
{
    (void)state;
    weights_memory = guarded_create(MOST_ROWS * MOST_N / 4);
    column_memory = guarded_create(MOST_COLUMNS * (4 * MOST_N + 1024));
    x_memory = guarded_create(MOST_COLUMNS * MOST_N * sizeof(float));
    for_each_tier(products_of_tier);
    guarded_free(&weights_memory);
    guarded_free(&column_memory);
    guarded_free(&x_memory);
}

// ---- files -----------------------------------------------------------------------------------------------------------

// The number 36 has had another meaning: what a tensor has room for tells.
static void room(void **state)
{
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        for (int last = 0; last < 2; last++) {
            struct memory_account account;
            struct chord_error err;
            struct gguf *gguf;
            struct tiny_model m;
            char path[] = "/tmp/chord-test-i2_s-XXXXXX";
            memory_account_init(&account, UINT64_MAX);
            tiny_init(&m, (struct tiny_options){0});
            struct tiny_tensor *t = tiny_add(&m, "i2_s", QUANT_I2_S, 256, 5, 0, 1);
            if (last == 0)
                tiny_add(&m, "behind", QUANT_F32, 8, 1, 0, 1);
            if (extra != 0) { // as IQ4_NL_4_4
                t->n_bytes = 256 * 5 / 32 * 18;
                t->bytes = realloc(t->bytes, t->n_bytes);
                memset(t->bytes, 1, t->n_bytes);
            }
            close(mkstemp(path));
            tiny_write(&m, path);
            const enum chord_status status = gguf_open(&gguf, path, &account, &err);
            unlink(path);
            tiny_free(&m);
            assert_int_equal(status, extra != 0 ? CHORD_GGUF_TENSOR_TYPE : CHORD_OK);
            if (status == CHORD_OK)
                gguf_close(gguf);
            else
                assert_non_null(strstr(err.message, "IQ4_NL_4_4"));
            assert_int_equal(atomic_load(&account.total), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks),
        cmocka_unit_test(activation_rows),
        cmocka_unit_test(products),
        cmocka_unit_test(room),
    };
    check_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
