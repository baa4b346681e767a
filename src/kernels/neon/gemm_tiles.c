// The tiles of the quantized GEMM: one for each kind of panel and number of columns. Each column sees the same
// operations in the same order whatever the tile.
//
// A tile's sums are TILE_REGISTERS by so many units. With SDOT a unit is one column, its registers are rows 0..3 and
// 4..7. With SMMLA a unit is two columns, a register holds two rows of both: row 0 of the first and of the second, row 1
// of both; the second of a single column is the column itself, and is not stored.
#include "kernels/neon/gemm_panel.h"

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define UNIT_COLUMNS 2
#else
#define UNIT_COLUMNS 1
#endif
#define TILE_REGISTERS (PARAM_LANES / 4)
#define TILE_UNITS (TILE_COLUMNS / UNIT_COLUMNS)

typedef float32x4_t sums_f32[TILE_REGISTERS][TILE_UNITS];
typedef int32x4_t sums_i32[TILE_REGISTERS][TILE_UNITS];
typedef int8x16_t operands[2][TILE_UNITS]; // 16 elements of the columns: for the first eight, for the second

// Compilers would gather the products of one sum into one chain, each waiting for the one before: the empty statement
// keeps them in the order of the source, in which neighbours add to different sums.
ALWAYS_INLINE int32x4_t in_order(int32x4_t sum)
{
    __asm__ volatile("" : "+w"(sum));
    return sum;
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

ALWAYS_INLINE void load_operands(const uint8_t *const y[TILE_COLUMNS], uint64_t from, const uint32_t n_units,
                                 operands q)
{
    UNROLL
    for (uint32_t u = 0; u < n_units; u++) {
        const int64x2_t a = vreinterpretq_s64_u8(vld1q_u8(y[2 * u] + from));
        const int64x2_t b = vreinterpretq_s64_u8(vld1q_u8(y[2 * u + 1] + from));
        q[0][u] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
        q[1][u] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
}

// Adds eight elements of the rows, packed at w, times the first or second eight of the operands.
ALWAYS_INLINE void add_products_8(const int8_t *w, const operands q, const int half, const uint32_t n_units,
                                  sums_i32 sums)
{
    UNROLL
    for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
        const int8x16_t rows = vld1q_s8(w + 16 * r);
        UNROLL
        for (uint32_t u = 0; u < n_units; u++)
            sums[r][u] = in_order(vmmlaq_s32(sums[r][u], rows, q[half][u]));
    }
}

ALWAYS_INLINE float32x4_t factor_of_unit(const float *a, const float *b)
{
    const float32x2_t pair = {*a, *b};
    return vcombine_f32(pair, pair);
}

#define FACTOR(y, u, at) factor_of_unit((const float *)(y[2 * (u)] + (at)), (const float *)(y[2 * (u) + 1] + (at)))

ALWAYS_INLINE void load_sums(const struct tile *t, const uint32_t n_columns, const uint32_t n_units, sums_f32 sums)
{
    UNROLL
    for (uint32_t u = 0; u < n_units; u++) {
        const float *a = t->before + 2 * u * GEMM_ROWS;
        const float *b = 2 * u + 1 < n_columns ? a + GEMM_ROWS : a;
        UNROLL
        for (uint32_t r = 0; r < TILE_REGISTERS; r += 2) {
            sums[r][u] = vzip1q_f32(vld1q_f32(a + 2 * r), vld1q_f32(b + 2 * r));
            sums[r + 1][u] = vzip2q_f32(vld1q_f32(a + 2 * r), vld1q_f32(b + 2 * r));
        }
    }
}

ALWAYS_INLINE void store_sums(const struct tile *t, const uint32_t n_columns, const uint32_t n_units,
                              const sums_f32 sums)
{
    UNROLL
    for (uint32_t u = 0; u < n_units; u++) {
        store_rows(t, 2 * u, vuzp1q_f32(sums[0][u], sums[1][u]), vuzp1q_f32(sums[2][u], sums[3][u]));
        if (2 * u + 1 < n_columns)
            store_rows(t, 2 * u + 1, vuzp2q_f32(sums[0][u], sums[1][u]), vuzp2q_f32(sums[2][u], sums[3][u]));
    }
}

#else

ALWAYS_INLINE void load_operands(const uint8_t *const y[TILE_COLUMNS], uint64_t from, const uint32_t n_units,
                                 operands q)
{
    UNROLL
    for (uint32_t u = 0; u < n_units; u++)
        q[0][u] = q[1][u] = vreinterpretq_s8_u8(vld1q_u8(y[u] + from));
}

// sum + four elements of four rows times dword `lane` of the column.
#if defined(__ARM_FEATURE_DOTPROD)

ALWAYS_INLINE int32x4_t add_products_4(int32x4_t sum, int8x16_t rows, int8x16_t q, const int lane)
{
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(sum, rows, q, 0);
    case 1:
        return vdotq_laneq_s32(sum, rows, q, 1);
    case 2:
        return vdotq_laneq_s32(sum, rows, q, 2);
    default:
        return vdotq_laneq_s32(sum, rows, q, 3);
    }
}

