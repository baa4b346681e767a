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

ALWAYS_INLINE void zero_products(const uint32_t n_columns, sums_i32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        sums[0][c] = sums[1][c] = _mm256_setzero_si256();
}

// Prefetches the eighth `part` of `bytes` of each column, `ahead` bytes further.
ALWAYS_INLINE void prefetch_ahead(const uint8_t *const y[TILE_COLUMNS], int64_t ahead, uint32_t part,
                                  const uint32_t bytes, const uint32_t n_columns)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        _mm_prefetch((const char *)(y[c] + ahead + bytes / 8 * part), _MM_HINT_T0);
}

ALWAYS_INLINE __m256 load_param(const uint32_t params[][GEMM_ROWS], uint32_t param, uint32_t half)
{
    return _mm256_castsi256_ps(load_dwords(params[param] + 8 * half));
}

#ifdef __AVXVNNI__

// sums += the products of n_steps times 4 elements from `codes` and from `at` bytes into the columns' blocks on.
ALWAYS_INLINE void add_products(const uint8_t *codes, const uint8_t *const y[TILE_COLUMNS], uint64_t at,
                                const uint32_t n_steps, const uint32_t n_columns, sums_i32 sums)
{
    UNROLL
    for (uint32_t k = 0; k < n_steps; k++) {
        const __m256i w0 = load_dwords(codes + 64 * k), w1 = load_dwords(codes + 64 * k + 32);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256i q = broadcast_32(y[c] + at + 4 * k);
            sums[0][c] = _mm256_dpbusd_avx_epi32(sums[0][c], w0, q);
            sums[1][c] = _mm256_dpbusd_avx_epi32(sums[1][c], w1, q);
        }
    }
}

ALWAYS_INLINE __m256i add_dot_words(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_dpwssd_avx_epi32(sum, a, b);
}

#else

// Compilers know that integers may be added in any order, and would collect products on the stack to add them as a
// tree: the empty statement hides each sum from them.
ALWAYS_INLINE __m256i add_words(__m256i sum, __m256i pairs)
{
    sum = _mm256_add_epi16(sum, pairs);
    __asm__("" : "+x"(sum));
    return sum;
}

ALWAYS_INLINE __m256i add_dot_words(__m256i sum, __m256i a, __m256i b)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    __asm__("" : "+x"(sum));
    return sum;
}

// sums += the products of n_steps times 4 elements from `codes` and from `at` bytes into the columns' blocks on, times
// `factors` (of rows 0..7 and 8..15, twice in every lane). As many products are added in 16 bits as codes up to max_code
// allow.
ALWAYS_INLINE void add_products(const uint8_t *codes, const uint32_t max_code, const __m256i factors[2],
                                const uint8_t *const y[TILE_COLUMNS], uint64_t at, const uint32_t n_steps,
                                const uint32_t n_columns, sums_i32 sums)
{
    const uint32_t fitting = INT16_MAX / (2 * 127 * max_code), chain = fitting < n_steps ? fitting : n_steps;
    UNROLL
    for (uint32_t first = 0; first < n_steps; first += chain) {
        sums_i32 words;
        UNROLL
        for (uint32_t k = first; k < first + chain; k++) {
            const __m256i w0 = load_dwords(codes + 64 * k), w1 = load_dwords(codes + 64 * k + 32);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m256i q = broadcast_32(y[c] + at + 4 * k);
                const __m256i p0 = _mm256_maddubs_epi16(w0, q), p1 = _mm256_maddubs_epi16(w1, q);
                words[0][c] = k == first ? p0 : add_words(words[0][c], p0);
                words[1][c] = k == first ? p1 : add_words(words[1][c], p1);
            }
        }
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                sums[h][c] = add_dot_words(sums[h][c], words[h][c], factors[h]);
        }
    }
}

