// What the unpackers of the quantized GEMM share: one row's 256 elements at a time, then a transposition of 16 rows.
#ifndef CHORD_KERNELS_AVX2_GEMM_UNPACK_H
#define CHORD_KERNELS_AVX2_GEMM_UNPACK_H

#include "kernels/avx2/gemm_panel.h"

// Dwords first..end - 1, a multiple of 4, of 16 rows that are `stride` bytes apart.
ALWAYS_INLINE void transpose_rows(const void *rows, uint64_t stride, const uint32_t first, const uint32_t end, void *to)
{
    for (uint32_t i = first; i < end; i += 4) {
        for (uint32_t half = 0; half < 2; half++)
            transpose_8x4((const uint8_t *)rows + 8 * half * stride + 4 * i, stride,
                          (uint8_t *)to + 4 * (GEMM_ROWS * i + 8 * half), 4 * GEMM_ROWS);
    }
}

ALWAYS_INLINE void store_codes(struct row_block *row, uint32_t v, __m256i codes)
{
    _mm256_store_si256((__m256i *)(void *)(row->codes + 32 * v), codes);
}

ALWAYS_INLINE void store_params(struct row_block *row, uint32_t first, __m256i params)
{
    _mm256_storeu_si256((__m256i *)(void *)(row->params + first), params);
}

// Eight 16-bit scales of sub-blocks as the tiles take them.
ALWAYS_INLINE __m256i scale_params(__m128i scales)
{
    const __m256i wide = _mm256_cvtepi16_epi32(scales);
#ifdef __AVXVNNI__
    return _mm256_castps_si256(_mm256_cvtepi32_ps(wide));
#else
    return _mm256_blend_epi16(wide, _mm256_slli_epi32(wide, 16), 0xaa);
#endif
}

ALWAYS_INLINE void store_scales_16(struct row_block *row, __m256i scales, __m256i mins)
{
    store_params(row, 0, scale_params(_mm256_castsi256_si128(scales)));
    store_params(row, 8, scale_params(_mm256_extracti128_si256(scales, 1)));
    store_params(row, PARAM_MINS_16, mins);
}

// ---- panels ----------------------------------------------------------------------------------------------------------

// Parameters 0..end - 1 are used, and of super-blocks those from D on. Rows that are missing repeat the last; blocks of
// 32 that are missing leave what was there, which is not used.
#define DEFINE_GEMM_OF(type, kind, block_size, end, panel_block_, row_block_, n_panel_blocks)      \
    static void unpack_##type(const struct panel_source *s, void *panel)                           \
    {                                                                                              \
        enum { BLOCKS = 256 / (block_size) };                                                      \
        struct panel_block_ *to = panel;                                                           \
        struct row_block_ rows[GEMM_ROWS];                                                         \
        for (uint64_t k = 0; k < s->n; k += 256, to++) {                                           \
            const uint64_t left = (s->n - k) / (block_size);                                       \
            for (uint32_t r = 0; r < GEMM_ROWS; r++) {                                             \
                const uint32_t row = r < s->n_rows ? r : s->n_rows - 1;                            \
                const struct block_##type *x =                                                     \
                    (const struct block_##type *)(s->w + row * s->row_bytes) + k / (block_size);   \
                prefetch_next_panel(x, s->ahead, BLOCKS * sizeof *x);                              \
                unpack_row_##type(x, left < BLOCKS ? (uint32_t)left : BLOCKS, &rows[r]);           \
            }                                                                                      \
            transpose_rows(rows[0].codes, sizeof rows[0], 0, sizeof rows[0].codes / 4, to->codes); \
            transpose_rows(rows[0].params, sizeof rows[0], 0, end, to->params);                    \
            if ((kind) > PANEL_MIN)                                                                \
                transpose_rows(rows[0].params, sizeof rows[0], PARAM_D, N_PARAMS, to->params);     \
        }                                                                                          \
    }                                                                                              \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles)[kind], 256 * (n_panel_blocks), block_size,         \
                         (n_panel_blocks) *                                                        \
                             ((kind) <= PANEL_MIN ? sizeof(struct column_32) : sizeof(struct column_256)))
#define DEFINE_GEMM(type, kind, block_size, end) \
    DEFINE_GEMM_OF(type, kind, block_size, end, panel_block, row_block, PANEL_BLOCKS)

#endif
