// BF16 weights: the upper half of an f32. VDPBF16PS has half the rate of f32 multiply-adds where it exists, and rounds.
#include "kernels/avx512/floats.h"

ALWAYS_INLINE __m512 from_bf16(__m256i words)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

ALWAYS_INLINE __m512 load_bf16(const uint8_t *p)
{
    return from_bf16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

ALWAYS_INLINE __m512 load_bf16_tail(const uint8_t *p, __mmask16 lanes)
{
    return from_bf16(_mm256_maskz_loadu_epi16(lanes, p));
}

DEFINE_MATVEC_FLOAT(bf16)
