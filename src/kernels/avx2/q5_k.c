// Q5_K: 176-byte super-blocks of 256: Q4_K's header and nibbles, and a plane of fifth bits.
#include "kernels/avx2/super_blocks.h"

DEFINE_MATVEC_SUB_32(q5_k)
