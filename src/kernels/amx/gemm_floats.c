// GEMM of F32, F16 and BF16: weights and columns in parts of bfloat16.
#include "kernels/amx/bf16_panel.h"

// The first `count` of 16 values, zeros behind them; nothing else is read.

ALWAYS_INLINE __m512 load_f32(const struct block_f32 *x, uint64_t count)
{
    return _mm512_maskz_loadu_ps(first_lanes_16(count), x);
}

ALWAYS_INLINE __m512 load_f16(const struct block_f16 *x, uint64_t count)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes_16(count), x));
}

ALWAYS_INLINE __m512 load_bf16(const struct block_bf16 *x, uint64_t count)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes_16(count), x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// Defines gemm_<type> from load_<type>.
#define DEFINE_FLOAT_GEMM(type, n_parts, tiles)                                                                  \
    static void unpack_##type(const struct panel_source *s, void *panel)                                         \
    {                                                                                                            \
        bf16_tile(*to)[FLOAT_PANEL_N / 32][n_parts] = panel;                                                     \
        uint16_t rows[16][n_parts][32] __attribute__((aligned(64)));                                             \
        _Static_assert(2 * sizeof *to <= PANEL_BYTES, "panel of " #type);                                        \
        for (uint64_t k = 0; k < s->n; k += 32) {                                                                \
            const uint64_t left = s->n - k;                                                                      \
            for (uint32_t half = 0; half < 2; half++) {                                                          \
                for (uint32_t r = 0; r < 16; r++) {                                                              \
                    const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1;              \
                    const struct block_##type *x = (const struct block_##type *)(s->w + row * s->row_bytes) + k; \
                    prefetch_next_panel(x, s->ahead, 32 * sizeof *x);                                            \
                    const __m512 low = load_##type(x, left);                                                     \
                    const __m512 high = left > 16 ? load_##type(x + 16, left - 16) : _mm512_setzero_ps();        \
                    store_parts(low, high, n_parts, (uint8_t *)rows[r], sizeof rows[r][0]);                      \
                }                                                                                                \
                for (uint32_t i = 0; i < n_parts; i++)                                                           \
                    transpose_16x16(rows[0][i], sizeof rows[0], to[half][k / 32][i]);                            \
            }                                                                                                    \
        }                                                                                                        \
    }                                                                                                            \
    DEFINE_GEMM_OF_TILES(type, TIER(tiles), FLOAT_PANEL_N, 1, FLOAT_PANEL_N / 32 * FLOAT_PARTS * 64)

DEFINE_FLOAT_GEMM(bf16, 1, gemm_tiles_1_part)
DEFINE_FLOAT_GEMM(f16, 2, gemm_tiles_2_parts)
DEFINE_FLOAT_GEMM(f32, 3, gemm_tiles_3_parts)
