// Q5_K: 176-byte super-blocks of 256: Q4_K's header and nibbles, and a plane of fifth bits.
#include "kernels/avx512/q4_k_scales.h"

// Moves bit 2v (lower half) or 2v + 1 (upper half) of the plane to bit 4.
ALWAYS_INLINE __m512i fifth_bit(__m512i plane, int v)
{
    return move_bits(plane, 2 * v, 2 * v + 1, 4, 1);
}

ALWAYS_INLINE void load_codes(const struct block_q5_k *x, __m512i codes[4])
{
    const __m512i plane = load_twice_32(x->qh);
    for (int v = 0; v < 4; v++)
        codes[v] = _mm512_or_si512(move_bits(load_twice_32(x->qs + 32 * v), 0, 4, 0, 4), fifth_bit(plane, v));
}

DEFINE_MATVEC_Q4_K(q5_k)
