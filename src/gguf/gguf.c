// Puts the headers of one or several files together to a model's directory.
#include "gguf/gguf.h"

#include "base/hash.h"
#include "gguf/header.h"
#include "gguf/split.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct gguf {
    struct memory_account *account;
    struct gguf_file *files;
    struct gguf_header *headers; // one per file; headers[0] holds the model's metadata
    uint32_t n_files;
    struct gguf_tensor *tensors; // of all files: headers[0].tensors, or a joined copy
    uint64_t n_tensors;
    struct string_table names; // tensor name -> index into tensors
};

// Differs from run to run and cannot be known when a file is written, so that nobody can choose names that collide.
static uint64_t unpredictable_seed(const void *heap)
{
    struct timespec now = {0};
    uint64_t parts[3];
    timespec_get(&now, TIME_UTC);
    parts[0] = (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec;
    parts[1] = (uint64_t)(uintptr_t)heap;
    parts[2] = (uint64_t)(uintptr_t)parts; // addresses of heap and stack are random where the system does so
    return hash_bytes(parts, sizeof parts, 0);
}

static enum chord_status read_file(const void *context, uint64_t offset, void *out, uint64_t n_bytes,
                                   struct chord_error *err)
{
    return os_file_read(context, offset, out, n_bytes, err);
}

static char *copy_text(const char *text, struct memory_account *account)
{
    const size_t n = strlen(text) + 1;
    char *copy = memory_alloc(account, MEMORY_METADATA, n, 1);
    if (copy != NULL)
        memcpy(copy, text, n);
    return copy;
}

static enum chord_status create(struct gguf **out, struct memory_account *account, struct chord_error *err)
{
    struct gguf *gguf = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *gguf);
    *out = gguf;
    if (gguf == NULL)
        return memory_account_fail(account, err, sizeof *gguf, "the model's directory");
    gguf->account = account;
    return CHORD_OK;
}

void gguf_close(struct gguf *gguf)
{
    if (gguf == NULL)
        return;
    struct memory_account *account = gguf->account;
    if (gguf->n_files > 1)
        memory_free(account, gguf->tensors);
    string_table_free(&gguf->names, account);
    for (uint32_t i = 0; i < gguf->n_files; i++) {
        gguf_header_free(&gguf->headers[i], account);
        os_file_close(&gguf->files[i].os);
        memory_free(account, gguf->files[i].path);
    }
    memory_free(account, gguf->headers);
    memory_free(account, gguf->files);
    memory_free(account, gguf);
}

// Makes room for n_files files; those that are there stay.
static enum chord_status reserve_files(struct gguf *gguf, uint32_t n_files, struct chord_error *err)
{
    const uint64_t n_bytes = n_files * (sizeof *gguf->files + sizeof *gguf->headers);
    struct gguf_file *files =
        memory_resize(gguf->account, MEMORY_METADATA, gguf->files, n_files * sizeof *files);
    if (files == NULL)
        return memory_account_fail(gguf->account, err, n_bytes, "the list of files");
    gguf->files = files;
    struct gguf_header *headers =
        memory_resize(gguf->account, MEMORY_METADATA, gguf->headers, n_files * sizeof *headers);
    if (headers == NULL)
        return memory_account_fail(gguf->account, err, n_bytes, "the list of files");
    gguf->headers = headers;
    return CHORD_OK;
}

// Reads the next file's header, for which there is room. Takes `path`, also on failure; NULL: out of memory.
// Without a source the file is opened.
static enum chord_status add_file(struct gguf *gguf, char *path, const struct gguf_source *source,
                                  bool any_type, struct chord_error *err)
{
    enum chord_status status;
    if (path == NULL)
        return memory_account_fail(gguf->account, err, 0, "a path");
    struct gguf_file *file = &gguf->files[gguf->n_files];
    struct gguf_header *header = &gguf->headers[gguf->n_files];
    *file = (struct gguf_file){.path = path};
    *header = (struct gguf_header){0};
    gguf->n_files++; // from here on gguf_close sees to it
    struct gguf_source opened;
    if (source == NULL) {
        if ((status = os_file_open(&file->os, path, err)) != CHORD_OK)
            return status;
        opened = (struct gguf_source){
            .name = path, .n_bytes = file->os.size, .read = read_file, .context = &file->os};
        source = &opened;
    }
    status = gguf_header_read(header, source, any_type, unpredictable_seed(path), gguf->account, err);
    if (status != CHORD_OK)
        return status;
    file->version = header->version;
    file->header_bytes = header->n_bytes;
    return CHORD_OK;
}

