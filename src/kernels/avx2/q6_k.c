// Q6_K: 210-byte super-blocks of 256, zero point 32.
#include "kernels/avx2/super_blocks.h"

DEFINE_MATVEC_ZERO_16(q6_k, 5)
