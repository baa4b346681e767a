// Private to the GEMM of the tiers avx2 and avxvnni: the panel, the prepared columns, and what the files give to each other.
// Contracts: kernels/gemm.h; the loops: kernels/gemm_blocks.h.
//
// Every quantized type is unpacked to unsigned bytes u; integers stay exact. Eight rows are the lanes of a register.
// AVX-VNNI multiplies by VPDPBUSD, whose sums of a sub-block are scaled as floats. AVX2 multiplies by VPMADDUBSW, adds
// as many products in 16 bits as the codes allow, and scales by the VPMADDWD that widens them: a super-block of 256 is
// one chain of integers (at most 256 * 63 * 127 * 128, of Q6_K).
#ifndef CHORD_KERNELS_AVX2_GEMM_PANEL_H
#define CHORD_KERNELS_AVX2_GEMM_PANEL_H

#include "kernels/avx2/avx2.h"
#include "kernels/gemm_blocks.h"

#define GEMM_ROWS 16
#define TILE_COLUMNS 6
#define PANEL_BLOCKS 3
#define PANEL_ELEMENTS 256 // of floats
#define PANEL_BYTES 18432

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// ---- the panel -------------------------------------------------------------------------------------------------------

// GEMM_ROWS rows by 256 elements. Parameters are floats, scales of sub-blocks or pairs of 16-bit integers.
#define N_PARAMS 28
struct panel_block {
    uint8_t codes[64][GEMM_ROWS][4];      // [element / 4][row][element % 4]
    uint32_t params[N_PARAMS][GEMM_ROWS]; // [parameter][row]
} __attribute__((aligned(64)));
_Static_assert(PANEL_BLOCKS * sizeof(struct panel_block) <= PANEL_BYTES, "panel of integers");
_Static_assert(PANEL_ELEMENTS *GEMM_ROWS * sizeof(float) <= PANEL_BYTES, "panel of floats");

// The same as one row's unpacker leaves it.
struct row_block {
    uint8_t codes[256];
    uint32_t params[N_PARAMS];
} __attribute__((aligned(64)));

// Codes beyond 6 bits: two of them by VPMADDUBSW need not fit 16 bits, so that without VPDPBUSD they are 16-bit integers,
// without zero point.
#ifdef __AVXVNNI__
#define panel_block_wide panel_block
#define row_block_wide row_block
#define PANEL_WIDE_BLOCKS PANEL_BLOCKS
#else
#define PANEL_WIDE_BLOCKS 2
struct panel_block_wide {
    int16_t codes[128][GEMM_ROWS][2];
    uint32_t params[16][GEMM_ROWS];
} __attribute__((aligned(64)));
struct row_block_wide {
    int16_t codes[256];
    uint32_t params[16];
} __attribute__((aligned(64)));
_Static_assert(PANEL_WIDE_BLOCKS * sizeof(struct panel_block_wide) <= PANEL_BYTES, "panel of words");
#endif

// Parameters: first of ...
enum {
    PARAM_BLOCK_MIN = 8, // the 8 mins of blocks of 32
    PARAM_MINS_32 = 8,   // 8 mins of sub-blocks, as pairs
    PARAM_MINS_16 = 16,  // 16
    PARAM_D = 24,
    PARAM_DMIN = 25, // -dmin
};

// What a type's codes u and parameters mean; y is the column's scale, q its codes. Up to PANEL_MIN columns are per 32.
enum panel_kind {
    // Blocks of 32: sum over blocks of (params[b] * y) * float(sum of (u - zero point) * q)
    PANEL_ZERO_8,   // u up to 15
    PANEL_ZERO_16,  // u up to 31
    PANEL_ZERO_128, // u up to 255; a panel_block_wide
    PANEL_HALVES,   // the same with a scale for each 16: params[2b] of the lower half, params[2b + 1] of the upper
    // The same without zero point, u up to 31, then, after each block, + params[8 + b] * (y * float(sum of q))
    PANEL_MIN,
    // y * (params[D] * sum over sub-blocks s of 32 of params[s] * sum of u * q
    //      + params[DMIN] * float(sum over sub-blocks of min * sum of q)), u up to 31. Per 256.
    PANEL_SUB_32_MIN,
    // The same with sub-blocks of 16, u up to 3
    PANEL_SUB_16_MIN,
    // The same with sub-blocks of 16, u up to 63, mins multiplied by params[D] like the products
    PANEL_SUB_16,
    N_PANEL_KINDS
};

// ---- columns ---------------------------------------------------------------------------------------------------------

// 256 elements of a column in natural order; the last block of a column of Q8_PER_32 is padded with zeros.
struct column_32 {
    int8_t q[256];
    float scale[8];
    float scaled_sum[8];   // scale * float(sum of each 32 codes)
    int32_t zero[8];       // -8 * the sum
    int32_t zero_upper[8]; // the same of the upper 16 of each 32
#ifndef __AVXVNNI__
    int16_t q_16[256];
#endif
};
struct column_256 {
    int8_t q[256];
    int16_t sums_16[16]; // of each 16 codes
    int16_t sums_32[8];
    float scale;
    int32_t padding[19];
};
#define COLUMN_BLOCK_BYTES 384 // without q_16
_Static_assert(sizeof(struct column_32) % 64 == 0, "column_32");
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
            .tile_columns = sizeof(tiles_) / sizeof((tiles_)[0]),                                                      \
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
uint64_t TIER(gemm_q8_row_bytes)(uint64_t n);
void TIER(gemm_q8_row_prepare)(const float *x, void *out, uint64_t n);

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm_kernel TIER(gemm_##name);
QUANT_TYPE_MAP(X)
#undef X

#endif
