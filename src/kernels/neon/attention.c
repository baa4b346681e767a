// Attention in tiles of columns: scores with 16 keys as the lanes of four registers, values with 4 elements each; up to 24 sums
// stay in registers.
#include "kernels/neon/neon.h"

#include "base/half.h"
#include "kernels/attention_blocks.h"

#define DIRECT_COLUMNS 4
#define SCORE_COLUMNS 6
#define VALUE_COLUMNS 6

// Where a tile reads keys and values.
enum source { CACHED_F16 = KV_F16, CACHED_Q8_0 = KV_Q8_0, CONVERTED };

ALWAYS_INLINE float32x4_t load_halves(const void *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)p)));
}

ALWAYS_INLINE float32x4_t load_codes(const void *p)
{
    uint32_t codes;
    memcpy(&codes, p, sizeof codes);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(codes))))));
}

ALWAYS_INLINE float half_at(const void *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
}

ALWAYS_INLINE const uint8_t *scales_of(const void *part, uint32_t head_dim)
{
    return (const uint8_t *)part + (size_t)KV_BLOCK_TOKENS * head_dim;
}

// ---- storing ---------------------------------------------------------------------------------------------------------

void TIER(kv_store_f16)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    uint16_t *key = (uint16_t *)keys + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value_row = (uint16_t *)values + (size_t)slot * head_dim;
    uint32_t d = 0;
    for (; d + 4 <= head_dim; d += 4) {
        uint16_t column[4];
        vst1_u16(value_row + d, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(v + d))));
        vst1_u16(column, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(k + d))));
        for (uint32_t i = 0; i < 4; i++)
            key[(size_t)(d + i) * KV_PANEL_KEYS] = column[i];
    }
    for (; d < head_dim; d++) {
        value_row[d] = half_from_float(v[d]);
        key[(size_t)d * KV_PANEL_KEYS] = half_from_float(k[d]);
    }
}

// ---- conversion of a block -------------------------------------------------------------------------------------------

static void load_keys_f16(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const size_t n = (size_t)head_dim * KV_PANEL_KEYS;
    for (size_t i = first * n; i < end * n; i += 4)
        vst1q_f32(tile + i, load_halves((const uint16_t *)keys + i));
}

static void load_keys_q8_0(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t groups = kv_scale_groups(head_dim);
    for (uint32_t panel = first; panel < end; panel++)
        for (uint32_t g = 0; g < groups; g++) {
            const uint8_t *scales = scales_of(keys, head_dim) + ((size_t)panel * groups + g) * 2 * KV_PANEL_KEYS;
            const uint32_t stop = (g + 1) * KV_SCALE_DIMS < head_dim ? (g + 1) * KV_SCALE_DIMS : head_dim;
            for (uint32_t d = g * KV_SCALE_DIMS; d < stop; d++) {
                const size_t at = ((size_t)panel * head_dim + d) * KV_PANEL_KEYS;
                for (uint32_t lane = 0; lane < KV_PANEL_KEYS; lane += 4)
                    vst1q_f32(tile + at + lane,
                              vmulq_f32(load_codes((const int8_t *)keys + at + lane), load_halves(scales + 2 * lane)));
            }
        }
}

static void load_values_f16(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t padded = (head_dim + 15) / 16 * 16;
    for (uint32_t t = first; t < end; t++) {
        const uint16_t *from = (const uint16_t *)values + (size_t)t * head_dim;
        float *to = tile + (size_t)t * padded;
        uint32_t d = 0;
        for (; d + 4 <= head_dim; d += 4)
            vst1q_f32(to + d, load_halves(from + d));
        for (; d < padded; d++)
            to[d] = d < head_dim ? half_at(from + d) : 0.0f;
    }
}

static void load_values_q8_0(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t padded = (head_dim + 15) / 16 * 16, groups = kv_scale_groups(head_dim);
    for (uint32_t t = first; t < end; t++) {
        const int8_t *from = (const int8_t *)values + (size_t)t * head_dim;
        const uint8_t *scales = scales_of(values, head_dim) + 2 * (size_t)t * groups;
        float *to = tile + (size_t)t * padded;
        uint32_t d = 0;
        for (; d + 4 <= head_dim; d += 4)
            vst1q_f32(to + d, vmulq_n_f32(load_codes(from + d), half_at(scales + 2 * (d / KV_SCALE_DIMS))));
        for (; d < padded; d++)
            to[d] = d < head_dim ? (float)from[d] * half_at(scales + 2 * (d / KV_SCALE_DIMS)) : 0.0f;
    }
}

