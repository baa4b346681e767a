// GEMM of F32, F16 and BF16: a panel of floats, 256 elements deep. Each 256 products of a row and a column are summed
// by one chain of fused multiply-adds in element order, and those sums in order.
#include "kernels/neon/floats.h"
#include "kernels/neon/gemm_panel.h"

ALWAYS_INLINE float32x4_t add_by_lane(float32x4_t sum, float32x4_t w, float32x4_t x, const int lane)
{
    switch (lane) {
    case 0:
        return vfmaq_laneq_f32(sum, w, x, 0);
    case 1:
        return vfmaq_laneq_f32(sum, w, x, 1);
    case 2:
        return vfmaq_laneq_f32(sum, w, x, 2);
    default:
        return vfmaq_laneq_f32(sum, w, x, 3);
    }
}

// The panel and the columns are padded with zeros to a multiple of 4 elements.
ALWAYS_INLINE void multiply_tile(const struct tile *t, const uint32_t n_columns)
{
    const float *w = t->panel;
    const float *y[TILE_COLUMNS_F32];
    float32x4_t sums[2][TILE_COLUMNS_F32];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        y[c] = (const float *)(const void *)(t->column + c * t->column_stride);
        sums[0][c] = sums[1][c] = vdupq_n_f32(0.0f);
    }
    for (uint64_t k = 0; k < t->n; k += 4, w += 4 * GEMM_ROWS) {
        float32x4_t x[TILE_COLUMNS_F32];
        if (k % 16 == 0) {
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                __builtin_prefetch((const void *)((uintptr_t)(y[c] + k) + (uintptr_t)t->ahead), 0, 3);
        }
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            x[c] = vld1q_f32(y[c] + k);
        UNROLL
        for (int i = 0; i < 4; i++) {
            const float32x4_t w0 = vld1q_f32(w + GEMM_ROWS * i), w1 = vld1q_f32(w + GEMM_ROWS * i + 4);
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                sums[0][c] = add_by_lane(sums[0][c], w0, x[c], i);
                sums[1][c] = add_by_lane(sums[1][c], w1, x[c], i);
            }
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        if (t->before != NULL) {
            sums[0][c] = vaddq_f32(vld1q_f32(t->before + c * GEMM_ROWS), sums[0][c]);
            sums[1][c] = vaddq_f32(vld1q_f32(t->before + c * GEMM_ROWS + 4), sums[1][c]);
        }
        store_rows(t, c, sums[0][c], sums[1][c]);
    }
}

#define ALL_TILES TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
#define TILE(n_columns)                                    \
    static void tile_f32_##n_columns(const struct tile *t) \
    {                                                      \
        multiply_tile(t, n_columns);                       \
    }
ALL_TILES
#undef TILE

#define TILE(n_columns) [n_columns - 1] = tile_f32_##n_columns,
tile_kernel *const TIER(gemm_tiles_f32)[TILE_COLUMNS_F32] = {ALL_TILES};
#undef TILE

// Defines unpack_<type> from load_<type>. The last values of a row pass through the stack; rows that are missing
// repeat the last.
#define DEFINE_GEMM_FLOATS(type)                                                                                 \
    static void unpack_##type(const struct panel_source *s, void *panel)                                         \
    {                                                                                                            \
        float(*to)[GEMM_ROWS] = panel;                                                                           \
        for (uint64_t k = 0; k < s->n; k += 4) {                                                                 \
            for (uint32_t half = 0; half < GEMM_ROWS; half += 4) {                                               \
                int32x4_t v[4];                                                                                  \
                for (uint32_t i = 0; i < 4; i++) {                                                               \
                    const uint32_t row = half + i < s->n_rows ? half + i : s->n_rows - 1;                        \
                    const struct block_##type *x = (const struct block_##type *)(s->w + row * s->row_bytes) + k; \
                    struct block_##type tail[4] = {{{0}}};                                                       \
                    if (k % (64 / sizeof *x) == 0)                                                               \
                        prefetch_next_panel(x, s->ahead, 64);                                                    \
                    if (s->n - k < 4)                                                                            \
                        x = memcpy(tail, x, (s->n - k) * sizeof *x);                                             \
                    v[i] = vreinterpretq_s32_f32(load_##type(x->bits));                                          \
                }                                                                                                \
                transpose_4x4(v);                                                                                \
                for (uint32_t i = 0; i < 4; i++)                                                                 \
                    vst1q_f32(to[k + i] + half, vreinterpretq_f32_s32(v[i]));                                    \
            }                                                                                                    \
        }                                                                                                        \
    }                                                                                                            \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles_f32), PANEL_ELEMENTS, 1, PANEL_ELEMENTS * sizeof(float))

DEFINE_GEMM_FLOATS(f32)
DEFINE_GEMM_FLOATS(f16)
DEFINE_GEMM_FLOATS(bf16)
