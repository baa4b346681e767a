// GEMM of F32, F16 and BF16: a panel of floats, 256 elements deep. Each 256 products of a row and a column are summed
// by one chain of fused multiply-adds in element order, and those sums in order.
#include "kernels/avx512/gemm_panel.h"

ALWAYS_INLINE void multiply_tile(const struct tile *t, const uint32_t n_columns)
{
    const float *w = t->panel;
    const float *y[TILE_COLUMNS];
    __m512 sums[2][TILE_COLUMNS];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        y[c] = (const float *)(const void *)(t->column + c * t->column_stride);
        sums[0][c] = sums[1][c] = _mm512_setzero_ps();
    }
    for (uint64_t k = 0; k < t->n; k++, w += GEMM_ROWS) {
        const __m512 w0 = _mm512_load_ps(w), w1 = _mm512_load_ps(w + 16);
        if (k % 16 == 0) {
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                _mm_prefetch((const char *)(y[c] + k) + t->ahead, _MM_HINT_T0);
        }
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512 x = _mm512_set1_ps(y[c][k]);
            sums[0][c] = _mm512_fmadd_ps(w0, x, sums[0][c]);
            sums[1][c] = _mm512_fmadd_ps(w1, x, sums[1][c]);
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            __m512 sum = sums[h][c];
            if (t->before != NULL)
                sum = _mm512_add_ps(_mm512_load_ps(t->before + c * GEMM_ROWS + 16 * h), sum);
            _mm512_mask_storeu_ps(t->out + c * t->out_stride + 16 * h, rows_to_store(t, h), sum);
        }
    }
}

#define ALL_TILES TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#define TILE(n_columns)                                    \
    static void tile_f32_##n_columns(const struct tile *t) \
    {                                                      \
        multiply_tile(t, n_columns);                       \
    }
ALL_TILES
#undef TILE

#define TILE(n_columns) [n_columns - 1] = tile_f32_##n_columns,
static tile_kernel *const tiles_f32[TILE_COLUMNS] = {ALL_TILES};
#undef TILE

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

// Defines unpack_<type> from load_<type>.
#define DEFINE_UNPACK_FLOATS(type)                                                                               \
    static void unpack_##type(const struct panel_source *s, void *panel)                                         \
    {                                                                                                            \
        float(*to)[GEMM_ROWS] = panel;                                                                           \
        float rows[16][16] __attribute__((aligned(64)));                                                         \
        float columns[16][16] __attribute__((aligned(64)));                                                      \
        for (uint64_t k = 0; k < s->n; k += 16) {                                                                \
            for (uint32_t half = 0; half < 2; half++) {                                                          \
                for (uint32_t r = 0; r < 16; r++) {                                                              \
                    const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1;              \
                    const struct block_##type *x = (const struct block_##type *)(s->w + row * s->row_bytes) + k; \
                    prefetch_next_panel(x, s->ahead, 16 * sizeof *x);                                            \
                    _mm512_store_ps(rows[r], load_##type(x, s->n - k));                                          \
                }                                                                                                \
                transpose_16x16(rows, sizeof rows[0], columns);                                                  \
                for (uint32_t i = 0; i < 16; i++)                                                                \
                    _mm512_store_ps(to[k + i] + 16 * half, _mm512_load_ps(columns[i]));                          \
            }                                                                                                    \
        }                                                                                                        \
    }

#define DEFINE_GEMM_FLOATS(type) \
    DEFINE_UNPACK_FLOATS(type)   \
    DEFINE_GEMM_OF_TILES(type, tiles_f32, PANEL_ELEMENTS, 1, PANEL_ELEMENTS * sizeof(float))

DEFINE_GEMM_FLOATS(f32)
DEFINE_GEMM_FLOATS(f16)
DEFINE_GEMM_FLOATS(bf16)
