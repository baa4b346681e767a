// Matrix times matrix, for prompts: many columns of activations per pass over the weights. Part of struct kernels.
//
// The weights of a few rows are unpacked once, into a panel that stays in the cache, and multiplied with every column.
// The rules of kernels/kernels.h hold here too: no allocation, no state, no failure, any number of threads; a kernel
// never reads outside the arrays it is given; integer parts are exact.
//
// A tier whose unit for products takes bfloat16 (rounds_to_bf16) rounds the weights of quantized types and the activations that
// meet them to it, to nearest, and has no integer parts. That changes a dot product by at most 2^-8 of the sum of its terms'
// magnitudes, which is less than what 8-bit codes of the activations do to it. Float types it takes in parts: of F32 at most
// 2^-24 is lost, of F16 and BF16 2^-17.
//
// A result depends on its row and its column alone: not on n_rows, n_columns, or where the row or the column stands in
// the call. It may differ in the last bits from the same tier's matvec, which sums in another order.
#ifndef CHORD_KERNELS_GEMM_H
#define CHORD_KERNELS_GEMM_H

#include "quant/quant.h"

#include <stdbool.h>
#include <stdint.h>

#define GEMM_ALIGNMENT 64
#define GEMM_TYPE_IDS 64 // type ids are below this
#define GEMM_MAX_SCRATCH_BYTES 327680

// One column of activations as a tier's GEMM wants it: the integers and scales of quant/quant.h, in an order of the
// tier's own, which need not be that of its matvec family; or bfloat16.
struct gemm_column_kernel {
    // Bytes of one prepared column of n elements: a multiple of GEMM_ALIGNMENT. n is a multiple of the type's 32 or 256
    // (any n for F32).
    uint64_t (*bytes)(uint64_t n);
    // out = x[n] prepared. `out` aligned to GEMM_ALIGNMENT, not overlapping x.
    void (*prepare)(const float *x, void *out, uint64_t n);
};

// out[c * out_stride + r] = dot(row r of w, column c), for r in 0..n_rows-1, c in 0..n_columns-1; nothing else of
// `out` is written. w [n_rows, n] in blocks of the kernel's type, of any alignment, rows row_bytes apart. columns:
// prepared for the type's activation, column_stride bytes apart (a multiple of GEMM_ALIGNMENT, at least
// gemm_column_kernel.bytes(n)), the first aligned to GEMM_ALIGNMENT. n >= 1; n_rows and n_columns any number. scratch:
// gemm_kernels.scratch_bytes, aligned to GEMM_ALIGNMENT, one per thread; its content means nothing before and after.
// NULL will do when scratch_bytes is 0.
typedef void gemm_kernel(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n, const void *columns,
                         uint64_t column_stride, uint64_t n_columns, float *out, uint64_t out_stride, void *scratch);

struct gemm_kernels {
    uint32_t rows;          // done at once: calls of a multiple of it read the columns least often
    uint32_t scratch_bytes; // at most GEMM_MAX_SCRATCH_BYTES
    bool rounds_to_bf16;    // weights and columns of the quantized types
    struct gemm_column_kernel columns[N_ACTIVATION_TYPES];
    gemm_kernel *multiply[GEMM_TYPE_IDS]; // by quant type id; NULL for ids that are no type
};

// One per tier folder that has a GEMM; called by the tier's kernels_init_<tier>.
void gemm_init_scalar(struct gemm_kernels *gemm);
void gemm_init_avx2(struct gemm_kernels *gemm);
void gemm_init_avxvnni(struct gemm_kernels *gemm);
void gemm_init_avx512(struct gemm_kernels *gemm);
void gemm_init_avx512vnni(struct gemm_kernels *gemm);
void gemm_init_avx512gfni(struct gemm_kernels *gemm);
void gemm_init_amx(struct gemm_kernels *gemm);
void gemm_init_neon(struct gemm_kernels *gemm);
void gemm_init_neon_dotprod(struct gemm_kernels *gemm);
void gemm_init_neon_i8mm(struct gemm_kernels *gemm);

#endif
