// GEMM of Q6_K: params[s] = d * scale of sub-block s (exact: 11 bits by 8).
#include "kernels/avx512/gemm_unpack_16.h"

// Bits 2 * pair and the next of every byte, as bits 4 and 5.
ALWAYS_INLINE __m512i high_bits(__m512i qh, const uint32_t pair)
{
    return move_bits(qh, 2 * (int)pair, 2 * (int)pair, 4, 2);
}

ALWAYS_INLINE void unpack_16(const struct block_q6_k *x, uint64_t stride, uint32_t n_blocks, struct panel_block *to)
{
    (void)n_blocks;
    __m512i scales[4], last[4];
    transpose_16x4(x->scales, stride, scales);
    transpose_16x4((const uint8_t *)x + sizeof *x - 16, stride, last);
    const __m512 d = floats_of_halves(_mm512_srli_epi32(last[3], 16));
    UNROLL
    for (uint32_t half = 0; half < 2; half++) {
        __m512i qh[8];
        transpose_16x4(x->qh + 32 * half, stride, qh);
        transpose_16x4(x->qh + 32 * half + 16, stride, qh + 4);
        UNROLL
        for (uint32_t piece = 0; piece < 4; piece++) {
            __m512i ql[4];
            transpose_16x4(x->ql + 64 * half + 16 * piece, stride, ql);
            const uint32_t s = 8 * half + piece; // of the low nibbles
            store_scale(to, s, signed_bytes(scales[s / 4], s % 4), d);
            store_scale(to, s + 4, signed_bytes(scales[s / 4 + 1], s % 4), d);
            UNROLL
            for (uint32_t i = 0; i < 4; i++) {
                const __m512i bits = qh[4 * (piece % 2) + i];
                const __m512i nibbles = _mm512_set1_epi8(15);
                store_codes(to, 4 * s + i, and_or(ql[i], nibbles, high_bits(bits, piece / 2)));
                store_codes(to, 4 * s + 16 + i,
                            and_or(_mm512_srli_epi16(ql[i], 4), nibbles, high_bits(bits, 2 + piece / 2)));
            }
        }
    }
}

DEFINE_UNPACK_BY_16(q6_k, 256)
DEFINE_GEMM(q6_k, PANEL_SUB_16, 256)
