// What the kernel tests share: the types and tiers to go through, and what the kernels are fed with.
#ifndef CHORD_TEST_KERNEL_INPUTS_H
#define CHORD_TEST_KERNEL_INPUTS_H

#include "checkkern.h"

#include "base/half.h"
#include "kernels/kernels.h"
#include "os/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// ---- types and tiers -------------------------------------------------------------------------------------------------

// But the one whose blocks hold no scales: test_i2_s.c.
static const uint32_t all_types[] = {
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) id,
    QUANT_BLOCK_SCALED_TYPE_MAP(X)
#undef X
};

// Calls `test` with the table of each tier that the CPU has, at least scalar.
static void for_each_tier(void (*test)(const struct kernels *k))
{
    const char *only = getenv("CHORD_CPU");
    for (const char *const *name = kernels_tier_names(); *name != NULL; name++) {
        uint32_t features;
        struct kernels k;
        if (only != NULL && strcmp(only, *name) != 0)
            continue;
        if (!kernels_features_of_tier(*name, cpu_features(), &features)) {
            print_message("this CPU has no %s: not tested\n", *name);
            continue;
        }
        kernels_init(&k, features);
        assert_string_equal(k.tier, *name);
        test(&k);
    }
}

// ---- fills -----------------------------------------------------------------------------------------------------------

enum activation_fill {
    X_RANDOM,
    X_UNIT_SCALE, // integers with one +-127 per 32, so that scales are 1 and codes are the values
    X_EXTREMES,   // +-127 only
    X_POSITIVE,   // 127 only
    X_NEGATIVE,   // -127 only
    X_ZERO,
    X_WILD, // magnitudes from subnormal to large, single zero blocks
    N_X_FILLS
};

static void fill_activations(float *x, uint64_t n, enum activation_fill fill)
{
    for (uint64_t i = 0; i < n; i++) {
        const float sign = random_bits() & 1 ? 1.0f : -1.0f;
        switch (fill) {
        case X_RANDOM:
            x[i] = random_float(-3.0f, 3.0f) * random_float(0.0f, 1.0f);
            break;
        case X_UNIT_SCALE:
            x[i] = (float)random_int(-127, 127);
            break;
        case X_EXTREMES:
            x[i] = 127.0f * sign;
            break;
        case X_POSITIVE:
            x[i] = 127.0f;
            break;
        case X_NEGATIVE:
            x[i] = -127.0f;
            break;
        case X_WILD:
            x[i] = i / 32 % 5 == 3
                       ? 0.0f
                       : ldexpf(random_float(-1.0f, 1.0f), random_int(-30, 10) - (i / 256 % 7 == 2 ? 110 : 0));
            break;
        default:
            x[i] = 0.0f;
            break;
        }
    }
    if (fill == X_UNIT_SCALE)
        for (uint64_t b = 0; b + 32 <= n; b += 32)
            x[b + (uint64_t)random_int(0, 31)] = random_bits() & 1 ? 127.0f : -127.0f;
}

enum weight_fill {
    W_RANDOM,
    W_UNIT,      // random codes, scales of 1 and small sub-scales: results are integers
    W_ZERO_BITS, // all bytes 0
    W_ALL_BITS,  // all code bytes 0xff
    W_SIGN_BITS, // all code bytes 0x80: -128 in Q8_0
    W_D_ZERO,
    W_D_SUBNORMAL,
    W_D_LARGEST,
    W_D_NEGATIVE,
    N_W_FILLS
};

static void fill_float(uint32_t type, uint8_t *block, enum weight_fill fill)
{
    float f;
    switch (fill) {
    case W_ZERO_BITS:
    case W_D_ZERO:
        f = 0.0f;
        break;
    case W_UNIT:
        f = (float)random_int(-3, 3);
        break;
    case W_D_SUBNORMAL:
        f = 0x1p-24f;
        break;
    case W_D_LARGEST:
        f = 65280.0f; // a number in all three types
        break;
    default:
        f = random_float(-2.0f, 2.0f);
        break;
    }
    if (type == QUANT_F32)
        memcpy(block, &f, sizeof f);
    else
        block_set_u16(block, type == QUANT_F16 ? half_from_float(f) : bf16_from_float(f));
}

