// F32 weights.
#include "kernels/avx2/floats.h"

ALWAYS_INLINE __m256 load_f32(const uint8_t *p)
{
    return _mm256_castsi256_ps(load_32(p));
}

DEFINE_MATVEC_FLOAT(f32)
