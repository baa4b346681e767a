// The unpackers of the quantized GEMM.
#include "kernels/avx2/blocks_32.h"
#include "kernels/avx2/gemm_unpack.h"
#include "kernels/avx2/super_codes.h"

#include "base/half.h"

// ---- blocks of 32 ----------------------------------------------------------------------------------------------------

// The 32 nibbles of 16 bytes in natural order: low ones first.
ALWAYS_INLINE __m256i nibbles(const uint8_t qs[16])
{
    const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)qs));
    return _mm256_and_si256(_mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)), _mm256_set1_epi8(15));
}

ALWAYS_INLINE __m256i codes_of_q4_0(const struct block_q4_0 *x)
{
    return nibbles(x->qs);
}

ALWAYS_INLINE __m256i codes_of_q4_1(const struct block_q4_1 *x)
{
    return nibbles(x->qs);
}

ALWAYS_INLINE __m256i codes_of_q5_0(const struct block_q5_0 *x)
{
    return _mm256_or_si256(nibbles(x->qs), fifth_bits(load_u16(x->qh), load_u16(x->qh + 2)));
}

ALWAYS_INLINE __m256i codes_of_q5_1(const struct block_q5_1 *x)
{
    return _mm256_or_si256(nibbles(x->qs), fifth_bits(load_u16(x->qh), load_u16(x->qh + 2)));
}

// params[0..7]: the halves at p, p + stride, ..., of which n exist.
ALWAYS_INLINE void store_halves(uint32_t *params, const uint8_t *p, uint64_t stride, uint32_t n)
{
    uint16_t halves[8] = {0};
    for (uint32_t b = 0; b < n; b++, p += stride)
        halves[b] = block_u16(p);
    const __m256 floats = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)halves));
    _mm256_storeu_ps((float *)(void *)params, floats);
}

// Defines unpack_row_<type>, of n blocks that exist.
#define DEFINE_UNPACK_ROW(type, store_mins)                                                               \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n, struct row_block *row) \
    {                                                                                                     \
        for (uint32_t b = 0; b < n; b++)                                                                  \
            store_codes(row, b, codes_of_##type(x + b));                                                  \
        store_halves(row->params, x->d, sizeof *x, n);                                                    \
        store_mins;                                                                                       \
    }
#define STORE_MINS store_halves(row->params + PARAM_BLOCK_MIN, x->m, sizeof *x, n)

DEFINE_UNPACK_ROW(q4_0, )
DEFINE_UNPACK_ROW(q4_1, STORE_MINS)
DEFINE_UNPACK_ROW(q5_0, )
DEFINE_UNPACK_ROW(q5_1, STORE_MINS)

ALWAYS_INLINE void unpack_row_q8_0(const struct block_q8_0 *x, uint32_t n, struct row_block_wide *row)
{
    for (uint32_t b = 0; b < n; b++) {
#ifdef __AVXVNNI__
        store_codes(row, b, _mm256_xor_si256(load_32(x[b].qs), _mm256_set1_epi8(-128)));
#else
        for (uint32_t e = 0; e < 32; e++)
            row->codes[32 * b + e] = x[b].qs[e];
#endif
    }
    store_halves(row->params, x->d, sizeof *x, n);
}

// ---- super-blocks ----------------------------------------------------------------------------------------------------

ALWAYS_INLINE void unpack_row_q2_k(const struct block_q2_k *x, uint32_t n, struct row_block *row)
{
    (void)n;
    for (int v = 0; v < 8; v++)
        store_codes(row, (uint32_t)v, codes_of_q2_k(x, v));
    const struct scales_mins_16 both = scales_of_q2_k(x);
    store_scales_16(row, both.scales, both.mins);
    row->params[PARAM_D] = bits_from_float(load_half(x->d));
    row->params[PARAM_DMIN] = bits_from_float(-load_half(x->dmin));
}

// Defines unpack_row_<type> of a type with 16 scales and zero point 1 << zero_shift.
#define DEFINE_UNPACK_ROW_ZERO_16(type, zero_shift)                                                            \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n, struct row_block *row)      \
    {                                                                                                          \
        (void)n;                                                                                               \
        for (int v = 0; v < 8; v++)                                                                            \
            store_codes(row, (uint32_t)v, codes_of_##type(x, v));                                              \
        const __m256i scales = scales_of_##type(x);                                                            \
        const __m256i zeros = _mm256_slli_epi16(_mm256_sub_epi16(_mm256_setzero_si256(), scales), zero_shift); \
        store_scales_16(row, scales, zeros);                                                                   \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                               \
    }

// Defines unpack_row_<type> of a type with Q4_K's header.
#define DEFINE_UNPACK_ROW_SUB_32(type)                                                                    \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n, struct row_block *row) \
    {                                                                                                     \
        (void)n;                                                                                          \
        for (int v = 0; v < 8; v++)                                                                       \
            store_codes(row, (uint32_t)v, codes_of_##type(x, v));                                         \
        const struct scales_32 both = load_scales_32(x->scales);                                          \
        store_params(row, 0, scale_params(_mm256_castsi256_si128(both.scales)));                          \
        _mm_storeu_si128((__m128i *)(void *)(row->params + PARAM_MINS_32), both.mins);                    \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                          \
        row->params[PARAM_DMIN] = bits_from_float(-load_half(x->dmin));                                   \
    }

DEFINE_UNPACK_ROW_ZERO_16(q3_k, 2)
DEFINE_UNPACK_ROW_ZERO_16(q6_k, 5)
DEFINE_UNPACK_ROW_SUB_32(q4_k)
DEFINE_UNPACK_ROW_SUB_32(q5_k)

DEFINE_GEMM(q4_0, PANEL_ZERO_8, 32, 8)
DEFINE_GEMM(q4_1, PANEL_MIN, 32, 16)
DEFINE_GEMM(q5_0, PANEL_ZERO_16, 32, 8)
DEFINE_GEMM(q5_1, PANEL_MIN, 32, 16)
DEFINE_GEMM_OF(q8_0, PANEL_ZERO_128, 32, 8, panel_block_wide, row_block_wide, PANEL_WIDE_BLOCKS)
DEFINE_GEMM(q2_k, PANEL_SUB_16_MIN, 256, PARAM_D)
DEFINE_GEMM(q3_k, PANEL_SUB_16, 256, PARAM_D)
DEFINE_GEMM(q4_k, PANEL_SUB_32_MIN, 256, PARAM_MINS_32 + 4)
DEFINE_GEMM(q5_k, PANEL_SUB_32_MIN, 256, PARAM_MINS_32 + 4)
DEFINE_GEMM(q6_k, PANEL_SUB_16, 256, PARAM_D)
