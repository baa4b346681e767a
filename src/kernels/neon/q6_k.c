// Q6_K: 210-byte super-blocks of 256, sub-blocks of 16, zero point 32.
#include "kernels/neon/super_blocks.h"

// A nibble of ql, two bits of qh.
ALWAYS_INLINE int8x16_t codes_q6_k(const struct block_q6_k *x, const int v)
{
    const int half = v / 8, j = v / 2 % 4;
    const uint8x16_t ql = vld1q_u8(x->ql + 64 * half + 32 * (j % 2) + 16 * (v % 2));
    const uint8x16_t qh = vld1q_u8(x->qh + 32 * half + 16 * (v % 2));
    const uint8x16_t low = j < 2 ? vandq_u8(ql, vdupq_n_u8(15)) : vshrq_n_u8(ql, 4);
    return vreinterpretq_s8_u8(insert_bits(low, qh, 2 * j, 4, 0x30));
}

ALWAYS_INLINE struct scales scales_q6_k(const struct block_q6_k *x)
{
    const int8x16_t scales = vld1q_s8(x->scales);
    return spread_scales_16(scales, scales);
}

DEFINE_MATVEC_256(q6_k, 16, 32, 0)
DEFINE_GEMM_256(q6_k, PANEL_SUPER_16, 16, 32, 0)
