// Attention in tiles of columns: 16 keys, or 16 elements of the values, are the lanes of four registers; up to 20 sums stay
// in registers.
#include "kernels/neon/neon.h"

#include "base/half.h"
#include "kernels/attention_blocks.h"

#define TILE_COLUMNS 5

// Where a tile reads keys and values.
enum source { CACHED_F16 = KV_F16, CACHED_Q8_0 = KV_Q8_0, CONVERTED };

ALWAYS_INLINE uint32_t bytes_of(const enum source source)
{
    return source == CACHED_Q8_0 ? 1 : source == CACHED_F16 ? 2 : 4;
}

ALWAYS_INLINE void load_16_floats(const uint8_t *p, float32x4_t out[4])
{
    UNROLL
    for (int i = 0; i < 4; i++)
        out[i] = vreinterpretq_f32_u8(vld1q_u8(p + 16 * i));
}

ALWAYS_INLINE void load_16_halves(const uint8_t *p, float32x4_t out[4])
{
    UNROLL
    for (int i = 0; i < 4; i++)
        out[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * i)));
}

ALWAYS_INLINE void load_16_codes(const uint8_t *p, float32x4_t out[4])
{
    const int8x16_t codes = vreinterpretq_s8_u8(vld1q_u8(p));
    const int16x8_t low = vmovl_s8(vget_low_s8(codes)), high = vmovl_high_s8(codes);
    out[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    out[1] = vcvtq_f32_s32(vmovl_high_s16(low));
    out[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    out[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

ALWAYS_INLINE void load_16(const enum source source, const uint8_t *p, float32x4_t out[4])
{
    if (source == CONVERTED)
        load_16_floats(p, out);
    else if (source == CACHED_F16)
        load_16_halves(p, out);
    else
        load_16_codes(p, out);
}

ALWAYS_INLINE const uint8_t *scales_of(const void *part, uint32_t head_dim)
{
    return (const uint8_t *)part + (size_t)KV_BLOCK_TOKENS * head_dim;
}

ALWAYS_INLINE void prefetch_bytes(uintptr_t p, uint32_t bytes)
{
    UNROLL
    for (uint32_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const void *)(p + i), 0, 3);
}

// ---- storing ---------------------------------------------------------------------------------------------------------

void TIER(kv_store_f16)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    uint16_t *key = (uint16_t *)keys + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value = (uint16_t *)values + (size_t)slot * head_dim;
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

// Codes of one group of n <= 32 elements; returns their scale.
static uint16_t quantize_group(const float *x, uint32_t n, int8_t codes[KV_SCALE_DIMS])
{
    float rest[KV_SCALE_DIMS] = {0};
    if (n < KV_SCALE_DIMS)
        x = memcpy(rest, x, n * sizeof *x);
    float32x4_t most = vdupq_n_f32(0.0f);
    for (int i = 0; i < KV_SCALE_DIMS; i += 4)
        most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + i)));
    const uint16_t scale = half_from_float(vmaxvq_f32(most) / 127.0f);
    const float inverse = float_from_half(scale) == 0.0f ? 0.0f : 1.0f / float_from_half(scale);
    for (int i = 0; i < KV_SCALE_DIMS; i += 8) {
        int16x4_t q[2];
        for (int k = 0; k < 2; k++) {
            const float32x4_t scaled = vmulq_n_f32(vld1q_f32(x + i + 4 * k), inverse);
            q[k] = vmovn_s32(vcvtnq_s32_f32(vminq_f32(vdupq_n_f32(127.0f), vmaxq_f32(vdupq_n_f32(-127.0f), scaled))));
        }
        vst1_s8(codes + i, vmovn_s16(vcombine_s16(q[0], q[1])));
    }
    return scale;
}

