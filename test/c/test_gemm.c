// gemm: every type on every tier that this CPU has, against double-precision references. Inputs and scratch stand
// between guard pages, outputs among canaries. SEED=number replays a run, CHORD_CPU=tier keeps to one tier.
#include "kernel_inputs.h"
#include "quick.h"

#include "base/half.h"
#include "kernels/kernels.h"
#include "os/cpu.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define UNIT 0x1p-24 // largest relative error of one rounding to f32
#define CANARY 0x7fc0dead

#define MAX_N 11008
#define MAX_ROWS 97
#define MAX_COLUMNS 20

static bool same_float(float a, float b)
{
    return bits_from_float(a) == bits_from_float(b) || (isnan(a) && isnan(b));
}

// ---- one case --------------------------------------------------------------------------------------------------------

struct gemm_case {
    uint32_t type;
    uint64_t n, n_rows, n_columns;
    enum weight_fill w_fill;
    enum activation_fill x_fill;
    enum place place;
};

static void describe(char *text, size_t bytes, const struct kernels *k, const struct gemm_case *g)
{
    snprintf(text, bytes, "%s %s n=%llu rows=%llu columns=%llu weights=%d activations=%d place=%d", k->tier,
             quant_traits(g->type)->name, (unsigned long long)g->n, (unsigned long long)g->n_rows,
             (unsigned long long)g->n_columns, g->w_fill, g->x_fill, g->place);
}

// To nearest, ties to even; numbers that bfloat16 holds as subnormal become zero.
static double round_to_bf16(float x)
{
    const uint32_t bits = bits_from_float(x);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    return fabsf(x) < FLT_MIN ? 0.0 : (double)float_from_bits(rounded);
}

// In two parts of bfloat16 each: all but the product of the second parts.
static double product_of_parts(double w, float y)
{
    const double w0 = round_to_bf16((float)w), y0 = round_to_bf16(y), y1 = round_to_bf16((float)(y - y0));
    return w0 * (y0 + y1) + round_to_bf16((float)(w - w0)) * y0;
}

static bool has_products_of_parts(const struct kernels *k, uint32_t type)
{
    return k->gemm.rounds_to_bf16 && (type == QUANT_F16 || type == QUANT_BF16);
}

static bool has_bf16_products(const struct kernels *k, uint32_t type)
{
    return k->gemm.rounds_to_bf16 && quant_traits(type)->block_size > 1;
}

// Roundings on the way of one product to the result, at most: one per addition of its chain, and a few for its factors
// and conversion. Types that meet activations per 32 add twice for each (products and min, or halves); super-blocks add up to 17 terms, then one per 256.
// Floats: one chain in the scalar tier, else chains of 256 and one addition for each.
static double rounding_bound(const struct kernels *k, const struct gemm_case *g)
{
    const uint32_t block_size = quant_traits(g->type)->block_size;
    double steps;
    if (has_bf16_products(k, g->type))
        steps = (double)g->n;        // one chain
    else if (k->gemm.rounds_to_bf16) // products of parts in one chain, and those that are left out
        return (6.0 * (double)g->n + 8.0) * UNIT;
    else if (block_size == 1)
        steps = strcmp(k->tier, "scalar") != 0 ? 256.0 + (double)g->n / 256.0 : (double)g->n;
    else if (quant_traits(g->type)->activation == ACTIVATION_Q8_PER_32)
        steps = 2.0 * (double)g->n / 32.0;
    else
        steps = 17.0 + (double)g->n / 256.0;
    return (steps + 8.0) * UNIT;
}

static struct guarded weights_memory, columns_memory, scratch_memory;

static void create_memory(void)
{
    weights_memory = guarded_create((size_t)4 * MAX_ROWS * MAX_N);
    columns_memory = guarded_create((size_t)16 * MAX_COLUMNS * MAX_N);
    scratch_memory = guarded_create(GEMM_MAX_SCRATCH_BYTES);
}

