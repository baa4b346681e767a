// Q4_1: 20-byte blocks of 32, with mins.
#include "kernels/neon/blocks_32.h"

ALWAYS_INLINE struct codes_32 codes_q4_1(const struct block_q4_1 *x)
{
    return nibbles(x->qs);
}

DEFINE_MATVEC_32(q4_1, CODES_SMALL, 0, offsetof(struct block_q4_1, m))
DEFINE_GEMM_32(q4_1, 0, offsetof(struct block_q4_1, m))
