// Q6_K: 210-byte super-blocks of 256, zero point 32.
#include "kernels/avx2/super_blocks.h"

// Elements 32v..32v+31: a nibble of ql, two bits of qh.
ALWAYS_INLINE __m256i load_codes(const struct block_q6_k *x, int v)
{
    const int half = v / 4, j = v % 4;
    const __m256i ql = load_32(x->ql + 64 * half + 32 * (j % 2));
    const __m256i qh = load_32(x->qh + 32 * half);
    const __m256i low = _mm256_and_si256(j < 2 ? ql : _mm256_srli_epi16(ql, 4), _mm256_set1_epi8(15));
    const __m256i moved = j < 2 ? _mm256_slli_epi16(qh, 4 - 2 * j) : _mm256_srli_epi16(qh, 2 * j - 4);
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
}

ALWAYS_INLINE __m256i load_scales(const struct block_q6_k *x)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x->scales));
}

ALWAYS_INLINE void dot_q6_k(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_q6_k *x = (const struct block_q6_k *)row;
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
            const __m256i zero = _mm256_slli_epi32(scaled_sums_16(scales, y->sums_16[b % 4]), 5); // zero point 32
            const __m256 products = _mm256_cvtepi32_ps(_mm256_sub_epi32(dot[c], zero));
            sums[c] = _mm256_fmadd_ps(products, _mm256_set1_ps(d * y->scale[4 * (b % 4)]), sums[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = sum_of_lanes(sums[c]);
}

DEFINE_MATVEC(q6_k)
