// I2_S: 32 bytes for 128 elements, codes of two bits with zero point 1.
#include "kernels/avx2/rows.h"

uint64_t TIER(activation_q8_row_bytes)(uint64_t n)
{
    return activation_row_bytes(n);
}

void TIER(activation_q8_row)(const float *x, void *out, uint64_t n)
{
    prepare_activation_row(x, out, n);
}

// sum + the products of one block with the half `b` of 256 activations. Eight products of 3 * 127 fit 16 bits.
ALWAYS_INLINE __m256i add_block(__m256i sum, __m256i bytes, const int8_t q[4][64], const int b)
{
#ifdef __AVXVNNI__
    for (int g = 0; g < 4; g++)
        sum = _mm256_dpbusd_avx_epi32(sum, codes_of_i2_s(bytes, g), load_32(q[g] + 32 * b));
    return sum;
#else
    __m256i words = _mm256_maddubs_epi16(codes_of_i2_s(bytes, 0), load_32(q[0] + 32 * b));
    for (int g = 1; g < 4; g++)
        words = _mm256_add_epi16(words, _mm256_maddubs_epi16(codes_of_i2_s(bytes, g), load_32(q[g] + 32 * b)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
#endif
}

ALWAYS_INLINE void dot_i2_s(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_i2_s *x = (const struct block_i2_s *)row;
    __m256i sums[MATVEC_MAX_COLUMNS][2];
    for (uint32_t c = 0; c < n_columns; c++)
        sums[c][0] = sums[c][1] = _mm256_setzero_si256();
    for (uint64_t p = 0; p < n / 256; p++, x += 2) {
        prefetch_stream(ahead, x, 2 * sizeof *x);
        const __m256i first = load_i2_s(x), second = load_i2_s(x + 1);
        for (uint32_t c = 0; c < n_columns; c++) {
            const int8_t(*q)[64] = ((const struct activation_row *)columns[c])->q[p];
            sums[c][0] = add_block(sums[c][0], first, q, 0);
            sums[c][1] = add_block(sums[c][1], second, q, 1);
        }
    }
    if (n % 256 != 0) {
        const __m256i last = load_i2_s(x);
        for (uint32_t c = 0; c < n_columns; c++)
            sums[c][0] = add_block(sums[c][0], last, ((const struct activation_row *)columns[c])->q[n / 256], 0);
    }
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_row *y = columns[c];
        const uint32_t dot = (uint32_t)sum_of_8(_mm256_add_epi32(sums[c][0], sums[c][1])) - (uint32_t)y->sum;
        dots[c] = y->scale * (float)(int32_t)dot;
    }
}

DEFINE_MATVEC(i2_s)