// sums += the products of n_steps times 2 elements from step `first` on, of 16-bit codes.
ALWAYS_INLINE void add_products_of_words(const struct panel_block_wide *block, const uint8_t *const y[TILE_COLUMNS],
                                         uint32_t first, const uint32_t n_steps, const uint32_t n_columns,
                                         sums_i32 sums)
{
    UNROLL
    for (uint32_t k = first; k < first + n_steps; k++) {
        const int16_t *codes = block->codes[k][0];
        const __m256i w0 = load_dwords(codes), w1 = load_dwords(codes + 16);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256i q = broadcast_32(((const struct column_32 *)y[c])->q_16 + 2 * k);
            sums[0][c] = add_dot_words(sums[0][c], w0, q);
            sums[1][c] = add_dot_words(sums[1][c], w1, q);
        }
    }
}

#endif

// ---- blocks of 32 ----------------------------------------------------------------------------------------------------

ALWAYS_INLINE bool has_min(const enum panel_kind kind)
{
    return kind == PANEL_MIN || kind == PANEL_SUB_32_MIN || kind == PANEL_SUB_16_MIN;
}

// The integers of block g.
ALWAYS_INLINE void multiply_block_32(const void *block_of_kind, const uint8_t *const y[TILE_COLUMNS], uint32_t g,
                                     const enum panel_kind kind, const uint32_t n_columns, sums_i32 sums)
{
    const struct panel_block *block = block_of_kind;
    const int shift = kind == PANEL_ZERO_8 ? 0 : kind == PANEL_ZERO_16 ? 1 : 4; // zero point 8 << shift
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        const __m256i zero = broadcast_32(y[c] + offsetof(struct column_32, zero) + 4 * g);
        sums[0][c] = sums[1][c] = kind == PANEL_MIN ? _mm256_setzero_si256() : _mm256_slli_epi32(zero, shift);
    }
    const uint8_t *codes = block->codes[8 * g][0];
#ifdef __AVXVNNI__
    add_products(codes, y, 32 * g, 8, n_columns, sums);
#else
    const __m256i ones[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
    if (kind == PANEL_ZERO_128) {
        zero_products(n_columns, sums);
        add_products_of_words(block_of_kind, y, 16 * g, 16, n_columns, sums);
    } else {
        add_products(codes, kind == PANEL_ZERO_8 ? 15 : 31, ones, y, 32 * g, 8, n_columns, sums);
    }
#endif
}

// n_groups: blocks of 32 that exist.
ALWAYS_INLINE void add_blocks_32(const void *block, const uint32_t params[][GEMM_ROWS],
                                 const uint8_t *const y[TILE_COLUMNS], int64_t ahead, uint32_t n_groups,
                                 const enum panel_kind kind, const uint32_t n_columns, sums_f32 sums)
{
    for (uint32_t g = 0; g < n_groups; g++) {
        sums_i32 products;
        prefetch_ahead(y, ahead, g, COLUMN_BLOCK_BYTES, n_columns);
        if (kind == PANEL_ZERO_128)
            prefetch_ahead(y, ahead + COLUMN_BLOCK_BYTES, g, sizeof(struct column_32) - COLUMN_BLOCK_BYTES, n_columns);
        multiply_block_32(block, y, g, kind, n_columns, products);
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            const __m256 scale = load_param(params, g, h);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                const struct column_32 *column = (const struct column_32 *)y[c];
                const __m256 of_both = _mm256_mul_ps(scale, _mm256_set1_ps(column->scale[g]));
                sums[h][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[h][c]), of_both, sums[h][c]);
                if (has_min(kind))
                    sums[h][c] = _mm256_fmadd_ps(load_param(params, PARAM_BLOCK_MIN + g, h),
                                                 _mm256_set1_ps(column->scaled_sum[g]), sums[h][c]);
            }
        }
    }
}

