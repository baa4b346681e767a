// What the coded types share (quant.h: QUANT_CODED_TYPE_MAP): every value is a signed code times a scale,
//     w = scale[e / 16] * q[e],
// |q| at most 127, the product exact in f32. Whatever a format packs its codes into (nibbles that choose from a table,
// ternary digits, entries of a codebook and signs), its file unpacks to this, and the rest follows.
#ifndef CHORD_QUANT_CODED_H
#define CHORD_QUANT_CODED_H

#include "quant/blocks.h"
#include "quant/quant.h"

#include <stdint.h>

struct coded_values {
    int8_t q[SUPER_BLOCK];
    float scale[SUPER_BLOCK / 16];
};

// quant_unpack_<type>: n elements (1..256, a multiple of the block) from `blocks` on; the rest of *out stays as it is.
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) \
    void quant_unpack_##name(const void *blocks, uint32_t n, struct coded_values *out);
QUANT_CODED_TYPE_MAP(X)
#undef X

// result += y.scale * (scale[0] * float(dot of the lower 16) + scale[1] * float(dot of the upper 16)), block by block; with
// one scale for the 32 it is y.scale * (scale * float(their dot)).
static inline float coded_dot_32(float result, const int8_t *q, const float *scale, const struct activation_q8_32 *y)
{
    int32_t low = 0;
    int32_t high = 0;
    for (int e = 0; e < 16; e++) {
        low += q[e] * y->q[e];
        high += q[16 + e] * y->q[16 + e];
    }
    const float sum =
        scale[0] == scale[1] ? scale[0] * (float)(low + high) : scale[0] * (float)low + scale[1] * (float)high;
    return result + y->scale * sum;
}

// Types of one scale per block of 256: result += scale * y.scale * float(dot).
static inline float coded_dot_256(float result, const int8_t *q, const float *scale, const struct activation_q8_256 *y)
{
    int32_t dot = 0;
    for (int e = 0; e < SUPER_BLOCK; e++)
        dot += q[e] * y->q[e];
    return result + scale[0] * y->scale * (float)dot;
}

// Defines quant_unpack_<type> and quant_dequantize_<type> from
//     void unpack(const struct block_<type> *b, int8_t *q, float *scale)
// which fills one block's codes, and its scales of 16 elements each.
#define DEFINE_CODED(type, block_size)                                                 \
    void quant_unpack_##type(const void *blocks, uint32_t n, struct coded_values *out) \
    {                                                                                  \
        const struct block_##type *b = blocks;                                         \
        for (uint32_t e = 0; e < n; e += (block_size), b++)                            \
            unpack(b, out->q + e, out->scale + e / 16);                                \
    }                                                                                  \
    void quant_dequantize_##type(const void *row, float *out, uint64_t n)              \
    {                                                                                  \
        const struct block_##type *b = row;                                            \
        struct coded_values values;                                                    \
        for (uint64_t i = 0; i < n / (block_size); i++) {                              \
            unpack(b + i, values.q, values.scale);                                     \
            for (uint32_t e = 0; e < (block_size); e++)                                \
                out[i * (block_size) + e] = values.scale[e / 16] * (float)values.q[e]; \
        }                                                                              \
    }

// And quant_dot_<type>, with activations per 32.
#define DEFINE_CODED_PER_32(type, block_size)                                          \
    DEFINE_CODED(type, block_size)                                                     \
    float quant_dot_##type(const void *row, const void *activation_row, uint64_t n)    \
    {                                                                                  \
        const struct block_##type *b = row;                                            \
        const struct activation_q8_32 *y = activation_row;                             \
        struct coded_values values;                                                    \
        float result = 0.0f;                                                           \
        for (uint64_t i = 0; i < n / (block_size); i++) {                              \
            unpack(b + i, values.q, values.scale);                                     \
            for (uint32_t e = 0; e < (block_size); e += 32, y++)                       \
                result = coded_dot_32(result, values.q + e, values.scale + e / 16, y); \
        }                                                                              \
        return result;                                                                 \
    }

// With activations per 256.
#define DEFINE_CODED_PER_256(type)                                                  \
    DEFINE_CODED(type, SUPER_BLOCK)                                                 \
    float quant_dot_##type(const void *row, const void *activation_row, uint64_t n) \
    {                                                                               \
        const struct block_##type *b = row;                                         \
        const struct activation_q8_256 *y = activation_row;                         \
        struct coded_values values;                                                 \
        float result = 0.0f;                                                        \
        for (uint64_t i = 0; i < n / SUPER_BLOCK; i++) {                            \
            unpack(b + i, values.q, values.scale);                                  \
            result = coded_dot_256(result, values.q, values.scale, y + i);          \
        }                                                                           \
        return result;                                                              \
    }

static inline void coded_fill_scale(float *scale, uint32_t n, float value)
{
    for (uint32_t i = 0; i < n; i++)
        scale[i] = value;
}

#endif
