// Private to the GEMM of the avx512 tiers: the panel, the prepared columns, and what its files give to each other.
// Contracts: kernels/gemm.h.
//
// Every quantized type is unpacked to unsigned bytes u and multiplied by VPDPBUSD or what stands in for it (but for the amx
// tier: amx/bf16_panel.h); the types differ in what goes with the bytes. A panel is GEMM_ROWS rows by PANEL_BLOCKS blocks of 256 elements, so that it stays in L1 while all
// columns pass by; sums of a longer row wait in the scratch. One tile is GEMM_ROWS rows (two registers) by up to
// TILE_COLUMNS columns: each step multiplies 4 elements of every row, loaded once, by 4 elements of a column,
// broadcast by the load unit.
#ifndef CHORD_KERNELS_AVX512_GEMM_PANEL_H
#define CHORD_KERNELS_AVX512_GEMM_PANEL_H

#include "kernels/avx512/avx512.h"
#include "kernels/gemm_blocks.h"

#include <string.h>

#define GEMM_ROWS 32
#define TILE_COLUMNS 6
#define PANEL_ELEMENTS 256 // of floats
#define PANEL_BLOCKS 3
#define PANEL_BYTES 32768

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// ---- the panel -------------------------------------------------------------------------------------------------------

// 16 rows by 256 elements. Parameters are floats or pairs of 16-bit integers; the unpackers say which and what for.
struct panel_block {
    uint8_t codes[64][16][4]; // [element / 4][row][element % 4]
    uint32_t params[16][16];  // [parameter][row]
} __attribute__((aligned(64)));

// The same as one row's unpacker leaves it.
struct row_block {
    uint8_t codes[256];
    uint32_t params[16];
} __attribute__((aligned(64)));

_Static_assert(2 * PANEL_BLOCKS * sizeof(struct panel_block) <= PANEL_BYTES, "panel of bytes");
_Static_assert(PANEL_ELEMENTS *GEMM_ROWS * sizeof(float) <= PANEL_BYTES, "panel of floats");

// What a type's codes and parameters mean; y is the column's scale, q its codes.
enum panel_kind {
    // Blocks of 32, zero point 128: sum over blocks of (params[b] * y) * float(sum of (u - 128) * q)
    PANEL_BLOCKS_32,
    // The same with a scale for each 16: params[2b] of the lower half, params[2b + 1] of the upper
    PANEL_HALVES_32,
    // Blocks of 32: as above with zero point 0, then + params[8 + b] * (y * float(sum of q))
    PANEL_BLOCKS_32_MIN,
    // Sub-blocks of 32: y * (params[12] * float(sum over sub-blocks of min * sum of q)
    //                        + sum over sub-blocks of params[s] * float(sum of u * q))
    // mins: 16-bit pairs in params[8..11]. Per 256.
    PANEL_SUB_32_MIN,
    // Sub-blocks of 16, zero point 32: y * sum over sub-blocks of params[s] * float(sum of (u - 32) * q). Per 256.
    PANEL_SUB_16,
    // Integer scales multiplied into the codes, zero point 124: y * params[0] * float(sum of (u - 124) * q). Per 256.
    PANEL_WHOLE,
    // The same without zero point, then y * params[9] * float(sum over sub-blocks of 16 of min * sum of q) added
    // within; mins: 16-bit pairs in params[1..8]. Per 256.
    PANEL_WHOLE_MIN,
    N_PANEL_KINDS
};

// ---- columns ---------------------------------------------------------------------------------------------------------

// 256 elements of a column in natural order; the last block of a column of Q8_PER_32 is padded with zeros.
struct column_32 {
    int8_t q[256];
    float scale[8];
    int32_t zero[8];       // (WIDE_BIAS - 128) * the sum of each 32 codes
    float scaled_sum[8];   // scale * float(sum)
    int32_t zero_upper[8]; // as zero, of the upper 16 of each 32
};
struct column_256 {
    int8_t q[256];
    int32_t zero_16[16]; // -32 * the sum of each 16 codes
    int16_t sums_16[16];
    int16_t sums_32[8];
    float scale;
    int32_t zero_256; // (WIDE_BIAS - 124) * the sum of all codes
    int32_t padding[2];
};
#define COLUMN_BLOCK_BYTES 384
_Static_assert(sizeof(struct column_32) == COLUMN_BLOCK_BYTES, "column_32");
_Static_assert(sizeof(struct column_256) == COLUMN_BLOCK_BYTES, "column_256");

