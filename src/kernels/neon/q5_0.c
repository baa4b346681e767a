// Q5_0: 22-byte blocks of 32, zero point 16.
#include "kernels/neon/blocks_32.h"

ALWAYS_INLINE struct codes_32 codes_q5_0(const struct block_q5_0 *x)
{
    return five_bits_less_16(x->qs, x->qh);
}

DEFINE_MATVEC_32(q5_0, CODES_SMALL, 0, 0)
DEFINE_GEMM_32(q5_0, 0, 0)
