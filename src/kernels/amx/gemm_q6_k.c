// GEMM of Q6_K.
#include "kernels/amx/bf16_unpack_16.h"

// Moves bits 2j, 2j + 1 of every byte to bits 4 and 5.
ALWAYS_INLINE __m512i high_bits(__m512i qh, const int j)
{
    return move_bits(qh, 2 * j, 2 * j, 4, 2);
}

// Elements 4 * i .. of the 32 of a tile.
ALWAYS_INLINE void store_four(bf16_tile to, const uint32_t i, __m512i codes, __m512 scale)
{
    const __m512i centred = _mm512_sub_epi8(codes, _mm512_set1_epi8(32));
    UNROLL
    for (uint32_t j = 0; j < 4; j += 2)
        store_pair(to, 2 * i + j / 2, _mm512_mul_ps(signed_byte_high(centred, j), scale),
                   _mm512_mul_ps(signed_byte_high(centred, j + 1), scale));
}

ALWAYS_INLINE void unpack_16(const struct block_q6_k *x, uint64_t stride, bf16_tile *to)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    byte_lanes integers[4], last[4];
    transpose_bytes(x->scales, stride, sizeof x->scales, integers);
    transpose_bytes((const uint8_t *)x + sizeof *x - 16, stride, 16, last);
    const __m512 d = _mm512_mul_ps(halves_at(last, 14), _mm512_set1_ps(0x1p-48f));
    __m512 scales[16]; // times 2^-24
    UNROLL
    for (uint32_t s = 0; s < 16; s++)
        scales[s] = _mm512_mul_ps(signed_byte_high(integers[s / 4], s % 4), d);
    for (uint32_t half = 0; half < 2; half++, to += 4) {
        byte_lanes ql[16], qh[8];
        transpose_bytes(x->ql + 64 * half, stride, 64, ql);
        transpose_bytes(x->qh + 32 * half, stride, 32, qh);
        UNROLL
        for (uint32_t t = 0; t < 2; t++) {
            UNROLL
            for (uint32_t i = 0; i < 8; i++) {
                const __m512i low = ql[8 * t + i];
                const __m512 *scale = scales + 8 * half + 2 * t + i / 4;
                store_four(to[t], i, and_or(low, nibble, high_bits(qh[i], (int)t)), scale[0]);
                store_four(to[t + 2], i, and_or(_mm512_srli_epi32(low, 4), nibble, high_bits(qh[i], (int)t + 2)),
                           scale[4]);
            }
        }
    }
}

DEFINE_BF16_GEMM_BY_16(q6_k, 256)
