#include "gguf/split.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX_BYTES 20u // "-00001-of-00003.gguf"

// `found` tells a key that is absent from one that is there.
static enum chord_status read_count(const struct gguf_header *header, const char *path, const char *key,
                                    uint64_t *out, bool *found, struct chord_error *err)
{
    const struct gguf_value *value = gguf_header_find(header, key);
    int64_t number;
    *found = value != NULL;
    if (value == NULL)
        return CHORD_OK;
    if (value->type == GGUF_ARRAY || value->type == GGUF_BOOL || !gguf_element_i64(value, 0, &number) ||
        number < 0)
        return chord_fail(err, CHORD_GGUF_SPLIT, "%s: %s is no count", path, key);
    *out = (uint64_t)number;
    return CHORD_OK;
}

enum chord_status gguf_split_read(const struct gguf_header *header, const char *path,
                                  struct gguf_split *out, struct chord_error *err)
{
    enum chord_status status;
    uint64_t number = 0, count = 0;
    bool has_number, has_count;
    *out = (struct gguf_split){.count = 1};
    if ((status = read_count(header, path, "split.no", &number, &has_number, err)) != CHORD_OK ||
        (status = read_count(header, path, "split.count", &count, &has_count, err)) != CHORD_OK ||
        (status = read_count(header, path, "split.tensors.count", &out->n_tensors, &out->counts_tensors,
                             err)) != CHORD_OK)
        return status;
    if (count == 0) // written by some tools into whole models
        count = 1;
    if (count > GGUF_MAX_FILES)
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: a model of %" PRIu64 " files; chord reads at most %u", path, count,
                          GGUF_MAX_FILES);
    if (number >= count)
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: says that it is file %" PRIu64 " of only %" PRIu64, path, number + 1, count);
    out->number = (uint32_t)number;
    out->count = (uint32_t)count;
    return CHORD_OK;
}

static void make_suffix(char out[32], uint32_t number, uint32_t count)
{
    snprintf(out, 32, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", number + 1, count);
}

bool gguf_split_is_named(const char *path, uint32_t number, uint32_t count)
{
    char suffix[32];
    const size_t n = strlen(path);
    make_suffix(suffix, number, count);
    return n >= SUFFIX_BYTES && strcmp(path + n - SUFFIX_BYTES, suffix) == 0;
}

char *gguf_split_path(const char *path, uint32_t number, uint32_t count, struct memory_account *account)
{
    char suffix[32];
    const size_t n = strlen(path);
    char *out = memory_alloc(account, MEMORY_METADATA, n + 1, 1);
    if (out == NULL)
        return NULL;
    make_suffix(suffix, number, count);
    memcpy(out, path, n - SUFFIX_BYTES);
    memcpy(out + n - SUFFIX_BYTES, suffix, SUFFIX_BYTES + 1);
    return out;
}

enum chord_status gguf_split_fail_not_first(const struct gguf_split *split, const char *path,
                                            struct memory_account *account, struct chord_error *err)
{
    char *first = gguf_split_is_named(path, split->number, split->count)
                      ? gguf_split_path(path, 0, split->count, account)
                      : NULL;
    const enum chord_status status =
        chord_fail(err, CHORD_GGUF_SPLIT,
                   "%s: is file %" PRIu32 " of %" PRIu32 " of a split model; open the first instead, %s", path,
                   split->number + 1, split->count, first != NULL ? first : "the one that ends in -00001-of-...");
    memory_free(account, first);
    return status;
}
