// What the tests of src/gguf share: a temporary folder of the run, files written into it, files opened from memory.
#ifndef CHORD_TEST_GGUF_FILES_H
#define CHORD_TEST_GGUF_FILES_H

#include "../malformed/good.h"
#include "../malformed/malformed.h"
#include "gguf/gguf.h"
#include "gguf/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64]; // temporary, of this run

static inline int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/chord-gguf-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static inline int remove_folder(void **state)
{
    char path[512];
    (void)state;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
    return rmdir(folder);
}

// Valid for the next three calls.
static inline const char *path_in_folder(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline const char *write_file(const char *name, struct maker *m)
{
    const char *path = path_in_folder(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (m->n > 0)
        assert_int_equal(fwrite(m->bytes, 1, m->n, file), m->n);
    assert_int_equal(fclose(file), 0);
    if (m->sparse_bytes > m->n)
        assert_int_equal(truncate(path, (off_t)m->sparse_bytes), 0);
    return path;
}

static inline void clear(struct maker *m)
{
    free(m->bytes);
    *m = (struct maker){0};
}

// Opens from memory; afterwards `account` must hold nothing unless there is a result.
static inline enum chord_status open_maker(struct gguf **out, const struct maker *m, bool any_type,
                                    struct memory_account *account, struct chord_error *err)
{
    const struct gguf_source source = maker_source(m, "made.gguf");
    memset(err, 0, sizeof *err);
    const enum chord_status status = gguf_open_source(out, &source, any_type, account, err);
    if (status != CHORD_OK) {
        assert_null(*out);
        assert_int_equal(err->code, status);
        assert_true(strlen(err->message) > 0);
        assert_int_equal(atomic_load(&account->total), 0);
    }
    return status;
}

static inline void close_all(struct gguf *gguf, struct memory_account *account)
{
    gguf_close(gguf);
    assert_int_equal(atomic_load(&account->total), 0);
}

static inline bool string_is(struct gguf_string string, const char *text)
{
    return string.n_bytes == strlen(text) && memcmp(string.bytes, text, string.n_bytes) == 0;
}

static inline const char *fixture(const char *name)
{
    static char path[1024];
    const char *fixtures = getenv("CHORD_FIXTURES");
    snprintf(path, sizeof path, "%s/%s", fixtures != NULL ? fixtures : "../shared/fixtures", name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no %s; set CHORD_FIXTURES\n", path);
        skip();
    }
    return path;
}

static inline unsigned char *read_whole(const char *path, uint64_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = (uint64_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

#endif
