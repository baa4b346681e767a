// F16 weights: converted to f32, which is exact, and multiplied there.
#include "kernels/neon/floats.h"

DEFINE_MATVEC_FLOAT(f16)
