// Q2_K: 84-byte super-blocks of 256 with mins.
#include "kernels/avx2/super_blocks.h"

ALWAYS_INLINE void dot_q2_k(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_q2_k *x = (const struct block_q2_k *)row;
    __m256 sums[MATVEC_MAX_COLUMNS], min_sums[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < n_columns; c++)
        sums[c] = min_sums[c] = _mm256_setzero_ps();
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        const struct scales_mins_16 both = scales_of_q2_k(x);
        const struct scales_16 spread = spread_scales_16(both.scales);
        __m256i dot[MATVEC_MAX_COLUMNS];
        for (uint32_t c = 0; c < n_columns; c++)
            dot[c] = _mm256_setzero_si256();
        for (int v = 0; v < 8; v++) {
            const __m256i codes = codes_of_q2_k(x, v);
            const __m256i scale = scale_of_16(spread, v);
            for (uint32_t c = 0; c < n_columns; c++)
                dot[c] = add_scaled_dot(dot[c], codes, scale, group_of(columns[c], b)->q[b % 4] + 32 * v);
        }
        const float d = load_half(x->d);
        const float dmin = load_half(x->dmin);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = group_of(columns[c], b);
            const float scale = y->scale[4 * (b % 4)];
            const __m256 min_products = _mm256_cvtepi32_ps(scaled_sums_16(both.mins, y, b % 4));
            sums[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), _mm256_set1_ps(d * scale), sums[c]);
            min_sums[c] = _mm256_fmadd_ps(min_products, _mm256_set1_ps(dmin * scale), min_sums[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = sum_of_lanes(_mm256_sub_ps(sums[c], min_sums[c]));
}

DEFINE_MATVEC(q2_k)
