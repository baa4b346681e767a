// I2_S: 32 bytes for 128 elements, codes of two bits with zero point 1.
#include "kernels/avx512/avx512.h"
#include "kernels/avx2/rows.h"

uint64_t TIER(activation_q8_row_bytes)(uint64_t n)
{
    return activation_row_bytes(n);
}

void TIER(activation_q8_row)(const float *x, void *out, uint64_t n)
{
    prepare_activation_row(x, out, n);
}

// sums + the products of two blocks with 256 activations of each column, each quarter of the codes for itself: four chains.
ALWAYS_INLINE void add_blocks(__m512i bytes, uint64_t p, const void *const *columns, const uint32_t n_columns,
                              __m512i sums[][4])
{
    __m512i codes[4];
    for (int g = 0; g < 4; g++)
        codes[g] = _mm512_and_si512(_mm512_srli_epi16(bytes, (unsigned)(6 - 2 * g)), _mm512_set1_epi8(3));
    for (uint32_t c = 0; c < n_columns; c++) {
        const int8_t(*q)[64] = ((const struct activation_row *)columns[c])->q[p];
        for (int g = 0; g < 4; g++)
            sums[c][g] = add_dot(sums[c][g], codes[g], _mm512_load_si512(q[g]));
    }
}

ALWAYS_INLINE void dot_i2_s(const uint8_t *row, uint64_t n, const void *const *columns, const uint32_t n_columns,
                            struct prefetch ahead, float *dots)
{
    const struct block_i2_s *x = (const struct block_i2_s *)row;
    __m512i sums[MATVEC_MAX_COLUMNS][4];
    for (uint32_t c = 0; c < n_columns; c++)
        for (int g = 0; g < 4; g++)
            sums[c][g] = _mm512_setzero_si512();
    for (uint64_t p = 0; p < n / 256; p++, x += 2) {
        prefetch_stream(ahead, x, 2 * sizeof *x);
        add_blocks(_mm512_loadu_si512(x), p, columns, n_columns, sums);
    }
    if (n % 256 != 0)
        add_blocks(_mm512_zextsi256_si512(load_i2_s(x)), n / 256, columns, n_columns, sums);
    for (uint32_t c = 0; c < n_columns; c++) {
        const struct activation_row *y = columns[c];
        const __m512i both =
            _mm512_add_epi32(_mm512_add_epi32(sums[c][0], sums[c][1]), _mm512_add_epi32(sums[c][2], sums[c][3]));
        const uint32_t dot = (uint32_t)_mm512_reduce_add_epi32(both) - (uint32_t)y->sum;
        dots[c] = y->scale * (float)(int32_t)dot;
    }
}

DEFINE_MATVEC(i2_s)
