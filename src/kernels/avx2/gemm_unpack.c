// The unpackers of the quantized GEMM: one row's 256 elements at a time, in plain C that the compiler vectorizes, then
// a transposition of 16 rows.
#include "kernels/avx2/gemm_panel.h"

#include "base/half.h"

static void transpose_rows(const struct row_block rows[GEMM_ROWS], struct panel_block *block)
{
    for (int half = 0; half < 2; half++) {
        const struct row_block *from = rows + 8 * half;
        for (int e = 0; e < 256; e += 8)
            transpose_8x4(from->codes + e, sizeof *rows, block->codes[e / 2][8 * half], sizeof block->codes[0]);
        for (int p = 0; p < 16; p += 4)
            transpose_8x4(from->params + p, sizeof *rows, block->params[p] + 8 * half, sizeof block->params[0]);
    }
}

ALWAYS_INLINE uint32_t half_bits(const uint8_t p[2])
{
    return bits_from_float(load_half(p));
}

// ---- blocks of 32 ----------------------------------------------------------------------------------------------------

ALWAYS_INLINE void nibbles(const uint8_t qs[16], int zero, int16_t *codes)
{
    for (int i = 0; i < 16; i++) {
        codes[i] = (int16_t)((qs[i] & 15) - zero);
        codes[i + 16] = (int16_t)((qs[i] >> 4) - zero);
    }
}

// Adds 16 where the element's bit of qh is set.
ALWAYS_INLINE void high_bits(const uint8_t qh[4], int16_t *codes)
{
    const __m256i one_each =
        _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, (short)0x8000);
    const __m256i words[2] = {_mm256_set1_epi16((short)block_u16(qh)), _mm256_set1_epi16((short)block_u16(qh + 2))};
    for (int h = 0; h < 2; h++) {
        const __m256i set = _mm256_cmpeq_epi16(_mm256_and_si256(words[h], one_each), one_each);
        const __m256i low = load_32(codes + 16 * h);
        _mm256_storeu_si256((__m256i *)(void *)(codes + 16 * h),
                            _mm256_add_epi16(low, _mm256_and_si256(set, _mm256_set1_epi16(16))));
    }
}

ALWAYS_INLINE void unpack_block_q4_0(const struct block_q4_0 *x, uint32_t b, struct row_block *row)
{
    nibbles(x->qs, 8, row->codes + 32 * b);
    row->params[b] = half_bits(x->d);
}

ALWAYS_INLINE void unpack_block_q4_1(const struct block_q4_1 *x, uint32_t b, struct row_block *row)
{
    nibbles(x->qs, 0, row->codes + 32 * b);
    row->params[b] = half_bits(x->d);
    row->params[8 + b] = half_bits(x->m);
}

ALWAYS_INLINE void unpack_block_q5_0(const struct block_q5_0 *x, uint32_t b, struct row_block *row)
{
    nibbles(x->qs, 16, row->codes + 32 * b);
    high_bits(x->qh, row->codes + 32 * b);
    row->params[b] = half_bits(x->d);
}

ALWAYS_INLINE void unpack_block_q5_1(const struct block_q5_1 *x, uint32_t b, struct row_block *row)
{
    nibbles(x->qs, 0, row->codes + 32 * b);
    high_bits(x->qh, row->codes + 32 * b);
    row->params[b] = half_bits(x->d);
    row->params[8 + b] = half_bits(x->m);
}

ALWAYS_INLINE void unpack_block_q8_0(const struct block_q8_0 *x, uint32_t b, struct row_block *row)
{
    for (int i = 0; i < 32; i++)
        row->codes[32 * b + (uint32_t)i] = x->qs[i];
    row->params[b] = half_bits(x->d);
}

// ---- super-blocks: codes times the scales of their sub-blocks --------------------------------------------------------

ALWAYS_INLINE void scale_codes(const uint8_t *q, int zero, int32_t scale, uint32_t n, int16_t *codes)
{
    for (uint32_t i = 0; i < n; i++)
        codes[i] = (int16_t)((q[i] - zero) * scale);
}

ALWAYS_INLINE void store_min(struct row_block *row, uint32_t sub_block, int32_t min)
{
    const int16_t m = (int16_t)min;
    memcpy((uint8_t *)row->params + 2 * sub_block, &m, sizeof m);
}

ALWAYS_INLINE void unpack_block_q2_k(const struct block_q2_k *x, uint32_t b, struct row_block *row)
{
    (void)b;
    uint8_t q[32];
    for (uint32_t group = 0; group < 8; group++) { // of 32 elements
        for (uint32_t i = 0; i < 32; i++)
            q[i] = x->qs[group / 4 * 32 + i] >> 2 * (group % 4) & 3;
        for (uint32_t s = 2 * group; s < 2 * group + 2; s++) {
            scale_codes(q + 16 * (s % 2), 0, x->scales[s] & 15, 16, row->codes + 16 * s);
            store_min(row, s, x->scales[s] >> 4);
        }
    }
    row->params[8] = half_bits(x->d);
    row->params[9] = half_bits(x->dmin) ^ 0x80000000u;
}

