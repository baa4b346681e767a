// os/stream.h for Linux, macOS and other POSIX systems.
#ifndef _WIN32

#undef _GNU_SOURCE
#define _GNU_SOURCE 1 // O_DIRECT
#define _DARWIN_C_SOURCE 1
#define _FILE_OFFSET_BITS 64

#include "os/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A second description of the same inode, whatever its path names by then; -1 where the system has no such way.
static int reopen(const struct os_file *file, int flags)
{
#if defined(__linux__)
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", (int)file->fd);
    return open(self, O_RDONLY | O_CLOEXEC | flags);
#else
    (void)flags;
    return fcntl((int)file->fd, F_DUPFD_CLOEXEC, 0);
#endif
}

// Whether blocks of STREAM_ALIGNMENT suit the file system, as far as it tells.
static bool alignment_suffices(int fd)
{
#if defined(STATX_DIOALIGN)
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 && (info.stx_mask & STATX_DIOALIGN) != 0) {
        const uint32_t offset = info.stx_dio_offset_align, memory = info.stx_dio_mem_align;
        return offset != 0 && memory != 0 && STREAM_ALIGNMENT % offset == 0 && STREAM_ALIGNMENT % memory == 0;
    }
#endif
    (void)fd;
    return true; // older kernels do not tell: a read will
}

// Some file systems take the flag and refuse the reads.
static bool reads_directly(int fd)
{
    _Alignas(STREAM_ALIGNMENT) char block[STREAM_ALIGNMENT];
    return pread(fd, block, sizeof block, 0) >= 0;
}

static int open_direct(const struct os_file *file)
{
#if defined(O_DIRECT)
    const int fd = reopen(file, O_DIRECT);
#elif defined(F_NOCACHE)
    int fd = reopen(file, 0);
    if (fd >= 0 && fcntl(fd, F_NOCACHE, 1) != 0) {
        close(fd);
        fd = -1;
    }
#else
    const int fd = -1;
#endif
    if (fd >= 0 && !(alignment_suffices(fd) && reads_directly(fd))) {
        close(fd);
        return -1;
    }
    return fd;
}

enum chord_status os_stream_open(struct os_stream *stream, const struct os_file *file, const char *path,
                                 bool want_direct, struct chord_error *err)
{
    *stream = (struct os_stream){.size = file->size};
    int fd = want_direct ? open_direct(file) : -1;
    stream->is_direct = fd >= 0;
    if (fd < 0)
        fd = fcntl((int)file->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return chord_fail(err, CHORD_IO, "%s: cannot open the file a second time: %s", path, strerror(errno));
    stream->fd = fd;
    stream->is_open = true;
    return CHORD_OK;
}

void os_stream_close(struct os_stream *stream)
{
    if (stream->is_open)
        close((int)stream->fd);
    *stream = (struct os_stream){0};
}

enum chord_status os_stream_read(const struct os_stream *stream, uint64_t offset, void *out, uint64_t n_bytes,
                                 struct chord_error *err)
{
    const uint64_t end = stream->size - offset < n_bytes ? stream->size : offset + n_bytes;
    uint64_t at = offset;
    uint32_t n_idle = 0;
    while (at < end) {
        // After a read that ended within a block, direct reads go on from that block's beginning.
        const uint64_t from = at - at % STREAM_ALIGNMENT;
        const ssize_t n =
            pread((int)stream->fd, (char *)out + (from - offset), (size_t)(offset + n_bytes - from), (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return chord_fail(err, CHORD_IO, "reading %" PRIu64 " bytes at %" PRIu64 " failed: %s", end - from, from,
                              strerror(errno));
        if (n > 0 && from + (uint64_t)n <= at && ++n_idle < STREAM_MOST_IDLE_READS)
            continue;
        if (from + (uint64_t)n <= at)
            return chord_fail(err, CHORD_IO,
                              "the file ends at %" PRIu64 ", %" PRIu64 " bytes short of what was to be read",
                              from + (uint64_t)n, end - from - (uint64_t)n);
        at = from + (uint64_t)n;
    }
    if (!stream->is_direct)
        os_stream_forget(stream, offset, n_bytes);
    return CHORD_OK;
}

void os_stream_forget(const struct os_stream *stream, uint64_t offset, uint64_t n_bytes)
{
#if defined(POSIX_FADV_DONTNEED)
    posix_fadvise((int)stream->fd, (off_t)offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
#else
    (void)stream, (void)offset, (void)n_bytes;
#endif
}

#else
typedef int stream_posix_is_empty; // a translation unit may not be empty
#endif
