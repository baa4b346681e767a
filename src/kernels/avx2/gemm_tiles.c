// The tiles of the quantized GEMM: one for each kind of panel and number of columns. Each column sees the same
// operations in the same order whatever the tile.
#include "kernels/avx2/gemm_panel.h"

// Sums of one tile: [half of the rows][column].
typedef __m256 sums_f32[2][TILE_COLUMNS];
typedef __m256i sums_i32[2][TILE_COLUMNS];

ALWAYS_INLINE void load_sums(const struct tile *t, const uint32_t n_columns, sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        sums[0][c] = sums[1][c] = _mm256_setzero_ps();
    if (t->before == NULL)
        return;
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        sums[0][c] = _mm256_load_ps(t->before + c * GEMM_ROWS);
        sums[1][c] = _mm256_load_ps(t->before + c * GEMM_ROWS + 8);
    }
}

ALWAYS_INLINE void store_sums(const struct tile *t, const uint32_t n_columns, const sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        store_rows(t, c, sums[0][c], sums[1][c]);
}

ALWAYS_INLINE __m256i broadcast_32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

ALWAYS_INLINE __m256i load_dwords(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

// Compilers know that integers may be added in any order, and would collect products on the stack to add them as a
// tree: the empty statement hides each sum from them.
ALWAYS_INLINE __m256i add_product(__m256i sum, __m256i w, __m256i q)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, q));
    __asm__("" : "+x"(sum));
    return sum;
}

// Adds 16-bit pairs of the panel, `at` [n_steps][GEMM_ROWS], times pairs of each column, `from` bytes into its block.
ALWAYS_INLINE void add_products(const void *at, const uint8_t *const y[TILE_COLUMNS], uint64_t from,
                                const uint32_t n_steps, const uint32_t n_columns, sums_i32 sums)
{
    const uint8_t *w = at;
    UNROLL
    for (uint32_t k = 0; k < n_steps; k++) {
        const __m256i w0 = load_dwords(w + 64 * k), w1 = load_dwords(w + 64 * k + 32);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256i q = broadcast_32(y[c] + from + 4 * k);
            sums[0][c] = add_product(sums[0][c], w0, q);
            sums[1][c] = add_product(sums[1][c], w1, q);
        }
    }
}

// Prefetches the eighth `part` of the same block of the next tile's columns.
ALWAYS_INLINE void prefetch_ahead(const uint8_t *const y[TILE_COLUMNS], int64_t ahead, uint32_t part,
                                  const uint32_t n_columns)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        _mm_prefetch((const char *)(y[c] + ahead + COLUMN_BLOCK_BYTES / 8 * part), _MM_HINT_T0);
        if (part == 7)
            _mm_prefetch((const char *)(y[c] + ahead + COLUMN_BLOCK_BYTES - 64), _MM_HINT_T0);
    }
}

ALWAYS_INLINE void zero_products(const uint32_t n_columns, sums_i32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        sums[0][c] = sums[1][c] = _mm256_setzero_si256();
}

ALWAYS_INLINE __m256 load_param(const struct panel_block *block, uint32_t param, uint32_t half)
{
    return _mm256_castsi256_ps(load_dwords(block->params[param] + 8 * half));
}

// n_groups: blocks of 32 that exist.
ALWAYS_INLINE void add_blocks_32(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                                 uint32_t n_groups, const bool min, const uint32_t n_columns, sums_f32 sums)
{
    for (uint32_t g = 0; g < n_groups; g++) {
        sums_i32 products;
        prefetch_ahead(y, ahead, g, n_columns);
        zero_products(n_columns, products);
        add_products(block->codes[16 * g], y, 64 * g, 16, n_columns, products);
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            const __m256 scale = load_param(block, g, h);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m256 of_column = _mm256_set1_ps(((const struct column_32 *)y[c])->scale[g]);
                sums[h][c] =
                    _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[h][c]), _mm256_mul_ps(scale, of_column), sums[h][c]);
                if (min)
                    sums[h][c] =
                        _mm256_fmadd_ps(load_param(block, 8 + g, h),
                                        _mm256_set1_ps(((const struct column_32 *)y[c])->scaled_sum[g]), sums[h][c]);
            }
        }
    }
}

ALWAYS_INLINE void add_whole(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                             const bool min, const uint32_t n_columns, sums_f32 sums)
{
    sums_i32 products, of_mins;
    zero_products(n_columns, products);
    for (uint32_t part = 0; part < 8; part++) {
        prefetch_ahead(y, ahead, part, n_columns);
        add_products(block->codes[16 * part], y, 64 * part, 16, n_columns, products);
    }
    sums_f32 of_block;
    UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        const __m256 d = load_param(block, 8, h);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            of_block[h][c] = _mm256_mul_ps(_mm256_cvtepi32_ps(products[h][c]), d);
    }
    if (min) {
        zero_products(n_columns, of_mins);
        add_products(block->params[0], y, offsetof(struct column_256, sums_16), 8, n_columns, of_mins);
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            const __m256 dmin = load_param(block, 9, h);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                of_block[h][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(of_mins[h][c]), dmin, of_block[h][c]);
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        const __m256 scale = _mm256_set1_ps(((const struct column_256 *)y[c])->scale);
        sums[0][c] = _mm256_fmadd_ps(of_block[0][c], scale, sums[0][c]);
        sums[1][c] = _mm256_fmadd_ps(of_block[1][c], scale, sums[1][c]);
    }
}

ALWAYS_INLINE void multiply_tile(const struct tile *t, const enum panel_kind kind, const uint32_t n_columns)
{
    const struct panel_block *block = t->panel;
    const uint8_t *y[TILE_COLUMNS];
    sums_f32 sums;
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        y[c] = t->column + c * t->column_stride;
    load_sums(t, n_columns, sums);
    for (uint64_t k = 0; k < t->n; k += 256, block++) {
        const uint32_t n_groups = t->n - k < 256 ? (uint32_t)(t->n - k) / 32 : 8;
        if (kind == PANEL_BLOCKS_32 || kind == PANEL_BLOCKS_32_MIN)
            add_blocks_32(block, y, t->ahead, n_groups, kind == PANEL_BLOCKS_32_MIN, n_columns, sums);
        else
            add_whole(block, y, t->ahead, kind == PANEL_WHOLE_MIN, n_columns, sums);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            y[c] += COLUMN_BLOCK_BYTES;
    }
    store_sums(t, n_columns, sums);
}

// ---- one function per kind and number of columns ---------------------------------------------------------------------

#define TILES_OF(kind) TILE(kind, 1) TILE(kind, 2) TILE(kind, 3) TILE(kind, 4)
#define ALL_TILES \
    TILES_OF(PANEL_BLOCKS_32) TILES_OF(PANEL_BLOCKS_32_MIN) TILES_OF(PANEL_WHOLE) TILES_OF(PANEL_WHOLE_MIN)

#define TILE(kind, n_columns)                                   \
    static void tile_##kind##_##n_columns(const struct tile *t) \
    {                                                           \
        multiply_tile(t, kind, n_columns);                      \
    }
ALL_TILES
#undef TILE

#define TILE(kind, n_columns) [kind][n_columns - 1] = tile_##kind##_##n_columns,
tile_kernel *const TIER(gemm_tiles)[N_PANEL_KINDS][TILE_COLUMNS] = {ALL_TILES};
#undef TILE
