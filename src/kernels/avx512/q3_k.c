// Q3_K: 110-byte super-blocks of 256, zero point 4.
#include "kernels/avx512/blocks_16.h"

// Bits 2j, 2j+1 of qs and bit `plane` of hmask (lower half), 2j+2, 2j+3 and `plane` + 1 (upper half), as bits 0..2.
ALWAYS_INLINE __m512i codes_of(__m512i qs, __m512i hmask, int j, int plane)
{
    const __m512i low = move_bits(qs, 2 * j, 2 * j + 2, 0, 2);
    const __m512i high = move_bits(hmask, plane, plane + 1, 2, 1);
    return _mm512_or_si512(low, high);
}

ALWAYS_INLINE void load_codes(const struct block_q3_k *x, __m512i codes[4])
{
    const __m512i hmask = load_twice_32(x->hmask);
    for (int half = 0; half < 2; half++) {
        const __m512i qs = load_twice_32(x->qs + 32 * half);
        codes[2 * half] = codes_of(qs, hmask, 0, 4 * half);
        codes[2 * half + 1] = codes_of(qs, hmask, 2, 4 * half + 2);
    }
}

// Nibble k of the first 8 bytes (low nibbles first) is the low part of scale k; bits 2 * (k / 4) of byte 8 + k % 4 are
// its high part. The load takes the two bytes before the scales too, so that it ends with the block.
ALWAYS_INLINE __m256i load_scales(const struct block_q3_k *x)
{
    const __m128i bytes =
        _mm_loadu_si128((const __m128i *)((const uint8_t *)x + offsetof(struct block_q3_k, scales) - 2));
    const __m128i low = _mm_shuffle_epi8(bytes, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    const __m128i high =
        _mm_shuffle_epi8(bytes, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const __m128i nibbles = _mm_and_si128(_mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 4, 4)), _mm_set1_epi8(15));
    const __m128i twos = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const __m128i scales = _mm_or_si128(nibbles, _mm_slli_epi16(twos, 4));
    return _mm256_cvtepi8_epi16(_mm_sub_epi8(scales, _mm_set1_epi8(32)));
}

ALWAYS_INLINE void dot_q3_k(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_q3_k *x = (const struct block_q3_k *)row;
    __m512 sums[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < n_columns; c++)
        sums[c] = _mm512_setzero_ps();
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        __m512i codes[4];
        load_codes(x, codes);
        const __m256i scales = load_scales(x);
        const struct pair_scales spread = spread_scales(scales);
        const float d = load_half(x->d);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = (const struct activation_group_256 *)columns[c] + b / 4;
            const __m512i zero = zero_point_16(scales, y->sums_16[b % 4], 2);
            const __m512i dot = scaled_dot_16(zero, codes, spread, y->q[b % 4]);
            sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), block_factor(d, y, b % 4), sums[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = _mm512_reduce_add_ps(sums[c]);
}

DEFINE_MATVEC(q3_k)
