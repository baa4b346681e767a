// The order of prepared activations in the x86 tiers above scalar. Plain C: tests include it.
#ifndef CHORD_KERNELS_LAYOUT_X86_H
#define CHORD_KERNELS_LAYOUT_X86_H

#include <stdint.h>

// Four blocks of activation_q8_32, the last group of a column padded with zeros. Lane l below is a 32-bit lane of
// 16 (one register of 512 bits or two of 256); the products of block b end up in lanes 4b..4b+3.
struct activation_group_32 {
    int8_t low[4][16];  // elements 0..15 of each block
    int8_t high[4][16]; // elements 16..31
    int32_t zero[16];   // lane l: -2 * sum of block l / 4, so four lanes hold -8 * sum: the share of zero point 8
    float scale[16];    // lane l: of block l / 4
};

// Four blocks of activation_q8_256, the last group of a column padded with zeros.
struct activation_group_256 {
    int8_t q[4][256]; // natural order
    int32_t
        zero[4]
            [16]; // lane l: -128 * sum of q[4l..4l + 3] of each 64: the share of zero point 128 in lane l of products
    int16_t sums_32[4][8];    // of each 32 consecutive q
    int16_t sums_16[2][4][8]; // of each 16 consecutive q: of the first half of each block, then of the second
    float scale[16];          // lane l: of block l / 4
};

// activation_q8_row, by 256 elements, of which the last ones may be padding, zeros: 64 times the codes that I2_S takes from 64 bytes
// of two blocks, q[g][32 * b + j] being element 128 * b + 32 * g + j.
struct activation_row {
    float scale;
    int32_t sum;
    int32_t padding[14];
    int8_t q[][4][64];
};

#endif
