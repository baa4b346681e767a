// Q4_K: 144-byte super-blocks of 256.
#include "kernels/avx2/super_blocks.h"

DEFINE_MATVEC_SUB_32(q4_k)