// ---- scores ----------------------------------------------------------------------------------------------------------

typedef void score_tile(const struct attention_part *keys, const float *q, uint32_t panel, float scale,
                        float (*scores)[KV_BLOCK_TOKENS]);

// n_panels panels and n_columns columns, constants as is the source.
ALWAYS_INLINE void score(const struct attention_part *keys, const float *q, uint32_t panel, float scale,
                         float (*scores)[KV_BLOCK_TOKENS], const enum source source, const uint32_t n_panels,
                         const uint32_t n_columns)
{
    const uint32_t head_dim = keys->head_dim, groups = kv_scale_groups(head_dim);
    const uint32_t element = source == CACHED_Q8_0 ? 1 : source == CACHED_F16 ? 2 : 4;
    const size_t panel_bytes = (size_t)head_dim * KV_PANEL_KEYS * element;
    const uint8_t *from = source == CONVERTED ? (const uint8_t *)keys->tile : keys->cached;
    const uint8_t *scales = scales_of(keys->cached, head_dim) + (size_t)panel * groups * 2 * KV_PANEL_KEYS;
    from += panel * panel_bytes;
    // As many bytes of what comes next as halves are read here; of q8_0 half of them lie behind its end.
    uintptr_t ahead =
        (uintptr_t)keys->next + (size_t)panel * head_dim * KV_PANEL_KEYS * (source == CACHED_Q8_0 ? 1 : 2);
    const uint32_t step = n_panels * KV_PANEL_KEYS * (source == CACHED_Q8_0 ? 1 : 2);
    const uint32_t n_vectors = 4 * n_panels;
    float32x4_t sums[SCORE_COLUMNS][8], factor[8];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        UNROLL
    for (uint32_t i = 0; i < n_vectors; i++)
        sums[c][i] = vdupq_n_f32(0.0f);
    for (uint32_t begin = 0; begin < head_dim; begin += KV_SCALE_DIMS) {
        const uint32_t end = head_dim - begin < KV_SCALE_DIMS ? head_dim : begin + KV_SCALE_DIMS;
        UNROLL
        for (uint32_t i = 0; source == CACHED_Q8_0 && i < n_vectors; i++)
            factor[i] = load_halves(scales + ((size_t)(i / 4) * groups + begin / KV_SCALE_DIMS) * 2 * KV_PANEL_KEYS +
                                    8 * (i % 4));
        for (uint32_t d = begin; d < end; d++, from += KV_PANEL_KEYS * element, q += n_columns, ahead += step) {
            for (uint32_t i = 0; i < step; i += 64)
                __builtin_prefetch((const void *)(ahead + i), 0, 3);
            float32x4_t k[8];
            UNROLL
            for (uint32_t i = 0; i < n_vectors; i++) {
                const uint8_t *at = from + i / 4 * panel_bytes + i % 4 * 4 * element;
                k[i] = source == CONVERTED    ? vld1q_f32((const float *)(const void *)at)
                       : source == CACHED_F16 ? load_halves(at)
                                              : vmulq_f32(load_codes(at), factor[i]);
            }
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++)
                UNROLL
            for (uint32_t i = 0; i < n_vectors; i++)
                sums[c][i] = vfmaq_n_f32(sums[c][i], k[i], q[c]);
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        UNROLL
    for (uint32_t i = 0; i < n_vectors; i++)
        vst1q_f32(&scores[c][KV_PANEL_KEYS * panel + 4 * i], vmulq_n_f32(sums[c][i], scale));
}

// Tiles by number of columns. They are functions of their own so that each has all registers for its sums. One or two
// columns take more panels at a time, for enough independent chains.
#define SCORE_TILE(source, panels, n)                                                                                  \
    static __attribute__((noinline)) void score_##source##_##panels##_##n(const struct attention_part *keys,           \
                                                                          const float *q, uint32_t panel, float scale, \
                                                                          float(*scores)[KV_BLOCK_TOKENS])             \
    {                                                                                                                  \
        score(keys, q, panel, scale, scores, source, panels, n);                                                       \
    }
