// Quantization types of GGUF tensors: one row per type, everything else derives from the rows.
// Formats: https://github.com/ggml-org/ggml (block structs); restated in quant/blocks.h.
//
// Everything here is a pure function over the caller's memory: no allocation, no state, any number of threads.
//
// A row of n elements is n / block_size consecutive blocks; rows are contiguous. Blocks in a mapped file have no
// alignment worth speaking of: functions here read them through memcpy or byte access.
#ifndef CHORD_QUANT_QUANT_H
#define CHORD_QUANT_QUANT_H

#include <stdbool.h>
#include <stdint.h>

// X(GGUF type id, ENUM, lower-case name used in function names, name shown, elements per block, bytes per block,
//   activation the dot product wants)
// To add a type: a row here, its block struct in quant/blocks.h, its file quant/<name>.c, its line in sources.gypi. Of four
// lists: types with codes, scales and minimums of their own kinds; those that quant/coded.h describes, so that their kernels
// are made from what it says; of the latter those that chord reads, but does not write; and those whose blocks hold no
// scale, but the tensor's end.
#define QUANT_TYPE_MAP(X) QUANT_BLOCK_SCALED_TYPE_MAP(X) QUANT_TENSOR_SCALED_TYPE_MAP(X)
#define QUANT_BLOCK_SCALED_TYPE_MAP(X) QUANT_AFFINE_TYPE_MAP(X) QUANT_CODED_TYPE_MAP(X)
#define QUANT_CODED_TYPE_MAP(X) QUANT_CODED_WRITTEN_TYPE_MAP(X) QUANT_CODED_READ_TYPE_MAP(X)
#define QUANT_WRITTEN_TYPE_MAP(X) QUANT_AFFINE_TYPE_MAP(X) QUANT_CODED_WRITTEN_TYPE_MAP(X)

#define QUANT_AFFINE_TYPE_MAP(X)                               \
    X(0, F32, f32, "F32", 1, 4, ACTIVATION_F32)                \
    X(1, F16, f16, "F16", 1, 2, ACTIVATION_F32)                \
    X(2, Q4_0, q4_0, "Q4_0", 32, 18, ACTIVATION_Q8_PER_32)     \
    X(3, Q4_1, q4_1, "Q4_1", 32, 20, ACTIVATION_Q8_PER_32)     \
    X(6, Q5_0, q5_0, "Q5_0", 32, 22, ACTIVATION_Q8_PER_32)     \
    X(7, Q5_1, q5_1, "Q5_1", 32, 24, ACTIVATION_Q8_PER_32)     \
    X(8, Q8_0, q8_0, "Q8_0", 32, 34, ACTIVATION_Q8_PER_32)     \
    X(10, Q2_K, q2_k, "Q2_K", 256, 84, ACTIVATION_Q8_PER_256)  \
    X(11, Q3_K, q3_k, "Q3_K", 256, 110, ACTIVATION_Q8_PER_256) \
    X(12, Q4_K, q4_k, "Q4_K", 256, 144, ACTIVATION_Q8_PER_256) \
    X(13, Q5_K, q5_k, "Q5_K", 256, 176, ACTIVATION_Q8_PER_256) \
    X(14, Q6_K, q6_k, "Q6_K", 256, 210, ACTIVATION_Q8_PER_256) \
    X(30, BF16, bf16, "BF16", 1, 2, ACTIVATION_F32)

#define QUANT_CODED_WRITTEN_TYPE_MAP(X)                             \
    X(20, IQ4_NL, iq4_nl, "IQ4_NL", 32, 18, ACTIVATION_Q8_PER_32)   \
    X(23, IQ4_XS, iq4_xs, "IQ4_XS", 256, 136, ACTIVATION_Q8_PER_32) \
    X(34, TQ1_0, tq1_0, "TQ1_0", 256, 54, ACTIVATION_Q8_PER_256)    \
    X(35, TQ2_0, tq2_0, "TQ2_0", 256, 66, ACTIVATION_Q8_PER_256)    \
    X(39, MXFP4, mxfp4, "MXFP4", 32, 17, ACTIVATION_Q8_PER_32)

#define QUANT_CODED_READ_TYPE_MAP(X)                                  \
    X(16, IQ2_XXS, iq2_xxs, "IQ2_XXS", 256, 66, ACTIVATION_Q8_PER_32) \
    X(17, IQ2_XS, iq2_xs, "IQ2_XS", 256, 74, ACTIVATION_Q8_PER_32)    \
    X(18, IQ3_XXS, iq3_xxs, "IQ3_XXS", 256, 98, ACTIVATION_Q8_PER_32) \
    X(19, IQ1_S, iq1_s, "IQ1_S", 256, 50, ACTIVATION_Q8_PER_32)       \
    X(21, IQ3_S, iq3_s, "IQ3_S", 256, 110, ACTIVATION_Q8_PER_32)      \
    X(22, IQ2_S, iq2_s, "IQ2_S", 256, 82, ACTIVATION_Q8_PER_32)       \
    X(29, IQ1_M, iq1_m, "IQ1_M", 256, 56, ACTIVATION_Q8_PER_32)       \
    X(40, NVFP4, nvfp4, "NVFP4", 64, 36, ACTIVATION_Q8_PER_32)        \
    X(41, Q1_0, q1_0, "Q1_0", 128, 18, ACTIVATION_Q8_PER_32)          \
    X(42, Q2_0, q2_0, "Q2_0", 64, 18, ACTIVATION_Q8_PER_32)

