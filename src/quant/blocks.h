// On-disk blocks of the quantized types: https://github.com/ggml-org/ggml (ggml-common.h), restated.
//
// Every field is an array of bytes, so a block has alignment 1 and no padding: a pointer into a mapped file may be used
// as a pointer to blocks. Halves are little-endian; block_half reads them. "w" below is the value of an element, "q"
// its code. A super-block has 256 elements, cut into sub-blocks with their own small integer scales.
#ifndef CHORD_QUANT_BLOCKS_H
#define CHORD_QUANT_BLOCKS_H

#include "base/half.h"
#include "quant/quant.h"

#include <stdint.h>

#define SUPER_BLOCK 256

// w = the little-endian float, half or bfloat16.
struct block_f32 {
    uint8_t bits[4];
};
struct block_f16 {
    uint8_t bits[2];
};
struct block_bf16 {
    uint8_t bits[2];
};

// 32 elements, w = d * (q - 8). The low nibble of qs[j] is element j, the high nibble is element j + 16.
struct block_q4_0 {
    uint8_t d[2];
    uint8_t qs[16];
};

// 32 elements, w = d * q + m; nibbles as in Q4_0.
struct block_q4_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t qs[16];
};

// 32 elements, w = d * (q - 16). Bits 0..3 of q as in Q4_0; bit 4 of element j is bit j of qh, little-endian.
struct block_q5_0 {
    uint8_t d[2];
    uint8_t qh[4];
    uint8_t qs[16];
};

// 32 elements, w = d * q + m; codes as in Q5_0.
struct block_q5_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t qh[4];
    uint8_t qs[16];
};

// 32 elements, w = d * q. Quantizers write -127..127, files may hold -128.
struct block_q8_0 {
    uint8_t d[2];
    int8_t qs[32];
};

// 16 sub-blocks of 16: w = d * (scales[s] & 15) * q - dmin * (scales[s] >> 4), q 0..3.
// Element 128h + 32j + l (l < 32) is bits 2j, 2j+1 of qs[32h + l].
struct block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint8_t d[2];
    uint8_t dmin[2];
};

// 16 sub-blocks of 16: w = d * (s - 32) * q, q -4..3, s 0..63. The low two bits of q + 4 lie as in Q2_K; its third bit,
// for element 128h + 32j + l, is bit 4h + j of hmask[l]. Scales: q3_k_scale.
struct block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint8_t d[2];
};

// 8 sub-blocks of 32: w = d * s * q - dmin * m, q 0..15. For chunk c of 64 elements, the low nibble of qs[32c + l] is
// element 64c + l, the high nibble is element 64c + 32 + l. Scales and mins: q4_k_scale_min.
struct block_q4_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t qs[128];
};

// As Q4_K, and bit 4 of element l of sub-block b is bit b of qh[l]: q 0..31.
struct block_q5_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};

// 16 sub-blocks of 16: w = d * scales[s] * (q - 32), q 0..63. In half h, the nibbles of ql[64h..64h+63] are bits 0..3
// of elements 128h + 0..63 (low) and 128h + 64..127 (high); bits 2j, 2j+1 of qh[32h + l] are bits 4, 5 of element
// 128h + 32j + l.
struct block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint8_t d[2];
};

#define X(id, ENUM, name, shown, block_size, block_bytes, activation)                  \
    _Static_assert(sizeof(struct block_##name) == (block_bytes), shown " block size"); \
    _Static_assert(_Alignof(struct block_##name) == 1, shown " block alignment");
QUANT_TYPE_MAP(X)
#undef X

static inline uint16_t block_u16(const uint8_t bytes[2])
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline float block_half(const uint8_t bytes[2])
{
    return float_from_half(block_u16(bytes));
}

static inline void block_set_u16(uint8_t bytes[2], uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

// The 6-bit scale and min of sub-block j (0..7) of Q4_K and Q5_K: *s and *m 0..63.
static inline void q4_k_scale_min(const uint8_t scales[12], int j, int32_t *s, int32_t *m)
{
    if (j < 4) {
        *s = scales[j] & 63;
        *m = scales[j + 4] & 63;
    } else {
        *s = (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
        *m = scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    }
}

static inline void q4_k_pack_scales(uint8_t packed[12], const uint8_t scales[8], const uint8_t mins[8])
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scales[j] | scales[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(mins[j] | mins[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((scales[j + 4] & 15) | (mins[j + 4] & 15) << 4);
    }
}

// The scale of sub-block s (0..15) of Q3_K with its bias taken off: -32..31.
static inline int32_t q3_k_scale(const uint8_t scales[12], int s)
{
    const int32_t low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
    const int32_t high = scales[8 + s % 4] >> 2 * (s / 4) & 3;
    return (low | high << 4) - 32;
}

// The functions of each type's file, as the fields of struct quant_traits describe them.
#define X(id, ENUM, name, shown, block_size, block_bytes, activation)      \
    void quant_dequantize_##name(const void *row, float *out, uint64_t n); \
    void quant_quantize_##name(const float *x, void *row, uint64_t n);     \
    float quant_dot_##name(const void *row, const void *activation_row, uint64_t n);
QUANT_TYPE_MAP(X)
#undef X

#endif
