// GEMM of the coded types.
#include "kernels/avx512/gemm_panel.h"
#include "kernels/avx2/coded.h"

// Codes with `zero` added.
ALWAYS_INLINE void store_unsigned(const struct coded_values *values, int zero, struct row_block *row)
{
    for (int v = 0; v < 256; v += 64) {
        const __m512i q = _mm512_loadu_si512(values->q + v);
        _mm512_store_si512(row->codes + v, _mm512_add_epi8(q, _mm512_set1_epi8((char)zero)));
    }
}

// Scales of blocks of 32, of their halves, or the one of all.
ALWAYS_INLINE void store_scales(const struct coded_values *values, const enum panel_kind kind, struct row_block *row)
{
    const __m512 halves = _mm512_loadu_ps(values->scale);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
    _mm512_storeu_ps((float *)(void *)row->params,
                     kind == PANEL_BLOCKS_32 ? _mm512_permutexvar_ps(even, halves) : halves);
}

// Defines gemm_<type> from values_<type>.
#define DEFINE_GEMM_VALUES(type, block_size, kind)                                                               \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n_blocks, struct row_block *row) \
    {                                                                                                            \
        struct coded_values values;                                                                              \
        if ((block_size) < SUPER_BLOCK && n_blocks * (block_size) < SUPER_BLOCK)                                 \
            memset(&values, 0, sizeof values);                                                                   \
        values_##type(x, n_blocks, &values);                                                                     \
        store_unsigned(&values, (kind) == PANEL_WHOLE ? 124 : 128, row);                                         \
        store_scales(&values, kind, row);                                                                        \
    }                                                                                                            \
    DEFINE_UNPACK_BY(unpack_row_##type, type, block_size)                                                        \
    DEFINE_GEMM(type, kind, block_size)

#define DEFINE_GEMM_SIGNED(type, block_size, kind) \
    DEFINE_VALUES_SIGNED(type, block_size)         \
    DEFINE_GEMM_VALUES(type, block_size, kind)
#define DEFINE_GEMM_TERNARY(type) \
    DEFINE_VALUES_TERNARY(type)   \
    DEFINE_GEMM_VALUES(type, 256, PANEL_WHOLE)

DEFINE_GEMM_SIGNED(iq4_nl, 32, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(iq4_xs, 256, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(mxfp4, 32, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(nvfp4, 64, PANEL_HALVES_32)
DEFINE_GEMM_SIGNED(q1_0, 128, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(q2_0, 64, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(iq2_xxs, 256, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(iq2_xs, 256, PANEL_HALVES_32)
DEFINE_GEMM_SIGNED(iq2_s, 256, PANEL_HALVES_32)
DEFINE_GEMM_SIGNED(iq3_xxs, 256, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(iq3_s, 256, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(iq1_s, 256, PANEL_BLOCKS_32)
DEFINE_GEMM_SIGNED(iq1_m, 256, PANEL_HALVES_32)
DEFINE_GEMM_TERNARY(tq1_0)
DEFINE_GEMM_TERNARY(tq2_0)
