// The scalar tier: fills every slot, on every machine. Matrix products go through each type's dot in quant/, with
// activations in the natural order of quant/quant.h.
#include "kernels/scalar/scalar.h"

static uint64_t padded(uint64_t bytes)
{
    return (bytes + ACTIVATION_ALIGNMENT - 1) / ACTIVATION_ALIGNMENT * ACTIVATION_ALIGNMENT;
}

static void matvec_by_dot(uint32_t type, const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,
                          const void *const *columns, uint32_t n_columns, float *const *out)
{
    float (*const dot)(const void *, const void *, uint64_t) = quant_traits(type)->dot;
    const uint8_t *row = w;
    for (uint64_t r = 0; r < n_rows; r++, row += row_bytes)
        for (uint32_t c = 0; c < n_columns; c++)
            out[c][r] = dot(row, columns[c], n);
}

#define X(id, ENUM, name, shown, block_size, block_bytes, activation)                                     \
    static void matvec_##name##_scalar(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,    \
                                       const void *const *columns, uint32_t n_columns, float *const *out, \
                                       struct prefetch ahead)                                             \
    {                                                                                                     \
        (void)ahead;                                                                                      \
                                                                                                          \
        matvec_by_dot(QUANT_##ENUM, w, row_bytes, n_rows, n, columns, n_columns, out);                    \
    }
QUANT_TYPE_MAP(X)
#undef X

static uint64_t f32_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_F32, n));
}

static void f32_quantize(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_F32, x, out, n);
}

static uint64_t q8_32_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_Q8_PER_32, n));
}

static void q8_32_quantize(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_Q8_PER_32, x, out, n);
}

static uint64_t q8_256_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_Q8_PER_256, n));
}

static void q8_256_quantize(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_Q8_PER_256, x, out, n);
}

static uint64_t q8_row_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_Q8_PER_ROW, n));
}

static void q8_row_quantize(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_Q8_PER_ROW, x, out, n);
}

void kernels_init_scalar(struct kernels *k)
{
    k->activation[ACTIVATION_F32] = (struct activation_kernel){f32_bytes, f32_quantize};
    k->activation[ACTIVATION_Q8_PER_32] = (struct activation_kernel){q8_32_bytes, q8_32_quantize};
    k->activation[ACTIVATION_Q8_PER_256] = (struct activation_kernel){q8_256_bytes, q8_256_quantize};
    k->activation[ACTIVATION_Q8_PER_ROW] = (struct activation_kernel){q8_row_bytes, q8_row_quantize};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) k->matvec[id] = matvec_##name##_scalar;
    QUANT_TYPE_MAP(X)
#undef X
    gemm_init_scalar(&k->gemm);
    k->rms_norm = rms_norm_scalar;
    k->rope = rope_scalar;
    k->layer_norm = layer_norm_scalar;
    k->glu[GLU_SILU] = glu_silu_scalar;
    k->glu[GLU_GELU] = glu_gelu_scalar;
    k->glu[GLU_CLAMPED] = glu_clamped_scalar;
    k->glu[GLU_RELU2] = glu_relu2_scalar;
    k->add = add_scalar;
    k->kv_store[KV_F16] = kv_store_f16_scalar;
    k->kv_store[KV_Q8_0] = kv_store_q8_0_scalar;
    k->attention[KV_F16] = attention_f16_scalar;
    k->attention[KV_Q8_0] = attention_q8_0_scalar;
    k->attention_merge = attention_merge_scalar;
    k->max = max_scalar;
    k->sum_exp = sum_exp_scalar;
}