void TIER(kv_store_q8_0)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    const uint32_t groups = kv_scale_groups(head_dim), panel = slot / KV_PANEL_KEYS, lane = slot % KV_PANEL_KEYS;
    int8_t *key = (int8_t *)keys + (size_t)panel * head_dim * KV_PANEL_KEYS + lane;
    int8_t *value = (int8_t *)values + (size_t)slot * head_dim;
    uint8_t *key_scale =
        (uint8_t *)keys + (size_t)KV_BLOCK_TOKENS * head_dim + 2 * ((size_t)panel * groups * KV_PANEL_KEYS + lane);
    uint8_t *value_scale = (uint8_t *)values + (size_t)KV_BLOCK_TOKENS * head_dim + 2 * (size_t)slot * groups;
    for (uint32_t g = 0; g < groups; g++) {
        const uint32_t d = g * KV_SCALE_DIMS, n = head_dim - d < KV_SCALE_DIMS ? head_dim - d : KV_SCALE_DIMS;
        int8_t codes[KV_SCALE_DIMS];
        uint16_t scale = quantize_group(k + d, n, codes);
        memcpy(key_scale + (size_t)g * 2 * KV_PANEL_KEYS, &scale, sizeof scale);
        for (uint32_t i = 0; i < n; i++)
            key[(size_t)(d + i) * KV_PANEL_KEYS] = codes[i];
        scale = quantize_group(v + d, n, codes);
        memcpy(value_scale + 2 * (size_t)g, &scale, sizeof scale);
        memcpy(value + d, codes, n);
    }
}

// ---- conversion of a block -------------------------------------------------------------------------------------------

ALWAYS_INLINE void store_16(float *p, const float32x4_t v[4])
{
    UNROLL
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, v[i]);
}

ALWAYS_INLINE void scale_16(float32x4_t v[4], const float32x4_t scale[4])
{
    UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = vmulq_f32(v[i], scale[i]);
}

// The half at p in all lanes.
ALWAYS_INLINE void spread_half(const uint8_t *p, float32x4_t out[4])
{
    out[0] = out[1] = out[2] = out[3] = vdupq_n_f32(load_half(p));
}

static void load_keys_f16(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const size_t n = (size_t)head_dim * KV_PANEL_KEYS;
    for (size_t i = first * n; i < end * n; i += 16) {
        float32x4_t k[4];
        load_16_halves((const uint8_t *)keys + 2 * i, k);
        store_16(tile + i, k);
    }
}

static void load_keys_q8_0(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t groups = kv_scale_groups(head_dim);
    for (uint32_t panel = first; panel < end; panel++) {
        for (uint32_t d = 0; d < head_dim; d++) {
            const size_t at = ((size_t)panel * head_dim + d) * KV_PANEL_KEYS;
            const size_t group = (size_t)panel * groups + d / KV_SCALE_DIMS;
            float32x4_t k[4], scale[4];
            load_16_codes((const uint8_t *)keys + at, k);
            load_16_halves(scales_of(keys, head_dim) + group * 2 * KV_PANEL_KEYS, scale);
            scale_16(k, scale);
            store_16(tile + at, k);
        }
    }
}

ALWAYS_INLINE void load_values(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile,
                               const enum source source)
{
    const uint32_t padded = (head_dim + 15) / 16 * 16, groups = kv_scale_groups(head_dim), bytes = bytes_of(source);
    for (uint32_t t = first; t < end; t++) {
        for (uint32_t d = 0; d < head_dim; d += 16) {
            const uint8_t *p = (const uint8_t *)values + ((size_t)t * head_dim + d) * bytes;
            uint8_t rest[32] = {0};
            float32x4_t v[4], scale[4];
            if (head_dim - d < 16)
                p = memcpy(rest, p, (head_dim - d) * bytes);
            load_16(source, p, v);
            if (source == CACHED_Q8_0) {
                spread_half(scales_of(values, head_dim) + 2 * ((size_t)t * groups + d / KV_SCALE_DIMS), scale);
                scale_16(v, scale);
            }
            store_16(tile + (size_t)t * padded + d, v);
        }
    }
}

static void load_values_f16(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    load_values(values, head_dim, first, end, tile, CACHED_F16);
}

static void load_values_q8_0(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    load_values(values, head_dim, first, end, tile, CACHED_Q8_0);
}

// ---- scores ----------------------------------------------------------------------------------------------------------

