// Attention in tiles of columns: scores with 16 keys as the lanes of two registers, values with 8 elements each; up to 12 sums
// stay in registers.
#include "kernels/avx2/avx2.h"

#include "base/half.h"
#include "kernels/attention_blocks.h"

#define DIRECT_COLUMNS 4
#define SCORE_COLUMNS 6
#define VALUE_COLUMNS 6

// Where a tile reads keys and values.
enum source { CACHED_F16 = KV_F16, CACHED_Q8_0 = KV_Q8_0, CONVERTED };

ALWAYS_INLINE __m256 load_8_halves(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

ALWAYS_INLINE __m256 load_8_codes(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

// A half in all lanes.
ALWAYS_INLINE __m256 broadcast_half(const void *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)half));
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
    for (; d + 8 <= head_dim; d += 8) {
        uint16_t column[8];
        _mm_storeu_si128((__m128i *)(void *)(value_row + d),
                         _mm256_cvtps_ph(_mm256_loadu_ps(v + d), _MM_FROUND_TO_NEAREST_INT));
        _mm_storeu_si128((__m128i *)(void *)column, _mm256_cvtps_ph(_mm256_loadu_ps(k + d), _MM_FROUND_TO_NEAREST_INT));
        for (uint32_t i = 0; i < 8; i++)
            key[(size_t)(d + i) * KV_PANEL_KEYS] = column[i];
    }
    for (; d < head_dim; d++) {
        value_row[d] = half_from_float(v[d]);
        key[(size_t)d * KV_PANEL_KEYS] = half_from_float(k[d]);
    }
}

// Codes of one group of up to 32 elements; returns their scale.
ALWAYS_INLINE uint16_t quantize_group(const float *x, uint32_t n, int8_t codes[KV_SCALE_DIMS])
{
    __m256 vectors[4], most = _mm256_setzero_ps();
    for (uint32_t i = 0; i < 4; i++) {
        vectors[i] = n > 8 * i ? load_floats(x + 8 * i, n - 8 * i < 8 ? n - 8 * i : 8) : _mm256_setzero_ps();
        most = _mm256_max_ps(most, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), vectors[i]));
    }
    const uint16_t scale = half_from_float(max_of_lanes(most) / 127.0f);
    const float inverse = float_from_half(scale) == 0.0f ? 0.0f : 1.0f / float_from_half(scale);
    for (uint32_t i = 0; i < 4; i++) {
        const __m256 c =
            _mm256_min_ps(_mm256_set1_ps(127.0f),
                          _mm256_max_ps(_mm256_set1_ps(-127.0f), _mm256_mul_ps(vectors[i], _mm256_set1_ps(inverse))));
        const __m256i c32 = _mm256_cvtps_epi32(c);
        const __m128i c16 = _mm_packs_epi32(_mm256_castsi256_si128(c32), _mm256_extracti128_si256(c32, 1));
        _mm_storel_epi64((__m128i *)(void *)(codes + 8 * i), _mm_packs_epi16(c16, c16));
    }
    return scale;
}

void TIER(kv_store_q8_0)(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values)
{
    const uint32_t groups = kv_scale_groups(head_dim), panel = slot / KV_PANEL_KEYS, lane = slot % KV_PANEL_KEYS;
    int8_t *key = (int8_t *)keys + (size_t)panel * head_dim * KV_PANEL_KEYS + lane;
    int8_t *value_row = (int8_t *)values + (size_t)slot * head_dim;
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
        memcpy(value_row + d, codes, n);
    }
}

// ---- conversion of a block -------------------------------------------------------------------------------------------

static void load_keys_f16(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const size_t n = (size_t)head_dim * KV_PANEL_KEYS;
    for (size_t i = first * n; i < end * n; i += 8)
        _mm256_store_ps(tile + i, load_8_halves((const uint16_t *)keys + i));
}

