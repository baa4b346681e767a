// The tiles of the quantized GEMM on the tile unit of AMX: 16 columns at a time, TDPBSUD on the panels of the avx512
// folder, whose layout is that of the unit's second operand.
//
// The unit multiplies 16 columns by 16 rows in 16 cycles, whatever the length of the sum, up to 64 elements; the sums of each
// group of elements that has a scale of its own must go through memory to be scaled. So 32 elements at a time (16, 64) are
// multiplied while the vector units scale those before. Fewer columns than are worth that go to the tiles of VPDPBUSD. Floats are
// added in the same order there and here, so that a column's result does not depend on how many there are.
#include "kernels/avx512/gemm_panel.h"

#include <string.h>

#define N_COLUMNS AMX_COLUMNS
#define MAX_GROUPS 8

// ---- the unit --------------------------------------------------------------------------------------------------------

// Registers 0 to 3 hold sums [column][row], 4 and 5 activations [column][element], 6 and 7 codes [element / 4][row][4]; of 4
// and 6, 64 elements, of 5 and 7, 32.
struct tile_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t n_rows[16];
};
_Static_assert(sizeof(struct tile_configuration) == 64, "operand of LDTILECFG");

static void configure(struct tile_configuration *c, int tile, uint32_t n_rows, uint32_t row_bytes)
{
    c->n_rows[tile] = (uint8_t)n_rows;
    c->row_bytes[tile] = (uint16_t)row_bytes;
}

void TIER(gemm_configure_tiles)(uint32_t n_columns)
{
    struct tile_configuration c = {.palette = 1};
    for (int i = 0; i < 4; i++)
        configure(&c, i, n_columns, 64);
    configure(&c, 4, n_columns, 64);
    configure(&c, 5, n_columns, 32);
    configure(&c, 6, 16, 64);
    configure(&c, 7, 8, 64);
    __asm__ volatile("" : "+m"(c)); // the intrinsic does not tell the compiler that it reads all of it
    _tile_loadconfig(&c);
}

typedef int32_t products[N_COLUMNS][16]; // [column][row]

// One product of one group of elements, by way of the given registers (literals) to memory.
#define MULTIPLY_BY(sums, activations, codes_, y, stride, codes, to) \
    do {                                                             \
        _tile_zero(sums);                                            \
        _tile_loadd(activations, (y), (stride));                     \
        _tile_loadd(codes_, (codes), 64);                            \
        _tile_dpbsud(sums, activations, codes_);                     \
        _tile_stored(sums, (to), 64);                                \
    } while (0)
#define MULTIPLY_EVEN(y, stride, codes, to) MULTIPLY_BY(0, 5, 7, y, stride, codes, to)
#define MULTIPLY_ODD(y, stride, codes, to) MULTIPLY_BY(1, 5, 7, y, stride, codes, to)

// Four products of 64 elements each, added up.
#define MULTIPLY_256(y, stride, codes, to)          \
    do {                                            \
        _tile_zero(0);                              \
        for (uint32_t k_ = 0; k_ < 256; k_ += 64) { \
            _tile_loadd(4, (y) + k_, (stride));     \
            _tile_loadd(6, (codes) + k_ * 16, 64);  \
            _tile_dpbsud(0, 4, 6);                  \
        }                                           \
        _tile_stored(0, (to), 64);                  \
    } while (0)

// ---- units -----------------------------------------------------------------------------------------------------------

typedef __m512 sums_f32[N_COLUMNS];

// A unit of work: one block of 256 elements of 16 rows, by the columns of the tile.
struct unit {
    const struct panel_block *block;
    const uint8_t *y[N_COLUMNS]; // the columns at that block; the last column stands in for those that are missing
    uint32_t n_groups;           // of elements, each with a product of its own
    float (*to)[16];             // [N_COLUMNS][16], aligned to 64
};

ALWAYS_INLINE __m512i load_products(const products p, uint32_t column)
{
    return _mm512_load_si512(p[column]);
}

