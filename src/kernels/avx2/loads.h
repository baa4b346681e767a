// Loads that this folder and avx512 share.
#ifndef CHORD_KERNELS_AVX2_LOADS_H
#define CHORD_KERNELS_AVX2_LOADS_H

#include "kernels/kernels.h"
#include "kernels/tier.h"
#include "quant/blocks.h"

#include <immintrin.h>

// Prefetches the `bytes` (a constant) of the stream that correspond to p. Running past the end is harmless.
ALWAYS_INLINE void prefetch_stream(struct prefetch ahead, const void *p, uint32_t bytes)
{
    const uintptr_t at = (uintptr_t)p;
    for (uint32_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)(at + ahead.far + i), _MM_HINT_T1);
        _mm_prefetch((const char *)(at + ahead.near + i), _MM_HINT_T0);
    }
}

ALWAYS_INLINE __m256i load_32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

// The half at p.
ALWAYS_INLINE float load_half(const uint8_t p[2])
{
    return _cvtsh_ss(block_u16(p));
}

#endif
