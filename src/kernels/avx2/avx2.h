// Private to the tiers avx2 (AVX2, FMA, F16C, BMI2) and avxvnni (AVX-VNNI too): helpers, and what the files give to the init
// function.
// Contracts: kernels/kernels.h. Order of prepared activations: kernels/layout_x86.h.
//
// Quantized matvec kernels read the weights as they lie in the file, unpack 32 codes at a time to unsigned bytes and
// multiply them with the activations by VPMADDUBSW, whose pairs must fit 16 bits: codes up to 63 do, and true signed
// codes (Q8_0) go in as magnitude times activation with the code's sign. AVX-VNNI's VPDPBUSD and VPDPWSSD add as they
// multiply, without that bound.
#ifndef CHORD_KERNELS_AVX2_AVX2_H
#define CHORD_KERNELS_AVX2_AVX2_H

#include "kernels/kernels.h"
#include "kernels/matvec.h"
#include "kernels/tier.h"
#include "kernels/layout_x86.h"
#include "kernels/avx2/loads.h"
#include "quant/blocks.h"

#include <immintrin.h>
#include <string.h>

// ---- helpers ---------------------------------------------------------------------------------------------------------

// The 16 bytes at a in the lower lane, those at b in the upper.
ALWAYS_INLINE __m256i load_two_16(const void *a, const void *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                                   _mm_loadu_si128((const __m128i *)b), 1);
}

ALWAYS_INLINE float sum_of_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

ALWAYS_INLINE float max_of_lanes(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

// All ones in the first n (up to 8) 32-bit lanes.
ALWAYS_INLINE __m256i first_lanes_8(uint64_t n)
{
    const int count = n < 8 ? (int)n : 8;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The first n (up to 8) floats at p, zeros for the rest. Fewer than 8 go through the stack: VMASKMOVPS would do, but is slow
// on some processors and reads too far under QEMU 7.
ALWAYS_INLINE __m256 load_floats(const float *p, uint64_t n)
{
    if (n >= 8)
        return _mm256_loadu_ps(p);
    float rest[8] = {0};
    memcpy(rest, p, n * sizeof *p);
    return _mm256_loadu_ps(rest);
}

ALWAYS_INLINE void store_floats(float *p, uint64_t n, __m256 v)
{
    if (n >= 8) {
        _mm256_storeu_ps(p, v);
        return;
    }
    float rest[8];
    _mm256_storeu_ps(rest, v);
    memcpy(p, rest, n * sizeof *p);
}

// e^x with a relative error below 2e-7: 2^n * P(r), n = round(x / ln 2), r = x - n ln 2 in two parts (Cody and Waite),
// P the Taylor polynomial of degree 6 on |r| <= ln 2 / 2. 0 below -87.3; above 88.3 the value there (2e38); NaN stays NaN.
ALWAYS_INLINE __m256 exp_avx2(__m256 x)
{
    const __m256 nonzero = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_NLT_UQ);
    const __m256 t = _mm256_min_ps(_mm256_set1_ps(88.3f), _mm256_max_ps(_mm256_set1_ps(-87.3f), x));
    const __m256 n =
        _mm256_round_ps(_mm256_mul_ps(t, _mm256_set1_ps(0x1.715476p0f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), t);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    __m256 p = _mm256_set1_ps(1.0f / 720.0f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    // n is -126..127 here, so 2^n is a normal number made from its exponent.
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_and_ps(nonzero, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
}

// ---- slots -----------------------------------------------------------------------------------------------------------

uint64_t TIER(activation_f32_bytes)(uint64_t n);
void TIER(activation_f32)(const float *x, void *out, uint64_t n);
uint64_t TIER(activation_q8_32_bytes)(uint64_t n);
void TIER(activation_q8_32)(const float *x, void *out, uint64_t n);
uint64_t TIER(activation_q8_256_bytes)(uint64_t n);
void TIER(activation_q8_256)(const float *x, void *out, uint64_t n);
uint64_t TIER(activation_q8_row_bytes)(uint64_t n);
void TIER(activation_q8_row)(const float *x, void *out, uint64_t n);

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) matvec_kernel TIER(matvec_##name);
QUANT_TYPE_MAP(X)
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
