// The tiles of the GEMM on the tile unit of AMX: TDPBF16PS, up to 32 columns by 32 rows.
//
// A sum is one chain over groups of 32 elements, their parts, and pairs of elements in their order, whatever else is
// multiplied beside it.
#include "kernels/amx/bf16_panel.h"

// ---- the unit --------------------------------------------------------------------------------------------------------

// Registers 0 to 3 hold sums [column][row] of [columns 0..15, 16..31][rows 0..15, 16..31], 4 and 5 activations
// [column][element] of the two groups of columns, 6 and 7 weights [element / 2][row][2] of the two groups of rows.
struct tile_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t n_rows[16];
};
_Static_assert(sizeof(struct tile_configuration) == 64, "operand of LDTILECFG");

void TIER(gemm_configure_tiles)(uint32_t n_columns)
{
    struct tile_configuration c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.n_rows[i] = i < 6 ? (uint8_t)n_columns : 16;
        c.row_bytes[i] = 64;
    }
    __asm__ volatile("" : "+m"(c)); // the intrinsic does not tell the compiler that it reads all of it
    _tile_loadconfig(&c);
}

// ---- where sums come from and go to ----------------------------------------------------------------------------------

typedef float sums_16x16[16][16];

// 16 columns by 16 rows of a tile.
struct part {
    const float *from; // NULL: the sums begin at zero
    float *to;
    uint64_t from_stride, to_stride; // in bytes, from column to column
    uint32_t first, n_columns;       // the columns first .. first + n_columns - 1 of the 16 are the part's own
    uint32_t n_rows;
};

// The registers have as many rows as the call has columns, up to 16. A part that has fewer, the last of a call, takes columns
// before its own in again and leaves out what they give; its sums, and those of missing rows, go by way of `apart`.
ALWAYS_INLINE struct part make_part(const struct tile *t, uint32_t first_column, uint32_t n_columns, uint32_t half,
                                    sums_16x16 apart)
{
    const uint32_t left_rows = t->n_rows > 16 * half ? (uint32_t)(t->n_rows - 16 * half) : 0;
    struct part p = {
        .first = t->n_before + first_column == 0 ? 0 : 16 - n_columns,
        .n_columns = n_columns,
        .n_rows = left_rows < 16 ? left_rows : 16,
        .from_stride = GEMM_ROWS * sizeof(float),
        .to_stride = t->out_stride * sizeof(float),
        .to = t->out + first_column * t->out_stride + 16 * half,
    };
    if (t->before != NULL)
        p.from = t->before + first_column * GEMM_ROWS + 16 * half;
    if (p.first == 0 && p.n_rows == 16)
        return p;
    for (uint32_t c = 0; c < 16; c++) {
        const bool own = c >= p.first && c < p.first + n_columns && p.from != NULL;
        const __m512 sums = own ? _mm512_load_ps(p.from + (c - p.first) * GEMM_ROWS) : _mm512_setzero_ps();
        _mm512_store_ps(apart[c], sums);
    }
    p.from = p.to = apart[0];
    p.from_stride = p.to_stride = sizeof apart[0];
    return p;
}

ALWAYS_INLINE void finish_part(const struct tile *t, const struct part *p, uint32_t first_column, uint32_t half,
                               sums_16x16 apart)
{
    if (p->to != apart[0])
        return;
    float *out = t->out + first_column * t->out_stride + 16 * half;
    for (uint32_t c = 0; c < p->n_columns; c++)
        _mm512_mask_storeu_ps(out + c * t->out_stride, first_lanes_16(p->n_rows), _mm512_load_ps(apart[p->first + c]));
}

// ---- tiles -----------------------------------------------------------------------------------------------------------

#define LOAD_SUMS(tile, part)                                   \
    do {                                                        \
        if ((part).from == NULL)                                \
            _tile_zero(tile);                                   \
        else                                                    \
            _tile_loadd(tile, (part).from, (part).from_stride); \
    } while (0)
#define STORE_SUMS(tile, part) _tile_stored(tile, (part).to, (part).to_stride)

// How numbers are cut into parts of bfloat16, and which parts are multiplied: those whose numbers add up to less than
// n_orders.
struct parts {
    uint32_t of_weights, of_columns, n_orders;
    uint32_t panel_n;
};
#define QUANTIZED_PARTS ((struct parts){1, 1, 1, BF16_PANEL_N})

// What a tile brings near the core while it multiplies: the rows that the next panels are unpacked from, shared out evenly over the
// tiles that meet this one, to L2; and, where it is the last panel of its rows, the lines that sums are written to. Unpackers that
// wait for memory, and stores that miss every cache, made prompts take 15 % longer.
struct prefetcher {
    const uint8_t *row;  // of the next panels
    uint32_t due, steps; // of all tiles: as many as the rows take turns in
    float *out;          // NULL: sums go to the scratch
    uint32_t columns_per_step, columns_left;
};

ALWAYS_INLINE struct prefetcher prefetcher_of(const struct tile *t)
{
    const uint32_t steps = (uint32_t)((t->n + 31) / 32);
    return (struct prefetcher){
        .row = t->next_weights + t->index * GEMM_ROWS / t->n_tiles * t->row_bytes,
        .due = steps * t->n_tiles - 1, // the first row at once
        .steps = steps * t->n_tiles,
        .out = t->out_stride == GEMM_ROWS ? NULL : t->out,
        .columns_per_step = (t->n_columns + steps - 1) / steps,
        .columns_left = t->n_columns,
    };
}