// Blocks of 32 with a scale for each half.
ALWAYS_INLINE void add_halves(const struct panel_block_wide *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                              uint32_t n_groups, const uint32_t n_columns, sums_f32 sums)
{
    for (uint32_t half = 0; half < 2 * n_groups; half++) {
        const uint32_t g = half / 2;
        sums_i32 products;
        if (half % 2 == 0) {
            prefetch_ahead(y, ahead, g, COLUMN_BLOCK_BYTES, n_columns);
            prefetch_ahead(y, ahead + COLUMN_BLOCK_BYTES, g, sizeof(struct column_32) - COLUMN_BLOCK_BYTES, n_columns);
        }
#ifdef __AVXVNNI__
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const struct column_32 *column = (const struct column_32 *)y[c];
            const int32_t upper = column->zero_upper[g];
            products[0][c] = products[1][c] = _mm256_set1_epi32(16 * (half % 2 != 0 ? upper : column->zero[g] - upper));
        }
        add_products(block->codes[4 * half][0], y, 16 * half, 4, n_columns, products);
#else
        zero_products(n_columns, products);
        add_products_of_words(block, y, 8 * half, 8, n_columns, products);
#endif
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            const __m256 scale = load_param(block->params, half, h);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m256 of_column = _mm256_set1_ps(((const struct column_32 *)y[c])->scale[g]);
                sums[h][c] =
                    _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[h][c]), _mm256_mul_ps(scale, of_column), sums[h][c]);
            }
        }
    }
}

// ---- super-blocks ----------------------------------------------------------------------------------------------------

// Sums over sub-blocks of scale times products.
#ifdef __AVXVNNI__
typedef sums_f32 scaled_sums;
#else
typedef sums_i32 scaled_sums;
#endif

ALWAYS_INLINE void start_scaled(const uint32_t n_columns, const sums_i32 from, scaled_sums sums)
{
    UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
#ifdef __AVXVNNI__
            sums[h][c] = _mm256_cvtepi32_ps(from[h][c]);
#else
            sums[h][c] = from[h][c];
#endif
    }
}

ALWAYS_INLINE __m256 float_of_scaled(const scaled_sums sums, uint32_t h, uint32_t c)
{
#ifdef __AVXVNNI__
    return sums[h][c];
#else
    return _mm256_cvtepi32_ps(sums[h][c]);
#endif
}

// Adds sub-block s of n_steps times 4 elements.
ALWAYS_INLINE void add_sub_block(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], uint32_t s,
                                 const uint32_t n_steps, const uint32_t max_code, const uint32_t n_columns,
                                 scaled_sums sums)
{
    const uint8_t *codes = block->codes[n_steps * s][0];
#ifdef __AVXVNNI__
    (void)max_code;
    sums_i32 products;
    zero_products(n_columns, products);
    add_products(codes, y, 4 * n_steps * s, n_steps, n_columns, products);
    UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        const __m256 scale = load_param(block->params, s, h);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            sums[h][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[h][c]), scale, sums[h][c]);
    }
#else
    const __m256i scales[2] = {load_dwords(block->params[s]), load_dwords(block->params[s] + 8)};
    add_products(codes, max_code, scales, y, 4 * n_steps * s, n_steps, n_columns, sums);
#endif
}

// sums = the mins of 256 elements times the columns' sums.
ALWAYS_INLINE void multiply_mins(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS],
                                 const enum panel_kind kind, const uint32_t n_columns, sums_i32 sums)
{
    const bool of_32 = kind == PANEL_SUB_32_MIN;
    const uint32_t n_pairs = of_32 ? 4 : 8;
    const uint64_t at = of_32 ? offsetof(struct column_256, sums_32) : offsetof(struct column_256, sums_16);
    zero_products(n_columns, sums);
    UNROLL
    for (uint32_t p = 0; p < n_pairs; p++) {
        const uint32_t param = (of_32 ? PARAM_MINS_32 : PARAM_MINS_16) + p;
        const __m256i m0 = load_dwords(block->params[param]), m1 = load_dwords(block->params[param] + 8);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256i s = broadcast_32(y[c] + at + 4 * p);
            sums[0][c] = add_dot_words(sums[0][c], m0, s);
            sums[1][c] = add_dot_words(sums[1][c], m1, s);
        }
    }
}