// n_panels (1 or 2) panels and n_columns columns, constants as is the source.
ALWAYS_INLINE void score(const struct attention_part *keys, const float *q, uint32_t panel, float scale,
                         float (*scores)[KV_BLOCK_TOKENS], const enum source source, const uint32_t n_panels,
                         const uint32_t n_columns)
{
    const uint32_t head_dim = keys->head_dim, groups = kv_scale_groups(head_dim), bytes = bytes_of(source);
    const size_t panel_bytes = (size_t)head_dim * KV_PANEL_KEYS * bytes;
    const uint8_t *from = source == CONVERTED ? (const uint8_t *)keys->tile : keys->cached;
    const uint8_t *scales = scales_of(keys->cached, head_dim) + (size_t)panel * groups * 2 * KV_PANEL_KEYS;
    from += panel * panel_bytes;
    // As many bytes of what comes next as the cache holds of these panels.
    const uint32_t step = n_panels * KV_PANEL_KEYS * (source == CACHED_Q8_0 ? 1 : 2);
    uintptr_t ahead = (uintptr_t)keys->next + (size_t)panel * head_dim * (step / n_panels);
    float32x4_t sums[TILE_COLUMNS][8];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t i = 0; i < 4 * n_panels; i++)
            sums[c][i] = vdupq_n_f32(0.0f);
    }
    for (uint32_t begin = 0; begin < head_dim; begin += KV_SCALE_DIMS) {
        const uint32_t end = head_dim - begin < KV_SCALE_DIMS ? head_dim : begin + KV_SCALE_DIMS;
        float32x4_t factor[8];
        UNROLL
        for (uint32_t p = 0; source == CACHED_Q8_0 && p < n_panels; p++)
            load_16_halves(scales + ((size_t)p * groups + begin / KV_SCALE_DIMS) * 2 * KV_PANEL_KEYS, factor + 4 * p);
        for (uint32_t d = begin; d < end; d++, from += KV_PANEL_KEYS * bytes, q += n_columns, ahead += step) {
            float32x4_t k[8];
            if (d % 2 == 0)
                prefetch_bytes(ahead, 2 * step);
            UNROLL
            for (uint32_t p = 0; p < n_panels; p++) {
                load_16(source, from + p * panel_bytes, k + 4 * p);
                if (source == CACHED_Q8_0)
                    scale_16(k + 4 * p, factor + 4 * p);
            }
            UNROLL
            for (uint32_t c = 0; c < n_columns; c++) {
                UNROLL
                for (uint32_t i = 0; i < 4 * n_panels; i++)
                    sums[c][i] = vfmaq_n_f32(sums[c][i], k[i], q[c]);
            }
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t i = 0; i < 4 * n_panels; i++)
            vst1q_f32(&scores[c][KV_PANEL_KEYS * panel + 4 * i], vmulq_n_f32(sums[c][i], scale));
    }
}

// Few columns take two panels at once, which keeps enough sums going; with their scales, those of q8_0 take more registers.
ALWAYS_INLINE void scores(const struct attention_part *keys, const float *q, uint32_t first, uint32_t end, float scale,
                          float (*out)[KV_BLOCK_TOKENS], const enum source source, const uint32_t n_columns)
{
    uint32_t panel = first;
    if (n_columns <= (source == CACHED_Q8_0 ? 1 : 2))
        for (; panel + 2 <= end; panel += 2)
            score(keys, q, panel, scale, out, source, 2, n_columns);
    for (; panel < end; panel++)
        score(keys, q, panel, scale, out, source, 1, n_columns);
}

// ---- softmax ---------------------------------------------------------------------------------------------------------

// All ones in the lanes of slots i..i+3 that are visible.
ALWAYS_INLINE uint32x4_t visible_lanes(uint32_t i, uint32_t low, uint32_t high)
{
    const uint32x4_t steps_of_one = {0, 1, 2, 3};
    const uint32x4_t slot = vaddq_u32(vdupq_n_u32(i), steps_of_one);
    return vandq_u32(vcgeq_u32(slot, vdupq_n_u32(low)), vcltq_u32(slot, vdupq_n_u32(high)));
}

static void soft_cap(float *scores_of_block, float cap)
{
    const float32x4_t one = vdupq_n_f32(1.0f), two = vdupq_n_f32(2.0f), by = vdupq_n_f32(cap),
                      slope = vdupq_n_f32(2.0f / cap);
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 4) {
        const float32x4_t e = exp_neon(vmulq_f32(vld1q_f32(scores_of_block + i), slope));
        vst1q_f32(scores_of_block + i, vmulq_f32(by, vsubq_f32(one, vdivq_f32(two, vaddq_f32(one, e)))));
    }
}

