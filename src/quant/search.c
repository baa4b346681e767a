// Method, for both families: each sub-block alone first, with real-valued scales. Several starting scales are tried;
// each start rounds the values to codes and solves the least squares problem that the codes leave, whose solution is
// the best scale (and min) for these codes; with mins, twice. Then the super-block: its half scales d (and dmin) are
// put where the largest sub-block needs them, each sub-block takes the best of the small integer scales next to its
// real-valued one, d and dmin are solved for again by least squares over all 256 values, and so on for some rounds;
// the best round is kept. Every error is that of values as they will be dequantized, with the halves rounded.
#include "quant/search.h"

#include "base/half.h"
#include "quant/codes.h"
#include "quant/lanes.h"

#include <math.h>
#include <string.h>

#define N_ROUNDS 3
#define MOST_LANES 8 // of a sub-block

// Where each caller's constants make a faster copy.
#define SEARCH_INLINE static inline __attribute__((always_inline))

// Of a block's largest importance (as a power of two): what a column counts that no input ever used, so that its values still
// choose between fits that are equal to all others.
#define LEAST_IMPORTANCE 0x1p-20

// One sub-block: its values, their weights, and the weighted sums that no code takes part in.
struct sub_block {
    int n_lanes; // vectors of four values
    f32x4 x[MOST_LANES], w[MOST_LANES], wx[MOST_LANES];
    double sum_w, sum_wx, sum_wxx;
};

// The weighted sums that the codes q take part in; from all six follows the error of any scale and min.
struct sums {
    double wq, wqq, wxq;
};

static double magnitude(double x)
{
    return x < 0.0 ? -x : x;
}

SEARCH_INLINE void sub_block_init(struct sub_block *b, const float *x, double unit, int n)
{
    double mean = 0.0;
    b->n_lanes = n / 4;
    b->sum_w = b->sum_wx = b->sum_wxx = 0.0;
    for (int i = 0; i < n; i++)
        mean += magnitude((double)x[i]) * unit;
    mean /= n;
    for (int v = 0; v < b->n_lanes; v++) {
        for (int i = 0; i < 4; i++) {
            const float value = (float)((double)x[4 * v + i] * unit);
            const float weight = (float)(magnitude((double)value) + mean);
            b->x[v][i] = value;
            b->w[v][i] = weight;
            b->wx[v][i] = weight * value;
            b->sum_w += (double)weight;
            b->sum_wx += (double)(weight * value);
            b->sum_wxx += (double)(weight * value) * (double)value;
        }
    }
}

// The same with given weights, of x - shift. Out of the way of those who have none.
__attribute__((noinline)) static void sub_block_init_weighted(struct sub_block *b, const float *x, double shift,
                                                              const float *weights, double unit, int n)
{
    b->n_lanes = n / 4;
    b->sum_w = b->sum_wx = b->sum_wxx = 0.0;
    for (int i = 0; i < n; i++) {
        const float value = (float)(((double)x[i] - shift) * unit);
        b->x[i / 4][i % 4] = value;
        b->w[i / 4][i % 4] = weights[i];
        b->wx[i / 4][i % 4] = weights[i] * value;
        b->sum_w += (double)weights[i];
        b->sum_wx += (double)(weights[i] * value);
        b->sum_wxx += (double)(weights[i] * value) * (double)value;
    }
}

// The power of two that brings the largest of the values into [1, 2), so that no product of a few of them leaves the range of
// floats; 0: all are 0.
static double unit_of(const float *x, int n)
{
    float largest = 0.0f;
    for (int i = 0; i < n; i++)
        largest = magnitude((double)x[i]) > (double)largest ? (float)magnitude((double)x[i]) : largest;
    return largest > 0.0f ? ldexp(1.0, -ilogb((double)largest)) : 0.0;
}

void search_weights(const float *x, const float *importance, int n, float *weights)
{
    const double unit = unit_of(x, n), importance_unit = unit_of(importance, n);
    double mean = 0.0;
    for (int i = 0; i < n; i++)
        mean += (double)x[i] * unit * ((double)x[i] * unit);
    mean /= n;
    for (int i = 0; i < n; i++) {
        const double value = (double)x[i] * unit, scaled = (double)importance[i] * importance_unit;
        const double share = importance_unit == 0.0 ? 1.0 : scaled > LEAST_IMPORTANCE ? scaled : LEAST_IMPORTANCE;
        weights[i] = (float)(share * sqrt(mean + value * value));
    }
}

