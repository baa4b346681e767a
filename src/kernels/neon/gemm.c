// GEMM of the NEON tiers: the loops, compiled once for all types, the packing of panels, and the tier's table.
#include "kernels/neon/gemm_panel.h"

static const struct gemm_shape shape = {
    .rows = GEMM_ROWS,
    .block_rows = 64,
    .block_columns = 256,
    .panel_bytes = PANEL_BYTES,
};

void TIER(gemm_by_panels)(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                          uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                          uint64_t out_stride, void *scratch)
{
    gemm_by_panels(&shape, format, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride,
                   scratch);
}

// 16 elements of 8 rows, `stride` bytes apart. For SDOT: four elements of every row, then the next four; for SMMLA
// eight.
static void pack_16(const int8_t *rows, uint64_t stride, int8_t *to)
{
#if defined(__ARM_FEATURE_MATMUL_INT8)
    for (int r = 0; r < GEMM_ROWS; r += 2, rows += 2 * stride) {
        const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(rows)), b = vreinterpretq_s64_s8(vld1q_s8(rows + stride));
        vst1q_s8(to + 8 * r, vreinterpretq_s8_s64(vzip1q_s64(a, b)));
        vst1q_s8(to + 8 * GEMM_ROWS + 8 * r, vreinterpretq_s8_s64(vzip2q_s64(a, b)));
    }
#else
    for (int r = 0; r < GEMM_ROWS; r += 4, rows += 4 * stride) {
        int32x4_t v[4];
        for (uint64_t i = 0; i < 4; i++)
            v[i] = vreinterpretq_s32_s8(vld1q_s8(rows + i * stride));
        transpose_4x4(v);
        for (int i = 0; i < 4; i++)
            vst1q_s8(to + 4 * GEMM_ROWS * i + 4 * r, vreinterpretq_s8_s32(v[i]));
    }
#endif
}

void TIER(gemm_pack_rows)(const struct row_block rows[GEMM_ROWS], struct panel_block *block)
{
    for (int v = 0; v < 16; v++)
        pack_16(rows->codes + 16 * v, sizeof *rows, block->codes[v]);
    pack_16(rows->mins, sizeof *rows, block->mins);
    for (int p = 0; p < N_PARAMS; p += 4) {
        for (int r = 0; r < GEMM_ROWS; r += 4) {
            int32x4_t v[4];
            for (int i = 0; i < 4; i++)
                v[i] = vreinterpretq_s32_u32(vld1q_u32(rows[r + i].params + p));
            transpose_4x4(v);
            for (int i = 0; i < 4; i++) {
                uint32_t *to = block->params[p + i] + PARAM_LANES / GEMM_ROWS * r;
#if defined(__ARM_FEATURE_MATMUL_INT8)
                vst1q_u32(to, vreinterpretq_u32_s32(vzip1q_s32(v[i], v[i])));
                vst1q_u32(to + 4, vreinterpretq_u32_s32(vzip2q_s32(v[i], v[i])));
#else
                vst1q_u32(to, vreinterpretq_u32_s32(v[i]));
#endif
            }
        }
    }
}

void TIER(gemm_init)(struct gemm_kernels *gemm)
{
    gemm->rows = shape.block_rows;
    gemm->scratch_bytes = gemm_scratch_bytes(&shape);
    gemm->columns[ACTIVATION_F32] = (struct gemm_column_kernel){TIER(gemm_f32_bytes), TIER(gemm_f32_prepare)};
    gemm->columns[ACTIVATION_Q8_PER_32] = (struct gemm_column_kernel){TIER(gemm_q8_32_bytes), TIER(gemm_q8_32_prepare)};
    gemm->columns[ACTIVATION_Q8_PER_256] =
        (struct gemm_column_kernel){TIER(gemm_q8_256_bytes), TIER(gemm_q8_256_prepare)};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm->multiply[id] = TIER(gemm_##name);
    QUANT_BLOCK_SCALED_TYPE_MAP(X)
#undef X
}