#else

ALWAYS_INLINE int8x16_t broadcast_dword(int8x16_t q, const int lane)
{
    const int32x4_t v = vreinterpretq_s32_s8(q);
    switch (lane) {
    case 0:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 0));
    case 1:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 1));
    case 2:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 2));
    default:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 3));
    }
}

// Sums of two products fit 16 bits, those of four may not.
ALWAYS_INLINE int32x4_t add_products_4(int32x4_t sum, int8x16_t rows, int8x16_t q, const int lane)
{
    const int8x16_t dword = broadcast_dword(q, lane);
    const int16x8_t low = vmull_s8(vget_low_s8(rows), vget_low_s8(dword));
    return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(rows, dword)));
}

#endif

// Adds eight elements of the rows, packed at w, times the first or second eight of the operands.
ALWAYS_INLINE void add_products_8(const int8_t *w, const operands q, const int half, const uint32_t n_units,
                                  sums_i32 sums)
{
    UNROLL
    for (int i = 0; i < 2; i++) {
        UNROLL
        for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
            const int8x16_t rows = vld1q_s8(w + 4 * GEMM_ROWS * i + 16 * r);
            UNROLL
            for (uint32_t u = 0; u < n_units; u++)
                sums[r][u] = in_order(add_products_4(sums[r][u], rows, q[half][u], 2 * half + i));
        }
    }
}

#define FACTOR(y, u, at) vld1q_dup_f32((const float *)(y[u] + (at)))

ALWAYS_INLINE void load_sums(const struct tile *t, const uint32_t n_columns, const uint32_t n_units, sums_f32 sums)
{
    (void)n_columns;
    UNROLL
    for (uint32_t u = 0; u < n_units; u++) {
        sums[0][u] = vld1q_f32(t->before + u * GEMM_ROWS);
        sums[1][u] = vld1q_f32(t->before + u * GEMM_ROWS + 4);
    }
}

ALWAYS_INLINE void store_sums(const struct tile *t, const uint32_t n_columns, const uint32_t n_units,
                              const sums_f32 sums)
{
    (void)n_columns;
    UNROLL
    for (uint32_t u = 0; u < n_units; u++)
        store_rows(t, u, sums[0][u], sums[1][u]);
}

#endif

// Adds 16 elements of the rows, packed at w, times those at `from` in each column's block.
ALWAYS_INLINE void add_products_16(const int8_t *w, const uint8_t *const y[TILE_COLUMNS], uint64_t from,
                                   const uint32_t n_units, sums_i32 sums)
{
    operands q;
    load_operands(y, from, n_units, q);
    add_products_8(w, q, 0, n_units, sums);
    add_products_8(w + 8 * GEMM_ROWS, q, 1, n_units, sums);
}

ALWAYS_INLINE void zero_products(const uint32_t n_units, sums_i32 sums)
{
    UNROLL
    for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
        UNROLL
        for (uint32_t u = 0; u < n_units; u++)
            sums[r][u] = vdupq_n_s32(0);
    }
}

// Prefetches line `line` of the same block of the next tile's columns.
ALWAYS_INLINE void prefetch_ahead(const uint8_t *const y[TILE_COLUMNS], int64_t ahead, uint64_t line,
                                  const uint32_t n_columns)
{
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        __builtin_prefetch((const void *)((uintptr_t)y[c] + (uintptr_t)ahead + 64 * line), 0, 3);
}

