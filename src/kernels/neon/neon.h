// Private to the NEON tiers: helpers, and what their files give to the init function. Contracts: kernels/kernels.h. Order
// of prepared activations: kernels/layout_neon.h.
//
// The folder is compiled for ARMv8.0 (products of bytes by SMULL, pairs of which fit 16 bits), with SDOT, and with SMMLA
// (which only the GEMM uses). Activation codes are never -128, so that two products of bytes always fit 16 bits.
#ifndef CHORD_KERNELS_NEON_NEON_H
#define CHORD_KERNELS_NEON_NEON_H

#include "kernels/kernels.h"
#include "kernels/matvec.h"
#include "kernels/layout_neon.h"
#include "kernels/tier.h"
#include "quant/blocks.h"

#include <arm_neon.h>
#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// ---- memory ----------------------------------------------------------------------------------------------------------

// Prefetches the `bytes` (a constant) of the stream that correspond to p. Running past the end is harmless.
ALWAYS_INLINE void prefetch_stream(struct prefetch ahead, const void *p, uint32_t bytes)
{
    const uintptr_t at = (uintptr_t)p;
    UNROLL
    for (uint32_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch((const void *)(at + ahead.far + i), 0, 2);
        __builtin_prefetch((const void *)(at + ahead.near + i), 0, 3);
    }
}

// The half at p.
ALWAYS_INLINE float load_half(const uint8_t p[2])
{
    __fp16 h;
    memcpy(&h, p, sizeof h);
    return h;
}

// The halves at p, p + stride, ...
ALWAYS_INLINE float32x4_t load_4_halves(const uint8_t *p, uint64_t stride)
{
    uint16_t h[4];
    for (int i = 0; i < 4; i++)
        memcpy(&h[i], p + stride * (uint64_t)i, sizeof h[i]);
    const uint16x4_t v = {h[0], h[1], h[2], h[3]};
    return vcvt_f32_f16(vreinterpret_f16_u16(v));
}

// The first n (up to 4) floats at p, zeros for the rest.
ALWAYS_INLINE float32x4_t load_floats(const float *p, uint64_t n)
{
    if (n >= 4)
        return vld1q_f32(p);
    float rest[4] = {0};
    memcpy(rest, p, n * sizeof *p);
    return vld1q_f32(rest);
}

ALWAYS_INLINE void store_floats(float *p, uint64_t n, float32x4_t v)
{
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    float rest[4];
    vst1q_f32(rest, v);
    memcpy(p, rest, n * sizeof *p);
}

// ---- arithmetic ------------------------------------------------------------------------------------------------------

// Intrinsics want literals where loops have a variable: a switch that inlining resolves.

ALWAYS_INLINE uint8x16_t shift_right(uint8x16_t v, const int n)
{
    switch (n) {
    case 1:
        return vshrq_n_u8(v, 1);
    case 2:
        return vshrq_n_u8(v, 2);
    case 3:
        return vshrq_n_u8(v, 3);
    case 4:
        return vshrq_n_u8(v, 4);
    case 5:
        return vshrq_n_u8(v, 5);
    case 6:
        return vshrq_n_u8(v, 6);
    case 7:
        return vshrq_n_u8(v, 7);
    default:
        return v;
    }
}

ALWAYS_INLINE uint8x16_t shift_left(uint8x16_t v, const int n)
{
    switch (n) {
    case 1:
        return vshlq_n_u8(v, 1);
    case 2:
        return vshlq_n_u8(v, 2);
    case 3:
        return vshlq_n_u8(v, 3);
    case 4:
        return vshlq_n_u8(v, 4);
    default:
        return v;
    }
}

// Bits `from`, from + 1, ... of every byte moved to `to`, and all but those of `mask` cleared.
ALWAYS_INLINE uint8x16_t move_bits(uint8x16_t v, const int from, const int to, const uint8_t mask)
{
    const uint8x16_t moved = from < to ? shift_left(v, to - from) : shift_right(v, from - to);
    return vandq_u8(moved, vdupq_n_u8(mask));
}

// Those bits put into `low`, which has zeros there.
ALWAYS_INLINE uint8x16_t insert_bits(uint8x16_t low, uint8x16_t v, const int from, const int to, const uint8_t mask)
{
    const uint8x16_t moved = from < to ? shift_left(v, to - from) : shift_right(v, from - to);
    return vbslq_u8(vdupq_n_u8(mask), moved, low);
}

