// Private to the GEMM of the amx tier: panels of bfloat16 for the tile unit. Contracts: kernels/gemm.h; the loops, and the GEMM
// of float types, are those of the avx512 folder.
//
// The unit multiplies 16 columns by 16 rows in 16 cycles, 32 pairs of bfloat16 as soon as 64 of bytes. But it adds products of
// bfloat16 up in float, over all scales of a row, while sums of bytes must go through memory and the vector units whenever
// the scale changes, every 16 to 256 elements: that takes several times as long as the multiplication. And it loses
// less: an activation is rounded by 2^-9 of itself, where 8-bit codes round it by 2^-8 of the largest of its block.
#ifndef CHORD_KERNELS_AMX_BF16_PANEL_H
#define CHORD_KERNELS_AMX_BF16_PANEL_H

#include "kernels/avx512/gemm_panel.h"
#include "kernels/avx512/gemm_unpack_256.h"

#define BF16_PANEL_N 256

// 32 elements of 16 rows, the unit's second operand: [element / 2][row][element % 2].
typedef uint16_t bf16_tile[16][16][2];
// Of GEMM_ROWS rows: [half of the rows][element / 32].
typedef bf16_tile bf16_panel[2][BF16_PANEL_N / 32];
_Static_assert(sizeof(bf16_panel) <= PANEL_BYTES, "panel of bfloat16");

#define AMX_TILE_COLUMNS 32
extern tile_kernel *const TIER(gemm_tiles_bf16)[AMX_TILE_COLUMNS];

// Columns that meet float types are cut into parts of bfloat16 that add up to the number, each the rounded rest of those before:
// [element / 32][part][element % 32]. So are weights: [half of the rows][element / 32][part], one part of BF16, two of F16, three
// of F32. Products of parts i and j are left out where i + j is n_orders or more. Three orders lose 2^-24 of a product at most. Two
// lose 2^-17 (2^-18 with the activation's third part, 2^-18 where second parts would meet), 32 times less than an activation that is
// rounded to a half does, and take three products of F16 instead of five, two of BF16 instead of three.
#define FLOAT_PARTS 3
#define FLOAT_PANEL_N 128
extern tile_kernel *const TIER(gemm_tiles_1_part)[AMX_TILE_COLUMNS];
extern tile_kernel *const TIER(gemm_tiles_2_parts)[AMX_TILE_COLUMNS];
extern tile_kernel *const TIER(gemm_tiles_3_parts)[AMX_TILE_COLUMNS];

// Sets the tile registers up for calls of so many columns, at most 16. _tile_release() after the last tile of a call.
void TIER(gemm_configure_tiles)(uint32_t n_columns);

// ---- weights ---------------------------------------------------------------------------------------------------------
//
// Every weight is rounded to float and then to bfloat16. Products of scales and codes' steps are exact: 11 bits by 8 at most.
// Types of few codes look their weights up in a table of the 32 that a vector of 16-bit numbers holds.

typedef uint16_t bf16_row[BF16_PANEL_N];

ALWAYS_INLINE __m512i round_to_bf16(__m512 low, __m512 high)
{
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// 16 numbers that bfloat16 holds, of the lower or the upper half.
ALWAYS_INLINE __m512 floats_of_bf16(__m512i bf16, const int half)
{
    const __m256i words = half == 0 ? _mm512_castsi512_si256(bf16) : _mm512_extracti64x4_epi64(bf16, 1);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

// 32 numbers in parts, `stride` bytes apart, aligned to 64.
ALWAYS_INLINE void store_parts(__m512 low, __m512 high, const uint32_t n_parts, uint8_t *to, uint64_t stride)
{
    UNROLL
    for (uint32_t i = 0; i < n_parts; i++, to += stride) {
        const __m512i part = round_to_bf16(low, high);
        _mm512_store_si512(to, part);
        low = _mm512_sub_ps(low, floats_of_bf16(part, 0));
        high = _mm512_sub_ps(high, floats_of_bf16(part, 1));
    }
}

// 0 .. 15, from `first` on.
ALWAYS_INLINE __m512 steps_from(float first)
{
    const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_add_ps(steps, _mm512_set1_ps(first));
}

// The table of codes 0..31: scale * (code - zero) + min.
ALWAYS_INLINE __m512i table_of_32(float scale, float min, const float zero)
{
    const __m512 s = _mm512_set1_ps(scale), m = _mm512_set1_ps(min);
    return round_to_bf16(_mm512_fmadd_ps(steps_from(-zero), s, m), _mm512_fmadd_ps(steps_from(16 - zero), s, m));
}

// Weights by the low 5 bits of each of 32 codes.
ALWAYS_INLINE void store_looked_up(__m512i table, __m512i codes, uint16_t *to)
{
    _mm512_store_si512(to, _mm512_permutexvar_epi16(codes, table));
}

// Bits of `a` where the mask has ones, of b elsewhere.
ALWAYS_INLINE __m512i select_bits(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

ALWAYS_INLINE __m512i load_32_codes(const uint8_t *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

// The nibbles of a block of 32 in 16 bytes, in element order; above bit 3 there may be anything.
ALWAYS_INLINE __m512i load_nibbles_16(const uint8_t qs[16])
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)qs);
    const __m512i words = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(bytes));
    const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
    return _mm512_srlv_epi16(words, shifts);
}

// Defines gemm_<type> from `void round_row(const struct block_<type> *x, uint32_t n_blocks, uint16_t *to)`, of another name if need
// be, which fills one
// row's weights of 256 elements, of which n_blocks blocks exist (all, but for types of 32); what it leaves of the others is
// never used. `to` is aligned to 64.
#define DEFINE_BF16_GEMM_BY(round_row, type, block_size)                                                 \
    static void unpack_##type(const struct panel_source *s, void *panel)                                 \
    {                                                                                                    \
        enum { BLOCKS = BF16_PANEL_N / (block_size) };                                                   \
        bf16_tile(*to)[BF16_PANEL_N / 32] = panel;                                                       \
        bf16_row rows[16] __attribute__((aligned(64)));                                                  \
        const uint64_t n_blocks = s->n / (block_size);                                                   \
        for (uint32_t half = 0; half < 2; half++) {                                                      \
            for (uint32_t r = 0; r < 16; r++) {                                                          \
                const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1;          \
                const struct block_##type *x = (const struct block_##type *)(s->w + row * s->row_bytes); \
                round_row(x, n_blocks < BLOCKS ? (uint32_t)n_blocks : BLOCKS, rows[r]);                  \
            }                                                                                            \
            for (uint32_t k = 0; k < s->n / 32; k++)                                                     \
                transpose_16x16(rows[0] + 32 * k, sizeof rows[0], to[half][k]);                          \
        }                                                                                                \
    }                                                                                                    \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles_bf16), BF16_PANEL_N, block_size, BF16_PANEL_N * sizeof(uint16_t))
#define DEFINE_BF16_GEMM(type, block_size) DEFINE_BF16_GEMM_BY(round_row, type, block_size)

#endif
