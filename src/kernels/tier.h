// The names of a tier's functions. The files of one folder may be compiled several times, with the flags of one tier
// each; the build defines CHORD_TIER as the tier's name, and every global symbol carries it.
#ifndef CHORD_KERNELS_TIER_H
#define CHORD_KERNELS_TIER_H

#define TIER_JOIN(name, tier) name##_##tier
#define TIER_NAME(name, tier) TIER_JOIN(name, tier)
// name_<tier>
#define TIER(name) TIER_NAME(name, CHORD_TIER)

// Helpers that several functions of a tier are made from, with its flags.
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
