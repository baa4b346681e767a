// Attention on key panels: 16 keys are the lanes of a register, so a score needs no horizontal sum, and one conversion
// of a key or value serves up to four query heads. Online softmax as in scalar/attention.c.
#include "kernels/avx512/avx512.h"

#include <math.h>
#include <string.h>

#define N_PANELS (KV_BLOCK_TOKENS / KV_PANEL_KEYS)
#define MAX_TILE 4   // query heads per pass over a block
#define MAX_HEADS 16 // query heads per pass over the sequence

void TIER(kv_store)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, uint16_t *k_panels,
                    uint16_t *v_rows)
{
    uint16_t *key = k_panels + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value = v_rows + (size_t)slot * head_dim;
    for (uint32_t d = 0; d < head_dim; d += 16) {
        const uint32_t count = head_dim - d < 16 ? head_dim - d : 16;
        const __mmask16 m = first_lanes_16(count);
        const __m256i values = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, v + d), _MM_FROUND_TO_NEAREST_INT);
        _mm256_mask_storeu_epi16(value + d, m, values);
        uint16_t column[16];
        _mm256_storeu_si256((__m256i *)column,
                            _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, k + d), _MM_FROUND_TO_NEAREST_INT));
        for (uint32_t i = 0; i < count; i++)
            key[(size_t)(d + i) * KV_PANEL_KEYS] = column[i];
    }
}

// Calls tile(..., N, ...) compiled for the constant number of heads. The tiles are kept out of their callers: there, the
// constants of exp would take the registers that their sums need.
#define FOR_HEADS(n_heads, call) \
    switch (n_heads) {           \
    case 1:                      \
        call(1);                 \
        break;                   \
    case 2:                      \
        call(2);                 \
        break;                   \
    case 3:                      \
        call(3);                 \
        break;                   \
    default:                     \
        call(4);                 \
        break;                   \
    }

// One KV block as the kernels below want it.
struct block_view {
    const uint16_t *keys, *values;
    uint32_t low, high;                        // visible slots
    const void *next_of_keys, *next_of_values; // what will be read after each part: fetched meanwhile
};

ALWAYS_INLINE __m512 load_16_halves(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

ALWAYS_INLINE void prefetch_line(const void *base, uint64_t line)
{
    _mm_prefetch((const char *)((uintptr_t)base + 64 * line), _MM_HINT_T0);
}

// scores[h][16 * p + lane] for `n_panels` panels from `panel` on and `n_heads` heads, both constants when inlined. Each
// score is one chain of fused multiply-adds over d, whatever the tile.
ALWAYS_INLINE void score_tile(const struct attention_args *args, const float *q, const struct block_view *block,
                              uint32_t panel, const uint32_t n_panels, const uint32_t n_heads,
                              float scores[MAX_TILE][KV_BLOCK_TOKENS])
{
    const uint32_t head_dim = args->head_dim;
    const size_t panel_size = (size_t)head_dim * KV_PANEL_KEYS;
    const uint16_t *keys = block->keys + panel * panel_size;
    __m512 sums[MAX_TILE][N_PANELS];
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t p = 0; p < n_panels; p++)
            sums[h][p] = _mm512_setzero_ps();
    for (uint32_t d = 0; d < head_dim; d++) {
        if (n_panels == N_PANELS) {
            prefetch_line(block->next_of_keys, 2 * d);
            prefetch_line(block->next_of_keys, 2 * d + 1);
        }
        __m512 k[N_PANELS];
        for (uint32_t p = 0; p < n_panels; p++)
            k[p] = load_16_halves(keys + p * panel_size + (size_t)d * KV_PANEL_KEYS);
        for (uint32_t h = 0; h < n_heads; h++) {
            const __m512 qd = _mm512_set1_ps(q[(size_t)h * head_dim + d]);
            for (uint32_t p = 0; p < n_panels; p++)
                sums[h][p] = _mm512_fmadd_ps(qd, k[p], sums[h][p]);
        }
    }
    const __m512 scale = _mm512_set1_ps(args->scale);
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t p = 0; p < n_panels; p++)
            _mm512_store_ps(&scores[h][KV_PANEL_KEYS * (panel + p)], _mm512_mul_ps(sums[h][p], scale));
}

