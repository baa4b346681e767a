// Attention on key panels: 16 keys are the lanes of two registers, so a score needs no horizontal sum, and one conversion
// of a key or value serves up to four query heads. Online softmax as in scalar/attention.c.
#include "kernels/avx2/avx2.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

#define MAX_TILE 4   // query heads per pass over a block
#define MAX_HEADS 16 // query heads per pass over the sequence

void TIER(kv_store)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, uint16_t *k_panels,
                    uint16_t *v_rows)
{
    uint16_t *key = k_panels + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value = v_rows + (size_t)slot * head_dim;
    uint32_t d = 0;
    for (; d + 8 <= head_dim; d += 8) {
        uint16_t column[8];
        _mm_storeu_si128((__m128i *)(void *)(value + d),
                         _mm256_cvtps_ph(_mm256_loadu_ps(v + d), _MM_FROUND_TO_NEAREST_INT));
        _mm_storeu_si128((__m128i *)(void *)column, _mm256_cvtps_ph(_mm256_loadu_ps(k + d), _MM_FROUND_TO_NEAREST_INT));
        for (uint32_t i = 0; i < 8; i++)
            key[(size_t)(d + i) * KV_PANEL_KEYS] = column[i];
    }
    for (; d < head_dim; d++) {
        value[d] = half_from_float(v[d]);
        key[(size_t)d * KV_PANEL_KEYS] = half_from_float(k[d]);
    }
}

// One KV block as the kernels below want it.
struct block_view {
    const uint16_t *keys, *values;
    uint32_t low, high;                        // visible slots
    const void *next_of_keys, *next_of_values; // what will be read after each part: fetched meanwhile
};

ALWAYS_INLINE __m256 load_8_halves(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

ALWAYS_INLINE void prefetch_line(const void *base, uint64_t line)
{
    _mm_prefetch((const char *)((uintptr_t)base + 64 * line), _MM_HINT_T0);
}

// scores[h][16 * panel + lane] for `n_heads` heads, a constant when inlined. Each score is one chain of fused
// multiply-adds over d, whatever the tile.
ALWAYS_INLINE void score_tile(const struct attention_args *args, const float *q, const struct block_view *block,
                              uint32_t panel, const uint32_t n_heads, float scores[MAX_TILE][KV_BLOCK_TOKENS])
{
    const uint32_t head_dim = args->head_dim;
    const uint16_t *keys = block->keys + (size_t)panel * head_dim * KV_PANEL_KEYS;
    __m256 sums[MAX_TILE][2];
    for (uint32_t h = 0; h < n_heads; h++)
        sums[h][0] = sums[h][1] = _mm256_setzero_ps();
    for (uint32_t d = 0; d < head_dim; d++, keys += KV_PANEL_KEYS) {
        if (d % 2 == 0)
            prefetch_line(block->next_of_keys, (uint64_t)panel * (head_dim / 2) + d / 2);
        const __m256 k0 = load_8_halves(keys);
        const __m256 k1 = load_8_halves(keys + 8);
        for (uint32_t h = 0; h < n_heads; h++) {
            const __m256 qd = _mm256_set1_ps(q[(size_t)h * head_dim + d]);
            sums[h][0] = _mm256_fmadd_ps(qd, k0, sums[h][0]);
            sums[h][1] = _mm256_fmadd_ps(qd, k1, sums[h][1]);
        }
    }
    const __m256 scale = _mm256_set1_ps(args->scale);
    for (uint32_t h = 0; h < n_heads; h++) {
        _mm256_store_ps(&scores[h][KV_PANEL_KEYS * panel], _mm256_mul_ps(sums[h][0], scale));
        _mm256_store_ps(&scores[h][KV_PANEL_KEYS * panel + 8], _mm256_mul_ps(sums[h][1], scale));
    }
}

// All ones in the lanes of slots i..i+7 that are visible.
ALWAYS_INLINE __m256 visible_lanes(int i, uint32_t low, uint32_t high)
{
    const __m256i slot = _mm256_add_epi32(_mm256_set1_epi32(i), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i from = _mm256_cmpgt_epi32(slot, _mm256_set1_epi32((int)low - 1));
    return _mm256_castsi256_ps(_mm256_and_si256(from, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)high), slot)));
}

// Turns scores into exp(score - max) (zero outside the visible slots), updates the head's maximum and sum, and returns
// the factor for what was summed before.
static float softmax_block(float scores[KV_BLOCK_TOKENS], uint32_t low, uint32_t high, float *max, float *sum)
{
    __m256 m = _mm256_set1_ps(*max);
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 8)
        m = _mm256_max_ps(_mm256_blendv_ps(m, _mm256_load_ps(&scores[i]), visible_lanes(i, low, high)), m);
    const float new_max = max_of_lanes(m);
    m = _mm256_set1_ps(new_max);
    __m256 total = _mm256_setzero_ps();
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 8) {
        const __m256 e = exp_avx2(_mm256_sub_ps(_mm256_load_ps(&scores[i]), m));
        const __m256 visible_e = _mm256_and_ps(e, visible_lanes(i, low, high));
        _mm256_store_ps(&scores[i], visible_e);
        total = _mm256_add_ps(total, visible_e);
    }
    const float shrink = new_max > *max ? _mm256_cvtss_f32(exp_avx2(_mm256_set1_ps(*max - new_max))) : 1.0f;
    *sum = *sum * shrink + sum_of_lanes(total);
    *max = new_max;
    return shrink;
}