// The half nearest to d, but no infinity.
static uint16_t nearest_half(double d)
{
    if (magnitude(d) >= 65504.0)
        return d < 0.0 ? 0xfbff : 0x7bff;
    return half_from_float((float)d);
}

// The same, but, for d != 0, no zero.
static uint16_t usable_half(double d)
{
    const uint16_t half = nearest_half(d);
    return d != 0.0 && (half & 0x7fff) == 0 ? half | 1 : half;
}

// The nearest integer (halves up) of a number that is no NaN, cut to low..high, without a branch that data would
// decide.
static int round_to_range(double x, int low, int high)
{
    x = x < low ? low : x;
    x = x > high ? high : x;
    return (int)(x - low + 0.5) + low;
}

// The codes low..high nearest to (x + min) / scale, four values at once; `inverse` is 1 / scale, 0 for no scale.
static inline f32x4 nearest_codes(f32x4 x, float min, float inverse, float low, float high)
{
    const f32x4 steps = lanes_clamp((x + min) * inverse, lanes_of(low), lanes_of(high));
    return lanes_truncate(steps - low + 0.5f) + low;
}

// A scale whose reciprocal a float can't have is as good as none.
static float inverse_of(double scale)
{
    return magnitude(scale) >= 0x1p-126 ? (float)(1.0 / scale) : 0.0f;
}

// The sums of the best codes for a scale and a min.
static struct sums sums_of_codes(const struct sub_block *b, double scale, double min, float low, float high)
{
    const float inverse = inverse_of(scale);
    f32x4 wq = lanes_of(0.0f), wqq = wq, wxq = wq;
    for (int v = 0; v < b->n_lanes; v++) {
        const f32x4 q = nearest_codes(b->x[v], (float)min, inverse, low, high);
        const f32x4 weighted = b->w[v] * q;
        wq += weighted;
        wqq += weighted * q;
        wxq += b->wx[v] * q;
    }
    return (struct sums){(double)lanes_sum(wq), (double)lanes_sum(wqq), (double)lanes_sum(wxq)};
}

// The codes themselves, less `low`.
static void write_codes(const struct sub_block *b, double scale, double min, float low, float high, uint8_t *q)
{
    const float inverse = inverse_of(scale);
    for (int v = 0; v < b->n_lanes; v++) {
        const f32x4 codes = nearest_codes(b->x[v], (float)min, inverse, low, high) - low;
        for (int i = 0; i < 4; i++)
            q[4 * v + i] = (uint8_t)codes[i];
    }
}

// --------------------------------------------------------------------------------------------------- x = scale q - min

static double affine_error(const struct sub_block *b, const struct sums *s, double scale, double min)
{
    return b->sum_wxx - 2.0 * (scale * s->wxq - min * b->sum_wx) + scale * scale * s->wqq - 2.0 * scale * min * s->wq +
           min * min * b->sum_w;
}

// The best scale and min (>= 0) for the codes behind the sums; false when the codes determine none.
static bool affine_solve(const struct sub_block *b, const struct sums *s, double *scale, double *min)
{
    const double determinant = b->sum_w * s->wqq - s->wq * s->wq;
    if (!(determinant > 0.0))
        return false;
    *scale = (b->sum_w * s->wxq - b->sum_wx * s->wq) / determinant;
    *min = (*scale * s->wq - b->sum_wx) / b->sum_w;
    if (*min < 0.0) {
        *min = 0.0;
        *scale = s->wxq / s->wqq;
    }
    return *scale > 0.0;
}

