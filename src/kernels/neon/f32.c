// F32 weights.
#include "kernels/neon/floats.h"

DEFINE_MATVEC_FLOAT(f32)
