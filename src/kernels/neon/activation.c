// Quantization of activations: the integers and scales of quant/activation.c, in the order of kernels/layout_neon.h.
#include "kernels/neon/neon.h"

#include "kernels/block_scale.h"

// Bits of the largest magnitude of n (a multiple of 16) floats: they order like the magnitudes, infinities and NaNs above
// every number.
ALWAYS_INLINE uint32_t largest_magnitude(const float *x, const uint32_t n)
{
    uint32x4_t max[4];
    for (int k = 0; k < 4; k++)
        max[k] = vdupq_n_u32(0);
    for (uint32_t i = 0; i < n; i += 16)
        for (uint32_t k = 0; k < 4; k++)
            max[k] = vmaxq_u32(max[k], vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i + 4 * k))));
    return vmaxvq_u32(vmaxq_u32(vmaxq_u32(max[0], max[1]), vmaxq_u32(max[2], max[3])));
}

// 16 codes, to nearest, ties to even. All zero where inverse is 0, whatever x holds: a NaN converts to 0.
ALWAYS_INLINE int8x16_t quantize_16(const float *x, float inverse)
{
    int16x4_t q[4];
    for (int i = 0; i < 4; i++)
        q[i] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), inverse)));
    return vcombine_s8(vmovn_s16(vcombine_s16(q[0], q[1])), vmovn_s16(vcombine_s16(q[2], q[3])));
}

uint64_t TIER(activation_f32_bytes)(uint64_t n)
{
    return (n + 15) / 16 * 64;
}

void TIER(activation_f32)(const float *x, void *out, uint64_t n)
{
    if (n == 0)
        return;
    memcpy(out, x, n * sizeof(float));
    memset((float *)out + n, 0, TIER(activation_f32_bytes)(n) - n * sizeof(float));
}

uint64_t TIER(activation_q8_32_bytes)(uint64_t n)
{
    return ((n / 32 + 3) / 4 * sizeof(struct activation_group_32) + 63) / 64 * 64;
}

void TIER(activation_q8_32)(const float *x, void *out, uint64_t n)
{
    struct activation_group_32 *group = out;
    for (uint64_t b = 0; b < n / 32; b++, x += 32) {
        struct activation_group_32 *y = &group[b / 4];
        const uint32_t k = b % 4;
        if (k == 0)
            memset(y, 0, sizeof *y);
        float inverse;
        y->scale[k] = block_scale(largest_magnitude(x, 32), &inverse);
        const int8x16_t q0 = quantize_16(x, inverse), q1 = quantize_16(x + 16, inverse);
        vst1q_s8(y->q[k], q0);
        vst1q_s8(y->q[k] + 16, q1);
        y->sum[k] = vaddlvq_s8(q0) + vaddlvq_s8(q1);
    }
}

uint64_t TIER(activation_q8_256_bytes)(uint64_t n)
{
    return n / SUPER_BLOCK * sizeof(struct activation_block_256);
}

void TIER(activation_q8_256)(const float *x, void *out, uint64_t n)
{
    struct activation_block_256 *y = out;
    for (uint64_t b = 0; b < n / SUPER_BLOCK; b++, x += SUPER_BLOCK, y++) {
        float inverse;
        y->scale = block_scale(largest_magnitude(x, SUPER_BLOCK), &inverse);
        for (int s = 0; s < 16; s++) {
            const int8x16_t q = quantize_16(x + 16 * s, inverse);
            vst1q_s8(y->q + 16 * s, q);
            y->sums_16[s] = vaddlvq_s8(q);
        }
        vst1q_s16(y->sums_32, vpaddq_s16(vld1q_s16(y->sums_16), vld1q_s16(y->sums_16 + 8)));
        memset(y->padding, 0, sizeof y->padding);
    }
}
