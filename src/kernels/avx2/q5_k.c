// Q5_K: 176-byte super-blocks of 256: Q4_K's header and nibbles, and a plane of fifth bits.
#include "kernels/avx2/super_blocks.h"

// Sub-block v: the low (even v) or high nibbles of 32 bytes, and bit v of the plane moved to bit 4.
ALWAYS_INLINE __m256i load_codes(const struct block_q5_k *x, int v)
{
    const __m256i bytes = load_32(x->qs + 32 * (v / 2));
    const __m256i plane = load_32(x->qh);
    const __m256i moved = v < 4 ? _mm256_slli_epi16(plane, 4 - v) : _mm256_srli_epi16(plane, v - 4);
    const __m256i nibbles = _mm256_and_si256(v % 2 == 0 ? bytes : _mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    return _mm256_or_si256(nibbles, _mm256_and_si256(moved, _mm256_set1_epi8(16)));
}

ALWAYS_INLINE void dot_q5_k(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_q5_k *x = (const struct block_q5_k *)row;
    __m256 sums[MATVEC_MAX_COLUMNS];
    __m128 mins[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < n_columns; c++) {
        sums[c] = _mm256_setzero_ps();
        mins[c] = _mm_setzero_ps();
    }
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        const struct scales_32 scales = load_scales_32(x->scales);
        __m256i dot[MATVEC_MAX_COLUMNS];
        for (uint32_t c = 0; c < n_columns; c++)
            dot[c] = _mm256_setzero_si256();
        for (int v = 0; v < 8; v++) {
            const __m256i codes = load_codes(x, v);
            const __m256i scale = scale_of_32(scales.scales, v);
            for (uint32_t c = 0; c < n_columns; c++)
                dot[c] = add_scaled_dot(dot[c], codes, scale, group_of(columns[c], b)->q[b % 4] + 32 * v);
        }
        const float d = load_half(x->d);
        const float dmin = load_half(x->dmin);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = group_of(columns[c], b);
            const float scale = y->scale[4 * (b % 4)];
            sums[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), _mm256_set1_ps(d * scale), sums[c]);
            mins[c] = _mm_fmadd_ps(mins_of_32(scales, y->sums_32[b % 4]), _mm_set1_ps(dmin * scale), mins[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = sum_of_lanes(_mm256_sub_ps(sums[c], _mm256_zextps128_ps256(mins[c])));
}

DEFINE_MATVEC(q5_k)