static uint16_t half_of_fill(enum weight_fill fill)
{
    switch (fill) {
    case W_UNIT:
    case W_ALL_BITS:
    case W_SIGN_BITS:
        return 0x3c00; // 1
    case W_ZERO_BITS:
    case W_D_ZERO:
        return 0;
    case W_D_SUBNORMAL:
        return (uint16_t)random_int(1, 0x3ff);
    case W_D_LARGEST:
        return 0x7bff;
    case W_D_NEGATIVE:
        return half_from_float(random_float(-0.1f, -0.01f));
    default:
        return half_from_float(random_float(-0.1f, 0.1f));
    }
}

static __attribute__((unused)) void fill_weights(uint32_t type, uint8_t *w, uint64_t bytes, enum weight_fill fill)
{
    const struct quant_traits *traits = quant_traits(type);
    for (uint64_t i = 0; i < bytes; i++)
        w[i] = fill == W_ZERO_BITS   ? 0
               : fill == W_ALL_BITS  ? 0xff
               : fill == W_SIGN_BITS ? 0x80
                                     : (uint8_t)random_bits();
    for (uint64_t at = 0; at < bytes; at += traits->block_bytes) {
        uint8_t *block = w + at;
        if (traits->activation == ACTIVATION_F32) {
            fill_float(type, block, fill);
            continue;
        }
        // Small sub-scales keep the sums of W_UNIT below 2^24.
        if (fill == W_UNIT && type == QUANT_Q6_K)
            for (int s = 0; s < 16; s++)
                ((struct block_q6_k *)block)->scales[s] = (int8_t)random_int(-2, 2);
        if (fill == W_UNIT && type == QUANT_Q3_K) // scales of 0: high bits 2
            for (int s = 0; s < 12; s++)
                ((struct block_q3_k *)block)->scales[s] = s < 8 ? (uint8_t)(random_bits() & 0x11) : 0xaa;
        if (fill == W_UNIT && (type == QUANT_Q4_K || type == QUANT_Q5_K))
            for (int s = 0; s < 12; s++)
                block[4 + s] = s < 8 ? (uint8_t)random_int(0, 3) : (uint8_t)(random_bits() & 0x33);
        if (is_coded(type)) {
            const bool unit = fill == W_UNIT || fill == W_ALL_BITS || fill == W_SIGN_BITS;
            if (fill == W_UNIT)
                shrink_coded_scales(type, block);
            set_coded_scale(type, block, unit ? coded_unit(type) : half_of_fill(fill));
            continue;
        }
        uint8_t *d, *min;
        block_halves(type, block, &d, &min);
        block_set_u16(d, half_of_fill(fill));
        if (min != NULL)
            block_set_u16(min, half_of_fill(fill));
    }
}

// Codes and scales of a column, plain.
static __attribute__((unused)) void plain_activations(enum activation_type type, const float *x, uint64_t n, int8_t *q,
                                                      float *scales)
{
    void *natural = malloc(activation_bytes(type, n) + 1);
    activation_quantize(type, x, natural, n);
    for (uint64_t b = 0; type == ACTIVATION_Q8_PER_32 && b < n / 32; b++) {
        const struct activation_q8_32 *y = (struct activation_q8_32 *)natural + b;
        memcpy(q + 32 * b, y->q, 32);
        scales[b] = y->scale;
    }
    for (uint64_t b = 0; type == ACTIVATION_Q8_PER_256 && b < n / 256; b++) {
        const struct activation_q8_256 *y = (struct activation_q8_256 *)natural + b;
        memcpy(q + 256 * b, y->q, 256);
        scales[b] = y->scale;
    }
    free(natural);
}

#endif
