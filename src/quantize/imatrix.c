#include "quantize/imatrix.h"

#include "base/checked.h"
#include "base/half.h"
#include "gguf/cursor.h"
#include "quant/quant.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_DAT_ENTRY 17u // three numbers, a byte of a name, a sum
#define MOST_DATASET_BYTES 4096u

struct imatrix {
    struct memory_account *account;
    char *path;
    struct gguf *gguf;             // NULL: a .dat file, which is
    struct os_file file;           // this
    struct imatrix_entry *entries; // sorted by name
    uint64_t n_entries;
    uint32_t n_chunks;
    char *dataset; // [n_dataset], not terminated
    uint64_t n_dataset;
};

static const struct os_file *file_of(const struct imatrix *m)
{
    return m->gguf != NULL ? &gguf_file(m->gguf, 0)->os : &m->file;
}

static char *shown(char out[80], const char *name)
{
    return chord_printable(out, 80, name, strlen(name));
}

static enum chord_status allocate_entries(struct imatrix *m, uint64_t n, struct chord_error *err)
{
    m->entries = memory_zalloc(m->account, MEMORY_METADATA, n, sizeof *m->entries);
    if (m->entries == NULL)
        return memory_account_fail(m->account, err, n * sizeof *m->entries, "the list of an importance matrix");
    return CHORD_OK;
}

static enum chord_status copy_dataset(struct imatrix *m, uint64_t n, struct chord_error *err)
{
    m->dataset = memory_alloc(m->account, MEMORY_METADATA, n, 1);
    if (m->dataset == NULL)
        return memory_account_fail(m->account, err, n, "the name of a text");
    m->n_dataset = n;
    return CHORD_OK;
}

// ---------------------------------------------------------------------------------------------------------------- GGUF

static bool has_suffix(struct gguf_string name, const char *suffix)
{
    const size_t n = strlen(suffix);
    return name.n_bytes > n && memcmp(name.bytes + name.n_bytes - n, suffix, n) == 0;
}

static enum chord_status check_is_imatrix(const struct imatrix *m, struct chord_error *err)
{
    static const char wanted[] = "imatrix";
    struct gguf_string type = {.bytes = "", .n_bytes = 0};
    char name[80];
    (void)gguf_get_string(m->gguf, "general.type", &type, NULL);
    if (type.n_bytes != sizeof wanted - 1 || memcmp(type.bytes, wanted, sizeof wanted - 1) != 0)
        return chord_fail(err, CHORD_GGUF_METADATA,
                          "%s is not an importance matrix: its general.type is '%s', where 'imatrix' is expected",
                          m->path, chord_printable(name, sizeof name, type.bytes, (size_t)type.n_bytes));
    if (gguf_n_files(m->gguf) != 1)
        return chord_fail(err, CHORD_GGUF_SPLIT, "%s: an importance matrix of several files, which chord does not read",
                          m->path);
    return CHORD_OK;
}

static enum chord_status add_gguf_entry(struct imatrix *m, const struct gguf_tensor *sums, struct chord_error *err)
{
    static const char suffix[] = ".in_sum2";
    struct imatrix_entry *entry = &m->entries[m->n_entries++];
    char counts_name[GGUF_MAX_TENSOR_NAME_BYTES + 16], text[80];
    const int n_name = (int)(sums->name.n_bytes - (sizeof suffix - 1));
    memcpy(entry->name, sums->name.bytes, (size_t)n_name);
    snprintf(counts_name, sizeof counts_name, "%s.counts", entry->name);
    const struct gguf_tensor *counts = gguf_find_tensor(m->gguf, counts_name);
    shown(text, entry->name);
    if (counts == NULL)
        return chord_fail(err, CHORD_GGUF_TENSOR, "%s: there are sums for '%s', but no counts ('%s.counts')", m->path,
                          text, text);
    if (sums->type != QUANT_F32 || counts->type != QUANT_F32)
        return chord_fail(err, CHORD_GGUF_TENSOR, "%s: the sums and counts of '%s' are not F32", m->path, text);
    entry->n_sums = sums->n_bytes / 4;
    entry->n_counts = counts->n_bytes / 4;
    entry->sums_at = sums->offset;
    entry->counts_at = counts->offset;
    if (entry->n_sums % entry->n_counts != 0)
        return chord_fail(err, CHORD_GGUF_TENSOR, "%s: %" PRIu64 " sums of '%s' cannot share %" PRIu64 " counts",
                          m->path, entry->n_sums, text, entry->n_counts);
    return CHORD_OK;
}

