// The tiles of the quantized GEMM: one for each kind of panel and number of columns. Each column sees the same
// operations in the same order whatever the tile.
#include "kernels/avx512/gemm_panel.h"

#include <string.h>

// Sums of one tile: [half of the rows][column].
typedef __m512 sums_f32[2][TILE_COLUMNS];
typedef __m512i sums_i32[2][TILE_COLUMNS];

ALWAYS_INLINE void load_sums(const struct tile *t, const uint32_t n_columns, sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t h = 0; h < 2; h++)
            sums[h][c] = _mm512_setzero_ps();
    }
    if (t->before == NULL)
        return;
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t h = 0; h < 2; h++)
            sums[h][c] = _mm512_load_ps(t->before + c * GEMM_ROWS + 16 * h);
    }
}

ALWAYS_INLINE void store_sums(const struct tile *t, const uint32_t n_columns, const sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t h = 0; h < 2; h++)
            _mm512_mask_storeu_ps(t->out + c * t->out_stride + 16 * h, rows_to_store(t, h), sums[h][c]);
    }
}

// Columns at the tile's first element.
ALWAYS_INLINE void column_pointers(const struct tile *t, const uint32_t n_columns, const uint8_t *y[TILE_COLUMNS])
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        y[c] = t->column + c * t->column_stride;
}

ALWAYS_INLINE __m512i broadcast_32(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

// Sets both halves of every column to one 32-bit number of the column, `at` bytes into its block.
ALWAYS_INLINE void start_products(const uint8_t *const y[TILE_COLUMNS], uint64_t at, const uint32_t n_columns,
                                  sums_i32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        sums[0][c] = sums[1][c] = broadcast_32(y[c] + at);
}

ALWAYS_INLINE void zero_products(const uint32_t n_columns, sums_i32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        sums[0][c] = sums[1][c] = _mm512_setzero_si512();
}

// Prefetches the eighth `part` of the same block of the next tile's columns.
ALWAYS_INLINE void prefetch_ahead(const uint8_t *const y[TILE_COLUMNS], int64_t ahead, uint32_t part,
                                  const uint32_t n_columns)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        _mm_prefetch((const char *)(y[c] + ahead + COLUMN_BLOCK_BYTES / 8 * part), _MM_HINT_T0);
}

// Adds the products of elements 4 * step ... 4 * (step + n_steps) - 1 of the block. max_code: 31, 63, or 255, which takes
// WIDE_BIAS off.
#ifdef __AVX512VNNI__
ALWAYS_INLINE void add_products(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS], uint32_t step,
                                const uint32_t n_steps, const uint32_t max_code, const uint32_t n_columns,
                                sums_i32 sums)
{
    UNROLL
    for (uint32_t k = 0; k < n_steps; k++) {
        const __m512i w0 = _mm512_load_si512(block[0].codes[step + k]);
        const __m512i w1 = _mm512_load_si512(block[1].codes[step + k]);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512i q = broadcast_32(y[c] + 4 * (step + k));
            sums[0][c] = max_code == 255 ? add_dot_wide(sums[0][c], w0, q) : add_dot(sums[0][c], w0, q);
            sums[1][c] = max_code == 255 ? add_dot_wide(sums[1][c], w1, q) : add_dot(sums[1][c], w1, q);
        }
    }
}
#else
// As many products are added in 16 bits as fit; their widening to 32 is what costs.
ALWAYS_INLINE void add_products(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS], uint32_t step,
                                const uint32_t n_steps, const uint32_t max_code, const uint32_t n_columns,
                                sums_i32 sums)
{
    const uint32_t chain = max_code == 255 ? 1 : INT16_MAX / (2 * 127 * max_code);
    UNROLL
    for (uint32_t k = 0; k < n_steps; k += chain) {
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            __m512i words[TILE_COLUMNS];
            UNROLL
            for (uint32_t i = 0; i < chain; i++) {
                const __m512i w = _mm512_load_si512(block[h].codes[step + k + i]);
                UNROLL
                for (uint32_t c = 0; c < n_columns; c++) {
                    const __m512i q = broadcast_32(y[c] + 4 * (step + k + i));
                    if (max_code == 255)
                        sums[h][c] = add_dot_wide(sums[h][c], w, q);
                    else
                        words[c] = i == 0 ? _mm512_maddubs_epi16(w, q)
                                          : _mm512_add_epi16(words[c], _mm512_maddubs_epi16(w, q));
                }
            }
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                if (max_code != 255)
                    sums[h][c] = add_dot_words(sums[h][c], words[c], _mm512_set1_epi16(1));
        }
    }
}
#endif