static void load_keys_q8_0(const void *keys, uint32_t head_dim, uint32_t first, uint32_t end, float *tile)
{
    const uint32_t groups = kv_scale_groups(head_dim);
    for (uint32_t panel = first; panel < end; panel++)
        for (uint32_t g = 0; g < groups; g++) {
            const uint8_t *scales = scales_of(keys, head_dim) + ((size_t)panel * groups + g) * 2 * KV_PANEL_KEYS;
            const __m256 scale0 = load_8_halves(scales), scale1 = load_8_halves(scales + 16);
            const uint32_t stop = (g + 1) * KV_SCALE_DIMS < head_dim ? (g + 1) * KV_SCALE_DIMS : head_dim;
            for (uint32_t d = g * KV_SCALE_DIMS; d < stop; d++) {
                const size_t at = ((size_t)panel * head_dim + d) * KV_PANEL_KEYS;
                _mm256_store_ps(tile + at, _mm256_mul_ps(load_8_codes((const int8_t *)keys + at), scale0));
                _mm256_store_ps(tile + at + 8, _mm256_mul_ps(load_8_codes((const int8_t *)keys + at + 8), scale1));
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
        for (; d + 8 <= head_dim; d += 8)
            _mm256_store_ps(to + d, load_8_halves(from + d));
        for (; d < padded; d++)
            to[d] = d < head_dim ? load_half((const uint8_t *)(from + d)) : 0.0f;
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
        for (; d + 8 <= head_dim; d += 8)
            _mm256_store_ps(to + d,
                            _mm256_mul_ps(load_8_codes(from + d), broadcast_half(scales + 2 * (d / KV_SCALE_DIMS))));
        for (; d < padded; d++)
            to[d] = d < head_dim ? (float)from[d] * load_half(scales + 2 * (d / KV_SCALE_DIMS)) : 0.0f;
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
    const uint32_t n_vectors = 2 * n_panels;
    __m256 sums[SCORE_COLUMNS][8], factor[8];
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_vectors; i++)
            sums[c][i] = _mm256_setzero_ps();
    for (uint32_t begin = 0; begin < head_dim; begin += KV_SCALE_DIMS) {
        const uint32_t end = head_dim - begin < KV_SCALE_DIMS ? head_dim : begin + KV_SCALE_DIMS;
        for (uint32_t i = 0; source == CACHED_Q8_0 && i < n_vectors; i++)
            factor[i] = load_8_halves(scales + ((size_t)(i / 2) * groups + begin / KV_SCALE_DIMS) * 2 * KV_PANEL_KEYS +
                                      16 * (i % 2));
        for (uint32_t d = begin; d < end;
             d++, from += KV_PANEL_KEYS * element, q += n_columns, ahead += step, far += step) {
            for (uint32_t i = 0; i < step; i += 64) {
                _mm_prefetch((const char *)(ahead + i), _MM_HINT_T0);
                _mm_prefetch((const char *)(far + i), _MM_HINT_T1);
            }
            __m256 k[8];
            for (uint32_t i = 0; i < n_vectors; i++) {
                const uint8_t *at = from + i / 2 * panel_bytes + i % 2 * 8 * element;
                k[i] = source == CONVERTED    ? _mm256_load_ps((const float *)(const void *)at)
                       : source == CACHED_F16 ? load_8_halves(at)
                                              : _mm256_mul_ps(load_8_codes(at), factor[i]);
            }
            for (uint32_t c = 0; c < n_columns; c++) {
                const __m256 qd = _mm256_set1_ps(q[c]);
                for (uint32_t i = 0; i < n_vectors; i++)
                    sums[c][i] = _mm256_fmadd_ps(qd, k[i], sums[c][i]);
            }
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_vectors; i++)
            _mm256_storeu_ps(&scores[c][KV_PANEL_KEYS * panel + 8 * i],
                             _mm256_mul_ps(sums[c][i], _mm256_set1_ps(scale)));
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
    SCORE_TILE(source, 1, 3) SCORE_TILE(source, 1, 4) SCORE_TILE(source, 4, 1) SCORE_TILE(source, 2, 2)
SCORE_TILES(CONVERTED)
SCORE_TILES(CACHED_F16)
SCORE_TILES(CACHED_Q8_0)
SCORE_TILE(CONVERTED, 1, 5)
SCORE_TILE(CONVERTED, 1, 6)

#define ONE_PANEL(source) score_##source##_1_1, score_##source##_1_2, score_##source##_1_3, score_##source##_1_4
#define SOME_PANELS(source) score_##source##_4_1, score_##source##_2_2, score_##source##_1_3, score_##source##_1_4
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
    const uint32_t n_some = n_columns == 1 ? 4 : n_columns == 2 ? 2 : 1;
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

// All ones in the lanes of slots i..i+7 that are visible.
ALWAYS_INLINE __m256 visible_lanes(int i, uint32_t low, uint32_t high)
{
    const __m256i slot = _mm256_add_epi32(_mm256_set1_epi32(i), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i from = _mm256_cmpgt_epi32(slot, _mm256_set1_epi32((int)low - 1));
    return _mm256_castsi256_ps(_mm256_and_si256(from, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)high), slot)));
}

static void soft_cap(float *scores_of_block, float cap)
{
    const __m256 one = _mm256_set1_ps(1.0f), two = _mm256_set1_ps(2.0f), by = _mm256_set1_ps(cap),
                 slope = _mm256_set1_ps(2.0f / cap);
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 8) {
        const __m256 e = exp_avx2(_mm256_mul_ps(_mm256_loadu_ps(scores_of_block + i), slope));
        _mm256_storeu_ps(scores_of_block + i,
                         _mm256_mul_ps(by, _mm256_sub_ps(one, _mm256_div_ps(two, _mm256_add_ps(one, e)))));
    }
}

