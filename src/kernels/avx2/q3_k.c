// Q3_K: 110-byte super-blocks of 256, zero point 4.
#include "kernels/avx2/super_blocks.h"

DEFINE_MATVEC_ZERO_16(q3_k, 2)