static enum chord_status add_sibling(struct gguf *gguf, const struct gguf_split *first, uint32_t number,
                                     bool any_type, struct chord_error *err)
{
    const char *first_path = gguf->files[0].path;
    struct gguf_split split;
    enum chord_status status = add_file(
        gguf, gguf_split_path(first_path, number, first->count, gguf->account), NULL, any_type, err);
    if (status == CHORD_FILE_NOT_FOUND)
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: file %" PRIu32 " of the model's %" PRIu32 " is missing: all of them must lie in one "
                          "folder under the names they were given",
                          gguf->files[number].path, number + 1, first->count);
    if (status != CHORD_OK)
        return status;
    const char *path = gguf->files[number].path;
    if ((status = gguf_split_read(&gguf->headers[number], path, &split, err)) != CHORD_OK)
        return status;
    if (split.number != number || split.count != first->count)
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: says that it is file %" PRIu32 " of %" PRIu32 ", but its name and %s say %" PRIu32
                          " of %" PRIu32,
                          path, split.number + 1, split.count, first_path, number + 1, first->count);
    if (split.counts_tensors && first->counts_tensors && split.n_tensors != first->n_tensors)
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: is of a model with %" PRIu64 " tensors, %s of one with %" PRIu64
                          ": they do not belong together",
                          path, split.n_tensors, first_path, first->n_tensors);
    return CHORD_OK;
}

// Joins the files' directories into one. Frees theirs.
static enum chord_status join_tensors(struct gguf *gguf, struct chord_error *err)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < gguf->n_files; i++)
        n += gguf->headers[i].n_tensors; // no overflow: both factors are bounded
    if (n > GGUF_MAX_TENSORS)
        return chord_fail(err, CHORD_GGUF_LIMIT,
                          "%s: %" PRIu64 " tensors in its files, where %u is the most that chord reads",
                          gguf->files[0].path, n, GGUF_MAX_TENSORS);
    gguf->tensors = memory_zalloc(gguf->account, MEMORY_METADATA, n, sizeof *gguf->tensors);
    if (gguf->tensors == NULL)
        return memory_account_fail(gguf->account, err, n * sizeof *gguf->tensors, "the tensor directory");
    for (uint32_t i = 0; i < gguf->n_files; i++) {
        struct gguf_header *header = &gguf->headers[i];
        for (uint64_t t = 0; t < header->n_tensors; t++) {
            header->tensors[t].file = i;
            gguf->tensors[gguf->n_tensors++] = header->tensors[t];
        }
        memory_free(gguf->account, header->tensors);
        header->tensors = NULL;
        header->n_tensors = 0;
    }
    return CHORD_OK;
}

static enum chord_status index_tensors(struct gguf *gguf, struct chord_error *err)
{
    char name[80];
    if (!string_table_init(&gguf->names, gguf->account, MEMORY_METADATA, gguf->n_tensors,
                           unpredictable_seed(gguf)))
        return memory_account_fail(gguf->account, err, gguf->n_tensors * 96 + 1024, "the index of tensor names");
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        if (!string_table_insert(&gguf->names, tensor->name.bytes, tensor->name.n_bytes, (uint32_t)i))
            return chord_fail(err, CHORD_GGUF_TENSOR, "%s: the tensor '%s' appears twice",
                              gguf->files[tensor->file].path,
                              chord_printable(name, sizeof name, tensor->name.bytes,
                                              (size_t)tensor->name.n_bytes));
    }
    return CHORD_OK;
}

