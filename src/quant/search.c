// Method, for both families: each sub-block alone first, with real-valued scales. Several starting scales are tried;
// each start rounds the values to codes and solves the least squares problem that the codes leave, whose solution is
// the best scale (and min) for these codes; with mins, twice. Then the super-block: its half scales d (and dmin) are
// put where the largest sub-block needs them, each sub-block takes the best of the small integer scales next to its
// real-valued one, d and dmin are solved for again by least squares over all 256 values, and so on for some rounds;
// the best round is kept. Every error is that of values as they will be dequantized, with the halves rounded.
#include "quant/search.h"

#include "base/half.h"
#include "quant/codes.h"

#include <string.h>

#define N_ROUNDS 3

// Weighted sums over the values x and codes q of a sub-block, from which the error of any scale and min follows.
struct sums {
    double w, wx, wxx, wq, wqq, wxq;
};

static double magnitude(double x)
{
    return x < 0.0 ? -x : x;
}

static void set_weights(const double *x, int n, double *weight)
{
    double mean = 0.0;
    for (int i = 0; i < n; i++)
        mean += magnitude(x[i]);
    mean /= n;
    for (int i = 0; i < n; i++)
        weight[i] = magnitude(x[i]) + mean;
}

// The half nearest to d, but neither infinity nor, for d != 0, zero.
static uint16_t usable_half(double d)
{
    const uint16_t sign = d < 0.0 ? 0x8000 : 0;
    if (d == 0.0)
        return 0;
    if (magnitude(d) >= 65504.0)
        return sign | 0x7bff;
    const uint16_t half = half_from_float((float)d);
    return half == sign ? sign | 1 : half;
}

// The nearest integer (halves up) of a number that is no NaN, cut to low..high, without a branch that data would
// decide.
static int round_to_range(double x, int low, int high)
{
    x = x < low ? low : x;
    x = x > high ? high : x;
    return (int)(x - low + 0.5) + low;
}

// --------------------------------------------------------------------------------------------------- x = scale q - min

static double affine_error(const struct sums *s, double scale, double min)
{
    return s->wxx - 2.0 * (scale * s->wxq - min * s->wx) + scale * scale * s->wqq - 2.0 * scale * min * s->wq +
           min * min * s->w;
}

// The best codes for a scale and a min, and their sums. q may be NULL.
static void affine_codes(const double *x, const double *weight, int n, int q_max, double scale, double min,
                         struct sums *s, uint8_t *q)
{
    *s = (struct sums){0};
    const double inverse = scale > 0.0 ? 1.0 / scale : 0.0;
    for (int i = 0; i < n; i++) {
        const int code = round_to_range((x[i] + min) * inverse, 0, q_max);
        const double wq = weight[i] * code;
        const double wx = weight[i] * x[i];
        s->w += weight[i];
        s->wx += wx;
        s->wxx += wx * x[i];
        s->wq += wq;
        s->wqq += wq * code;
        s->wxq += wq * x[i];
        if (q != NULL)
            q[i] = (uint8_t)code;
    }
}

// The best scale and min (>= 0) for the codes behind the sums; false when the codes determine none.
static bool affine_solve(const struct sums *s, double *scale, double *min)
{
    const double determinant = s->w * s->wqq - s->wq * s->wq;
    if (!(determinant > 0.0))
        return false;
    *scale = (s->w * s->wxq - s->wx * s->wq) / determinant;
    *min = (*scale * s->wq - s->wx) / s->w;
    if (*min < 0.0) {
        *min = 0.0;
        *scale = s->wxq / s->wqq;
    }
    return *scale > 0.0;
}