// The real-valued scale and min of one sub-block.
SEARCH_INLINE void affine_fit_sub_block(const struct sub_block *b, int q_max, double *best_scale, double *best_min)
{
    f32x4 lows = lanes_of(0.0f), highs = b->x[0];
    for (int v = 0; v < b->n_lanes; v++) {
        lows = lanes_clamp(b->x[v], lanes_of(-2.0f), lows);
        highs = lanes_clamp(b->x[v], highs, lanes_of(2.0f));
    }
    double low = 0.0, high = (double)highs[0];
    for (int i = 0; i < 4; i++) {
        low = (double)lows[i] < low ? (double)lows[i] : low;
        high = (double)highs[i] > high ? (double)highs[i] : high;
    }
    *best_scale = high > low ? (high - low) / q_max : 0.0;
    *best_min = -low;
    if (*best_scale == 0.0)
        return;
    struct sums s = sums_of_codes(b, *best_scale, *best_min, 0.0f, (float)q_max);
    double best_error = affine_error(b, &s, *best_scale, *best_min);
    // From codes that leave a quarter of the range unused to codes that clip at both ends.
    for (int step = -5; step <= 5; step++) {
        double scale = (high - low) / (q_max + 0.2 * step);
        double min = -low;
        for (int pass = 0; pass < 2; pass++) {
            s = sums_of_codes(b, scale, min, 0.0f, (float)q_max);
            if (!affine_solve(b, &s, &scale, &min))
                break;
            const double error = affine_error(b, &s, scale, min);
            if (error < best_error) {
                best_error = error;
                *best_scale = scale;
                *best_min = min;
            }
        }
    }
}

// A half as it multiplies values that were brought to `unit`.
static double unit_from_half(uint16_t half, double unit)
{
    return (double)float_from_half(half) * unit;
}

// What the codes and levels of a whole super-block say of the best d and dmin: sums over its values of
// a = level of the scale * q and b = level of the min.
struct affine_normal {
    double error, aa, ab, bb, ax, bx;
};

// Takes the best of the levels near a sub-block's real-valued scale and min, and adds them to the sums.
static void affine_choose_levels(const struct sub_block *b, const double scale, const double min, double d, double dmin,
                                 int q_max, int level_max, uint8_t *scale_level, uint8_t *min_level,
                                 struct affine_normal *normal)
{
    const int scale_near = d > 0.0 ? round_to_range(scale / d, 0, level_max) : 0;
    const int min_near = dmin > 0.0 ? round_to_range(min / dmin, 0, level_max) : 0;
    struct sums best = {0};
    double best_error = -1.0, l = 0.0, m = 0.0;
    for (int i = scale_near - 1; i <= scale_near + 1; i++) {
        for (int j = min_near - 1; j <= min_near + 1; j++) {
            if (i < 0 || j < 0 || i > level_max || j > level_max)
                continue;
            const struct sums sums = sums_of_codes(b, d * i, dmin * j, 0.0f, (float)q_max);
            const double error = affine_error(b, &sums, d * i, dmin * j);
            if (best_error < 0.0 || error < best_error) {
                best_error = error < 0.0 ? 0.0 : error;
                best = sums;
                l = i;
                m = j;
            }
        }
    }
    *scale_level = (uint8_t)l;
    *min_level = (uint8_t)m;
    normal->error += best_error;
    normal->aa += l * l * best.wqq;
    normal->ab += l * m * best.wq;
    normal->bb += m * m * b->sum_w;
    normal->ax += l * best.wxq;
    normal->bx += m * b->sum_wx;
}

