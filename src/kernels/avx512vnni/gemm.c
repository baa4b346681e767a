// The loop over panels and tiles, and the tier's GEMM table.
#include "kernels/avx512vnni/gemm_panel.h"

#define PANEL_BYTES (2 * PANEL_BLOCKS * sizeof(struct panel_block))
#define F32_PANEL_BYTES (256 * GEMM_ROWS * sizeof(float))
#define SCRATCH_BYTES (PANEL_BYTES > F32_PANEL_BYTES ? PANEL_BYTES : F32_PANEL_BYTES)
_Static_assert(SCRATCH_BYTES <= GEMM_MAX_SCRATCH_BYTES, "scratch of the avx512vnni GEMM");

// Panels along the row outside, rows inside: the part of the columns that one panel meets stays in L2 for all rows.
void gemm_by_panels_avx512vnni(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                               uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                               uint64_t out_stride, void *scratch)
{
    const uint8_t *row_part = w;
    const uint8_t *column_part = columns;
    for (uint64_t k = 0; k < n; k += format->panel_n) {
        const uint64_t panel_n = n - k < format->panel_n ? n - k : format->panel_n;
        for (uint64_t r = 0; r < n_rows; r += GEMM_ROWS) {
            const uint64_t rows = n_rows - r < GEMM_ROWS ? n_rows - r : GEMM_ROWS;
            const struct panel_source source = {
                .w = row_part + r * row_bytes, .row_bytes = row_bytes, .n_rows = (uint32_t)rows, .n = panel_n};
            format->unpack(&source, scratch);
            struct tile t = {
                .panel = scratch,
                .n = panel_n,
                .column_stride = column_stride,
                .out_stride = out_stride,
                .rows = {first_lanes_16(rows), rows > 16 ? first_lanes_16(rows - 16) : 0},
                .first = k == 0,
            };
            // Tiles as equal as can be: one that is left with few columns waits for its additions.
            uint64_t n_tiles = (n_columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
            for (uint64_t c = 0; n_tiles > 0; n_tiles--) {
                const uint64_t width = (n_columns - c + n_tiles - 1) / n_tiles;
                t.column = column_part + c * column_stride;
                t.out = out + c * out_stride + r;
                format->tiles[width - 1](&t);
                c += width;
            }
        }
        row_part += format->panel_bytes;
        column_part += format->panel_columns;
    }
}

void gemm_init_avx512vnni(struct gemm_kernels *gemm)
{
    gemm->rows = GEMM_ROWS;
    gemm->scratch_bytes = SCRATCH_BYTES;
    gemm->columns[ACTIVATION_F32] = (struct gemm_column_kernel){gemm_f32_bytes_avx512vnni, gemm_f32_prepare_avx512vnni};
    gemm->columns[ACTIVATION_Q8_PER_32] =
        (struct gemm_column_kernel){gemm_q8_32_bytes_avx512vnni, gemm_q8_32_prepare_avx512vnni};
    gemm->columns[ACTIVATION_Q8_PER_256] =
        (struct gemm_column_kernel){gemm_q8_256_bytes_avx512vnni, gemm_q8_256_prepare_avx512vnni};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm->multiply[id] = gemm_##name##_avx512vnni;
    QUANT_TYPE_MAP(X)
#undef X
}
