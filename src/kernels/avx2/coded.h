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
    const float d = load_half(x->d);
    return (struct signed_codes){choose_by_nibbles(codes_iq4, x->qs), d, d};
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
    const float d = load_half(x->d);
    return (struct signed_codes){negate_by_bits(_mm256_set1_epi8(1), ~block_u32(x->qs + 4 * s)), d, d};
}

ALWAYS_INLINE struct signed_codes signed_q2_0(const struct block_q2_0 *x, uint32_t s)
{
    const uint64_t twos = 0x0303030303030303u;
    const float d = load_half(x->d);
    const uint32_t low = block_u32(x->qs + 8 * s), high = block_u32(x->qs + 8 * s + 4);
    const __m256i q = _mm256_set_epi64x((long long)_pdep_u64(high >> 16, twos), (long long)_pdep_u64(high, twos),
                                        (long long)_pdep_u64(low >> 16, twos), (long long)_pdep_u64(low, twos));
    return (struct signed_codes){_mm256_sub_epi8(q, _mm256_set1_epi8(1)), d, d};
}

// ---- super-blocks ----------------------------------------------------------------------------------------------------

// What the eight blocks of 32 of a super-block need, computed for all of them at once. Each type fills what it reads.
struct super_parts {
    float low[8], high[8]; // scales
    uint32_t signs[8];     // a bit per element
    uint32_t deltas[8];    // the same signed byte four times
    uint16_t index[64];    // of entries
};

// Has what was stored there read from memory: compilers would take it from the register that was stored, element by element, at
// twice the cost.
#define READ_AS_STORED(array) __asm__("" : "+m"(array))

ALWAYS_INLINE void store_8(void *to, __m256i v)
{
    _mm256_storeu_si256((__m256i *)to, v);
}

ALWAYS_INLINE __m256i words_of_bytes(const uint8_t bytes[16])
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

// d * (2 * code + 1)
ALWAYS_INLINE void store_odd_scales(float to[8], __m256i codes, float d)
{
    const __m256i odd = _mm256_add_epi32(_mm256_add_epi32(codes, codes), _mm256_set1_epi32(1));
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(odd), _mm256_set1_ps(d)));
}

// The nibbles of scales[8], the low one of each for the first half of a block.
ALWAYS_INLINE void store_nibble_scales(struct super_parts *p, const uint8_t scales[8], float d)
{
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)scales));
    store_odd_scales(p->low, _mm256_and_si256(bytes, _mm256_set1_epi32(15)), d);
    store_odd_scales(p->high, _mm256_srli_epi32(bytes, 4), d);
}

// To the lower seven bits of every byte the eighth, which makes their number even.
ALWAYS_INLINE __m256i complete_signs(__m256i seven)
{
    const char odd = (char)0x80;
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, odd, odd, 0, odd, 0, 0, odd, odd, 0, 0, odd, 0, odd, odd, 0));
    const __m256i nibbles =
        _mm256_and_si256(_mm256_xor_si256(seven, _mm256_srli_epi16(seven, 4)), _mm256_set1_epi8(15));
    return _mm256_or_si256(seven, _mm256_shuffle_epi8(table, nibbles));
}

// The lower 28 bits of each of 8 words are 7 signs for each of four groups: all 8 of each.
ALWAYS_INLINE __m256i signs_of_words(__m256i words)
{
    const __m256i first = _mm256_and_si256(words, _mm256_set1_epi32(0x7f));
    const __m256i second = _mm256_and_si256(_mm256_slli_epi32(words, 1), _mm256_set1_epi32(0x7f00));
    const __m256i third = _mm256_and_si256(_mm256_slli_epi32(words, 2), _mm256_set1_epi32(0x7f0000));
    const __m256i fourth = _mm256_and_si256(_mm256_slli_epi32(words, 3), _mm256_set1_epi32(0x7f000000));
    return complete_signs(_mm256_or_si256(_mm256_or_si256(first, second), _mm256_or_si256(third, fourth)));
}