#define SCORE_TILE(n) score_tile(args, q, block, 0, N_PANELS, n, scores)
#define SCORE_TILE_PANEL(n) score_tile(args, q, block, p, 1, n, scores)
static __attribute__((noinline)) void block_scores(const struct attention_args *args, const float *q,
                                                   const struct block_view *block, uint32_t n_heads,
                                                   float scores[MAX_TILE][KV_BLOCK_TOKENS])
{
    const uint32_t first = block->low / KV_PANEL_KEYS;
    const uint32_t end = (block->high + KV_PANEL_KEYS - 1) / KV_PANEL_KEYS;
    if (end - first == N_PANELS) {
        FOR_HEADS(n_heads, SCORE_TILE)
        return;
    }
    for (uint32_t p = first; p < end; p++) {
        FOR_HEADS(n_heads, SCORE_TILE_PANEL)
    }
}

// Turns scores into exp(score - max) (zero outside the visible slots), updates the head's maximum and sum, and returns
// the factor for what was summed before.
static float softmax_block(float scores[KV_BLOCK_TOKENS], uint32_t low, uint32_t high, float *max, float *sum)
{
    const uint64_t upto_high = high == 64 ? ~0ull : (1ull << high) - 1;
    const uint64_t visible = upto_high & ~0ull << low;
    __m512 m = _mm512_set1_ps(*max);
    for (uint32_t p = 0; p < N_PANELS; p++) {
        const __mmask16 lanes = (__mmask16)(visible >> 16 * p);
        m = _mm512_max_ps(_mm512_mask_load_ps(m, lanes, &scores[16 * p]), m);
    }
    const float new_max = _mm512_reduce_max_ps(m);
    m = _mm512_set1_ps(new_max);
    __m512 total = _mm512_setzero_ps();
    for (uint32_t p = 0; p < N_PANELS; p++) {
        const __mmask16 lanes = (__mmask16)(visible >> 16 * p);
        const __m512 e = exp_avx512(_mm512_sub_ps(_mm512_maskz_load_ps(lanes, &scores[16 * p]), m));
        const __m512 visible_e = _mm512_maskz_mov_ps(lanes, e);
        _mm512_store_ps(&scores[16 * p], visible_e);
        total = _mm512_add_ps(total, visible_e);
    }
    const float shrink = new_max > *max ? _mm512_cvtss_f32(exp_avx512(_mm512_set1_ps(*max - new_max))) : 1.0f;
    *sum = *sum * shrink + _mm512_reduce_add_ps(total);
    *max = new_max;
    return shrink;
}

// out[h][d .. d + 64) = out * shrink[h] + sum over visible slots of p[h][slot] * values[slot]
ALWAYS_INLINE void value_tile(uint32_t head_dim, const struct block_view *block, uint32_t d, const uint32_t n_heads,
                              float p[MAX_TILE][KV_BLOCK_TOKENS], const float shrink[MAX_TILE], float *out)
{
    __m512 sums[MAX_TILE][4];
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t c = 0; c < 4; c++)
            sums[h][c] =
                _mm512_mul_ps(_mm512_loadu_ps(out + (size_t)h * head_dim + d + 16 * c), _mm512_set1_ps(shrink[h]));
    const uint16_t *v = block->values + (size_t)block->low * head_dim + d;
    const uint8_t *next = (const uint8_t *)block->next_of_values + ((size_t)block->low * head_dim + d) * sizeof *v;
    for (uint32_t t = block->low; t < block->high; t++, v += head_dim, next += head_dim * sizeof *v) {
        prefetch_line(next, 0);
        prefetch_line(next, 1);
        const __m512 v0 = load_16_halves(v), v1 = load_16_halves(v + 16);
        const __m512 v2 = load_16_halves(v + 32), v3 = load_16_halves(v + 48);
        for (uint32_t h = 0; h < n_heads; h++) {
            const __m512 weight = _mm512_set1_ps(p[h][t]);
            sums[h][0] = _mm512_fmadd_ps(weight, v0, sums[h][0]);
            sums[h][1] = _mm512_fmadd_ps(weight, v1, sums[h][1]);
            sums[h][2] = _mm512_fmadd_ps(weight, v2, sums[h][2]);
            sums[h][3] = _mm512_fmadd_ps(weight, v3, sums[h][3]);
        }
    }
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t c = 0; c < 4; c++)
            _mm512_storeu_ps(out + (size_t)h * head_dim + d + 16 * c, sums[h][c]);
}

