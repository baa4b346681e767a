// The loops of a GEMM by panels, common to the tiers that have one: rows and columns are cut into blocks whose sums
// stay in the scratch, rows into panels that stay in L1, columns into tiles that stay in registers.
#ifndef CHORD_KERNELS_GEMM_BLOCKS_H
#define CHORD_KERNELS_GEMM_BLOCKS_H

#include "kernels/gemm.h"

#include <stddef.h>

// How a tier cuts. No effect on results: sums go on in the scratch where they stopped, in the same order.
struct gemm_shape {
    uint32_t rows;          // of a panel and of a tile
    uint32_t block_rows;    // a multiple of rows; sums of so many rows
    uint32_t block_columns; // by so many columns wait in the scratch while the panels along the row take turns
    uint32_t panel_bytes;   // a multiple of GEMM_ALIGNMENT
};

static inline uint32_t gemm_scratch_bytes(const struct gemm_shape *shape)
{
    return shape->panel_bytes + shape->block_rows * shape->block_columns * (uint32_t)sizeof(float);
}

// One panel by a few columns.
struct tile {
    const void *panel;
    uint64_t n;            // elements in the panel
    const uint8_t *column; // the first of the tile's columns, at the panel's first element
    uint64_t column_stride;
    uint32_t n_columns;
    uint64_t n_before; // columns of the call that lie before the first in memory
    int64_t ahead;     // bytes from a column to what the next tile reads: prefetched meanwhile
    // The weights of the panel after this one, so many bytes of each row, row_bytes apart, and which of the tiles this is
    // that are multiplied before: for tiers that prefetch while they multiply rather than while they unpack.
    const uint8_t *next_weights;
    uint64_t row_bytes, next_bytes;
    uint32_t index, n_tiles;
    const float *before; // [column][rows], sums of the elements before, aligned to GEMM_ALIGNMENT; NULL: none
    float *out;          // [column * out_stride + row]
    uint64_t out_stride;
    uint64_t n_rows; // to store, 1..rows of the shape
};
typedef void tile_kernel(const struct tile *t);

// n elements (at most what a panel holds) of n_rows (1..rows of the shape) rows from element 0 of w. Rows of the panel
// that are missing may hold anything that does not trap.
struct panel_source {
    const uint8_t *w;
    uint64_t row_bytes;
    uint32_t n_rows;
    uint64_t n;
    int64_t ahead; // bytes from a row to what the next panel reads: prefetched meanwhile
};
typedef void unpack_panel(const struct panel_source *source, void *panel);

// What the loops need to know of a type.
struct gemm_format {
    unpack_panel *unpack;
    tile_kernel *const *tiles; // [tile_columns]: by n_columns - 1
    uint32_t tile_columns;
    bool whole_tiles;       // all but the last are as wide as can be; else as equal as can be
    uint64_t panel_n;       // elements of a row in a panel
    uint64_t panel_bytes;   // of weights, for panel_n elements of a row
    uint64_t panel_columns; // bytes of a column, for panel_n elements
};

// One panel by all columns; `ahead` leads from the columns at this panel to what is read of them next.
static inline void multiply_panel(const struct gemm_shape *shape, const struct gemm_format *format, struct tile *t,
                                  uint64_t n_columns, int64_t ahead)
{
    // Tiles as equal as can be: one that is left with few columns waits for its additions.
    uint64_t n_tiles = (n_columns + format->tile_columns - 1) / format->tile_columns;
    t->n_tiles = (uint32_t)n_tiles;
    for (uint64_t c = 0; n_tiles > 0; n_tiles--) {
        const uint64_t left = n_columns - c, most = format->tile_columns;
        const uint64_t width = !format->whole_tiles ? (left + n_tiles - 1) / n_tiles : left < most ? left : most;
        const uint64_t step = width * t->column_stride;
        t->ahead = n_tiles > 1 ? (int64_t)step : ahead - (int64_t)(c * t->column_stride);
        t->n_columns = (uint32_t)width;
        format->tiles[width - 1](t);
        c += width;
        t->index++;
        t->n_before += width;
        t->column += step;
        t->out += width * t->out_stride;
        if (t->before != NULL)
            t->before += width * shape->rows;
    }
}

// At most block_rows by block_columns. Panels along the row outside, rows inside: the part of the columns that one
// panel meets stays in L2 for all rows.
static inline void multiply_block(const struct gemm_shape *shape, const struct gemm_format *format, const uint8_t *w,
                                  uint64_t row_bytes, uint64_t n_rows, uint64_t n, const uint8_t *columns,
                                  uint64_t column_stride, uint64_t n_before, uint64_t n_columns, float *out,
                                  uint64_t out_stride, uint8_t *scratch)
{
    float *all_sums = (float *)(void *)(scratch + shape->panel_bytes); // [block_rows / rows][block_columns][rows]
    const uint8_t *next_block = w + n_rows * row_bytes;
    for (uint64_t k = 0; k < n; k += format->panel_n, w += format->panel_bytes, columns += format->panel_columns) {
        const uint64_t panel_n = n - k < format->panel_n ? n - k : format->panel_n;
        const bool last = k + panel_n == n;
        for (uint64_t r = 0; r < n_rows; r += shape->rows) {
            const uint64_t rows = n_rows - r < shape->rows ? n_rows - r : shape->rows;
            const bool more_rows = r + rows < n_rows;
            float *sums = all_sums + r * shape->block_columns;
            const struct panel_source source = {
                .w = w + r * row_bytes,
                .row_bytes = row_bytes,
                .n_rows = (uint32_t)rows,
                .n = panel_n,
                .ahead = (int64_t)(more_rows ? rows * row_bytes : format->panel_bytes - r * row_bytes),
            };
            format->unpack(&source, scratch);
            struct tile t = {
                .panel = scratch,
                .n = panel_n,
                .next_weights = more_rows ? source.w + rows * row_bytes
                                : last    ? next_block
                                          : w + format->panel_bytes,
                .row_bytes = row_bytes,
                .next_bytes = format->panel_bytes,
                .column = columns,
                .column_stride = column_stride,
                .n_before = n_before,
                .before = k == 0 ? NULL : sums,
                .out = last ? out + r : sums,
                .out_stride = last ? out_stride : shape->rows,
                .n_rows = last ? rows : shape->rows,
            };
            multiply_panel(shape, format, &t, n_columns, more_rows ? 0 : (int64_t)format->panel_columns);
        }
    }
}

// gemm_kernel of a format.
static inline void gemm_by_panels(const struct gemm_shape *shape, const struct gemm_format *format, const void *w,
                                  uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *columns,
                                  uint64_t column_stride, uint64_t n_columns, float *out, uint64_t out_stride,
                                  void *scratch)
{
    for (uint64_t r = 0; r < n_rows; r += shape->block_rows) {
        const uint64_t rows = n_rows - r < shape->block_rows ? n_rows - r : shape->block_rows;
        for (uint64_t c = 0; c < n_columns; c += shape->block_columns) {
            const uint64_t count = n_columns - c < shape->block_columns ? n_columns - c : shape->block_columns;
            multiply_block(shape, format, (const uint8_t *)w + r * row_bytes, row_bytes, rows, n,
                           (const uint8_t *)columns + c * column_stride, column_stride, c, count,
                           out + c * out_stride + r, out_stride, scratch);
        }
    }
}

#endif
