// MXFP4: 17-byte blocks of 32, codes from a table, to which 16 is added.
#include "kernels/avx512/blocks_32.h"
#include "quant/codebooks.h"

ALWAYS_INLINE __m512i unsigned_codes(__m512i nibbles)
{
    static const int8_t table[16] = CODES_FP4;
    const __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)table);
    const __m512i steps = _mm512_broadcast_i32x4(_mm_add_epi8(codes, _mm_set1_epi8(16)));
    return _mm512_shuffle_epi8(steps, nibbles);
}

// mxfp4_scale of four blocks, lane l of block l / 4: their exponents lie within the first 64 bytes.
ALWAYS_INLINE __m512 load_scales(const struct block_mxfp4 *x)
{
#ifdef __AVX512VBMI__
    const __m512i four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i at = _mm512_mullo_epi16(four, _mm512_set1_epi32(sizeof *x));
    const __m512i e = _mm512_maskz_permutexvar_epi8(0x1111111111111111, at, _mm512_loadu_si512(x));
#else
    const __m128i bytes = _mm_setr_epi32(x[0].e, x[1].e, x[2].e, x[3].e);
    const __m512i e = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                                               _mm512_castsi128_si512(bytes));
#endif
    const __mmask16 small = _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, small, _mm512_set1_epi32(0x00200000), e));
}

ALWAYS_INLINE struct codes_32 unpack_mxfp4(const struct block_mxfp4 *x)
{
    const __m512i bytes = load_four_16(x->qs, sizeof *x);
    return (struct codes_32){
        .low = unsigned_codes(low_nibbles(bytes)),
        .high = unsigned_codes(high_nibbles(bytes)),
        .d = load_scales(x),
    };
}

DEFINE_MATVEC_32(mxfp4, 1, false)