// sum + v * scales[lane]
ALWAYS_INLINE int32x4_t add_scaled(int32x4_t sum, int32x4_t v, int32x4_t scales, const int lane)
{
    switch (lane) {
    case 0:
        return vmlaq_laneq_s32(sum, v, scales, 0);
    case 1:
        return vmlaq_laneq_s32(sum, v, scales, 1);
    case 2:
        return vmlaq_laneq_s32(sum, v, scales, 2);
    default:
        return vmlaq_laneq_s32(sum, v, scales, 3);
    }
}

// sum + a . b, spread over four lanes in an order of the tier's own.
ALWAYS_INLINE int32x4_t add_dot_16(int32x4_t sum, int8x16_t a, int8x16_t b)
{
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sum, a, b);
#else
    const int16x8_t products = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    return vpadalq_s16(sum, vmlal_high_s8(products, a, b));
#endif
}

// The dot product of 32 codes a of magnitude below 64, of which four products fit 16 bits, and b.
ALWAYS_INLINE int32x4_t dot_32_small(int8x16_t a0, int8x16_t a1, int8x16_t b0, int8x16_t b1)
{
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(vdotq_s32(vdupq_n_s32(0), a0, b0), a1, b1);
#else
    int16x8_t products = vmull_s8(vget_low_s8(a0), vget_low_s8(b0));
    products = vmlal_high_s8(products, a0, b0);
    products = vmlal_s8(products, vget_low_s8(a1), vget_low_s8(b1));
    return vpaddlq_s16(vmlal_high_s8(products, a1, b1));
#endif
}

// e^x with a relative error below 2e-7: 2^n * P(r), n = round(x / ln 2), r = x - n ln 2 in two parts (Cody and Waite),
// P the Taylor polynomial of degree 6 on |r| <= ln 2 / 2. 0 below -87.3; above 88.3 the value there (2e38); NaN stays NaN.
ALWAYS_INLINE float32x4_t exp_neon(float32x4_t x)
{
    const uint32x4_t zero = vcltq_f32(x, vdupq_n_f32(-87.3f));
    const float32x4_t t = vminq_f32(vdupq_n_f32(88.3f), vmaxq_f32(vdupq_n_f32(-87.3f), x)); // a NaN passes
    const float32x4_t n = vrndnq_f32(vmulq_f32(t, vdupq_n_f32(0x1.715476p0f)));
    float32x4_t r = vfmsq_f32(t, n, vdupq_n_f32(0x1.62e4p-1f));
    r = vfmsq_f32(r, n, vdupq_n_f32(0x1.7f7d1cp-20f));
    float32x4_t p = vdupq_n_f32(1.0f / 720.0f);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    // n is -126..127 here, so 2^n is a normal number made from its exponent.
    const int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    const float32x4_t e = vmulq_f32(p, vreinterpretq_f32_s32(power));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(e), zero));
}

// ---- slots -----------------------------------------------------------------------------------------------------------

uint64_t TIER(activation_f32_bytes)(uint64_t n);
void TIER(activation_f32)(const float *x, void *out, uint64_t n);
uint64_t TIER(activation_q8_32_bytes)(uint64_t n);
void TIER(activation_q8_32)(const float *x, void *out, uint64_t n);
uint64_t TIER(activation_q8_256_bytes)(uint64_t n);
void TIER(activation_q8_256)(const float *x, void *out, uint64_t n);

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) matvec_kernel TIER(matvec_##name);
QUANT_BLOCK_SCALED_TYPE_MAP(X)
#undef X

void TIER(rms_norm)(const float *x, const float *weight, float eps, float *out, uint64_t n);
void TIER(rope)(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot, enum rope_kind kind, const float *cos,
                const float *sin);
void TIER(glu_silu)(const float *gate, const float *up, float *out, uint64_t n);
void TIER(glu_gelu)(const float *gate, const float *up, float *out, uint64_t n);
void TIER(glu_clamped)(const float *gate, const float *up, float *out, uint64_t n);
void TIER(glu_relu2)(const float *gate, const float *up, float *out, uint64_t n);
void TIER(add)(const float *a, const float *b, float *out, uint64_t n);
float TIER(max)(const float *x, uint64_t n);
double TIER(sum_exp)(const float *x, float max, uint64_t n);

void TIER(kv_store_f16)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values);
void TIER(kv_store_q8_0)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values);
void TIER(attention_f16)(const struct attention_args *args);
void TIER(attention_q8_0)(const struct attention_args *args);
void TIER(attention_merge)(float *partials, uint32_t n, uint32_t head_dim, float *out);

#endif
