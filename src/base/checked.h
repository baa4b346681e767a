// Checked 64-bit arithmetic: every size that comes from a file or from a user goes through these.
#ifndef CHORD_BASE_CHECKED_H
#define CHORD_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

// *out = a + b, a - b, a * b. False, with *out unspecified, when the result does not fit.
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool checked_sub(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_sub_overflow(a, b, out);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

// *out = n rounded up to a multiple of `alignment`, a power of two. False when it does not fit.
static inline bool checked_align(uint64_t n, uint64_t alignment, uint64_t *out)
{
    if (!checked_add(n, alignment - 1, out))
        return false;
    *out &= ~(alignment - 1);
    return true;
}

#endif