// Adds pairs of 16-bit mins in params[first ... first + n_pairs - 1] times the column's sums, `at` bytes into its
// block.
ALWAYS_INLINE void add_mins(const struct panel_block block[2], uint32_t first, const uint32_t n_pairs,
                            const uint8_t *const y[TILE_COLUMNS], uint64_t at, const uint32_t n_columns, sums_i32 sums)
{
    UNROLL
    for (uint32_t p = 0; p < n_pairs; p++) {
        const __m512i m0 = _mm512_load_si512(block[0].params[first + p]);
        const __m512i m1 = _mm512_load_si512(block[1].params[first + p]);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512i s = broadcast_32(y[c] + at + 4 * p);
            sums[0][c] = add_dot_words(sums[0][c], m0, s);
            sums[1][c] = add_dot_words(sums[1][c], m1, s);
        }
    }
}

// sums += float(products) * param.
ALWAYS_INLINE void add_scaled(const struct panel_block block[2], uint32_t param, const uint32_t n_columns,
                              const sums_i32 products, sums_f32 sums)
{
    UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        const __m512 scale = _mm512_load_ps(block[h].params[param]);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            sums[h][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[h][c]), scale, sums[h][c]);
    }
}

// sums = float(products) * param.
ALWAYS_INLINE void start_scaled(const struct panel_block block[2], uint32_t param, const uint32_t n_columns,
                                const sums_i32 products, sums_f32 sums)
{
    UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        const __m512 scale = _mm512_load_ps(block[h].params[param]);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            sums[h][c] = _mm512_mul_ps(_mm512_cvtepi32_ps(products[h][c]), scale);
    }
}

// sums += the column's scale * of_block.
ALWAYS_INLINE void add_block(const uint8_t *const y[TILE_COLUMNS], const uint32_t n_columns, const sums_f32 of_block,
                             sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        const __m512 scale = _mm512_set1_ps(((const struct column_256 *)y[c])->scale);
        sums[0][c] = _mm512_fmadd_ps(of_block[0][c], scale, sums[0][c]);
        sums[1][c] = _mm512_fmadd_ps(of_block[1][c], scale, sums[1][c]);
    }
}

// ---- kinds: what one block of 256 adds -------------------------------------------------------------------------------

// n_groups: blocks of 32 that exist.
ALWAYS_INLINE void add_blocks_32(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                                 uint32_t n_groups, const bool min, const uint32_t n_columns, sums_f32 sums)
{
    for (uint32_t g = 0; g < n_groups; g++) {
        sums_i32 products;
        if (min)
            zero_products(n_columns, products);
        else
            start_products(y, offsetof(struct column_32, zero) + 4 * g, n_columns, products);
        prefetch_ahead(y, ahead, g, n_columns);
        add_products(block, y, 8 * g, 8, min ? 31 : 255, n_columns, products);
        const __m512 s0 = _mm512_load_ps(block[0].params[g]), s1 = _mm512_load_ps(block[1].params[g]);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512 scale = _mm512_set1_ps(((const struct column_32 *)y[c])->scale[g]);
            sums[0][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[0][c]), _mm512_mul_ps(s0, scale), sums[0][c]);
            sums[1][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[1][c]), _mm512_mul_ps(s1, scale), sums[1][c]);
        }
        if (min) {
            const __m512 m0 = _mm512_load_ps(block[0].params[8 + g]), m1 = _mm512_load_ps(block[1].params[8 + g]);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m512 sum = _mm512_set1_ps(((const struct column_32 *)y[c])->scaled_sum[g]);
                sums[0][c] = _mm512_fmadd_ps(m0, sum, sums[0][c]);
                sums[1][c] = _mm512_fmadd_ps(m1, sum, sums[1][c]);
            }
        }
    }
}

ALWAYS_INLINE void add_halves_32(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                                 uint32_t n_groups, const uint32_t n_columns, sums_f32 sums)
{
    for (uint32_t half = 0; half < 2 * n_groups; half++) {
        const uint32_t g = half / 2;
        sums_i32 products;
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct column_32 *column = (const struct column_32 *)y[c];
            const int32_t upper = column->zero_upper[g];
            products[0][c] = products[1][c] = _mm512_set1_epi32(half % 2 != 0 ? upper : column->zero[g] - upper);
        }
        if (half % 2 == 0)
            prefetch_ahead(y, ahead, g, n_columns);
        add_products(block, y, 4 * half, 4, 255, n_columns, products);
        const __m512 s0 = _mm512_load_ps(block[0].params[half]), s1 = _mm512_load_ps(block[1].params[half]);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512 scale = _mm512_set1_ps(((const struct column_32 *)y[c])->scale[g]);
            sums[0][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[0][c]), _mm512_mul_ps(s0, scale), sums[0][c]);
            sums[1][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[1][c]), _mm512_mul_ps(s1, scale), sums[1][c]);
        }
    }
}

