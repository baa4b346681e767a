// Unpackers for the types in blocks of 32. Codes 256 at a time in natural order; params[b] is the scale of block b and
// params[8 + b] its min, where the type has one.
#ifndef CHORD_KERNELS_AVX512_GEMM_UNPACK_32_H
#define CHORD_KERNELS_AVX512_GEMM_UNPACK_32_H

#include "kernels/avx512/gemm_panel.h"

// The nibbles of two blocks, 16 bytes each, in element order: low nibbles of the first, high ones, then the second's.
ALWAYS_INLINE __m512i nibbles_of_two(const uint8_t first[16], const uint8_t second[16])
{
    const __m512i a = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)first));
    const __m512i both = _mm512_mask_broadcast_i32x4(a, 0xff00, _mm_loadu_si128((const __m128i *)second));
    const __m512i shifted = _mm512_srlv_epi64(both, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
    return _mm512_and_si512(shifted, _mm512_set1_epi8(15));
}

// The 32 high bits of two blocks, as a mask of their 64 elements.
ALWAYS_INLINE __mmask64 high_bits_of_two(const uint8_t first[4], const uint8_t second[4])
{
    uint32_t a, b;
    memcpy(&a, first, sizeof a);
    memcpy(&b, second, sizeof b);
    return (__mmask64)b << 32 | a;
}

// Halves of 8 blocks as floats, to params[0..7].
ALWAYS_INLINE void store_halves(const uint16_t halves[8], uint32_t *params)
{
    _mm256_storeu_ps((float *)params, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)halves)));
}

// Defines unpack_row from `__m512i codes_of_two(const struct block_<type> *x, const struct block_<type> *next)`.
// A lone last block is taken twice.
#define DEFINE_UNPACK_ROW_32(type)                                                                            \
    ALWAYS_INLINE void unpack_row(const struct block_##type *x, uint32_t n_blocks, struct row_block *row)     \
    {                                                                                                         \
        uint16_t d[8] = {0};                                                                                  \
        for (uint32_t b = 0; b < n_blocks; b++)                                                               \
            memcpy(&d[b], x[b].d, sizeof d[b]);                                                               \
        for (uint32_t b = 0; b < n_blocks; b += 2)                                                            \
            _mm512_store_si512(row->codes + 32 * b, codes_of_two(x + b, x + (b + 1 < n_blocks ? b + 1 : b))); \
        store_halves(d, row->params);                                                                         \
    }

// The same for a type with mins m.
#define DEFINE_UNPACK_ROW_32_MIN(type)                                                                        \
    ALWAYS_INLINE void unpack_row(const struct block_##type *x, uint32_t n_blocks, struct row_block *row)     \
    {                                                                                                         \
        uint16_t d[8] = {0}, m[8] = {0};                                                                      \
        for (uint32_t b = 0; b < n_blocks; b++) {                                                             \
            memcpy(&d[b], x[b].d, sizeof d[b]);                                                               \
            memcpy(&m[b], x[b].m, sizeof m[b]);                                                               \
        }                                                                                                     \
        for (uint32_t b = 0; b < n_blocks; b += 2)                                                            \
            _mm512_store_si512(row->codes + 32 * b, codes_of_two(x + b, x + (b + 1 < n_blocks ? b + 1 : b))); \
        store_halves(d, row->params);                                                                         \
        store_halves(m, row->params + 8);                                                                     \
    }

#endif
