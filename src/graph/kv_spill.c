#include "graph/kv_spill.h"

#include "base/xxh64.h"
#include "os/scratch.h"

#include <stdatomic.h>
#include <string.h>

struct kv_spill {
    const struct kv_layout *layout;
    struct memory_account *account;
    uint64_t spare;
    struct os_file file;
    char *path;
    struct kv_block *first, *last; // of the line
    uint32_t *free_slots;          // [capacity], the first n_free of them
    uint32_t n_free, n_slots, capacity;
    _Atomic uint64_t n_blocks, written_bytes, read_bytes;
};

enum chord_status kv_spill_create(struct kv_spill **out, const char *path, const struct kv_layout *layout,
                                  uint64_t spare, struct memory_account *account, struct chord_error *err)
{
    const size_t n = strlen(path) + 1;
    struct kv_spill *spill = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *spill);
    if (spill == NULL)
        return memory_account_fail(account, err, sizeof *spill, "the spill file");
    spill->layout = layout;
    spill->account = account;
    spill->spare = spare;
    spill->path = memory_alloc(account, MEMORY_METADATA, n, 1);
    enum chord_status status = CHORD_OK;
    if (spill->path == NULL)
        status = memory_account_fail(account, err, n, "the spill file");
    else
        memcpy(spill->path, path, n);
    if (status == CHORD_OK)
        status = os_scratch_create(&spill->file, path, err);
    if (status != CHORD_OK) {
        kv_spill_free(spill);
        return status;
    }
    *out = spill;
    return CHORD_OK;
}

void kv_spill_free(struct kv_spill *spill)
{
    if (spill == NULL)
        return;
    os_file_close(&spill->file);
    memory_free(spill->account, spill->free_slots);
    memory_free(spill->account, spill->path);
    memory_free(spill->account, spill);
}

void kv_spill_get_stats(const struct kv_spill *spill, struct kv_spill_stats *out)
{
    *out = (struct kv_spill_stats){0};
    if (spill == NULL)
        return;
    out->n_blocks = atomic_load(&spill->n_blocks);
    out->written_bytes = atomic_load(&spill->written_bytes);
    out->read_bytes = atomic_load(&spill->read_bytes);
}

// ---- The line --------------------------------------------------------------------------------------------------------

void kv_spill_append(struct kv_spill *spill, struct kv_block *block)
{
    block->earlier = spill->last;
    block->later = NULL;
    *(spill->last != NULL ? &spill->last->later : &spill->first) = block;
    spill->last = block;
    block->waits = true;
}

void kv_spill_remove(struct kv_spill *spill, struct kv_block *block)
{
    if (!block->waits)
        return;
    *(block->earlier != NULL ? &block->earlier->later : &spill->first) = block->later;
    *(block->later != NULL ? &block->later->earlier : &spill->last) = block->earlier;
    block->waits = false;
}

// ---- The file --------------------------------------------------------------------------------------------------------

// There is room for every slot in the list of free ones, so that giving one back cannot fail.
static enum chord_status take_slot(struct kv_spill *spill, uint32_t *slot, struct chord_error *err)
{
    if (spill->n_free > 0) {
        *slot = spill->free_slots[--spill->n_free];
        return CHORD_OK;
    }
    if (spill->n_slots == spill->capacity) {
        const uint32_t capacity = spill->capacity == 0 ? 64 : 2 * spill->capacity;
        uint32_t *list =
            memory_resize(spill->account, MEMORY_METADATA, spill->free_slots, capacity * sizeof *spill->free_slots);
        if (list == NULL)
            return memory_account_fail(spill->account, err, capacity * sizeof *list, "the list of the spill file");
        spill->free_slots = list;
        spill->capacity = capacity;
    }
    *slot = spill->n_slots++;
    return CHORD_OK;
}

static uint64_t offset_of(const struct kv_spill *spill, uint32_t slot)
{
    return slot * spill->layout->block_bytes;
}

static enum chord_status named(const struct kv_spill *spill, const struct chord_error *cause, struct chord_error *err)
{
    return chord_fail(err, cause->code, "%s: %s", spill->path, cause->message);
}

enum chord_status kv_spill_first(struct kv_spill *spill, struct chord_error *err)
{
    struct kv_block *block = spill->first;
    struct chord_error cause;
    uint32_t slot = 0;
    if (block == NULL)
        return CHORD_NOT_FOUND;
    const uint64_t n_bytes = spill->layout->block_bytes;
    enum chord_status status = take_slot(spill, &slot, err);
    if (status != CHORD_OK)
        return status;
    status = os_scratch_write(&spill->file, offset_of(spill, slot), block->data, n_bytes, &cause);
    if (status != CHORD_OK) {
        spill->free_slots[spill->n_free++] = slot;
        return named(spill, &cause, err);
    }
    kv_spill_remove(spill, block);
    block->check = xxh64(block->data, n_bytes, slot);
    block->slot = slot;
    memory_free(spill->account, block->data);
    block->data = NULL;
    atomic_fetch_add(&spill->n_blocks, 1);
    atomic_fetch_add(&spill->written_bytes, n_bytes);
    return CHORD_OK;
}

void kv_spill_make_room(struct kv_spill *spill, uint64_t n_bytes)
{
    if (spill->account->reclaim != NULL)
        return;
    // Metadata have no ceiling of their own: what is left for them is left of all.
    while (memory_left(spill->account, MEMORY_METADATA) < n_bytes + spill->spare &&
           kv_spill_first(spill, NULL) == CHORD_OK)
        continue;
}

enum chord_status kv_spill_read(struct kv_spill *spill, const struct kv_block *block, void *data,
                                struct chord_error *err)
{
    struct chord_error cause;
    const uint64_t n_bytes = spill->layout->block_bytes;
    if (os_file_read(&spill->file, offset_of(spill, block->slot), data, n_bytes, &cause) != CHORD_OK)
        return named(spill, &cause, err);
    if (xxh64(data, n_bytes, block->slot) != block->check)
        return chord_fail(err, CHORD_FILE_CHANGED, "%s: the spill file gave back other bytes than were written to it",
                          spill->path);
    atomic_fetch_add(&spill->read_bytes, n_bytes);
    return CHORD_OK;
}

void kv_spill_forget(struct kv_spill *spill, struct kv_block *block)
{
    os_scratch_forget(&spill->file, offset_of(spill, block->slot), spill->layout->block_bytes);
    spill->free_slots[spill->n_free++] = block->slot;
    block->slot = KV_SPILL_NO_SLOT;
    atomic_fetch_sub(&spill->n_blocks, 1);
}
