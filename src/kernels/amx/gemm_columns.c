// Columns for the tile unit: rounded to bfloat16 (to nearest, subnormal numbers to zero), in natural order; in parts where they
// meet float types.
#include "kernels/amx/bf16_panel.h"

#include <string.h>

// Were the number of 64-byte lines even, the columns of a tile would meet in a few sets of the cache.
static uint64_t odd_lines(uint64_t lines)
{
    return 64 * (lines % 2 == 0 ? lines + 1 : lines);
}

uint64_t TIER(gemm_f32_bytes)(uint64_t n)
{
    return odd_lines((n + 31) / 32 * FLOAT_PARTS);
}

void TIER(gemm_f32_prepare)(const float *x, void *out, uint64_t n)
{
    uint8_t *to = out;
    for (uint64_t k = 0; k < n; k += 32, to += 64 * FLOAT_PARTS) {
        const uint64_t left = n - k;
        const __m512 low = _mm512_maskz_loadu_ps(first_lanes_16(left), x + k);
        const __m512 high =
            left > 16 ? _mm512_maskz_loadu_ps(first_lanes_16(left - 16), x + k + 16) : _mm512_setzero_ps();
        store_parts(low, high, FLOAT_PARTS, to, 64);
    }
    memset(to, 0, (uint64_t)((uint8_t *)out + TIER(gemm_f32_bytes)(n) - to));
}

static uint64_t bf16_bytes(uint64_t n)
{
    return odd_lines((n + 31) / 32);
}

static void bf16_prepare(const float *x, void *out, uint64_t n)
{
    uint8_t *to = out;
    for (uint64_t k = 0; k < n; k += 32) {
        const __m512 low = _mm512_loadu_ps(x + k), high = _mm512_loadu_ps(x + k + 16);
        _mm512_store_si512(to + 2 * k, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    memset(to + 2 * n, 0, bf16_bytes(n) - 2 * n);
}

uint64_t TIER(gemm_q8_32_bytes)(uint64_t n)
{
    return bf16_bytes(n);
}

void TIER(gemm_q8_32_prepare)(const float *x, void *out, uint64_t n)
{
    bf16_prepare(x, out, n);
}

uint64_t TIER(gemm_q8_256_bytes)(uint64_t n)
{
    return bf16_bytes(n);
}

void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n)
{
    bf16_prepare(x, out, n);
}
