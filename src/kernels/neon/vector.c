// Element-wise and reducing operations on float arrays. The last few elements pass through the stack.
#include "kernels/neon/neon.h"

#include <math.h>

void TIER(rms_norm)(const float *x, const float *weight, float eps, float *out, uint64_t n)
{
    float32x4_t sums[4];
    for (int k = 0; k < 4; k++)
        sums[k] = vdupq_n_f32(0.0f);
    uint64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (uint64_t k = 0; k < 4; k++) {
            const float32x4_t v = vld1q_f32(x + i + 4 * k);
            sums[k] = vfmaq_f32(sums[k], v, v);
        }
    }
    for (; i < n; i += 4) {
        const float32x4_t v = load_floats(x + i, n - i);
        sums[0] = vfmaq_f32(sums[0], v, v);
    }
    const float sum = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
    const float scale = 1.0f / sqrtf(sum / (float)n + eps);
    for (i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_n_f32(load_floats(x + i, n - i), scale);
        if (weight != NULL)
            v = vmulq_f32(v, load_floats(weight + i, n - i));
        store_floats(out + i, n - i, v);
    }
}

static void rope_normal(float *x, uint32_t half, const float *cos, const float *sin)
{
    for (uint32_t i = 0; i < half; i += 4) {
        const uint32_t pairs = half - i < 4 ? half - i : 4;
        const float32x4_t c = load_floats(cos + i, pairs), s = load_floats(sin + i, pairs);
        float rest[8] = {0};
        float *at = x + 2 * i;
        if (pairs < 4)
            at = memcpy(rest, at, 2 * pairs * sizeof *x);
        const float32x4x2_t v = vld2q_f32(at);
        const float32x4x2_t turned = {{
            vfmsq_f32(vmulq_f32(v.val[0], c), v.val[1], s),
            vfmaq_f32(vmulq_f32(v.val[1], c), v.val[0], s),
        }};
        vst2q_f32(at, turned);
        if (pairs < 4)
            memcpy(x + 2 * i, rest, 2 * pairs * sizeof *x);
    }
}

static void rope_neox(float *x, uint32_t half, const float *cos, const float *sin)
{
    for (uint32_t i = 0; i < half; i += 4) {
        const uint32_t n = half - i;
        const float32x4_t c = load_floats(cos + i, n), s = load_floats(sin + i, n);
        const float32x4_t x0 = load_floats(x + i, n), x1 = load_floats(x + half + i, n);
        store_floats(x + i, n, vfmsq_f32(vmulq_f32(x0, c), x1, s));
        store_floats(x + half + i, n, vfmaq_f32(vmulq_f32(x1, c), x0, s));
    }
}

void TIER(rope)(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot, enum rope_kind kind, const float *cos,
                const float *sin)
{
    for (uint32_t h = 0; h < n_heads; h++, x += head_dim) {
        if (kind == ROPE_NORMAL)
            rope_normal(x, n_rot / 2, cos, sin);
        else
            rope_neox(x, n_rot / 2, cos, sin);
    }
}

// -x or -2u of kernels.h, whose exponential divides.
ALWAYS_INLINE float32x4_t glu_exponent(float32x4_t x, enum glu_kind kind)
{
    if (kind == GLU_SILU)
        return vnegq_f32(x);
    const float32x4_t cubic = vmulq_f32(vmulq_n_f32(x, GELU_CUBIC), x);
    return vmulq_f32(vmulq_n_f32(x, -2.0f * GELU_SLOPE), vaddq_f32(vdupq_n_f32(1.0f), cubic));
}

ALWAYS_INLINE void glu(const float *gate, const float *up, float *out, uint64_t n, enum glu_kind kind)
{
    for (uint64_t i = 0; i < n; i += 4) {
        const float32x4_t g = load_floats(gate + i, n - i);
        const float32x4_t f = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp_neon(glu_exponent(g, kind))));
        store_floats(out + i, n - i, up == NULL ? f : vmulq_f32(f, load_floats(up + i, n - i)));
    }
}

void TIER(glu_silu)(const float *gate, const float *up, float *out, uint64_t n)
{
    glu(gate, up, out, n, GLU_SILU);
}

void TIER(glu_gelu)(const float *gate, const float *up, float *out, uint64_t n)
{
    glu(gate, up, out, n, GLU_GELU);
}

void TIER(glu_clamped)(const float *gate, const float *up, float *out, uint64_t n)
{
    const float32x4_t one = vdupq_n_f32(1.0f), most = vdupq_n_f32(CLAMPED_MOST), least = vdupq_n_f32(-CLAMPED_MOST);
    for (uint64_t i = 0; i < n; i += 4) {
        const float32x4_t x = vminq_f32(load_floats(gate + i, n - i), most);
        const float32x4_t u = vmaxq_f32(least, vminq_f32(load_floats(up + i, n - i), most));
        const float32x4_t e = exp_neon(vmulq_f32(x, vdupq_n_f32(-CLAMPED_SLOPE)));
        store_floats(out + i, n - i, vmulq_f32(vdivq_f32(x, vaddq_f32(one, e)), vaddq_f32(one, u)));
    }
}

void TIER(glu_relu2)(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 4) {
        const float32x4_t x = vmaxq_f32(load_floats(gate + i, n - i), vdupq_n_f32(0.0f));
        const float32x4_t f = vmulq_f32(x, x);
        store_floats(out + i, n - i, up == NULL ? f : vmulq_f32(f, load_floats(up + i, n - i)));
    }
}

void TIER(add)(const float *a, const float *b, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 4)
        store_floats(out + i, n - i, vaddq_f32(load_floats(a + i, n - i), load_floats(b + i, n - i)));
}

// Comparisons with a NaN are false, so a NaN in x leaves the maximum as it was.
ALWAYS_INLINE float32x4_t larger(float32x4_t x, float32x4_t max)
{
    return vbslq_f32(vcgtq_f32(x, max), x, max);
}

float TIER(max)(const float *x, uint64_t n)
{
    float32x4_t max[4];
    for (int k = 0; k < 4; k++)
        max[k] = vdupq_n_f32(-INFINITY);
    uint64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (uint64_t k = 0; k < 4; k++)
            max[k] = larger(vld1q_f32(x + i + 4 * k), max[k]);
    for (; i + 4 <= n; i += 4)
        max[0] = larger(vld1q_f32(x + i), max[0]);
    for (; i < n; i++)
        max[0] = larger(vdupq_n_f32(x[i]), max[0]);
    return vmaxvq_f32(larger(larger(max[0], max[1]), larger(max[2], max[3])));
}

double TIER(sum_exp)(const float *x, float max, uint64_t n)
{
    const float32x4_t m = vdupq_n_f32(max);
    double total = 0.0;
    for (uint64_t start = 0; start < n; start += 1024) {
        const uint64_t end = n - start < 1024 ? n : start + 1024;
        float32x4_t sum = vdupq_n_f32(0.0f);
        uint64_t i = start;
        for (; i + 4 <= end; i += 4)
            sum = vaddq_f32(sum, exp_neon(vsubq_f32(vld1q_f32(x + i), m)));
        if (i < end) {
            float rest[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY}; // e^-infinity is 0
            memcpy(rest, x + i, (end - i) * sizeof *x);
            sum = vaddq_f32(sum, exp_neon(vsubq_f32(vld1q_f32(rest), m)));
        }
        total += (double)vaddvq_f32(sum);
    }
    return total;
}
