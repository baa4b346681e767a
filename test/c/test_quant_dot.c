// quant: scalar dot products against double precision and against exact integers; the preparation of activations.
#include "quant_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define EPSILON 0x1p-24 // half a unit in the last place of a float near 1

// -------------------------------------------------------------------------------------------------------- dot products

static void random_row(const struct quant_traits *t, uint64_t n, uint8_t *row)
{
    const struct layout at = layout_of(t->type);
    for (uint64_t b = 0; b < n / t->block_size; b++) {
        uint8_t *block = row + b * t->block_bytes;
        if (is_coded(t->type)) {
            for (uint32_t k = 0; k < t->block_bytes; k++)
                block[k] = (uint8_t)random_bits(8);
            set_coded_scale(t->type, block, half_from_float(0.01f * random_normal()));
            continue;
        }
        if (at.d_at < 0) {
            const float value = random_normal();
            t->quantize_row(&value, block, 1);
            continue;
        }
        for (uint32_t k = 0; k < t->block_bytes; k++)
            block[k] = (uint8_t)random_bits(8);
        block_set_u16(block + at.d_at, half_from_float(0.01f * random_normal()));
        if (at.min_at >= 0)
            block_set_u16(block + at.min_at, half_from_float(0.01f * random_normal()));
    }
}

// The row's values without the part that min or m gives (`part` 0), or only that part (1): both exact in float, being
// products of a half of 11 bits with integers of 12 bits in total.
static void part_values(const struct quant_traits *t, const uint8_t *row, uint64_t n, int part, float *out)
{
    uint8_t copy[64 * MAX_BLOCK_BYTES];
    const struct layout at = layout_of(t->type);
    memcpy(copy, row, n / t->block_size * t->block_bytes);
    for (uint64_t b = 0; b < n / t->block_size; b++) {
        const int zeroed = part == 0 ? at.min_at : at.d_at;
        if (zeroed >= 0)
            block_set_u16(copy + b * t->block_bytes + zeroed, 0);
    }
    t->dequantize_row(copy, out, n);
    if (part == 1 && at.min_at < 0)
        memset(out, 0, n * sizeof(float));
}

static void activation_values(enum activation_type type, const void *activation, uint64_t n, double *out)
{
    const float *f32 = activation;
    const struct activation_q8_32 *per_32 = activation;
    const struct activation_q8_256 *per_256 = activation;
    for (uint64_t e = 0; e < n; e++) {
        if (type == ACTIVATION_Q8_PER_32)
            out[e] = (double)per_32[e / 32].scale * per_32[e / 32].q[e % 32];
        else if (type == ACTIVATION_Q8_PER_256)
            out[e] = (double)per_256[e / 256].scale * per_256[e / 256].q[e % 256];
        else
            out[e] = (double)f32[e];
    }
}

// Against double precision. A block's contribution is made of exact integers by at most 5 roundings (int to float,
// product, difference, product), and each of the N blocks' (or elements') additions rounds once more, so the error is
// below (N + 6) * 2^-24 * sum |part of w| * |y|, up to terms in 2^-48. N is of the activations' blocks, where those are smaller.
static void test_dot_products(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        for (int round = 0; round < 200; round++) {
            enum { MAX_N = 2048 };
            static float x[MAX_N], w[MAX_N], min[MAX_N];
            static double y[MAX_N];
            static uint8_t row[64 * MAX_BLOCK_BYTES];
            union {
                float f32[MAX_N];
                struct activation_q8_32 per_32[MAX_N / 32];
                struct activation_q8_256 per_256[MAX_N / 256];
            } activation;
            const uint64_t n = (1 + random_bits(16) % (t->block_size == 1 ? 200 : 8)) * t->block_size;
            assert_true(activation_bytes(t->activation, n) <= sizeof activation);
            for (uint64_t e = 0; e < n; e++)
                x[e] = random_normal() * (random_bits(5) == 0 ? 20.0f : 1.0f);
            random_row(t, n, row);
            activation_quantize(t->activation, x, &activation, n);
            activation_values(t->activation, &activation, n, y);
            part_values(t, row, n, 0, w);
            part_values(t, row, n, 1, min);
            double expected = 0.0;
            double size = 0.0;
            for (uint64_t e = 0; e < n; e++) {
                expected += ((double)w[e] + (double)min[e]) * y[e];
                size += (fabs((double)w[e]) + fabs((double)min[e])) * fabs(y[e]);
            }
            const uint64_t step = t->activation == ACTIVATION_Q8_PER_32 ? 32 : t->block_size;
            const double bound = ((double)(n / step) + 6.0) * EPSILON * size;
            const double result = (double)t->dot(row, &activation, n);
            if (!(fabs(result - expected) <= bound))
                fail_msg("%s, n %d: %.9g, not %.9g (bound %g)", t->name, (int)n, result, expected, bound);
            if (round == 0)
                assert_true(t->dot(row, &activation, 0) == 0.0f);
        }
    }
}

