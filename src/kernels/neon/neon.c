// The NEON tiers' table: what is not named here stays with the scalar tier.
#include "kernels/neon/gemm_panel.h"

void TIER(kernels_init)(struct kernels *k)
{
    k->activation[ACTIVATION_F32] = (struct activation_kernel){TIER(activation_f32_bytes), TIER(activation_f32)};
    k->activation[ACTIVATION_Q8_PER_32] =
        (struct activation_kernel){TIER(activation_q8_32_bytes), TIER(activation_q8_32)};
    k->activation[ACTIVATION_Q8_PER_256] =
        (struct activation_kernel){TIER(activation_q8_256_bytes), TIER(activation_q8_256)};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) k->matvec[id] = TIER(matvec_##name);
    QUANT_BLOCK_SCALED_TYPE_MAP(X)
#undef X
    TIER(gemm_init)(&k->gemm);
    k->rms_norm = TIER(rms_norm);
    k->rope = TIER(rope);
    k->glu[GLU_SILU] = TIER(glu_silu);
    k->glu[GLU_GELU] = TIER(glu_gelu);
    k->glu[GLU_CLAMPED] = TIER(glu_clamped);
    k->glu[GLU_RELU2] = TIER(glu_relu2);
    k->add = TIER(add);
    k->kv_store[KV_F16] = TIER(kv_store_f16);
    k->kv_store[KV_Q8_0] = TIER(kv_store_q8_0);
    k->attention[KV_F16] = TIER(attention_f16);
    k->attention[KV_Q8_0] = TIER(attention_q8_0);
    k->attention_merge = TIER(attention_merge);
    k->max = TIER(max);
    k->sum_exp = TIER(sum_exp);
}
