// The quantizers of the K types: a search for the scales and codes of one super-block that minimize the weighted
// squared error of its 256 values, sum of weight * (x - w)^2 with weight = |x| + the sub-block's mean |x|. (Values
// far from zero carry more of a dot product; the mean keeps the others from being given up.) See search.c for the
// method. Deterministic: IEEE arithmetic in a fixed order, four values at once. A super-block with a NaN or an infinity gets a NaN
// scale.
//
// With importances, one for each value, finite and >= 0, the weights are those of search_weights. Functions take NULL for none where
// they say so.
#ifndef CHORD_QUANT_SEARCH_H
#define CHORD_QUANT_SEARCH_H

#include <stddef.h>
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
// `importance`: [256] or NULL.
void search_affine(const float x[256], const float *importance, int sub_length, int q_max, int level_max,
                   struct affine_fit *fit);

// w = d * scales[s] * q
struct symmetric_fit {
    uint16_t d;
    int8_t scales[16]; // of the sub-blocks of 16, -level_limit..level_limit-1
    int8_t q[256];     // -q_limit..q_limit-1
};

// q_limit 4 or 32; level_limit 32 or 128.
// `importance`: [256] or NULL.
void search_symmetric(const float x[256], const float *importance, int q_limit, int level_limit,
                      struct symmetric_fit *fit);

// Of the value at `index`, and those after it; NULL when there are none.
static inline const float *search_importance_at(const float *importance, uint64_t index)
{
    return importance != NULL ? importance + index : NULL;
}

// The weights of a block of finite values, up to a factor: importance * sqrt(x^2 + the block's mean x^2), as it is usual with
// importance matrices (https://github.com/ggml-org/llama.cpp, pull request 4861), where the importance is the mean square of the inputs
// that the value is multiplied with. Importances that are all 0 count as equal.
void search_weights(const float *x, const float *importance, int n, float *weights);

// The types of 32 values, for which the search is only worth its while with importances.
struct fit_32 {
    uint16_t d, m; // halves
    uint8_t q[32];
};

// w = d * (q - q_limit); q_limit 8 or 16.
void search_symmetric_32(const float x[32], const float importance[32], int q_limit, struct fit_32 *fit);

// w = d * q + m; q_max 15 or 31.
void search_affine_32(const float x[32], const float importance[32], int q_max, struct fit_32 *fit);

// Defines quant_quantize_<type> and quant_quantize_weighted_<type> (quant.h) from
//     void quantize(const float *x, const float *importance, void *row, uint64_t n)
// whose `importance` is [n] or NULL.
#define DEFINE_QUANTIZERS(type)                                                                         \
    void quant_quantize_##type(const float *x, void *row, uint64_t n)                                   \
    {                                                                                                   \
        quantize(x, NULL, row, n);                                                                      \
    }                                                                                                   \
    void quant_quantize_weighted_##type(const float *x, const float *importance, void *row, uint64_t n) \
    {                                                                                                   \
        quantize(x, importance, row, n);                                                                \
    }

// Defines quant_quantize_weighted_<type> from `void pack(struct block_<type> *b, const uint8_t q[32])`.
#define DEFINE_WEIGHTED_SYMMETRIC_32(type, q_limit)                                                     \
    void quant_quantize_weighted_##type(const float *x, const float *importance, void *row, uint64_t n) \
    {                                                                                                   \
        struct block_##type *b = row;                                                                   \
        for (uint64_t i = 0; i < n / 32; i++) {                                                         \
            struct fit_32 fit;                                                                          \
            search_symmetric_32(x + 32 * i, importance + 32 * i, q_limit, &fit);                        \
            block_set_u16(b[i].d, fit.d);                                                               \
            pack(&b[i], fit.q);                                                                         \
        }                                                                                               \
    }

#define DEFINE_WEIGHTED_AFFINE_32(type, q_max)                                                          \
    void quant_quantize_weighted_##type(const float *x, const float *importance, void *row, uint64_t n) \
    {                                                                                                   \
        struct block_##type *b = row;                                                                   \
        for (uint64_t i = 0; i < n / 32; i++) {                                                         \
            struct fit_32 fit;                                                                          \
            search_affine_32(x + 32 * i, importance + 32 * i, q_max, &fit);                             \
            block_set_u16(b[i].d, fit.d);                                                               \
            block_set_u16(b[i].m, fit.m);                                                               \
            pack(&b[i], fit.q);                                                                         \
        }                                                                                               \
    }

#endif