ALWAYS_INLINE void prefetch_step(const struct tile *t, struct prefetcher *p)
{
    for (p->due += GEMM_ROWS; p->due >= p->steps; p->due -= p->steps, p->row += t->row_bytes)
        for (uint64_t i = 0; i < t->next_bytes + 63; i += 64)
            _mm_prefetch((const char *)p->row + i, _MM_HINT_T1);
    if (p->out == NULL)
        return;
    for (uint32_t i = 0; i < p->columns_per_step && p->columns_left > 0; i++, p->columns_left--) {
        __builtin_prefetch(p->out, 1);
        __builtin_prefetch(p->out + 16, 1);
        p->out += t->out_stride;
    }
}

ALWAYS_INLINE void multiply_up_to_16(const struct tile *t, const struct parts parts)
{
    const bf16_tile *w0 = t->panel, *w1 = w0 + parts.panel_n / 32 * parts.of_weights;
    sums_16x16 apart[2] __attribute__((aligned(64)));
    const struct part p0 = make_part(t, 0, t->n_columns, 0, apart[0]);
    const struct part p1 = make_part(t, 0, t->n_columns, 1, apart[1]);
    const uint8_t *y = t->column - p0.first * t->column_stride;
    struct prefetcher prefetcher = prefetcher_of(t);
    LOAD_SUMS(0, p0);
    LOAD_SUMS(1, p1);
    for (uint64_t k = 0; k < t->n; k += 32, y += 64 * parts.of_columns) {
        UNROLL
        for (uint32_t i = 0; i < parts.of_weights; i++, w0++, w1++) {
            _tile_loadd(6, w0, 64);
            _tile_loadd(7, w1, 64);
            UNROLL
            for (uint32_t j = 0; i + j < parts.n_orders; j++) {
                _tile_loadd(4, y + 64 * j, t->column_stride);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
            }
        }
        prefetch_step(t, &prefetcher);
    }
    STORE_SUMS(0, p0);
    STORE_SUMS(1, p1);
    finish_part(t, &p0, 0, 0, apart[0]);
    finish_part(t, &p1, 0, 1, apart[1]);
}

ALWAYS_INLINE void multiply_up_to_32(const struct tile *t, const struct parts parts)
{
    const bf16_tile *w0 = t->panel, *w1 = w0 + parts.panel_n / 32 * parts.of_weights;
    sums_16x16 apart[4] __attribute__((aligned(64)));
    const struct part p0 = make_part(t, 0, 16, 0, apart[0]);
    const struct part p1 = make_part(t, 0, 16, 1, apart[1]);
    const struct part p2 = make_part(t, 16, t->n_columns - 16, 0, apart[2]);
    const struct part p3 = make_part(t, 16, t->n_columns - 16, 1, apart[3]);
    const uint8_t *y0 = t->column, *y1 = t->column + (16 - p2.first) * t->column_stride;
    struct prefetcher prefetcher = prefetcher_of(t);
    LOAD_SUMS(0, p0);
    LOAD_SUMS(1, p1);
    LOAD_SUMS(2, p2);
    LOAD_SUMS(3, p3);
    for (uint64_t k = 0; k < t->n; k += 32, y0 += 64 * parts.of_columns, y1 += 64 * parts.of_columns) {
        UNROLL
        for (uint32_t i = 0; i < parts.of_weights; i++, w0++, w1++) {
            _tile_loadd(6, w0, 64);
            _tile_loadd(7, w1, 64);
            UNROLL
            for (uint32_t j = 0; i + j < parts.n_orders; j++) {
                _tile_loadd(4, y0 + 64 * j, t->column_stride);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_loadd(5, y1 + 64 * j, t->column_stride);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
        prefetch_step(t, &prefetcher);
    }
    STORE_SUMS(0, p0);
    STORE_SUMS(1, p1);
    STORE_SUMS(2, p2);
    STORE_SUMS(3, p3);
    finish_part(t, &p0, 0, 0, apart[0]);
    finish_part(t, &p1, 0, 1, apart[1]);
    finish_part(t, &p2, 16, 0, apart[2]);
    finish_part(t, &p3, 16, 1, apart[3]);
}

#define TIMES_16(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
#define DEFINE_TILES(name, ...)                       \
    static void name##_up_to_16(const struct tile *t) \
    {                                                 \
        multiply_up_to_16(t, __VA_ARGS__);            \
    }                                                 \
    static void name##_up_to_32(const struct tile *t) \
    {                                                 \
        multiply_up_to_32(t, __VA_ARGS__);            \
    }                                                 \
    tile_kernel *const TIER(name)[AMX_TILE_COLUMNS] = {TIMES_16(name##_up_to_16), TIMES_16(name##_up_to_32)};

DEFINE_TILES(gemm_tiles_bf16, QUANTIZED_PARTS)
DEFINE_TILES(gemm_tiles_1_part, ((struct parts){1, FLOAT_PARTS, 2, FLOAT_PANEL_N}))
DEFINE_TILES(gemm_tiles_2_parts, ((struct parts){2, FLOAT_PARTS, 2, FLOAT_PANEL_N}))
DEFINE_TILES(gemm_tiles_3_parts, ((struct parts){3, FLOAT_PARTS, 3, FLOAT_PANEL_N}))
