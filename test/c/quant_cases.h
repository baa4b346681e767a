// What the tests of quant share: the list of types, where their halves lie, random numbers (SEED=<n> replays them).
#ifndef CHORD_TEST_QUANT_CASES_H
#define CHORD_TEST_QUANT_CASES_H

#include "coded_cases.h"

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/quant.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define MAX_BLOCK_BYTES 210

// Whose blocks hold their scales; the other one: test_i2_s.c.
static const uint32_t types[] = {
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) id,
    QUANT_BLOCK_SCALED_TYPE_MAP(X)
#undef X
};
#define N_TYPES (sizeof types / sizeof types[0])

// Offsets in a block of the half that multiplies the codes and of the half that does not (-1: none). Coded types, which have no
// such other half, have set_coded_scale instead.
struct layout {
    int d_at;
    int min_at;
};

static inline struct layout layout_of(uint32_t type)
{
    switch (type) {
    case QUANT_Q4_0:
    case QUANT_Q5_0:
    case QUANT_Q8_0:
        return (struct layout){0, -1};
    case QUANT_Q4_1:
    case QUANT_Q5_1:
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        return (struct layout){0, 2};
    case QUANT_Q2_K:
        return (struct layout){80, 82};
    case QUANT_Q3_K:
        return (struct layout){108, -1};
    case QUANT_Q6_K:
        return (struct layout){208, -1};
    default:
        return (struct layout){-1, -1};
    }
}

// ---------------------------------------------------------------------------------------------------------- randomness

static uint64_t random_state;

static inline uint64_t random_bits(int n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545f4914f6cdd1du) >> (64 - n);
}

static inline float random_unit(void)
{
    return (float)random_bits(24) * 0x1p-24f;
}

static inline float random_normal(void)
{
    float sum = 0.0f;
    for (int i = 0; i < 12; i++)
        sum += random_unit();
    return sum - 6.0f;
}

static inline int seed_random(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) | 1 : 0x9e3779b97f4a7c15u;
    return 0;
}

#endif
