// TQ1_0: 54-byte super-blocks of 256 ternary digits. 256-bit registers do.
#include "kernels/avx512/avx512.h"
#include "kernels/avx2/coded.h"

DEFINE_MATVEC_TERNARY(tq1_0)