ALWAYS_INLINE __m256i entries_of_8(const uint64_t *codebook, const uint16_t index[4])
{
    return _mm256_set_epi64x((long long)codebook[index[3]], (long long)codebook[index[2]],
                             (long long)codebook[index[1]], (long long)codebook[index[0]]);
}

ALWAYS_INLINE __m256i entries_of_4(const uint32_t *codebook, const uint16_t index[8])
{
    return _mm256_setr_epi32((int)codebook[index[0]], (int)codebook[index[1]], (int)codebook[index[2]],
                             (int)codebook[index[3]], (int)codebook[index[4]], (int)codebook[index[5]],
                             (int)codebook[index[6]], (int)codebook[index[7]]);
}

// Types whose blocks of 32 share nothing.
#define PREPARE_NOTHING(type)                                                                                \
    ALWAYS_INLINE void prepare_##type(const struct block_##type *x, struct super_parts *p)                   \
    {                                                                                                        \
        (void)x;                                                                                             \
        (void)p;                                                                                             \
    }                                                                                                        \
    ALWAYS_INLINE struct signed_codes part_##type(const struct block_##type *x, const struct super_parts *p, \
                                                  uint32_t s)                                                \
    {                                                                                                        \
        (void)p;                                                                                             \
        return signed_##type(x, s);                                                                          \
    }
PREPARE_NOTHING(iq4_nl)
PREPARE_NOTHING(mxfp4)
PREPARE_NOTHING(nvfp4)
PREPARE_NOTHING(q1_0)
PREPARE_NOTHING(q2_0)

// d * (scale - 32) of the 8 blocks.
ALWAYS_INLINE __m256 scales_of_iq4_xs(const struct block_iq4_xs *x)
{
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)block_u32(x->scales_l)),
                                          _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32((int)((uint32_t)block_u16(x->scales_h) << 4)),
                                           _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    const __m256i codes =
        _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)), _mm256_and_si256(high, _mm256_set1_epi32(0x30)));
    const __m256 scales = _mm256_cvtepi32_ps(_mm256_sub_epi32(codes, _mm256_set1_epi32(32)));
    return _mm256_mul_ps(scales, _mm256_set1_ps(load_half(x->d)));
}

ALWAYS_INLINE void prepare_iq4_xs(const struct block_iq4_xs *x, struct super_parts *p)
{
    _mm256_storeu_ps(p->low, scales_of_iq4_xs(x));
}

ALWAYS_INLINE struct signed_codes part_iq4_xs(const struct block_iq4_xs *x, const struct super_parts *p, uint32_t s)
{
    return (struct signed_codes){choose_by_nibbles(codes_iq4, x->qs + 16 * s), p->low[s], p->low[s]};
}

ALWAYS_INLINE void prepare_iq2_xxs(const struct block_iq2_xxs *x, struct super_parts *p)
{
    const __m256 first = _mm256_castsi256_ps(load_32(x->qs)), second = _mm256_castsi256_ps(load_32(x->qs + 32));
    const __m256i entries = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xdd)), 0xd8);
    const __m256i bytes = _mm256_permute4x64_epi64(entries, 0xd8);
    store_8(p->index, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes)));
    store_8(p->index + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(bytes, 1)));
    store_8(p->signs, signs_of_words(words));
    store_odd_scales(p->low, _mm256_srli_epi32(words, 28), 0.125f * load_half(x->d));
}

ALWAYS_INLINE struct signed_codes part_iq2_xxs(const struct block_iq2_xxs *x, const struct super_parts *p, uint32_t s)
{
    (void)x;
    const __m256i entries = entries_of_8(codebook_iq2_xxs, p->index + 4 * s);
    return (struct signed_codes){negate_by_bits(entries, p->signs[s]), p->low[s], p->low[s]};
}