static float softmax(float *scores_of_block, uint32_t low, uint32_t high, float *max, float *sum)
{
    float32x4_t m = vdupq_n_f32(*max);
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 4) {
        const float32x4_t s = vld1q_f32(scores_of_block + i);
        m = vbslq_f32(vandq_u32(visible_lanes(i, low, high), vcgtq_f32(s, m)), s, m);
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

// 16 * n_vectors (1 or 2) elements from d on, of n_columns columns: constants as is the source.
ALWAYS_INLINE void value(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                         const float *shrink, uint32_t d, uint32_t first, uint32_t end, float *out, uint64_t stride,
                         const enum source source, const uint32_t n_vectors, const uint32_t n_columns)
{
    const uint32_t head_dim = values->head_dim, groups = kv_scale_groups(head_dim), bytes = bytes_of(source);
    const uint32_t row = (source == CONVERTED ? values->padded : head_dim) * bytes;
    const uint8_t *from = source == CONVERTED ? (const uint8_t *)values->tile : values->cached;
    from += (size_t)first * row + (size_t)d * bytes;
    const uint8_t *scales = scales_of(values->cached, head_dim) + 2 * ((size_t)first * groups + d / KV_SCALE_DIMS);
    const uint32_t ahead_bytes = source == CACHED_Q8_0 ? 1 : 2;
    uintptr_t ahead = (uintptr_t)values->next + ((size_t)first * head_dim + d) * ahead_bytes;
    float32x4_t sums[TILE_COLUMNS][8];
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t i = 0; i < 4 * n_vectors; i++)
            sums[c][i] = vmulq_n_f32(vld1q_f32(out + c * stride + d + 4 * i), shrink[c]);
    }
    for (uint32_t t = first; t < end; t++, from += row, scales += 2 * groups, ahead += head_dim * ahead_bytes) {
        float32x4_t v[8], scale[4];
        if (d % (64 / ahead_bytes) == 0)
            prefetch_bytes(ahead, 64);
        if (source == CACHED_Q8_0)
            spread_half(scales, scale);
        UNROLL
        for (uint32_t i = 0; i < n_vectors; i++) {
            load_16(source, from + 16 * bytes * i, v + 4 * i);
            if (source == CACHED_Q8_0)
                scale_16(v + 4 * i, scale);
        }
        UNROLL
        for (uint32_t c = 0; c < n_columns; c++) {
            UNROLL
            for (uint32_t i = 0; i < 4 * n_vectors; i++)
                sums[c][i] = vfmaq_n_f32(sums[c][i], v[i], weights[c][t]);
        }
    }
    UNROLL
    for (uint32_t c = 0; c < n_columns; c++) {
        UNROLL
        for (uint32_t i = 0; i < 4 * n_vectors; i++)
            vst1q_f32(out + c * stride + d + 4 * i, sums[c][i]);
    }
}

ALWAYS_INLINE void values(const struct attention_part *part, const float (*weights)[KV_BLOCK_TOKENS],
                          const float *shrink, uint32_t first, uint32_t end, float *out, uint64_t stride,
                          const enum source source, const uint32_t n_columns)
{
    uint32_t d = 0;
    if (n_columns <= 2)
        for (; d + 32 <= part->padded; d += 32)
            value(part, weights, shrink, d, first, end, out, stride, source, 2, n_columns);
    for (; d < part->padded; d += 16)
        value(part, weights, shrink, d, first, end, out, stride, source, 1, n_columns);
}

// ---- tiles by source and number of columns ---------------------------------------------------------------------------

#define TILES_OF(source) TILE(source, 1) TILE(source, 2) TILE(source, 3) TILE(source, 4) TILE(source, 5)
#define ALL_TILES TILES_OF(CACHED_F16) TILES_OF(CACHED_Q8_0) TILES_OF(CONVERTED)

typedef void scores_tile(const struct attention_part *keys, const float *q, uint32_t first, uint32_t end, float scale,
                         float (*out)[KV_BLOCK_TOKENS]);
typedef void values_tile(const struct attention_part *part, const float (*weights)[KV_BLOCK_TOKENS],
                         const float *shrink, uint32_t first, uint32_t end, float *out, uint64_t stride);