ALWAYS_INLINE void add_sub_32_min(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS],
                                  int64_t ahead, const uint32_t n_columns, sums_f32 sums)
{
    sums_i32 products;
    sums_f32 of_block;
    zero_products(n_columns, products);
    add_mins(block, 8, 4, y, offsetof(struct column_256, sums_32), n_columns, products);
    start_scaled(block, 12, n_columns, products, of_block);
    for (uint32_t s = 0; s < 8; s++) {
        zero_products(n_columns, products);
        prefetch_ahead(y, ahead, s, n_columns);
        add_products(block, y, 8 * s, 8, 31, n_columns, products);
        add_scaled(block, s, n_columns, products, of_block);
    }
    add_block(y, n_columns, of_block, sums);
}

ALWAYS_INLINE void add_sub_16(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                              const uint32_t n_columns, sums_f32 sums)
{
    sums_f32 of_block;
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        of_block[0][c] = of_block[1][c] = _mm512_setzero_ps();
    for (uint32_t s = 0; s < 16; s++) {
        sums_i32 products;
        start_products(y, offsetof(struct column_256, zero_16) + 4 * s, n_columns, products);
        if (s % 2 == 0)
            prefetch_ahead(y, ahead, s / 2, n_columns);
        add_products(block, y, 4 * s, 4, 63, n_columns, products);
        add_scaled(block, s, n_columns, products, of_block);
    }
    add_block(y, n_columns, of_block, sums);
}

ALWAYS_INLINE void add_whole(const struct panel_block block[2], const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                             const bool min, const uint32_t n_columns, sums_f32 sums)
{
    sums_i32 products;
    sums_f32 of_block;
    if (min)
        zero_products(n_columns, products);
    else
        start_products(y, offsetof(struct column_256, zero_256), n_columns, products);
    for (uint32_t part = 0; part < 8; part++) {
        prefetch_ahead(y, ahead, part, n_columns);
        add_products(block, y, 8 * part, 8, min ? 63 : 255, n_columns, products);
    }
    start_scaled(block, 0, n_columns, products, of_block);
    if (min) {
        zero_products(n_columns, products);
        add_mins(block, 1, 8, y, offsetof(struct column_256, sums_16), n_columns, products);
        add_scaled(block, 9, n_columns, products, of_block);
    }
    add_block(y, n_columns, of_block, sums);
}

ALWAYS_INLINE void multiply_tile(const struct tile *t, const enum panel_kind kind, const uint32_t n_columns)
{
    const struct panel_block *block = t->panel;
    const uint8_t *y[TILE_COLUMNS];
    sums_f32 sums;
    column_pointers(t, n_columns, y);
    load_sums(t, n_columns, sums);
    for (uint64_t k = 0; k < t->n; k += 256, block += 2) {
        const uint32_t n_groups = t->n - k < 256 ? (uint32_t)(t->n - k) / 32 : 8;
        switch (kind) {
        case PANEL_BLOCKS_32:
            add_blocks_32(block, y, t->ahead, n_groups, false, n_columns, sums);
            break;
        case PANEL_HALVES_32:
            add_halves_32(block, y, t->ahead, n_groups, n_columns, sums);
            break;
        case PANEL_BLOCKS_32_MIN:
            add_blocks_32(block, y, t->ahead, n_groups, true, n_columns, sums);
            break;
        case PANEL_SUB_32_MIN:
            add_sub_32_min(block, y, t->ahead, n_columns, sums);
            break;
        case PANEL_SUB_16:
            add_sub_16(block, y, t->ahead, n_columns, sums);
            break;
        case PANEL_WHOLE:
            add_whole(block, y, t->ahead, false, n_columns, sums);
            break;
        default:
            add_whole(block, y, t->ahead, true, n_columns, sums);
            break;
        }
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            y[c] += COLUMN_BLOCK_BYTES;
    }
    store_sums(t, n_columns, sums);
}

// ---- one function per kind and number of columns ---------------------------------------------------------------------

#define TILES_OF(kind) TILE(kind, 1) TILE(kind, 2) TILE(kind, 3) TILE(kind, 4) TILE(kind, 5) TILE(kind, 6)
#define ALL_TILES                 \
    TILES_OF(PANEL_BLOCKS_32)     \
    TILES_OF(PANEL_HALVES_32)     \
    TILES_OF(PANEL_BLOCKS_32_MIN) \
    TILES_OF(PANEL_SUB_32_MIN)    \
    TILES_OF(PANEL_SUB_16)        \
    TILES_OF(PANEL_WHOLE)         \
    TILES_OF(PANEL_WHOLE_MIN)

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
