// What the IQ1, IQ2 and IQ3 types share: groups of 8 codes from entries of a codebook.
#ifndef CHORD_QUANT_CODEBOOK_GROUPS_H
#define CHORD_QUANT_CODEBOOK_GROUPS_H

#include "quant/codebooks.h"
#include "quant/coded.h"

// Element j of the entry, negative where bit j of `signs` is set.
static inline void codebook_signed_8(uint64_t entry, uint32_t signs, int8_t q[8])
{
    for (int j = 0; j < 8; j++) {
        const int8_t magnitude = (int8_t)(entry >> 8 * j & 0xff);
        q[j] = signs >> j & 1 ? (int8_t)-magnitude : magnitude;
    }
}

// Element j of the entry, signed, plus delta.
static inline void codebook_shifted_8(uint64_t entry, int delta, int8_t q[8])
{
    for (int j = 0; j < 8; j++)
        q[j] = (int8_t)((int8_t)(uint8_t)(entry >> 8 * j) + delta);
}

#endif
