// Attention in tiles of columns: scores with 16 keys as the lanes of a register, values with 16 elements; up to 24 sums stay
// in registers.
#include "kernels/avx512/avx512.h"

#include "base/half.h"
#include "kernels/attention_blocks.h"

#define DIRECT_COLUMNS 4
#define SCORE_COLUMNS 12
#define VALUE_COLUMNS 6
#define N_PANELS (KV_BLOCK_TOKENS / KV_PANEL_KEYS)

// Where a tile reads keys and values.
enum source { CACHED_F16 = KV_F16, CACHED_Q8_0 = KV_Q8_0, CONVERTED };

ALWAYS_INLINE __m512 load_16_halves(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

ALWAYS_INLINE __m512 load_16_codes(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

// A half in all lanes.
ALWAYS_INLINE __m512 broadcast_half(const void *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)half));
}

ALWAYS_INLINE const uint8_t *scales_of(const void *part, uint32_t head_dim)
{
    return (const uint8_t *)part + (size_t)KV_BLOCK_TOKENS * head_dim;
}

// ---- storing ---------------------------------------------------------------------------------------------------------

void TIER(kv_store_f16)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    uint16_t *key = (uint16_t *)keys + (size_t)(slot / KV_PANEL_KEYS) * head_dim * KV_PANEL_KEYS + slot % KV_PANEL_KEYS;
    uint16_t *value = (uint16_t *)values + (size_t)slot * head_dim;
    for (uint32_t d = 0; d < head_dim; d += 16) {
        const uint32_t count = head_dim - d < 16 ? head_dim - d : 16;
        const __mmask16 m = first_lanes_16(count);
        const __m256i halves = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, v + d), _MM_FROUND_TO_NEAREST_INT);
        _mm256_mask_storeu_epi16(value + d, m, halves);
        uint16_t column[16];
        _mm256_storeu_si256((__m256i *)column,
                            _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, k + d), _MM_FROUND_TO_NEAREST_INT));
        for (uint32_t i = 0; i < count; i++)
            key[(size_t)(d + i) * KV_PANEL_KEYS] = column[i];
    }
}

// Codes of one group of up to 32 elements; returns their scale.
ALWAYS_INLINE uint16_t quantize_group(const float *x, uint32_t n, int8_t codes[KV_SCALE_DIMS])
{
    const __mmask16 m0 = first_lanes_16(n), m1 = first_lanes_16(n > 16 ? n - 16 : 0);
    const __m512 x0 = _mm512_maskz_loadu_ps(m0, x), x1 = _mm512_maskz_loadu_ps(m1, n > 16 ? x + 16 : x);
    const float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1)));
    const uint16_t scale = half_from_float(most / 127.0f);
    const float inverse = float_from_half(scale) == 0.0f ? 0.0f : 1.0f / float_from_half(scale);
    const __m512 factor = _mm512_set1_ps(inverse), limit = _mm512_set1_ps(127.0f), least = _mm512_set1_ps(-127.0f);
    const __m512 c0 = _mm512_min_ps(limit, _mm512_max_ps(least, _mm512_mul_ps(x0, factor)));
    const __m512 c1 = _mm512_min_ps(limit, _mm512_max_ps(least, _mm512_mul_ps(x1, factor)));
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(c0)));
    _mm_storeu_si128((__m128i *)(void *)(codes + 16), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(c1)));
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

static void load_keys_f16(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const size_t n = (size_t)head_dim * KV_PANEL_KEYS;
    for (size_t i = first * n; i < end * n; i += 16)
        _mm512_store_ps(tile + i, load_16_halves((const uint16_t *)keys + i));
}

