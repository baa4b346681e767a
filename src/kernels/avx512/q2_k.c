// Q2_K: 84-byte super-blocks of 256 with mins.
#include "kernels/avx512/blocks_16.h"

ALWAYS_INLINE void load_codes(const struct block_q2_k *x, __m512i codes[4])
{
    for (int half = 0; half < 2; half++) {
        const __m512i qs = load_twice_32(x->qs + 32 * half);
        codes[2 * half] = move_bits(qs, 0, 2, 0, 2);
        codes[2 * half + 1] = move_bits(qs, 4, 6, 0, 2);
    }
}

ALWAYS_INLINE void dot_q2_k(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_q2_k *x = (const struct block_q2_k *)row;
    __m512 sums[MATVEC_MAX_COLUMNS];
    __m256 min_sums[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < n_columns; c++) {
        sums[c] = _mm512_setzero_ps();
        min_sums[c] = _mm256_setzero_ps();
    }
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        __m512i codes[4];
        load_codes(x, codes);
        const __m128i bytes = _mm_loadu_si128((const __m128i *)x->scales);
        const __m128i nibble = _mm_set1_epi8(15);
        const struct pair_scales spread = spread_scales(_mm256_cvtepu8_epi16(_mm_and_si128(bytes, nibble)));
        const __m256i mins = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
        const float d = load_half(x->d);
        const float dmin = load_half(x->dmin);
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct activation_group_256 *y = (const struct activation_group_256 *)columns[c] + b / 4;
            const __m512i dot = scaled_dot_16(_mm512_setzero_si512(), codes, spread, y->q[b % 4]);
            sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), block_factor(d, y, b % 4), sums[c]);
            const __m256i m = _mm256_madd_epi16(mins, _mm256_load_si256((const __m256i *)y->sums_16[b % 4]));
            min_sums[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(m), _mm512_castps512_ps256(block_factor(dmin, y, b % 4)),
                                          min_sums[c]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = _mm512_reduce_add_ps(_mm512_sub_ps(sums[c], _mm512_zextps256_ps512(min_sums[c])));
}

DEFINE_MATVEC(q2_k)
