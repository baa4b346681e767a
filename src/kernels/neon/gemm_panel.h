// Private to the GEMM of the NEON tiers: the panel, the prepared columns, and what its files give to each other.
// Contracts: kernels/gemm.h; the loops: kernels/gemm_blocks.h.
//
// Weights are unpacked to signed bytes without zero point, eight rows by 16 elements at a time in the order that the
// tier's products want; sub-blocks' integer scales are multiplied in between. SDOT by lane takes four elements of four
// rows and one dword of a column; SMMLA eight elements of two rows and of two columns.
#ifndef CHORD_KERNELS_NEON_GEMM_PANEL_H
#define CHORD_KERNELS_NEON_GEMM_PANEL_H

#include "kernels/gemm_blocks.h"
#include "kernels/neon/neon.h"

#define GEMM_ROWS 8
#define TILE_COLUMNS 4
#define TILE_COLUMNS_F32 8
#define PANEL_BLOCKS 4
#define PANEL_ELEMENTS 256 // of floats
#define PANEL_BYTES 13824

// Parameters of the eight rows: as they come, or each twice, as they meet pairs of columns.
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define PARAM_LANES 16
#else
#define PARAM_LANES 8
#endif

// ---- the panel -------------------------------------------------------------------------------------------------------

#define N_PARAMS 20

// GEMM_ROWS rows by 256 elements. Parameters are floats or 32-bit integers.
struct panel_block {
    int8_t codes[16][16 * GEMM_ROWS]; // [element / 16], packed
    int8_t mins[16 * GEMM_ROWS];      // 16 of each row, packed like codes
    uint32_t params[N_PARAMS][PARAM_LANES];
} __attribute__((aligned(64)));
_Static_assert(PANEL_BLOCKS * sizeof(struct panel_block) <= PANEL_BYTES, "panel of integers");
_Static_assert(PANEL_ELEMENTS *GEMM_ROWS * sizeof(float) <= PANEL_BYTES, "panel of floats");

// The same as one row's unpacker leaves it.
struct row_block {
    int8_t codes[256];
    int8_t mins[16];
    uint32_t params[N_PARAMS];
} __attribute__((aligned(16)));

#define PARAM_D 16    // of super-blocks
#define PARAM_DMIN 17 // negative

// What a type's codes u and parameters mean; y is the column's scale, q its codes.
enum panel_kind {
    PANEL_BLOCKS_32,     // sum over blocks of 32 of (params[b] * y) * float(sum of u * q)
    PANEL_HALVES_32,     // the same with a scale for each 16: params[2b] of the lower half, params[2b + 1] of the upper
    PANEL_BLOCKS_32_MIN, // then, after each, + params[8 + b] * (y * float(sum of q))
    // y * (d * float(sum over sub-blocks of params[j] * sum of u * q)), per 256; sub-blocks of 16
    PANEL_SUPER_16,
    PANEL_SUPER_16_MIN, // and, within, - dmin * float(sum over sub-blocks of mins[j] * sum of q)
    PANEL_SUPER_32_MIN, // sub-blocks of 32
    N_PANEL_KINDS
};

// ---- columns ---------------------------------------------------------------------------------------------------------

// 256 elements of a column in natural order; the last block of a column of Q8_PER_32 is padded with zeros.
struct column_32 {
    int8_t q[256];
    float scale[8];
    float scaled_sum[8]; // scale * float(sum of each 32 codes)
};
// Sums s of codes as two bytes, s = 128 * high + low.
struct column_256 {
    int8_t q[256];
    int8_t sums_32[2][8];  // [high, low] of each 32 codes
    int8_t sums_16[2][16]; // [high, low] of each 16 codes
    float scale;
    float padding[3];
};
#define COLUMN_BLOCK_BYTES 320
_Static_assert(sizeof(struct column_32) == COLUMN_BLOCK_BYTES, "column_32");
_Static_assert(sizeof(struct column_256) == COLUMN_BLOCK_BYTES, "column_256");

// ---- tiles and unpackers ---------------------------------------------------------------------------------------------

// Stores column c of a tile: rows 0..3 and 4..7, those that exist.
ALWAYS_INLINE void store_rows(const struct tile *t, uint32_t c, float32x4_t low, float32x4_t high)
{
    float *out = t->out + c * t->out_stride;
    if (t->n_rows == GEMM_ROWS) {
        vst1q_f32(out, low);
        vst1q_f32(out + 4, high);
        return;
    }
    float rows[GEMM_ROWS];
    vst1q_f32(rows, low);
    vst1q_f32(rows + 4, high);
    memcpy(out, rows, t->n_rows * sizeof *rows);
}