static void load_keys_q8_0(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t groups = kv_scale_groups(head_dim);
    for (uint32_t panel = first; panel < end; panel++)
        for (uint32_t g = 0; g < groups; g++) {
            const __m512 scale =
                load_16_halves(scales_of(keys, head_dim) + ((size_t)panel * groups + g) * 2 * KV_PANEL_KEYS);
            const uint32_t stop = (g + 1) * KV_SCALE_DIMS < head_dim ? (g + 1) * KV_SCALE_DIMS : head_dim;
            for (uint32_t d = g * KV_SCALE_DIMS; d < stop; d++) {
                const size_t at = ((size_t)panel * head_dim + d) * KV_PANEL_KEYS;
                _mm512_store_ps(tile + at, _mm512_mul_ps(load_16_codes((const int8_t *)keys + at), scale));
            }
        }
}

static void load_values_f16(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t padded = (head_dim + 15) / 16 * 16;
    for (uint32_t t = first; t < end; t++)
        for (uint32_t d = 0; d < head_dim; d += 16) {
            const __m256i halves = _mm256_maskz_loadu_epi16(first_lanes_16(head_dim - d),
                                                            (const uint16_t *)values + (size_t)t * head_dim + d);
            _mm512_store_ps(tile + (size_t)t * padded + d, _mm512_cvtph_ps(halves));
        }
}

static void load_values_q8_0(const void *values, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t padded = (head_dim + 15) / 16 * 16, groups = kv_scale_groups(head_dim);
    for (uint32_t t = first; t < end; t++)
        for (uint32_t d = 0; d < head_dim; d += 16) {
            const __m128i codes =
                _mm_maskz_loadu_epi8(first_lanes_16(head_dim - d), (const int8_t *)values + (size_t)t * head_dim + d);
            const __m512 scale =
                broadcast_half(scales_of(values, head_dim) + 2 * ((size_t)t * groups + d / KV_SCALE_DIMS));
            _mm512_store_ps(tile + (size_t)t * padded + d,
                            _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)), scale));
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
    // As many bytes of what comes next as halves are read here; of q8_0, read converted, half of them lie behind its end.
    const size_t read = (size_t)panel * head_dim * KV_PANEL_KEYS * (source == CACHED_Q8_0 ? 1 : 2);
    uintptr_t ahead = (uintptr_t)keys->next + read, far = (uintptr_t)keys->far + read;
    const uint32_t step = n_panels * KV_PANEL_KEYS * (source == CACHED_Q8_0 ? 1 : 2);
    __m512 sums[SCORE_COLUMNS][N_PANELS], factor[N_PANELS];
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t p = 0; p < n_panels; p++)
            sums[c][p] = _mm512_setzero_ps();
    for (uint32_t begin = 0; begin < head_dim; begin += KV_SCALE_DIMS) {
        const uint32_t end = head_dim - begin < KV_SCALE_DIMS ? head_dim : begin + KV_SCALE_DIMS;
        for (uint32_t p = 0; source == CACHED_Q8_0 && p < n_panels; p++)
            factor[p] = load_16_halves(scales + ((size_t)p * groups + begin / KV_SCALE_DIMS) * 2 * KV_PANEL_KEYS);
        for (uint32_t d = begin; d < end;
             d++, from += KV_PANEL_KEYS * element, q += n_columns, ahead += step, far += step) {
            for (uint32_t i = 0; i < step; i += 64) {
                _mm_prefetch((const char *)(ahead + i), _MM_HINT_T0);
                _mm_prefetch((const char *)(far + i), _MM_HINT_T1);
            }
            __m512 k[N_PANELS];
            for (uint32_t p = 0; p < n_panels; p++) {
                const uint8_t *at = from + p * panel_bytes;
                k[p] = source == CONVERTED    ? _mm512_load_ps((const float *)(const void *)at)
                       : source == CACHED_F16 ? load_16_halves(at)
                                              : _mm512_mul_ps(load_16_codes(at), factor[p]);
            }
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m512 qd = _mm512_set1_ps(q[c]);
                for (uint32_t p = 0; p < n_panels; p++)
                    sums[c][p] = _mm512_fmadd_ps(qd, k[p], sums[c][p]);
            }
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t p = 0; p < n_panels; p++)
            _mm512_storeu_ps(&scores[c][KV_PANEL_KEYS * (panel + p)], _mm512_mul_ps(sums[c][p], _mm512_set1_ps(scale)));
}

