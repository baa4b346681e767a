// quant: the rows of the type table, blocks against golden files (test/golden/quant/README.md), error bounds of the
// quantizers. Dot products and activations: test_quant_dot.c. CHORD_TEST_DIR is the folder test/ (default "test").
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

// --------------------------------------------------------------------------------------------------------------- files

static void *read_golden(const char *stem, const char *suffix, size_t *bytes)
{
    const char *folder = getenv("CHORD_TEST_DIR");
    char path[1024];
    char lower[32];
    size_t i = 0;
    for (; stem[i] != '\0'; i++)
        lower[i] = (char)(stem[i] >= 'A' && stem[i] <= 'Z' ? stem[i] + 32 : stem[i]);
    lower[i] = '\0';
    snprintf(path, sizeof path, "%s/golden/quant/%s%s", folder != NULL ? folder : "test", lower, suffix);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s: cannot be opened; run in the repository or set CHORD_TEST_DIR", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*bytes);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

// -------------------------------------------------------------------------------------------------------------- traits

static void test_traits(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *name;
        uint32_t block_size, block_bytes;
        enum activation_type activation;
    } expected[] = {
        {0, "F32", 1, 4, ACTIVATION_F32},
        {1, "F16", 1, 2, ACTIVATION_F32},
        {2, "Q4_0", 32, 18, ACTIVATION_Q8_PER_32},
        {3, "Q4_1", 32, 20, ACTIVATION_Q8_PER_32},
        {6, "Q5_0", 32, 22, ACTIVATION_Q8_PER_32},
        {7, "Q5_1", 32, 24, ACTIVATION_Q8_PER_32},
        {8, "Q8_0", 32, 34, ACTIVATION_Q8_PER_32},
        {10, "Q2_K", 256, 84, ACTIVATION_Q8_PER_256},
        {11, "Q3_K", 256, 110, ACTIVATION_Q8_PER_256},
        {12, "Q4_K", 256, 144, ACTIVATION_Q8_PER_256},
        {13, "Q5_K", 256, 176, ACTIVATION_Q8_PER_256},
        {14, "Q6_K", 256, 210, ACTIVATION_Q8_PER_256},
        {30, "BF16", 1, 2, ACTIVATION_F32},
        {20, "IQ4_NL", 32, 18, ACTIVATION_Q8_PER_32},
        {23, "IQ4_XS", 256, 136, ACTIVATION_Q8_PER_32},
        {34, "TQ1_0", 256, 54, ACTIVATION_Q8_PER_256},
        {35, "TQ2_0", 256, 66, ACTIVATION_Q8_PER_256},
        {39, "MXFP4", 32, 17, ACTIVATION_Q8_PER_32},
        {16, "IQ2_XXS", 256, 66, ACTIVATION_Q8_PER_32},
        {17, "IQ2_XS", 256, 74, ACTIVATION_Q8_PER_32},
        {18, "IQ3_XXS", 256, 98, ACTIVATION_Q8_PER_32},
        {19, "IQ1_S", 256, 50, ACTIVATION_Q8_PER_32},
        {21, "IQ3_S", 256, 110, ACTIVATION_Q8_PER_32},
        {22, "IQ2_S", 256, 82, ACTIVATION_Q8_PER_32},
        {29, "IQ1_M", 256, 56, ACTIVATION_Q8_PER_32},
        {40, "NVFP4", 64, 36, ACTIVATION_Q8_PER_32},
        {41, "Q1_0", 128, 18, ACTIVATION_Q8_PER_32},
        {42, "Q2_0", 64, 18, ACTIVATION_Q8_PER_32},
    };
    assert_int_equal(N_TYPES, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(expected[i].type);
        assert_non_null(t);
        assert_string_equal(t->name, expected[i].name);
        assert_int_equal(t->type, expected[i].type);
        assert_int_equal(t->block_size, expected[i].block_size);
        assert_int_equal(t->block_bytes, expected[i].block_bytes);
        assert_int_equal(t->activation, expected[i].activation);
        assert_ptr_equal(quant_traits_by_name(expected[i].name), t);
        assert_null(quant_unread_type_name(expected[i].type));
    }
    assert_null(quant_traits_by_name("q4_0"));
    assert_null(quant_traits_by_name(""));
    assert_null(quant_traits_by_name("I8"));
}

