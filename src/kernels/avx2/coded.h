// The coded types (quant/coded.h) by 256-bit registers, for the tiers of this folder, avx512 and amx: 32 signed codes at a time
// in natural order, for matvec kernels and for the unpackers of the GEMM. Their magnitudes are multiplied with the activations
// of the codes' signs, so that there is no zero point and the two halves of 32 may have scales of their own.
#ifndef CHORD_KERNELS_AVX2_CODED_H
#define CHORD_KERNELS_AVX2_CODED_H

#ifdef __AVX512F__
#include "kernels/avx512/avx512.h"
#else
#include "kernels/avx2/avx2.h"
#endif
#include "quant/codebooks.h"
#include "quant/coded.h"

struct signed_codes {
    __m256i q;
    float low, high; // scales of elements 0..15 and 16..31
};

ALWAYS_INLINE float float_of_half(const uint8_t p[2])
{
    return _cvtsh_ss(block_u16(p));
}

ALWAYS_INLINE __m256i dot_of_32(__m256i sum, __m256i u, __m256i y)
{
#if defined(__AVX512VNNI__)
    return _mm256_dpbusd_epi32(sum, u, y);
#elif defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(sum, u, y);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(u, y), _mm256_set1_epi16(1)));
#endif
}

// Negative where bit e of `signs` is set for element e.
ALWAYS_INLINE __m256i negate_by_bits(__m256i q, uint32_t signs)
{
#ifdef __AVX512VL__
    return _mm256_mask_sub_epi8(q, signs, _mm256_setzero_si256(), q);
#else
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3,
                                            3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)signs), spread);
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    return _mm256_sub_epi8(_mm256_xor_si256(q, set), set);
#endif
}

ALWAYS_INLINE __m256i entries_of_8(const uint64_t *codebook, uint32_t i0, uint32_t i1, uint32_t i2, uint32_t i3)
{
    return _mm256_set_epi64x((long long)codebook[i3], (long long)codebook[i2], (long long)codebook[i1],
                             (long long)codebook[i0]);
}

// ---- nibbles that choose from a table --------------------------------------------------------------------------------

ALWAYS_INLINE __m256i table_of_16(const int8_t table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

// Low nibbles of 16 bytes first.
ALWAYS_INLINE __m256i choose_by_nibbles(const int8_t table[16], const uint8_t qs[16])
{
    const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)qs));
    const __m256i moved = _mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
    return _mm256_shuffle_epi8(table_of_16(table), _mm256_and_si256(moved, _mm256_set1_epi8(15)));
}

static const int8_t codes_iq4[16] = CODES_IQ4;
static const int8_t codes_fp4[16] = CODES_FP4;

ALWAYS_INLINE struct signed_codes signed_iq4_nl(const struct block_iq4_nl *x, uint32_t s)
{
    (void)s;
    const float d = float_of_half(x->d);
    return (struct signed_codes){choose_by_nibbles(codes_iq4, x->qs), d, d};
}

ALWAYS_INLINE struct signed_codes signed_iq4_xs(const struct block_iq4_xs *x, uint32_t s)
{
    const float d = float_of_half(x->d) * (float)iq4_xs_scale(x, (int)s);
    return (struct signed_codes){choose_by_nibbles(codes_iq4, x->qs + 16 * s), d, d};
}

ALWAYS_INLINE struct signed_codes signed_mxfp4(const struct block_mxfp4 *x, uint32_t s)
{
    (void)s;
    const float d = mxfp4_scale(x->e);
    return (struct signed_codes){choose_by_nibbles(codes_fp4, x->qs), d, d};
}

// nvfp4_scale: moved up by 7, its bits are those of a half 256 times smaller, subnormal ones included.
ALWAYS_INLINE float scale_of_nvfp4(uint8_t d)
{
    return 128.0f * _cvtsh_ss((unsigned short)(d == 127 ? 0 : (d & 127) << 7));
}

// The nibbles of 8 bytes, low ones first, are 16 elements.
ALWAYS_INLINE struct signed_codes signed_nvfp4(const struct block_nvfp4 *x, uint32_t s)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(x->qs + 16 * s));
    const __m256i twice = _mm256_permute4x64_epi64(_mm256_castsi128_si256(bytes), 0x50);
    const __m256i moved = _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 4, 0, 4));
    const __m256i q = _mm256_shuffle_epi8(table_of_16(codes_fp4), _mm256_and_si256(moved, _mm256_set1_epi8(15)));
    return (struct signed_codes){q, scale_of_nvfp4(x->d[2 * s]), scale_of_nvfp4(x->d[2 * s + 1])};
}

