// Element-wise and reducing operations on float arrays.
#include "kernels/scalar/scalar.h"

#include <math.h>

void rms_norm_scalar(const float *x, const float *weight, float eps, float *out, uint64_t n)
{
    double sum = 0.0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    const float scale = 1.0f / sqrtf((float)(sum / (double)n) + eps);
    for (uint64_t i = 0; i < n; i++)
        out[i] = x[i] * scale * (weight != NULL ? weight[i] : 1.0f);
}

void rope_scalar(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot, enum rope_kind kind, const float *cos,
                 const float *sin)
{
    const uint32_t half = n_rot / 2;
    for (uint32_t h = 0; h < n_heads; h++, x += head_dim) {
        for (uint32_t i = 0; i < half; i++) {
            float *a = kind == ROPE_NORMAL ? &x[2 * i] : &x[i];
            float *b = kind == ROPE_NORMAL ? &x[2 * i + 1] : &x[half + i];
            const float x0 = *a;
            const float x1 = *b;
            *a = x0 * cos[i] - x1 * sin[i];
            *b = x1 * cos[i] + x0 * sin[i];
        }
    }
}

// Sums of eight interleaved parts: each addition waits for the eighth before it, not for the last one.
static double sum_of_eight(const double *sums)
{
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

void layer_norm_scalar(const float *x, const float *weight, const float *bias, float eps, float *out, uint64_t n)
{
    double sums[8] = {0}, squares[8] = {0};
    for (uint64_t i = 0; i < n; i++)
        sums[i % 8] += (double)x[i];
    const double mean = sum_of_eight(sums) / (double)n;
    for (uint64_t i = 0; i < n; i++)
        squares[i % 8] += ((double)x[i] - mean) * ((double)x[i] - mean);
    const float scale = 1.0f / sqrtf((float)(sum_of_eight(squares) / (double)n) + eps);
    for (uint64_t i = 0; i < n; i++)
        out[i] = (float)((double)x[i] - mean) * scale * weight[i] + (bias != NULL ? bias[i] : 0.0f);
}

void glu_silu_scalar(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + expf(-gate[i])) * (up != NULL ? up[i] : 1.0f);
}

void glu_gelu_scalar(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const float x = gate[i], u = GELU_SLOPE * x * (1.0f + GELU_CUBIC * x * x);
        out[i] = x / (1.0f + expf(-2.0f * u)) * (up != NULL ? up[i] : 1.0f);
    }
}

void glu_clamped_scalar(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const float x = fminf(gate[i], CLAMPED_MOST);
        const float u = fmaxf(-CLAMPED_MOST, fminf(up[i], CLAMPED_MOST));
        out[i] = x / (1.0f + expf(-CLAMPED_SLOPE * x)) * (1.0f + u);
    }
}

void glu_relu2_scalar(const float *gate, const float *up, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const float x = fmaxf(gate[i], 0.0f);
        out[i] = x * x * (up != NULL ? up[i] : 1.0f);
    }
}

void add_scalar(const float *a, const float *b, float *out, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

float max_scalar(const float *x, uint64_t n)
{
    float max = -INFINITY;
    for (uint64_t i = 0; i < n; i++)
        if (x[i] > max)
            max = x[i];
    return max;
}

double sum_exp_scalar(const float *x, float max, uint64_t n)
{
    double total = 0.0;
    for (uint64_t start = 0; start < n; start += 1024) {
        const uint64_t end = n - start < 1024 ? n : start + 1024;
        float sum = 0.0f;
        for (uint64_t i = start; i < end; i++)
            sum += expf(x[i] - max);
        total += (double)sum;
    }
    return total;
}
