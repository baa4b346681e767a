// Element-wise and reducing operations on float arrays. Tails are done with masked loads and stores.
#include "kernels/avx2/avx2.h"

#include <math.h>

void TIER(rms_norm)(const float *x, const float *weight, float eps, float *out, uint64_t n)
{
    __m256 sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = _mm256_setzero_ps();
    uint64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int k = 0; k < 4; k++) {
            const __m256 v = _mm256_loadu_ps(x + i + 8 * k);
            sums[k] = _mm256_fmadd_ps(v, v, sums[k]);
        }
    }
    for (; i < n; i += 8) {
        const __m256 v = load_floats(x + i, n - i);
        sums[0] = _mm256_fmadd_ps(v, v, sums[0]);
    }
    const float sum = sum_of_lanes(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
    const __m256 scale = _mm256_set1_ps(1.0f / sqrtf(sum / (float)n + eps));
    for (i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(load_floats(x + i, n - i), scale);
        if (weight != NULL)
            v = _mm256_mul_ps(v, load_floats(weight + i, n - i));
        store_floats(out + i, n - i, v);
    }
}

// Four floats (n of them, zeros for the rest), each twice.
ALWAYS_INLINE __m256 load_twice(const float *p, uint32_t n)
{
    const __m256 v = n >= 4 ? _mm256_castps128_ps256(_mm_loadu_ps(p)) : load_floats(p, n);
    return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

static void rope_normal(float *x, uint32_t half, const float *cos, const float *sin)
{
    for (uint32_t i = 0; i < half; i += 4) {
        const uint32_t pairs = half - i < 4 ? half - i : 4;
        const __m256 c = load_twice(cos + i, pairs);
        const __m256 s = load_twice(sin + i, pairs);
        const __m256 v = load_floats(x + 2 * i, 2 * pairs);
        const __m256 swapped = _mm256_permute_ps(v, 0xb1);
        // Even lanes x0 cos - x1 sin, odd lanes x1 cos + x0 sin.
        store_floats(x + 2 * i, 2 * pairs, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s)));
    }
}

static void rope_neox(float *x, uint32_t half, const float *cos, const float *sin)
{
    for (uint32_t i = 0; i < half; i += 8) {
        const uint32_t n = half - i;
        const __m256 c = load_floats(cos + i, n);
        const __m256 s = load_floats(sin + i, n);
        const __m256 x0 = load_floats(x + i, n);
        const __m256 x1 = load_floats(x + half + i, n);
        store_floats(x + i, n, _mm256_fmsub_ps(x0, c, _mm256_mul_ps(x1, s)));
        store_floats(x + half + i, n, _mm256_fmadd_ps(x1, c, _mm256_mul_ps(x0, s)));
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
ALWAYS_INLINE __m256 glu_exponent(__m256 x, enum glu_kind kind)
{
    if (kind == GLU_SILU)
        return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
    const __m256 cubic = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(GELU_CUBIC), x), x);
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(-2.0f * GELU_SLOPE), x),
                         _mm256_add_ps(_mm256_set1_ps(1.0f), cubic));
}

ALWAYS_INLINE void glu(const float *gate, const float *up, float *out, uint64_t n, enum glu_kind kind)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    for (uint64_t i = 0; i < n; i += 8) {
        const __m256 g = load_floats(gate + i, n - i);
        const __m256 f = _mm256_div_ps(g, _mm256_add_ps(one, exp_avx2(glu_exponent(g, kind))));
        store_floats(out + i, n - i, up == NULL ? f : _mm256_mul_ps(f, load_floats(up + i, n - i)));
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
    const __m256 one = _mm256_set1_ps(1.0f), most = _mm256_set1_ps(CLAMPED_MOST), least = _mm256_set1_ps(-CLAMPED_MOST);
    for (uint64_t i = 0; i < n; i += 8) {
        const __m256 x = _mm256_min_ps(load_floats(gate + i, n - i), most);
        const __m256 u = _mm256_max_ps(least, _mm256_min_ps(load_floats(up + i, n - i), most));
        const __m256 e = exp_avx2(_mm256_mul_ps(x, _mm256_set1_ps(-CLAMPED_SLOPE)));
        store_floats(out + i, n - i, _mm256_mul_ps(_mm256_div_ps(x, _mm256_add_ps(one, e)), _mm256_add_ps(one, u)));
    }
}

void TIER(glu_relu2)(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8) {
        const __m256 x = _mm256_max_ps(load_floats(gate + i, n - i), _mm256_set1_ps(0.0f));
        const __m256 f = _mm256_mul_ps(x, x);
        store_floats(out + i, n - i, up == NULL ? f : _mm256_mul_ps(f, load_floats(up + i, n - i)));
    }
}

void TIER(add)(const float *a, const float *b, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 8)
        store_floats(out + i, n - i, _mm256_add_ps(load_floats(a + i, n - i), load_floats(b + i, n - i)));
}

float TIER(max)(const float *x, uint64_t n)
{
    // VMAXPS gives its second operand when one is a NaN, so a NaN in x leaves the maximum as it was.
    __m256 max[4];
    for (int k = 0; k < 4; k++)
        max[k] = _mm256_set1_ps(-INFINITY);
    uint64_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int k = 0; k < 4; k++)
            max[k] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8 * k), max[k]);
    for (; i < n; i += 8) {
        const __m256 valid = _mm256_castsi256_ps(first_lanes_8(n - i));
        max[0] = _mm256_max_ps(_mm256_blendv_ps(max[0], load_floats(x + i, n - i), valid), max[0]);
    }
    return max_of_lanes(_mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3])));
}

double TIER(sum_exp)(const float *x, float max, uint64_t n)
{
    const __m256 m = _mm256_set1_ps(max);
    double total = 0.0;
    for (uint64_t start = 0; start < n; start += 1024) {
        const uint64_t end = n - start < 1024 ? n : start + 1024;
        __m256 sum = _mm256_setzero_ps();
        for (uint64_t i = start; i < end; i += 8) {
            const __m256 valid = _mm256_castsi256_ps(first_lanes_8(end - i));
            const __m256 e = exp_avx2(_mm256_sub_ps(load_floats(x + i, end - i), m));
            sum = _mm256_add_ps(sum, _mm256_and_ps(valid, e));
        }
        total += (double)sum_of_lanes(sum);
    }
    return total;
}
