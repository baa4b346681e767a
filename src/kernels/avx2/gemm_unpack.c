// The unpackers of the quantized GEMM: one row's 256 elements at a time, then a transposition of 16 rows.
#include "kernels/avx2/blocks_32.h"
#include "kernels/avx2/gemm_panel.h"
#include "kernels/avx2/super_codes.h"

#include "base/half.h"

// Dwords first..end - 1, a multiple of 4, of 16 rows that are `stride` bytes apart.
ALWAYS_INLINE void transpose_rows(const void *rows, uint64_t stride, const uint32_t first, const uint32_t end, void *to)
{
    for (uint32_t i = first; i < end; i += 4) {
        for (uint32_t half = 0; half < 2; half++)
            transpose_8x4((const uint8_t *)rows + 8 * half * stride + 4 * i, stride,
                          (uint8_t *)to + 4 * (GEMM_ROWS * i + 8 * half), 4 * GEMM_ROWS);
    }
}

ALWAYS_INLINE void store_codes(struct row_block *row, uint32_t v, __m256i codes)
{
    _mm256_store_si256((__m256i *)(void *)(row->codes + 32 * v), codes);
}

ALWAYS_INLINE void store_params(struct row_block *row, uint32_t first, __m256i params)
{
    _mm256_storeu_si256((__m256i *)(void *)(row->params + first), params);
}

// ---- blocks of 32 ----------------------------------------------------------------------------------------------------

// The 32 nibbles of 16 bytes in natural order: low ones first.
ALWAYS_INLINE __m256i nibbles(const uint8_t qs[16])
{
    const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)qs));
    return _mm256_and_si256(_mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)), _mm256_set1_epi8(15));
}

ALWAYS_INLINE __m256i codes_of_q4_0(const struct block_q4_0 *x)
{
    return nibbles(x->qs);
}

ALWAYS_INLINE __m256i codes_of_q4_1(const struct block_q4_1 *x)
{
    return nibbles(x->qs);
}

ALWAYS_INLINE __m256i codes_of_q5_0(const struct block_q5_0 *x)
{
    return _mm256_or_si256(nibbles(x->qs), fifth_bits(load_u16(x->qh), load_u16(x->qh + 2)));
}

ALWAYS_INLINE __m256i codes_of_q5_1(const struct block_q5_1 *x)
{
    return _mm256_or_si256(nibbles(x->qs), fifth_bits(load_u16(x->qh), load_u16(x->qh + 2)));
}

// params[0..7]: the halves at p, p + stride, ..., of which n exist.
ALWAYS_INLINE void store_halves(uint32_t *params, const uint8_t *p, uint64_t stride, uint32_t n)
{
    uint16_t halves[8] = {0};
    for (uint32_t b = 0; b < n; b++, p += stride)
        halves[b] = block_u16(p);
    const __m256 floats = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)halves));
    _mm256_storeu_ps((float *)(void *)params, floats);
}

