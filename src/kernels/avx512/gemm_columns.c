// Columns for the GEMM: quantized as for the tier's matvec, then laid out in natural order with the sums that the
// kinds of panel ask for.
#include "kernels/avx512/gemm_panel.h"

#include <string.h>

// Blocks of 384 bytes: were the number of 64-byte lines even, the columns of a tile would meet in a few sets of the
// cache.
static uint64_t blocks_bytes(uint64_t n_blocks)
{
    const uint64_t lines = n_blocks * (COLUMN_BLOCK_BYTES / 64);
    return 64 * (lines % 2 == 0 ? lines + 1 : lines);
}

uint64_t TIER(gemm_f32_bytes)(uint64_t n)
{
    const uint64_t lines = (n + 15) / 16;
    return 64 * (lines % 2 == 0 ? lines + 1 : lines);
}

void TIER(gemm_f32_prepare)(const float *x, void *out, uint64_t n)
{
    if (n != 0)
        memcpy(out, x, n * sizeof(float));
    memset((float *)out + n, 0, TIER(gemm_f32_bytes)(n) - n * sizeof(float));
}

uint64_t TIER(gemm_q8_32_bytes)(uint64_t n)
{
    return blocks_bytes((n + 255) / 256);
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
            const int32_t sum = group.zero[4 * i] / -2;
            to->scale[g] = group.scale[4 * i];
            to->zero[g] = (WIDE_BIAS - 128) * sum;
            to->zero_upper[g] = (WIDE_BIAS - 128) * sum_of_16(group.high[i]);
            to->scaled_sum[g] = group.scale[4 * i] * (float)sum;
        }
    }
}

uint64_t TIER(gemm_q8_256_bytes)(uint64_t n)
{
    return blocks_bytes(n / SUPER_BLOCK);
}

void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n)
{
    struct column_256 *y = out;
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b += 4) {
        struct activation_group_256 group __attribute__((aligned(64)));
        const uint64_t count = n / SUPER_BLOCK - b < 4 ? n / SUPER_BLOCK - b : 4;
        TIER(activation_q8_256)(x + SUPER_BLOCK * b, &group, SUPER_BLOCK * count);
        for (uint64_t i = 0; i < count; i++) {
            struct column_256 *to = &y[b + i];
            int32_t sum = 0;
            memset(to, 0, sizeof *to);
            memcpy(to->q, group.q[i], SUPER_BLOCK);
            memcpy(to->sums_16, group.sums_16[0][i], sizeof group.sums_16[0][i]);
            memcpy(to->sums_16 + 8, group.sums_16[1][i], sizeof group.sums_16[1][i]);
            memcpy(to->sums_32, group.sums_32[i], sizeof to->sums_32);
            for (int s = 0; s < 16; s++) {
                to->zero_16[s] = -32 * to->sums_16[s];
                sum += to->sums_16[s];
            }
            to->zero_256 = (WIDE_BIAS - 124) * sum;
            to->scale = group.scale[4 * i];
        }
    }
    const uint64_t used = n / SUPER_BLOCK * sizeof *y;
    memset((uint8_t *)out + used, 0, TIER(gemm_q8_256_bytes)(n) - used);
}