// ---- tiles -----------------------------------------------------------------------------------------------------------

// Rows 16 * half... that a tile stores.
ALWAYS_INLINE __mmask16 rows_to_store(const struct tile *t, uint64_t half)
{
    return t->n_rows > 16 * half ? first_lanes_16(t->n_rows - 16 * half) : 0;
}

extern tile_kernel *const TIER(gemm_tiles)[N_PANEL_KINDS][TILE_COLUMNS];

void TIER(gemm_by_panels)(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                          uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                          uint64_t out_stride, void *scratch);

// Defines gemm_<type> from `unpack_panel unpack_<type>` and its tiles.
#define DEFINE_GEMM_OF_TILES(type, tiles_, panel_n_, block_size, column_bytes)                                         \
    void TIER(gemm_##type)(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *columns,        \
                           uint64_t column_stride, uint64_t n_columns, float *out, uint64_t out_stride, void *scratch) \
    {                                                                                                                  \
        static const struct gemm_format format = {                                                                     \
            .unpack = unpack_##type,                                                                                   \
            .tiles = tiles_,                                                                                           \
            .tile_columns = sizeof(tiles_) / sizeof((tiles_)[0]),                                                      \
            .whole_tiles = sizeof(tiles_) / sizeof((tiles_)[0]) > TILE_COLUMNS,                                        \
            .panel_n = (panel_n_),                                                                                     \
            .panel_bytes = (panel_n_) / (block_size) * sizeof(struct block_##type),                                    \
            .panel_columns = (column_bytes),                                                                           \
        };                                                                                                             \
        TIER(gemm_by_panels)                                                                                           \
        (&format, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride, scratch);               \
    }

// ---- unpacking -------------------------------------------------------------------------------------------------------

// to[i], lane r = dword i of the 16 bytes at from + r * stride, of 16 rows. The bytes of rows r, r + 4, r + 8, r + 12 are
// put side by side by loads and inserts, which any vector port takes; only the rest needs the one port that shuffles.
ALWAYS_INLINE void transpose_16x4(const void *from, uint64_t stride, __m512i to[4])
{
    const uint8_t *p = from;
    const __m512i r0 = load_four_16(p, 4 * stride);
    const __m512i r1 = load_four_16(p + stride, 4 * stride);
    const __m512i r2 = load_four_16(p + 2 * stride, 4 * stride);
    const __m512i r3 = load_four_16(p + 3 * stride, 4 * stride);
    const __m512i low_01 = _mm512_unpacklo_epi32(r0, r1), high_01 = _mm512_unpackhi_epi32(r0, r1);
    const __m512i low_23 = _mm512_unpacklo_epi32(r2, r3), high_23 = _mm512_unpackhi_epi32(r2, r3);
    to[0] = _mm512_unpacklo_epi64(low_01, low_23);
    to[1] = _mm512_unpackhi_epi64(low_01, low_23);
    to[2] = _mm512_unpacklo_epi64(high_01, high_23);
    to[3] = _mm512_unpackhi_epi64(high_01, high_23);
}

// Dword i of 16 rows becomes row i of 16 dwords: to[i][r] = dword i of the 64 bytes at from + r * stride.
ALWAYS_INLINE void transpose_16x16(const void *from, uint64_t stride, void *to)
{
    UNROLL
    for (int piece = 0; piece < 4; piece++) {
        __m512i columns[4];
        transpose_16x4((const uint8_t *)from + 16 * piece, stride, columns);
        UNROLL
        for (int i = 0; i < 4; i++)
            _mm512_store_si512((__m512i *)to + 4 * piece + i, columns[i]);
    }
}

ALWAYS_INLINE void transpose_rows(const struct row_block rows[16], struct panel_block *block)
{
    for (int v = 0; v < 4; v++)
        transpose_16x16(rows[0].codes + 64 * v, sizeof rows[0], block->codes[16 * v]);
    transpose_16x16(rows[0].params, sizeof rows[0], block->params);
}

ALWAYS_INLINE void prefetch_next_panel(const void *p, int64_t ahead, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)((uintptr_t)p + (uintptr_t)ahead + i), _MM_HINT_T1);
}

