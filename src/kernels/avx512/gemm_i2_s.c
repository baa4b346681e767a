// GEMM of I2_S.
#include "kernels/avx512/gemm_panel.h"
#include "kernels/avx2/rows.h"

uint64_t TIER(gemm_q8_row_bytes)(uint64_t n)
{
    return (n + 255) / 256 * sizeof(struct column_256) + 64; // an odd number of lines
}

void TIER(gemm_q8_row_prepare)(const float *x, void *out, uint64_t n)
{
    struct column_256 *y = out;
    const float inverse = begin_column(x, n, out, TIER(gemm_q8_row_bytes)(n));
    for (uint64_t k = 0; k < n; k += SUPER_BLOCK, y++) {
        __m256i sums = _mm256_setzero_si256();
        for (uint64_t e = 0; e < SUPER_BLOCK && k + e < n; e += 32) {
            const __m256i q = quantize_32(x + k + e, inverse);
            _mm256_storeu_si256((__m256i *)(void *)(y->q + e), q);
            sums = partial_sums(sums, q);
        }
        y->zero_256 = (WIDE_BIAS - 124) * sum_of_8(sums);
        y->scale = 1.0f;
    }
}

#define block_i2_s_codes block_i2_s
ALWAYS_INLINE void unpack_row(const struct block_i2_s *x, uint32_t n_blocks, struct row_block *row)
{
    const float one = 1.0f;
    for (uint32_t b = 0; b < 2; b++) {
        const __m256i bytes = b < n_blocks ? load_i2_s(x + b) : _mm256_setzero_si256();
        for (int g = 0; g < 4; g++) {
            const __m256i codes = _mm256_add_epi8(codes_of_i2_s(bytes, g), _mm256_set1_epi8(123));
            _mm256_storeu_si256((__m256i *)(void *)(row->codes + 128 * b + 32 * g), codes);
        }
    }
    memset(row->params, 0, sizeof row->params);
    memcpy(row->params, &one, sizeof one);
}

DEFINE_UNPACK_BY_ROW(i2_s_codes, 128)
static gemm_kernel TIER(gemm_i2_s_codes);
DEFINE_GEMM(i2_s_codes, PANEL_WHOLE, 128)
DEFINE_GEMM_I2_S
