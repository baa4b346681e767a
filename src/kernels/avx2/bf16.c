// BF16 weights: the upper half of an f32.
#include "kernels/avx2/floats.h"

ALWAYS_INLINE __m256 load_bf16(const uint8_t *p)
{
    const __m128i words = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}

DEFINE_MATVEC_FLOAT(bf16)
