// The loops, compiled once for all types, and the tier's table.
#include "kernels/amx/bf16_panel.h"

static const struct gemm_shape shape = {
    .rows = GEMM_ROWS,
    .block_rows = 128,
    .block_columns = 512,
    .panel_bytes = PANEL_BYTES,
};

void TIER(gemm_by_panels)(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                          uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                          uint64_t out_stride, void *scratch)
{
    if (n_columns == 0)
        return; // tiles of no columns cannot be configured
    TIER(gemm_configure_tiles)(n_columns < 16 ? (uint32_t)n_columns : 16);
    gemm_by_panels(&shape, format, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride,
                   scratch);
    _tile_release(); // a thread that holds tiles is slower to switch and keeps its core from sleeping
}

void TIER(gemm_init)(struct gemm_kernels *gemm)
{
    gemm->rows = shape.block_rows;
    gemm->scratch_bytes = gemm_scratch_bytes(&shape);
    gemm->rounds_to_bf16 = true;
    gemm->columns[ACTIVATION_F32] = (struct gemm_column_kernel){TIER(gemm_f32_bytes), TIER(gemm_f32_prepare)};
    gemm->columns[ACTIVATION_Q8_PER_32] = (struct gemm_column_kernel){TIER(gemm_q8_32_bytes), TIER(gemm_q8_32_prepare)};
    gemm->columns[ACTIVATION_Q8_PER_256] =
        (struct gemm_column_kernel){TIER(gemm_q8_256_bytes), TIER(gemm_q8_256_prepare)};
    gemm->columns[ACTIVATION_Q8_PER_ROW] =
        (struct gemm_column_kernel){TIER(gemm_q8_row_bytes), TIER(gemm_q8_row_prepare)};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm->multiply[id] = TIER(gemm_##name);
    QUANT_TYPE_MAP(X)
#undef X
}