// Tiles by number of columns. They are functions of their own so that each has all registers for its sums.
#define SCORE_TILE(source, panels, n)                                                                                  \
    static __attribute__((noinline)) void score_##source##_##panels##_##n(const struct attention_part *keys,           \
                                                                          const float *q, uint32_t panel, float scale, \
                                                                          float(*scores)[KV_BLOCK_TOKENS])             \
    {                                                                                                                  \
        score(keys, q, panel, scale, scores, source, panels, n);                                                       \
    }
#define SCORE_TILES_4(source, panels) \
    SCORE_TILE(source, panels, 1)     \
    SCORE_TILE(source, panels, 2) SCORE_TILE(source, panels, 3) SCORE_TILE(source, panels, 4)
#define SCORE_TILES_12(source, panels)                                                        \
    SCORE_TILES_4(source, panels)                                                             \
    SCORE_TILE(source, panels, 5)                                                             \
    SCORE_TILE(source, panels, 6)                                                             \
    SCORE_TILE(source, panels, 7) SCORE_TILE(source, panels, 8) SCORE_TILE(source, panels, 9) \
        SCORE_TILE(source, panels, 10) SCORE_TILE(source, panels, 11) SCORE_TILE(source, panels, 12)
SCORE_TILES_12(CONVERTED, 1)
SCORE_TILES_12(CONVERTED, 2)
SCORE_TILES_4(CACHED_F16, 1)
SCORE_TILES_4(CACHED_F16, 4)
SCORE_TILES_4(CACHED_Q8_0, 1)
SCORE_TILES_4(CACHED_Q8_0, 4)

#define FOUR(kind) kind##_1, kind##_2, kind##_3, kind##_4
#define TWELVE(kind) FOUR(kind), kind##_5, kind##_6, kind##_7, kind##_8, kind##_9, kind##_10, kind##_11, kind##_12
// [0]: one panel, [1]: as many as fit the registers
static score_tile *const score_converted[2][SCORE_COLUMNS] = {{TWELVE(score_CONVERTED_1)}, {TWELVE(score_CONVERTED_2)}};
static score_tile *const score_f16[2][DIRECT_COLUMNS] = {{FOUR(score_CACHED_F16_1)}, {FOUR(score_CACHED_F16_4)}};
static score_tile *const score_q8_0[2][DIRECT_COLUMNS] = {{FOUR(score_CACHED_Q8_0_1)}, {FOUR(score_CACHED_Q8_0_4)}};

ALWAYS_INLINE void scores(const struct attention_part *keys, const float *q, uint32_t n_columns, uint32_t first,
                          uint32_t end, float scale, float (*out)[KV_BLOCK_TOKENS],
                          score_tile *const direct[2][DIRECT_COLUMNS])
{
    score_tile *const one = keys->tile != NULL ? score_converted[0][n_columns - 1] : direct[0][n_columns - 1];
    score_tile *const many = keys->tile != NULL ? score_converted[1][n_columns - 1] : direct[1][n_columns - 1];
    const uint32_t n_many = keys->tile != NULL ? 2 : 4;
    uint32_t panel = first;
    for (; panel + n_many <= end; panel += n_many)
        many(keys, q, panel, scale, out);
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

static void soft_cap(float *scores_of_block, float cap)
{
    const __m512 one = _mm512_set1_ps(1.0f), two = _mm512_set1_ps(2.0f), by = _mm512_set1_ps(cap),
                 slope = _mm512_set1_ps(2.0f / cap);
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 16) {
        const __m512 e = exp_avx512(_mm512_mul_ps(_mm512_loadu_ps(scores_of_block + i), slope));
        _mm512_storeu_ps(scores_of_block + i,
                         _mm512_mul_ps(by, _mm512_sub_ps(one, _mm512_div_ps(two, _mm512_add_ps(one, e)))));
    }
}

