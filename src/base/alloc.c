#include "base/alloc.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

// Stands before every block: what memory_free needs to undo the accounting.
struct block_header {
    void *base;     // what malloc returned
    uint64_t bytes; // as asked for, without header and alignment
    uint64_t charged;
    uint32_t region;
    uint32_t magic;
};

#define BLOCK_MAGIC 0xc40bd0a1u
#define LEAST_ALIGNMENT 16u

static const char *const region_names[N_MEMORY_REGIONS] = {
#define X(id, name) name,
    MEMORY_REGION_MAP(X)
#undef X
};

const char *memory_region_name(enum memory_region region)
{
    return (unsigned)region < N_MEMORY_REGIONS ? region_names[region] : "unknown";
}

void memory_account_init(struct memory_account *account, uint64_t ceiling)
{
    account->ceiling = ceiling;
    atomic_init(&account->total, 0);
    atomic_init(&account->peak, 0);
    for (int i = 0; i < N_MEMORY_REGIONS; i++) {
        atomic_init(&account->held[i], 0);
        account->region_ceiling[i] = UINT64_MAX;
    }
    atomic_init(&account->refused, -1);
    atomic_init(&account->fail_after, -1);
    atomic_init(&account->n_allocations, 0);
    account->reclaim = NULL;
    account->reclaim_user = NULL;
}

