// XXH64 (Yann Collet, https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md): a 64-bit check of many bytes at the speed of memory.
// Finds damage, not malice. The same on every platform.
#ifndef CHORD_BASE_XXH64_H
#define CHORD_BASE_XXH64_H

#include <stdint.h>

struct xxh64 {
    uint64_t lanes[4];
    uint64_t n_bytes; // so far
    uint64_t seed;
    unsigned char rest[32]; // the last n_bytes % 32
};

void xxh64_init(struct xxh64 *hash, uint64_t seed);
void xxh64_add(struct xxh64 *hash, const void *bytes, uint64_t n_bytes);
uint64_t xxh64_value(const struct xxh64 *hash); // more may be added afterwards

// Of one run of bytes.
uint64_t xxh64(const void *bytes, uint64_t n_bytes, uint64_t seed);

#endif