// Dword i of register r becomes dword r of register i.
ALWAYS_INLINE void transpose_4x4(int32x4_t v[4])
{
    const int64x2_t even_01 = vreinterpretq_s64_s32(vtrn1q_s32(v[0], v[1]));
    const int64x2_t odd_01 = vreinterpretq_s64_s32(vtrn2q_s32(v[0], v[1]));
    const int64x2_t even_23 = vreinterpretq_s64_s32(vtrn1q_s32(v[2], v[3]));
    const int64x2_t odd_23 = vreinterpretq_s64_s32(vtrn2q_s32(v[2], v[3]));
    v[0] = vreinterpretq_s32_s64(vtrn1q_s64(even_01, even_23));
    v[1] = vreinterpretq_s32_s64(vtrn1q_s64(odd_01, odd_23));
    v[2] = vreinterpretq_s32_s64(vtrn2q_s64(even_01, even_23));
    v[3] = vreinterpretq_s32_s64(vtrn2q_s64(odd_01, odd_23));
}

ALWAYS_INLINE void prefetch_next_panel(const void *p, int64_t ahead, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)ahead + i), 0, 2);
}

extern tile_kernel *const TIER(gemm_tiles)[N_PANEL_KINDS][TILE_COLUMNS];
extern tile_kernel *const TIER(gemm_tiles_f32)[TILE_COLUMNS_F32];

void TIER(gemm_by_panels)(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                          uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                          uint64_t out_stride, void *scratch);
void TIER(gemm_pack_rows)(const struct row_block rows[GEMM_ROWS], struct panel_block *block);

// Defines gemm_<type> of the tier from `unpack_panel unpack_<type>` and its tiles.
#define DEFINE_GEMM_OF_TILES(type, tiles_, panel_n_, block_size, column_bytes)                                         \
    void TIER(gemm_##type)(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *columns,        \
                           uint64_t column_stride, uint64_t n_columns, float *out, uint64_t out_stride, void *scratch) \
    {                                                                                                                  \
        static const struct gemm_format format = {                                                                     \
            .unpack = unpack_##type,                                                                                   \
            .tiles = tiles_,                                                                                           \
            .tile_columns = sizeof(tiles_) / sizeof((tiles_)[0]),                                                      \
            .panel_n = (panel_n_),                                                                                     \
            .panel_bytes = (panel_n_) / (block_size) * sizeof(struct block_##type),                                    \
            .panel_columns = (column_bytes),                                                                           \
        };                                                                                                             \
        TIER(gemm_by_panels)                                                                                           \
        (&format, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride, scratch);               \
    }

// Defines the GEMM of a quantized type from
//     void unpack_row_<type>(const struct block_<type> *x, uint32_t n_blocks, struct row_block *)
// for up to 256 elements. Rows that are missing repeat the last; blocks of 32 that are missing leave what was there, which
// is not used.
#define DEFINE_GEMM(type, kind, block_size)                                                      \
    static void unpack_##type(const struct panel_source *s, void *panel)                         \
    {                                                                                            \
        enum { BLOCKS = 256 / (block_size) };                                                    \
        struct panel_block *to = panel;                                                          \
        struct row_block rows[GEMM_ROWS];                                                        \
        for (uint64_t k = 0; k < s->n; k += 256, to++) {                                         \
            const uint64_t left = (s->n - k) / (block_size);                                     \
            for (uint32_t r = 0; r < GEMM_ROWS; r++) {                                           \
                const uint32_t row = r < s->n_rows ? r : s->n_rows - 1;                          \
                const struct block_##type *x =                                                   \
                    (const struct block_##type *)(s->w + row * s->row_bytes) + k / (block_size); \
                prefetch_next_panel(x, s->ahead, BLOCKS * sizeof *x);                            \
                unpack_row_##type(x, left < BLOCKS ? (uint32_t)left : BLOCKS, &rows[r]);         \
            }                                                                                    \
            TIER(gemm_pack_rows)(rows, to);                                                      \
        }                                                                                        \
    }                                                                                            \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles)[kind], 256 * PANEL_BLOCKS, block_size,           \
                         PANEL_BLOCKS * COLUMN_BLOCK_BYTES)

// ---- slots -----------------------------------------------------------------------------------------------------------

uint64_t TIER(gemm_f32_bytes)(uint64_t n);
void TIER(gemm_f32_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_32_bytes)(uint64_t n);
void TIER(gemm_q8_32_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_256_bytes)(uint64_t n);
void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n);

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm_kernel TIER(gemm_##name);
QUANT_BLOCK_SCALED_TYPE_MAP(X)
#undef X

#endif