static void free_memory(void)
{
    guarded_free(&weights_memory);
    guarded_free(&columns_memory);
    guarded_free(&scratch_memory);
}

// The inputs of a case, and the results of the call with all rows and columns.
struct inputs {
    const uint8_t *w;
    uint64_t row_bytes, stride;
    const uint8_t *columns;
    float *x;      // [n_columns, n]
    int8_t *q;     // the same, quantized
    float *scales; // [n_columns, n], the first n / 32 or n / 256 of each row in use
    float *out;    // [n_columns, n_rows]
};

// The product of rows r.. and columns c.., with canaries around every run of results; into out[n_columns * n_rows].
static void multiply(const struct kernels *k, const struct gemm_case *g, const struct inputs *in, uint64_t r,
                     uint64_t n_rows, uint64_t c, uint64_t n_columns, float *out)
{
    const uint64_t stride = n_rows + (uint64_t)random_int(1, 40);
    float *padded = malloc((n_columns + 2) * stride * sizeof *padded);
    for (uint64_t i = 0; i < (n_columns + 2) * stride; i++)
        padded[i] = float_from_bits(CANARY);
    uint8_t *scratch = guarded_place(&scratch_memory, k->gemm.scratch_bytes, PLACE_END);
    k->gemm.multiply[g->type](in->w + r * in->row_bytes, in->row_bytes, n_rows, g->n, in->columns + c * in->stride,
                              in->stride, n_columns, padded + stride, stride, scratch);
    assert_true(guarded_untouched(&scratch_memory, scratch, k->gemm.scratch_bytes));
    for (uint64_t i = 0; i < (n_columns + 2) * stride; i++) {
        const uint64_t column = i / stride;
        if (column >= 1 && column <= n_columns && i % stride < n_rows)
            out[(column - 1) * n_rows + i % stride] = padded[i];
        else
            assert_int_equal(bits_from_float(padded[i]), CANARY);
    }
    free(padded);
}

static void check_part(const struct kernels *k, const struct gemm_case *g, const struct inputs *in, uint64_t r,
                       uint64_t n_rows, uint64_t c, uint64_t n_columns)
{
    float *part = malloc(n_rows * n_columns * sizeof *part);
    multiply(k, g, in, r, n_rows, c, n_columns, part);
    for (uint64_t j = 0; j < n_columns; j++) {
        for (uint64_t i = 0; i < n_rows; i++) {
            const float whole = in->out[(c + j) * g->n_rows + r + i];
            if (same_float(part[j * n_rows + i], whole))
                continue;
            char text[200];
            describe(text, sizeof text, k, g);
            fail_msg("%s: row %llu column %llu is %a among rows %llu+%llu, columns %llu+%llu, but %a among all", text,
                     (unsigned long long)(r + i), (unsigned long long)(c + j), (double)part[j * n_rows + i],
                     (unsigned long long)r, (unsigned long long)n_rows, (unsigned long long)c,
                     (unsigned long long)n_columns, (double)whole);
        }
    }
    free(part);
}

