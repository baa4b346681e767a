// The coded types that memory does not hold up: 256-bit registers do.
#include "kernels/avx512/avx512.h"
#include "kernels/avx2/coded.h"

DEFINE_MATVEC_SIGNED(nvfp4, 64, true)
DEFINE_MATVEC_SIGNED(q1_0, 128, false)
DEFINE_MATVEC_SIGNED(q2_0, 64, false)
DEFINE_MATVEC_SIGNED(iq2_xxs, 256, false)
DEFINE_MATVEC_SIGNED(iq2_xs, 256, true)
DEFINE_MATVEC_SIGNED(iq2_s, 256, true)
DEFINE_MATVEC_SIGNED(iq3_xxs, 256, false)
DEFINE_MATVEC_SIGNED(iq3_s, 256, false)
DEFINE_MATVEC_SIGNED(iq1_s, 256, false)
DEFINE_MATVEC_SIGNED(iq1_m, 256, true)
DEFINE_MATVEC_TERNARY(tq1_0)