ALWAYS_INLINE void prepare_iq2_xs(const struct block_iq2_xs *x, struct super_parts *p)
{
    const __m256i first = load_32(x->qs), second = load_32(x->qs + 32);
    store_8(p->index, _mm256_and_si256(first, _mm256_set1_epi16(511)));
    store_8(p->index + 16, _mm256_and_si256(second, _mm256_set1_epi16(511)));
    const __m256i seven = _mm256_packus_epi16(_mm256_srli_epi16(first, 9), _mm256_srli_epi16(second, 9));
    store_8(p->signs, complete_signs(_mm256_permute4x64_epi64(seven, 0xd8)));
    store_nibble_scales(p, x->scales, 0.125f * load_half(x->d));
}

ALWAYS_INLINE struct signed_codes part_iq2_xs(const struct block_iq2_xs *x, const struct super_parts *p, uint32_t s)
{
    (void)x;
    const __m256i entries = entries_of_8(codebook_iq2_xs, p->index + 4 * s);
    return (struct signed_codes){negate_by_bits(entries, p->signs[s]), p->low[s], p->high[s]};
}

ALWAYS_INLINE void prepare_iq2_s(const struct block_iq2_s *x, struct super_parts *p)
{
    const __m256i four = _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1, 2, -1, 2, -1, 2, -1,
                                          2, -1, 3, -1, 3, -1, 3, -1, 3, -1);
    const __m256i up = _mm256_set1_epi64x(0x0004001000400100); // by 8, 6, 4, 2 bits
    for (int h = 0; h < 2; h++) {
        const __m256i qh = _mm256_shuffle_epi8(_mm256_set1_epi32((int)block_u32(x->qh + 4 * h)), four);
        const __m256i high = _mm256_and_si256(_mm256_mullo_epi16(qh, up), _mm256_set1_epi16(0x300));
        store_8(p->index + 16 * h, _mm256_or_si256(words_of_bytes(x->qs + 16 * h), high));
    }
    store_nibble_scales(p, x->scales, 0.125f * load_half(x->d));
}

ALWAYS_INLINE struct signed_codes part_iq2_s(const struct block_iq2_s *x, const struct super_parts *p, uint32_t s)
{
    const __m256i entries = entries_of_8(codebook_iq2_s, p->index + 4 * s);
    return (struct signed_codes){negate_by_bits(entries, block_u32(x->signs + 4 * s)), p->low[s], p->high[s]};
}

ALWAYS_INLINE void prepare_iq3_xxs(const struct block_iq3_xxs *x, struct super_parts *p)
{
    const __m256i words = load_32(x->signs_scales);
    for (int i = 0; i < 4; i++)
        store_8(p->index + 16 * i, words_of_bytes(x->qs + 16 * i));
    store_8(p->signs, signs_of_words(words));
    store_odd_scales(p->low, _mm256_srli_epi32(words, 28), 0.25f * load_half(x->d));
}

ALWAYS_INLINE struct signed_codes part_iq3_xxs(const struct block_iq3_xxs *x, const struct super_parts *p, uint32_t s)
{
    (void)x;
    const __m256i entries = entries_of_4(codebook_iq3_xxs, p->index + 8 * s);
    return (struct signed_codes){negate_by_bits(entries, p->signs[s]), p->low[s], p->low[s]};
}