// Defines unpack_row_<type>, of n blocks that exist.
#define DEFINE_UNPACK_ROW(type, store_mins)                                                               \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n, struct row_block *row) \
    {                                                                                                     \
        for (uint32_t b = 0; b < n; b++)                                                                  \
            store_codes(row, b, codes_of_##type(x + b));                                                  \
        store_halves(row->params, x->d, sizeof *x, n);                                                    \
        store_mins;                                                                                       \
    }
#define STORE_MINS store_halves(row->params + PARAM_BLOCK_MIN, x->m, sizeof *x, n)

DEFINE_UNPACK_ROW(q4_0, )
DEFINE_UNPACK_ROW(q4_1, STORE_MINS)
DEFINE_UNPACK_ROW(q5_0, )
DEFINE_UNPACK_ROW(q5_1, STORE_MINS)

ALWAYS_INLINE void unpack_row_q8_0(const struct block_q8_0 *x, uint32_t n, struct row_block_wide *row)
{
    for (uint32_t b = 0; b < n; b++) {
#ifdef __AVXVNNI__
        store_codes(row, b, _mm256_xor_si256(load_32(x[b].qs), _mm256_set1_epi8(-128)));
#else
        for (uint32_t e = 0; e < 32; e++)
            row->codes[32 * b + e] = x[b].qs[e];
#endif
    }
    store_halves(row->params, x->d, sizeof *x, n);
}

// ---- super-blocks ----------------------------------------------------------------------------------------------------

// Eight 16-bit scales of sub-blocks as the tiles take them.
ALWAYS_INLINE __m256i scale_params(__m128i scales)
{
    const __m256i wide = _mm256_cvtepi16_epi32(scales);
#ifdef __AVXVNNI__
    return _mm256_castps_si256(_mm256_cvtepi32_ps(wide));
#else
    return _mm256_blend_epi16(wide, _mm256_slli_epi32(wide, 16), 0xaa);
#endif
}

ALWAYS_INLINE void store_scales_16(struct row_block *row, __m256i scales, __m256i mins)
{
    store_params(row, 0, scale_params(_mm256_castsi256_si128(scales)));
    store_params(row, 8, scale_params(_mm256_extracti128_si256(scales, 1)));
    store_params(row, PARAM_MINS_16, mins);
}

ALWAYS_INLINE void unpack_row_q2_k(const struct block_q2_k *x, uint32_t n, struct row_block *row)
{
    (void)n;
    for (int v = 0; v < 8; v++)
        store_codes(row, (uint32_t)v, codes_of_q2_k(x, v));
    const struct scales_mins_16 both = scales_of_q2_k(x);
    store_scales_16(row, both.scales, both.mins);
    row->params[PARAM_D] = bits_from_float(load_half(x->d));
    row->params[PARAM_DMIN] = bits_from_float(-load_half(x->dmin));
}

// Defines unpack_row_<type> of a type with 16 scales and zero point 1 << zero_shift.
#define DEFINE_UNPACK_ROW_ZERO_16(type, zero_shift)                                                            \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n, struct row_block *row)      \
    {                                                                                                          \
        (void)n;                                                                                               \
        for (int v = 0; v < 8; v++)                                                                            \
            store_codes(row, (uint32_t)v, codes_of_##type(x, v));                                              \
        const __m256i scales = scales_of_##type(x);                                                            \
        const __m256i zeros = _mm256_slli_epi16(_mm256_sub_epi16(_mm256_setzero_si256(), scales), zero_shift); \
        store_scales_16(row, scales, zeros);                                                                   \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                               \
    }

// Defines unpack_row_<type> of a type with Q4_K's header.
#define DEFINE_UNPACK_ROW_SUB_32(type)                                                                    \
    ALWAYS_INLINE void unpack_row_##type(const struct block_##type *x, uint32_t n, struct row_block *row) \
    {                                                                                                     \
        (void)n;                                                                                          \
        for (int v = 0; v < 8; v++)                                                                       \
            store_codes(row, (uint32_t)v, codes_of_##type(x, v));                                         \
        const struct scales_32 both = load_scales_32(x->scales);                                          \
        store_params(row, 0, scale_params(_mm256_castsi256_si128(both.scales)));                          \
        _mm_storeu_si128((__m128i *)(void *)(row->params + PARAM_MINS_32), both.mins);                    \
        row->params[PARAM_D] = bits_from_float(load_half(x->d));                                          \
        row->params[PARAM_DMIN] = bits_from_float(-load_half(x->dmin));                                   \
    }

DEFINE_UNPACK_ROW_ZERO_16(q3_k, 2)
DEFINE_UNPACK_ROW_ZERO_16(q6_k, 5)
DEFINE_UNPACK_ROW_SUB_32(q4_k)
DEFINE_UNPACK_ROW_SUB_32(q5_k)

// ---- panels ----------------------------------------------------------------------------------------------------------

// Parameters 0..end - 1 are used, and of super-blocks those from D on. Rows that are missing repeat the last; blocks of
// 32 that are missing leave what was there, which is not used.
#define DEFINE_GEMM_OF(type, kind, block_size, end, panel_block_, row_block_, n_panel_blocks)      \
    static void unpack_##type(const struct panel_source *s, void *panel)                           \
    {                                                                                              \
        enum { BLOCKS = 256 / (block_size) };                                                      \
        struct panel_block_ *to = panel;                                                           \
        struct row_block_ rows[GEMM_ROWS];                                                         \
        for (uint64_t k = 0; k < s->n; k += 256, to++) {                                           \
            const uint64_t left = (s->n - k) / (block_size);                                       \
            for (uint32_t r = 0; r < GEMM_ROWS; r++) {                                             \
                const uint32_t row = r < s->n_rows ? r : s->n_rows - 1;                            \
                const struct block_##type *x =                                                     \
                    (const struct block_##type *)(s->w + row * s->row_bytes) + k / (block_size);   \
                prefetch_next_panel(x, s->ahead, BLOCKS * sizeof *x);                              \
                unpack_row_##type(x, left < BLOCKS ? (uint32_t)left : BLOCKS, &rows[r]);           \
            }                                                                                      \
            transpose_rows(rows[0].codes, sizeof rows[0], 0, sizeof rows[0].codes / 4, to->codes); \
            transpose_rows(rows[0].params, sizeof rows[0], 0, end, to->params);                    \
            if ((block_size) == 256)                                                               \
                transpose_rows(rows[0].params, sizeof rows[0], PARAM_D, N_PARAMS, to->params);     \
        }                                                                                          \
    }                                                                                              \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles)[kind], 256 * (n_panel_blocks), block_size,         \
                         (n_panel_blocks) *                                                        \
                             ((block_size) == 32 ? sizeof(struct column_32) : sizeof(struct column_256)))
#define DEFINE_GEMM(type, kind, block_size, end) \
    DEFINE_GEMM_OF(type, kind, block_size, end, panel_block, row_block, PANEL_BLOCKS)

DEFINE_GEMM(q4_0, PANEL_ZERO_8, 32, 8)
DEFINE_GEMM(q4_1, PANEL_MIN, 32, 16)
DEFINE_GEMM(q5_0, PANEL_ZERO_16, 32, 8)
DEFINE_GEMM(q5_1, PANEL_MIN, 32, 16)
DEFINE_GEMM_OF(q8_0, PANEL_ZERO_128, 32, 8, panel_block_wide, row_block_wide, PANEL_WIDE_BLOCKS)
DEFINE_GEMM(q2_k, PANEL_SUB_16_MIN, 256, PARAM_D)
DEFINE_GEMM(q3_k, PANEL_SUB_16, 256, PARAM_D)
DEFINE_GEMM(q4_k, PANEL_SUB_32_MIN, 256, PARAM_MINS_32 + 4)
DEFINE_GEMM(q5_k, PANEL_SUB_32_MIN, 256, PARAM_MINS_32 + 4)
DEFINE_GEMM(q6_k, PANEL_SUB_16, 256, PARAM_D)
