// F32 weights.
#include "kernels/avx512/floats.h"

ALWAYS_INLINE __m512 load_f32(const uint8_t *p)
{
    return _mm512_loadu_ps(p);
}

ALWAYS_INLINE __m512 load_f32_tail(const uint8_t *p, __mmask16 lanes)
{
    return _mm512_maskz_loadu_ps(lanes, p);
}

DEFINE_MATVEC_FLOAT(f32)