#define SCORE_TILES(source)  \
    SCORE_TILE(source, 1, 1) \
    SCORE_TILE(source, 1, 2) \
    SCORE_TILE(source, 1, 3) SCORE_TILE(source, 1, 4) SCORE_TILE(source, 2, 1) SCORE_TILE(source, 2, 2)
SCORE_TILES(CONVERTED)
SCORE_TILES(CACHED_F16)
SCORE_TILES(CACHED_Q8_0)
SCORE_TILE(CONVERTED, 1, 5)
SCORE_TILE(CONVERTED, 1, 6)

#define ONE_PANEL(source) score_##source##_1_1, score_##source##_1_2, score_##source##_1_3, score_##source##_1_4
#define SOME_PANELS(source) score_##source##_2_1, score_##source##_2_2, score_##source##_1_3, score_##source##_1_4
// [0]: one panel, [1]: as many as fit the registers
static score_tile *const score_converted[2][SCORE_COLUMNS] = {
    {ONE_PANEL(CONVERTED), score_CONVERTED_1_5, score_CONVERTED_1_6},
    {SOME_PANELS(CONVERTED), score_CONVERTED_1_5, score_CONVERTED_1_6}};
static score_tile *const score_f16[2][DIRECT_COLUMNS] = {{ONE_PANEL(CACHED_F16)}, {SOME_PANELS(CACHED_F16)}};
static score_tile *const score_q8_0[2][DIRECT_COLUMNS] = {{ONE_PANEL(CACHED_Q8_0)}, {SOME_PANELS(CACHED_Q8_0)}};

ALWAYS_INLINE void scores(const struct attention_part *keys, const float *q, uint32_t n_columns, uint32_t first,
                          uint32_t end, float scale, float (*out)[KV_BLOCK_TOKENS],
                          score_tile *const direct[2][DIRECT_COLUMNS])
{
    score_tile *const one = keys->tile != NULL ? score_converted[0][n_columns - 1] : direct[0][n_columns - 1];
    score_tile *const some = keys->tile != NULL ? score_converted[1][n_columns - 1] : direct[1][n_columns - 1];
    const uint32_t n_some = n_columns <= 2 ? 2 : 1;
    uint32_t panel = first;
    for (; panel + n_some <= end; panel += n_some)
        some(keys, q, panel, scale, out);
    for (; panel < end; panel++)
        one(keys, q, panel, scale, out);
}

static void scores_f16(const struct attention_part *keys, const float *q, uint32_t n_columns, uint32_t first,
                       uint32_t end, float scale, float (*out)[KV_BLOCK_TOKENS])
{
    scores(keys, q, n_columns, first, end, scale, out, score_f16);
}

static void scores_q8_0(const struct attention_part *keys, const float *q, uint32_t n_columns, uint32_t first,
                        uint32_t end, float scale, float (*out)[KV_BLOCK_TOKENS])
{
    scores(keys, q, n_columns, first, end, scale, out, score_q8_0);
}

// ---- softmax ---------------------------------------------------------------------------------------------------------

// All ones in the lanes of slots i..i+3 that are visible.
ALWAYS_INLINE uint32x4_t visible_lanes(uint32_t i, uint32_t low, uint32_t high)
{
    const uint32x4_t steps = {0, 1, 2, 3};
    const uint32x4_t slot = vaddq_u32(vdupq_n_u32(i), steps);
    return vandq_u32(vcgeq_u32(slot, vdupq_n_u32(low)), vcltq_u32(slot, vdupq_n_u32(high)));
}

static float softmax(float *scores_of_block, uint32_t low, uint32_t high, float *max, float *sum)
{
    float32x4_t m = vdupq_n_f32(*max);
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 4) {
        const float32x4_t s = vld1q_f32(scores_of_block + i);
        m = vbslq_f32(vandq_u32(visible_lanes(i, low, high), vcgtq_f32(s, m)), s, m); // a NaN never wins
    }
    const float new_max = vmaxvq_f32(m);
    m = vdupq_n_f32(new_max);
    float32x4_t total = vdupq_n_f32(0.0f);
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 4) {
        const uint32x4_t e = vreinterpretq_u32_f32(exp_neon(vsubq_f32(vld1q_f32(scores_of_block + i), m)));
        const float32x4_t visible_e = vreinterpretq_f32_u32(vandq_u32(e, visible_lanes(i, low, high)));
        vst1q_f32(scores_of_block + i, visible_e);
        total = vaddq_f32(total, visible_e);
    }
    const float shrink = new_max > *max ? vgetq_lane_f32(exp_neon(vdupq_n_f32(*max - new_max)), 0) : 1.0f;
    *sum = *sum * shrink + vaddvq_f32(total);
    *max = new_max;
    return shrink;
}