// With d = dmin = 1 and activations whose scale is 1, every step is exact, so the result is the integer itself; small
// activations keep it below 2^24. Codes and scales are random bytes, so all of their bits take part.
static void test_dot_integers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        const struct layout at = layout_of(t->type);
        if (at.d_at < 0 && !is_coded(t->type))
            continue;
        for (int round = 0; round < 200; round++) {
            float x[256];
            float w[256];
            uint8_t row[MAX_BLOCK_BYTES];
            union {
                struct activation_q8_32 per_32[8];
                struct activation_q8_256 per_256;
            } activation;
            const uint64_t n = t->block_size;
            for (uint64_t e = 0; e < n; e++)
                x[e] = (float)((int)random_bits(4) - 8);
            for (uint64_t b = 0; b < n; b += 32)
                x[b + random_bits(5)] = round % 2 == 0 ? 127.0f : -127.0f;
            random_row(t, n, row);
            if (is_coded(t->type))
                set_coded_scale(t->type, row, coded_unit(t->type));
            else
                block_set_u16(row + at.d_at, 0x3c00);
            if (at.min_at >= 0)
                block_set_u16(row + at.min_at, 0x3c00);
            activation_quantize(t->activation, x, &activation, n);
            t->dequantize_row(row, w, n);
            int64_t expected = 0;
            for (uint64_t e = 0; e < n; e++)
                expected += (int64_t)w[e] * (int64_t)x[e];
            assert_true(llabs(expected) < 1 << 24);
            assert_true(t->dot(row, &activation, n) == (float)expected);
        }
    }
}

// The largest sums of the formats do not overflow: all bytes of a block at their extremes against activations of +-127.
static void test_dot_extremes(void **state)
{
    (void)state;
    const uint8_t fills[] = {0x00, 0xff, 0x80, 0x7f};
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        const struct layout at = layout_of(t->type);
        if (at.d_at < 0 && !is_coded(t->type))
            continue;
        for (int f = 0; f < 8; f++) {
            float x[256];
            float w[256];
            float min[256];
            uint8_t row[MAX_BLOCK_BYTES];
            union {
                struct activation_q8_32 per_32[8];
                struct activation_q8_256 per_256;
            } activation;
            for (int e = 0; e < 256; e++)
                x[e] = f < 4 ? 127.0f : -127.0f;
            memset(row, fills[f % 4], sizeof row);
            if (is_coded(t->type))
                set_coded_scale(t->type, row, coded_unit(t->type));
            else
                block_set_u16(row + at.d_at, 0x3c00);
            if (at.min_at >= 0)
                block_set_u16(row + at.min_at, 0x3c00);
            activation_quantize(t->activation, x, &activation, t->block_size);
            part_values(t, row, t->block_size, 0, w);
            part_values(t, row, t->block_size, 1, min);
            double expected = 0.0;
            double size = 0.0;
            for (uint32_t e = 0; e < t->block_size; e++) {
                expected += ((double)w[e] + (double)min[e]) * (double)x[e];
                size += (fabs((double)w[e]) + fabs((double)min[e])) * 127.0;
            }
            assert_true(fabs((double)t->dot(row, &activation, t->block_size) - expected) <=
                        (is_coded(t->type) ? 14.0 : 7.0) * EPSILON * size);
        }
    }
}

// --------------------------------------------------------------------------------------------------------- activations

static void test_activation_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct activation_q8_32), 40);
    assert_int_equal(sizeof(struct activation_q8_256), 292);
    assert_int_equal(activation_bytes(ACTIVATION_F32, 0), 0);
    assert_int_equal(activation_bytes(ACTIVATION_F32, 7), 28);
    assert_int_equal(activation_bytes(ACTIVATION_Q8_PER_32, 96), 120);
    assert_int_equal(activation_bytes(ACTIVATION_Q8_PER_256, 512), 584);
    assert_true(activation_bytes(ACTIVATION_F32, UINT64_MAX / 2) == UINT64_MAX);
    assert_true(activation_bytes(ACTIVATION_Q8_PER_32, UINT64_MAX - 31) == UINT64_MAX);
    assert_true(activation_bytes(ACTIVATION_Q8_PER_256, UINT64_MAX - 255) == UINT64_MAX);
    float x[3] = {1.0f, -0.0f, NAN};
    float out[3];
    activation_quantize(ACTIVATION_F32, x, out, 3);
    assert_memory_equal(out, x, sizeof x);
}

// The one block of 32 in struct activation_q8_32, and the first of 256 padded with zeros, must agree.
static void check_activation(const float x[32], float scale, const int8_t q[32])
{
    struct activation_q8_32 per_32;
    struct activation_q8_256 per_256;
    float padded[256] = {0};
    int sum = 0;
    memcpy(padded, x, 32 * sizeof(float));
    activation_quantize(ACTIVATION_Q8_PER_32, x, &per_32, 32);
    activation_quantize(ACTIVATION_Q8_PER_256, padded, &per_256, 256);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(per_32.q[i], q[i]);
        assert_int_equal(per_256.q[i], q[i]);
        sum += q[i];
    }
    assert_int_equal(per_32.sum, sum);
    assert_int_equal(per_256.sums[0] + per_256.sums[1], sum);
    if (isnan(scale)) {
        assert_true(isnan(per_32.scale) && isnan(per_256.scale));
    } else {
        assert_true(per_32.scale == scale && per_256.scale == scale);
    }
}

