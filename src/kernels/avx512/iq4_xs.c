// IQ4_XS: 136-byte super-blocks of 256, codes from a table: two groups of four sub-blocks, each 64 bytes as they lie.
#include "kernels/avx512/iq4.h"
#include "kernels/avx2/coded.h"

ALWAYS_INLINE void dot_iq4_xs(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                              struct prefetch ahead, float *dots)
{
    const struct block_iq4_xs *x = (const struct block_iq4_xs *)row;
    const __m512i four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    __m512 sums[MATVEC_MAX_COLUMNS][2];
    for (uint32_t c = 0; c < n_columns; c++)
        sums[c][0] = sums[c][1] = _mm512_setzero_ps();
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x++) {
        prefetch_stream(ahead, x, sizeof *x);
        const __m512 scales = _mm512_castps256_ps512(scales_of_iq4_xs(x));
        for (uint32_t g = 0; g < 2; g++) {
            const __m512i bytes = _mm512_loadu_si512(x->qs + 64 * g);
            const __m512i lanes = _mm512_add_epi32(four, _mm512_set1_epi32((int)(4 * g)));
            const struct codes_32 codes = {
                .low = iq4_unsigned(low_nibbles(bytes)),
                .high = iq4_unsigned(high_nibbles(bytes)),
                .d = _mm512_permutexvar_ps(lanes, scales),
            };
            for (uint32_t c = 0; c < n_columns; c++) {
                const struct activation_group_32 *y = (const struct activation_group_32 *)columns[c] + 2 * b + g;
                sums[c][g] = add_products_32(sums[c][g], codes, y, _mm512_setzero_ps(), ZERO_SHIFT_128, false);
            }
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        dots[c] = _mm512_reduce_add_ps(_mm512_add_ps(sums[c][0], sums[c][1]));
}

DEFINE_MATVEC(iq4_xs)