ALWAYS_INLINE void add_super_block(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                                   const enum panel_kind kind, const uint32_t n_columns, sums_f32 sums)
{
    sums_i32 of_mins;
    scaled_sums scaled;
    multiply_mins(block, y, kind, n_columns, of_mins);
    if (has_min(kind)) {
        sums_i32 zeros;
        zero_products(n_columns, zeros);
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            const __m256 dmin = load_param(block->params, PARAM_DMIN, h);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m256 scale = _mm256_set1_ps(((const struct column_256 *)y[c])->scale);
                sums[h][c] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(of_mins[h][c]), dmin), scale, sums[h][c]);
            }
        }
        start_scaled(n_columns, zeros, scaled);
    } else {
        start_scaled(n_columns, of_mins, scaled);
    }
    for (uint32_t part = 0; part < 8; part++) {
        prefetch_ahead(y, ahead, part, COLUMN_BLOCK_BYTES, n_columns);
        if (kind == PANEL_SUB_32_MIN) {
            add_sub_block(block, y, part, 8, 31, n_columns, scaled);
        } else {
            add_sub_block(block, y, 2 * part, 4, kind == PANEL_SUB_16 ? 63 : 3, n_columns, scaled);
            add_sub_block(block, y, 2 * part + 1, 4, kind == PANEL_SUB_16 ? 63 : 3, n_columns, scaled);
        }
    }
    UNROLL
    for (uint32_t h = 0; h < 2; h++) {
        const __m256 d = load_param(block->params, PARAM_D, h);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256 scale = _mm256_set1_ps(((const struct column_256 *)y[c])->scale);
            sums[h][c] = _mm256_fmadd_ps(_mm256_mul_ps(float_of_scaled(scaled, h, c), d), scale, sums[h][c]);
        }
    }
}

// ---- the tile --------------------------------------------------------------------------------------------------------

ALWAYS_INLINE void multiply_tile(const struct tile *t, const enum panel_kind kind, const uint32_t n_columns)
{
    const struct panel_block *block = t->panel;
    const struct panel_block_wide *wide = t->panel; // one of them
    const uint8_t *y[TILE_COLUMNS];
    sums_f32 sums;
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        y[c] = t->column + c * t->column_stride;
    load_sums(t, n_columns, sums);
    for (uint64_t k = 0; k < t->n; k += 256, block++, wide++) {
        const uint32_t n_groups = t->n - k < 256 ? (uint32_t)(t->n - k) / 32 : 8;
        if (kind == PANEL_ZERO_128)
            add_blocks_32(wide, wide->params, y, t->ahead, n_groups, kind, n_columns, sums);
        else if (kind == PANEL_HALVES)
            add_halves(wide, y, t->ahead, n_groups, n_columns, sums);
        else if (kind <= PANEL_MIN)
            add_blocks_32(block, block->params, y, t->ahead, n_groups, kind, n_columns, sums);
        else
            add_super_block(block, y, t->ahead, kind, n_columns, sums);
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            y[c] += kind <= PANEL_MIN ? sizeof(struct column_32) : sizeof(struct column_256);
    }
    store_sums(t, n_columns, sums);
}

// ---- one function per kind and number of columns ---------------------------------------------------------------------

#define TILES_OF(kind) TILE(kind, 1) TILE(kind, 2) TILE(kind, 3) TILE(kind, 4) TILE(kind, 5) TILE(kind, 6)
#define ALL_TILES              \
    TILES_OF(PANEL_ZERO_8)     \
    TILES_OF(PANEL_ZERO_16)    \
    TILES_OF(PANEL_ZERO_128)   \
    TILES_OF(PANEL_HALVES)     \
    TILES_OF(PANEL_MIN)        \
    TILES_OF(PANEL_SUB_32_MIN) \
    TILES_OF(PANEL_SUB_16_MIN) \
    TILES_OF(PANEL_SUB_16)

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