static void check_row(const struct kernels *k, const struct gemm_case *g, const struct inputs *in, uint64_t r,
                      const struct element *row)
{
    const enum activation_type activation = quant_traits(g->type)->activation;
    const uint64_t per_scale = activation == ACTIVATION_Q8_PER_32 ? 32 : 256;
    const bool bf16 = has_bf16_products(k, g->type);
    for (uint64_t c = 0; c < g->n_columns; c++) {
        double want = 0.0, terms = 0.0, flushed = 0.0;
        for (uint64_t e = 0; e < g->n; e++) {
            const double w = row[e].step * (row[e].code - row[e].zero) - row[e].min;
            if (bf16) {
                const double y = round_to_bf16(in->x[c * g->n + e]), rounded = round_to_bf16((float)w);
                want += y * rounded;
                terms += fabs(y * rounded);
                flushed += FLT_MIN * (1.0 + fabs(y)); // products and weights that would be subnormal
                continue;
            }
            const double y = activation == ACTIVATION_F32
                                 ? (double)in->x[c * g->n + e]
                                 : (double)in->scales[c * g->n + e / per_scale] * in->q[c * g->n + e];
            want += has_products_of_parts(k, g->type) ? product_of_parts(w, (float)y) : y * w;
            if (k->gemm.rounds_to_bf16) // parts that would be subnormal
                flushed += FLT_MIN * (1.0 + fabs(y) + fabs(w));
            terms += fabs(y) * (fabs(row[e].step) * (row[e].code + row[e].zero) + fabs(row[e].min));
        }
        // Sums of quarters (mins) below 2^22 are exact in any order, and so are sums of integers.
        const bool integers = g->w_fill == W_UNIT && g->x_fill != X_RANDOM && g->x_fill != X_WILD;
        const double bound =
            terms == 0.0 || (integers && terms < 0x1p22) ? 0.0 : rounding_bound(k, g) * terms + FLT_MIN + flushed;
        const double got = (double)in->out[c * g->n_rows + r];
        if (fabs(got - want) <= bound)
            continue;
        char text[200];
        describe(text, sizeof text, k, g);
        fail_msg("%s: row %llu column %llu is %.9g, expected %.9g +- %.3g", text, (unsigned long long)r,
                 (unsigned long long)c, got, want, bound);
    }
}

static struct inputs create_inputs(const struct kernels *k, const struct gemm_case *g)
{
    const struct quant_traits *traits = quant_traits(g->type);
    const struct gemm_column_kernel *column = &k->gemm.columns[traits->activation];
    struct inputs in = {.row_bytes = g->n / traits->block_size * traits->block_bytes};
    const uint64_t bytes = column->bytes(g->n);
    assert_int_equal(bytes % GEMM_ALIGNMENT, 0);
    in.stride = bytes + GEMM_ALIGNMENT * (uint64_t)random_int(0, 2);

    // Rows that are not contiguous, now and then.
    const uint64_t extra = random_int(0, 3) == 0 ? (uint64_t)random_int(1, 70) : 0;
    uint8_t *w = guarded_place(&weights_memory, g->n_rows * in.row_bytes + (g->n_rows - 1) * extra, g->place);
    for (uint64_t r = 0; r < g->n_rows; r++)
        fill_weights(g->type, w + r * (in.row_bytes + extra), in.row_bytes, g->w_fill);
    in.w = w;
    in.row_bytes += extra;

    in.x = malloc(g->n_columns * g->n * sizeof *in.x);
    in.q = malloc(g->n_columns * g->n);
    in.scales = malloc(g->n_columns * g->n * sizeof *in.scales);
    in.out = malloc(g->n_columns * g->n_rows * sizeof *in.out);
    const uint64_t all_bytes = (g->n_columns - 1) * in.stride + bytes;
    uint8_t *columns = guarded_place(&columns_memory, all_bytes, g->place == PLACE_START ? PLACE_START : PLACE_END);
    for (uint64_t c = 0; c < g->n_columns; c++) {
        float *x = in.x + c * g->n;
        fill_activations(x, g->n, g->x_fill);
        plain_activations(traits->activation, x, g->n, in.q + c * g->n, in.scales + c * g->n);
        column->prepare(x, columns + c * in.stride, g->n);
    }
    assert_true(guarded_untouched(&columns_memory, columns, all_bytes));
    in.columns = columns;
    return in;
}

static void free_inputs(struct inputs *in)
{
    free(in->x);
    free(in->q);
    free(in->scales);
    free(in->out);
}