// ---- values ----------------------------------------------------------------------------------------------------------

typedef void value_tile(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                        const float *shrink, uint32_t d, uint32_t n_vectors, uint32_t first, uint32_t end, float *out,
                        uint64_t stride);

// 4 * n_vectors elements from d on, of n_columns columns: constants as is the source.
ALWAYS_INLINE void value(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                         const float *shrink, uint32_t d, uint32_t first, uint32_t end, float *out, uint64_t stride,
                         const enum source source, const uint32_t n_vectors, const uint32_t n_columns)
{
    const uint32_t head_dim = values->head_dim, groups = kv_scale_groups(head_dim);
    const uint32_t element = source == CACHED_Q8_0 ? 1 : source == CACHED_F16 ? 2 : 4;
    const uint32_t row = source == CONVERTED ? values->padded * 4 : head_dim * element;
    const uint8_t *from = source == CONVERTED ? (const uint8_t *)values->tile : values->cached;
    from += (size_t)first * row + (size_t)d * element;
    const uint8_t *scales = scales_of(values->cached, head_dim) + 2 * ((size_t)first * groups + d / KV_SCALE_DIMS);
    const uint32_t ahead_element = source == CACHED_Q8_0 ? 1 : 2;
    uintptr_t ahead = (uintptr_t)values->next + ((size_t)first * head_dim + d) * ahead_element;
    float32x4_t sums[VALUE_COLUMNS][8];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        UNROLL
    for (uint32_t i = 0; i < n_vectors; i++)
        sums[c][i] = vmulq_n_f32(vld1q_f32(out + c * stride + d + 4 * i), shrink[c]);
    for (uint32_t t = first; t < end; t++, from += row, scales += 2 * groups, ahead += head_dim * ahead_element) {
        for (uint32_t i = 0; i < n_vectors * 4 * ahead_element; i += 64)
            __builtin_prefetch((const void *)(ahead + i), 0, 3);
        float32x4_t v[8];
        UNROLL
        for (uint32_t i = 0; i < n_vectors; i++)
            v[i] = source == CONVERTED    ? vld1q_f32((const float *)(const void *)from + 4 * i)
                   : source == CACHED_F16 ? load_halves(from + 8 * i)
                                          : load_codes(from + 4 * i);
        UNROLL
        for (uint32_t i = 0; source == CACHED_Q8_0 && i < n_vectors; i++)
            v[i] = vmulq_n_f32(v[i], half_at(scales + 2 * (i / 8)));
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++)
            UNROLL
        for (uint32_t i = 0; i < n_vectors; i++)
            sums[c][i] = vfmaq_n_f32(sums[c][i], v[i], weights[c][t]);
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++)
        UNROLL
    for (uint32_t i = 0; i < n_vectors; i++)
        vst1q_f32(out + c * stride + d + 4 * i, sums[c][i]);
}

#define MOST_VECTORS(n) ((n) <= 2 ? 8 : 4)
#define VALUE_TILE(source, n)                                                                                         \
    static __attribute__((noinline)) void value_##source##_##n(                                                       \
        const struct attention_part *values, const float(*weights)[KV_BLOCK_TOKENS], const float *shrink, uint32_t d, \
        uint32_t n_vectors, uint32_t first, uint32_t end, float *out, uint64_t stride)                                \
    {                                                                                                                 \
        if (n_vectors == MOST_VECTORS(n))                                                                             \
            value(values, weights, shrink, d, first, end, out, stride, source, MOST_VECTORS(n), n);                   \
        else                                                                                                          \
            value(values, weights, shrink, d, first, end, out, stride, source, 4, n);                                 \
    }
VALUE_TILE(CONVERTED, 1)
VALUE_TILE(CONVERTED, 2)
VALUE_TILE(CONVERTED, 3)
VALUE_TILE(CONVERTED, 4)
VALUE_TILE(CONVERTED, 5)
VALUE_TILE(CONVERTED, 6)
VALUE_TILE(CACHED_F16, 1)
VALUE_TILE(CACHED_F16, 2)
VALUE_TILE(CACHED_F16, 3)
VALUE_TILE(CACHED_F16, 4)
VALUE_TILE(CACHED_Q8_0, 1)
VALUE_TILE(CACHED_Q8_0, 2)
VALUE_TILE(CACHED_Q8_0, 3)
VALUE_TILE(CACHED_Q8_0, 4)