void search_affine(const float x[256], const float *importance, int sub_length, int q_max, int level_max,
                   struct affine_fit *fit)
{
    const int n_sub = 256 / sub_length;
    float weights[256];
    struct sub_block blocks[16];
    double scale[16], min[16], d = 0.0, dmin = 0.0, best_error = -1.0;
    memset(fit, 0, sizeof *fit);
    if (!all_finite(x, 256)) {
        fit->d = HALF_NAN;
        return;
    }
    const double unit = unit_of(x, 256);
    if (unit == 0.0)
        return;
    if (importance != NULL)
        search_weights(x, importance, 256, weights);
    for (int s = 0; s < n_sub; s++) {
        if (importance == NULL)
            sub_block_init(&blocks[s], x + s * sub_length, unit, sub_length);
        else
            sub_block_init_weighted(&blocks[s], x + s * sub_length, 0.0, weights + s * sub_length, unit, sub_length);
        affine_fit_sub_block(&blocks[s], q_max, &scale[s], &min[s]);
        d = scale[s] > d ? scale[s] : d;
        dmin = min[s] > dmin ? min[s] : dmin;
    }
    d /= level_max;
    dmin /= level_max;
    for (int round = 0; round < N_ROUNDS; round++) {
        struct affine_fit trial = {.d = usable_half(d / unit), .dmin = usable_half(dmin / unit)};
        struct affine_normal n = {0};
        d = unit_from_half(trial.d, unit);
        dmin = unit_from_half(trial.dmin, unit);
        for (int s = 0; s < n_sub; s++)
            affine_choose_levels(&blocks[s], scale[s], min[s], d, dmin, q_max, level_max, &trial.scales[s],
                                 &trial.mins[s], &n);
        if (best_error < 0.0 || n.error < best_error) {
            best_error = n.error;
            *fit = trial;
        }
        const double determinant = n.aa * n.bb - n.ab * n.ab;
        if (determinant > 0.0) {
            d = (n.ax * n.bb - n.bx * n.ab) / determinant;
            dmin = (n.ax * n.ab - n.bx * n.aa) / determinant;
        }
        if (!(determinant > 0.0) || dmin < 0.0) {
            d = n.aa > 0.0 ? n.ax / n.aa : 0.0;
            dmin = 0.0;
        }
        if (!(d > 0.0))
            break;
    }
    for (int s = 0; s < n_sub; s++)
        write_codes(&blocks[s], unit_from_half(fit->d, unit) * fit->scales[s],
                    unit_from_half(fit->dmin, unit) * fit->mins[s], 0.0f, (float)q_max, fit->q + s * sub_length);
}

// --------------------------------------------------------------------------------------------------------- x = scale q

static double symmetric_error(const struct sub_block *b, const struct sums *s, double scale)
{
    return b->sum_wxx - 2.0 * scale * s->wxq + scale * scale * s->wqq;
}

static struct sums sums_of_signed_codes(const struct sub_block *b, double scale, int q_limit)
{
    return sums_of_codes(b, scale, 0.0, (float)-q_limit, (float)(q_limit - 1));
}

SEARCH_INLINE double symmetric_fit_sub_block(const struct sub_block *b, int q_limit)
{
    double absmax = 0.0;
    for (int v = 0; v < b->n_lanes; v++)
        for (int i = 0; i < 4; i++)
            absmax = magnitude((double)b->x[v][i]) > absmax ? magnitude((double)b->x[v][i]) : absmax;
    if (absmax == 0.0)
        return 0.0;
    double best_scale = 0.0;
    double best_error = -1.0;
    // Both signs, since there is one code more below zero than above.
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int step = -6; step <= 4; step++) {
            const struct sums s = sums_of_signed_codes(b, sign * absmax / (q_limit + 0.2 * step), q_limit);
            if (!(s.wqq > 0.0))
                continue;
            const double scale = s.wxq / s.wqq;
            const double error = symmetric_error(b, &s, scale);
            if (best_error < 0.0 || error < best_error) {
                best_error = error < 0.0 ? 0.0 : error;
                best_scale = scale;
            }
        }
    }
    return best_scale;
}

// Takes the best of the levels near a sub-block's real-valued scale, and adds to the sums over a = level * q.
static int8_t symmetric_choose_level(const struct sub_block *b, double scale, double d, int q_limit, int level_limit,
                                     double *error_sum, double *aa, double *ax)
{
    const int near = round_to_range(scale / d, -level_limit, level_limit - 1);
    struct sums best = {0};
    double best_error = -1.0;
    int level = 0;
    for (int l = near - 1; l <= near + 1; l++) {
        if (l < -level_limit || l >= level_limit)
            continue;
        const struct sums sums = sums_of_signed_codes(b, d * l, q_limit);
        const double error = symmetric_error(b, &sums, d * l);
        if (best_error < 0.0 || error < best_error) {
            best_error = error < 0.0 ? 0.0 : error;
            best = sums;
            level = l;
        }
    }
    *error_sum += best_error;
    *aa += (double)level * level * best.wqq;
    *ax += level * best.wxq;
    return (int8_t)level;
}