// ---- bits ------------------------------------------------------------------------------------------------------------

ALWAYS_INLINE struct signed_codes signed_q1_0(const struct block_q1_0 *x, uint32_t s)
{
    const float d = float_of_half(x->d);
    return (struct signed_codes){negate_by_bits(_mm256_set1_epi8(1), ~block_u32(x->qs + 4 * s)), d, d};
}

ALWAYS_INLINE struct signed_codes signed_q2_0(const struct block_q2_0 *x, uint32_t s)
{
    const uint64_t twos = 0x0303030303030303u;
    const float d = float_of_half(x->d);
    const uint32_t low = block_u32(x->qs + 8 * s), high = block_u32(x->qs + 8 * s + 4);
    const __m256i q = _mm256_set_epi64x((long long)_pdep_u64(high >> 16, twos), (long long)_pdep_u64(high, twos),
                                        (long long)_pdep_u64(low >> 16, twos), (long long)_pdep_u64(low, twos));
    return (struct signed_codes){_mm256_sub_epi8(q, _mm256_set1_epi8(1)), d, d};
}

// ---- codebooks -------------------------------------------------------------------------------------------------------

ALWAYS_INLINE struct signed_codes signed_iq2_xxs(const struct block_iq2_xxs *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 8 * s;
    const uint32_t word = block_u32(qs + 4);
    const float d = 0.125f * float_of_half(x->d) * (float)(int)(2 * (word >> 28) + 1);
    const __m256i entries = entries_of_8(codebook_iq2_xxs, qs[0], qs[1], qs[2], qs[3]);
    return (struct signed_codes){negate_by_bits(entries, codebook_signs(word)), d, d};
}

ALWAYS_INLINE struct signed_codes signed_iq2_xs(const struct block_iq2_xs *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 8 * s;
    const uint32_t a = block_u32(qs), b = block_u32(qs + 4);
    const uint32_t signs =
        (a >> 9 & 0x7f) | (a >> 25) << 7 | (b >> 9 & 0x7f) << 14 | (b >> 25) << 21; // as codebook_signs wants them
    const float d = 0.125f * float_of_half(x->d);
    const __m256i entries = entries_of_8(codebook_iq2_xs, a & 511, a >> 16 & 511, b & 511, b >> 16 & 511);
    return (struct signed_codes){negate_by_bits(entries, codebook_signs(signs)),
                                 d * (float)(2 * (x->scales[s] & 15) + 1), d * (float)(2 * (x->scales[s] >> 4) + 1)};
}

ALWAYS_INLINE struct signed_codes signed_iq2_s(const struct block_iq2_s *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 4 * s;
    const uint32_t high = x->qh[s];
    const float d = 0.125f * float_of_half(x->d);
    const __m256i entries = entries_of_8(codebook_iq2_s, qs[0] | (high << 8 & 0x300), qs[1] | (high << 6 & 0x300),
                                         qs[2] | (high << 4 & 0x300), qs[3] | (high << 2 & 0x300));
    return (struct signed_codes){negate_by_bits(entries, block_u32(x->signs + 4 * s)),
                                 d * (float)(2 * (x->scales[s] & 15) + 1), d * (float)(2 * (x->scales[s] >> 4) + 1)};
}

ALWAYS_INLINE struct signed_codes signed_iq3_xxs(const struct block_iq3_xxs *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 8 * s;
    const uint32_t *t = codebook_iq3_xxs;
    const uint32_t word = block_u32(x->signs_scales + 4 * s);
    const float d = 0.25f * float_of_half(x->d) * (float)(int)(2 * (word >> 28) + 1);
    const __m256i entries = _mm256_setr_epi32((int)t[qs[0]], (int)t[qs[1]], (int)t[qs[2]], (int)t[qs[3]], (int)t[qs[4]],
                                              (int)t[qs[5]], (int)t[qs[6]], (int)t[qs[7]]);
    return (struct signed_codes){negate_by_bits(entries, codebook_signs(word)), d, d};
}

