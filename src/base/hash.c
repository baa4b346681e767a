#include "base/hash.h"

#include "base/checked.h"

#include <string.h>

struct string_table_slot {
    const char *key; // NULL: empty
    uint64_t n_bytes;
    uint32_t hash_high; // spares most key comparisons
    uint32_t value;
};

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

static uint64_t load_le64(const unsigned char *p, uint64_t n)
{
    uint64_t v = 0;
    for (uint64_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

uint64_t hash_bytes(const void *bytes, uint64_t n_bytes, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = mix(seed ^ 0x9e3779b97f4a7c15u) + n_bytes;
    uint64_t at = 0;
    for (; n_bytes - at >= 8; at += 8)
        h = mix(h ^ load_le64(p + at, 8)) + 0x9e3779b97f4a7c15u;
    if (at < n_bytes)
        h = mix(h ^ load_le64(p + at, n_bytes - at));
    return mix(h);
}

bool string_table_init(struct string_table *table, struct memory_account *account, enum memory_region region,
                       uint64_t n_keys, uint64_t seed)
{
    uint64_t least, n_slots = 16;
    *table = (struct string_table){.seed = seed};
    if (!checked_mul(n_keys, 2, &least))
        return false;
    while (n_slots < least)
        if (!checked_mul(n_slots, 2, &n_slots))
            return false;
    table->slots = memory_zalloc(account, region, n_slots, sizeof *table->slots);
    if (table->slots == NULL)
        return false;
    table->n_slots = n_slots;
    return true;
}

void string_table_free(struct string_table *table, struct memory_account *account)
{
    memory_free(account, table->slots);
    *table = (struct string_table){0};
}

// The key's slot, or the empty one where it would go. The table is never full: see insert.
static struct string_table_slot *slot_of(const struct string_table *table, const char *key, uint64_t n_bytes,
                                         uint64_t hash)
{
    uint64_t at = hash & (table->n_slots - 1);
    for (;;) {
        struct string_table_slot *slot = &table->slots[at];
        if (slot->key == NULL || (slot->hash_high == (uint32_t)(hash >> 32) && slot->n_bytes == n_bytes &&
                                  memcmp(slot->key, key, (size_t)n_bytes) == 0))
            return slot;
        at = (at + 1) & (table->n_slots - 1);
    }
}

bool string_table_insert(struct string_table *table, const char *key, uint64_t n_bytes, uint32_t value)
{
    if (table->n_used + 1 >= table->n_slots)
        return false;
    const uint64_t hash = hash_bytes(key, n_bytes, table->seed);
    struct string_table_slot *slot = slot_of(table, key, n_bytes, hash);
    if (slot->key != NULL)
        return false;
    *slot =
        (struct string_table_slot){.key = key, .n_bytes = n_bytes, .hash_high = (uint32_t)(hash >> 32), .value = value};
    table->n_used++;
    return true;
}

int64_t string_table_find(const struct string_table *table, const char *key, uint64_t n_bytes)
{
    if (table->n_slots == 0)
        return -1;
    const uint64_t hash = hash_bytes(key, n_bytes, table->seed);
    const struct string_table_slot *slot = slot_of(table, key, n_bytes, hash);
    return slot->key != NULL ? (int64_t)slot->value : -1;
}