// out[h][d .. d + 8 * n_chunks) = out * shrink[h] + sum over visible slots of p[h][slot] * values[slot]
ALWAYS_INLINE void value_tile(uint32_t head_dim, const struct block_view *block, uint32_t d, const uint32_t n_chunks,
                              const uint32_t n_heads, float p[MAX_TILE][KV_BLOCK_TOKENS], const float shrink[MAX_TILE],
                              float *out)
{
    __m256 sums[MAX_TILE][4];
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t c = 0; c < n_chunks; c++)
            sums[h][c] =
                _mm256_mul_ps(_mm256_loadu_ps(out + (size_t)h * head_dim + d + 8 * c), _mm256_set1_ps(shrink[h]));
    const uint16_t *v = block->values + (size_t)block->low * head_dim + d;
    for (uint32_t t = block->low; t < block->high; t++, v += head_dim) {
        if (d % 32 == 0)
            prefetch_line(block->next_of_values, (uint64_t)t * (head_dim / 32) + d / 32);
        __m256 value[4];
        for (uint32_t c = 0; c < n_chunks; c++)
            value[c] = load_8_halves(v + 8 * c);
        for (uint32_t h = 0; h < n_heads; h++) {
            const __m256 weight = _mm256_set1_ps(p[h][t]);
            for (uint32_t c = 0; c < n_chunks; c++)
                sums[h][c] = _mm256_fmadd_ps(weight, value[c], sums[h][c]);
        }
    }
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t c = 0; c < n_chunks; c++)
            _mm256_storeu_ps(out + (size_t)h * head_dim + d + 8 * c, sums[h][c]);
}

// The same for one element, where head_dim is no multiple of 8.
static void value_single(uint32_t head_dim, const struct block_view *block, uint32_t d, const float *p, float shrink,
                         float *out)
{
    float sum = out[d] * shrink;
    for (uint32_t t = block->low; t < block->high; t++)
        sum += p[t] * float_from_half(block->values[(size_t)t * head_dim + d]);
    out[d] = sum;
}

// One KV block for `n_heads` heads (a constant when inlined). Wide tiles for few heads keep enough chains going.
ALWAYS_INLINE void block_tile(const struct attention_args *args, const struct block_view *block, const uint32_t n_heads,
                              const float *q, float *max, float *sum, float *out)
{
    const uint32_t head_dim = args->head_dim;
    const uint32_t n_chunks = n_heads <= 2 ? 4 : 2;
    float scores[MAX_TILE][KV_BLOCK_TOKENS] __attribute__((aligned(32)));
    float shrink[MAX_TILE];
    memset(scores, 0, n_heads * sizeof scores[0]);
    for (uint32_t p = block->low / KV_PANEL_KEYS; p * KV_PANEL_KEYS < block->high; p++)
        score_tile(args, q, block, p, n_heads, scores);
    for (uint32_t h = 0; h < n_heads; h++)
        shrink[h] = softmax_block(scores[h], block->low, block->high, &max[h], &sum[h]);
    uint32_t d = 0;
    for (; d + 8 * n_chunks <= head_dim; d += 8 * n_chunks)
        value_tile(head_dim, block, d, n_chunks, n_heads, scores, shrink, out);
    for (; d + 8 <= head_dim; d += 8)
        value_tile(head_dim, block, d, 1, n_heads, scores, shrink, out);
    for (; d < head_dim; d++)
        for (uint32_t h = 0; h < n_heads; h++)
            value_single(head_dim, block, d, scores[h], shrink[h], out + (size_t)h * head_dim);
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
            const float *qh = q + (size_t)h * head_dim;
            float *oh = out + (size_t)h * head_dim;
            switch (n_heads - h) {
            case 1:
                block_tile(args, &block, 1, qh, max + h, sum + h, oh);
                break;
            case 2:
                block_tile(args, &block, 2, qh, max + h, sum + h, oh);
                break;
            case 3:
                block_tile(args, &block, 3, qh, max + h, sum + h, oh);
                break;
            default:
                block_tile(args, &block, 4, qh, max + h, sum + h, oh);
                break;
            }
        }
    }
    for (uint32_t h = 0; h < n_heads; h++)
        for (uint32_t d = 0; d < head_dim; d++)
            out[(size_t)h * head_dim + d] /= sum[h];
}

void TIER(attention)(const struct attention_args *args)
{
    for (uint32_t h = 0; h < args->n_q; h += MAX_HEADS) {
        const uint32_t n = args->n_q - h < MAX_HEADS ? args->n_q - h : MAX_HEADS;
        attend(args, args->q + (size_t)h * args->head_dim, n, args->out + (size_t)h * args->head_dim);
    }
}
