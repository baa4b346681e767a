// What the matvec kernels of all vector tiers are made from: one function a type that is compiled for each number of columns.
#ifndef CHORD_KERNELS_MATVEC_H
#define CHORD_KERNELS_MATVEC_H

#include "kernels/kernels.h"
#include "kernels/tier.h"

// Defines matvec_<type> of the tier from rows_<type>, which has its parameters, compiled once for each number of columns.
#define DEFINE_MATVEC_OF_ROWS(type)                                                                                    \
    void TIER(matvec_##type)(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,                           \
                             const void *const *columns, uint32_t n_columns, float *const *out, struct prefetch ahead) \
    {                                                                                                                  \
        switch (n_columns) {                                                                                           \
        case 1:                                                                                                        \
            rows_##type(w, row_bytes, n_rows, n, columns, 1, out, ahead);                                              \
            break;                                                                                                     \
        case 2:                                                                                                        \
            rows_##type(w, row_bytes, n_rows, n, columns, 2, out, ahead);                                              \
            break;                                                                                                     \
        case 3:                                                                                                        \
            rows_##type(w, row_bytes, n_rows, n, columns, 3, out, ahead);                                              \
            break;                                                                                                     \
        default:                                                                                                       \
            rows_##type(w, row_bytes, n_rows, n, columns, 4, out, ahead);                                              \
            break;                                                                                                     \
        }                                                                                                              \
    }

// The same from
//     dot_<type>(const uint8_t *row, uint64_t n, const void *const *columns, uint32_t n_columns, struct prefetch ahead,
//                float *dots)
// compiled once for each number of columns: the row is unpacked once for all of them, and each column sees the same
// operations in the same order whatever their number.
#define DEFINE_MATVEC(type)                                                                                 \
    ALWAYS_INLINE void rows_##type(const void *w, uint64_t row_bytes, uint64_t n_rows, uint64_t n,          \
                                   const void *const *columns, const uint32_t n_columns, float *const *out, \
                                   struct prefetch ahead)                                                   \
    {                                                                                                       \
        const uint8_t *row = w;                                                                             \
        for (uint64_t r = 0; r < n_rows; r++, row += row_bytes) {                                           \
            float dots[MATVEC_MAX_COLUMNS];                                                                 \
            dot_##type(row, n, columns, n_columns, ahead, dots);                                            \
            for (uint32_t c = 0; c < n_columns; c++)                                                        \
                out[c][r] = dots[c];                                                                        \
        }                                                                                                   \
    }                                                                                                       \
    DEFINE_MATVEC_OF_ROWS(type)

#endif
