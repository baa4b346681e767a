// F16 weights: converted to f32, which is exact, and multiplied there.
#include "kernels/avx2/floats.h"

ALWAYS_INLINE __m256 load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

DEFINE_MATVEC_FLOAT(f16)
