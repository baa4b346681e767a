// What the kernels of types with 32-element blocks share: four blocks per step, the group of activation_group_32, two
// blocks to a register.
#ifndef CHORD_KERNELS_AVX2_BLOCKS_32_H
#define CHORD_KERNELS_AVX2_BLOCKS_32_H

#include "kernels/avx2/avx2.h"

// Four blocks: codes in the order of activation_group_32 (unsigned, but for Q8_0), lanes 4b..4b+3 of d and m belonging to
// block b of each pair.
struct codes_32 {
    __m256i low[2], high[2];
    __m256 d[2], m[2]; // m: only of types with mins
};

// 16 bytes of each of two blocks: low nibbles are elements 0..15, high ones 16..31.
ALWAYS_INLINE __m256i low_nibbles(__m256i bytes)
{
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

ALWAYS_INLINE __m256i high_nibbles(__m256i bytes)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}

// 16 times bit e of `a` for element e in the lower lane, of `b` in the upper.
ALWAYS_INLINE __m256i fifth_bits(uint32_t a, uint32_t b)
{
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 5,
                                            5, 5, 5, 5, 5, 5, 5);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    const __m256i words = _mm256_set1_epi64x((long long)((uint64_t)b << 32 | a));
    const __m256i chosen = _mm256_and_si256(_mm256_shuffle_epi8(words, spread), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(chosen, bit), _mm256_set1_epi8(16));
}

ALWAYS_INLINE uint32_t load_u16(const uint8_t *p)
{
    return block_u16(p);
}

// The halves at p, p + stride, ... of four blocks, spread over the lanes of the two pairs.
ALWAYS_INLINE void load_four_halves(const uint8_t *p, uint64_t stride, __m256 pairs[2])
{
    const uint64_t words = (uint64_t)load_u16(p) | (uint64_t)load_u16(p + stride) << 16 |
                           (uint64_t)load_u16(p + 2 * stride) << 32 | (uint64_t)load_u16(p + 3 * stride) << 48;
    const __m256 f = _mm256_castps128_ps256(_mm_cvtph_ps(_mm_cvtsi64_si128((long long)words)));
    pairs[0] = _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    pairs[1] = _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
}

// Sums of each four products of the low and the high elements, unsigned codes up to 31; and of signed codes. `zero` is -8 *
// the sum of the activations over four lanes: signed codes may be made unsigned by 128.
#ifdef __AVXVNNI__
ALWAYS_INLINE __m256i dot_unsigned(__m256i low, __m256i high, __m256i y_low, __m256i y_high)
{
    return _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), low, y_low), high, y_high);
}

ALWAYS_INLINE __m256i dot_signed(__m256i low, __m256i high, __m256i y_low, __m256i y_high, __m256i zero)
{
    const __m256i sign = _mm256_set1_epi8(-128);
    const __m256i start = _mm256_slli_epi32(zero, 4);
    const __m256i dot = _mm256_dpbusd_avx_epi32(start, _mm256_xor_si256(low, sign), y_low);
    return _mm256_dpbusd_avx_epi32(dot, _mm256_xor_si256(high, sign), y_high);
}
#else
// 4 * 31 * 127 fits 16 bits.
ALWAYS_INLINE __m256i dot_unsigned(__m256i low, __m256i high, __m256i y_low, __m256i y_high)
{
    const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(low, y_low), _mm256_maddubs_epi16(high, y_high));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

// Magnitude times activation with the code's sign; 2 * 128 * 127 fits 16 bits, 4 * 128 * 127 does not.
ALWAYS_INLINE __m256i dot_signed(__m256i low, __m256i high, __m256i y_low, __m256i y_high, __m256i zero)
{
    (void)zero;
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i a = _mm256_maddubs_epi16(_mm256_abs_epi8(low), _mm256_sign_epi8(y_low, low));
    const __m256i b = _mm256_maddubs_epi16(_mm256_abs_epi8(high), _mm256_sign_epi8(y_high, high));
    return _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
}
#endif

