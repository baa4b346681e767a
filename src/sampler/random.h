// Pseudo-random numbers: xoshiro256** (Blackman, Vigna: "Scrambled Linear Pseudorandom Number Generators", 2021), its state
// filled from a 64-bit seed by SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014), as
// its authors recommend. The same numbers on every machine. Not cryptographic.
#ifndef CHORD_SAMPLER_RANDOM_H
#define CHORD_SAMPLER_RANDOM_H

#include <stdint.h>

struct random_state {
    uint64_t s[4]; // never all zero
};

static inline uint64_t random_rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void random_seed(struct random_state *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        random->s[i] = z ^ z >> 31;
    }
}

static inline uint64_t random_next(struct random_state *random)
{
    uint64_t *s = random->s;
    const uint64_t result = random_rotate(s[1] * 5, 7) * 9;
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = random_rotate(s[3], 45);
    return result;
}

// Uniform in [0, 1): a multiple of 2^-53.
static inline double random_unit(struct random_state *random)
{
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

#endif