ALWAYS_INLINE struct signed_codes signed_iq3_s(const struct block_iq3_s *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 8 * s;
    const uint32_t *t = codebook_iq3_s;
    const uint32_t h = x->qh[s];
    const float d = float_of_half(x->d) * (float)(2 * (x->scales[s / 2] >> 4 * (s % 2) & 15) + 1);
    const __m256i entries = _mm256_setr_epi32((int)t[qs[0] | (h << 8 & 256)], (int)t[qs[1] | (h << 7 & 256)],
                                              (int)t[qs[2] | (h << 6 & 256)], (int)t[qs[3] | (h << 5 & 256)],
                                              (int)t[qs[4] | (h << 4 & 256)], (int)t[qs[5] | (h << 3 & 256)],
                                              (int)t[qs[6] | (h << 2 & 256)], (int)t[qs[7] | (h << 1 & 256)]);
    return (struct signed_codes){negate_by_bits(entries, block_u32(x->signs + 4 * s)), d, d};
}

ALWAYS_INLINE struct signed_codes signed_iq1_s(const struct block_iq1_s *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 4 * s;
    const uint32_t word = block_u16(x->qh + 2 * s);
    const float d = 0.125f * float_of_half(x->d) * (float)(int)(2 * (word >> 12 & 7) + 1);
    const __m256i entries = entries_of_8(codebook_iq1, qs[0] | (word << 8 & 0x700), qs[1] | (word << 5 & 0x700),
                                         qs[2] | (word << 2 & 0x700), qs[3] | (word >> 1 & 0x700));
    return (struct signed_codes){_mm256_add_epi8(entries, _mm256_set1_epi8(word >> 15 ? -1 : 1)), d, d};
}

ALWAYS_INLINE struct signed_codes signed_iq1_m(const struct block_iq1_m *x, uint32_t s)
{
    const uint8_t *qs = x->qs + 4 * s;
    const uint32_t h = block_u16(x->qh + 2 * s);
    const uint32_t scales = (uint32_t)block_u16(x->scales + s / 2 * 2) >> 6 * (s % 2);
    const float d = 0.125f * iq1_m_d(x);
    const __m256i entries = entries_of_8(codebook_iq1, qs[0] | (h << 8 & 0x700), qs[1] | (h << 4 & 0x700),
                                         qs[2] | (h & 0x700), qs[3] | (h >> 4 & 0x700));
    // Bit 3 of each nibble: eight times, for its group.
    const uint32_t signs = (uint32_t)_pdep_u64(_pext_u64(h, 0x8888), 0x01010101) * 255;
    return (struct signed_codes){_mm256_add_epi8(entries, negate_by_bits(_mm256_set1_epi8(1), signs)),
                                 d * (float)(int)(2 * (scales & 7) + 1), d * (float)(int)(2 * (scales >> 3 & 7) + 1)};
}

// ---- ternary types ---------------------------------------------------------------------------------------------------

// q + 1 (0..3) of elements 32v .. 32v + 31.
ALWAYS_INLINE __m256i unsigned_tq2_0(const struct block_tq2_0 *x, const uint32_t v)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(x->qs + 32 * (v / 4)));
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * (v % 4)), _mm256_set1_epi8(3));
}

// 3 * bytes above 256: 86 is the first byte of digit 1, 171 of digit 2.
ALWAYS_INLINE __m256i first_digits(__m256i bytes)
{
    const __m256i one = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, _mm256_set1_epi8(86)), bytes);
    const __m256i two = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, _mm256_set1_epi8((char)171)), bytes);
    return _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two));
}

ALWAYS_INLINE __m128i thrice(__m128i bytes)
{
    return _mm_add_epi8(bytes, _mm_add_epi8(bytes, bytes));
}