static enum chord_status open_gguf(struct imatrix *m, struct chord_error *err)
{
    enum chord_status status = gguf_open(&m->gguf, m->path, m->account, err);
    if (status == CHORD_OK)
        status = check_is_imatrix(m, err);
    if (status == CHORD_OK)
        status = gguf_get_u32_or(m->gguf, "imatrix.chunk_count", 0, &m->n_chunks, err);
    uint64_t n = 0;
    for (uint64_t i = 0; status == CHORD_OK && i < gguf_n_tensors(m->gguf); i++)
        n += has_suffix(gguf_tensor(m->gguf, i)->name, ".in_sum2");
    if (status == CHORD_OK)
        status = allocate_entries(m, n, err);
    for (uint64_t i = 0; status == CHORD_OK && i < gguf_n_tensors(m->gguf); i++)
        if (has_suffix(gguf_tensor(m->gguf, i)->name, ".in_sum2"))
            status = add_gguf_entry(m, gguf_tensor(m->gguf, i), err);
    const struct gguf_value *datasets = status == CHORD_OK ? gguf_find(m->gguf, "imatrix.datasets") : NULL;
    struct gguf_string first;
    struct gguf_string_walk walk = {0};
    if (datasets != NULL)
        walk = gguf_strings(datasets);
    if (gguf_next_string(&walk, &first) && first.n_bytes <= MOST_DATASET_BYTES) {
        status = copy_dataset(m, first.n_bytes, err);
        if (status == CHORD_OK)
            memcpy(m->dataset, first.bytes, (size_t)first.n_bytes);
    }
    return status;
}

// ---------------------------------------------------------------------------------------------------------------- .dat

struct reader {
    struct imatrix *m;
    uint64_t at;
    struct chord_error *err;
};

// The n bytes that come next.
static enum chord_status take(struct reader *r, void *out, uint64_t n)
{
    const uint64_t size = r->m->file.size;
    if (n > size - r->at)
        return chord_fail(r->err, CHORD_GGUF_TRUNCATED,
                          "%s: the file ends at byte %" PRIu64 ", where %" PRIu64
                          " more are promised: no importance matrix, or one that was not copied whole",
                          r->m->path, size, n - (size - r->at));
    const enum chord_status status = n > 0 ? os_file_read(&r->m->file, r->at, out, n, r->err) : CHORD_OK;
    r->at += n;
    return status;
}

// An int32 that is to be least..most.
static enum chord_status take_count(struct reader *r, const char *what, uint32_t least, uint32_t most, uint32_t *out)
{
    unsigned char bytes[4];
    const enum chord_status status = take(r, bytes, sizeof bytes);
    if (status != CHORD_OK)
        return status;
    *out = gguf_load_u32(bytes);
    if (*out < least || *out > most)
        return chord_fail(r->err, *out > INT32_MAX ? CHORD_NOT_GGUF : CHORD_GGUF_LIMIT,
                          "%s: %" PRId32 " %s at byte %" PRIu64 ", where %" PRIu32 " to %" PRIu32
                          " are allowed: no importance matrix, or a damaged one",
                          r->m->path, (int32_t)*out, what, r->at - 4, least, most);
    return CHORD_OK;
}

