// GEMM of F32, F16 and BF16: weights and columns in parts of bfloat16.
#include "kernels/amx/bf16_panel.h"

// ---- F16 and BF16: pairs of elements are transposed as they lie in the file -------------------------------------------

// Elements k .. k + 31 of 16 rows of the upper or the lower half, [element / 2][row][element % 2]. Missing rows repeat the last,
// missing elements are zero, and nothing outside the rows is read.
ALWAYS_INLINE void transpose_words(const struct panel_source *s, uint32_t half, uint64_t k, bf16_tile to)
{
    const uint8_t *rows = s->w + 16 * half * s->row_bytes + k * sizeof(uint16_t);
    if (s->n - k >= 32 && s->n_rows >= 16 * half + 16) {
        transpose_16x16(rows, s->row_bytes, to);
        return;
    }
    uint16_t copy[16][32] = {{0}};
    for (uint32_t r = 0; r < 16; r++) {
        const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1;
        const uint64_t left = s->n - k < 32 ? s->n - k : 32;
        memcpy(copy[r], s->w + row * s->row_bytes + k * sizeof(uint16_t), left * sizeof(uint16_t));
    }
    transpose_16x16(copy, sizeof copy[0], to);
}

static void unpack_bf16(const struct panel_source *s, void *panel)
{
    bf16_tile(*to)[FLOAT_PANEL_N / 32] = panel;
    for (uint64_t k = 0; k < s->n; k += 32)
        for (uint32_t half = 0; half < 2; half++)
            transpose_words(s, half, k, to[half][k / 32]);
}

static void unpack_f16(const struct panel_source *s, void *panel)
{
    bf16_tile(*to)[FLOAT_PANEL_N / 32][2] = panel;
    bf16_tile halves __attribute__((aligned(64)));
    for (uint64_t k = 0; k < s->n; k += 32)
        for (uint32_t half = 0; half < 2; half++) {
            transpose_words(s, half, k, halves);
            for (uint32_t pair = 0; pair < 16; pair++) {
                const __m512i words = _mm512_load_si512(halves[pair]);
                store_parts(_mm512_cvtph_ps(_mm512_castsi512_si256(words)),
                            _mm512_cvtph_ps(_mm512_extracti64x4_epi64(words, 1)), 2,
                            (uint8_t *)to[half][k / 32][0][pair], sizeof(bf16_tile));
            }
        }
}

// ---- F32 ---------------------------------------------------------------------------------------------------------------

// The first `count` of 16 values, zeros behind them; nothing else is read.
ALWAYS_INLINE __m512 load_f32(const struct block_f32 *x, uint64_t count)
{
    return _mm512_maskz_loadu_ps(first_lanes_16(count), x);
}

static void unpack_f32(const struct panel_source *s, void *panel)
{
    bf16_tile(*to)[FLOAT_PANEL_N / 32][3] = panel;
    uint16_t rows[16][3][32] __attribute__((aligned(64)));
    for (uint64_t k = 0; k < s->n; k += 32) {
        const uint64_t left = s->n - k;
        for (uint32_t half = 0; half < 2; half++) {
            for (uint32_t r = 0; r < 16; r++) {
                const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1;
                const struct block_f32 *x = (const struct block_f32 *)(s->w + row * s->row_bytes) + k;
                const __m512 low = load_f32(x, left);
                const __m512 high = left > 16 ? load_f32(x + 16, left - 16) : _mm512_setzero_ps();
                store_parts(low, high, 3, (uint8_t *)rows[r], sizeof rows[r][0]);
            }
            for (uint32_t i = 0; i < 3; i++)
                transpose_16x16(rows[0][i], sizeof rows[0], to[half][k / 32][i]);
        }
    }
}

#define DEFINE_FLOAT_GEMM(type, n_parts, tiles)                                                           \
    _Static_assert(FLOAT_PANEL_N / 16 * (n_parts) * sizeof(bf16_tile) <= PANEL_BYTES, "panel of " #type); \
    DEFINE_GEMM_OF_TILES(type, TIER(tiles), FLOAT_PANEL_N, 1, FLOAT_PANEL_N / 32 * FLOAT_PARTS * 64)

DEFINE_FLOAT_GEMM(bf16, 1, gemm_tiles_1_part)
DEFINE_FLOAT_GEMM(f16, 2, gemm_tiles_2_parts)
DEFINE_FLOAT_GEMM(f32, 3, gemm_tiles_3_parts)
