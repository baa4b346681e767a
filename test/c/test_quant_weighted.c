// quant: blocks whose values are weighed by importances. CHORD_TEST_QUICK=1: fewer rows.
#include "quant_cases.h"
#include "quick.h"

#include "quant/search.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define N 2048

typedef void check_type(const struct quant_traits *t, quant_weighted weighted);

static void each_weighted_type(check_type *check)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (quant_weighted_of(types[i]) != NULL)
            check(quant_traits(types[i]), quant_weighted_of(types[i]));
}

static void fill(float x[N], float importance[N], int kind)
{
    for (int i = 0; i < N; i++) {
        x[i] = random_normal() * 0.02f;
        const float normal = random_normal();
        // Evenly spread, over decades as channels of models are, or a few columns that carry all.
        importance[i] = kind == 0             ? random_unit()
                        : kind == 1           ? expf(2.0f * normal)
                        : random_bits(4) == 0 ? 100.0f
                                              : 0.0f;
    }
}

// Sum of importance * sqrt(x^2 + mean x^2 of the block) * (x - w)^2, in double precision.
static double weighted_error(const struct quant_traits *t, const float *x, const float *importance, const float *w)
{
    double error = 0.0;
    for (uint32_t block = 0; block < N; block += t->block_size) {
        double mean = 0.0;
        for (uint32_t i = block; i < block + t->block_size; i++)
            mean += (double)x[i] * (double)x[i] / t->block_size;
        for (uint32_t i = block; i < block + t->block_size; i++)
            error +=
                (double)importance[i] * sqrt((double)x[i] * (double)x[i] + mean) * pow((double)x[i] - (double)w[i], 2);
    }
    return error;
}

static void check_weighted_error(const struct quant_traits *t, quant_weighted weighted)
{
    const int n_rows = quick() ? 1 : 4;
    for (int kind = 0; kind < 3; kind++) {
        double with = 0.0, without = 0.0;
        for (int row = 0; row < n_rows; row++) {
            static float x[N], importance[N], w[N];
            static uint8_t blocks[4 * N];
            fill(x, importance, kind);
            weighted(x, importance, blocks, N);
            t->dequantize_row(blocks, w, N);
            with += weighted_error(t, x, importance, w);
            t->quantize_row(x, blocks, N);
            t->dequantize_row(blocks, w, N);
            without += weighted_error(t, x, importance, w);
        }
        if (!(with < without * (kind == 0 ? 0.99 : kind == 1 ? 0.9 : 0.7)))
            fail_msg("%s, importances of kind %d: %g with them, %g without", t->name, kind, with, without);
    }
}

// The search finds blocks that are better by what it is to minimize than those of the search without importances.
static void test_weighted_error_is_less(void **state)
{
    (void)state;
    each_weighted_type(check_weighted_error);
}

static void check_equal_importances(const struct quant_traits *t, quant_weighted weighted)
{
    float x[N], ones[N], w[N], zeros[N] = {0}, eights[N];
    uint8_t one[4 * N] = {0}, other[4 * N] = {0};
    fill(x, ones, 0);
    for (int e = 0; e < N; e++) {
        ones[e] = 1.0f;
        eights[e] = 8.0f;
    }
    weighted(x, ones, one, N);
    weighted(x, zeros, other, N); // none of them matters, so none matters more
    assert_memory_equal(one, other, sizeof one);
    weighted(x, eights, other, N);
    assert_memory_equal(one, other, sizeof one);
    t->dequantize_row(one, w, N);
    double with = 0.0, without = 0.0;
    for (int e = 0; e < N; e++)
        with += pow((double)x[e] - (double)w[e], 2);
    t->quantize_row(x, other, N);
    t->dequantize_row(other, w, N);
    for (int e = 0; e < N; e++)
        without += pow((double)x[e] - (double)w[e], 2);
    if (!(with < without * 1.1)) // they minimize different sums
        fail_msg("%s: squared error %g, without importances %g", t->name, with, without);
}

static void test_equal_importances(void **state)
{
    (void)state;
    each_weighted_type(check_equal_importances);
}

static void check_hostile_values(const struct quant_traits *t, quant_weighted weighted)
{
    static const float scales[] = {0.0f, 0x1p-149f, 1e-30f, 1.0f, 1e4f, 1e38f};
    static const float weights[] = {0.0f, 0x1p-149f, 1e-30f, 1.0f, 3e38f};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        for (size_t k = 0; k < sizeof weights / sizeof *weights; k++) {
            float x[256], importance[256], w[256];
            uint8_t row[1024];
            for (int e = 0; e < 256; e++) {
                x[e] = (random_unit() - 0.5f) * scales[s];
                importance[e] = random_bits(1) ? random_unit() * weights[k] : 0.0f;
            }
            weighted(x, importance, row, 256);
            t->dequantize_row(row, w, 256);
            for (int e = 0; e < 256; e++) {
                if (scales[s] <= 1e4f || t->type != QUANT_IQ4_NL)
                    assert_true(isfinite(w[e]));
                if (scales[s] == 0.0f)
                    assert_true(w[e] == 0.0f);
            }
            for (int bad = 0; bad < 3; bad++) {
                x[100] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
                weighted(x, importance, row, 256);
                t->dequantize_row(row, w, 256);
                for (uint32_t e = 100 / t->block_size * t->block_size; e < (100 / t->block_size + 1) * t->block_size;
                     e++)
                    assert_true(isnan(w[e]));
            }
        }
    }
}

// Values of any size, with importances of any size: what is finite stays so, and near; what is not makes a block of NaN.
static void test_hostile_values(void **state)
{
    (void)state;
    each_weighted_type(check_hostile_values);
}

static void check_own_blocks(const struct quant_traits *t, quant_weighted weighted)
{
    float x[N], importance[N];
    uint8_t whole[4 * N] = {0}, parts[4 * N] = {0};
    const uint64_t half_bytes = N / 2 / t->block_size * t->block_bytes;
    fill(x, importance, 1);
    weighted(x, importance, whole, N);
    weighted(x, importance, parts + 1, N / 2);
    weighted(x + N / 2, importance + N / 2, parts + 1 + half_bytes, N / 2);
    assert_memory_equal(whole, parts + 1, 2 * half_bytes);
}

// A block knows nothing but its own values and importances, nor its address.
static void test_blocks_are_their_own(void **state)
{
    (void)state;
    each_weighted_type(check_own_blocks);
}

static void test_which_types(void **state)
{
    (void)state;
    static const uint32_t none[] = {QUANT_F32,   QUANT_F16,  QUANT_BF16,  QUANT_Q8_0, QUANT_TQ1_0,
                                    QUANT_TQ2_0, QUANT_I2_S, QUANT_IQ1_S, 9,          1000};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(quant_weighted_of(none[i]));
    size_t n = 0;
    for (size_t i = 0; i < N_TYPES; i++)
        n += quant_weighted_of(types[i]) != NULL;
    assert_int_equal(n, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_weighted_error_is_less, seed_random),
        cmocka_unit_test_setup(test_equal_importances, seed_random),
        cmocka_unit_test_setup(test_hostile_values, seed_random),
        cmocka_unit_test_setup(test_blocks_are_their_own, seed_random),
        cmocka_unit_test(test_which_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
