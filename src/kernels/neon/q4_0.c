// Q4_0: 18-byte blocks of 32, zero point 8.
#include "kernels/neon/blocks_32.h"

ALWAYS_INLINE struct codes_32 codes_q4_0(const struct block_q4_0 *x)
{
    return nibbles(x->qs);
}

DEFINE_MATVEC_32(q4_0, CODES_SMALL, 8, 0)
DEFINE_GEMM_32(q4_0, 8, 0)
