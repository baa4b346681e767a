// Q4_K: 144-byte super-blocks of 256, four per step.
#include "kernels/avx512/q4_k_scales.h"

ALWAYS_INLINE void load_codes(const struct block_q4_k *x, __m512i codes[4])
{
    for (int v = 0; v < 4; v++)
        codes[v] = move_bits(load_twice_32(x->qs + 32 * v), 0, 4, 0, 4);
}

DEFINE_MATVEC_Q4_K(q4_k)