static void check_gemm(const struct kernels *k, const struct gemm_case *g)
{
    struct inputs in = create_inputs(k, g);
    multiply(k, g, &in, 0, g->n_rows, 0, g->n_columns, in.out);

    struct element *row = malloc(g->n * sizeof *row);
    for (uint64_t r = 0; r < g->n_rows; r++) {
        decode_row(g->type, in.w + r * in.row_bytes, g->n, row);
        check_row(k, g, &in, r, row);
    }
    free(row);

    // One row, one column, both, and a part from the middle: bit for bit what they are among all.
    const uint64_t r = random_bits() % g->n_rows, c = random_bits() % g->n_columns;
    check_part(k, g, &in, r, 1, 0, g->n_columns);
    check_part(k, g, &in, 0, g->n_rows, c, 1);
    check_part(k, g, &in, r, 1, c, 1);
    check_part(k, g, &in, r, 1 + random_bits() % (g->n_rows - r), c, 1 + random_bits() % (g->n_columns - c));
    free_inputs(&in);
}

// ---- tests -----------------------------------------------------------------------------------------------------------

static const uint64_t *sizes_of(uint32_t block_size, size_t *count)
{
    static const uint64_t floats[] = {1, 2, 15, 16, 17, 33, 255, 256, 257, 300, 800};
    static const uint64_t blocks_32[] = {1, 2, 3, 7, 8, 9, 23, 24, 25, 28};
    static const uint64_t blocks_256[] = {1, 2, 3, 4, 5, 7};
    *count = block_size == 1 ? LENGTH(floats) : block_size < 256 ? LENGTH(blocks_32) : LENGTH(blocks_256);
    return block_size == 1 ? floats : block_size < 256 ? blocks_32 : blocks_256;
}

static void fills_of_tier(const struct kernels *k)
{
    for (size_t t = 0; t < LENGTH(all_types); t++) {
        const struct quant_traits *traits = quant_traits(all_types[t]);
        // The coded types go through the same few kernels: a part for each.
        const int every = (quick() ? 7 : 1) * (is_coded(all_types[t]) ? 4 : 1);
        size_t n_sizes;
        const uint64_t *sizes = sizes_of(traits->block_size, &n_sizes);
        for (size_t s = 0; s < n_sizes; s++) {
            for (int w_fill = 0; w_fill < N_W_FILLS; w_fill++) {
                for (int x_fill = 0; x_fill < N_X_FILLS; x_fill++) {
                    if ((w_fill + x_fill + (int)(s + t)) % every != 0)
                        continue;
                    const struct gemm_case g = {.type = all_types[t],
                                                .n = sizes[s] * traits->block_size,
                                                .n_rows = (uint64_t)random_int(1, 5),
                                                .n_columns = (uint64_t)random_int(1, 3),
                                                .w_fill = (enum weight_fill)w_fill,
                                                .x_fill = (enum activation_fill)x_fill,
                                                .place = (enum place)random_int(0, N_PLACES - 1)};
                    check_gemm(k, &g);
                }
            }
        }
    }
}

static void fills(void **state)
{
    (void)state;
    for_each_tier(fills_of_tier);
}

static void shapes_of_tier(const struct kernels *k)
{
    static const uint64_t rows[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 97};
    static const uint64_t long_rows[] = {2816, 4096, 11008};
    for (size_t t = 0; t < LENGTH(all_types); t++) {
        const struct quant_traits *traits = quant_traits(all_types[t]);
        struct gemm_case g = {.type = all_types[t], .w_fill = W_UNIT, .x_fill = X_UNIT_SCALE};
        // Every fifth in a hurry, every third of the coded types, but others for each type.
        const uint64_t every = (quick() ? 5 : 1) * (is_coded(all_types[t]) ? 3 : 1);
        for (uint64_t columns = 1 + t % every; columns <= MAX_COLUMNS; columns += every) {
            g.n = traits->block_size == 1 ? 70 : traits->block_size == 32 ? 288 : traits->block_size == 64 ? 320 : 256;
            g.n_rows = rows[columns % LENGTH(rows)];
            g.n_columns = columns;
            g.place = (enum place)((columns + columns / 3) % N_PLACES);
            check_gemm(k, &g);
        }
        for (size_t i = t % every; i < LENGTH(rows); i += every) {
            g.n = traits->block_size == 1 ? 300 : traits->block_size < 128 ? 320 : 512;
            g.n_rows = rows[i];
            g.n_columns = (uint64_t)random_int(1, 7);
            g.place = (enum place)((i + i / 3) % N_PLACES);
            g.w_fill = i % 2 == 0 ? W_UNIT : W_RANDOM;
            check_gemm(k, &g);
        }
        g.n = traits->block_size == 1 ? 300 : traits->block_size == 32 ? 288 : traits->block_size == 64 ? 320 : 256;
        g.n_rows = 2;
        g.n_columns = quick() ? 131 : 1031;
        g.w_fill = W_UNIT;
        check_gemm(k, &g);
        for (size_t i = 0; i < (quick() ? 1 : LENGTH(long_rows)); i++) {
            g.n = long_rows[i];
            g.n_rows = 5;
            g.n_columns = 7;
            g.w_fill = W_RANDOM;
            g.x_fill = X_RANDOM;
            check_gemm(k, &g);
        }
    }
}