static enum chord_status read_dat_entry(struct reader *r, struct imatrix_entry *entry)
{
    uint32_t n_name = 0, calls = 0, n_sums = 0;
    enum chord_status status = take_count(r, "bytes of a name", 1, GGUF_MAX_TENSOR_NAME_BYTES, &n_name);
    if (status == CHORD_OK)
        status = take(r, entry->name, n_name);
    if (status == CHORD_OK && memchr(entry->name, 0, n_name) != NULL)
        status = chord_fail(r->err, CHORD_GGUF_TENSOR, "%s: a name before byte %" PRIu64 " holds a zero byte",
                            r->m->path, r->at);
    if (status == CHORD_OK)
        status = take_count(r, "calls", 0, INT32_MAX, &calls);
    if (status == CHORD_OK)
        status = take_count(r, "sums", 1, INT32_MAX, &n_sums);
    entry->sums_at = r->at;
    entry->n_sums = n_sums;
    entry->n_counts = 1;
    entry->calls = calls > 0 ? (float)calls : 1.0f;
    if (status == CHORD_OK && 4 * (uint64_t)n_sums > r->m->file.size - r->at) {
        char name[80];
        return chord_fail(r->err, CHORD_GGUF_TRUNCATED,
                          "%s: the file ends within the %" PRIu32 " sums of '%s'; it was probably not copied whole",
                          r->m->path, n_sums, shown(name, entry->name));
    }
    r->at += 4 * (uint64_t)n_sums;
    return status;
}

// The numbers and the name behind the last entry, which old files lack.
static enum chord_status read_dat_end(struct reader *r)
{
    struct imatrix *m = r->m;
    uint32_t n = 0;
    enum chord_status status = CHORD_OK;
    if (r->at < m->file.size)
        status = take_count(r, "chunks", 0, INT32_MAX, &m->n_chunks);
    if (status == CHORD_OK && r->at < m->file.size)
        status = take_count(r, "bytes of a text's name", 0, MOST_DATASET_BYTES, &n);
    if (status == CHORD_OK && n > 0)
        status = copy_dataset(m, n, r->err);
    return status == CHORD_OK && n > 0 ? take(r, m->dataset, n) : status;
}

static enum chord_status open_dat(struct imatrix *m, struct chord_error *err)
{
    struct reader r = {.m = m, .err = err};
    uint32_t n = 0;
    enum chord_status status = take_count(&r, "matrices", 1, GGUF_MAX_TENSORS, &n);
    if (status == CHORD_OK && n > m->file.size / LEAST_DAT_ENTRY)
        return chord_fail(err, CHORD_GGUF_TRUNCATED,
                          "%s: %" PRIu64 " bytes cannot hold the %" PRIu32
                          " matrices that are promised: no importance matrix, or one that was not copied whole",
                          m->path, m->file.size, n);
    if (status == CHORD_OK)
        status = allocate_entries(m, n, err);
    for (uint32_t i = 0; status == CHORD_OK && i < n; i++)
        status = read_dat_entry(&r, &m->entries[m->n_entries++]);
    return status == CHORD_OK ? read_dat_end(&r) : status;
}

// ------------------------------------------------------------------------------------------------------------- opening

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct imatrix_entry *)a)->name, ((const struct imatrix_entry *)b)->name);
}

static enum chord_status sort_entries(struct imatrix *m, struct chord_error *err)
{
    char name[80];
    if (m->n_entries == 0)
        return chord_fail(err, CHORD_GGUF_METADATA, "%s: an importance matrix of no tensors", m->path);
    qsort(m->entries, m->n_entries, sizeof *m->entries, compare_entries);
    for (uint64_t i = 1; i < m->n_entries; i++)
        if (compare_entries(&m->entries[i - 1], &m->entries[i]) == 0)
            return chord_fail(err, CHORD_GGUF_TENSOR, "%s: '%s' occurs twice", m->path,
                              shown(name, m->entries[i].name));
    return CHORD_OK;
}

