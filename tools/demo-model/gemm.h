// Matrix products for training, on several threads.
#ifndef CHORD_DEMO_MODEL_GEMM_H
#define CHORD_DEMO_MODEL_GEMM_H

#include "real.h"
#include "os/pool.h"

#include <stdbool.h>
#include <stddef.h>

// A matrix [rows, cols] at `data`: element (i, j) is data[i * row_stride + j * col_stride]. A transpose swaps the strides.
struct matrix {
    real *data;
    size_t rows, cols;
    size_t row_stride, col_stride;
};

static inline struct matrix matrix_of(real *data, size_t rows, size_t cols)
{
    return (struct matrix){data, rows, cols, cols, 1};
}

static inline struct matrix transposed(struct matrix m)
{
    return (struct matrix){m.data, m.cols, m.rows, m.col_stride, m.row_stride};
}

// Scratch for one product at a time; gemm_scratch_create aborts the program when memory is out.
struct gemm_scratch;
struct gemm_scratch *gemm_scratch_create(uint32_t n_threads);
void gemm_scratch_free(struct gemm_scratch *scratch);

// c = a b, or c += a b with `add`. c's columns are contiguous (col_stride 1). Every element is summed over k in one
// fixed order, so the result does not depend on the number of threads. pool NULL: on the calling thread.
void gemm(struct pool *pool, struct gemm_scratch *scratch, struct matrix a, struct matrix b, struct matrix c,
          bool add);

#endif
