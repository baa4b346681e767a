// Q5_1: 24-byte blocks of 32, with mins.
#include "kernels/neon/blocks_32.h"

ALWAYS_INLINE struct codes_32 codes_q5_1(const struct block_q5_1 *x)
{
    return five_bits_less_16(x->qs, x->qh);
}

DEFINE_MATVEC_32(q5_1, CODES_SMALL, -16, offsetof(struct block_q5_1, m))
DEFINE_GEMM_32(q5_1, -16, offsetof(struct block_q5_1, m))
