// os/output.h for Linux, macOS and other POSIX systems.
#ifndef _WIN32

#undef _GNU_SOURCE
#define _GNU_SOURCE 1 // fallocate
#define _DARWIN_C_SOURCE 1
#define _FILE_OFFSET_BITS 64

#include "os/output.h"

#include "os/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define MAX_WRITE_BYTES (UINT64_C(1) << 30)
#define MODE 0666 // less what the user's mask takes away
#define N_NAMES 16

static enum chord_status refused(struct chord_error *err, const struct os_output *output, const char *what, int error)
{
    char text[128];
    uv_strerror_r(uv_translate_sys_error(error), text, sizeof text);
    return chord_fail(err, CHORD_IO, "%s: %s: %s", output->path, what, text);
}

static void free_paths(struct os_output *output)
{
    if (output->account != NULL) {
        memory_free(output->account, output->path);
        memory_free(output->account, output->temporary_path);
    }
    *output = (struct os_output){0};
}

static enum chord_status copy_paths(struct os_output *output, const char *path, struct memory_account *account,
                                    struct chord_error *err)
{
    const size_t n = strlen(path) + 1;
    output->account = account;
    output->path = memory_alloc(account, MEMORY_METADATA, n, 1);
    output->temporary_path = memory_alloc(account, MEMORY_METADATA, n + 32, 1);
    if (output->path == NULL || output->temporary_path == NULL)
        return memory_account_fail(account, err, n + 32, "a file's name");
    memcpy(output->path, path, n);
    return CHORD_OK;
}

// Space for all of the file, so that a full disk is known before hours of work; false with errno only when it is full.
static bool has_space(int fd, uint64_t n_bytes)
{
#ifdef __linux__
    int status;
    do
        status = n_bytes > 0 ? fallocate(fd, 0, 0, (off_t)n_bytes) : 0;
    while (status != 0 && errno == EINTR);
    return status == 0 || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG);
#else
    (void)fd, (void)n_bytes;
    return true;
#endif
}

enum chord_status os_output_open(struct os_output *output, const char *path, uint64_t n_bytes,
                                 struct memory_account *account, struct chord_error *err)
{
    *output = (struct os_output){0};
    enum chord_status status = copy_paths(output, path, account, err);
    if (status != CHORD_OK) {
        free_paths(output);
        return status;
    }
    int fd = -1;
    for (int i = 0; i < N_NAMES && fd < 0; i++) {
        snprintf(output->temporary_path, strlen(path) + 33, "%s.%08" PRIx32 ".part", path, (uint32_t)os_random_u64());
        do
            fd = open(output->temporary_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, MODE);
        while (fd < 0 && errno == EINTR);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0) {
        status = refused(err, output, "cannot make the file", errno);
        free_paths(output);
        return status;
    }
    output->fd = fd;
    output->is_open = true;
    if (n_bytes > INT64_MAX || !has_space(fd, n_bytes)) {
        char what[96];
        snprintf(what, sizeof what, "cannot make room for its %" PRIu64 " bytes", n_bytes);
        status = refused(err, output, what, n_bytes > INT64_MAX ? EFBIG : errno);
        os_output_discard(output);
    }
    return status;
}

enum chord_status os_output_restrict(const struct os_output *output, struct chord_error *err)
{
    return fchmod((int)output->fd, 0600) == 0 ? CHORD_OK : refused(err, output, "cannot make the file private", errno);
}

enum chord_status os_output_write(const struct os_output *output, uint64_t offset, const void *bytes, uint64_t n_bytes,
                                  struct chord_error *err)
{
    const unsigned char *from = bytes;
    while (n_bytes > 0) {
        const uint64_t n = n_bytes < MAX_WRITE_BYTES ? n_bytes : MAX_WRITE_BYTES;
        const ssize_t n_written = pwrite((int)output->fd, from, (size_t)n, (off_t)offset);
        if (n_written < 0 && errno == EINTR)
            continue;
        if (n_written <= 0)
            return refused(err, output, "cannot write to the file", n_written < 0 ? errno : ENOSPC);
        from += n_written;
        offset += (uint64_t)n_written;
        n_bytes -= (uint64_t)n_written;
    }
    return CHORD_OK;
}

// The new name lies in the folder, which reaches the disk by itself: without this a loss of power could take it back. Not
// every file system lets a folder be synchronised; the file itself is on the disk by then.
static void sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof folder)
        return;
    memcpy(folder, path, n);
    folder[n] = '\0';
    const int fd = open(n == 0 ? "." : folder, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

enum chord_status os_output_sync(const struct os_output *output, struct chord_error *err)
{
    int error;
    do
        error = fsync((int)output->fd) != 0 ? errno : 0;
    while (error == EINTR);
    return error != 0 ? refused(err, output, "cannot write to the disk", error) : CHORD_OK;
}

enum chord_status os_output_finish(struct os_output *output, struct chord_error *err)
{
    enum chord_status status = os_output_sync(output, err);
    output->is_open = false;
    if (close((int)output->fd) != 0 && errno != EINTR && status == CHORD_OK)
        status = refused(err, output, "cannot close the file", errno);
    if (status == CHORD_OK && rename(output->temporary_path, output->path) != 0)
        status = refused(err, output, "cannot give the file its name", errno);
    if (status == CHORD_OK)
        sync_folder(output->path);
    else
        unlink(output->temporary_path);
    free_paths(output);
    return status;
}

void os_output_discard(struct os_output *output)
{
    if (output->is_open) {
        close((int)output->fd);
        unlink(output->temporary_path);
    }
    free_paths(output);
}

#else
typedef int output_posix_is_empty; // a translation unit may not be empty
#endif