static void test_ids_without_a_row(void **state)
{
    (void)state;
    for (uint32_t id = 0; id <= 42; id++) // every id that ggml has given out
        assert_true((quant_traits(id) != NULL) != (quant_unread_type_name(id) != NULL));
    assert_string_equal(quant_unread_type_name(24), "I8");
    assert_non_null(strstr(quant_unread_type_name(31), "Q4_0_4_4"));
    assert_non_null(strstr(quant_unread_type_name(140), "IQ5_K"));
    assert_non_null(quant_unread_type_name(202));
    const uint32_t unknown[] = {43, 63, 64, 100, 200, 201, 400, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_null(quant_traits(unknown[i]));
        assert_null(quant_unread_type_name(unknown[i]));
    }
}

static void test_row_bytes(void **state)
{
    (void)state;
    uint64_t bytes;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        assert_true(quant_row_bytes(t->type, 0, &bytes));
        assert_int_equal(bytes, 0);
        assert_true(quant_row_bytes(t->type, 7 * (uint64_t)t->block_size, &bytes));
        assert_int_equal(bytes, 7 * (uint64_t)t->block_bytes);
        if (t->block_size > 1) {
            assert_false(quant_row_bytes(t->type, 1, &bytes));
            assert_false(quant_row_bytes(t->type, t->block_size - 1, &bytes));
            assert_false(quant_row_bytes(t->type, t->block_size + 1, &bytes));
        }
        // The largest number of blocks whose bytes fit, and one more.
        const uint64_t n_blocks = UINT64_MAX / t->block_bytes;
        if (n_blocks <= UINT64_MAX / t->block_size - 1) {
            assert_true(quant_row_bytes(t->type, n_blocks * t->block_size, &bytes));
            assert_true(bytes == n_blocks * t->block_bytes);
            assert_false(quant_row_bytes(t->type, (n_blocks + 1) * t->block_size, &bytes));
        }
    }
    assert_true(quant_row_bytes(QUANT_Q4_K, UINT64_MAX - 255, &bytes));
    assert_true(bytes == (UINT64_MAX - 255) / 256 * 144);
    assert_false(quant_row_bytes(QUANT_F32, UINT64_MAX / 4 + 1, &bytes));
    assert_false(quant_row_bytes(QUANT_Q8_0, UINT64_MAX - 31, &bytes));
    assert_false(quant_row_bytes(24, 256, &bytes));
    assert_false(quant_row_bytes(UINT32_MAX, 256, &bytes));
}

// -------------------------------------------------------------------------------------------------------------- golden

static void test_golden_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        if (t->type == QUANT_F32)
            continue;
        size_t blocks_bytes;
        size_t values_bytes;
        uint8_t *blocks = read_golden(t->name, ".blocks.bin", &blocks_bytes);
        float *values = read_golden(t->name, ".values.bin", &values_bytes);
        const uint64_t n = values_bytes / sizeof(float);
        uint64_t expected_bytes;
        assert_true(n >= 256);
        assert_true(quant_row_bytes(t->type, n, &expected_bytes));
        assert_int_equal(blocks_bytes, expected_bytes);

        // Once more from an odd address: rows have no alignment.
        for (int shift = 0; shift < 2; shift++) {
            uint8_t *moved = malloc(blocks_bytes + 1);
            float *out = malloc(values_bytes);
            memcpy(moved + shift, blocks, blocks_bytes);
            t->dequantize_row(moved + shift, out, n);
            for (uint64_t e = 0; e < n; e++) {
                if (bits_from_float(out[e]) != bits_from_float(values[e]))
                    fail_msg("%s: element %d is %a, not %a", t->name, (int)e, (double)out[e], (double)values[e]);
            }
            free(out);
            free(moved);
        }
        free(values);
        free(blocks);
    }
}

