// F16 weights: converted to f32, which is exact, and multiplied there.
#include "kernels/avx512/floats.h"

ALWAYS_INLINE __m512 load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

ALWAYS_INLINE __m512 load_f16_tail(const uint8_t *p, __mmask16 lanes)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, p));
}

DEFINE_MATVEC_FLOAT(f16)
