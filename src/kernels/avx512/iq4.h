// The table of IQ4_NL and IQ4_XS with 128 added.
#ifndef CHORD_KERNELS_AVX512_IQ4_H
#define CHORD_KERNELS_AVX512_IQ4_H

#include "kernels/avx512/blocks_32.h"
#include "quant/codebooks.h"

ALWAYS_INLINE __m512i iq4_unsigned(__m512i nibbles)
{
    static const int8_t table[16] = CODES_IQ4;
    const __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)table);
    const __m512i steps = _mm512_broadcast_i32x4(_mm_xor_si128(codes, _mm_set1_epi8(-128)));
    return _mm512_shuffle_epi8(steps, nibbles);
}

#endif
