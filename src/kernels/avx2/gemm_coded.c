// GEMM of the coded types.
#include "kernels/avx2/gemm_unpack.h"
#include "kernels/avx2/coded.h"

#include "base/half.h"

ALWAYS_INLINE void store_wide_codes(const struct coded_values *values, struct row_block_wide *row)
{
#ifdef __AVXVNNI__
    for (uint32_t v = 0; v < 8; v++) {
        const __m256i q = load_32(values->q + 32 * v);
        _mm256_store_si256((__m256i *)(void *)(row->codes + 32 * v), _mm256_xor_si256(q, _mm256_set1_epi8(-128)));
    }
#else
    for (uint32_t v = 0; v < 16; v++) {
        const __m128i q = _mm_loadu_si128((const __m128i *)(const void *)(values->q + 16 * v));
        _mm256_store_si256((__m256i *)(void *)(row->codes + 16 * v), _mm256_cvtepi8_epi16(q));
    }
#endif
}

// Defines gemm_<type> from values_<type>: codes of any size.
#define DEFINE_GEMM_SIGNED(type, block_size, kind)                                                                    \
    DEFINE_VALUES_SIGNED(type, block_size)                                                                            \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block_wide *row) \
    {                                                                                                                 \
        struct coded_values values;                                                                                   \
        if ((block_size) < SUPER_BLOCK && n_blocks * (block_size) < SUPER_BLOCK)                                      \
            memset(&values, 0, sizeof values);                                                                        \
        values_##type(x, n_blocks, &values);                                                                          \
        store_wide_codes(&values, row);                                                                               \
        for (uint32_t i = 0; i < ((kind) == PANEL_HALVES ? 16 : 8); i++)                                              \
            row->params[i] = bits_from_float(values.scale[(kind) == PANEL_HALVES ? i : 2 * i]);                       \
    }                                                                                                                 \
    DEFINE_GEMM_OF(type, kind, block_size, (kind) == PANEL_HALVES ? 16 : 8, panel_block_wide, row_block_wide,         \
                   PANEL_WIDE_BLOCKS)

// Codes 0..3 with zero point 1, one scale.
#define DEFINE_GEMM_TERNARY(type)                                                                                \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row) \
    {                                                                                                            \
        __m256i codes[8];                                                                                        \
        (void)n_blocks; /* 1 */                                                                                  \
        unsigned_all_##type(x, codes);                                                                           \
        for (uint32_t v = 0; v < 8; v++)                                                                         \
            store_codes(row, v, codes[v]);                                                                       \
        store_scales_16(row, _mm256_set1_epi16(1), _mm256_set1_epi16(-1));                                       \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                                 \
    }                                                                                                            \
    DEFINE_GEMM(type, PANEL_SUB_16, 256, PARAM_D)

DEFINE_GEMM_SIGNED(iq4_nl, 32, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(iq4_xs, 256, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(mxfp4, 32, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(nvfp4, 64, PANEL_HALVES)
DEFINE_GEMM_SIGNED(q1_0, 128, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(q2_0, 64, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(iq2_xxs, 256, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(iq2_xs, 256, PANEL_HALVES)
DEFINE_GEMM_SIGNED(iq2_s, 256, PANEL_HALVES)
DEFINE_GEMM_SIGNED(iq3_xxs, 256, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(iq3_s, 256, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(iq1_s, 256, PANEL_ZERO_128)
DEFINE_GEMM_SIGNED(iq1_m, 256, PANEL_HALVES)
DEFINE_GEMM_TERNARY(tq1_0)
DEFINE_GEMM_TERNARY(tq2_0)
