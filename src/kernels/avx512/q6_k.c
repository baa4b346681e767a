// Q6_K: 210-byte super-blocks of 256, zero point 32.
#include "kernels/avx512/blocks_16.h"

// Moves bits 2j, 2j+1 of qh (lower half) and 2j+2, 2j+3 (upper half) to bits 4 and 5.
ALWAYS_INLINE __m512i high_bits(__m512i qh, int j)
{
    return move_bits(qh, 2 * j, 2 * j + 2, 4, 2);
}

ALWAYS_INLINE void load_codes(const struct block_q6_k *x, __m512i codes[4])
{
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int half = 0; half < 2; half++) {
        const __m512i ql = _mm512_loadu_si512(x->ql + 64 * half);
        const __m512i qh = load_twice_32(x->qh + 32 * half);
        codes[2 * half] = and_or(ql, nibble, high_bits(qh, 0));
        codes[2 * half + 1] = and_or(_mm512_srli_epi16(ql, 4), nibble, high_bits(qh, 2));
    }
}

ALWAYS_INLINE void dot_q6_k(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_q6_k *x = (const struct block_q6_k *)row;
    __m512 sums[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < n_columns; c++)
        sums[c] = _mm512_setzero_ps();
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        __m512i codes[4];
        load_codes(x, codes);
        const __m256i scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x->scales));
        const struct pair_scales spread = spread_scales(scales);
        const float d = load_half(x->d);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = (const struct activation_group_256 *)columns[c] + b / 4;
            const __m512i zero = zero_point_16(scales, y->sums_16[b % 4], 5);
            const __m512i dot = scaled_dot_16(zero, codes, spread, y->q[b % 4]);
            sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), block_factor(d, y, b % 4), sums[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = _mm512_reduce_add_ps(sums[c]);
}

DEFINE_MATVEC(q6_k)
