// os/scratch.h for Linux, macOS and other POSIX systems.
#ifndef _WIN32

#undef _GNU_SOURCE
#define _GNU_SOURCE 1 // fallocate
#define _DARWIN_C_SOURCE 1
#define _FILE_OFFSET_BITS 64

#include "os/scratch.h"

#include "base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define MAX_WRITE_BYTES (UINT64_C(1) << 30)

static enum chord_status create(struct os_file *file, const char *path)
{
    int fd;
    *file = (struct os_file){0};
    do
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return CHORD_IO;
    *file = (struct os_file){.fd = fd, .is_open = true};
    return CHORD_OK;
}

enum chord_status os_scratch_create(struct os_file *file, const char *path, struct chord_error *err)
{
    if (create(file, path) != CHORD_OK)
        return chord_fail(err, CHORD_IO, "%s: cannot create the file: %s", path, strerror(errno));
    unlink(path);
    return CHORD_OK;
}

enum chord_status os_scratch_write(const struct os_file *file, uint64_t offset, const void *bytes, uint64_t n_bytes,
                                   struct chord_error *err)
{
    const unsigned char *from = bytes;
    uint64_t end;
    if (!checked_add(offset, n_bytes, &end) || end > INT64_MAX)
        return chord_fail(err, CHORD_IO, "cannot write at %" PRIu64 ": no file is that long", offset);
    while (offset < end) {
        const uint64_t left = end - offset;
        const ssize_t n = pwrite((int)file->fd, from, left < MAX_WRITE_BYTES ? left : MAX_WRITE_BYTES, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return chord_fail(err, CHORD_IO, "writing %" PRIu64 " bytes at %" PRIu64 " failed: %s", left, offset,
                              n < 0 ? strerror(errno) : "the system wrote none of them");
        from += n;
        offset += (uint64_t)n;
    }
    return CHORD_OK;
}

void os_scratch_forget(const struct os_file *file, uint64_t offset, uint64_t n_bytes)
{
#if defined(FALLOC_FL_PUNCH_HOLE)
    fallocate((int)file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n_bytes);
#else
    (void)file, (void)offset, (void)n_bytes;
#endif
}

#else
typedef int scratch_posix_is_empty; // a translation unit may not be empty
#endif
