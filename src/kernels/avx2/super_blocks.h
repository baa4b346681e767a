// What the kernels of the K-quants share: super-blocks of 256, 32 codes to a register, integer sums over a super-block.
#ifndef CHORD_KERNELS_AVX2_SUPER_BLOCKS_H
#define CHORD_KERNELS_AVX2_SUPER_BLOCKS_H

#include "kernels/avx2/super_codes.h"

// sum + scale * (codes . q): codes up to 63, two products fit 16 bits. `scale` in every 16-bit word.
ALWAYS_INLINE __m256i add_scaled_dot(__m256i sum, __m256i codes, __m256i scale, const int8_t *q)
{
    const __m256i products = _mm256_maddubs_epi16(codes, _mm256_load_si256((const __m256i *)(const void *)q));
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(sum, products, scale);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(products, scale));
#endif
}

ALWAYS_INLINE const struct activation_group_256 *group_of(const void *column, uint64_t block)
{
    return (const struct activation_group_256 *)column + block / 4;
}

// ---- Q4_K, Q5_K: 8 sub-blocks of 32 with 6-bit scales and mins ---------------------------------------------------------

// Scale j of 8 in every word.
ALWAYS_INLINE __m256i scale_of_32(__m256i scales, int j)
{
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)((2 * j + 1) << 8 | 2 * j)));
}

ALWAYS_INLINE __m128 mins_of_32(struct scales_32 scales, const int16_t sums_32[8])
{
    return _mm_cvtepi32_ps(_mm_madd_epi16(scales.mins, _mm_load_si128((const __m128i *)(const void *)sums_32)));
}

// Defines dot_<type> and matvec_<type> of the tier.
#define DEFINE_MATVEC_SUB_32(type)                                                                                 \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                      \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                    \
    {                                                                                                              \
        const struct block_##type *x = (const struct block_##type *)row;                                           \
        __m256 sums[MATVEC_MAX_COLUMNS];                                                                           \
        __m128 mins[MATVEC_MAX_COLUMNS];                                                                           \
        for (uint32_t c = 0; c < n_columns; c++) {                                                                 \
            sums[c] = _mm256_setzero_ps();                                                                         \
            mins[c] = _mm_setzero_ps();                                                                            \
        }                                                                                                          \
        for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {                                                      \
            prefetch_stream(ahead, x, sizeof *x);                                                                  \
            const struct scales_32 scales = load_scales_32(x->scales);                                             \
            __m256i dot[MATVEC_MAX_COLUMNS];                                                                       \
            for (uint32_t c = 0; c < n_columns; c++)                                                               \
                dot[c] = _mm256_setzero_si256();                                                                   \
            for (int v = 0; v < 8; v++) {                                                                          \
                const __m256i codes = codes_of_##type(x, v);                                                       \
                const __m256i scale = scale_of_32(scales.scales, v);                                               \
                for (uint32_t c = 0; c < n_columns; c++)                                                           \
                    dot[c] = add_scaled_dot(dot[c], codes, scale, group_of(columns[c], b)->q[b % 4] + 32 * v);     \
            }                                                                                                      \
            const float d = load_half(x->d);                                                                       \
            const float dmin = load_half(x->dmin);                                                                 \
            for (uint32_t c = 0; c < n_columns; c++) {                                                             \
                const struct activation_group_256 *y = group_of(columns[c], b);                                    \
                const float scale = y->scale[4 * (b % 4)];                                                         \
                sums[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), _mm256_set1_ps(d * scale), sums[c]);         \
                mins[c] = _mm_fmadd_ps(mins_of_32(scales, y->sums_32[b % 4]), _mm_set1_ps(dmin * scale), mins[c]); \
            }                                                                                                      \
        }                                                                                                          \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            dots[c] = sum_of_lanes(_mm256_sub_ps(sums[c], _mm256_zextps128_ps256(mins[c])));                       \
    }                                                                                                              \
    DEFINE_MATVEC(type)

