// What the unpackers of the amx tier that go by 16 rows share: bytes are transposed as they lie in the file, a 32-bit lane for each
// row, and become floats and then bfloat16 in the order of the tile unit's second operand. Values are those of bf16_panel.h.
//
// Transposing codes takes a quarter or half of what transposing weights does, and scales of 16 rows are converted at once.
#ifndef CHORD_KERNELS_AMX_BF16_UNPACK_16_H
#define CHORD_KERNELS_AMX_BF16_UNPACK_16_H

#include "kernels/amx/bf16_panel.h"

// ---- bytes of 16 rows --------------------------------------------------------------------------------------------------

// [byte / 4][row]: so many bytes of 16 rows.
typedef __m512i byte_lanes;

// `bytes` (a multiple of 16) of 16 rows, `stride` bytes apart.
ALWAYS_INLINE void transpose_bytes(const void *from, uint64_t stride, const uint32_t bytes, byte_lanes *to)
{
    for (uint32_t i = 0; i < bytes; i += 16)
        transpose_16x4((const uint8_t *)from + i, stride, to + i / 4);
}

// The half at byte `at`, an even number, of every row.
ALWAYS_INLINE __m512 halves_at(const byte_lanes *lanes, const uint32_t at)
{
    return floats_of_halves(at % 4 == 0 ? lanes[at / 4] : _mm512_srli_epi32(lanes[at / 4], 16));
}

// ---- codes to floats ---------------------------------------------------------------------------------------------------

// The nibble that begins at bit `bit` of the lanes from byte `at` on, less `zero`: steps_from(-zero) is the table.
ALWAYS_INLINE __m512 nibble_at(const byte_lanes *lanes, const uint32_t at, const uint32_t bit, __m512 table)
{
    const uint32_t shift = 8 * (at % 4) + bit;
    const __m512i lane = lanes[at / 4];
    return _mm512_permutexvar_ps(shift == 0 ? lane : _mm512_srli_epi32(lane, shift), table);
}

// Codes of 5 bits: a nibble and, at bit `from` of the lane `high`, the bit above it. The table holds codes 0..31.
ALWAYS_INLINE __m512 five_bits_at(const byte_lanes *lanes, const uint32_t at, const uint32_t bit, __m512i high,
                                  const uint32_t from, const __m512 table[2])
{
    const uint32_t shift = 8 * (at % 4) + bit;
    const __m512i lane = shift == 0 ? lanes[at / 4] : _mm512_srli_epi32(lanes[at / 4], shift);
    const __m512i top = from == 4  ? high
                        : from < 4 ? _mm512_slli_epi32(high, 4 - from)
                                   : _mm512_srli_epi32(high, from - 4);
    return _mm512_permutex2var_ps(table[0], select_bits(_mm512_set1_epi32(15), lane, top), table[1]);
}

// The byte j of every lane, signed, times 2^24.
ALWAYS_INLINE __m512 signed_byte_high(__m512i lanes, const uint32_t j)
{
    const int32_t top = (int32_t)(0x00808080u | (uint32_t)j << 24); // zeros below the byte
    const __m512i moved =
        j == 0   ? _mm512_slli_epi32(lanes, 24)
        : j == 3 ? _mm512_and_si512(lanes, _mm512_set1_epi32((int32_t)0xff000000u))
                 : _mm512_shuffle_epi8(lanes, _mm512_broadcast_i32x4(_mm_setr_epi32(
                                                  top, top + 0x04000000, top + 0x08000000, top + 0x0c000000)));
    return _mm512_cvtepi32_ps(moved);
}

// ---- scales ------------------------------------------------------------------------------------------------------------

ALWAYS_INLINE __m512 unsigned_byte(__m512i lanes, const uint32_t j)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(lanes, 8 * j), _mm512_set1_epi32(255)));
}

// Scales and mins of the sub-blocks of Q4_K and Q5_K, mins negative. lanes: the first 16 bytes of the blocks. quant/blocks.h:
// q4_k_scale_min, four sub-blocks at a time.
ALWAYS_INLINE void scales_of_q4_k(const byte_lanes *lanes, __m512 scales[8], __m512 mins[8])
{
    const __m512i six = _mm512_set1_epi8(0x3f), low = _mm512_set1_epi8(0x0f), top = _mm512_set1_epi8(0x30);
    const __m512i a = lanes[1], b = lanes[2], c = lanes[3];
    const __m512i s[2] = {_mm512_and_si512(a, six), and_or(c, low, _mm512_and_si512(_mm512_srli_epi32(a, 2), top))};
    const __m512i m[2] = {_mm512_and_si512(b, six),
                          and_or(_mm512_srli_epi32(c, 4), low, _mm512_and_si512(_mm512_srli_epi32(b, 2), top))};
    const __m512 d = halves_at(lanes, 0), dmin = _mm512_xor_ps(halves_at(lanes, 2), _mm512_set1_ps(-0.0f));
    UNROLL
    for (uint32_t i = 0; i < 8; i++) {
        scales[i] = _mm512_mul_ps(unsigned_byte(s[i / 4], i % 4), d);
        mins[i] = _mm512_mul_ps(unsigned_byte(m[i / 4], i % 4), dmin);
    }
}

// ---- the tile ----------------------------------------------------------------------------------------------------------

// Elements 2 * pair and 2 * pair + 1 of the 32 of 16 rows, rounded.
ALWAYS_INLINE void store_pair(bf16_tile to, const uint32_t pair, __m512 even, __m512 odd)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i turns = _mm512_or_si512(first, _mm512_slli_epi32(_mm512_add_epi32(first, _mm512_set1_epi32(16)), 16));
    _mm512_store_si512(to[pair], _mm512_permutexvar_epi16(turns, round_to_bf16(even, odd)));
}

// Defines gemm_<type> from `void unpack_16(const struct block_<type> *x, uint64_t stride, bf16_tile *to)`, which fills the tiles
// of 256 elements of 16 rows, `stride` bytes apart. Where rows or blocks are missing it gets copies, the last row standing in
// and anything for the blocks.
#define DEFINE_BF16_GEMM_BY_16(type, block_size)                                                    \
    static void unpack_##type(const struct panel_source *s, void *panel)                            \
    {                                                                                               \
        enum { BLOCKS = BF16_PANEL_N / (block_size) };                                              \
        bf16_tile(*to)[BF16_PANEL_N / 32] = panel;                                                  \
        const uint64_t row_bytes = s->n / (block_size) * sizeof(struct block_##type);               \
        for (uint32_t half = 0; half < 2; half++) {                                                 \
            struct block_##type copy[16][BLOCKS];                                                   \
            const uint8_t *rows = s->w + 16 * half * s->row_bytes;                                  \
            uint64_t stride = s->row_bytes;                                                         \
            if (s->n_rows < 16 * half + 16 || s->n < BF16_PANEL_N) {                                \
                memset(copy, 0, sizeof copy);                                                       \
                for (uint32_t r = 0; r < 16; r++) {                                                 \
                    const uint32_t row = 16 * half + r < s->n_rows ? 16 * half + r : s->n_rows - 1; \
                    memcpy(copy[r], s->w + row * s->row_bytes, row_bytes);                          \
                }                                                                                   \
                rows = (const uint8_t *)copy;                                                       \
                stride = sizeof copy[0];                                                            \
            }                                                                                       \
            unpack_16((const struct block_##type *)rows, stride, to[half]);                         \
        }                                                                                           \
    }                                                                                               \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles_bf16), BF16_PANEL_N, block_size, BF16_PANEL_N * sizeof(uint16_t))

#endif