static value_tile *const value_converted[VALUE_COLUMNS] = {value_CONVERTED_1, value_CONVERTED_2, value_CONVERTED_3,
                                                           value_CONVERTED_4, value_CONVERTED_5, value_CONVERTED_6};
static value_tile *const value_f16[DIRECT_COLUMNS] = {value_CACHED_F16_1, value_CACHED_F16_2, value_CACHED_F16_3,
                                                      value_CACHED_F16_4};
static value_tile *const value_q8_0[DIRECT_COLUMNS] = {value_CACHED_Q8_0_1, value_CACHED_Q8_0_2, value_CACHED_Q8_0_3,
                                                       value_CACHED_Q8_0_4};

ALWAYS_INLINE void all_values(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                              const float *shrink, uint32_t n_columns, uint32_t first, uint32_t end, float *out,
                              uint64_t stride, value_tile *const direct[DIRECT_COLUMNS])
{
    value_tile *const tile = values->tile != NULL ? value_converted[n_columns - 1] : direct[n_columns - 1];
    for (uint32_t d = 0, n; d < values->padded; d += 4 * n) {
        n = MOST_VECTORS(n_columns);
        if (values->padded - d < 4 * n)
            n = 4;
        tile(values, weights, shrink, d, n, first, end, out, stride);
    }
}

static void values_f16(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                       const float *shrink, uint32_t n_columns, uint32_t first, uint32_t end, float *out,
                       uint64_t stride)
{
    all_values(values, weights, shrink, n_columns, first, end, out, stride, value_f16);
}

static void values_q8_0(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                        const float *shrink, uint32_t n_columns, uint32_t first, uint32_t end, float *out,
                        uint64_t stride)
{
    all_values(values, weights, shrink, n_columns, first, end, out, stride, value_q8_0);
}

// ---- partial results -------------------------------------------------------------------------------------------------

static void merge_two(float *into, const float *from, uint32_t padded)
{
    float *max = into + padded, *sum = max + 1;
    if (from[padded + 1] == 0.0f)
        return;
    const float new_max = *max > from[padded] ? *max : from[padded];
    const float a = *sum == 0.0f ? 0.0f : vgetq_lane_f32(exp_neon(vdupq_n_f32(*max - new_max)), 0);
    const float b = vgetq_lane_f32(exp_neon(vdupq_n_f32(from[padded] - new_max)), 0);
    for (uint32_t d = 0; d < padded; d += 4)
        vst1q_f32(into + d, vfmaq_n_f32(vmulq_n_f32(vld1q_f32(into + d), a), vld1q_f32(from + d), b));
    *sum = *sum * a + from[padded + 1] * b;
    *max = new_max;
}

void TIER(attention_merge)(float *partials, uint32_t n, uint32_t head_dim, float *out)
{
    const uint32_t stride = attention_partial_floats(head_dim), padded = stride - 16;
    for (uint32_t i = 1; i < n; i++)
        merge_two(partials, partials + (size_t)i * stride, padded);
    for (uint32_t d = 0; out != NULL && d < head_dim; d++)
        out[d] = partials[d] / partials[padded + 1];
}

// ----------------------------------------------------------------------------------------------------------------------

static const struct attention_steps steps[N_KV_TYPES] = {
    [KV_F16] = {DIRECT_COLUMNS, SCORE_COLUMNS, VALUE_COLUMNS, load_keys_f16, load_values_f16, scores_f16, softmax,
                values_f16},
    [KV_Q8_0] = {DIRECT_COLUMNS, SCORE_COLUMNS, VALUE_COLUMNS, load_keys_q8_0, load_values_q8_0, scores_q8_0, softmax,
                 values_q8_0},
};

void TIER(attention_f16)(const struct attention_args *args)
{
    attend(args, KV_F16, &steps[KV_F16], TIER(attention_merge));
}

void TIER(attention_q8_0)(const struct attention_args *args)
{
    attend(args, KV_Q8_0, &steps[KV_Q8_0], TIER(attention_merge));
}