static float softmax(float *scores_of_block, uint32_t low, uint32_t high, float *max, float *sum)
{
    const uint64_t below_high = high >= 64 ? UINT64_MAX : ((uint64_t)1 << high) - 1;
    const uint64_t visible = low >= 64 ? 0 : below_high & ~(((uint64_t)1 << low) - 1);
    __m512 m = _mm512_set1_ps(*max);
    for (uint32_t p = 0; p < N_PANELS; p++) {
        const __mmask16 lanes = (__mmask16)(visible >> 16 * p);
        m = _mm512_max_ps(_mm512_mask_loadu_ps(m, lanes, scores_of_block + 16 * p), m);
    }
    const float new_max = _mm512_reduce_max_ps(m);
    m = _mm512_set1_ps(new_max);
    __m512 total = _mm512_setzero_ps();
    for (uint32_t p = 0; p < N_PANELS; p++) {
        const __mmask16 lanes = (__mmask16)(visible >> 16 * p);
        const __m512 e = exp_avx512(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, scores_of_block + 16 * p), m));
        const __m512 visible_e = _mm512_maskz_mov_ps(lanes, e);
        _mm512_storeu_ps(scores_of_block + 16 * p, visible_e);
        total = _mm512_add_ps(total, visible_e);
    }
    const float shrink = new_max > *max ? _mm512_cvtss_f32(exp_avx512(_mm512_set1_ps(*max - new_max))) : 1.0f;
    *sum = *sum * shrink + _mm512_reduce_add_ps(total);
    *max = new_max;
    return shrink;
}

// ---- values ----------------------------------------------------------------------------------------------------------

typedef void value_tile(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                        const float *shrink, uint32_t d, uint32_t n_vectors, uint32_t first, uint32_t end, float *out,
                        uint64_t stride);

// 16 * n_vectors elements from d on, of n_columns columns: constants as is the source.
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
    // In order of addresses, as prefetchers of processors like it.
    const uint32_t ahead_element = source == CACHED_Q8_0 ? 1 : 2, step = n_vectors * 16 * ahead_element;
    const size_t read = (size_t)KV_BLOCK_TOKENS * d * ahead_element + (size_t)first * step;
    uintptr_t ahead = (uintptr_t)values->next + read, far = (uintptr_t)values->far + read;
    __m512 sums[VALUE_COLUMNS][4];
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_vectors; i++)
            sums[c][i] = _mm512_mul_ps(_mm512_loadu_ps(out + c * stride + d + 16 * i), _mm512_set1_ps(shrink[c]));
    for (uint32_t t = first; t < end; t++, from += row, scales += 2 * groups, ahead += step, far += step) {
        for (uint32_t i = 0; i < step; i += 64) {
            _mm_prefetch((const char *)(ahead + i), _MM_HINT_T0);
            _mm_prefetch((const char *)(far + i), _MM_HINT_T1);
        }
        __m512 v[4];
        for (uint32_t i = 0; i < n_vectors; i++)
            v[i] = source == CONVERTED    ? _mm512_loadu_ps((const float *)(const void *)from + 16 * i)
                   : source == CACHED_F16 ? load_16_halves(from + 32 * i)
                                          : load_16_codes(from + 16 * i);
        if (source == CACHED_Q8_0) {
            for (uint32_t i = 0; i < n_vectors; i++)
                v[i] = _mm512_mul_ps(v[i], broadcast_half(scales + 2 * (i / 2)));
        }
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m512 weight = _mm512_set1_ps(weights[c][t]);
            for (uint32_t i = 0; i < n_vectors; i++)
                sums[c][i] = _mm512_fmadd_ps(weight, v[i], sums[c][i]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_vectors; i++)
            _mm512_storeu_ps(out + c * stride + d + 16 * i, sums[c][i]);
}

