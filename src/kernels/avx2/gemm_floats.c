// GEMM of F32, F16 and BF16: a panel of floats, 256 elements deep. Each 256 products of a row and a column are summed
// by one chain of fused multiply-adds in element order, and those sums in order.
#include "kernels/avx2/gemm_panel.h"

ALWAYS_INLINE void multiply_tile(const struct tile *t, const uint32_t n_columns)
{
    const float *w = t->panel;
    const float *y[TILE_COLUMNS];
    __m256 sums[2][TILE_COLUMNS];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        y[c] = (const float *)(const void *)(t->column + c * t->column_stride);
        sums[0][c] = sums[1][c] = _mm256_setzero_ps();
    }
    for (uint64_t k = 0; k < t->n; k++, w += GEMM_ROWS) {
        const __m256 w0 = _mm256_load_ps(w), w1 = _mm256_load_ps(w + 8);
        if (k % 16 == 0) {
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                _mm_prefetch((const char *)(y[c] + k) + t->ahead, _MM_HINT_T0);
        }
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256 x = _mm256_set1_ps(y[c][k]);
            sums[0][c] = _mm256_fmadd_ps(w0, x, sums[0][c]);
            sums[1][c] = _mm256_fmadd_ps(w1, x, sums[1][c]);
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        if (t->before != NULL) {
            sums[0][c] = _mm256_add_ps(_mm256_load_ps(t->before + c * GEMM_ROWS), sums[0][c]);
            sums[1][c] = _mm256_add_ps(_mm256_load_ps(t->before + c * GEMM_ROWS + 8), sums[1][c]);
        }
        store_rows(t, c, sums[0][c], sums[1][c]);
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

// 8 values from x.

ALWAYS_INLINE __m256 load_f32(const struct block_f32 *x)
{
    return _mm256_loadu_ps((const float *)(const void *)x);
}

ALWAYS_INLINE __m256 load_f16(const struct block_f16 *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x));
}

ALWAYS_INLINE __m256 load_bf16(const struct block_bf16 *x)
{
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

// Defines unpack_<type> from load_<type>. The last values of a row pass through the stack; rows that are missing
// repeat the last.
#define DEFINE_GEMM_FLOATS(type)                                                                             \
    static void unpack_##type(const struct panel_source *s, void *panel)                                     \
    {                                                                                                        \
        float(*to)[GEMM_ROWS] = panel;                                                                       \
        float rows[GEMM_ROWS][8] __attribute__((aligned(32)));                                               \
        for (uint64_t k = 0; k < s->n; k += 8) {                                                             \
            for (uint32_t r = 0; r < GEMM_ROWS; r++) {                                                       \
                const uint32_t row = r < s->n_rows ? r : s->n_rows - 1;                                      \
                const struct block_##type *x = (const struct block_##type *)(s->w + row * s->row_bytes) + k; \
                struct block_##type tail[8] = {{{0}}};                                                       \
                prefetch_next_panel(x, s->ahead, 8 * sizeof *x);                                             \
                if (s->n - k < 8) {                                                                          \
                    memcpy(tail, x, (s->n - k) * sizeof *x);                                                 \
                    x = tail;                                                                                \
                }                                                                                            \
                _mm256_store_ps(rows[r], load_##type(x));                                                    \
            }                                                                                                \
            for (uint32_t half = 0; half < 2; half++)                                                        \
                for (uint32_t i = 0; i < 8; i += 4)                                                          \
                    transpose_8x4(&rows[8 * half][i], sizeof rows[0], to[k + i] + 8 * half, sizeof to[0]);   \
        }                                                                                                    \
    }                                                                                                        \
    DEFINE_GEMM_OF_TILES(type, tiles_f32, PANEL_ELEMENTS, 1, PANEL_ELEMENTS * sizeof(float))

DEFINE_GEMM_FLOATS(f32)
DEFINE_GEMM_FLOATS(f16)
DEFINE_GEMM_FLOATS(bf16)