static float softmax(float *scores_of_block, uint32_t low, uint32_t high, float *max, float *sum)
{
    __m256 m = _mm256_set1_ps(*max);
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 8)
        m = _mm256_max_ps(_mm256_blendv_ps(m, _mm256_loadu_ps(scores_of_block + i), visible_lanes(i, low, high)), m);
    const float new_max = max_of_lanes(m);
    m = _mm256_set1_ps(new_max);
    __m256 total = _mm256_setzero_ps();
    for (int i = 0; i < KV_BLOCK_TOKENS; i += 8) {
        const __m256 e = exp_avx2(_mm256_sub_ps(_mm256_loadu_ps(scores_of_block + i), m));
        const __m256 visible_e = _mm256_and_ps(e, visible_lanes(i, low, high));
        _mm256_storeu_ps(scores_of_block + i, visible_e);
        total = _mm256_add_ps(total, visible_e);
    }
    const float shrink = new_max > *max ? _mm256_cvtss_f32(exp_avx2(_mm256_set1_ps(*max - new_max))) : 1.0f;
    *sum = *sum * shrink + sum_of_lanes(total);
    *max = new_max;
    return shrink;
}

// ---- values ----------------------------------------------------------------------------------------------------------

typedef void value_tile(const struct attention_part *values, const float (*weights)[KV_BLOCK_TOKENS],
                        const float *shrink, uint32_t d, uint32_t n_vectors, uint32_t first, uint32_t end, float *out,
                        uint64_t stride);