#define VALUE_TILE(source, n)                                                                                         \
    static __attribute__((noinline)) void value_##source##_##n(                                                       \
        const struct attention_part *values, const float(*weights)[KV_BLOCK_TOKENS], const float *shrink, uint32_t d, \
        uint32_t n_vectors, uint32_t first, uint32_t end, float *out, uint64_t stride)                                \
    {                                                                                                                 \
        if (n_vectors == 4)                                                                                           \
            value(values, weights, shrink, d, first, end, out, stride, source, 4, n);                                 \
        else                                                                                                          \
            value(values, weights, shrink, d, first, end, out, stride, source, 1, n);                                 \
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

static value_tile *const value_converted[VALUE_COLUMNS] = {FOUR(value_CONVERTED), value_CONVERTED_5, value_CONVERTED_6};
static value_tile *const value_f16[DIRECT_COLUMNS] = {FOUR(value_CACHED_F16)};
static value_tile *const value_q8_0[DIRECT_COLUMNS] = {FOUR(value_CACHED_Q8_0)};

ALWAYS_INLINE void all_values(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                              const float *shrink, uint32_t n_columns, uint32_t first, uint32_t end, float *out,
                              uint64_t stride, value_tile *const direct[DIRECT_COLUMNS])
{
    value_tile *const tile = values->tile != NULL ? value_converted[n_columns - 1] : direct[n_columns - 1];
    for (uint32_t d = 0, n; d < values->padded; d += 16 * n) {
        n = values->padded - d >= 64 ? 4 : 1;
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
    const __m512 a = *sum == 0.0f ? _mm512_setzero_ps() : exp_avx512(_mm512_set1_ps(*max - new_max));
    const __m512 b = exp_avx512(_mm512_set1_ps(from[padded] - new_max));
    for (uint32_t d = 0; d < padded; d += 16)
        _mm512_storeu_ps(into + d,
                         _mm512_fmadd_ps(_mm512_loadu_ps(from + d), b, _mm512_mul_ps(_mm512_loadu_ps(into + d), a)));
    *sum = *sum * _mm512_cvtss_f32(a) + from[padded + 1] * _mm512_cvtss_f32(b);
    *max = new_max;
}

void TIER(attention_merge)(float *partials, uint32_t n, uint32_t head_dim, float *out)
{
    const uint32_t stride = attention_partial_floats(head_dim), padded = stride - 16;
    for (uint32_t i = 1; i < n; i++)
        merge_two(partials, partials + (size_t)i * stride, padded);
    const __m512 divisor = _mm512_set1_ps(partials[padded + 1]);
    for (uint32_t d = 0; out != NULL && d < head_dim; d += 16)
        _mm512_mask_storeu_ps(out + d, first_lanes_16(head_dim - d),
                              _mm512_div_ps(_mm512_loadu_ps(partials + d), divisor));
}

// ----------------------------------------------------------------------------------------------------------------------

static const struct attention_steps steps[N_KV_TYPES] = {
    [KV_F16] = {DIRECT_COLUMNS, SCORE_COLUMNS, VALUE_COLUMNS, load_keys_f16, load_values_f16, scores_f16, soft_cap,
                softmax, values_f16},
    [KV_Q8_0] = {DIRECT_COLUMNS, SCORE_COLUMNS, VALUE_COLUMNS, load_keys_q8_0, load_values_q8_0, scores_q8_0, soft_cap,
                 softmax, values_q8_0},
};

void TIER(attention_f16)(const struct attention_args *args)
{
    attend(args, KV_F16, &steps[KV_F16], TIER(attention_merge));
}

void TIER(attention_q8_0)(const struct attention_args *args)
{
    attend(args, KV_Q8_0, &steps[KV_Q8_0], TIER(attention_merge));
}