// The same of TQ1_0 (quant/tq1_0.c).
ALWAYS_INLINE void unsigned_all_tq1_0(const struct block_tq1_0 *x, __m256i codes[8])
{
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)x->qs);
    for (int v = 0; v < 5; v++) {
        codes[v] = first_digits(bytes);
        bytes = _mm256_add_epi8(bytes, _mm256_add_epi8(bytes, bytes));
    }
    const __m128i p0 = _mm_loadu_si128((const __m128i *)(const void *)(x->qs + 32)), p1 = thrice(p0);
    const __m128i p2 = thrice(p1), p3 = thrice(p2), p4 = thrice(p3);
    const __m128i h0 = _mm_cvtsi32_si128((int)block_u32(x->qh)), h1 = thrice(h0), h2 = thrice(h1), h3 = thrice(h2);
    const __m128i h = _mm_unpacklo_epi64(_mm_unpacklo_epi32(h0, h1), _mm_unpacklo_epi32(h2, h3));
    codes[5] = first_digits(_mm256_inserti128_si256(_mm256_castsi128_si256(p0), p1, 1));
    codes[6] = first_digits(_mm256_inserti128_si256(_mm256_castsi128_si256(p2), p3, 1));
    codes[7] = first_digits(_mm256_inserti128_si256(_mm256_castsi128_si256(p4), h, 1));
}

ALWAYS_INLINE void unsigned_all_tq2_0(const struct block_tq2_0 *x, __m256i codes[8])
{
    for (uint32_t v = 0; v < 8; v++)
        codes[v] = unsigned_tq2_0(x, v);
}

// The sum of (code - 1) * activation over a block, spread over 8 lanes. Sixteen products of 3 * 127 fit 16 bits.
ALWAYS_INLINE __m256i dot_of_ternary(const __m256i codes[8], const int8_t *q, const int16_t *sums_32)
{
    const __m128i sums = _mm_load_si128((const __m128i *)(const void *)sums_32);
    __m256i dot = _mm256_zextsi128_si256(_mm_madd_epi16(sums, _mm_set1_epi16(-1)));
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    for (int v = 0; v < 8; v++)
        dot = dot_of_32(dot, codes[v], _mm256_load_si256((const __m256i *)(const void *)(q + 32 * v)));
    return dot;
#else
    __m256i words = _mm256_setzero_si256();
    for (int v = 0; v < 8; v++) {
        const __m256i y = _mm256_load_si256((const __m256i *)(const void *)(q + 32 * v));
        words = _mm256_add_epi16(words, _mm256_maddubs_epi16(codes[v], y));
    }
    return _mm256_add_epi32(dot, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
#endif
}

// ---- for the GEMM ----------------------------------------------------------------------------------------------------

// Defines values_<type>: up to 256 elements of a row, n_blocks blocks; what would come after them stays as it is.
#define DEFINE_VALUES_SIGNED(type, block_size)                                                                 \
    ALWAYS_INLINE void values_##type(const struct block_##type *x, uint32_t n_blocks, struct coded_values *to) \
    {                                                                                                          \
        enum { PER_BLOCK = (block_size) / 32 };                                                                \
        for (uint32_t i = 0; i < n_blocks * PER_BLOCK; i++) {                                                  \
            const struct signed_codes codes = signed_##type(x + i / PER_BLOCK, i % PER_BLOCK);                 \
            _mm256_storeu_si256((__m256i *)(void *)(to->q + 32 * i), codes.q);                                 \
            to->scale[2 * i] = codes.low;                                                                      \
            to->scale[2 * i + 1] = codes.high;                                                                 \
        }                                                                                                      \
    }
// The same of a block of a ternary type.
#define DEFINE_VALUES_TERNARY(type)                                                                                   \
    ALWAYS_INLINE void values_##type(const struct block_##type *x, uint32_t n_blocks, struct coded_values *to)        \
    {                                                                                                                 \
        __m256i codes[8];                                                                                             \
        (void)n_blocks; /* 1 */                                                                                       \
        unsigned_all_##type(x, codes);                                                                                \
        const __m256 d = _mm256_set1_ps(float_of_half(x->d));                                                         \
        for (int v = 0; v < 8; v++)                                                                                   \
            _mm256_storeu_si256((__m256i *)(void *)(to->q + 32 * v), _mm256_sub_epi8(codes[v], _mm256_set1_epi8(1))); \
        _mm256_storeu_ps(to->scale, d);                                                                               \
        _mm256_storeu_ps(to->scale + 8, d);                                                                           \
    }

// ---- the matvec ------------------------------------------------------------------------------------------------------

// sum + the products of block i of 32. `halves`: two scales.
ALWAYS_INLINE __m256 add_signed(__m256 sum, struct signed_codes codes, const void *column, uint64_t i,
                                const bool halves)
{
    const struct activation_group_32 *y = (const struct activation_group_32 *)column + i / 4;
    const uint64_t k = i % 4;
    const __m256i low = _mm256_castsi128_si256(_mm_load_si128((const __m128i *)(const void *)y->low[k]));
    const __m256i q = _mm256_inserti128_si256(low, _mm_load_si128((const __m128i *)(const void *)y->high[k]), 1);
    const __m256i dot = dot_of_32(_mm256_setzero_si256(), _mm256_abs_epi8(codes.q), _mm256_sign_epi8(q, codes.q));
    __m256 scale = _mm256_set1_ps(codes.low * y->scale[4 * k]);
    if (halves)
        scale = _mm256_insertf128_ps(scale, _mm_set1_ps(codes.high * y->scale[4 * k]), 1);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum);
}

