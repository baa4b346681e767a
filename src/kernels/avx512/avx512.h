// Private to the tiers avx512 (F, BW, VL, DQ, CD), avx512vnni (VNNI too) and avx512gfni (VBMI, VBMI2 and GFNI too): helpers,
// and what the files give to the init function. Contracts: kernels/kernels.h.
//
// Quantized matvec kernels read the weights as they lie in the file, unpack 64 codes at a time to unsigned bytes and
// multiply them with the activations by VPDPBUSD, or what stands in for it. One core gets half of what memory can give only if it has far more
// lines under way than out-of-order execution asks for, so every kernel prefetches its stream on two levels.
#ifndef CHORD_KERNELS_AVX512_AVX512_H
#define CHORD_KERNELS_AVX512_AVX512_H

#include "kernels/layout_x86.h"
#include "kernels/avx2/loads.h"
#include "kernels/kernels.h"
#include "kernels/matvec.h"
#include "kernels/tier.h"
#include "quant/blocks.h"

#include <immintrin.h>

// ---- helpers ---------------------------------------------------------------------------------------------------------

// The 32 bytes at p in both halves of the register: costs a load, no shuffle.
ALWAYS_INLINE __m512i load_twice_32(const void *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)p));
}

// The 16 bytes at p, p + stride, p + 2 * stride, p + 3 * stride.
ALWAYS_INLINE __m512i load_four_16(const void *p, uint64_t stride)
{
    const uint8_t *bytes = p;
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)bytes));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(bytes + stride)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(bytes + 2 * stride)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(bytes + 3 * stride)), 3);
}

// A row of GF2P8AFFINEQB's bit matrix: bit `to` of every result byte is bit `from` of the source byte. Rows are added up.
#define MATRIX_ROW(from, to) ((uint64_t)1 << (from) << 8 * (7 - (to)))
#define MATRIX_ROWS(from, to, width)                                               \
    (MATRIX_ROW(from, to) | ((width) > 1 ? MATRIX_ROW((from) + 1, (to) + 1) : 0) | \
     ((width) > 2 ? MATRIX_ROW((from) + 2, (to) + 2) | MATRIX_ROW((from) + 3, (to) + 3) : 0))

// The matrices of move_bits.
ALWAYS_INLINE __m512i move_matrix(const int lower, const int upper, const int to, const int width)
{
    const long long l = (long long)MATRIX_ROWS(lower, to, width), u = (long long)MATRIX_ROWS(upper, to, width);
    return _mm512_set_epi64(u, u, u, u, l, l, l, l);
}

// Of each of the lower 32 bytes bits `lower`..lower + width - 1, of each of the upper bits `upper`.., moved to bit `to`,
// and zeros. width: 1, 2 or 4. All constants.
ALWAYS_INLINE __m512i move_bits(__m512i bytes, const int lower, const int upper, const int to, const int width)
{
#ifdef __GFNI__
    return _mm512_gf2p8affine_epi64_epi8(bytes, move_matrix(lower, upper, to, width), 0);
#else
    const long long l = lower - to, u = upper - to; // VPRORVQ takes them modulo 64
    const __m512i moved = _mm512_rorv_epi64(bytes, _mm512_set_epi64(u, u, u, u, l, l, l, l));
    return _mm512_and_si512(moved, _mm512_set1_epi8((char)(((1 << width) - 1) << to)));
#endif
}

// ---- what VNNI adds --------------------------------------------------------------------------------------------------

// sum + the four products of each lane, u unsigned and at most 127 (2 * 127 * 127 fits 16 bits), q at least -127.
ALWAYS_INLINE __m512i add_dot(__m512i sum, __m512i u, __m512i q)
{
#ifdef __AVX512VNNI__
    return _mm512_dpbusd_epi32(sum, u, q);
#else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(u, q), _mm512_set1_epi16(1)));
#endif
}

// sum + the two products of each lane's 16-bit integers.
ALWAYS_INLINE __m512i add_dot_words(__m512i sum, __m512i a, __m512i b)
{
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(sum, a, b);
#else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#endif
}

// As add_dot for u up to 255, of which WIDE_BIAS is taken off first: without VPDPBUSD they become signed codes, whose
// magnitudes go with activations of the code's sign (2 * 128 * 127 fits 16 bits).
#ifdef __AVX512VNNI__
#define WIDE_BIAS 0
#else
#define WIDE_BIAS 128
#endif
ALWAYS_INLINE __m512i add_dot_wide(__m512i sum, __m512i u, __m512i q)
{
#ifdef __AVX512VNNI__
    return _mm512_dpbusd_epi32(sum, u, q);
#else
    const __m512i codes = _mm512_xor_si512(u, _mm512_set1_epi8(-128));
    const __m512i signed_q = _mm512_mask_sub_epi8(q, _mm512_movepi8_mask(codes), _mm512_setzero_si512(), q);
    return add_dot(sum, _mm512_abs_epi8(codes), signed_q);
#endif
}

// ---- more ------------------------------------------------------------------------------------------------------------

// Bit by bit (a & b) | c.
ALWAYS_INLINE __m512i and_or(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi64(a, b, c, 0xea);
}

// The halves in the lower 16 bits of the lanes.
ALWAYS_INLINE __m512 floats_of_halves(__m512i lanes)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(lanes));
}

// 16 floats from the 16-bit words of `words` (halves) that `index` selects.
ALWAYS_INLINE __m512 select_halves(__m512i index, __m512i words)
{
    return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(index, words)));
}

// Word index of select_halves for four headers `stride` words apart: lane l takes word first + stride * (l / 4).
ALWAYS_INLINE __m512i header_words(int first, int stride)
{
    const int w0 = first, w1 = first + stride, w2 = first + 2 * stride, w3 = first + 3 * stride;
    return _mm512_castsi256_si512(_mm256_setr_epi16((short)w0, (short)w0, (short)w0, (short)w0, (short)w1, (short)w1,
                                                    (short)w1, (short)w1, (short)w2, (short)w2, (short)w2, (short)w2,
                                                    (short)w3, (short)w3, (short)w3, (short)w3));
}

// e^x with a relative error below 2e-7: 2^n * P(r), n = round(x / ln 2), r = x - n ln 2 in two parts (Cody and Waite),
// P the Taylor polynomial of degree 6 on |r| <= ln 2 / 2. 0 below -87.3, infinity above 88.8, NaN stays NaN.
ALWAYS_INLINE __m512 exp_avx512(__m512 x)
{
    const __mmask16 nonzero = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
    const __m512 t = _mm512_min_ps(_mm512_set1_ps(88.8f), _mm512_max_ps(_mm512_set1_ps(-88.0f), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(t, _mm512_set1_ps(0x1.715476p0f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), t);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(1.0f / 720.0f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(nonzero, p, n);
}

// The first n (up to 16, 32, ...) lanes.
ALWAYS_INLINE __mmask16 first_lanes_16(uint64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
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
