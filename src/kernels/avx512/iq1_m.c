// IQ1_M: 56-byte super-blocks of 256. 256-bit registers are faster: the loads of entries take the time.
#include "kernels/avx512/avx512.h"
#include "kernels/avx2/coded.h"

DEFINE_MATVEC_SIGNED(iq1_m, 256, true)
