// Arithmetic of the trainer: single precision, or double in the gradient check (-DTRAINER_DOUBLE).
#ifndef CHORD_DEMO_MODEL_REAL_H
#define CHORD_DEMO_MODEL_REAL_H

#include <math.h>
#include <stdint.h>

#if defined(TRAINER_DOUBLE)
typedef double real;
#else
typedef float real;
#endif

#include <string.h>

// e^x. In single precision by range reduction and a polynomial that compilers vectorize (relative error below 3e-7);
// 0 and infinity are not reached: x is clamped to -87 .. 88.
static inline real real_exp(real x)
{
#if defined(TRAINER_DOUBLE)
    return exp(x);
#else
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float shift = 0x1.8p23f, n = (x * 0x1.715476p0f + shift) - shift;
    const float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1;
    p = p * r + 1;
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
#endif
}

// Counter-based random numbers (splitmix64): what a place in a step draws does not depend on the order of the work.
static inline uint64_t random_bits(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Uniform in [0, 1).
static inline double random_uniform(uint64_t seed, uint64_t index)
{
    return (double)(random_bits(seed, index) >> 11) * 0x1p-53;
}

#endif
