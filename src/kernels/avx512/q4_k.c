// Q4_K: 144-byte super-blocks of 256, four per step.
#include "kernels/avx512/q4_k_scales.h"

ALWAYS_INLINE void load_codes(const struct block_q4_k *x, __m512i codes[4])
{
    const __m512i nibbles = matrices(MATRIX_LOW_NIBBLE, MATRIX_HIGH_NIBBLE);
    for (int v = 0; v < 4; v++)
        codes[v] = _mm512_gf2p8affine_epi64_epi8(load_twice_32(x->qs + 32 * v), nibbles, 0);
}

DEFINE_MATVEC_Q4_K(q4_k)
