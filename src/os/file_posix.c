// os/file.h for Linux, macOS and other POSIX systems.
#ifndef _WIN32

#undef _GNU_SOURCE // for the strerror_r of POSIX, which returns int
#define _DEFAULT_SOURCE 1
#define _DARWIN_C_SOURCE 1
#define _FILE_OFFSET_BITS 64

#include "os/file.h"

#include "base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Linux reads at most 2 GiB - 4 KiB in one call, macOS refuses more than INT_MAX.
#define MAX_READ_BYTES (UINT64_C(1) << 30)

static const char *reason(int error, char *out, size_t out_bytes)
{
    if (strerror_r(error, out, out_bytes) != 0)
        snprintf(out, out_bytes, "error %d", error);
    return out;
}

static int64_t modified_ns(const struct stat *status)
{
#ifdef __APPLE__
    const struct timespec at = status->st_mtimespec;
#else
    const struct timespec at = status->st_mtim;
#endif
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

enum chord_status os_file_open(struct os_file *file, const char *path, struct chord_error *err)
{
    char text[128];
    struct stat status;
    int fd;
    *file = (struct os_file){0};
    do // O_NONBLOCK: opening a pipe must not wait for its writer; regular files do not mind
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        const bool absent = errno == ENOENT || errno == ENOTDIR;
        return chord_fail(err, absent ? CHORD_FILE_NOT_FOUND : CHORD_IO, "%s: cannot open the file: %s", path,
                          reason(errno, text, sizeof text));
    }
    if (fstat(fd, &status) != 0) {
        const int error = errno;
        close(fd);
        return chord_fail(err, CHORD_IO, "%s: cannot examine the file: %s", path, reason(error, text, sizeof text));
    }
    if (!S_ISREG(status.st_mode)) {
        close(fd);
        return chord_fail(err, CHORD_IO, "%s: is %s, not a file", path,
                          S_ISDIR(status.st_mode) ? "a directory" : "a pipe or device");
    }
    *file = (struct os_file){
        .fd = fd, .is_open = true, .size = (uint64_t)status.st_size, .modified_ns = modified_ns(&status)};
    return CHORD_OK;
}

void os_file_close(struct os_file *file)
{
    if (file->is_open)
        close((int)file->fd);
    *file = (struct os_file){0};
}

enum chord_status os_file_read(const struct os_file *file, uint64_t offset, void *out, uint64_t n_bytes,
                               struct chord_error *err)
{
    unsigned char *to = out;
    uint64_t end;
    if (!checked_add(offset, n_bytes, &end) || end > INT64_MAX)
        return chord_fail(err, CHORD_IO, "cannot read at %" PRIu64 ": no file is that long", offset);
    while (offset < end) {
        const uint64_t left = end - offset;
        const ssize_t n_read = pread((int)file->fd, to, left < MAX_READ_BYTES ? left : MAX_READ_BYTES, (off_t)offset);
        if (n_read < 0 && errno == EINTR)
            continue;
        if (n_read < 0) {
            char text[128];
            return chord_fail(err, CHORD_IO, "reading %" PRIu64 " bytes at %" PRIu64 " failed: %s", left, offset,
                              reason(errno, text, sizeof text));
        }
        if (n_read == 0)
            return chord_fail(err, CHORD_IO,
                              "the file ends at %" PRIu64 ", %" PRIu64 " bytes short of what was to be read", offset,
                              left);
        to += n_read;
        offset += (uint64_t)n_read;
    }
    return CHORD_OK;
}

enum chord_status os_file_check_unchanged(const struct os_file *file, const char *path, struct chord_error *err)
{
    struct stat status;
    if (fstat((int)file->fd, &status) != 0) {
        char text[128];
        return chord_fail(err, CHORD_IO, "%s: cannot examine the file: %s", path, reason(errno, text, sizeof text));
    }
    if ((uint64_t)status.st_size != file->size)
        return chord_fail(err, CHORD_FILE_CHANGED,
                          "%s: had %" PRIu64 " bytes when it was opened and has %" PRIu64 " now; load the model again",
                          path, file->size, (uint64_t)status.st_size);
    if (modified_ns(&status) != file->modified_ns)
        return chord_fail(err, CHORD_FILE_CHANGED, "%s: was written to after it had been opened; load the model again",
                          path);
    return CHORD_OK;
}

enum chord_status os_file_map(const struct os_file *file, const void **out, struct chord_error *err)
{
    *out = NULL;
    if (file->size == 0)
        return chord_fail(err, CHORD_IO, "an empty file cannot be mapped");
    if (file->size > SIZE_MAX)
        return chord_fail(err, CHORD_IO, "%" PRIu64 " bytes are more than an address space holds", file->size);
    void *map = mmap(NULL, (size_t)file->size, PROT_READ, MAP_SHARED, (int)file->fd, 0);
    if (map == MAP_FAILED) {
        char text[128];
        return chord_fail(err, CHORD_IO, "mapping %" PRIu64 " bytes failed: %s", file->size,
                          reason(errno, text, sizeof text));
    }
#if defined(MADV_HUGEPAGE)
    // Where the file system can, what is read from now on comes in pages of 2 MiB: a tenth more of the memory's speed
    // for whoever reads all of it. A system that cannot refuses, and nothing is lost.
    madvise(map, (size_t)file->size, MADV_HUGEPAGE);
#endif
    *out = map;
    return CHORD_OK;
}

void os_file_unmap(const void *map, uint64_t n_bytes)
{
    if (map != NULL)
        munmap((void *)(uintptr_t)map, (size_t)n_bytes);
}

void os_file_forget(const struct os_file *file, const void *map)
{
    madvise((void *)(uintptr_t)map, (size_t)file->size, MADV_DONTNEED);
#if defined(POSIX_FADV_DONTNEED)
    posix_fadvise((int)file->fd, 0, 0, POSIX_FADV_DONTNEED);
#endif
}

uint64_t os_file_resident_bytes(const void *map, uint64_t n_bytes)
{
#ifdef __linux__
    unsigned char pages[4096];
#else
    char pages[4096];
#endif
    const long page = sysconf(_SC_PAGESIZE);
    if (page <= 0)
        return UINT64_MAX;
    const uint64_t page_bytes = (uint64_t)page, window = sizeof pages * page_bytes;
    uint64_t resident = 0;
    for (uint64_t at = 0; at < n_bytes; at += window) {
        const uint64_t span = n_bytes - at < window ? n_bytes - at : window;
        char *first = (char *)(uintptr_t)map + at;
        if (mincore(first, (size_t)span, pages) != 0)
            return UINT64_MAX;
        for (uint64_t i = 0; i * page_bytes < span; i++)
            if (pages[i] & 1)
                resident += span - i * page_bytes < page_bytes ? span - i * page_bytes : page_bytes;
    }
    return resident;
}

bool os_file_same(const char *a, const char *b)
{
    struct stat of_a, of_b;
    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

#else
typedef int file_posix_is_empty; // a translation unit may not be empty
#endif