#define TILE(source, n)                                                                                                \
    static void scores_##source##_##n(const struct attention_part *keys, const float *q, uint32_t first, uint32_t end, \
                                      float scale, float(*out)[KV_BLOCK_TOKENS])                                       \
    {                                                                                                                  \
        scores(keys, q, first, end, scale, out, source, n);                                                            \
    }                                                                                                                  \
    static void values_##source##_##n(const struct attention_part *part, const float(*weights)[KV_BLOCK_TOKENS],       \
                                      const float *shrink, uint32_t first, uint32_t end, float *out, uint64_t stride)  \
    {                                                                                                                  \
        values(part, weights, shrink, first, end, out, stride, source, n);                                             \
    }
ALL_TILES
#undef TILE

#define TILE(source, n) [source][n - 1] = scores_##source##_##n,
static scores_tile *const scores_tiles[][TILE_COLUMNS] = {ALL_TILES};
#undef TILE
#define TILE(source, n) [source][n - 1] = values_##source##_##n,
static values_tile *const values_tiles[][TILE_COLUMNS] = {ALL_TILES};
#undef TILE

// Defines the steps of one type of cache. direct: halves may as well be converted twice as stored and loaded.
#define STEPS(name, cached_as, direct)                                                                               \
    static void scores_##name(const struct attention_part *keys, const float *q, uint32_t n_columns, uint32_t first, \
                              uint32_t end, float scale, float(*out)[KV_BLOCK_TOKENS])                               \
    {                                                                                                                \
        scores_tiles[keys->tile != NULL ? CONVERTED : (cached_as)][n_columns - 1](keys, q, first, end, scale, out);  \
    }                                                                                                                \
    static void values_##name(const struct attention_part *part, const float(*weights)[KV_BLOCK_TOKENS],             \
                              const float *shrink, uint32_t n_columns, uint32_t first, uint32_t end, float *out,     \
                              uint64_t stride)                                                                       \
    {                                                                                                                \
        values_tiles[part->tile != NULL ? CONVERTED : (cached_as)][n_columns - 1](part, weights, shrink, first, end, \
                                                                                  out, stride);                      \
    }                                                                                                                \
    static const struct attention_steps steps_##name = {                                                             \
        .direct_columns = (direct),                                                                                  \
        .score_columns = TILE_COLUMNS,                                                                               \
        .value_columns = TILE_COLUMNS,                                                                               \
        .load_keys = load_keys_##name,                                                                               \
        .load_values = load_values_##name,                                                                           \
        .scores = scores_##name,                                                                                     \
        .soft_cap = soft_cap,                                                                                        \
        .softmax = softmax,                                                                                          \
        .values = values_##name,                                                                                     \
    };
STEPS(f16, CACHED_F16, 2 * TILE_COLUMNS)
STEPS(q8_0, CACHED_Q8_0, TILE_COLUMNS)

// ---- partial results -------------------------------------------------------------------------------------------------

static void merge_two(float *into, const float *from, uint32_t padded)
{
    float *max = into + padded, *sum = max + 1;
    if (from[padded + 1] == 0.0f)
        return;
    const float new_max = *max > from[padded] ? *max : from[padded];
    const float32x4_t a = *sum == 0.0f ? vdupq_n_f32(0.0f) : exp_neon(vdupq_n_f32(*max - new_max));
    const float32x4_t b = exp_neon(vdupq_n_f32(from[padded] - new_max));
    for (uint32_t d = 0; d < padded; d += 4)
        vst1q_f32(into + d, vfmaq_f32(vmulq_f32(vld1q_f32(into + d), a), vld1q_f32(from + d), b));
    *sum = *sum * vgetq_lane_f32(a, 0) + from[padded + 1] * vgetq_lane_f32(b, 0);
    *max = new_max;
}

void TIER(attention_merge)(float *partials, uint32_t n, uint32_t head_dim, float *out)
{
    const uint64_t stride = attention_partial_floats(head_dim), padded = stride - 16;
    for (uint32_t i = 1; i < n; i++)
        merge_two(partials, partials + (size_t)i * stride, padded);
    const float32x4_t divisor = vdupq_n_f32(partials[padded + 1]);
    for (uint32_t d = 0; out != NULL && d < head_dim; d += 4)
        store_floats(out + d, head_dim - d, vdivq_f32(vld1q_f32(partials + d), divisor));
}

void TIER(attention_f16)(const struct attention_args *args)
{
    attend(args, KV_F16, &steps_f16, TIER(attention_merge));
}

void TIER(attention_q8_0)(const struct attention_args *args)
{
    attend(args, KV_Q8_0, &steps_q8_0, TIER(attention_merge));
}