ALWAYS_INLINE void prepare_iq3_s(const struct block_iq3_s *x, struct super_parts *p)
{
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
    for (int i = 0; i < 4; i++) {
        const __m256i qh = _mm256_and_si256(_mm256_set1_epi16((short)block_u16(x->qh + 2 * i)), bit);
        const __m256i high = _mm256_and_si256(_mm256_cmpeq_epi16(qh, bit), _mm256_set1_epi16(256));
        store_8(p->index + 16 * i, _mm256_or_si256(words_of_bytes(x->qs + 16 * i), high));
    }
    const __m256i scales =
        _mm256_srlv_epi32(_mm256_set1_epi32((int)block_u32(x->scales)), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    store_odd_scales(p->low, _mm256_and_si256(scales, _mm256_set1_epi32(15)), load_half(x->d));
}

ALWAYS_INLINE struct signed_codes part_iq3_s(const struct block_iq3_s *x, const struct super_parts *p, uint32_t s)
{
    const __m256i entries = entries_of_4(codebook_iq3_s, p->index + 8 * s);
    return (struct signed_codes){negate_by_bits(entries, block_u32(x->signs + 4 * s)), p->low[s], p->low[s]};
}

ALWAYS_INLINE void prepare_iq1_s(const struct block_iq1_s *x, struct super_parts *p)
{
    const __m256i four = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4, 5, 4, 5, 4, 5, 4, 5, 6, 7,
                                          6, 7, 6, 7, 6, 7);
    const __m256i up = _mm256_set1_epi64x(0x0000000400200100); // by 8, 5, 2 bits; the fourth goes down by 1
    for (int h = 0; h < 2; h++) {
        const __m128i words = _mm_loadl_epi64((const __m128i *)(const void *)(x->qh + 8 * h));
        const __m256i qh = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(words), four);
        const __m256i high = _mm256_blend_epi16(_mm256_mullo_epi16(qh, up), _mm256_srli_epi16(qh, 1), 0x88);
        store_8(p->index + 16 * h,
                _mm256_or_si256(words_of_bytes(x->qs + 16 * h), _mm256_and_si256(high, _mm256_set1_epi16(0x700))));
    }
    const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x->qh));
    const __m256i down = _mm256_srai_epi32(_mm256_slli_epi32(words, 16), 31);
    store_8(p->deltas, _mm256_or_si256(down, _mm256_set1_epi8(1)));
    store_odd_scales(p->low, _mm256_and_si256(_mm256_srli_epi32(words, 12), _mm256_set1_epi32(7)),
                     0.125f * load_half(x->d));
}

ALWAYS_INLINE struct signed_codes part_iq1_s(const struct block_iq1_s *x, const struct super_parts *p, uint32_t s)
{
    (void)x;
    const __m256i entries = entries_of_8(codebook_iq1, p->index + 4 * s);
    return (struct signed_codes){_mm256_add_epi8(entries, _mm256_set1_epi32((int)p->deltas[s])), p->low[s], p->low[s]};
}

ALWAYS_INLINE void prepare_iq1_m(const struct block_iq1_m *x, struct super_parts *p)
{
    __m256i nibbles[2];
    for (int h = 0; h < 2; h++) {
        const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(x->qh + 8 * h)));
        nibbles[h] = _mm256_and_si256(_mm256_or_si256(bytes, _mm256_slli_epi32(bytes, 12)), _mm256_set1_epi16(15));
        const __m256i high = _mm256_and_si256(_mm256_slli_epi16(nibbles[h], 8), _mm256_set1_epi16(0x700));
        store_8(p->index + 16 * h, _mm256_or_si256(words_of_bytes(x->qs + 16 * h), high));
    }
    // Bit 3 of each nibble: eight times, for its group.
    const __m256i seven = _mm256_set1_epi16(7);
    const __m256i down =
        _mm256_packs_epi16(_mm256_cmpgt_epi16(nibbles[0], seven), _mm256_cmpgt_epi16(nibbles[1], seven));
    store_8(p->signs, _mm256_permute4x64_epi64(down, 0xd8));
    const __m128i scales = _mm_loadl_epi64((const __m128i *)(const void *)x->scales);
    const __m256i words = _mm256_srlv_epi32(_mm256_cvtepu16_epi32(_mm_unpacklo_epi16(scales, scales)),
                                            _mm256_setr_epi32(0, 6, 0, 6, 0, 6, 0, 6));
    const float d = 0.125f * iq1_m_d(x);
    store_odd_scales(p->low, _mm256_and_si256(words, _mm256_set1_epi32(7)), d);
    store_odd_scales(p->high, _mm256_and_si256(_mm256_srli_epi32(words, 3), _mm256_set1_epi32(7)), d);
}

ALWAYS_INLINE struct signed_codes part_iq1_m(const struct block_iq1_m *x, const struct super_parts *p, uint32_t s)
{
    (void)x;
    const __m256i entries = entries_of_8(codebook_iq1, p->index + 4 * s);
    const __m256i deltas = negate_by_bits(_mm256_set1_epi8(1), p->signs[s]);
    return (struct signed_codes){_mm256_add_epi8(entries, deltas), p->low[s], p->high[s]};
}

