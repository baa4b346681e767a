// GEMM of the avx2 tier: the matvec family, four columns at a time, over rows that stay in the cache meanwhile.
#include "kernels/avx2/avx2.h"

// Rows of a chunk that are read again for every four columns: they must fit L2 beside the columns.
#define ROWS 16

static void gemm_by_matvec(matvec_kernel *matvec, const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,
                           const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,
                           uint64_t out_stride)
{
    for (uint64_t c = 0; c < n_columns; c += MATVEC_MAX_COLUMNS) {
        const void *some[MATVEC_MAX_COLUMNS];
        float *of_some[MATVEC_MAX_COLUMNS];
        const uint64_t left = n_columns - c;
        const uint32_t n_some = (uint32_t)(left < MATVEC_MAX_COLUMNS ? left : MATVEC_MAX_COLUMNS);
        for (uint32_t i = 0; i < n_some; i++) {
            some[i] = (const uint8_t *)columns + (c + i) * column_stride;
            of_some[i] = out + (c + i) * out_stride;
        }
        matvec(w, row_bytes, n_rows, n, some, n_some, of_some);
    }
}

#define X(id, ENUM, name, shown, block_size, block_bytes, activation)                                             \
    static void gemm_##name##_avx2(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,                \
                                   const void *columns, uint64_t column_stride, uint64_t n_columns, float *out,   \
                                   uint64_t out_stride, void *scratch)                                            \
    {                                                                                                             \
        (void)scratch;                                                                                            \
        gemm_by_matvec(matvec_##name##_avx2, w, row_bytes, n_rows, n, columns, column_stride, n_columns, out,     \
                       out_stride);                                                                               \
    }
QUANT_TYPE_MAP(X)
#undef X

void gemm_init_avx2(struct gemm_kernels *gemm)
{
    gemm->rows = ROWS;
    gemm->scratch_bytes = 0;
    gemm->columns[ACTIVATION_F32] = (struct gemm_column_kernel){activation_f32_bytes_avx2, activation_f32_avx2};
    gemm->columns[ACTIVATION_Q8_PER_32] =
        (struct gemm_column_kernel){activation_q8_32_bytes_avx2, activation_q8_32_avx2};
    gemm->columns[ACTIVATION_Q8_PER_256] =
        (struct gemm_column_kernel){activation_q8_256_bytes_avx2, activation_q8_256_avx2};
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) gemm->multiply[id] = gemm_##name##_avx2;
    QUANT_TYPE_MAP(X)
#undef X
}
