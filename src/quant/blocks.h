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

// 32 elements, w = d * T[q], T being CODES_IQ4 of quant/codebooks.h; nibbles as in Q4_0.
struct block_iq4_nl {
    uint8_t d[2];
    uint8_t qs[16];
};

// 8 sub-blocks of 32: w = d * (s - 32) * T[q], s 0..63 (iq4_xs_scale); the nibbles of sub-block s are qs[16s..16s+15], each 16
// bytes as in Q4_0.
struct block_iq4_xs {
    uint8_t d[2];
    uint8_t scales_h[2];
    uint8_t scales_l[4];
    uint8_t qs[128];
};

// 32 elements, w = mxfp4_scale(e) * T[q], T being CODES_FP4 of quant/codebooks.h; nibbles as in Q4_0.
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
};

// 4 sub-blocks of 16: w = nvfp4_scale(d[s]) * T[q], T as in MXFP4. The low nibble of qs[8s + j] is element 16s + j, the high
// nibble is element 16s + 8 + j.
struct block_nvfp4 {
    uint8_t d[4];
    uint8_t qs[32];
};

// 128 elements, w = d where bit e % 8 of qs[e / 8] is set, else -d.
struct block_q1_0 {
    uint8_t d[2];
    uint8_t qs[16];
};

// 64 elements, w = d * (q - 1), q 0..3: bits 2 * (e % 4) and the next of qs[e / 4].
struct block_q2_0 {
    uint8_t d[2];
    uint8_t qs[16];
};

// 256 elements, w = d * (t - 1), t 0..2: ternary digits of qs (five to a byte) and qh (four), see quant/tq1_0.c.
struct block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint8_t d[2];
};

// 256 elements, w = d * (q - 1), q 0..3, which lie as in Q2_K.
struct block_tq2_0 {
    uint8_t qs[64];
    uint8_t d[2];
};

// The types that choose groups of elements from a codebook (quant/codebooks.h): see their files for what a value is made of.
// A "group" is 8 elements, a sub-block 32, ordered as the elements are. Integers are little-endian.

// Sub-block s, 8 bytes: 4 entries (of 8 elements), then a u32 with 4 times 7 bits of signs and 4 bits of scale above.
struct block_iq2_xxs {
    uint8_t d[2];
    uint8_t qs[64];
};

// Group g: a u16 with 9 bits of entry and 7 of signs above. Nibble h of scales[s], the low one first: half h of sub-block s.
struct block_iq2_xs {
    uint8_t d[2];
    uint8_t qs[64];
    uint8_t scales[8];
};

// Group g: entry qs[g] with bits 2 * (g % 4) and the next of qh[g / 4] above, bits of signs signs[g]; scales as in IQ2_XS.
struct block_iq2_s {
    uint8_t d[2];
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
};

// Elements 4k .. 4k + 3: entry qs[k]. Sub-block s: a u32 as in IQ2_XXS.
struct block_iq3_xxs {
    uint8_t d[2];
    uint8_t qs[64];
    uint8_t signs_scales[32];
};

// Elements 4k .. 4k + 3: entry qs[k] with bit k % 8 of qh[k / 8] above. Group g: bits of signs signs[g]. Sub-block s: nibble s % 2
// of scales[s / 2].
struct block_iq3_s {
    uint8_t d[2];
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
};

// Group g: entry qs[g] with three bits above. Sub-block s: a u16 of qh with those bits of its four groups, 3 bits of scale and,
// highest, the sign of delta.
struct block_iq1_s {
    uint8_t d[2];
    uint8_t qs[32];
    uint8_t qh[16];
};

// Group g: entry qs[g] with three bits above, the lower ones of nibble g % 2 of qh[g / 2], the fourth being the sign of delta.
// Scales: four u16, each with 3 bits for each 16 elements of 64 and, highest, 4 bits of the half d (iq1_m_d), the lowest first.
struct block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint8_t scales[8];
};

// 128 ternary elements, w = q - 1 times the tensor's scale; q = 3 reads as 2. Element e is the two bits of qs[e % 32] from bit
// 6 - 2 * (e / 32) on.
struct block_i2_s {
    uint8_t qs[32];
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

static inline uint32_t block_u32(const uint8_t bytes[4])
{
    return block_u16(bytes) | (uint32_t)block_u16(bytes + 2) << 16;
}

// The scale of sub-block s (0..7) of IQ4_XS with its bias taken off: -32..31.
static inline int32_t iq4_xs_scale(const struct block_iq4_xs *b, int s)
{
    const int32_t low = b->scales_l[s / 2] >> 4 * (s % 2) & 15;
    return (low | (block_u16(b->scales_h) >> 2 * s & 3) << 4) - 32;
}

// 2^(e - 128): half of what the exponent says, as the table holds doubles.
static inline float mxfp4_scale(uint8_t e)
{
    return float_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

// Half of the float of 4 exponent bits (bias 7) and 3 mantissa bits; bit 7 means nothing, but for 127, which reads as 0.
static inline float nvfp4_scale(uint8_t d)
{
    const uint32_t exponent = d >> 3 & 15, mantissa = d & 7;
    if (d == 127)
        return 0.0f;
    return exponent == 0 ? (float)mantissa * 0x1p-10f
                         : float_from_bits((exponent + 119) << 23) * (1.0f + 0.125f * (float)mantissa);
}

static inline float iq1_m_d(const struct block_iq1_m *b)
{
    uint16_t d = 0;
    for (int i = 0; i < 4; i++)
        d = (uint16_t)(d | b->scales[2 * i + 1] >> 4 << 4 * i);
    return float_from_half(d);
}

// The functions of each type's file, as the fields of struct quant_traits describe them.
#define X(id, ENUM, name, shown, block_size, block_bytes, activation)      \
    void quant_dequantize_##name(const void *row, float *out, uint64_t n); \
    float quant_dot_##name(const void *row, const void *activation_row, uint64_t n);
QUANT_TYPE_MAP(X)
#undef X

#define X(id, ENUM, name, shown, block_size, block_bytes, activation) \
    void quant_quantize_##name(const float *x, void *row, uint64_t n);
QUANT_WRITTEN_TYPE_MAP(X)
#undef X

#define X(ENUM, name) \
    void quant_quantize_weighted_##name(const float *x, const float *importance, void *row, uint64_t n);
QUANT_WEIGHTED_TYPE_MAP(X)
#undef X

#endif
