// The loop over panels and tiles, and the tier's GEMM table.
#include "kernels/avx512vnni/gemm_panel.h"

// Rows and columns whose sums wait in the scratch while the panels along the row take turns.
#define BLOCK_ROWS 64
#define BLOCK_COLUMNS 512

struct gemm_scratch {
    union {
        struct panel_block blocks[PANEL_BLOCKS][2];
        float elements[256][GEMM_ROWS];
    } panel;
    float sums[BLOCK_ROWS / GEMM_ROWS][BLOCK_COLUMNS][GEMM_ROWS];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct gemm_scratch) <= GEMM_MAX_SCRATCH_BYTES, "scratch of the avx512vnni GEMM");

// One panel by all columns. `column` is at the panel's first element; `ahead` leads from there to what is read next.
static void multiply_panel(const struct gemm_format *format, struct tile *t, uint64_t n_columns, int64_t ahead)
{
    // Tiles as equal as can be: one that is left with few columns waits for its additions.
    const uint64_t column_stride = t->column_stride;
    uint64_t n_tiles = (n_columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    for (uint64_t c = 0; n_tiles > 0; n_tiles--) {
        const uint64_t width = (n_columns - c + n_tiles - 1) / n_tiles;
        t->ahead = n_tiles > 1 ? (int64_t)(width * column_stride) : ahead - (int64_t)(c * column_stride);
        format->tiles[width - 1](t);
        c += width;
        t->column += width * column_stride;
        t->out += width * t->out_stride;
        if (t->before != NULL)
            t->before += width * GEMM_ROWS;
    }
}

// At most BLOCK_ROWS by BLOCK_COLUMNS. Panels along the row outside, rows inside: the part of the columns that one panel
// meets stays in L2 for all rows.
static void multiply_block(const struct gemm_format *format, const uint8_t *w, uint64_t row_bytes, uint64_t n_rows,
                           uint64_t n, const uint8_t *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                           uint64_t out_stride, struct gemm_scratch *scratch)
{
    for (uint64_t k = 0; k < n; k += format->panel_n, w += format->panel_bytes, columns += format->panel_columns) {
        const uint64_t panel_n = n - k < format->panel_n ? n - k : format->panel_n;
        const bool last = k + panel_n == n;
        for (uint64_t r = 0; r < n_rows; r += GEMM_ROWS) {
            const uint64_t rows = n_rows - r < GEMM_ROWS ? n_rows - r : GEMM_ROWS;
            float *sums = scratch->sums[r / GEMM_ROWS][0];
            const bool more_rows = r + rows < n_rows;
            const struct panel_source source = {
                .w = w + r * row_bytes,
                .row_bytes = row_bytes,
                .n_rows = (uint32_t)rows,
                .n = panel_n,
                .ahead =
                    more_rows ? (int64_t)(rows * row_bytes) : (int64_t)format->panel_bytes - (int64_t)(r * row_bytes),
            };
            format->unpack(&source, &scratch->panel);
            struct tile t = {
                .panel = &scratch->panel,
                .n = panel_n,
                .column = columns,
                .column_stride = column_stride,
                .before = k == 0 ? NULL : sums,
                .out = last ? out + r : sums,
                .out_stride = last ? out_stride : GEMM_ROWS,
                .rows = {0xffff, 0xffff},
            };
            if (last) {
                t.rows[0] = first_lanes_16(rows);
                t.rows[1] = rows > 16 ? first_lanes_16(rows - 16) : 0;
            }
            multiply_panel(format, &t, n_columns, more_rows ? 0 : (int64_t)format->panel_columns);
        }
    }
}

void gemm_by_panels_avx512vnni(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                               uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                               uint64_t out_stride, void *scratch)
{
    for (uint64_t r = 0; r < n_rows; r += BLOCK_ROWS) {
        const uint64_t rows = n_rows - r < BLOCK_ROWS ? n_rows - r : BLOCK_ROWS;
        for (uint64_t c = 0; c < n_columns; c += BLOCK_COLUMNS) {
            const uint64_t count = n_columns - c < BLOCK_COLUMNS ? n_columns - c : BLOCK_COLUMNS;
            multiply_block(format, (const uint8_t *)w + r * row_bytes, row_bytes, rows, n,
                           (const uint8_t *)columns + c * column_stride, column_stride, count, out + c * out_stride + r,
                           out_stride, scratch);
        }
    }
}

void gemm_init_avx512vnni(struct gemm_kernels *gemm)
{
    gemm->rows = BLOCK_ROWS;
    gemm->scratch_bytes = sizeof(struct gemm_scratch);
    gemm->columns[ACTIVATION_F32] = (struct gemm_column_kernel){gemm_f32_bytes_avx512vnni, gemm_f32_prepare_avx512vnni};
    gemm->columns[ACTIVATION_Q8_PER_32] =
        (struct gemm_column_kernel){gemm_q8_32_bytes_avx512vnni, gemm_q8_32_prepare_avx512vnni};
    gemm->columns[ACTIVATION_Q8_PER_256] =
        (struct gemm_column_kernel){gemm_q8_256_bytes_avx512vnni, gemm_q8_256_prepare_avx512vnni};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm->multiply[id] = gemm_##name##_avx512vnni;
    QUANT_TYPE_MAP(X)
#undef X
}
