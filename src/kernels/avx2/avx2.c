#include "kernels/avx2/avx2.h"

void kernels_init_avx2(struct kernels *k)
{
    k->rms_norm = rms_norm_avx2;
    k->rope = rope_avx2;
    k->silu_mul = silu_mul_avx2;
    k->add = add_avx2;
    k->max = max_avx2;
    k->sum_exp = sum_exp_avx2;
}
