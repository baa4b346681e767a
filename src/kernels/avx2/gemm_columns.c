// Columns for the GEMM: quantized as for the tier's matvec, then laid out in natural order.
#include "kernels/avx2/gemm_panel.h"

// An odd number of 64-byte lines, so that the columns of a tile do not meet in a few sets of the cache.
static uint64_t odd_lines(uint64_t bytes)
{
    const uint64_t lines = (bytes + 63) / 64;
    return 64 * (lines % 2 == 0 ? lines + 1 : lines);
}

uint64_t TIER(gemm_f32_bytes)(uint64_t n)
{
    return odd_lines(n * sizeof(float));
}

void TIER(gemm_f32_prepare)(const float *x, void *out, uint64_t n)
{
    if (n != 0)
        memcpy(out, x, n * sizeof(float));
    memset((float *)out + n, 0, TIER(gemm_f32_bytes)(n) - n * sizeof(float));
}

uint64_t TIER(gemm_q8_32_bytes)(uint64_t n)
{
    return odd_lines((n + 255) / 256 * sizeof(struct column_32));
}

// Block g once more as 16-bit integers, on the tiers that want it.
static void widen(struct column_32 *y, uint64_t g)
{
#ifdef __AVXVNNI__
    (void)y;
    (void)g;
#else
    for (uint64_t e = 32 * g; e < 32 * g + 32; e++)
        y->q_16[e] = y->q[e];
#endif
}

static int32_t sum_of_16(const int8_t q[16])
{
    int32_t sum = 0;
    for (int e = 0; e < 16; e++)
        sum += q[e];
    return sum;
}

void TIER(gemm_q8_32_prepare)(const float *x, void *out, uint64_t n)
{
    memset(out, 0, TIER(gemm_q8_32_bytes)(n));
    struct column_32 *y = out;
    for (uint64_t b = 0; b < n / 32; b += 4) {
        struct activation_group_32 group __attribute__((aligned(64)));
        const uint64_t count = n / 32 - b < 4 ? n / 32 - b : 4;
        TIER(activation_q8_32)(x + 32 * b, &group, 32 * count);
        for (uint64_t i = 0; i < count; i++) {
            struct column_32 *to = &y[(b + i) / 8];
            const uint64_t g = (b + i) % 8;
            memcpy(to->q + 32 * g, group.low[i], 16);
            memcpy(to->q + 32 * g + 16, group.high[i], 16);
            to->zero[g] = 4 * group.zero[4 * i];
            to->zero_upper[g] = -8 * sum_of_16(group.high[i]);
            widen(to, g);
            to->scale[g] = group.scale[4 * i];
            to->scaled_sum[g] = group.scale[4 * i] * (float)(group.zero[4 * i] / -2);
        }
    }
}

uint64_t TIER(gemm_q8_256_bytes)(uint64_t n)
{
    return odd_lines(n / SUPER_BLOCK * sizeof(struct column_256));
}

void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n)
{
    memset(out, 0, TIER(gemm_q8_256_bytes)(n));
    struct column_256 *y = out;
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b += 4) {
        struct activation_group_256 group __attribute__((aligned(64)));
        const uint64_t count = n / SUPER_BLOCK - b < 4 ? n / SUPER_BLOCK - b : 4;
        TIER(activation_q8_256)(x + SUPER_BLOCK * b, &group, SUPER_BLOCK * count);
        for (uint64_t i = 0; i < count; i++) {
            struct column_256 *to = &y[b + i];
            memcpy(to->q, group.q[i], SUPER_BLOCK);
            memcpy(to->sums_16, group.sums_16[0][i], sizeof group.sums_16[0][i]);
            memcpy(to->sums_16 + 8, group.sums_16[1][i], sizeof group.sums_16[1][i]);
            memcpy(to->sums_32, group.sums_32[i], sizeof to->sums_32);
            to->scale = group.scale[4 * i];
        }
    }
}
