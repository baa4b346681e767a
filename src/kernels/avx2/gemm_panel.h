// Private to the GEMM of the avx2 tier: the panel, the prepared columns, and what its files give to each other.
// Contracts: kernels/gemm.h; the loops: kernels/gemm_blocks.h.
//
// Weights are unpacked to 16-bit integers without zero point and multiplied with activations of 16 bits by VPMADDWD:
// exact for every type, Q8_0's -128 included, and the integer scales of sub-blocks go into the weights, so that a
// super-block of 256 is one chain of integers (at most 256 * 4096 * 127, of Q6_K). Eight rows are the lanes of a
// register.
#ifndef CHORD_KERNELS_AVX2_GEMM_PANEL_H
#define CHORD_KERNELS_AVX2_GEMM_PANEL_H

#include "kernels/avx2/avx2.h"
#include "kernels/gemm_blocks.h"

#define GEMM_ROWS 16
#define TILE_COLUMNS 4
#define PANEL_BLOCKS 2
#define PANEL_ELEMENTS 256 // of floats
#define PANEL_BYTES 18432

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// ---- the panel -------------------------------------------------------------------------------------------------------

// GEMM_ROWS rows by 256 elements. Parameters are floats or pairs of 16-bit integers.
struct panel_block {
    int16_t codes[128][GEMM_ROWS][2]; // [element / 2][row][element % 2]
    uint32_t params[16][GEMM_ROWS];   // [parameter][row]
} __attribute__((aligned(64)));
_Static_assert(PANEL_BLOCKS * sizeof(struct panel_block) <= PANEL_BYTES, "panel of integers");
_Static_assert(PANEL_ELEMENTS *GEMM_ROWS * sizeof(float) <= PANEL_BYTES, "panel of floats");

// The same as one row's unpacker leaves it.
struct row_block {
    int16_t codes[256];
    uint32_t params[16];
} __attribute__((aligned(64)));

// What a type's codes u and parameters mean; y is the column's scale, q its codes.
enum panel_kind {
    PANEL_BLOCKS_32,     // sum over blocks of 32 of (params[b] * y) * float(sum of u * q)
    PANEL_BLOCKS_32_MIN, // then, after each, + params[8 + b] * (y * float(sum of q))
    PANEL_WHOLE,         // y * (params[8] * float(sum of u * q)), per 256
    // y * (params[8] * float(sum of u * q) + params[9] * float(sum over sub-blocks of 16 of min * sum of q)), per 256;
    // mins: 16-bit pairs in params[0..7]
    PANEL_WHOLE_MIN,
    N_PANEL_KINDS
};

// ---- columns ---------------------------------------------------------------------------------------------------------

// 256 elements of a column in natural order; the last block of a column of Q8_PER_32 is padded with zeros.
struct column_32 {
    int16_t q[256];
    float scale[8];
    float scaled_sum[8]; // scale * float(sum of each 32 codes)
};
struct column_256 {
    int16_t q[256];
    int16_t sums_16[16]; // of each 16 codes
    float scale;
    int32_t padding[7];
};
#define COLUMN_BLOCK_BYTES 576
_Static_assert(sizeof(struct column_32) == COLUMN_BLOCK_BYTES, "column_32");
_Static_assert(sizeof(struct column_256) == COLUMN_BLOCK_BYTES, "column_256");

// ---- tiles and unpackers ---------------------------------------------------------------------------------------------

// Stores column c of a tile: rows 0..7 and 8..15, those that exist.
ALWAYS_INLINE void store_rows(const struct tile *t, uint32_t c, __m256 low, __m256 high)
{
    float *out = t->out + c * t->out_stride;
    if (t->n_rows == GEMM_ROWS) {
        _mm256_storeu_ps(out, low);
        _mm256_storeu_ps(out + 8, high);
        return;
    }
    float rows[GEMM_ROWS];
    _mm256_storeu_ps(rows, low);
    _mm256_storeu_ps(rows + 8, high);
    memcpy(out, rows, t->n_rows * sizeof *rows);
}

extern tile_kernel *const TIER(gemm_tiles)[N_PANEL_KINDS][TILE_COLUMNS];

void TIER(gemm_by_panels)(const struct gemm_format *format, const void *w, uint64_t row_bytes, uint64_t n_rows,
                          uint64_t n, const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                          uint64_t out_stride, void *scratch);

// Defines gemm_<type> of the tier from `unpack_panel unpack_<type>` and its tiles.
#define DEFINE_GEMM_OF_TILES(type, tiles_, panel_n_, block_size, column_bytes)                                         \
    void TIER(gemm_##type)(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *columns,        \
                           uint64_t column_stride, uint64_t n_columns, float *out, uint64_t out_stride, void *scratch) \
    {                                                                                                                  \
        static const struct gemm_format format = {                                                                     \
            .unpack = unpack_##type,                                                                                   \
            .tiles = tiles_,                                                                                           \
            .panel_n = (panel_n_),                                                                                     \
            .panel_bytes = (panel_n_) / (block_size) * sizeof(struct block_##type),                                    \
            .panel_columns = (column_bytes),                                                                           \
        };                                                                                                             \
        TIER(gemm_by_panels)                                                                                           \
        (&format, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride, scratch);               \
    }

// Dwords i = 0..3 of the 16 bytes at from + r * stride of 8 rows become 4 registers of 8 dwords, `to_stride` bytes
// apart. Pieces of rows r and r + 4 are put side by side by loads, which leaves fewer shuffles.
ALWAYS_INLINE void transpose_8x4(const void *from, uint64_t stride, void *to, uint64_t to_stride)
{
    const uint8_t *p = from;
    const __m256i r0 = load_two_16(p, p + 4 * stride), r1 = load_two_16(p + stride, p + 5 * stride);
    const __m256i r2 = load_two_16(p + 2 * stride, p + 6 * stride), r3 = load_two_16(p + 3 * stride, p + 7 * stride);
    const __m256i low_01 = _mm256_unpacklo_epi32(r0, r1), high_01 = _mm256_unpackhi_epi32(r0, r1);
    const __m256i low_23 = _mm256_unpacklo_epi32(r2, r3), high_23 = _mm256_unpackhi_epi32(r2, r3);
    uint8_t *out = to;
    _mm256_store_si256((__m256i *)(void *)out, _mm256_unpacklo_epi64(low_01, low_23));
    _mm256_store_si256((__m256i *)(void *)(out + to_stride), _mm256_unpackhi_epi64(low_01, low_23));
    _mm256_store_si256((__m256i *)(void *)(out + 2 * to_stride), _mm256_unpacklo_epi64(high_01, high_23));
    _mm256_store_si256((__m256i *)(void *)(out + 3 * to_stride), _mm256_unpackhi_epi64(high_01, high_23));
}

ALWAYS_INLINE void prefetch_next_panel(const void *p, int64_t ahead, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)((uintptr_t)p + (uintptr_t)ahead + i), _MM_HINT_T1);
}

// ---- slots -----------------------------------------------------------------------------------------------------------

uint64_t TIER(gemm_f32_bytes)(uint64_t n);
void TIER(gemm_f32_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_32_bytes)(uint64_t n);
void TIER(gemm_q8_32_prepare)(const float *x, void *out, uint64_t n);
uint64_t TIER(gemm_q8_256_bytes)(uint64_t n);
void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n);

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm_kernel TIER(gemm_##name);
QUANT_TYPE_MAP(X)
#undef X

#endif
