// IEEE half precision and bfloat16, scalar, exact in both directions (round to nearest, ties to even).
#ifndef CHORD_BASE_HALF_H
#define CHORD_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_from_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// Exact; a NaN stays a NaN (made quiet).
static inline float float_from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) // infinity, NaN
        return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13 |
                               (magnitude > 0x7c00u ? 0x400000u : 0u));
    if (magnitude < 0x0400u) // zero, subnormal: magnitude * 2^-24 is exact in float
        return float_from_bits(sign | bits_from_float((float)magnitude * 0x1p-24f));
    return float_from_bits(sign | ((magnitude << 13) + 0x38000000u));
}

// Nearest half, ties to even; beyond 65519.99 becomes infinity; a NaN stays a NaN.
static inline uint16_t half_from_float(float f)
{
    const uint32_t bits = bits_from_float(f);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
    if (magnitude >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {
        // Adding 0.5 puts the unit of a subnormal half (2^-24) at the unit of the sum: hardware rounds.
        const float shifted = float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_from_float(shifted) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

static inline float float_from_bf16(uint16_t b)
{
    return float_from_bits((uint32_t)b << 16);
}

static inline uint16_t bf16_from_float(float f)
{
    uint32_t bits = bits_from_float(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    bits += 0x7fffu + (bits >> 16 & 1u);
    return (uint16_t)(bits >> 16);
}

#endif
