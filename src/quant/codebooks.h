// The tables of the types whose codes choose from a list: little-endian entries, a byte for each element, the first
// element lowest.
#ifndef CHORD_QUANT_CODEBOOKS_H
#define CHORD_QUANT_CODEBOOKS_H

#include <stdint.h>

// IQ4_NL and IQ4_XS: steps that widen away from zero.
#define CODES_IQ4                                                                \
    {                                                                            \
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 \
    }
// MXFP4 and NVFP4: twice the float of 1 sign, 2 exponent and 1 mantissa bits.
#define CODES_FP4                                               \
    {                                                           \
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 \
    }

extern const uint64_t codebook_iq2_xxs[256]; // magnitudes 8, 25, 43
extern const uint64_t codebook_iq2_xs[512];
extern const uint64_t codebook_iq2_s[1024];
extern const uint32_t codebook_iq3_xxs[256]; // magnitudes 4 to 62
extern const uint32_t codebook_iq3_s[512];   // odd magnitudes 1 to 15
extern const uint64_t codebook_iq1[2048];    // -8, 0, 8

// The same entries for permutations of 16-bit words. Bit e of the lower byte: element e is 25, of the upper one: 43.
extern const uint16_t codebook_planes_iq2_xxs[256];
// Nibble e: element e is 4 + 8 * nibble, but for 7, which is 62; or 1 + 2 * nibble.
extern const uint16_t codebook_nibbles_iq3_xxs[256];
extern const uint16_t codebook_nibbles_iq3_s[512];

// Four groups of 7 sign bits in the lower 28 bits of `packed` become four bytes of 8: the eighth makes their number even.
static inline uint32_t codebook_signs(uint32_t packed)
{
    const uint32_t seven =
        (packed & 0x7f) | (packed << 1 & 0x7f00) | (packed << 2 & 0x7f0000) | (packed << 3 & 0x7f000000);
    uint32_t parity = seven ^ (seven >> 4 & 0x0f0f0f0f);
    parity ^= parity >> 2 & 0x03030303;
    parity ^= parity >> 1 & 0x01010101;
    return seven | (parity & 0x01010101) << 7;
}

#endif
