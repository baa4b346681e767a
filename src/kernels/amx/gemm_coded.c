// GEMM of the coded types.
#include "kernels/amx/bf16_panel.h"
#include "kernels/avx2/coded.h"

ALWAYS_INLINE __m512 product_of_16(const struct coded_values *values, uint32_t at)
{
    const __m128i q = _mm_loadu_si128((const __m128i *)(const void *)(values->q + at));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), _mm512_set1_ps(values->scale[at / 16]));
}

ALWAYS_INLINE void round_values(const struct coded_values *values, uint32_t n, uint16_t *to)
{
    for (uint32_t e = 0; e < n; e += 32)
        _mm512_store_si512(to + e, round_to_bf16(product_of_16(values, e), product_of_16(values, e + 16)));
}

// Defines gemm_<type> from values_<type>.
#define DEFINE_GEMM_VALUES(type, block_size)                                                           \
    ALWAYS_INLINE void round_row_##type(const struct block_##type *x, uint32_t n_blocks, uint16_t *to) \
    {                                                                                                  \
        struct coded_values values;                                                                    \
        values_##type(x, n_blocks, &values);                                                           \
        round_values(&values, n_blocks *(block_size), to);                                             \
    }                                                                                                  \
    DEFINE_BF16_GEMM_BY(round_row_##type, type, block_size)

#define DEFINE_GEMM_SIGNED(type, block_size) \
    DEFINE_VALUES_SIGNED(type, block_size)   \
    DEFINE_GEMM_VALUES(type, block_size)
#define DEFINE_GEMM_TERNARY(type) \
    DEFINE_VALUES_TERNARY(type)   \
    DEFINE_GEMM_VALUES(type, 256)

DEFINE_GEMM_SIGNED(iq4_nl, 32)
DEFINE_GEMM_SIGNED(iq4_xs, 256)
DEFINE_GEMM_SIGNED(mxfp4, 32)
DEFINE_GEMM_SIGNED(nvfp4, 64)
DEFINE_GEMM_SIGNED(q1_0, 128)
DEFINE_GEMM_SIGNED(q2_0, 64)
DEFINE_GEMM_SIGNED(iq2_xxs, 256)
DEFINE_GEMM_SIGNED(iq2_xs, 256)
DEFINE_GEMM_SIGNED(iq2_s, 256)
DEFINE_GEMM_SIGNED(iq3_xxs, 256)
DEFINE_GEMM_SIGNED(iq3_s, 256)
DEFINE_GEMM_SIGNED(iq1_s, 256)
DEFINE_GEMM_SIGNED(iq1_m, 256)
DEFINE_GEMM_TERNARY(tq1_0)
DEFINE_GEMM_TERNARY(tq2_0)