static void test_activation_rounding(void **state)
{
    (void)state;
    const float x[32] = {127.0f,  0.5f,  1.5f,   2.5f,   -0.5f,   -1.5f,
                         -2.5f,   3.49f, 125.5f, 126.5f, -126.5f, 0.499999970197677612f,
                         -127.0f, 3.5f,  4.5f,   -3.5f};
    const int8_t q[32] = {127, 0, 2, 2, 0, -2, -2, 3, 126, 126, -126, 0, -127, 4, 4, -4};
    check_activation(x, 1.0f, q);

    // The same with a scale of 2^-10, and of 2^100: powers of two change nothing.
    float scaled[32];
    for (int i = 0; i < 32; i++)
        scaled[i] = x[i] * 0x1p-10f;
    check_activation(scaled, 0x1p-10f, q);
    for (int i = 0; i < 32; i++)
        scaled[i] = x[i] * 0x1p100f;
    check_activation(scaled, 0x1p100f, q);
}

static void test_activation_extremes(void **state)
{
    (void)state;
    const int8_t zeros[32] = {0};
    int8_t q[32] = {0};
    float x[32] = {0};
    check_activation(x, 0.0f, zeros);
    x[5] = -0.0f;
    check_activation(x, 0.0f, zeros);

    // Below the limit everything counts as zero, at the limit nothing does.
    x[5] = 0x1p-149f;
    check_activation(x, 0.0f, zeros);
    x[5] = -0x1.fffffep-120f;
    check_activation(x, 0.0f, zeros);
    x[5] = -ACTIVATION_ABSMAX_MIN;
    q[5] = -127;
    check_activation(x, ACTIVATION_ABSMAX_MIN / 127.0f, q);
    assert_true(ACTIVATION_ABSMAX_MIN / 127.0f >= 0x1p-126f);
    assert_true(isfinite(127.0f / ACTIVATION_ABSMAX_MIN));

    // The largest float, with something next to it that has to vanish.
    x[5] = -0x1.fffffep127f;
    x[6] = 0x1.fffffep127f;
    x[7] = 1.0f;
    q[6] = 127;
    check_activation(x, 0x1.fffffep127f / 127.0f, q);

    const float not_numbers[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        for (int at = 0; at < 32; at += 31) {
            float y[32];
            for (int e = 0; e < 32; e++)
                y[e] = random_normal();
            y[at] = not_numbers[i];
            check_activation(y, NAN, zeros);
        }
    }
    // And a NaN in an activation reaches the result, whatever the weights.
    struct activation_q8_32 activation;
    float y[32] = {0};
    const struct block_q8_0 zero_block = {{0}, {0}};
    y[17] = NAN;
    activation_quantize(ACTIVATION_Q8_PER_32, y, &activation, 32);
    assert_true(isnan(quant_traits(QUANT_Q8_0)->dot(&zero_block, &activation, 32)));
}

static void test_activation_random(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        float x[256];
        struct activation_q8_32 per_32[8];
        struct activation_q8_256 per_256;
        const float spread = ldexpf(1.0f, (int)random_bits(7) - 64);
        for (int e = 0; e < 256; e++)
            x[e] = spread * random_normal();
        activation_quantize(ACTIVATION_Q8_PER_32, x, per_32, 256);
        activation_quantize(ACTIVATION_Q8_PER_256, x, &per_256, 256);
        for (int kind = 0; kind < 2; kind++) {
            const int n = kind == 0 ? 32 : 256;
            for (int b = 0; b < 256 / n; b++) {
                const float scale = kind == 0 ? per_32[b].scale : per_256.scale;
                const int8_t *q = kind == 0 ? per_32[b].q : per_256.q;
                float absmax = 0.0f;
                for (int e = 0; e < n; e++)
                    absmax = fabsf(x[b * n + e]) > absmax ? fabsf(x[b * n + e]) : absmax;
                assert_true(scale == absmax / 127.0f);
                int sum = 0;
                int sums[16] = {0};
                for (int e = 0; e < n; e++) {
                    const float product = x[b * n + e] * (127.0f / absmax);
#if defined(__SSE2__)
                    assert_int_equal(q[e], _mm_cvtss_si32(_mm_set_ss(product)));
#else
                    assert_int_equal(q[e], (int)nearbyintf(product));
#endif
                    assert_true(q[e] >= -127);
                    sum += q[e];
                    sums[e / 16] += q[e];
                }
                if (kind == 0)
                    assert_int_equal(per_32[b].sum, sum);
                for (int s = 0; kind == 1 && s < 16; s++)
                    assert_int_equal(per_256.sums[s], sums[s]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_dot_products, seed_random),
        cmocka_unit_test_setup(test_dot_integers, seed_random),
        cmocka_unit_test_setup(test_dot_extremes, seed_random),
        cmocka_unit_test(test_activation_bytes),
        cmocka_unit_test(test_activation_rounding),
        cmocka_unit_test_setup(test_activation_extremes, seed_random),
        cmocka_unit_test_setup(test_activation_random, seed_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