enum chord_status imatrix_open(struct imatrix **out, const char *path, struct memory_account *account,
                               struct chord_error *err)
{
    unsigned char magic[4] = {0};
    *out = NULL;
    struct imatrix *m = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *m);
    if (m == NULL)
        return memory_account_fail(account, err, sizeof *m, "an importance matrix");
    m->account = account;
    enum chord_status status = os_file_open(&m->file, path, err);
    if (status == CHORD_OK && (m->path = memory_alloc(account, MEMORY_METADATA, strlen(path) + 1, 1)) == NULL)
        status = memory_account_fail(account, err, strlen(path) + 1, "a path");
    if (status == CHORD_OK) {
        strcpy(m->path, path);
        status = os_file_read(&m->file, 0, magic, m->file.size < sizeof magic ? m->file.size : sizeof magic, err);
    }
    if (status == CHORD_OK)
        status = memcmp(magic, "GGUF", sizeof magic) == 0 ? open_gguf(m, err) : open_dat(m, err);
    if (status == CHORD_OK)
        status = sort_entries(m, err);
    if (status != CHORD_OK) {
        imatrix_close(m);
        return status;
    }
    *out = m;
    return CHORD_OK;
}

void imatrix_close(struct imatrix *m)
{
    if (m == NULL)
        return;
    gguf_close(m->gguf);
    os_file_close(&m->file);
    memory_free(m->account, m->dataset);
    memory_free(m->account, m->entries);
    memory_free(m->account, m->path);
    memory_free(m->account, m);
}

// ------------------------------------------------------------------------------------------------------------- reading

uint64_t imatrix_n_entries(const struct imatrix *m)
{
    return m->n_entries;
}

const struct imatrix_entry *imatrix_entry(const struct imatrix *m, uint64_t index)
{
    return &m->entries[index];
}

const struct imatrix_entry *imatrix_find(const struct imatrix *m, struct gguf_string name)
{
    struct imatrix_entry key;
    if (name.n_bytes >= sizeof key.name)
        return NULL;
    memcpy(key.name, name.bytes, (size_t)name.n_bytes);
    key.name[name.n_bytes] = '\0';
    return bsearch(&key, m->entries, m->n_entries, sizeof key, compare_entries);
}

const char *imatrix_path(const struct imatrix *m)
{
    return m->path;
}

uint32_t imatrix_n_chunks(const struct imatrix *m)
{
    return m->n_chunks;
}

struct gguf_string imatrix_dataset(const struct imatrix *m)
{
    return (struct gguf_string){.bytes = m->dataset != NULL ? m->dataset : "", .n_bytes = m->n_dataset};
}

static enum chord_status read_count(const struct imatrix *m, const struct imatrix_entry *entry, uint64_t index,
                                    float *out, struct chord_error *err)
{
    unsigned char bytes[4];
    *out = entry->calls;
    if (m->gguf == NULL)
        return CHORD_OK;
    const enum chord_status status = os_file_read(file_of(m), entry->counts_at + 4 * index, bytes, sizeof bytes, err);
    *out = status == CHORD_OK ? float_from_bits(gguf_load_u32(bytes)) : 0.0f;
    if (!(*out >= 0.0f && *out < __builtin_inff())) {
        char name[80];
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "%s: the count %" PRIu64 " of '%s' is %g: make the file again",
                          m->path, index, shown(name, entry->name), (double)*out);
    }
    return status;
}

enum chord_status imatrix_read(const struct imatrix *m, const struct imatrix_entry *entry, uint64_t first, uint64_t n,
                               float *out, struct chord_error *err)
{
    const uint64_t per_count = entry->n_sums / entry->n_counts;
    float count = 0.0f;
    enum chord_status status = os_file_read(file_of(m), entry->sums_at + 4 * first, out, 4 * n, err);
    for (uint64_t i = 0; i < n && status == CHORD_OK; i++) {
        if (i == 0 || (first + i) % per_count == 0)
            status = read_count(m, entry, (first + i) / per_count, &count, err);
        const float sum = out[i];
        out[i] = count > 0.0f ? sum / count : 1.0f;
        if (status == CHORD_OK && !(sum >= 0.0f && out[i] < __builtin_inff())) {
            char name[80];
            status = chord_fail(err, CHORD_INVALID_ARGUMENT,
                                "%s: the sum %" PRIu64 " of '%s' is %g, for a count of %g: make the file again",
                                m->path, first + i, shown(name, entry->name), (double)sum, (double)count);
        }
    }
    return status;
}

enum chord_status imatrix_check_unchanged(const struct imatrix *m, struct chord_error *err)
{
    return os_file_check_unchanged(file_of(m), m->path, err);
}