ALWAYS_INLINE __m512i broadcast_32(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

ALWAYS_INLINE void load_sums(const struct unit *u, sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++)
        sums[c] = _mm512_load_ps(u->to[c]);
}

ALWAYS_INLINE void store_sums(const struct unit *u, const sums_f32 sums)
{
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++)
        _mm512_store_ps(u->to[c], sums[c]);
}

// The unit's sums += the columns' scales * of_block.
ALWAYS_INLINE void add_block(const struct unit *u, const sums_f32 of_block)
{
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        const __m512 scale = _mm512_set1_ps(((const struct column_256 *)u->y[c])->scale);
        _mm512_store_ps(u->to[c], _mm512_fmadd_ps(of_block[c], scale, _mm512_load_ps(u->to[c])));
    }
}

// sums = float(mins times the column's sums, `at` bytes into its block) * param, plus what was there: pairs of 16-bit mins.
ALWAYS_INLINE void add_mins(const struct unit *u, uint32_t first, const uint32_t n_pairs, uint64_t at, uint32_t param,
                            sums_f32 sums)
{
    const __m512 scale = _mm512_load_ps(u->block->params[param]);
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        __m512i v = _mm512_setzero_si512();
        UNROLL
        for (uint32_t p = 0; p < n_pairs; p++)
            v = _mm512_dpwssd_epi32(v, _mm512_load_si512(u->block->params[first + p]),
                                    broadcast_32(u->y[c] + at + 4 * p));
        sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), scale, sums[c]);
    }
}

// ---- kinds -----------------------------------------------------------------------------------------------------------
//
// What a kind does before its first group, with the products of each group, and after the last.

ALWAYS_INLINE void begin_sums(const struct unit *u, const enum panel_kind kind, sums_f32 sums)
{
    if (kind == PANEL_BLOCKS_32 || kind == PANEL_BLOCKS_32_MIN) {
        load_sums(u, sums);
        return;
    }
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++)
        sums[c] = _mm512_setzero_ps();
}

ALWAYS_INLINE void add_group_32(const struct unit *u, const products p, uint32_t g, const bool min, sums_f32 sums)
{
    const __m512 scale = _mm512_load_ps(u->block->params[g]);
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        const struct column_32 *y = (const struct column_32 *)u->y[c];
        __m512i v = load_products(p, c);
        if (!min)
            v = _mm512_add_epi32(v, _mm512_set1_epi32(y->zero[g]));
        sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), _mm512_mul_ps(scale, _mm512_set1_ps(y->scale[g])), sums[c]);
    }
    if (!min)
        return;
    const __m512 m = _mm512_load_ps(u->block->params[8 + g]);
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++)
        sums[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(((const struct column_32 *)u->y[c])->scaled_sum[g]), sums[c]);
}

// sums += float(products + zero) * params[g].
ALWAYS_INLINE void add_group(const struct unit *u, const products p, const enum panel_kind kind, uint32_t g,
                             sums_f32 sums)
{
    if (kind == PANEL_BLOCKS_32 || kind == PANEL_BLOCKS_32_MIN) {
        add_group_32(u, p, g, kind == PANEL_BLOCKS_32_MIN, sums);
        return;
    }
    const __m512 scale = _mm512_load_ps(u->block->params[g]);
    UNROLL
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        const struct column_256 *y = (const struct column_256 *)u->y[c];
        __m512i v = load_products(p, c);
        if (kind == PANEL_WHOLE)
            v = _mm512_add_epi32(v, _mm512_set1_epi32(y->zero_256));
        sums[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), scale, sums[c]);
    }
}

ALWAYS_INLINE void end_sums(const struct unit *u, const enum panel_kind kind, sums_f32 sums)
{
    if (kind == PANEL_BLOCKS_32 || kind == PANEL_BLOCKS_32_MIN) {
        store_sums(u, sums);
        return;
    }
    if (kind == PANEL_WHOLE_MIN)
        add_mins(u, 1, 8, offsetof(struct column_256, sums_16), 9, sums);
    add_block(u, sums);
}