// Its quantizer is as llama.cpp's, not a search of chord's own.
static bool is_simple(const struct quant_traits *t)
{
    if (t->type == QUANT_TQ1_0 || t->type == QUANT_TQ2_0)
        return true;
    return t->block_size < 256 && t->type != QUANT_IQ4_NL;
}

static void test_golden_quantized(void **state)
{
    (void)state;
    size_t row_bytes;
    float *row = read_golden("row", ".bin", &row_bytes);
    const uint64_t n = row_bytes / sizeof(float);
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        if (t->type == QUANT_F32 || t->quantize_row == NULL)
            continue;
        size_t bytes;
        uint64_t expected_bytes;
        uint8_t *golden = read_golden(t->name, ".quantized.bin", &bytes);
        assert_true(quant_row_bytes(t->type, n, &expected_bytes));
        assert_int_equal(bytes, expected_bytes);
        uint8_t *own = malloc(bytes);
        t->quantize_row(row, own, n);
        if (is_simple(t)) {
            if (memcmp(own, golden, bytes) != 0)
                fail_msg("%s: blocks differ from the golden ones", t->name);
        } else {
            float *own_values = malloc(row_bytes);
            float *golden_values = malloc(row_bytes);
            t->dequantize_row(own, own_values, n);
            t->dequantize_row(golden, golden_values, n);
            // The first twelve super-blocks are alike, and are summed; each of the others is of its own kind.
            double own_error = 0.0;
            double golden_error = 0.0;
            for (uint64_t e = 0; e < n; e++) {
                own_error += pow((double)own_values[e] - (double)row[e], 2.0);
                golden_error += pow((double)golden_values[e] - (double)row[e], 2.0);
                if (e % 256 == 255 && e >= 12 * 256 - 1) {
                    if (getenv("VERBOSE") != NULL)
                        printf("%s, to %d: error / golden error %.4f\n", t->name, (int)e, own_error / golden_error);
                    if (own_error > golden_error)
                        fail_msg("%s, to %d: error %g, golden %g", t->name, (int)e, own_error, golden_error);
                    own_error = 0.0;
                    golden_error = 0.0;
                }
            }
            free(golden_values);
            free(own_values);
        }
        free(own);
        free(golden);
    }
    free(row);
}

// The searches (of the K types, IQ4_NL, IQ4_XS and MXFP4) round in a fixed order, so every compiler and machine
// must write the same blocks: FNV-1a of those of row.bin. A change of the search changes these numbers, and nothing else may.
static void test_searched_blocks_are_the_same_everywhere(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        uint64_t hash;
    } expected[] = {
        {QUANT_IQ4_NL, 0x78b0ba7c83df86df}, {QUANT_IQ4_XS, 0x471fcc3a77228d88}, {QUANT_MXFP4, 0x8923069897450e36},
        {QUANT_Q2_K, 0x44cae57eaaa9782f},   {QUANT_Q3_K, 0x47e1ef982452ad34},   {QUANT_Q4_K, 0x08605b7d5beea25e},
        {QUANT_Q5_K, 0x39c0b29a9a38b03c},   {QUANT_Q6_K, 0xb2bc6aa8df15385b},
    };
    size_t row_bytes;
    float *row = read_golden("row", ".bin", &row_bytes);
    const uint64_t n = row_bytes / sizeof(float);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct quant_traits *t = quant_traits(expected[i].type);
        uint64_t bytes;
        assert_true(quant_row_bytes(t->type, n, &bytes));
        uint8_t *blocks = malloc(bytes);
        t->quantize_row(row, blocks, n);
        uint64_t hash = 0xcbf29ce484222325u;
        for (uint64_t at = 0; at < bytes; at++)
            hash = (hash ^ blocks[at]) * 0x100000001b3u;
        free(blocks);
        if (hash != expected[i].hash)
            print_error("%s: 0x%016llx\n", t->name, (unsigned long long)hash);
        assert_true(hash == expected[i].hash);
    }
    free(row);
}