// The same for up to 16 elements of one head: the end of a head_dim that is no multiple of 64.
static void value_rest(uint32_t head_dim, const struct block_view *block, uint32_t d, const float p[KV_BLOCK_TOKENS],
                       float shrink, float *out)
{
    const __mmask16 m = first_lanes_16(head_dim - d);
    __m512 sum = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, out + d), _mm512_set1_ps(shrink));
    for (uint32_t t = block->low; t < block->high; t++) {
        const __m256i value = _mm256_maskz_loadu_epi16(m, block->values + (size_t)t * head_dim + d);
        sum = _mm512_fmadd_ps(_mm512_set1_ps(p[t]), _mm512_cvtph_ps(value), sum);
    }
    _mm512_mask_storeu_ps(out + d, m, sum);
}

#define VALUE_TILE(n) value_tile(head_dim, block, d, n, p, shrink, out)
static __attribute__((noinline)) void block_values(uint32_t head_dim, const struct block_view *block, uint32_t n_heads,
                                                   float p[MAX_TILE][KV_BLOCK_TOKENS], const float shrink[MAX_TILE],
                                                   float *out)
{
    uint32_t d = 0;
    for (; d + 64 <= head_dim; d += 64) {
        FOR_HEADS(n_heads, VALUE_TILE)
    }
    for (; d < head_dim; d += 16)
        for (uint32_t h = 0; h < n_heads; h++)
            value_rest(head_dim, block, d, p[h], shrink[h], out + (size_t)h * head_dim);
}

static void attend(const struct attention_args *args, const float *q, uint32_t n_heads, float *out)
{
    const uint32_t head_dim = args->head_dim;
    float max[MAX_HEADS], sum[MAX_HEADS];
    for (uint32_t h = 0; h < n_heads; h++) {
        max[h] = -INFINITY;
        sum[h] = 0.0f;
    }
    memset(out, 0, (size_t)n_heads * head_dim * sizeof *out);
    const uint32_t last_block = (args->end - 1) / KV_BLOCK_TOKENS;
    for (uint32_t b = args->first / KV_BLOCK_TOKENS; b <= last_block; b++) {
        const uint32_t start = b * KV_BLOCK_TOKENS;
        const uint8_t *bytes = args->blocks[b];
        const uint8_t *next = args->blocks[b < last_block ? b + 1 : b];
        const struct block_view block = {
            .keys = (const uint16_t *)(const void *)(bytes + args->k_offset),
            .values = (const uint16_t *)(const void *)(bytes + args->v_offset),
            .low = args->first > start ? args->first - start : 0,
            .high = args->end - start < KV_BLOCK_TOKENS ? args->end - start : KV_BLOCK_TOKENS,
            .next_of_keys = bytes + args->v_offset,
            .next_of_values = next + args->k_offset,
        };
        for (uint32_t h = 0; h < n_heads; h += MAX_TILE) {
            const uint32_t n = n_heads - h < MAX_TILE ? n_heads - h : MAX_TILE;
            float p[MAX_TILE][KV_BLOCK_TOKENS] __attribute__((aligned(64)));
            float shrink[MAX_TILE];
            block_scores(args, q + (size_t)h * head_dim, &block, n, p);
            for (uint32_t i = 0; i < n; i++)
                shrink[i] = softmax_block(p[i], block.low, block.high, &max[h + i], &sum[h + i]);
            block_values(head_dim, &block, n, p, shrink, out + (size_t)h * head_dim);
        }
    }
    for (uint32_t h = 0; h < n_heads; h++) {
        const __m512 divisor = _mm512_set1_ps(sum[h]);
        for (uint32_t d = 0; d < head_dim; d += 16) {
            const __mmask16 m = first_lanes_16(head_dim - d);
            float *o = out + (size_t)h * head_dim + d;
            _mm512_mask_storeu_ps(o, m, _mm512_div_ps(_mm512_maskz_loadu_ps(m, o), divisor));
        }
    }
}

void TIER(attention)(const struct attention_args *args)
{
    for (uint32_t h = 0; h < args->n_q; h += MAX_HEADS) {
        const uint32_t n = args->n_q - h < MAX_HEADS ? args->n_q - h : MAX_HEADS;
        attend(args, args->q + (size_t)h * args->head_dim, n, args->out + (size_t)h * args->head_dim);
    }
}
