#include "tokenizer/merge.h"

#include "base/checked.h"

void merge_scratch_free(struct merge_scratch *scratch)
{
    memory_free(scratch->account, scratch->ids);
    memory_free(scratch->account, scratch->starts);
    memory_free(scratch->account, scratch->next);
    memory_free(scratch->account, scratch->before);
    memory_free(scratch->account, scratch->pairs);
    memory_free(scratch->account, scratch->heap);
    *scratch = (struct merge_scratch){.account = scratch->account};
}

bool merge_scratch_reserve(struct merge_scratch *scratch, uint32_t n)
{
    if (n <= scratch->capacity)
        return true;
    const uint64_t grown = (uint64_t)scratch->capacity * 2;
    const uint64_t capacity = grown > n ? (grown < UINT32_MAX ? grown : UINT32_MAX) : n;
    struct memory_account *account = scratch->account;
    merge_scratch_free(scratch);
    scratch->ids = memory_alloc(account, MEMORY_TOKENIZER, capacity * sizeof *scratch->ids, 16);
    scratch->starts = memory_alloc(account, MEMORY_TOKENIZER, (capacity + 1) * sizeof *scratch->starts, 16);
    scratch->next = memory_alloc(account, MEMORY_TOKENIZER, capacity * sizeof *scratch->next, 16);
    scratch->before = memory_alloc(account, MEMORY_TOKENIZER, capacity * sizeof *scratch->before, 16);
    scratch->pairs = memory_alloc(account, MEMORY_TOKENIZER, capacity * sizeof *scratch->pairs, 16);
    scratch->heap = memory_alloc(account, MEMORY_TOKENIZER, 2 * capacity * sizeof *scratch->heap, 16);
    if (scratch->ids == NULL || scratch->starts == NULL || scratch->next == NULL || scratch->before == NULL ||
        scratch->pairs == NULL || scratch->heap == NULL) {
        merge_scratch_free(scratch);
        return false;
    }
    scratch->capacity = (uint32_t)capacity;
    return true;
}
