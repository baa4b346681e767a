// GEMM of I2_S.
#include "kernels/avx2/gemm_unpack.h"
#include "kernels/avx2/rows.h"

uint64_t TIER(gemm_q8_row_bytes)(uint64_t n)
{
    return (n + 255) / 256 * sizeof(struct column_256) + 64; // an odd number of lines
}

void TIER(gemm_q8_row_prepare)(const float *x, void *out, uint64_t n)
{
    struct column_256 *y = out;
    const float inverse = begin_column(x, n, out, TIER(gemm_q8_row_bytes)(n));
    for (uint64_t i = 0; i < n / 32; i++) {
        struct column_256 *to = &y[i / 8];
        const __m256i q = quantize_32(x + 32 * i, inverse);
        const __m256i s4 = sums_of_4(q); // of each 16: one half of the register
        const __m256i s8 = _mm256_hadd_epi32(s4, s4), s16 = _mm256_hadd_epi32(s8, s8);
        _mm256_storeu_si256((__m256i *)(void *)(to->q + 32 * (i % 8)), q);
        to->sums_16[2 * (i % 8)] = (int16_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(s16));
        to->sums_16[2 * (i % 8) + 1] = (int16_t)_mm_cvtsi128_si32(_mm256_extracti128_si256(s16, 1));
        to->scale = 1.0f;
    }
}

#define block_i2_s_codes block_i2_s
ALWAYS_INLINE void unpack_row_i2_s_codes(const struct block_i2_s *x, uint32_t n_blocks, struct row_block *row)
{
    for (uint32_t b = 0; b < 2; b++) {
        const __m256i bytes = b < n_blocks ? load_i2_s(x + b) : _mm256_setzero_si256();
        for (int g = 0; g < 4; g++)
            store_codes(row, 4 * b + (uint32_t)g, codes_of_i2_s(bytes, g));
    }
    store_scales_16(row, _mm256_set1_epi16(1), _mm256_set1_epi16(-1));
    row->params[PARAM_D] = bits_from_float(1.0f);
}

static gemm_kernel TIER(gemm_i2_s_codes);
DEFINE_GEMM(i2_s_codes, PANEL_SUB_16, 128, PARAM_D)
DEFINE_GEMM_I2_S