// I2_S is bitnet.cpp's. Upstream its id belonged to a type that no file should hold any more: the room that a tensor of the
// file has tells which of them it is (gguf/spans.c).
#define QUANT_TENSOR_SCALED_TYPE_MAP(X) X(36, I2_S, i2_s, "I2_S", 128, 32, ACTIVATION_Q8_PER_ROW)

// Types whose quantizers can weigh values by how much they matter.
#define QUANT_WEIGHTED_TYPE_MAP(X)                                                                                  \
    X(Q4_0, q4_0)                                                                                                   \
    X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q2_K, q2_k) X(Q3_K, q3_k) X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) \
        X(IQ4_NL, iq4_nl) X(IQ4_XS, iq4_xs)

// Bytes after the last row of a tensor of such a type: its scale, a float, and room.
#define QUANT_SCALE_TAIL_BYTES 32

enum quant_type {
#define X(id, ENUM, name, shown, block_size, block_bytes, activation) QUANT_##ENUM = id,
    QUANT_TYPE_MAP(X)
#undef X
};

// How activations are prepared for a dot product with a type. Quantized once per matmul input, not per row.
// The integers and scales are the same on every tier; a kernel may keep them in another order.
enum activation_type {
    ACTIVATION_F32,        // as they are
    ACTIVATION_Q8_PER_32,  // int8 with one f32 scale per 32 elements
    ACTIVATION_Q8_PER_256, // int8 with one f32 scale per 256 elements
    ACTIVATION_Q8_PER_ROW, // int8 with one f32 scale
    N_ACTIVATION_TYPES
};

// Natural-order quantized activations: the specification. y[i] ~ scale * q[i].
// scale = absmax / 127 (0 when the block is all zero: q all 0); q[i] = round_to_nearest_even(x[i] * (127 / absmax)),
// computed in f32 as exactly that, so every tier gets the same integers; q is never -128. A block with a NaN or
// infinity gives scale = NaN, q = 0. A block with absmax < ACTIVATION_ABSMAX_MIN counts as all zero: below it 127 /
// absmax would overflow or the scale would be subnormal.
#define ACTIVATION_ABSMAX_MIN 0x1p-119f
struct activation_q8_32 {
    float scale;
    int32_t sum; // of q
    int8_t q[32];
};
struct activation_q8_256 {
    float scale;
    int16_t sums[16]; // of each 16 consecutive q
    int8_t q[256];
};

struct activation_q8_row {
    float scale;
    int32_t sum; // of q, modulo 2^32
    int8_t q[];
};

struct quant_traits {
    const char *name;    // "Q4_K"
    uint32_t type;       // enum quant_type
    uint32_t block_size; // elements per block
    uint32_t block_bytes;
    enum activation_type activation;
    // After a tensor's last row. Not 0: the values below, and products with them, are to be multiplied by the tensor's scale, the
    // float that the tail begins with.
    uint32_t tail_bytes;
    // out[n] = the row's n values (n a multiple of block_size), exactly as the format defines them, in f32.
    void (*dequantize_row)(const void *row, float *out, uint64_t n);
    // The row's blocks from n values: deterministic, the same on every machine, each block by its own values alone.
    // A block with a NaN or an infinity dequantizes to NaN throughout (F32, F16, BF16: each value by itself). F16 and
    // the types of 32 overflow to infinite scales as halves do, the types of 256 saturate. NULL: chord writes no such
    // blocks.
    void (*quantize_row)(const float *x, void *row, uint64_t n);
    // Scalar dot product of one row with prepared activations (f32 array or activation_q8_* array, natural order):
    // the specification that every kernel is tested against. Integer parts exact; float parts summed block by block
    // in order, in f32: result = sum over blocks of (products as documented in the type's file).
    float (*dot)(const void *row, const void *activation, uint64_t n);
};

// The row of a type, or NULL for an id that chord does not read.
const struct quant_traits *quant_traits(uint32_t type);

// The row's blocks from n values so that sum of importance * sqrt(x^2 + the block's mean x^2) * (x - w)^2 comes out small for each block.
// importance[n], finite and >= 0; a factor for all of them changes nothing but roundings, and where all of a block's are 0 they count as
// equal. Otherwise as quantize_row, but all types except IQ4_NL saturate.
typedef void (*quant_weighted)(const float *x, const float *importance, void *row, uint64_t n);

// NULL: the type's quantizer takes no importances, or there is none.
quant_weighted quant_weighted_of(uint32_t type);

// By shown name ("Q4_K"), or NULL.
const struct quant_traits *quant_traits_by_name(const char *name);

// Types that are known by name but not read, so that the error can say which: "IQ4_XS", or NULL.
const char *quant_unread_type_name(uint32_t type);

// *out = bytes of a row of n elements. False: unknown type, n not a multiple of the block, or overflow.
bool quant_row_bytes(uint32_t type, uint64_t n, uint64_t *out);

// *out = bytes of a tensor of n_rows >= 1 rows of n elements, with its tail. False: as above.
bool quant_tensor_bytes(uint32_t type, uint64_t n, uint64_t n_rows, uint64_t *out);

// Bytes that n activations take (UINT64_MAX when they do not fit in 64 bits), and their preparation (n a multiple of
// the type's 32 or 256, of 128 per row; any n for F32; `out` aligned to 4, not overlapping x).
uint64_t activation_bytes(enum activation_type type, uint64_t n);
void activation_quantize(enum activation_type type, const float *x, void *out, uint64_t n);

#endif
