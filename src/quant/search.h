// The quantizers of the K types: a search for the scales and codes of one super-block that minimize the weighted
// squared error of its 256 values, sum of weight * (x - w)^2 with weight = |x| + the sub-block's mean |x|. (Values
// far from zero carry more of a dot product; the mean keeps the others from being given up.) See search.c for the
// method. Deterministic: IEEE arithmetic in a fixed order, four values at once. A super-block with a NaN or an infinity gets a NaN
// scale.
#ifndef CHORD_QUANT_SEARCH_H
#define CHORD_QUANT_SEARCH_H

#include <stdint.h>

// w = d * scales[s] * q - dmin * mins[s]
struct affine_fit {
    uint16_t d; // half
    uint16_t dmin;
    uint8_t scales[16]; // of the 256 / sub_length sub-blocks, 0..level_max, and so are mins
    uint8_t mins[16];
    uint8_t q[256]; // 0..q_max
};

// sub_length 16 or 32; q_max 3, 15 or 31; level_max 15 or 63.
void search_affine(const float x[256], int sub_length, int q_max, int level_max, struct affine_fit *fit);

// w = d * scales[s] * q
struct symmetric_fit {
    uint16_t d;
    int8_t scales[16]; // of the sub-blocks of 16, -level_limit..level_limit-1
    int8_t q[256];     // -q_limit..q_limit-1
};

// q_limit 4 or 32; level_limit 32 or 128.
void search_symmetric(const float x[256], int q_limit, int level_limit, struct symmetric_fit *fit);

#endif
