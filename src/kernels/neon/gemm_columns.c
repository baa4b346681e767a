// Columns for the GEMM: quantized as for the tier's matvec, then laid out by 256 elements.
#include "kernels/neon/gemm_panel.h"

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

void TIER(gemm_q8_32_prepare)(const float *x, void *out, uint64_t n)
{
    memset(out, 0, TIER(gemm_q8_32_bytes)(n));
    struct column_32 *y = out;
    for (uint64_t b = 0; b < n / 32; b += 4) {
        struct activation_group_32 group;
        const uint64_t count = n / 32 - b < 4 ? n / 32 - b : 4;
        const uint64_t at = b % 8;
        TIER(activation_q8_32)(x + 32 * b, &group, 32 * count);
        memcpy(y[b / 8].q + 32 * at, group.q, sizeof group.q);
        memcpy(y[b / 8].scale + at, group.scale, sizeof group.scale);
        for (uint64_t i = 0; i < count; i++)
            y[b / 8].scaled_sum[at + i] = group.scale[i] * (float)group.sum[i];
    }
}

uint64_t TIER(gemm_q8_256_bytes)(uint64_t n)
{
    return odd_lines(n / SUPER_BLOCK * sizeof(struct column_256));
}

// Eight sums as bytes: the upper bits, and the lower seven.
ALWAYS_INLINE void split_sums(const int16_t *sums, int8_t *high, int8_t *low)
{
    const int16x8_t s = vld1q_s16(sums);
    vst1_s8(high, vshrn_n_s16(s, 7));
    vst1_s8(low, vmovn_s16(vandq_s16(s, vdupq_n_s16(127))));
}

void TIER(gemm_q8_256_prepare)(const float *x, void *out, uint64_t n)
{
    memset(out, 0, TIER(gemm_q8_256_bytes)(n));
    struct column_256 *y = out;
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x += SUPER_BLOCK, y++) {
        struct activation_block_256 block;
        TIER(activation_q8_256)(x, &block, SUPER_BLOCK);
        memcpy(y->q, block.q, sizeof y->q);
        split_sums(block.sums_32, y->sums_32[0], y->sums_32[1]);
        split_sums(block.sums_16, y->sums_16[0], y->sums_16[1]);
        split_sums(block.sums_16 + 8, y->sums_16[0] + 8, y->sums_16[1] + 8);
        y->scale = block.scale;
    }
}
