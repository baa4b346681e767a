// Q8_0: 34-byte blocks of 32 signed codes.
#include "kernels/neon/blocks_32.h"

ALWAYS_INLINE struct codes_32 codes_q8_0(const struct block_q8_0 *x)
{
    return (struct codes_32){vld1q_s8(x->qs), vld1q_s8(x->qs + 16)};
}

DEFINE_MATVEC_32(q8_0, CODES_ANY, 0, 0)
DEFINE_GEMM_32(q8_0, 0, 0)
