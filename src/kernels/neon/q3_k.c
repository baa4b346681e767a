// Q3_K: 110-byte super-blocks of 256, sub-blocks of 16, zero point 4.
#include "kernels/neon/super_blocks.h"

// Two bits of qs, one of hmask.
ALWAYS_INLINE int8x16_t codes_q3_k(const struct block_q3_k *x, const int v)
{
    const uint8x16_t qs = vld1q_u8(x->qs + 32 * (v / 8) + 16 * (v % 2));
    const uint8x16_t plane = vld1q_u8(x->hmask + 16 * (v % 2));
    return vreinterpretq_s8_u8(insert_bits(move_bits(qs, 2 * (v / 2 % 4), 0, 3), plane, v / 2, 2, 4));
}

// Nibble k of the first 8 bytes (low nibbles first) is the low part of scale k; bits 2 * (k / 4) of byte 8 + k % 4 are
// its high part.
ALWAYS_INLINE struct scales scales_q3_k(const struct block_q3_k *x)
{
    uint32_t u[3];
    memcpy(u, x->scales, sizeof u);
    uint32_t s[4];
    for (int i = 0; i < 4; i++)
        s[i] = (u[i % 2] >> 4 * (i / 2) & 0x0f0f0f0fu) | (u[2] >> 2 * i & 0x03030303u) << 4;
    const uint64x2_t levels = {(uint64_t)s[1] << 32 | s[0], (uint64_t)s[3] << 32 | s[2]};
    const int8x16_t scales = vsubq_s8(vreinterpretq_s8_u64(levels), vdupq_n_s8(32));
    return spread_scales_16(scales, scales);
}

DEFINE_MATVEC_256(q3_k, 16, 4, 0)
DEFINE_GEMM_256(q3_k, PANEL_SUPER_16, 16, 4, 0)
