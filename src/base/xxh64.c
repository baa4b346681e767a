#include "base/xxh64.h"

#include <string.h>

#define PRIME_1 0x9e3779b185ebca87u
#define PRIME_2 0xc2b2ae3d27d4eb4fu
#define PRIME_3 0x165667b19e3779f9u
#define PRIME_4 0x85ebca77c2b2ae63u
#define PRIME_5 0x27d4eb2f165667c5u

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static uint64_t load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint64_t load32(const unsigned char *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
}

static uint64_t round64(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * PRIME_2, 31) * PRIME_1;
}

void xxh64_init(struct xxh64 *hash, uint64_t seed)
{
    *hash = (struct xxh64){
        .lanes = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1},
        .seed = seed,
    };
}

// Whole stripes of 32 bytes.
static void add_stripes(struct xxh64 *hash, const unsigned char *p, uint64_t n_stripes)
{
    uint64_t a = hash->lanes[0], b = hash->lanes[1], c = hash->lanes[2], d = hash->lanes[3];
    for (; n_stripes > 0; n_stripes--, p += 32) {
        a = round64(a, load64(p));
        b = round64(b, load64(p + 8));
        c = round64(c, load64(p + 16));
        d = round64(d, load64(p + 24));
    }
    hash->lanes[0] = a;
    hash->lanes[1] = b;
    hash->lanes[2] = c;
    hash->lanes[3] = d;
}

void xxh64_add(struct xxh64 *hash, const void *bytes, uint64_t n_bytes)
{
    const unsigned char *p = bytes;
    const uint64_t n_rest = hash->n_bytes % 32;
    if (n_bytes == 0)
        return;
    hash->n_bytes += n_bytes;
    if (n_rest != 0) {
        const uint64_t n = n_bytes < 32 - n_rest ? n_bytes : 32 - n_rest;
        memcpy(hash->rest + n_rest, p, n);
        p += n;
        n_bytes -= n;
        if (n_rest + n < 32)
            return;
        add_stripes(hash, hash->rest, 1);
    }
    add_stripes(hash, p, n_bytes / 32);
    memcpy(hash->rest, p + n_bytes / 32 * 32, n_bytes % 32);
}

uint64_t xxh64_value(const struct xxh64 *hash)
{
    const unsigned char *p = hash->rest, *end = p + hash->n_bytes % 32;
    uint64_t h = hash->seed + PRIME_5;
    if (hash->n_bytes >= 32) {
        h = rotate(hash->lanes[0], 1) + rotate(hash->lanes[1], 7) + rotate(hash->lanes[2], 12) +
            rotate(hash->lanes[3], 18);
        for (int i = 0; i < 4; i++)
            h = (h ^ round64(0, hash->lanes[i])) * PRIME_1 + PRIME_4;
    }
    h += hash->n_bytes;
    for (; end - p >= 8; p += 8)
        h = rotate(h ^ round64(0, load64(p)), 27) * PRIME_1 + PRIME_4;
    if (end - p >= 4) {
        h = rotate(h ^ load32(p) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        p += 4;
    }
    for (; p < end; p++)
        h = rotate(h ^ *p * PRIME_5, 11) * PRIME_1;
    h = (h ^ h >> 33) * PRIME_2;
    h = (h ^ h >> 29) * PRIME_3;
    return h ^ h >> 32;
}

uint64_t xxh64(const void *bytes, uint64_t n_bytes, uint64_t seed)
{
    struct xxh64 hash;
    xxh64_init(&hash, seed);
    xxh64_add(&hash, bytes, n_bytes);
    return xxh64_value(&hash);
}
