// GEMM of Q6_K.
#include "kernels/amx/bf16_panel.h"

// Moves bits 2j, 2j+1 of qh (lower half) and 2j+2, 2j+3 (upper half) to bits 4 and 5.
ALWAYS_INLINE __m512i high_bits(__m512i qh, int j)
{
    return move_bits(qh, 2 * j, 2 * j + 2, 4, 2);
}

// 64 elements in four sub-blocks.
ALWAYS_INLINE void round_64(__m512i codes, const float scales[4], uint16_t *to)
{
    const __m512i centred = _mm512_sub_epi8(codes, _mm512_set1_epi8(32));
    const __m512 w0 = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_castsi512_si128(centred)));
    const __m512 w1 = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(centred, 1)));
    const __m512 w2 = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(centred, 2)));
    const __m512 w3 = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(centred, 3)));
    _mm512_store_si512(
        to, round_to_bf16(_mm512_mul_ps(w0, _mm512_set1_ps(scales[0])), _mm512_mul_ps(w1, _mm512_set1_ps(scales[1]))));
    _mm512_store_si512(to + 32, round_to_bf16(_mm512_mul_ps(w2, _mm512_set1_ps(scales[2])),
                                              _mm512_mul_ps(w3, _mm512_set1_ps(scales[3]))));
}

ALWAYS_INLINE void round_row(const struct block_q6_k *x, uint32_t n_blocks, uint16_t *to)
{
    (void)n_blocks;
    const __m512i nibble = _mm512_set1_epi8(15);
    float scales[16];
    const __m512 integers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x->scales)));
    _mm512_storeu_ps(scales, _mm512_mul_ps(integers, _mm512_set1_ps(half_at(x->d))));
    for (int half = 0; half < 2; half++, to += 128) {
        const __m512i ql = _mm512_loadu_si512(x->ql + 64 * half);
        const __m512i qh = load_twice_32(x->qh + 32 * half);
        round_64(and_or(ql, nibble, high_bits(qh, 0)), scales + 8 * half, to);
        round_64(and_or(_mm512_srli_epi16(ql, 4), nibble, high_bits(qh, 2)), scales + 8 * half + 4, to + 64);
    }
}

DEFINE_BF16_GEMM(q6_k, 256)
