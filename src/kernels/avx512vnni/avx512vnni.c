#include "kernels/avx512vnni/avx512vnni.h"

void kernels_init_avx512vnni(struct kernels *k)
{
    k->activation[ACTIVATION_F32] =
        (struct activation_kernel){activation_f32_bytes_avx512vnni, activation_f32_avx512vnni};
    k->activation[ACTIVATION_Q8_PER_32] =
        (struct activation_kernel){activation_q8_32_bytes_avx512vnni, activation_q8_32_avx512vnni};
    k->activation[ACTIVATION_Q8_PER_256] =
        (struct activation_kernel){activation_q8_256_bytes_avx512vnni, activation_q8_256_avx512vnni};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) k->matvec[id] = matvec_##name##_avx512vnni;
    QUANT_TYPE_MAP(X)
#undef X
    gemm_init_avx512vnni(&k->gemm);
    k->rms_norm = rms_norm_avx512vnni;
    k->rope = rope_avx512vnni;
    k->silu_mul = silu_mul_avx512vnni;
    k->add = add_avx512vnni;
    k->kv_store = kv_store_avx512vnni;
    k->attention = attention_avx512vnni;
    k->max = max_avx512vnni;
    k->sum_exp = sum_exp_avx512vnni;
}