static void test_all_halves(void **state)
{
    (void)state;
    const struct quant_traits *f16 = quant_traits(QUANT_F16);
    const struct quant_traits *bf16 = quant_traits(QUANT_BF16);
    for (uint32_t code = 0; code < 0x10000; code++) {
        const uint8_t row[2] = {(uint8_t)code, (uint8_t)(code >> 8)};
        uint8_t back[2];
        float value;
        f16->dequantize_row(row, &value, 1);
        const int exponent = code >> 10 & 31;
        const double fraction = code & 0x3ff;
        double expected = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024.0 + fraction, exponent - 25);
        if (exponent == 31)
            expected = (double)INFINITY;
        if (exponent == 31 && fraction != 0.0) {
            assert_true(isnan(value));
        } else {
            assert_true((double)value == (code >> 15 ? -expected : expected));
            f16->quantize_row(&value, back, 1);
            assert_memory_equal(back, row, 2);
        }
        bf16->dequantize_row(row, &value, 1);
        assert_int_equal(bits_from_float(value), code << 16);
        bf16->quantize_row(&value, back, 1);
        if (isnan(value))
            assert_true((back[1] & 0x7f) == 0x7f && (back[0] & 0x80) != 0 && (back[0] & 0x7f) != 0);
        else
            assert_memory_equal(back, row, 2);
    }
    // Ties go to even, and what lies beyond the largest value becomes infinity.
    const float x[] = {0x1.002p0f, 0x1.006p0f, 65519.0f, 65520.0f, 0x1p-25f, 0x1.8p-24f, -0x1.002p0f};
    const uint16_t expected[] = {0x3c00, 0x3c02, 0x7bff, 0x7c00, 0x0000, 0x0002, 0xbc00};
    uint8_t out[sizeof expected];
    f16->quantize_row(x, out, 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(block_u16(out + 2 * i), expected[i]);
    const float y[] = {0x1.01p0f, 0x1.03p0f, 0x1.010002p0f, 0x1.fffffep127f};
    const uint16_t expected_bf16[] = {0x3f80, 0x3f82, 0x3f81, 0x7f80};
    bf16->quantize_row(y, out, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(block_u16(out + 2 * i), expected_bf16[i]);
}

// ---------------------------------------------------------------------------------------------------------- quantizers

// |x - w| of the simple types. With D the exact scale, each value is at most D / 2 from a code's value, or D where the
// code is cut off (Q4_0 and Q5_0, on the side that has one code less). The half d is off from D by at most D * 2^-11,
// which a code multiplies, and so is m from min; the float operations add less than 2^-20 of the largest value.
static void test_error_bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        double steps;     // D = range / steps
        double reach;     // largest |q - zero point|
        double unrounded; // in D
        bool affine;
    } rules[] = {
        {QUANT_Q8_0, 127, 127, 0.5, false}, {QUANT_Q4_0, 8, 8, 1.0, false},  {QUANT_Q5_0, 16, 16, 1.0, false},
        {QUANT_Q4_1, 15, 15, 0.5, true},    {QUANT_Q5_1, 31, 31, 0.5, true},
    };
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++) {
        const struct quant_traits *t = quant_traits(rules[r].type);
        for (int round = 0; round < 2000; round++) {
            float x[32];
            float w[32];
            uint8_t row[MAX_BLOCK_BYTES];
            const float spread = ldexpf(1.0f, (int)random_bits(4) - 6); // d stays a normal half
            const float centre = round % 3 == 0 ? 3.0f * random_normal() * spread : 0.0f;
            double min = INFINITY;
            double max = -INFINITY;
            for (int i = 0; i < 32; i++) {
                x[i] = centre + spread * random_normal();
                min = x[i] < min ? x[i] : min;
                max = x[i] > max ? x[i] : max;
            }
            t->quantize_row(x, row, 32);
            t->dequantize_row(row, w, 32);
            const double absmax = -min > max ? -min : max;
            const double scale = (rules[r].affine ? max - min : absmax) / rules[r].steps;
            const double bound = rules[r].unrounded * scale + rules[r].reach * scale * 0x1p-11 +
                                 (rules[r].affine ? fabs(min) * 0x1p-11 : 0.0) + absmax * 0x1p-20;
            for (int i = 0; i < 32; i++) {
                if (fabs((double)x[i] - (double)w[i]) > bound)
                    fail_msg("%s: %g became %g, bound %g", t->name, (double)x[i], (double)w[i], bound);
            }
        }
    }
}