void search_symmetric(const float x[256], const float *importance, int q_limit, int level_limit,
                      struct symmetric_fit *fit)
{
    float weights[256];
    struct sub_block blocks[16];
    double scale[16], largest = 0.0, best_error = -1.0;
    memset(fit, 0, sizeof *fit);
    if (!all_finite(x, 256)) {
        fit->d = HALF_NAN;
        return;
    }
    const double unit = unit_of(x, 256);
    if (unit == 0.0)
        return;
    if (importance != NULL)
        search_weights(x, importance, 256, weights);
    for (int s = 0; s < 16; s++) {
        if (importance == NULL)
            sub_block_init(&blocks[s], x + 16 * s, unit, 16);
        else
            sub_block_init_weighted(&blocks[s], x + 16 * s, 0.0, weights + 16 * s, unit, 16);
        scale[s] = symmetric_fit_sub_block(&blocks[s], q_limit);
        largest = magnitude(scale[s]) > magnitude(largest) ? scale[s] : largest;
    }
    double d = largest / -level_limit;
    for (int round = 0; round < N_ROUNDS; round++) {
        struct symmetric_fit trial = {.d = usable_half(d / unit)};
        double error = 0.0, aa = 0.0, ax = 0.0;
        d = unit_from_half(trial.d, unit);
        for (int s = 0; s < 16; s++)
            trial.scales[s] = symmetric_choose_level(&blocks[s], scale[s], d, q_limit, level_limit, &error, &aa, &ax);
        if (best_error < 0.0 || error < best_error) {
            best_error = error;
            *fit = trial;
        }
        if (!(aa > 0.0) || ax == 0.0)
            break;
        d = ax / aa;
    }
    for (int s = 0; s < 16; s++) {
        uint8_t codes[4 * MOST_LANES];
        write_codes(&blocks[s], unit_from_half(fit->d, unit) * fit->scales[s], 0.0, (float)-q_limit,
                    (float)(q_limit - 1), codes);
        for (int i = 0; i < 16; i++)
            fit->q[16 * s + i] = (int8_t)(codes[i] - q_limit);
    }
}

// --------------------------------------------------------------------------------------------------------- blocks of 32

void search_symmetric_32(const float x[32], const float importance[32], int q_limit, struct fit_32 *fit)
{
    struct sub_block b;
    float weights[32];
    memset(fit, 0, sizeof *fit);
    if (!all_finite(x, 32)) {
        fit->d = HALF_NAN;
        return;
    }
    memset(fit->q, q_limit, sizeof fit->q);
    const double unit = unit_of(x, 32);
    if (unit == 0.0)
        return;
    search_weights(x, importance, 32, weights);
    sub_block_init_weighted(&b, x, 0.0, weights, unit, 32);
    fit->d = usable_half(symmetric_fit_sub_block(&b, q_limit) / unit);
    write_codes(&b, unit_from_half(fit->d, unit), 0.0, (float)-q_limit, (float)(q_limit - 1), fit->q);
}

void search_affine_32(const float x[32], const float importance[32], int q_max, struct fit_32 *fit)
{
    struct sub_block b, below;
    float weights[32];
    double highest = (double)x[0], scale, min;
    memset(fit, 0, sizeof *fit);
    if (!all_finite(x, 32)) {
        fit->d = HALF_NAN;
        return;
    }
    const double unit = unit_of(x, 32) / 2; // differences stay below 2
    if (unit == 0.0)
        return;
    for (int i = 1; i < 32; i++)
        highest = (double)x[i] > highest ? (double)x[i] : highest;
    search_weights(x, importance, 32, weights);
    sub_block_init_weighted(&b, x, 0.0, weights, unit, 32);
    // Below their largest, all values are at most 0, where any min is one that affine_solve may give.
    sub_block_init_weighted(&below, x, highest, weights, unit, 32);
    affine_fit_sub_block(&below, q_max, &scale, &min);
    fit->d = scale != 0.0 ? usable_half(scale / unit) : 0;
    fit->m = nearest_half(highest - min / unit);
    write_codes(&b, unit_from_half(fit->d, unit), -unit_from_half(fit->m, unit), 0.0f, (float)q_max, fit->q);
}
