// NVFP4: 36-byte blocks of 64, a scale for each 16, codes from a table.
#include "kernels/avx512/signed_128.h"

// nvfp4_scale of lane l: moved up by 7, its bits are those of a half 256 times smaller, subnormal ones included.
ALWAYS_INLINE __m512 scales_of(__m512i d)
{
    const __m512i bits = _mm512_and_si512(d, _mm512_set1_epi32(127));
    const __mmask16 is_number = _mm512_cmpneq_epi32_mask(d, _mm512_set1_epi32(127));
    const __m512i halves = _mm512_maskz_slli_epi32(is_number, bits, 7);
    return _mm512_mul_ps(_mm512_set1_ps(128.0f), floats_of_halves(halves));
}

// Elements of each 128-bit lane: the low nibbles of 8 bytes, then the high ones. `twice` has the 8 bytes twice.
ALWAYS_INLINE __m512i nibbles_of(__m512i twice)
{
    const __m512i moved = _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4));
    return _mm512_and_si512(moved, _mm512_set1_epi8(15));
}

ALWAYS_INLINE void codes_nvfp4(const struct block_nvfp4 *x, struct signed_128 codes[2])
{
    const __m512i magnitudes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, 1, 2, 3, 4, 6, 8, 12));
    const __m512i eight = _mm512_set1_epi8(8);
    for (int g = 0; g < 2; g++, x += 2) {
        const __m512i qs = _mm512_inserti64x4(_mm512_castsi256_si512(load_32(x[0].qs)), load_32(x[1].qs), 1);
        const __m512i low = nibbles_of(_mm512_unpacklo_epi64(qs, qs));
        const __m512i high = nibbles_of(_mm512_unpackhi_epi64(qs, qs));
        const __m128i d = _mm_setr_epi32((int)block_u32(x[0].d), (int)block_u32(x[1].d), 0, 0);
        const __m128i parted =
            _mm_shuffle_epi8(d, _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1));
        codes[g] = (struct signed_128){
            .low = _mm512_shuffle_epi8(magnitudes, low),
            .high = _mm512_shuffle_epi8(magnitudes, high),
            .low_signs = _mm512_test_epi8_mask(low, eight),
            .high_signs = _mm512_test_epi8_mask(high, eight),
            .d_low = scales_of(lanes_of_bytes(parted, 0)),
            .d_high = scales_of(lanes_of_bytes(parted, 4)),
        };
    }
}

DEFINE_MATVEC_SIGNED_128(nvfp4, 64, true)
