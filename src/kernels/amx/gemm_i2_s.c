// GEMM of I2_S. bfloat16 holds every code, of weights and of activations.
#include "kernels/amx/bf16_panel.h"
#include "kernels/avx2/rows.h"

uint64_t TIER(gemm_q8_row_bytes)(uint64_t n)
{
    return 2 * n + 64; // an odd number of lines
}

void TIER(gemm_q8_row_prepare)(const float *x, void *out, uint64_t n)
{
    const uint64_t bytes = TIER(gemm_q8_row_bytes)(n);
    float inverse;
    memset((uint8_t *)out + 2 * n, 0, bytes - 2 * n);
    *scale_of_column(out, bytes) = row_scale(x, n, &inverse);
    for (uint64_t k = 0; k < n; k += 32) {
        const __m512i q = _mm512_cvtepi8_epi16(quantize_32(x + k, inverse));
        const __m256i low = _mm512_castsi512_si256(q), high = _mm512_extracti64x4_epi64(q, 1);
        const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(low));
        _mm512_store_si512((uint16_t *)out + k, round_to_bf16(first, _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(high))));
    }
}

#define block_i2_s_codes block_i2_s
ALWAYS_INLINE void round_row(const struct block_i2_s *x, uint32_t n_blocks, uint16_t *to)
{
    const __m512i table = _mm512_set1_epi64(0x40003f800000bf80); // -1, 0, 1, 2
    for (uint32_t b = 0; b < n_blocks; b++) {
        const __m256i bytes = load_i2_s(x + b);
        for (int g = 0; g < 4; g++)
            store_looked_up(table, _mm512_cvtepu8_epi16(codes_of_i2_s(bytes, g)), to + 128 * b + 32 * g);
    }
}

static gemm_kernel TIER(gemm_i2_s_codes);
DEFINE_BF16_GEMM(i2_s_codes, 128)
DEFINE_GEMM_I2_S