// Defines dot_<type> and matvec_<type> of the tier from `struct signed_codes signed_<type>(const struct block_<type> *x,
// uint32_t s)`, elements 32 * s and up of a block. Even and odd ones are summed apart.
#define DEFINE_MATVEC_SIGNED(type, block_size, halves)                                                     \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,              \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)            \
    {                                                                                                      \
        enum { PER_BLOCK = (block_size) / 32 };                                                            \
        const struct block_##type *x = (const struct block_##type *)row;                                   \
        __m256 sums[MATVEC_MAX_COLUMNS][2];                                                                \
        for (uint32_t c = 0; c < n_columns; c++)                                                           \
            sums[c][0] = sums[c][1] = _mm256_setzero_ps();                                                 \
        for (uint64_t i = 0; i < n / 32; i += 2) {                                                         \
            if (i % 8 == 0)                                                                                \
                prefetch_stream(ahead, x + i / PER_BLOCK, (256 / (block_size)) * sizeof *x);               \
            const struct signed_codes first = signed_##type(x + i / PER_BLOCK, (uint32_t)(i % PER_BLOCK)); \
            for (uint32_t c = 0; c < n_columns; c++)                                                       \
                sums[c][0] = add_signed(sums[c][0], first, columns[c], i, halves);                         \
            if (PER_BLOCK == 1 && i + 1 == n / 32)                                                         \
                break;                                                                                     \
            const struct signed_codes second =                                                             \
                signed_##type(x + (i + 1) / PER_BLOCK, (uint32_t)((i + 1) % PER_BLOCK));                   \
            for (uint32_t c = 0; c < n_columns; c++)                                                       \
                sums[c][1] = add_signed(sums[c][1], second, columns[c], i + 1, halves);                    \
        }                                                                                                  \
        for (uint32_t c = 0; c < n_columns; c++) {                                                         \
            const __m256 both = _mm256_add_ps(sums[c][0], sums[c][1]);                                     \
            __m128 sum = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));         \
            sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));                                                \
            dots[c] = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));                                \
        }                                                                                                  \
    }                                                                                                      \
    DEFINE_MATVEC(type)

#define DEFINE_MATVEC_TERNARY(type)                                                                             \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                   \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                 \
    {                                                                                                           \
        const struct block_##type *x = (const struct block_##type *)row;                                        \
        __m256 sums[MATVEC_MAX_COLUMNS];                                                                        \
        for (uint32_t c = 0; c < n_columns; c++)                                                                \
            sums[c] = _mm256_setzero_ps();                                                                      \
        for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {                                                   \
            prefetch_stream(ahead, x, sizeof *x);                                                               \
            __m256i codes[8];                                                                                   \
            unsigned_all_##type(x, codes);                                                                      \
            const float d = float_of_half(x->d);                                                                \
            for (uint32_t c = 0; c < n_columns; c++) {                                                          \
                const struct activation_group_256 *y = (const struct activation_group_256 *)columns[c] + b / 4; \
                const __m256i dot = dot_of_ternary(codes, y->q[b % 4], y->sums_32[b % 4]);                      \
                const __m256 scale = _mm256_set1_ps(d * y->scale[4 * (b % 4)]);                                 \
                sums[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sums[c]);                             \
            }                                                                                                   \
        }                                                                                                       \
        for (uint32_t c = 0; c < n_columns; c++) {                                                              \
            __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sums[c]), _mm256_extractf128_ps(sums[c], 1));        \
            sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));                                                     \
            dots[c] = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));                                     \
        }                                                                                                       \
    }                                                                                                           \
    DEFINE_MATVEC(type)

#endif