// The real-valued scale and min of one sub-block.
static void affine_fit_sub_block(const double *x, const double *weight, int n, int q_max, double *best_scale,
                                 double *best_min)
{
    double low = x[0];
    double high = x[0];
    for (int i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    low = low > 0.0 ? 0.0 : low;
    *best_scale = high > low ? (high - low) / q_max : 0.0;
    *best_min = -low;
    struct sums s;
    affine_codes(x, weight, n, q_max, *best_scale, *best_min, &s, NULL);
    double best_error = affine_error(&s, *best_scale, *best_min);
    if (*best_scale == 0.0)
        return;
    // From codes that leave a quarter of the range unused to codes that clip at both ends.
    for (int step = -5; step <= 5; step++) {
        double scale = (high - low) / (q_max + 0.2 * step);
        double min = -low;
        for (int pass = 0; pass < 2; pass++) {
            affine_codes(x, weight, n, q_max, scale, min, &s, NULL);
            if (!affine_solve(&s, &scale, &min))
                break;
            const double error = affine_error(&s, scale, min);
            if (error < best_error) {
                best_error = error;
                *best_scale = scale;
                *best_min = min;
            }
        }
    }
}

void search_affine(const float x_in[256], int sub_length, int q_max, int level_max, struct affine_fit *fit)
{
    const int n_sub = 256 / sub_length;
    memset(fit, 0, sizeof *fit);
    if (!all_finite(x_in, 256)) {
        fit->d = HALF_NAN;
        return;
    }
    double x[256];
    double weight[256];
    double scale[16];
    double min[16];
    double d = 0.0;
    double dmin = 0.0;
    for (int i = 0; i < 256; i++)
        x[i] = x_in[i];
    for (int s = 0; s < n_sub; s++) {
        const int at = s * sub_length;
        set_weights(x + at, sub_length, weight + at);
        affine_fit_sub_block(x + at, weight + at, sub_length, q_max, &scale[s], &min[s]);
        d = scale[s] > d ? scale[s] : d;
        dmin = min[s] > dmin ? min[s] : dmin;
    }
    if (d == 0.0 && dmin == 0.0)
        return;
    d /= level_max;
    dmin /= level_max;

    double best_total = -1.0;
    for (int round = 0; round < N_ROUNDS; round++) {
        struct affine_fit trial = {.d = usable_half(d), .dmin = usable_half(dmin)};
        d = float_from_half(trial.d);
        dmin = float_from_half(trial.dmin);
        double total = 0.0;
        double aa = 0.0, ab = 0.0, bb = 0.0, ax = 0.0, bx = 0.0; // a = level of scale * q, b = level of min
        for (int s = 0; s < n_sub; s++) {
            const int at = s * sub_length;
            const int scale_near = d > 0.0 ? round_to_range(scale[s] / d, 0, level_max) : 0;
            const int min_near = dmin > 0.0 ? round_to_range(min[s] / dmin, 0, level_max) : 0;
            double best_error = -1.0;
            for (int l = scale_near - 1; l <= scale_near + 1; l++) {
                for (int m = min_near - 1; m <= min_near + 1; m++) {
                    if (l < 0 || m < 0 || l > level_max || m > level_max)
                        continue;
                    struct sums sub;
                    affine_codes(x + at, weight + at, sub_length, q_max, d * l, dmin * m, &sub, NULL);
                    const double error = affine_error(&sub, d * l, dmin * m);
                    if (best_error < 0.0 || error < best_error) {
                        best_error = error < 0.0 ? 0.0 : error;
                        trial.scales[s] = (uint8_t)l;
                        trial.mins[s] = (uint8_t)m;
                    }
                }
            }
            const double l = trial.scales[s];
            const double m = trial.mins[s];
            struct sums sub;
            affine_codes(x + at, weight + at, sub_length, q_max, d * l, dmin * m, &sub, trial.q + at);
            total += best_error;
            aa += l * l * sub.wqq;
            ab += l * m * sub.wq;
            bb += m * m * sub.w;
            ax += l * sub.wxq;
            bx += m * sub.wx;
        }
        if (best_total < 0.0 || total < best_total) {
            best_total = total;
            *fit = trial;
        }
        const double determinant = aa * bb - ab * ab;
        if (determinant > 0.0) {
            d = (ax * bb - bx * ab) / determinant;
            dmin = (ax * ab - bx * aa) / determinant;
        }
        if (!(determinant > 0.0) || dmin < 0.0) {
            d = aa > 0.0 ? ax / aa : 0.0;
            dmin = 0.0;
        }
        if (!(d > 0.0))
            break;
    }
}

// --------------------------------------------------------------------------------------------------------- x = scale q

static double symmetric_error(const struct sums *s, double scale)
{
    return s->wxx - 2.0 * scale * s->wxq + scale * scale * s->wqq;
}

static void symmetric_codes(const double *x, const double *weight, int n, int q_limit, double scale, struct sums *s,
                            int8_t *q)
{
    *s = (struct sums){0};
    const double inverse = scale != 0.0 ? 1.0 / scale : 0.0;
    for (int i = 0; i < n; i++) {
        const int code = round_to_range(x[i] * inverse, -q_limit, q_limit - 1);
        const double wq = weight[i] * code;
        s->wxx += weight[i] * x[i] * x[i];
        s->wqq += wq * code;
        s->wxq += wq * x[i];
        if (q != NULL)
            q[i] = (int8_t)code;
    }
}

static double symmetric_fit_sub_block(const double *x, const double *weight, int n, int q_limit)
{
    double absmax = 0.0;
    for (int i = 0; i < n; i++)
        absmax = magnitude(x[i]) > absmax ? magnitude(x[i]) : absmax;
    if (absmax == 0.0)
        return 0.0;
    double best_scale = 0.0;
    double best_error = -1.0;
    // Both signs, since there is one code more below zero than above.
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int step = -6; step <= 4; step++) {
            struct sums s;
            symmetric_codes(x, weight, n, q_limit, sign * absmax / (q_limit + 0.2 * step), &s, NULL);
            if (!(s.wqq > 0.0))
                continue;
            const double scale = s.wxq / s.wqq;
            const double error = symmetric_error(&s, scale);
            if (best_error < 0.0 || error < best_error) {
                best_error = error < 0.0 ? 0.0 : error;
                best_scale = scale;
            }
        }
    }
    return best_scale;
}