enum codes_kind {
    CODES_ZERO_8,  // unsigned, zero point 8
    CODES_ZERO_16, // unsigned, zero point 16
    CODES_MIN,     // unsigned, with mins
    CODES_SIGNED,
};

// Adds the products of one group: d * scale * (codes . q + share of the zero point); for types with mins also
// m * scale * sum(q), from -2 * sum(q) in each of four lanes.
ALWAYS_INLINE void add_products_32(__m256 sums[2], const struct codes_32 *codes, const struct activation_group_32 *y,
                                   const enum codes_kind kind)
{
    for (int h = 0; h < 2; h++) {
        const __m256i y_low = _mm256_load_si256((const __m256i *)(const void *)y->low[2 * h]);
        const __m256i y_high = _mm256_load_si256((const __m256i *)(const void *)y->high[2 * h]);
        const __m256i zero = _mm256_load_si256((const __m256i *)(const void *)(y->zero + 8 * h));
        const __m256 scale = _mm256_load_ps(y->scale + 8 * h);
        __m256i dot = kind == CODES_SIGNED ? dot_signed(codes->low[h], codes->high[h], y_low, y_high, zero)
                                           : dot_unsigned(codes->low[h], codes->high[h], y_low, y_high);
        if (kind == CODES_ZERO_8)
            dot = _mm256_add_epi32(dot, zero);
        if (kind == CODES_ZERO_16)
            dot = _mm256_add_epi32(dot, _mm256_slli_epi32(zero, 1));
        if (kind == CODES_MIN) {
            const __m256 m = _mm256_mul_ps(_mm256_mul_ps(codes->m[h], _mm256_set1_ps(-0.125f)), scale);
            sums[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(zero), m, sums[h]);
        }
        sums[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(codes->d[h], scale), sums[h]);
    }
}

// Defines dot_<type> and matvec_<type> of the tier from `void unpack_<type>(const struct block_<type> x[4], struct codes_32 *)`.
// A last group of fewer than four blocks is padded with zeros on the stack.
#define DEFINE_MATVEC_32(type, kind)                                                                               \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                      \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                    \
    {                                                                                                              \
        const struct block_##type *x = (const struct block_##type *)row;                                           \
        const uint64_t n_groups = n / 128;                                                                         \
        const uint64_t n_rest = n / 32 % 4;                                                                        \
        struct codes_32 codes;                                                                                     \
        __m256 sums[MATVEC_MAX_COLUMNS][2];                                                                        \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            sums[c][0] = sums[c][1] = _mm256_setzero_ps();                                                         \
        for (uint64_t g = 0; g < n_groups; g++, x += 4) {                                                          \
            if (g % 2 == 0)                                                                                        \
                prefetch_stream(ahead, x, 8 * sizeof *x);                                                          \
            unpack_##type(x, &codes);                                                                              \
            for (uint32_t c = 0; c < n_columns; c++)                                                               \
                add_products_32(sums[c], &codes, (const struct activation_group_32 *)columns[c] + g, kind);        \
        }                                                                                                          \
        if (n_rest != 0) {                                                                                         \
            struct block_##type rest[4];                                                                           \
            memset(rest, 0, sizeof rest);                                                                          \
            memcpy(rest, x, n_rest * sizeof *x);                                                                   \
            unpack_##type(rest, &codes);                                                                           \
            for (uint32_t c = 0; c < n_columns; c++)                                                               \
                add_products_32(sums[c], &codes, (const struct activation_group_32 *)columns[c] + n_groups, kind); \
        }                                                                                                          \
        for (uint32_t c = 0; c < n_columns; c++)                                                                   \
            dots[c] = sum_of_lanes(_mm256_add_ps(sums[c][0], sums[c][1]));                                         \
    }                                                                                                              \
    DEFINE_MATVEC(type)

#endif
