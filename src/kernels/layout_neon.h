// The order of prepared activations in the NEON tiers: natural, with the sums that zero points and mins need. Plain C:
// tests include it.
#ifndef CHORD_KERNELS_LAYOUT_NEON_H
#define CHORD_KERNELS_LAYOUT_NEON_H

#include <stdint.h>

// Four blocks of activation_q8_32, the last group of a column padded with zeros.
struct activation_group_32 {
    int8_t q[4][32];
    int32_t sum[4]; // of each block's q
    float scale[4];
};

// One block of activation_q8_256.
struct activation_block_256 {
    int8_t q[256];
    int16_t sums_32[8];  // of each 32 consecutive q
    int16_t sums_16[16]; // of each 16 consecutive q
    float scale;
    float padding[3];
};

#endif
