// Element-wise and reducing operations on float arrays. Tails are done with masked loads and stores.
#include "kernels/avx512/avx512.h"

#include <math.h>

void TIER(rms_norm)(const float *x, const float *weight, float eps, float *out, uint64_t n)
{
    __m512 sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = _mm512_setzero_ps();
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        for (int k = 0; k < 4; k++) {
            const __m512 v = _mm512_loadu_ps(x + i + 16 * k);
            sums[k] = _mm512_fmadd_ps(v, v, sums[k]);
        }
    }
    for (; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(first_lanes_16(n - i), x + i);
        sums[0] = _mm512_fmadd_ps(v, v, sums[0]);
    }
    const float sum =
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
    const __m512 scale = _mm512_set1_ps(1.0f / sqrtf(sum / (float)n + eps));
    for (i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes_16(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
        if (weight != NULL)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, weight + i));
        _mm512_mask_storeu_ps(out + i, m, v);
    }
}

static void rope_normal(float *x, uint32_t half, const float *cos, const float *sin)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (uint32_t i = 0; i < half; i += 8) {
        const __mmask16 pairs = first_lanes_16(half - i < 8 ? half - i : 8);
        const __mmask16 m = first_lanes_16(half - i < 8 ? 2 * (half - i) : 16);
        const __m512 c = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(pairs, cos + i));
        const __m512 s = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(pairs, sin + i));
        const __m512 v = _mm512_maskz_loadu_ps(m, x + 2 * i);
        const __m512 swapped = _mm512_permute_ps(v, 0xb1);
        // Even lanes x0 cos - x1 sin, odd lanes x1 cos + x0 sin.
        _mm512_mask_storeu_ps(x + 2 * i, m, _mm512_fmaddsub_ps(v, c, _mm512_mul_ps(swapped, s)));
    }
}

static void rope_neox(float *x, uint32_t half, const float *cos, const float *sin)
{
    for (uint32_t i = 0; i < half; i += 16) {
        const __mmask16 m = first_lanes_16(half - i);
        const __m512 c = _mm512_maskz_loadu_ps(m, cos + i);
        const __m512 s = _mm512_maskz_loadu_ps(m, sin + i);
        const __m512 x0 = _mm512_maskz_loadu_ps(m, x + i);
        const __m512 x1 = _mm512_maskz_loadu_ps(m, x + half + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_fmsub_ps(x0, c, _mm512_mul_ps(x1, s)));
        _mm512_mask_storeu_ps(x + half + i, m, _mm512_fmadd_ps(x1, c, _mm512_mul_ps(x0, s)));
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
ALWAYS_INLINE __m512 glu_exponent(__m512 x, enum glu_kind kind)
{
    if (kind == GLU_SILU)
        return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
    const __m512 cubic = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(GELU_CUBIC), x), x);
    return _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(-2.0f * GELU_SLOPE), x),
                         _mm512_add_ps(_mm512_set1_ps(1.0f), cubic));
}

ALWAYS_INLINE void glu(const float *gate, const float *up, float *out, uint64_t n, enum glu_kind kind)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    for (uint64_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes_16(n - i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        const __m512 f = _mm512_div_ps(g, _mm512_add_ps(one, exp_avx512(glu_exponent(g, kind))));
        _mm512_mask_storeu_ps(out + i, m, up == NULL ? f : _mm512_mul_ps(f, _mm512_maskz_loadu_ps(m, up + i)));
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
    const __m512 one = _mm512_set1_ps(1.0f), most = _mm512_set1_ps(CLAMPED_MOST), least = _mm512_set1_ps(-CLAMPED_MOST);
    for (uint64_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes_16(n - i);
        const __m512 x = _mm512_min_ps(_mm512_maskz_loadu_ps(m, gate + i), most);
        const __m512 u = _mm512_max_ps(least, _mm512_min_ps(_mm512_maskz_loadu_ps(m, up + i), most));
        const __m512 e = exp_avx512(_mm512_mul_ps(x, _mm512_set1_ps(-CLAMPED_SLOPE)));
        _mm512_mask_storeu_ps(out + i, m,
                              _mm512_mul_ps(_mm512_div_ps(x, _mm512_add_ps(one, e)), _mm512_add_ps(one, u)));
    }
}

void TIER(glu_relu2)(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes_16(n - i);
        const __m512 x = _mm512_max_ps(_mm512_maskz_loadu_ps(m, gate + i), _mm512_set1_ps(0.0f));
        const __m512 f = _mm512_mul_ps(x, x);
        _mm512_mask_storeu_ps(out + i, m, up == NULL ? f : _mm512_mul_ps(f, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

void TIER(add)(const float *a, const float *b, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 16) {
        const __mmask16 m = first_lanes_16(n - i);
        _mm512_mask_storeu_ps(out + i, m,
                              _mm512_add_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i)));
    }
}

float TIER(max)(const float *x, uint64_t n)
{
    // VMAXPS gives its second operand when one is a NaN, so a NaN in x leaves the maximum as it was.
    __m512 max[4];
    for (int k = 0; k < 4; k++)
        max[k] = _mm512_set1_ps(-INFINITY);
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int k = 0; k < 4; k++)
            max[k] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * k), max[k]);
    for (; i < n; i += 16)
        max[0] = _mm512_max_ps(_mm512_mask_loadu_ps(max[0], first_lanes_16(n - i), x + i), max[0]);
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3])));
}

double TIER(sum_exp)(const float *x, float max, uint64_t n)
{
    const __m512 m = _mm512_set1_ps(max);
    double total = 0.0;
    for (uint64_t start = 0; start < n; start += 1024) {
        const uint64_t end = n - start < 1024 ? n : start + 1024;
        __m512 sum = _mm512_setzero_ps();
        for (uint64_t i = start; i < end; i += 16) {
            const __mmask16 lanes = first_lanes_16(end - i);
            const __m512 e = exp_avx512(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), m));
            sum = _mm512_mask_add_ps(sum, lanes, sum, e);
        }
        total += (double)_mm512_reduce_add_ps(sum);
    }
    return total;
}
