#include "base/checked.h"
#include "base/half.h"
#include "quant/quant.h"

#include <string.h>

// Nearest integer of |x| <= 2^22, ties to even: the unit of 1.5 * 2^23 + x is 1, so the addition itself rounds, as
// cvtps2dq does.
static int32_t round_to_even(float x)
{
    return (int32_t)(bits_from_float(x + 0x1.8p23f) - 0x4b400000u);
}

// q[n] and the scale of one block. The largest magnitude is found on the bits: they order like the magnitudes, and
// infinities and NaNs come above every number.
static float quantize_block(const float *x, uint64_t n, int8_t *q)
{
    uint32_t largest = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t magnitude = bits_from_float(x[i]) & 0x7fffffffu;
        largest = magnitude > largest ? magnitude : largest;
    }
    const float absmax = float_from_bits(largest);
    if (largest >= 0x7f800000u || absmax < ACTIVATION_ABSMAX_MIN) {
        memset(q, 0, n);
        return largest >= 0x7f800000u ? float_from_bits(0x7fc00000u) : 0.0f;
    }
    const float inverse = 127.0f / absmax;
    for (uint64_t i = 0; i < n; i++)
        q[i] = (int8_t)round_to_even(x[i] * inverse);
    return absmax / 127.0f;
}

// Modulo 2^32.
static int32_t sum_codes(const int8_t *q, uint64_t n)
{
    uint32_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (uint32_t)q[i];
    return (int32_t)sum;
}

uint64_t activation_bytes(enum activation_type type, uint64_t n)
{
    uint64_t bytes;
    bool fits;
    if (type == ACTIVATION_Q8_PER_32)
        fits = checked_mul(n / 32, sizeof(struct activation_q8_32), &bytes);
    else if (type == ACTIVATION_Q8_PER_256)
        fits = checked_mul(n / 256, sizeof(struct activation_q8_256), &bytes);
    else if (type == ACTIVATION_Q8_PER_ROW)
        fits = checked_add(n, sizeof(struct activation_q8_row), &bytes);
    else
        fits = checked_mul(n, sizeof(float), &bytes);
    return fits ? bytes : UINT64_MAX;
}

void activation_quantize(enum activation_type type, const float *x, void *out, uint64_t n)
{
    if (type == ACTIVATION_Q8_PER_32) {
        struct activation_q8_32 *y = out;
        for (uint64_t b = 0; b < n / 32; b++) {
            y[b].scale = quantize_block(x + 32 * b, 32, y[b].q);
            y[b].sum = sum_codes(y[b].q, 32);
        }
    } else if (type == ACTIVATION_Q8_PER_256) {
        struct activation_q8_256 *y = out;
        for (uint64_t b = 0; b < n / 256; b++) {
            y[b].scale = quantize_block(x + 256 * b, 256, y[b].q);
            for (int s = 0; s < 16; s++)
                y[b].sums[s] = (int16_t)sum_codes(y[b].q + 16 * s, 16);
        }
    } else if (type == ACTIVATION_Q8_PER_ROW) {
        struct activation_q8_row *y = out;
        y->scale = quantize_block(x, n, y->q);
        y->sum = sum_codes(y->q, n);
    } else if (n != 0) {
        memcpy(out, x, n * sizeof(float));
    }
}