// ---- Q2_K, Q3_K, Q6_K: 16 sub-blocks of 16 -----------------------------------------------------------------------------

// `first` holds scales 0..7 in both lanes, `second` 8..15.
struct scales_16 {
    __m256i first, second;
};

ALWAYS_INLINE struct scales_16 spread_scales_16(__m256i scales)
{
    return (struct scales_16){
        .first = _mm256_permute4x64_epi64(scales, 0x44),
        .second = _mm256_permute4x64_epi64(scales, 0xee),
    };
}

// For register v (0..7) of 32 codes: scale 2v in the words of the lower lane, 2v + 1 in the upper.
ALWAYS_INLINE __m256i scale_of_16(struct scales_16 scales, int v)
{
    const short lower = (short)((4 * (v % 4) + 1) << 8 | 4 * (v % 4));
    const short upper = (short)(lower + 0x0202);
    const __m256i pick = _mm256_setr_epi16(lower, lower, lower, lower, lower, lower, lower, lower, upper, upper, upper,
                                           upper, upper, upper, upper, upper);
    return _mm256_shuffle_epi8(v < 4 ? scales.first : scales.second, pick);
}

// Of super-block s of a group: sum over sub-blocks of scale * sum(q), spread over 8 lanes.
ALWAYS_INLINE __m256i scaled_sums_16(__m256i scales, const struct activation_group_256 *y, uint64_t s)
{
    const __m128i first = _mm_load_si128((const __m128i *)(const void *)y->sums_16[0][s]);
    const __m128i second = _mm_load_si128((const __m128i *)(const void *)y->sums_16[1][s]);
    return _mm256_madd_epi16(scales, _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1));
}

// Defines dot_<type> and matvec_<type> of the tier, for a type with zero point 1 << zero_shift.
#define DEFINE_MATVEC_ZERO_16(type, zero_shift)                                                                \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                  \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                \
    {                                                                                                          \
        const struct block_##type *x = (const struct block_##type *)row;                                       \
        __m256 sums[MATVEC_MAX_COLUMNS];                                                                       \
        for (uint32_t c = 0; c < n_columns; c++)                                                               \
            sums[c] = _mm256_setzero_ps();                                                                     \
        for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {                                                  \
            prefetch_stream(ahead, x, sizeof *x);                                                              \
            const __m256i scales = scales_of_##type(x);                                                        \
            const struct scales_16 spread = spread_scales_16(scales);                                          \
            __m256i dot[MATVEC_MAX_COLUMNS];                                                                   \
            for (uint32_t c = 0; c < n_columns; c++)                                                           \
                dot[c] = _mm256_setzero_si256();                                                               \
            for (int v = 0; v < 8; v++) {                                                                      \
                const __m256i codes = codes_of_##type(x, v);                                                   \
                const __m256i scale = scale_of_16(spread, v);                                                  \
                for (uint32_t c = 0; c < n_columns; c++)                                                       \
                    dot[c] = add_scaled_dot(dot[c], codes, scale, group_of(columns[c], b)->q[b % 4] + 32 * v); \
            }                                                                                                  \
            const float d = load_half(x->d);                                                                   \
            for (uint32_t c = 0; c < n_columns; c++) {                                                         \
                const struct activation_group_256 *y = group_of(columns[c], b);                                \
                const __m256i zero = _mm256_slli_epi32(scaled_sums_16(scales, y, b % 4), zero_shift);          \
                const __m256 products = _mm256_cvtepi32_ps(_mm256_sub_epi32(dot[c], zero));                    \
                sums[c] = _mm256_fmadd_ps(products, _mm256_set1_ps(d * y->scale[4 * (b % 4)]), sums[c]);       \
            }                                                                                                  \
        }                                                                                                      \
        for (uint32_t c = 0; c < n_columns; c++)                                                               \
            dots[c] = sum_of_lanes(sums[c]);                                                                   \
    }                                                                                                          \
    DEFINE_MATVEC(type)

#endif