static void shapes(void **state)
{
    (void)state;
    for_each_tier(shapes_of_tier);
}

// Nothing to do is done: no rows, no columns.
static void empty_of_tier(const struct kernels *k)
{
    for (size_t t = 0; t < LENGTH(all_types); t++) {
        const struct gemm_case g = {.type = all_types[t], .n = 256, .n_rows = 2, .n_columns = 2};
        struct inputs in = create_inputs(k, &g);
        float none;
        multiply(k, &g, &in, 0, 0, 0, 2, &none);
        multiply(k, &g, &in, 0, 2, 0, 0, &none);
        free_inputs(&in);
    }
}

static void empty(void **state)
{
    (void)state;
    for_each_tier(empty_of_tier);
}

// A NaN in a column makes all of its results NaN and no other's.
static void nan_of_tier(const struct kernels *k)
{
    for (size_t t = 0; t < LENGTH(all_types); t++) {
        const struct gemm_case g = {.type = all_types[t], .n = 1024, .n_rows = 40, .n_columns = 8, .place = PLACE_END};
        struct inputs in = create_inputs(k, &g);
        const uint64_t bad = random_bits() % g.n_columns;
        const struct gemm_column_kernel *column = &k->gemm.columns[quant_traits(g.type)->activation];
        multiply(k, &g, &in, 0, g.n_rows, 0, g.n_columns, in.out);
        in.x[bad * g.n + random_bits() % g.n] = random_bits() & 1 ? NAN : INFINITY;
        column->prepare(in.x + bad * g.n, (uint8_t *)(uintptr_t)in.columns + bad * in.stride, g.n);
        float *after = malloc(g.n_rows * g.n_columns * sizeof *after);
        multiply(k, &g, &in, 0, g.n_rows, 0, g.n_columns, after);
        for (uint64_t i = 0; i < g.n_rows * g.n_columns; i++) {
            if (i / g.n_rows == bad)
                assert_false(isfinite(after[i]));
            else
                assert_true(same_float(after[i], in.out[i]));
        }
        free(after);
        free_inputs(&in);
    }
}

static void nan_columns(void **state)
{
    (void)state;
    for_each_tier(nan_of_tier);
}

static void table_of_tier(const struct kernels *k)
{
    for (uint32_t id = 0; id < GEMM_TYPE_IDS; id++)
        assert_int_equal(k->gemm.multiply[id] != NULL, quant_traits(id) != NULL);
    assert_true(k->gemm.rows >= 1);
    assert_true(k->gemm.scratch_bytes <= GEMM_MAX_SCRATCH_BYTES);
    assert_int_equal(k->gemm.scratch_bytes % GEMM_ALIGNMENT, 0);
}

static void table(void **state)
{
    (void)state;
    for_each_tier(table_of_tier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table), cmocka_unit_test(fills),       cmocka_unit_test(shapes),
        cmocka_unit_test(empty), cmocka_unit_test(nan_columns),
    };
    check_seed();
    create_memory();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free_memory();
    return failed;
}
