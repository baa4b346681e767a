#include "kernels/avx2/avx2.h"

void kernels_init_avx2(struct kernels *k)
{
    k->activation[ACTIVATION_F32] = (struct activation_kernel){activation_f32_bytes_avx2, activation_f32_avx2};
    k->activation[ACTIVATION_Q8_PER_32] =
        (struct activation_kernel){activation_q8_32_bytes_avx2, activation_q8_32_avx2};
    k->activation[ACTIVATION_Q8_PER_256] =
        (struct activation_kernel){activation_q8_256_bytes_avx2, activation_q8_256_avx2};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) k->matvec[id] = matvec_##name##_avx2;
    QUANT_TYPE_MAP(X)
#undef X
    gemm_init_avx2(&k->gemm);
    k->rms_norm = rms_norm_avx2;
    k->rope = rope_avx2;
    k->silu_mul = silu_mul_avx2;
    k->add = add_avx2;
    k->kv_store = kv_store_avx2;
    k->attention = attention_avx2;
    k->max = max_avx2;
    k->sum_exp = sum_exp_avx2;
}
