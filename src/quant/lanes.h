// Four floats at once, with the operations that every supported processor has: quant/ is built for the baseline of its
// architecture, and a search must give the same codes on all of them. Arithmetic operators work on f32x4 element by element.
#ifndef CHORD_QUANT_LANES_H
#define CHORD_QUANT_LANES_H

#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));

static inline f32x4 lanes_of(float x)
{
    return (f32x4){x, x, x, x};
}

static inline float lanes_sum(f32x4 x)
{
    return (x[0] + x[2]) + (x[1] + x[3]);
}

// Elements are no NaN.
static inline f32x4 lanes_clamp(f32x4 x, f32x4 low, f32x4 high)
{
#if defined(__SSE2__)
    return (f32x4)_mm_min_ps(_mm_max_ps((__m128)x, (__m128)low), (__m128)high);
#elif defined(__ARM_NEON)
    return (f32x4)vminq_f32(vmaxq_f32((float32x4_t)x, (float32x4_t)low), (float32x4_t)high);
#else
    for (int i = 0; i < 4; i++) {
        x[i] = x[i] < low[i] ? low[i] : x[i];
        x[i] = x[i] > high[i] ? high[i] : x[i];
    }
    return x;
#endif
}

// Cut towards zero. |x| < 2^31.
static inline f32x4 lanes_truncate(f32x4 x)
{
    return __builtin_convertvector(__builtin_convertvector(x, i32x4), f32x4);
}

#endif