ALWAYS_INLINE float32x4_t load_param(const struct panel_block *block, uint64_t param, uint32_t r)
{
    return vreinterpretq_f32_u32(vld1q_u32(block->params[param] + 4 * r));
}

// n_groups: blocks of 32 that exist.
ALWAYS_INLINE void add_blocks_32(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                                 uint32_t n_groups, const bool min, const uint32_t n_columns, const uint32_t n_units,
                                 sums_f32 sums)
{
    for (uint64_t g = 0; g < n_groups; g++) {
        sums_i32 products;
        if (g < COLUMN_BLOCK_BYTES / 64)
            prefetch_ahead(y, ahead, g, n_columns);
        zero_products(n_units, products);
        add_products_16(block->codes[2 * g], y, 32 * g, n_units, products);
        add_products_16(block->codes[2 * g + 1], y, 32 * g + 16, n_units, products);
        UNROLL
        for (uint32_t u = 0; u < n_units; u++) {
            const float32x4_t of_column = FACTOR(y, u, offsetof(struct column_32, scale) + 4 * g);
            UNROLL
            for (uint32_t r = 0; r < TILE_REGISTERS; r++)
                sums[r][u] =
                    vfmaq_f32(sums[r][u], vcvtq_f32_s32(products[r][u]), vmulq_f32(load_param(block, g, r), of_column));
            if (!min)
                continue;
            const float32x4_t of_codes = FACTOR(y, u, offsetof(struct column_32, scaled_sum) + 4 * g);
            UNROLL
            for (uint32_t r = 0; r < TILE_REGISTERS; r++)
                sums[r][u] = vfmaq_f32(sums[r][u], load_param(block, 8 + g, r), of_codes);
        }
    }
}

// Blocks of 32 with a scale for each half.
ALWAYS_INLINE void add_halves_32(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                                 uint32_t n_groups, const uint32_t n_columns, const uint32_t n_units, sums_f32 sums)
{
    for (uint64_t half = 0; half < 2 * n_groups; half++) {
        sums_i32 products;
        if (half < COLUMN_BLOCK_BYTES / 64)
            prefetch_ahead(y, ahead, half, n_columns);
        zero_products(n_units, products);
        add_products_16(block->codes[half], y, 16 * half, n_units, products);
        UNROLL
        for (uint32_t u = 0; u < n_units; u++) {
            const float32x4_t of_column = FACTOR(y, u, offsetof(struct column_32, scale) + 4 * (half / 2));
            UNROLL
            for (uint32_t r = 0; r < TILE_REGISTERS; r++)
                sums[r][u] = vfmaq_f32(sums[r][u], vcvtq_f32_s32(products[r][u]),
                                       vmulq_f32(load_param(block, half, r), of_column));
        }
    }
}

// The sums over sub-blocks of min times sum of codes: high and low bytes of the sums apart.
ALWAYS_INLINE void multiply_mins(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS],
                                 const uint32_t sub_block, const uint32_t n_units, sums_i32 low)
{
    sums_i32 high;
    zero_products(n_units, high);
    zero_products(n_units, low);
    if (sub_block == 32) {
        operands sums;
        load_operands(y, offsetof(struct column_256, sums_32), n_units, sums);
        add_products_8(block->mins, sums, 0, n_units, high);
        add_products_8(block->mins, sums, 1, n_units, low);
    } else {
        add_products_16(block->mins, y, offsetof(struct column_256, sums_16), n_units, high);
        add_products_16(block->mins, y, offsetof(struct column_256, sums_16) + 16, n_units, low);
    }
    UNROLL
    for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
        UNROLL
        for (uint32_t u = 0; u < n_units; u++)
            low[r][u] = vaddq_s32(low[r][u], vshlq_n_s32(high[r][u], 7));
    }
}