// Defines unpack_<type> from `void unpack_row(const struct block_<type> *x, uint32_t n_blocks, struct row_block
// *row)`, of another name if need be, which fills one row's codes and parameters of 256 elements, of which n_blocks blocks exist (all, but for
// types of 32); what it leaves of the others is never used.
#define DEFINE_UNPACK_BY(unpack_row, type, block_size)                                               \
    static void unpack_##type(const struct panel_source *s, void *panel)                             \
    {                                                                                                \
        enum { BLOCKS = 256 / (block_size) };                                                        \
        struct panel_block *to = panel;                                                              \
        struct row_block rows[16];                                                                   \
        for (uint64_t k = 0; k < s->n; k += 256) {                                                   \
            const uint64_t left = (s->n - k) / (block_size);                                         \
            for (uint32_t half = 0; half < 2; half++, to++) {                                        \
                for (uint32_t r = 0; r < 16; r++) {                                                  \
                    const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1;  \
                    const struct block_##type *x =                                                   \
                        (const struct block_##type *)(s->w + row * s->row_bytes) + k / (block_size); \
                    prefetch_next_panel(x, s->ahead, BLOCKS * sizeof *x);                            \
                    unpack_row(x, left < BLOCKS ? (uint32_t)left : BLOCKS, &rows[r]);                \
                }                                                                                    \
                transpose_rows(rows, to);                                                            \
            }                                                                                        \
        }                                                                                            \
    }
#define DEFINE_UNPACK_BY_ROW(type, block_size) DEFINE_UNPACK_BY(unpack_row, type, block_size)

// The same from `void unpack_16(const struct block_<type> *x, uint64_t stride, uint32_t n_blocks, struct panel_block *to)`,
// which does so for 16 rows, `stride` bytes apart. Where rows are missing it gets copies, the last row standing in.
#define DEFINE_UNPACK_BY_16(type, block_size)                                                           \
    static void unpack_##type(const struct panel_source *s, void *panel)                                \
    {                                                                                                   \
        enum { BLOCKS = 256 / (block_size) };                                                           \
        struct panel_block *to = panel;                                                                 \
        for (uint64_t k = 0; k < s->n; k += 256) {                                                      \
            const uint64_t left = (s->n - k) / (block_size);                                            \
            const uint32_t n_blocks = left < BLOCKS ? (uint32_t)left : BLOCKS;                          \
            const uint8_t *w = s->w + k / (block_size) * sizeof(struct block_##type);                   \
            for (uint32_t half = 0; half < 2; half++, to++) {                                           \
                struct block_##type copy[16][BLOCKS];                                                   \
                const uint8_t *rows = w + 16 * half * s->row_bytes;                                     \
                uint64_t stride = s->row_bytes;                                                         \
                for (uint32_t r = 0; r < 16 && 16 * half + r < s->n_rows; r++)                          \
                    prefetch_next_panel(rows + r * stride, s->ahead, sizeof copy[0]);                   \
                if (s->n_rows < 16 * half + 16) {                                                       \
                    for (uint32_t r = 0; r < 16; r++) {                                                 \
                        const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1; \
                        memcpy(copy[r], w + row * s->row_bytes, n_blocks * sizeof copy[0][0]);          \
                    }                                                                                   \
                    rows = (const uint8_t *)copy;                                                       \
                    stride = sizeof copy[0];                                                            \
                }                                                                                       \
                unpack_16((const struct block_##type *)rows, stride, n_blocks, to);                     \
            }                                                                                           \
        }                                                                                               \
    }

#define DEFINE_GEMM(type, kind, block_size)                                            \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles)[kind], 256 * PANEL_BLOCKS, block_size, \
                         PANEL_BLOCKS * COLUMN_BLOCK_BYTES)

// ---- slots -----------------------------------------------------------------------------------------------------------

uint64_t TIER(gemm_f32_bytes)(uint64_t n);
void TIER(gemm_f32_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_32_bytes)(uint64_t n);
void TIER(gemm_q8_32_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_256_bytes)(uint64_t n);
void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_row_bytes)(uint64_t n);
void TIER(gemm_q8_row_prepare)(const float *x, void *out, uint64_t n);

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm_kernel TIER(gemm_##name);
QUANT_TYPE_MAP(X)
#undef X

#endif
