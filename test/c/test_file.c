#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path[128]; // of the file under test

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/chord-file-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/\xc3\xbc file", folder); // a name that is not ASCII
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_bytes(const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static unsigned char pattern(uint64_t at)
{
    return (unsigned char)(at * 2654435761u >> 13);
}

static void write_pattern(uint64_t n)
{
    unsigned char *bytes = malloc(n);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = pattern(i);
    write_bytes(bytes, n);
    free(bytes);
}

static void test_open_fails(void **state)
{
    (void)state;
    struct os_file file = {.is_open = true, .fd = 12345};
    struct chord_error err;
    char other[160];
    unlink(path);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_FILE_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    assert_false(file.is_open);
    snprintf(other, sizeof other, "%s/no/such/folder", folder);
    assert_int_equal(os_file_open(&file, other, &err), CHORD_FILE_NOT_FOUND);
    assert_int_equal(os_file_open(&file, "", NULL), CHORD_FILE_NOT_FOUND);
    write_bytes("x", 1);
    snprintf(other, sizeof other, "%s/in-a-file", path);
    assert_int_equal(os_file_open(&file, other, &err), CHORD_FILE_NOT_FOUND);
    assert_int_equal(os_file_open(&file, folder, &err), CHORD_IO);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(os_file_open(&file, "/dev/null", &err), CHORD_IO);
    assert_non_null(strstr(err.message, "is a pipe or device"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_IO); // and does not wait for a writer
    assert_non_null(strstr(err.message, "is a pipe or device"));
    assert_int_equal(unlink(path), 0);
    assert_false(file.is_open);
    os_file_close(&file);
}

static void test_open_and_close(void **state)
{
    (void)state;
    struct os_file file, zeroed = {0};
    struct chord_error err;
    write_pattern(1000);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_true(file.is_open);
    assert_int_equal(file.size, 1000);
    assert_true(file.modified_ns > INT64_C(1000000000) * 1500000000);
    assert_true(fcntl((int)file.fd, F_GETFD) & FD_CLOEXEC);
    const int fd = (int)file.fd;
    os_file_close(&file);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    os_file_close(&file);
    os_file_close(&zeroed); // must not close descriptor 0
    assert_int_equal(os_file_open(&file, path, NULL), CHORD_OK);
    os_file_close(&file);
}

static void test_read(void **state)
{
    (void)state;
    struct os_file file;
    struct chord_error err;
    unsigned char out[1000];
    write_pattern(1000);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    static const uint64_t offsets[] = {0, 1, 500, 999, 1000};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        memset(out, 0, sizeof out);
        assert_int_equal(os_file_read(&file, offsets[i], out, 1000 - offsets[i], &err), CHORD_OK);
        for (uint64_t b = 0; b < 1000 - offsets[i]; b++)
            assert_int_equal(out[b], pattern(offsets[i] + b));
    }
    assert_int_equal(os_file_read(&file, 1, out, 1000, &err), CHORD_IO);
    assert_non_null(strstr(err.message, "ends at 1000, 1 bytes short"));
    assert_int_equal(os_file_read(&file, 1001, out, 1, &err), CHORD_IO);
    assert_int_equal(os_file_read(&file, UINT64_MAX, out, 2, &err), CHORD_IO);
    assert_int_equal(os_file_read(&file, INT64_MAX, out, 1, &err), CHORD_IO);
    os_file_close(&file);
}

// Offsets beyond 4 GiB, in a file of holes.
static void test_read_far(void **state)
{
    (void)state;
    const uint64_t far = (UINT64_C(5) << 30) + 12345;
    struct os_file file;
    struct chord_error err;
    char out[8];
    write_bytes("start", 5);
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseeko(stream, (off_t)far, SEEK_SET), 0);
    assert_int_equal(fwrite("far end", 1, 8, stream), 8);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_int_equal(file.size, far + 8);
    assert_int_equal(os_file_read(&file, far, out, 8, &err), CHORD_OK);
    assert_string_equal(out, "far end");
    os_file_close(&file);
    assert_int_equal(unlink(path), 0);
}

#define N_READERS 4
#define N_SHARED_BYTES (1u << 18)

struct reader {
    const struct os_file *file;
    uint32_t seed;
    bool ok;
};

static void *read_at_random(void *context)
{
    struct reader *reader = context;
    unsigned char out[4096];
    uint32_t random = reader->seed;
    reader->ok = true;
    for (int i = 0; i < 500; i++) {
        random = random * 1664525u + 1013904223u;
        const uint64_t offset = random % (N_SHARED_BYTES - sizeof out);
        if (os_file_read(reader->file, offset, out, sizeof out, NULL) != CHORD_OK)
            reader->ok = false;
        for (uint64_t b = 0; b < sizeof out; b++)
            if (out[b] != pattern(offset + b))
                reader->ok = false;
    }
    return NULL;
}