ALWAYS_INLINE void add_super(const struct panel_block *block, const uint8_t *const y[TILE_COLUMNS], int64_t ahead,
                             const uint32_t sub_block, const bool min, const uint32_t n_columns, const uint32_t n_units,
                             sums_f32 sums)
{
    sums_i32 products;
    zero_products(n_units, products);
    for (uint64_t j = 0; j < SUPER_BLOCK / sub_block; j++) {
        sums_i32 of_sub_block;
        if (j < COLUMN_BLOCK_BYTES / 64)
            prefetch_ahead(y, ahead, j, n_columns);
        zero_products(n_units, of_sub_block);
        UNROLL
        for (uint32_t k = 0; k < sub_block; k += 16)
            add_products_16(block->codes[sub_block / 16 * j + k / 16], y, sub_block * j + k, n_units, of_sub_block);
        UNROLL
        for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
            const int32x4_t scale = vreinterpretq_s32_u32(vld1q_u32(block->params[j] + 4 * r));
            UNROLL
            for (uint32_t u = 0; u < n_units; u++)
                products[r][u] = vmlaq_s32(products[r][u], of_sub_block[r][u], scale);
        }
    }
    sums_f32 of_block;
    UNROLL
    for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
        const float32x4_t d = load_param(block, PARAM_D, r);
        UNROLL
        for (uint32_t u = 0; u < n_units; u++)
            of_block[r][u] = vmulq_f32(vcvtq_f32_s32(products[r][u]), d);
    }
    if (min) {
        sums_i32 of_mins;
        multiply_mins(block, y, sub_block, n_units, of_mins);
        UNROLL
        for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
            const float32x4_t dmin = load_param(block, PARAM_DMIN, r);
            UNROLL
            for (uint32_t u = 0; u < n_units; u++)
                of_block[r][u] = vfmaq_f32(of_block[r][u], vcvtq_f32_s32(of_mins[r][u]), dmin);
        }
    }
    UNROLL
    for (uint32_t u = 0; u < n_units; u++) {
        const float32x4_t scale = FACTOR(y, u, offsetof(struct column_256, scale));
        UNROLL
        for (uint32_t r = 0; r < TILE_REGISTERS; r++)
            sums[r][u] = vfmaq_f32(sums[r][u], of_block[r][u], scale);
    }
}

ALWAYS_INLINE void multiply_tile(const struct tile *t, const enum panel_kind kind, const uint32_t n_columns)
{
    const uint32_t n_units = (n_columns + UNIT_COLUMNS - 1) / UNIT_COLUMNS;
    const struct panel_block *block = t->panel;
    const uint8_t *y[TILE_COLUMNS];
    sums_f32 sums;
    UNROLL
    for (uint32_t c = 0; c < UNIT_COLUMNS * n_units; c++)
        y[c] = t->column + (c < n_columns ? c : n_columns - 1) * t->column_stride;
    UNROLL
    for (uint32_t r = 0; r < TILE_REGISTERS; r++) {
        UNROLL
        for (uint32_t u = 0; u < n_units; u++)
            sums[r][u] = vdupq_n_f32(0.0f);
    }
    if (t->before != NULL)
        load_sums(t, n_columns, n_units, sums);
    for (uint64_t k = 0; k < t->n; k += 256, block++) {
        const uint32_t n_groups = t->n - k < 256 ? (uint32_t)(t->n - k) / 32 : 8;
        if (kind == PANEL_BLOCKS_32 || kind == PANEL_BLOCKS_32_MIN)
            add_blocks_32(block, y, t->ahead, n_groups, kind == PANEL_BLOCKS_32_MIN, n_columns, n_units, sums);
        else if (kind == PANEL_HALVES_32)
            add_halves_32(block, y, t->ahead, n_groups, n_columns, n_units, sums);
        else
            add_super(block, y, t->ahead, kind == PANEL_SUPER_32_MIN ? 32 : 16, kind != PANEL_SUPER_16, n_columns,
                      n_units, sums);
        UNROLL
        for (uint32_t c = 0; c < UNIT_COLUMNS * n_units; c++)
            y[c] += COLUMN_BLOCK_BYTES;
    }
    store_sums(t, n_columns, n_units, sums);
}

// ---- one function per kind and number of columns ---------------------------------------------------------------------

#define TILES_OF(kind) TILE(kind, 1) TILE(kind, 2) TILE(kind, 3) TILE(kind, 4)
#define ALL_TILES             \
    TILES_OF(PANEL_BLOCKS_32) \
    TILES_OF(PANEL_HALVES_32) \
    TILES_OF(PANEL_BLOCKS_32_MIN) TILES_OF(PANEL_SUPER_16) TILES_OF(PANEL_SUPER_16_MIN) TILES_OF(PANEL_SUPER_32_MIN)

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
