// The scalar GEMM, and the specification of the others: each type's dot from quant/, activations in natural order.
#include "kernels/gemm.h"
#include "kernels/scalar/scalar.h"

static uint64_t padded(uint64_t bytes)
{
    return (bytes + GEMM_ALIGNMENT - 1) / GEMM_ALIGNMENT * GEMM_ALIGNMENT;
}

static uint64_t f32_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_F32, n));
}

static void f32_prepare(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_F32, x, out, n);
}

static uint64_t q8_32_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_Q8_PER_32, n));
}

static void q8_32_prepare(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_Q8_PER_32, x, out, n);
}

static uint64_t q8_256_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_Q8_PER_256, n));
}

static void q8_256_prepare(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_Q8_PER_256, x, out, n);
}

static uint64_t q8_row_bytes(uint64_t n)
{
    return padded(activation_bytes(ACTIVATION_Q8_PER_ROW, n));
}

static void q8_row_prepare(const float *x, void *out, uint64_t n)
{
    activation_quantize(ACTIVATION_Q8_PER_ROW, x, out, n);
}

static void gemm_by_dot(uint32_t type, const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,
                        const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                        uint64_t out_stride)
{
    float (*const dot)(const void *, const void *, uint64_t) = quant_traits(type)->dot;
    const uint8_t *row = w;
    for (uint64_t r = 0; r < n_rows; r++, row += row_bytes)
        for (uint64_t c = 0; c < n_columns; c++)
            out[c * out_stride + r] = dot(row, (const uint8_t *)columns + c * column_stride, n);
}

#define X(id, ENUM, name, shown, block_size, block_bytes, activation)                                             \
    static void gemm_##name##_scalar(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,              \
                                     const void *columns, uint64_t column_stride, uint64_t n_columns, float *out, \
                                     uint64_t out_stride, void *scratch)                                          \
    {                                                                                                             \
        (void)scratch;                                                                                            \
        gemm_by_dot(id, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out, out_stride);             \
    }
QUANT_TYPE_MAP(X)
#undef X

void gemm_init_scalar(struct gemm_kernels *gemm)
{
    gemm->rows = 1;
    gemm->scratch_bytes = 0;
    gemm->columns[ACTIVATION_F32] = (struct gemm_column_kernel){f32_bytes, f32_prepare};
    gemm->columns[ACTIVATION_Q8_PER_32] = (struct gemm_column_kernel){q8_32_bytes, q8_32_prepare};
    gemm->columns[ACTIVATION_Q8_PER_256] = (struct gemm_column_kernel){q8_256_bytes, q8_256_prepare};
    gemm->columns[ACTIVATION_Q8_PER_ROW] = (struct gemm_column_kernel){q8_row_bytes, q8_row_prepare};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm->multiply[id] = gemm_##name##_scalar;
    QUANT_TYPE_MAP(X)
#undef X
}