void search_symmetric(const float x_in[256], int q_limit, int level_limit, struct symmetric_fit *fit)
{
    memset(fit, 0, sizeof *fit);
    if (!all_finite(x_in, 256)) {
        fit->d = HALF_NAN;
        return;
    }
    double x[256];
    double weight[256];
    double scale[16];
    double largest = 0.0;
    for (int i = 0; i < 256; i++)
        x[i] = x_in[i];
    for (int s = 0; s < 16; s++) {
        set_weights(x + 16 * s, 16, weight + 16 * s);
        scale[s] = symmetric_fit_sub_block(x + 16 * s, weight + 16 * s, 16, q_limit);
        largest = magnitude(scale[s]) > magnitude(largest) ? scale[s] : largest;
    }
    if (largest == 0.0)
        return;
    double d = largest / -level_limit;

    double best_total = -1.0;
    for (int round = 0; round < N_ROUNDS; round++) {
        struct symmetric_fit trial = {.d = usable_half(d)};
        d = float_from_half(trial.d);
        double total = 0.0;
        double aa = 0.0, ax = 0.0; // a = level * q
        for (int s = 0; s < 16; s++) {
            const int near = round_to_range(scale[s] / d, -level_limit, level_limit - 1);
            double best_error = -1.0;
            for (int l = near - 1; l <= near + 1; l++) {
                if (l < -level_limit || l >= level_limit)
                    continue;
                struct sums sub;
                symmetric_codes(x + 16 * s, weight + 16 * s, 16, q_limit, d * l, &sub, NULL);
                const double error = symmetric_error(&sub, d * l);
                if (best_error < 0.0 || error < best_error) {
                    best_error = error < 0.0 ? 0.0 : error;
                    trial.scales[s] = (int8_t)l;
                }
            }
            const double l = trial.scales[s];
            struct sums sub;
            symmetric_codes(x + 16 * s, weight + 16 * s, 16, q_limit, d * l, &sub, trial.q + 16 * s);
            total += best_error;
            aa += l * l * sub.wqq;
            ax += l * sub.wxq;
        }
        if (best_total < 0.0 || total < best_total) {
            best_total = total;
            *fit = trial;
        }
        if (!(aa > 0.0) || ax == 0.0)
            break;
        d = ax / aa;
    }
}
