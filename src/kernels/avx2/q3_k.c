// Q3_K: 110-byte super-blocks of 256, zero point 4.
#include "kernels/avx2/super_blocks.h"

// Elements 32v..32v+31: two bits of qs, bit v of hmask.
ALWAYS_INLINE __m256i load_codes(const struct block_q3_k *x, int v)
{
    const __m256i qs = load_32(x->qs + 32 * (v / 4));
    const __m256i plane = load_32(x->hmask);
    const __m256i low = _mm256_and_si256(_mm256_srli_epi16(qs, 2 * (v % 4)), _mm256_set1_epi8(3));
    const __m256i moved = v < 2 ? _mm256_slli_epi16(plane, 2 - v) : _mm256_srli_epi16(plane, v - 2);
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(4)));
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
    __m256 sums[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < n_columns; c++)
        sums[c] = _mm256_setzero_ps();
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        const __m256i scales = load_scales(x);
        const struct scales_16 spread = spread_scales_16(scales);
        __m256i dot[MATVEC_MAX_COLUMNS];
        for (uint32_t c = 0; c < n_columns; c++)
            dot[c] = _mm256_setzero_si256();
        for (int v = 0; v < 8; v++) {
            const __m256i codes = load_codes(x, v);
            const __m256i scale = scale_of_16(spread, v);
            for (uint32_t c = 0; c < n_columns; c++)
                dot[c] = add_scaled_dot(dot[c], codes, scale, group_of(columns[c], b)->q[b % 4] + 32 * v);
        }
        const float d = load_half(x->d);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = group_of(columns[c], b);
            const __m256i zero = _mm256_slli_epi32(scaled_sums_16(scales, y->sums_16[b % 4]), 2); // zero point 4
            const __m256 products = _mm256_cvtepi32_ps(_mm256_sub_epi32(dot[c], zero));
            sums[c] = _mm256_fmadd_ps(products, _mm256_set1_ps(d * y->scale[4 * (b % 4)]), sums[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = sum_of_lanes(sums[c]);
}

DEFINE_MATVEC(q3_k)