// Adds `bytes` to what is held of a region, if its ceiling allows.
static bool reserve_in_region(struct memory_account *account, enum memory_region region, uint64_t bytes)
{
    uint64_t held = atomic_load_explicit(&account->held[region], memory_order_relaxed);
    uint64_t wanted;
    do {
        if (!checked_add(held, bytes, &wanted) || wanted > account->region_ceiling[region]) {
            atomic_store_explicit(&account->refused, (int)region, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&account->held[region], &held, wanted, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

bool memory_reserve_spare(struct memory_account *account, enum memory_region region, uint64_t bytes)
{
    if (!reserve_in_region(account, region, bytes))
        return false;
    uint64_t total = atomic_load_explicit(&account->total, memory_order_relaxed);
    uint64_t wanted;
    do {
        if (!checked_add(total, bytes, &wanted) || wanted > account->ceiling) {
            atomic_fetch_sub_explicit(&account->held[region], bytes, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&account->total, &total, wanted, memory_order_relaxed,
                                                    memory_order_relaxed));
    uint64_t peak = atomic_load_explicit(&account->peak, memory_order_relaxed);
    while (wanted > peak && !atomic_compare_exchange_weak_explicit(&account->peak, &peak, wanted, memory_order_relaxed,
                                                                   memory_order_relaxed))
        continue;
    return true;
}

bool memory_reserve(struct memory_account *account, enum memory_region region, uint64_t bytes)
{
    if (memory_reserve_spare(account, region, bytes))
        return true;
    const uint64_t held = atomic_load_explicit(&account->total, memory_order_relaxed);
    uint64_t wanted;
    if (account->reclaim == NULL || bytes > account->ceiling || !checked_add(held, bytes, &wanted))
        return false;
    account->reclaim(account->reclaim_user, wanted > account->ceiling ? wanted - account->ceiling : 0);
    return memory_reserve_spare(account, region, bytes);
}

void memory_unreserve(struct memory_account *account, enum memory_region region, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&account->held[region], bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&account->total, bytes, memory_order_relaxed);
}

static bool injected_failure(struct memory_account *account)
{
    if (atomic_load_explicit(&account->fail_after, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub_explicit(&account->fail_after, 1, memory_order_relaxed) == 0;
}

static struct block_header *header_of(void *block)
{
    return (struct block_header *)block - 1;
}

void *memory_alloc(struct memory_account *account, enum memory_region region, uint64_t bytes, uint64_t alignment)
{
    uint64_t charged;
    if (alignment < LEAST_ALIGNMENT)
        alignment = LEAST_ALIGNMENT;
    if (!checked_add(bytes, sizeof(struct block_header) + alignment, &charged) || charged > SIZE_MAX ||
        injected_failure(account) || !memory_reserve(account, region, charged))
        return NULL;
    char *base = malloc((size_t)charged);
    if (base == NULL) {
        memory_unreserve(account, region, charged);
        return NULL;
    }
    const uintptr_t first = (uintptr_t)base + sizeof(struct block_header);
    char *block =
        base + sizeof(struct block_header) + (((first + alignment - 1) & ~(uintptr_t)(alignment - 1)) - first);
    struct block_header header = {
        .base = base, .bytes = bytes, .charged = charged, .region = region, .magic = BLOCK_MAGIC};
    *header_of(block) = header;
    atomic_fetch_add_explicit(&account->n_allocations, 1, memory_order_relaxed);
    return block;
}

void *memory_zalloc(struct memory_account *account, enum memory_region region, uint64_t count, uint64_t bytes)
{
    uint64_t total;
    if (!checked_mul(count, bytes, &total))
        return NULL;
    void *block = memory_alloc(account, region, total, LEAST_ALIGNMENT);
    if (block != NULL)
        memset(block, 0, (size_t)total);
    return block;
}

// A block whose memory begins right before it can be resized in place, which for large ones moves pages, not bytes.
static void *resize_in_place(struct memory_account *account, enum memory_region region, void *block, uint64_t bytes)
{
    struct block_header header = *header_of(block);
    const uint64_t before = header.charged;
    if (!checked_add(bytes, sizeof header + LEAST_ALIGNMENT, &header.charged) || header.charged > SIZE_MAX ||
        injected_failure(account) || !memory_reserve(account, region, header.charged))
        return NULL;
    char *base = realloc(header.base, (size_t)header.charged);
    if (base == NULL) {
        memory_unreserve(account, region, header.charged);
        return NULL;
    }
    memory_unreserve(account, (enum memory_region)header.region, before);
    header.base = base;
    header.bytes = bytes;
    header.region = region;
    memcpy(base, &header, sizeof header);
    atomic_fetch_add_explicit(&account->n_allocations, 1, memory_order_relaxed);
    return base + sizeof header;
}

void *memory_resize(struct memory_account *account, enum memory_region region, void *block, uint64_t bytes)
{
    if (block != NULL && header_of(block)->base == header_of(block))
        return resize_in_place(account, region, block, bytes);
    void *resized = memory_alloc(account, region, bytes, LEAST_ALIGNMENT);
    if (resized == NULL || block == NULL)
        return resized;
    const uint64_t kept = header_of(block)->bytes < bytes ? header_of(block)->bytes : bytes;
    memcpy(resized, block, (size_t)kept);
    memory_free(account, block);
    return resized;
}

void memory_free(struct memory_account *account, void *block)
{
    if (block == NULL)
        return;
    struct block_header *header = header_of(block);
    if (header->magic != BLOCK_MAGIC)
        abort(); // a pointer that did not come from here, or was freed before: continuing would corrupt the heap
    header->magic = 0;
    memory_unreserve(account, (enum memory_region)header->region, header->charged);
    free(header->base);
}

uint64_t memory_left(const struct memory_account *account, enum memory_region region)
{
    const uint64_t total = atomic_load_explicit(&account->total, memory_order_relaxed);
    const uint64_t held = atomic_load_explicit(&account->held[region], memory_order_relaxed);
    const uint64_t of_all = account->ceiling > total ? account->ceiling - total : 0;
    const uint64_t most = account->region_ceiling[region], of_region = most > held ? most - held : 0;
    return of_all < of_region ? of_all : of_region;
}

// MiB with one digit, rounded up: a ceiling named in a message must suffice.
static double mib_at_least(uint64_t bytes)
{
    const uint64_t tenth = 104858;
    return (double)(bytes / tenth + 1) / 10;
}

enum chord_status memory_account_fail(const struct memory_account *account, struct chord_error *err, uint64_t bytes,
                                      const char *what)
{
    const uint64_t held = atomic_load_explicit(&account->total, memory_order_relaxed);
    uint64_t wanted;
    // What stands around a block counts too: an allocation just over the ceiling failed because of the ceiling.
    if (!checked_add(held, bytes, &wanted) || !checked_add(wanted, sizeof(struct block_header) + 64, &wanted))
        wanted = UINT64_MAX;
    const int refused = atomic_load_explicit(&account->refused, memory_order_relaxed);
    if (wanted <= account->ceiling && refused >= 0) {
        const uint64_t most = account->region_ceiling[refused];
        const uint64_t there = atomic_load_explicit(&account->held[refused], memory_order_relaxed);
        const uint64_t there_wanted = wanted - held + there;
        if (there_wanted > most)
            return chord_fail(err, CHORD_MEMORY_BUDGET,
                              "%s needs %.1f MiB, but of the %.1f MiB that memory.%s allows %.1f MiB are in use; "
                              "allow at least %.1f MiB",
                              what, (double)bytes / 0x1p20, (double)most / 0x1p20, region_names[refused],
                              (double)there / 0x1p20, mib_at_least(there_wanted));
    }
    if (wanted > account->ceiling)
        return chord_fail(err, CHORD_MEMORY_BUDGET,
                          "%s needs %.1f MiB, but of the memory budget of %.1f MiB %.1f MiB are in use; "
                          "allow at least %.1f MiB",
                          what, (double)bytes / 0x1p20, (double)account->ceiling / 0x1p20, (double)held / 0x1p20,
                          mib_at_least(wanted));
    return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no %.1f MiB left for %s", (double)bytes / 0x1p20, what);
}