// ---- ternary types ---------------------------------------------------------------------------------------------------

// q + 1 (0..3) of elements 32v .. 32v + 31.
ALWAYS_INLINE __m256i unsigned_tq2_0(const struct block_tq2_0 *x, const uint32_t v)
{
    const __m256i bytes = load_32(x->qs + 32 * (v / 4));
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
    __m256i bytes = load_32(x->qs);
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
        struct super_parts parts;                                                                              \
        for (uint32_t i = 0; i < n_blocks * PER_BLOCK; i++) {                                                  \
            if (i % PER_BLOCK == 0) {                                                                          \
                prepare_##type(x + i / PER_BLOCK, &parts);                                                     \
                READ_AS_STORED(parts);                                                                         \
            }                                                                                                  \
            const struct signed_codes codes = part_##type(x + i / PER_BLOCK, &parts, i % PER_BLOCK);           \
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
        const __m256 d = _mm256_set1_ps(load_half(x->d));                                                             \
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
    __m256 d = _mm256_set1_ps(codes.low);
    if (halves)
        d = _mm256_blend_ps(d, _mm256_set1_ps(codes.high), 0xf0);
    const __m256 scale = _mm256_mul_ps(d, _mm256_broadcast_ps((const __m128 *)(const void *)(y->scale + 4 * k)));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, sum);
}

// Defines dot_<type> and matvec_<type> of the tier from
//     void prepare_<type>(const struct block_<type> *x, struct super_parts *p)
//     struct signed_codes part_<type>(const struct block_<type> *x, const struct super_parts *p, uint32_t s)
// the latter being elements 32 * s and up of a block. Even and odd ones are summed apart.
#define DEFINE_MATVEC_SIGNED(type, block_size, halves)                                                           \
    ALWAYS_INLINE void dot_##type(const uint8_t *row, uint64_t n, const void *const *columns,                    \
                                  const uint32_t n_columns, struct prefetch ahead, float *dots)                  \
    {                                                                                                            \
        enum { PER_BLOCK = (block_size) / 32 };                                                                  \
        const struct block_##type *x = (const struct block_##type *)row;                                         \
        struct super_parts parts;                                                                                \
        __m256 sums[MATVEC_MAX_COLUMNS][2];                                                                      \
        for (uint32_t c = 0; c < n_columns; c++)                                                                 \
            sums[c][0] = sums[c][1] = _mm256_setzero_ps();                                                       \
        for (uint64_t i = 0; i < n / 32; i += 2) {                                                               \
            if (i % 8 == 0) {                                                                                    \
                prefetch_stream(ahead, x + i / PER_BLOCK, (256 / (block_size)) * sizeof *x);                     \
                prepare_##type(x + i / PER_BLOCK, &parts);                                                       \
                READ_AS_STORED(parts);                                                                           \
            }                                                                                                    \
            const struct signed_codes first = part_##type(x + i / PER_BLOCK, &parts, (uint32_t)(i % PER_BLOCK)); \
            for (uint32_t c = 0; c < n_columns; c++)                                                             \
                sums[c][0] = add_signed(sums[c][0], first, columns[c], i, halves);                               \
            if (PER_BLOCK == 1 && i + 1 == n / 32)                                                               \
                break;                                                                                           \
            const struct signed_codes second =                                                                   \
                part_##type(x + (i + 1) / PER_BLOCK, &parts, (uint32_t)((i + 1) % PER_BLOCK));                   \
            for (uint32_t c = 0; c < n_columns; c++)                                                             \
                sums[c][1] = add_signed(sums[c][1], second, columns[c], i + 1, halves);                          \
        }                                                                                                        \
        for (uint32_t c = 0; c < n_columns; c++) {                                                               \
            const __m256 both = _mm256_add_ps(sums[c][0], sums[c][1]);                                           \
            __m128 sum = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));               \
            sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));                                                      \
            dots[c] = _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));                                      \
        }                                                                                                        \
    }                                                                                                            \
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
            const float d = load_half(x->d);                                                                    \
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