// 8 * n_vectors elements from d on, of n_columns columns: constants as is the source.
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
    const uint32_t ahead_element = source == CACHED_Q8_0 ? 1 : 2, step = n_vectors * 8 * ahead_element;
    const size_t read = (size_t)KV_BLOCK_TOKENS * d * ahead_element + (size_t)first * step;
    uintptr_t ahead = (uintptr_t)values->next + read, far = (uintptr_t)values->far + read;
    __m256 sums[VALUE_COLUMNS][8];
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_vectors; i++)
            sums[c][i] = _mm256_mul_ps(_mm256_loadu_ps(out + c * stride + d + 8 * i), _mm256_set1_ps(shrink[c]));
    for (uint32_t t = first; t < end; t++, from += row, scales += 2 * groups, ahead += step, far += step) {
        for (uint32_t i = 0; i < step; i += 64) {
            _mm_prefetch((const char *)(ahead + i), _MM_HINT_T0);
            _mm_prefetch((const char *)(far + i), _MM_HINT_T1);
        }
        __m256 v[8];
        for (uint32_t i = 0; i < n_vectors; i++)
            v[i] = source == CONVERTED    ? _mm256_load_ps((const float *)(const void *)from + 8 * i)
                   : source == CACHED_F16 ? load_8_halves(from + 16 * i)
                                          : load_8_codes(from + 8 * i);
        for (uint32_t i = 0; source == CACHED_Q8_0 && i < n_vectors; i++)
            v[i] = _mm256_mul_ps(v[i], broadcast_half(scales + 2 * (i / 4)));
        for (uint32_t c = 0; c < n_columns; c++) {
            const __m256 weight = _mm256_set1_ps(weights[c][t]);
            for (uint32_t i = 0; i < n_vectors; i++)
                sums[c][i] = _mm256_fmadd_ps(weight, v[i], sums[c][i]);
        }
    }
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_vectors; i++)
            _mm256_storeu_ps(out + c * stride + d + 8 * i, sums[c][i]);
}

#define MOST_VECTORS(n) ((n) == 1 ? 8 : (n) == 2 ? 4 : 2)
#define VALUE_TILE(source, n)                                                                                         \
    static __attribute__((noinline)) void value_##source##_##n(                                                       \
        const struct attention_part *values, const float(*weights)[KV_BLOCK_TOKENS], const float *shrink, uint32_t d, \
        uint32_t n_vectors, uint32_t first, uint32_t end, float *out, uint64_t stride)                                \
    {                                                                                                                 \
        if (n_vectors == MOST_VECTORS(n))                                                                             \
            value(values, weights, shrink, d, first, end, out, stride, source, MOST_VECTORS(n), n);                   \
        else                                                                                                          \
            value(values, weights, shrink, d, first, end, out, stride, source, 2, n);                                 \
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
    for (uint32_t d = 0, n; d < values->padded; d += 8 * n) {
        n = MOST_VECTORS(n_columns);
        if (values->padded - d < 8 * n)
            n = 2;
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
    const __m256 a = *sum == 0.0f ? _mm256_setzero_ps() : exp_avx2(_mm256_set1_ps(*max - new_max));
    const __m256 b = exp_avx2(_mm256_set1_ps(from[padded] - new_max));
    for (uint32_t d = 0; d < padded; d += 8)
        _mm256_storeu_ps(into + d,
                         _mm256_fmadd_ps(_mm256_loadu_ps(from + d), b, _mm256_mul_ps(_mm256_loadu_ps(into + d), a)));
    *sum = *sum * _mm256_cvtss_f32(a) + from[padded + 1] * _mm256_cvtss_f32(b);
    *max = new_max;
}

void TIER(attention_merge)(float *partials, uint32_t n, uint32_t head_dim, float *out)
{
    const uint32_t stride = attention_partial_floats(head_dim), padded = stride - 16;
    for (uint32_t i = 1; i < n; i++)
        merge_two(partials, partials + (size_t)i * stride, padded);
    if (out == NULL)
        return;
    const __m256 divisor = _mm256_set1_ps(partials[padded + 1]);
    uint32_t d = 0;
    for (; d + 8 <= head_dim; d += 8)
        _mm256_storeu_ps(out + d, _mm256_div_ps(_mm256_loadu_ps(partials + d), divisor));
    for (; d < head_dim; d++)
        out[d] = partials[d] / partials[padded + 1];
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
