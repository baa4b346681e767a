// Attention on key panels: 16 keys are the lanes of four registers, so a score needs no horizontal sum, and one conversion
// of a key or value serves up to four query heads. Online softmax as in scalar/attention.c.
#include "kernels/neon/neon.h"

#include "base/half.h"

#include <math.h>

#define MAX_TILE 4   // query heads per pass over a block
#define MAX_HEADS 16 // query heads per pass over the sequence
#define PANEL_REGISTERS (KV_PANEL_KEYS / 4)

void TIER(kv_store)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, uint16_t *k_panels,
                    uint16_t *v_rows)
{
    uint16_t *key = k_panels + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value = v_rows + (size_t)slot * head_dim;
    uint32_t d = 0;
    for (; d + 4 <= head_dim; d += 4) {
        uint16_t column[4];
        vst1_u16(value + d, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(v + d))));
        vst1_u16(column, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(k + d))));
        for (uint32_t i = 0; i < 4; i++)
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

// 4 * n values from 4 * n halves.
ALWAYS_INLINE void load_halves(const uint16_t *p, const uint32_t n, float32x4_t *out)
{
    UNROLL
    for (uint32_t i = 0; i < n; i++)
        out[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
}

ALWAYS_INLINE void prefetch_line(const void *base, uint64_t line)
{
    __builtin_prefetch((const void *)((uintptr_t)base + 64 * line), 0, 3);
}

// scores[h][16 * panel + lane] of `n_panels` panels from `panel` on for `n_heads` heads, constants when inlined. Each score
// is one chain of fused multiply-adds over d, whatever the tile.
ALWAYS_INLINE void score_tile(const struct attention_args *args, const float *q, const struct block_view *block,
                              uint32_t panel, const uint32_t n_panels, const uint32_t n_heads,
                              float scores[MAX_TILE][KV_BLOCK_TOKENS])
{
    const uint32_t head_dim = args->head_dim;
    const size_t panel_halves = (size_t)head_dim * KV_PANEL_KEYS;
    const uint16_t *keys = block->keys + panel * panel_halves;
    float32x4_t sums[MAX_TILE][2 * PANEL_REGISTERS];
    UNROLL
    for (uint32_t h = 0; h < n_heads; h++) {
        UNROLL
        for (uint32_t i = 0; i < n_panels * PANEL_REGISTERS; i++)
            sums[h][i] = vdupq_n_f32(0.0f);
    }
    for (uint32_t d = 0; d < head_dim; d++, keys += KV_PANEL_KEYS) {
        UNROLL
        for (uint32_t p = 0; p < n_panels; p++) {
            float32x4_t k[PANEL_REGISTERS];
            if (d % 2 == 0)
                prefetch_line(block->next_of_keys, (uint64_t)(panel + p) * (head_dim / 2) + d / 2);
            load_halves(keys + p * panel_halves, PANEL_REGISTERS, k);
            UNROLL
            for (uint32_t h = 0; h < n_heads; h++) {
                UNROLL
                for (uint32_t i = 0; i < PANEL_REGISTERS; i++)
                    sums[h][PANEL_REGISTERS * p + i] =
                        vfmaq_n_f32(sums[h][PANEL_REGISTERS * p + i], k[i], q[(size_t)h * head_dim + d]);
            }
        }
    }
    UNROLL
    for (uint32_t h = 0; h < n_heads; h++) {
        UNROLL
        for (uint32_t i = 0; i < n_panels * PANEL_REGISTERS; i++)
            vst1q_f32(&scores[h][KV_PANEL_KEYS * panel + 4 * i], vmulq_n_f32(sums[h][i], args->scale));
    }
}

// All ones in the lanes of slots i..i+3 that are visible.
ALWAYS_INLINE uint32x4_t visible_lanes(uint32_t i, uint32_t low, uint32_t high)
{
    const uint32x4_t steps = {0, 1, 2, 3};
    const uint32x4_t slot = vaddq_u32(vdupq_n_u32(i), steps);
    return vandq_u32(vcgeq_u32(slot, vdupq_n_u32(low)), vcltq_u32(slot, vdupq_n_u32(high)));
}

// Turns scores into exp(score - max) (zero outside the visible slots), updates the head's maximum and sum, and returns
// the factor for what was summed before.
static float softmax_block(float scores[KV_BLOCK_TOKENS], uint32_t low, uint32_t high, float *max, float *sum)
{
    float32x4_t m = vdupq_n_f32(*max);
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 4) {
        const float32x4_t s = vld1q_f32(&scores[i]);
        m = vbslq_f32(vandq_u32(visible_lanes(i, low, high), vcgtq_f32(s, m)), s, m); // a NaN never wins
    }
    const float new_max = vmaxvq_f32(m);
    m = vdupq_n_f32(new_max);
    float32x4_t total = vdupq_n_f32(0.0f);
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 4) {
        const uint32x4_t e = vreinterpretq_u32_f32(exp_neon(vsubq_f32(vld1q_f32(&scores[i]), m)));
        const float32x4_t visible_e = vreinterpretq_f32_u32(vandq_u32(e, visible_lanes(i, low, high)));
        vst1q_f32(&scores[i], visible_e);
        total = vaddq_f32(total, visible_e);
    }
    const float shrink = new_max > *max ? vgetq_lane_f32(exp_neon(vdupq_n_f32(*max - new_max)), 0) : 1.0f;
    *sum = *sum * shrink + vaddvq_f32(total);
    *max = new_max;
    return shrink;
}

