// Q2_K: 84-byte super-blocks of 256, sub-blocks of 16 with mins.
#include "kernels/neon/super_blocks.h"

ALWAYS_INLINE int8x16_t codes_q2_k(const struct block_q2_k *x, const int v)
{
    const uint8x16_t qs = vld1q_u8(x->qs + 32 * (v / 8) + 16 * (v % 2));
    return vreinterpretq_s8_u8(move_bits(qs, 2 * (v / 2 % 4), 0, 3));
}

ALWAYS_INLINE struct scales scales_q2_k(const struct block_q2_k *x)
{
    const uint8x16_t bytes = vld1q_u8(x->scales);
    return spread_scales_16(vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))),
                            vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)));
}

DEFINE_MATVEC_256(q2_k, 16, 0, offsetof(struct block_q2_k, dmin))
DEFINE_GEMM_256(q2_k, PANEL_SUPER_16_MIN, 16, 0, offsetof(struct block_q2_k, dmin))