// Values that lie on a type's grid come back: exactly where the scale is a power of two in the format as well, and up
// to the rounding of d and dmin to halves where the format divides by 15 or 63.
static void test_values_on_the_grid(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        int low, high; // codes without their offset
        bool exact;
    } grids[] = {
        {QUANT_Q4_0, -8, 7, true},    {QUANT_Q4_1, -8, 7, true},     {QUANT_Q5_0, -16, 15, true},
        {QUANT_Q5_1, -16, 15, true},  {QUANT_Q8_0, -127, 127, true}, {QUANT_Q3_K, -4, 3, true},
        {QUANT_Q6_K, -32, 31, true},  {QUANT_Q2_K, -1, 2, false},    {QUANT_Q4_K, -8, 7, false},
        {QUANT_Q5_K, -16, 15, false}, {QUANT_TQ1_0, -1, 1, true},    {QUANT_TQ2_0, -1, 1, true},
    };
    for (size_t i = 0; i < sizeof grids / sizeof grids[0]; i++) {
        const struct quant_traits *t = quant_traits(grids[i].type);
        const int n_codes = grids[i].high - grids[i].low + 1;
        for (int round = 0; round < 20; round++) {
            float x[256];
            float w[256];
            uint8_t row[8 * 34];
            double error = 0.0;
            for (int e = 0; e < 256; e++) {
                int code = grids[i].low + (int)(random_bits(16) % (uint64_t)n_codes);
                if (e % 16 < 2)
                    code = e % 16 == 0 ? grids[i].low : grids[i].high;
                x[e] = (float)code * 0x1p-6f;
            }
            t->quantize_row(x, row, 256);
            t->dequantize_row(row, w, 256);
            for (int e = 0; e < 256; e++) {
                if (grids[i].exact && w[e] != x[e])
                    fail_msg("%s: %a became %a", t->name, (double)x[e], (double)w[e]);
                error += pow((double)x[e] - (double)w[e], 2.0);
            }
            // Both halves off by 2^-11 of themselves: of at most n_codes steps times d, and of -low steps.
            assert_true(sqrt(error / 256.0) <= (n_codes - grids[i].low) * 0x1p-11 * 0x1p-6);
        }
    }
}

static void test_zeros(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        if (t->quantize_row == NULL)
            continue;
        const float zeros[256] = {0};
        float w[256];
        uint8_t row[1024];
        t->quantize_row(zeros, row, 256);
        t->dequantize_row(row, w, 256);
        for (int e = 0; e < 256; e++)
            assert_true(w[e] == 0.0f);
    }
}

