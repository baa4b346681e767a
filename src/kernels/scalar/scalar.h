// What the files of the scalar tier give to its init function. Contracts: kernels/kernels.h.
#ifndef CHORD_KERNELS_SCALAR_SCALAR_H
#define CHORD_KERNELS_SCALAR_SCALAR_H

#include "kernels/kernels.h"

void rms_norm_scalar(const float *x, const float *weight, float eps, float *out, uint64_t n);
void rope_scalar(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot, enum rope_kind kind, const float *cos,
                 const float *sin);
void layer_norm_scalar(const float *x, const float *weight, const float *bias, float eps, float *out, uint64_t n);
void glu_silu_scalar(const float *gate, const float *up, float *out, uint64_t n);
void glu_gelu_scalar(const float *gate, const float *up, float *out, uint64_t n);
void glu_clamped_scalar(const float *gate, const float *up, float *out, uint64_t n);
void glu_relu2_scalar(const float *gate, const float *up, float *out, uint64_t n);
void add_scalar(const float *a, const float *b, float *out, uint64_t n);
float max_scalar(const float *x, uint64_t n);
double sum_exp_scalar(const float *x, float max, uint64_t n);

void kv_store_f16_scalar(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values);
void kv_store_q8_0_scalar(const float *k, const float *v, uint32_t head_dim, uint32_t slot, void *keys, void *values);
void attention_f16_scalar(const struct attention_args *args);
void attention_q8_0_scalar(const struct attention_args *args);
void attention_merge_scalar(float *partials, uint32_t n, uint32_t head_dim, float *out);

#endif