static void test_read_from_threads(void **state)
{
    (void)state;
    struct os_file file;
    struct reader readers[N_READERS];
    pthread_t threads[N_READERS];
    write_pattern(N_SHARED_BYTES);
    assert_int_equal(os_file_open(&file, path, NULL), CHORD_OK);
    for (uint32_t i = 0; i < N_READERS; i++) {
        readers[i] = (struct reader){.file = &file, .seed = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, read_at_random, &readers[i]), 0);
    }
    for (int i = 0; i < N_READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(readers[i].ok);
    }
    os_file_close(&file);
}

static void test_unchanged(void **state)
{
    (void)state;
    struct os_file file;
    struct chord_error err;
    struct timespec times[2];
    char other[160];
    write_pattern(100);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_int_equal(os_file_check_unchanged(&file, path, &err), CHORD_OK);

    // Another file put in its place leaves the open one as it was.
    snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(rename(path, other), 0);
    write_pattern(200);
    assert_int_equal(os_file_check_unchanged(&file, path, &err), CHORD_OK);
    assert_int_equal(rename(other, path), 0);

    times[0] = times[1] = (struct timespec){.tv_sec = 1700000000, .tv_nsec = 1};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(os_file_check_unchanged(&file, path, &err), CHORD_FILE_CHANGED);
    assert_non_null(strstr(err.message, "was written to"));
    os_file_close(&file);

    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_int_equal(file.modified_ns, INT64_C(1700000000000000001));
    assert_int_equal(os_file_check_unchanged(&file, path, &err), CHORD_OK);
    assert_int_equal(truncate(path, 99), 0);
    assert_int_equal(os_file_check_unchanged(&file, path, &err), CHORD_FILE_CHANGED);
    assert_non_null(strstr(err.message, "had 100 bytes when it was opened and has 99 now"));
    os_file_close(&file);
}

static void test_map(void **state)
{
    (void)state;
    const uint64_t n = 300001; // not a whole number of pages
    struct os_file file;
    struct chord_error err;
    const void *map;
    write_pattern(n);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_int_equal(os_file_map(&file, &map, &err), CHORD_OK);
    assert_int_equal((uintptr_t)map % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
    os_file_close(&file); // the mapping stays
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(((const unsigned char *)map)[i], pattern(i));
    const uint64_t resident = os_file_resident_bytes(map, n);
    if (resident != UINT64_MAX)
        assert_int_equal(resident, n); // just read: all of it
    assert_int_equal(os_file_resident_bytes(map, 0), 0);
    os_file_unmap(map, n);
    os_file_unmap(NULL, 0);

    write_bytes("", 0);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_int_equal(file.size, 0);
    assert_int_equal(os_file_map(&file, &map, &err), CHORD_IO);
    assert_non_null(strstr(err.message, "empty"));
    assert_null(map);
    os_file_close(&file);
}

// More pages than one question to the system takes.
static void test_resident_bytes_of_holes(void **state)
{
    (void)state;
    const uint64_t n = (UINT64_C(64) << 20) + 5;
    struct os_file file;
    struct chord_error err;
    const void *map;
    write_bytes("", 0);
    assert_int_equal(truncate(path, (off_t)n), 0);
    assert_int_equal(os_file_open(&file, path, &err), CHORD_OK);
    assert_int_equal(os_file_map(&file, &map, &err), CHORD_OK);
    assert_int_equal(((const unsigned char *)map)[n - 1], 0);
    const uint64_t resident = os_file_resident_bytes(map, n);
    if (resident != UINT64_MAX) {
        assert_true(resident >= 5);
        assert_true(resident <= n);
    }
    os_file_unmap(map, n);
    os_file_close(&file);
}

static void test_same(void **state)
{
    (void)state;
    char link_path[160], other[160];
    snprintf(link_path, sizeof link_path, "%s/link", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    write_bytes("x", 1);
    assert_true(os_file_same(path, path));
    assert_false(os_file_same(path, other));
    assert_false(os_file_same(other, other)); // does not exist
    assert_int_equal(symlink(path, link_path), 0);
    assert_true(os_file_same(path, link_path));
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(link(path, link_path), 0);
    assert_true(os_file_same(link_path, path));
    assert_int_equal(rename(path, other), 0);
    write_bytes("x", 1);
    assert_false(os_file_same(link_path, path));
    assert_true(os_file_same(link_path, other));
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(unlink(other), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_open_and_close),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_far),
        cmocka_unit_test(test_read_from_threads),
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_resident_bytes_of_holes),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