ALWAYS_INLINE void unpack_block_q3_k(const struct block_q3_k *x, uint32_t b, struct row_block *row)
{
    (void)b;
    uint8_t q[32];
    for (uint32_t group = 0; group < 8; group++) {
        for (uint32_t i = 0; i < 32; i++)
            q[i] = (uint8_t)((x->qs[group / 4 * 32 + i] >> 2 * (group % 4) & 3) | (x->hmask[i] >> group & 1) << 2);
        for (uint32_t s = 2 * group; s < 2 * group + 2; s++)
            scale_codes(q + 16 * (s % 2), 4, q3_k_scale(x->scales, (int)s), 16, row->codes + 16 * s);
    }
    row->params[8] = half_bits(x->d);
}

ALWAYS_INLINE void unpack_q4_k_mins(const uint8_t d[2], const uint8_t dmin[2], uint32_t s, int32_t min,
                                    struct row_block *row)
{
    store_min(row, 2 * s, min);
    store_min(row, 2 * s + 1, min);
    row->params[8] = half_bits(d);
    row->params[9] = half_bits(dmin) ^ 0x80000000u;
}

ALWAYS_INLINE void unpack_block_q4_k(const struct block_q4_k *x, uint32_t b, struct row_block *row)
{
    (void)b;
    uint8_t q[32];
    for (uint32_t s = 0; s < 8; s++) {
        int32_t scale, min;
        q4_k_scale_min(x->scales, (int)s, &scale, &min);
        for (uint32_t i = 0; i < 32; i++)
            q[i] = x->qs[s / 2 * 32 + i] >> 4 * (s % 2) & 15;
        scale_codes(q, 0, scale, 32, row->codes + 32 * s);
        unpack_q4_k_mins(x->d, x->dmin, s, min, row);
    }
}

ALWAYS_INLINE void unpack_block_q5_k(const struct block_q5_k *x, uint32_t b, struct row_block *row)
{
    (void)b;
    uint8_t q[32];
    for (uint32_t s = 0; s < 8; s++) {
        int32_t scale, min;
        q4_k_scale_min(x->scales, (int)s, &scale, &min);
        for (uint32_t i = 0; i < 32; i++)
            q[i] = (uint8_t)((x->qs[s / 2 * 32 + i] >> 4 * (s % 2) & 15) | (x->qh[i] >> s & 1) << 4);
        scale_codes(q, 0, scale, 32, row->codes + 32 * s);
        unpack_q4_k_mins(x->d, x->dmin, s, min, row);
    }
}

ALWAYS_INLINE void unpack_block_q6_k(const struct block_q6_k *x, uint32_t b, struct row_block *row)
{
    (void)b;
    uint8_t q[32];
    for (uint32_t group = 0; group < 8; group++) {
        const uint8_t *ql = x->ql + group / 4 * 64 + group % 2 * 32;
        const uint8_t *qh = x->qh + group / 4 * 32;
        for (uint32_t i = 0; i < 32; i++)
            q[i] = (uint8_t)((ql[i] >> 4 * (group / 2 % 2) & 15) | (qh[i] >> 2 * (group % 4) & 3) << 4);
        for (uint32_t s = 2 * group; s < 2 * group + 2; s++)
            scale_codes(q + 16 * (s % 2), 32, x->scales[s], 16, row->codes + 16 * s);
    }
    row->params[8] = half_bits(x->d);
}

// ---- panels ----------------------------------------------------------------------------------------------------------

// Rows that are missing repeat the last; blocks of 32 that are missing leave what was there, which is not used.
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
                for (uint32_t b = 0; b < BLOCKS && b < left; b++)                                \
                    unpack_block_##type(x + b, b, &rows[r]);                                     \
            }                                                                                    \
            transpose_rows(rows, to);                                                            \
        }                                                                                        \
    }                                                                                            \
    DEFINE_GEMM_OF_TILES(type, TIER(gemm_tiles)[kind], 256 * PANEL_BLOCKS, block_size,           \
                         PANEL_BLOCKS * COLUMN_BLOCK_BYTES)

DEFINE_GEMM(q4_0, PANEL_BLOCKS_32, 32)
DEFINE_GEMM(q4_1, PANEL_BLOCKS_32_MIN, 32)
DEFINE_GEMM(q5_0, PANEL_BLOCKS_32, 32)
DEFINE_GEMM(q5_1, PANEL_BLOCKS_32_MIN, 32)
DEFINE_GEMM(q8_0, PANEL_BLOCKS_32, 32)
DEFINE_GEMM(q2_k, PANEL_WHOLE_MIN, 256)
DEFINE_GEMM(q3_k, PANEL_WHOLE, 256)
DEFINE_GEMM(q4_k, PANEL_WHOLE_MIN, 256)
DEFINE_GEMM(q5_k, PANEL_WHOLE_MIN, 256)
DEFINE_GEMM(q6_k, PANEL_WHOLE, 256)
