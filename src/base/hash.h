// A 64-bit hash of bytes, and a table from byte strings to 32-bit values built on it.
#ifndef CHORD_BASE_HASH_H
#define CHORD_BASE_HASH_H

#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>

// Seeded, well mixed, not cryptographic. The same on every platform.
uint64_t hash_bytes(const void *bytes, uint64_t n_bytes, uint64_t seed);

// Open addressing over borrowed strings: keys are not copied and must outlive the table.
// Built once (single thread), read by any number of threads.
struct string_table {
    struct string_table_slot *slots;
    uint64_t n_slots; // power of two, or 0
    uint64_t n_used;
    uint64_t seed;
};

// Room for `n_keys`; `seed` should not be predictable by the author of a hostile file. False: out of memory.
bool string_table_init(struct string_table *table, struct memory_account *account, enum memory_region region,
                       uint64_t n_keys, uint64_t seed);
void string_table_free(struct string_table *table, struct memory_account *account);

// False, with nothing changed, when the key is there already (or the table is full).
bool string_table_insert(struct string_table *table, const char *key, uint64_t n_bytes, uint32_t value);

// The key's value, or -1.
int64_t string_table_find(const struct string_table *table, const char *key, uint64_t n_bytes);

#endif