static void test_hostile_values(void **state)
{
    (void)state;
    const float hostile[] = {
        NAN,       -NAN,       INFINITY,  -INFINITY, 0x1.fffffep127f, -0x1.fffffep127f,
        0x1p-149f, -0x1p-149f, 0x1p-126f, 0x1p-24f,  65504.0f,        1e5f,
        -1e30f,    0.0f,       -0.0f,     1e-10f,
    };
    const int n_hostile = (int)(sizeof hostile / sizeof hostile[0]);
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        for (int round = 0; t->quantize_row != NULL && round < 600; round++) {
            float x[256];
            float w[256];
            uint8_t row[1024];
            const float background = round % 4 == 0 ? 0.0f : hostile[4 + random_bits(16) % (n_hostile - 4)];
            const int n_placed = round % 5 * 50;
            const bool finite_only = round % 2 == 1;
            for (int e = 0; e < 256; e++)
                x[e] = background * (round % 3 == 0 ? 1.0f : random_unit());
            for (int p = 0; p < n_placed; p++) {
                const int k = (int)(random_bits(16) % (finite_only ? n_hostile - 4 : n_hostile));
                x[random_bits(8)] = hostile[finite_only ? k + 4 : k];
            }
            t->quantize_row(x, row, 256);
            t->dequantize_row(row, w, 256);
            if (t->block_size == 1)
                continue;
            for (uint32_t b = 0; b < 256; b += t->block_size) {
                bool finite = true;
                for (uint32_t e = b; e < b + t->block_size; e++)
                    finite = finite && isfinite(x[e]);
                for (uint32_t e = b; e < b + t->block_size; e++) {
                    if (!finite)
                        assert_true(t->type == QUANT_MXFP4 ? !isfinite(w[e]) : isnan(w[e]));
                    else if (t->block_size == 256)
                        assert_true(isfinite(w[e]));
                }
            }
        }
    }
}

// Small weights do not vanish while the format can still hold something of them: the root mean square error stays below
// that of zeros.
static void test_small_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        if (t->block_size != 256 || t->quantize_row == NULL || t->type == QUANT_TQ1_0 || t->type == QUANT_TQ2_0)
            continue; // ternary values lose more than half of them
        for (float spread = 1e-6f; spread < 1.0f; spread *= 10.0f) {
            float x[256];
            float w[256];
            uint8_t row[MAX_BLOCK_BYTES];
            double error = 0.0;
            double power = 0.0;
            for (int e = 0; e < 256; e++)
                x[e] = spread * random_normal();
            t->quantize_row(x, row, 256);
            t->dequantize_row(row, w, 256);
            for (int e = 0; e < 256; e++) {
                error += pow((double)x[e] - (double)w[e], 2.0);
                power += pow((double)x[e], 2.0);
            }
            assert_true(error < 0.25 * power);
        }
    }
}

static void test_quantizers_are_deterministic(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct quant_traits *t = quant_traits(types[i]);
        if (t->quantize_row == NULL)
            continue;
        float x[1024];
        uint8_t first[4096];
        uint8_t second[4097];
        uint64_t bytes;
        uint64_t half_bytes;
        for (int e = 0; e < 1024; e++)
            x[e] = random_normal();
        assert_true(quant_row_bytes(t->type, 1024, &bytes));
        assert_true(quant_row_bytes(t->type, 512, &half_bytes));
        memset(first, 0x55, sizeof first);
        memset(second, 0xaa, sizeof second);
        t->quantize_row(x, first, 1024);
        t->quantize_row(x, second + 1, 512); // blocks do not know their neighbours, nor their address
        t->quantize_row(x + 512, second + 1 + half_bytes, 512);
        assert_memory_equal(first, second + 1, bytes);
        for (uint64_t at = bytes; at < sizeof first; at++)
            assert_int_equal(first[at], 0x55);
        t->quantize_row(x, first, 0);
        t->dequantize_row(first, x, 0);
        assert_memory_equal(first, second + 1, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traits),
        cmocka_unit_test(test_ids_without_a_row),
        cmocka_unit_test(test_row_bytes),
        cmocka_unit_test(test_golden_values),
        cmocka_unit_test(test_golden_quantized),
        cmocka_unit_test(test_searched_blocks_are_the_same_everywhere),
        cmocka_unit_test(test_all_halves),
        cmocka_unit_test_setup(test_error_bounds, seed_random),
        cmocka_unit_test_setup(test_values_on_the_grid, seed_random),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test_setup(test_hostile_values, seed_random),
        cmocka_unit_test_setup(test_small_values, seed_random),
        cmocka_unit_test_setup(test_quantizers_are_deterministic, seed_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