static const struct kind_traits {
    uint32_t n_groups, n_elements; // of a block of 256; n_elements multiplied at once
} kinds[N_PANEL_KINDS] = {
    [PANEL_BLOCKS_32] = {8, 32},
    [PANEL_BLOCKS_32_MIN] = {8, 32},
    [PANEL_WHOLE] = {1, 64},
    [PANEL_WHOLE_MIN] = {1, 64},
};

ALWAYS_INLINE void multiply_group(const struct unit *u, uint64_t stride, const enum panel_kind kind, uint32_t g,
                                  products p[])
{
    const uint32_t n = kinds[kind].n_elements;
    if (kind == PANEL_WHOLE || kind == PANEL_WHOLE_MIN)
        MULTIPLY_256(u->y[0], stride, (const uint8_t *)u->block->codes, p[0]);
    else if (g % 2 == 0)
        MULTIPLY_EVEN(u->y[0] + n * g, stride, u->block->codes[n / 4 * g], p[g]);
    else
        MULTIPLY_ODD(u->y[0] + n * g, stride, u->block->codes[n / 4 * g], p[g]);
}

// Multiplies one unit and adds up the products of the one before, whose stores have reached the cache by then.
ALWAYS_INLINE void step(const struct unit *u, products p[], const struct unit *before, products p_before[],
                        uint64_t stride, const enum panel_kind kind, const bool has_unit, const bool has_before)
{
    sums_f32 sums;
    if (has_before)
        begin_sums(before, kind, sums);
    for (uint32_t g = 0; g < kinds[kind].n_groups; g++) {
        if (has_unit && g < u->n_groups)
            multiply_group(u, stride, kind, g, p);
        if (has_before && g < before->n_groups)
            add_group(before, p_before[g], kind, g, sums);
    }
    if (has_before)
        end_sums(before, kind, sums);
}

// ---- tiles -----------------------------------------------------------------------------------------------------------

// The registers have as many rows as the call has columns, up to N_COLUMNS. A tile that has fewer, the last of a call, takes
// columns before its own in again, and leaves out what they give.
struct span {
    const uint8_t *column; // the first that is multiplied
    uint32_t first, end;   // the tile's own are first .. end - 1 of what is multiplied
};

ALWAYS_INLINE struct span span_of(const struct tile *tile)
{
    const uint32_t first = tile->n_before == 0 ? 0 : N_COLUMNS - tile->n_columns;
    return (struct span){tile->column - first * tile->column_stride, first, first + tile->n_columns};
}

ALWAYS_INLINE void start_tile(const struct tile *tile, const struct span *span, float sums[2][N_COLUMNS][16])
{
    const float *before = tile->before;
    for (uint32_t c = span->first; c < span->end; c++) {
        _mm512_store_ps(sums[0][c], before == NULL ? _mm512_setzero_ps() : _mm512_load_ps(before));
        _mm512_store_ps(sums[1][c], before == NULL ? _mm512_setzero_ps() : _mm512_load_ps(before + 16));
        before = before == NULL ? NULL : before + GEMM_ROWS;
    }
}

ALWAYS_INLINE void finish_tile(const struct tile *tile, const struct span *span, float sums[2][N_COLUMNS][16])
{
    const __mmask16 rows_0 = rows_to_store(tile, 0), rows_1 = rows_to_store(tile, 1);
    float *out = tile->out;
    for (uint32_t c = span->first; c < span->end; c++, out += tile->out_stride) {
        _mm512_mask_storeu_ps(out, rows_0, _mm512_load_ps(sums[0][c]));
        _mm512_mask_storeu_ps(out + 16, rows_1, _mm512_load_ps(sums[1][c]));
    }
}