// All that follows once headers[0] is there. `from_memory`: there are no siblings to open.
static enum chord_status complete(struct gguf *gguf, bool from_memory, bool any_type,
                                  struct chord_error *err)
{
    struct gguf_split split;
    const char *path = gguf->files[0].path;
    enum chord_status status = gguf_split_read(&gguf->headers[0], path, &split, err);
    if (status != CHORD_OK)
        return status;
    if (split.number > 0)
        return gguf_split_fail_not_first(&split, path, gguf->account, err);
    if (split.count == 1) {
        gguf->tensors = gguf->headers[0].tensors;
        gguf->n_tensors = gguf->headers[0].n_tensors;
        return index_tensors(gguf, err);
    }

    if (from_memory)
        return chord_fail(err, CHORD_GGUF_SPLIT, "%s: is the first of %" PRIu32
                          " files, which cannot be opened from memory", path, split.count);
    if (!gguf_split_is_named(path, 0, split.count))
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: is the first of %" PRIu32 " files, so its name must end in -00001-of-%05" PRIu32
                          ".gguf for the others to be found",
                          path, split.count, split.count);
    if ((status = reserve_files(gguf, split.count, err)) != CHORD_OK)
        return status;
    for (uint32_t i = 1; i < split.count; i++)
        if ((status = add_sibling(gguf, &split, i, any_type, err)) != CHORD_OK)
            return status;
    if ((status = join_tensors(gguf, err)) != CHORD_OK)
        return status;
    if (split.counts_tensors && split.n_tensors != gguf->n_tensors)
        return chord_fail(err, CHORD_GGUF_SPLIT,
                          "%s: split.tensors.count says %" PRIu64 " tensors, the %" PRIu32 " files hold %" PRIu64,
                          gguf->files[0].path, split.n_tensors, split.count, gguf->n_tensors);
    return index_tensors(gguf, err);
}

static enum chord_status open_first(struct gguf **out, const char *path, const struct gguf_source *source,
                                    bool any_type, struct memory_account *account, struct chord_error *err)
{
    struct gguf *gguf;
    enum chord_status status;
    *out = NULL;
    if ((status = create(&gguf, account, err)) != CHORD_OK)
        return status;
    if ((status = reserve_files(gguf, 1, err)) != CHORD_OK ||
        (status = add_file(gguf, copy_text(path, account), source, any_type, err)) != CHORD_OK ||
        (status = complete(gguf, source != NULL, any_type, err)) != CHORD_OK) {
        gguf_close(gguf);
        return status;
    }
    *out = gguf;
    return CHORD_OK;
}

enum chord_status gguf_open(struct gguf **out, const char *path, struct memory_account *account,
                            struct chord_error *err)
{
    return open_first(out, path, NULL, false, account, err);
}

enum chord_status gguf_open_any_type(struct gguf **out, const char *path, struct memory_account *account,
                                     struct chord_error *err)
{
    return open_first(out, path, NULL, true, account, err);
}

enum chord_status gguf_open_source(struct gguf **out, const struct gguf_source *source, bool any_type,
                                   struct memory_account *account, struct chord_error *err)
{
    return open_first(out, source->name, source, any_type, account, err);
}

uint32_t gguf_n_files(const struct gguf *gguf)
{
    return gguf->n_files;
}

const struct gguf_file *gguf_file(const struct gguf *gguf, uint32_t index)
{
    return index < gguf->n_files ? &gguf->files[index] : NULL;
}

uint64_t gguf_n_values(const struct gguf *gguf)
{
    return gguf->headers[0].n_values;
}

const struct gguf_value *gguf_value(const struct gguf *gguf, uint64_t index)
{
    return index < gguf->headers[0].n_values ? &gguf->headers[0].values[index] : NULL;
}

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key)
{
    return gguf_header_find(&gguf->headers[0], key);
}

uint64_t gguf_n_tensors(const struct gguf *gguf)
{
    return gguf->n_tensors;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, uint64_t index)
{
    return index < gguf->n_tensors ? &gguf->tensors[index] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name)
{
    const int64_t index = string_table_find(&gguf->names, name, strlen(name));
    return index < 0 ? NULL : &gguf->tensors[index];
}