// out[h][d .. d + 4 * n_registers) = out * shrink[h] + sum over visible slots of p[h][slot] * values[slot]
ALWAYS_INLINE void value_tile(uint32_t head_dim, const struct block_view *block, uint32_t d, const uint32_t n_registers,
                              const uint32_t n_heads, float p[MAX_TILE][KV_BLOCK_TOKENS], const float shrink[MAX_TILE],
                              float *out)
{
    float32x4_t sums[MAX_TILE][8];
    UNROLL
    for (uint32_t h = 0; h < n_heads; h++) {
        UNROLL
        for (uint32_t i = 0; i < n_registers; i++)
            sums[h][i] = vmulq_n_f32(vld1q_f32(out + (size_t)h * head_dim + d + 4 * i), shrink[h]);
    }
    const uint16_t *v = block->values + (size_t)block->low * head_dim + d;
    for (uint32_t t = block->low; t < block->high; t++, v += head_dim) {
        float32x4_t value[8];
        if (d % 32 == 0)
            prefetch_line(block->next_of_values, (uint64_t)t * (head_dim / 32) + d / 32);
        load_halves(v, n_registers, value);
        UNROLL
        for (uint32_t h = 0; h < n_heads; h++) {
            UNROLL
            for (uint32_t i = 0; i < n_registers; i++)
                sums[h][i] = vfmaq_n_f32(sums[h][i], value[i], p[h][t]);
        }
    }
    UNROLL
    for (uint32_t h = 0; h < n_heads; h++) {
        UNROLL
        for (uint32_t i = 0; i < n_registers; i++)
            vst1q_f32(out + (size_t)h * head_dim + d + 4 * i, sums[h][i]);
    }
}

// The same for one element, where head_dim is no multiple of 4.
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
    const uint32_t n_registers = n_heads <= 2 ? 8 : 4;
    float scores[MAX_TILE][KV_BLOCK_TOKENS];
    float shrink[MAX_TILE];
    memset(scores, 0, n_heads * sizeof scores[0]);
    uint32_t panel = block->low / KV_PANEL_KEYS;
    const uint32_t end_panel = (block->high + KV_PANEL_KEYS - 1) / KV_PANEL_KEYS;
    if (n_heads <= 2)
        for (; panel + 2 <= end_panel; panel += 2)
            score_tile(args, q, block, panel, 2, n_heads, scores);
    for (; panel < end_panel; panel++)
        score_tile(args, q, block, panel, 1, n_heads, scores);
    for (uint32_t h = 0; h < n_heads; h++)
        shrink[h] = softmax_block(scores[h], block->low, block->high, &max[h], &sum[h]);
    uint32_t d = 0;
    for (; d + 4 * n_registers <= head_dim; d += 4 * n_registers)
        value_tile(head_dim, block, d, n_registers, n_heads, scores, shrink, out);
    for (; d + 4 <= head_dim; d += 4)
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