// Unit i of a tile: block i / 2, half i % 2.
ALWAYS_INLINE void make_unit(const struct tile *tile, const struct span *span, const enum panel_kind kind, uint32_t i,
                             float sums[2][N_COLUMNS][16], struct unit *u)
{
    const uint64_t left = tile->n - (uint64_t)(i / 2) * 256;
    u->block = (const struct panel_block *)tile->panel + i;
    u->n_groups = left < 256 ? (uint32_t)left / kinds[kind].n_elements : kinds[kind].n_groups;
    u->to = sums[i % 2];
    for (uint32_t c = 0; c < N_COLUMNS; c++) {
        const uint32_t column = c < span->end ? c : span->end - 1;
        u->y[c] = span->column + column * tile->column_stride + i / 2 * COLUMN_BLOCK_BYTES;
    }
}

ALWAYS_INLINE void multiply_tile(const struct tile *tile, const enum panel_kind kind)
{
    float sums[2][N_COLUMNS][16] __attribute__((aligned(64)));
    products p[2][MAX_GROUPS] __attribute__((aligned(64)));
    struct unit units[2];
    const uint32_t n_units = (uint32_t)(tile->n + 255) / 256 * 2;
    const uint64_t stride = tile->column_stride;
    const struct span span = span_of(tile);
    start_tile(tile, &span, sums);
    make_unit(tile, &span, kind, 0, sums, &units[0]);
    step(&units[0], p[0], NULL, NULL, stride, kind, true, false);
    for (uint32_t i = 1; i < n_units; i++) {
        make_unit(tile, &span, kind, i, sums, &units[i % 2]);
        step(&units[i % 2], p[i % 2], &units[(i - 1) % 2], p[(i - 1) % 2], stride, kind, true, true);
    }
    step(NULL, NULL, &units[(n_units - 1) % 2], p[(n_units - 1) % 2], stride, kind, false, true);
    finish_tile(tile, &span, sums);
}

// ---- split kinds -----------------------------------------------------------------------------------------------------

// Of one block and one half: low and high products.
typedef products split_products[2];

#define MULTIPLY_LOW(sums, codes)    \
    do {                             \
        _tile_loadd(6, (codes), 64); \
        _tile_dpbsud(sums, 4, 6);    \
    } while (0)
#define MULTIPLY_HIGH(sums, codes)   \
    do {                             \
        _tile_loadd(6, (codes), 64); \
        _tile_dpbssd(sums, 4, 6);    \
    } while (0)

// Both halves: their four sums take turns, so that none waits for itself.
ALWAYS_INLINE void multiply_split(const struct panel_block block[2], const uint8_t *y, uint64_t stride,
                                  split_products p[2])
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (uint32_t k = 0; k < 64; k += 16) {
        _tile_loadd(4, y + 4 * k, stride);
        MULTIPLY_LOW(0, block[0].codes[k]);
        MULTIPLY_HIGH(1, block[0].high[k]);
        MULTIPLY_LOW(2, block[1].codes[k]);
        MULTIPLY_HIGH(3, block[1].high[k]);
    }
    _tile_stored(0, p[0][0], 64);
    _tile_stored(1, p[0][1], 64);
    _tile_stored(2, p[1][0], 64);
    _tile_stored(3, p[1][1], 64);
}

ALWAYS_INLINE __m512 sum_of_split(const split_products p, uint32_t column, __m512 d)
{
    const __m512i high = _mm512_slli_epi32(load_products(p[1], column), 8);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(load_products(p[0], column), high)), d);
}

