// Q5_K: 176-byte super-blocks of 256, sub-blocks of 32 with mins.
#include "kernels/neon/super_blocks.h"

// A nibble of qs, one bit of qh.
ALWAYS_INLINE int8x16_t codes_q5_k(const struct block_q5_k *x, const int v)
{
    const uint8x16_t bytes = vld1q_u8(x->qs + 32 * (v / 4) + 16 * (v % 2));
    const uint8x16_t plane = vld1q_u8(x->qh + 16 * (v % 2));
    const uint8x16_t low = v / 2 % 2 == 0 ? vandq_u8(bytes, vdupq_n_u8(15)) : vshrq_n_u8(bytes, 4);
    return vreinterpretq_s8_u8(insert_bits(low, plane, v / 2, 4, 16));
}

ALWAYS_INLINE struct scales scales_q5_k(const struct block_q5_k *x)
{
    return load_scales_32(x->scales);
}

DEFINE_MATVEC_256(q5_k, 32, 0, offsetof(struct block_q5_k, dmin))
DEFINE_GEMM_256(q5_k, PANEL_SUPER_32_MIN, 32, 0, offsetof(struct block_q5_k, dmin))
