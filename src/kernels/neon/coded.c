// The coded types.
#include "kernels/neon/coded.h"

static const int8_t codes_iq4[16] = CODES_IQ4;
static const int8_t codes_fp4[16] = CODES_FP4;

ALWAYS_INLINE struct codes_32 choose_by_nibbles(const int8_t table[16], const uint8_t qs[16])
{
    const struct codes_32 four = nibbles(qs);
    const int8x16_t steps = vld1q_s8(table);
    return (struct codes_32){
        .low = vqtbl1q_s8(steps, vreinterpretq_u8_s8(four.low)),
        .high = vqtbl1q_s8(steps, vreinterpretq_u8_s8(four.high)),
    };
}

ALWAYS_INLINE void signed_iq4_nl(const struct block_iq4_nl *x, uint32_t s, struct signed_codes *to)
{
    (void)s;
    to->q = choose_by_nibbles(codes_iq4, x->qs);
    to->low = to->high = load_half(x->d);
}

ALWAYS_INLINE void signed_iq4_xs(const struct block_iq4_xs *x, uint32_t s, struct signed_codes *to)
{
    to->q = choose_by_nibbles(codes_iq4, x->qs + 16 * s);
    to->low = to->high = load_half(x->d) * (float)iq4_xs_scale(x, (int)s);
}

ALWAYS_INLINE void signed_mxfp4(const struct block_mxfp4 *x, uint32_t s, struct signed_codes *to)
{
    (void)s;
    to->q = choose_by_nibbles(codes_fp4, x->qs);
    to->low = to->high = mxfp4_scale(x->e);
}

// The nibbles of 8 bytes, low ones first, are 16 elements.
ALWAYS_INLINE void signed_nvfp4(const struct block_nvfp4 *x, uint32_t s, struct signed_codes *to)
{
    const struct codes_32 q = choose_by_nibbles(codes_fp4, x->qs + 16 * s);
    const int64x2_t low = vreinterpretq_s64_s8(q.low), high = vreinterpretq_s64_s8(q.high);
    to->q.low = vreinterpretq_s8_s64(vzip1q_s64(low, high));
    to->q.high = vreinterpretq_s8_s64(vzip2q_s64(low, high));
    to->low = nvfp4_scale(x->d[2 * s]);
    to->high = nvfp4_scale(x->d[2 * s + 1]);
}

DEFINE_MATVEC_SIGNED(iq4_nl, 32, false)
DEFINE_GEMM_SIGNED(iq4_nl, 32, false)
DEFINE_MATVEC_SIGNED(iq4_xs, 256, false)
DEFINE_GEMM_SIGNED(iq4_xs, 256, false)
DEFINE_MATVEC_SIGNED(mxfp4, 32, false)
DEFINE_GEMM_SIGNED(mxfp4, 32, false)
DEFINE_MATVEC_SIGNED(nvfp4, 64, true)
DEFINE_GEMM_SIGNED(nvfp4, 64, true)

DEFINE_KERNELS_UNPACKED(q1_0, 128, false)
DEFINE_KERNELS_UNPACKED(q2_0, 64, false)
DEFINE_KERNELS_UNPACKED(iq2_xxs, 256, false)
DEFINE_KERNELS_UNPACKED(iq2_xs, 256, true)
DEFINE_KERNELS_UNPACKED(iq2_s, 256, true)
DEFINE_KERNELS_UNPACKED(iq3_xxs, 256, false)
DEFINE_KERNELS_UNPACKED(iq3_s, 256, false)
DEFINE_KERNELS_UNPACKED(iq1_s, 256, false)
DEFINE_KERNELS_UNPACKED(iq1_m, 256, true)