// y: the block's columns, of which the first is that of p.
ALWAYS_INLINE void add_split(const struct panel_block block[2], const uint8_t *y, uint64_t stride,
                             const struct span *span, split_products p[2], const bool min, float to[2][N_COLUMNS][16])
{
    const __m512 d0 = _mm512_load_ps(block[0].params[0]), d1 = _mm512_load_ps(block[1].params[0]);
    const __m512 dmin0 = _mm512_load_ps(block[0].params[12]), dmin1 = _mm512_load_ps(block[1].params[12]);
    __m512i m0[4], m1[4];
    UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        m0[i] = _mm512_load_si512(block[0].params[8 + i]);
        m1[i] = _mm512_load_si512(block[1].params[8 + i]);
    }
    y += span->first * stride;
    for (uint32_t c = span->first; c < span->end; c++, y += stride) {
        const struct column_256 *column = (const struct column_256 *)y;
        __m512 sum0 = sum_of_split(p[0], c, d0), sum1 = sum_of_split(p[1], c, d1);
        if (min) {
            __m512i v0 = _mm512_setzero_si512(), v1 = v0;
            UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                const __m512i sums = broadcast_32((const uint8_t *)column->sums_32 + 4 * i);
                v0 = _mm512_dpwssd_epi32(v0, m0[i], sums);
                v1 = _mm512_dpwssd_epi32(v1, m1[i], sums);
            }
            sum0 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(v0), dmin0, sum0);
            sum1 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(v1), dmin1, sum1);
        }
        const __m512 scale = _mm512_set1_ps(column->scale);
        _mm512_store_ps(to[0][c], _mm512_fmadd_ps(sum0, scale, _mm512_load_ps(to[0][c])));
        _mm512_store_ps(to[1][c], _mm512_fmadd_ps(sum1, scale, _mm512_load_ps(to[1][c])));
    }
}

ALWAYS_INLINE void multiply_split_tile(const struct tile *tile, const bool min)
{
    float sums[2][N_COLUMNS][16] __attribute__((aligned(64)));
    split_products p[2][2] __attribute__((aligned(64))); // [block % 2][half]
    const uint32_t n_blocks = (uint32_t)(tile->n / 256);
    const struct panel_block *block = tile->panel;
    const struct span span = span_of(tile);
    const uint8_t *y = span.column;
    start_tile(tile, &span, sums);
    for (uint32_t b = 0; b <= n_blocks; b++, block += 2, y += COLUMN_BLOCK_BYTES) {
        if (b < n_blocks)
            multiply_split(block, y, tile->column_stride, p[b % 2]);
        if (b > 0) // the products before: their stores have reached the cache by then
            add_split(block - 2, y - COLUMN_BLOCK_BYTES, tile->column_stride, &span, p[(b - 1) % 2], min, sums);
    }
    finish_tile(tile, &span, sums);
}

static void tile_PANEL_SUB_32_MIN(const struct tile *t)
{
    multiply_split_tile(t, true);
}

static void tile_PANEL_SUB_16(const struct tile *t)
{
    multiply_split_tile(t, false);
}

// ---- one function per kind -------------------------------------------------------------------------------------------

// Up to TILE_COLUMNS columns are done sooner without the unit.
#define TILES_OF(kind)                                   \
    static void tile_##kind(const struct tile *t)        \
    {                                                    \
        if (t->n_columns <= TILE_COLUMNS)                \
            TIER(gemm_tiles)[kind][t->n_columns - 1](t); \
        else                                             \
            multiply_tile(t, kind);                      \
    }
TILES_OF(PANEL_BLOCKS_32)
TILES_OF(PANEL_BLOCKS_32_MIN)
TILES_OF(PANEL_WHOLE)
TILES_OF(PANEL_WHOLE_MIN)
#undef TILES_OF

#define TIMES_16(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
#define TILES_OF(kind) [kind] = {TIMES_16(tile_##kind)}
tile_kernel *const TIER(gemm_tiles_amx)[N_PANEL_KINDS][AMX_COLUMNS] = {
    TILES_OF(PANEL_BLOCKS_32), TILES_OF(PANEL_BLOCKS_32_MIN), TILES_OF(PANEL_SUB_32_MIN),
    TILES_OF(PANEL_SUB_16),    TILES_OF(PANEL_WHOLE),         TILES_OF(PANEL_WHOLE_MIN),
};
