// os/stream.h for Windows.
#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#ifndef UNICODE
#define UNICODE
#endif

#include "os/stream.h"

#include <windows.h>

#include <inttypes.h>

#define MAX_READ_BYTES (UINT64_C(1) << 30)
#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

// One positioned read; false: *error. *n is 0 at the end of the file.
static bool read_at(HANDLE handle, uint64_t offset, void *out, uint64_t n_bytes, DWORD *n, DWORD *error)
{
    OVERLAPPED position = {0};
    position.Offset = (DWORD)offset;
    position.OffsetHigh = (DWORD)(offset >> 32);
    *n = 0;
    if (ReadFile(handle, out, (DWORD)(n_bytes < MAX_READ_BYTES ? n_bytes : MAX_READ_BYTES), n, &position))
        return true;
    *error = GetLastError();
    return *error == ERROR_HANDLE_EOF;
}

// Sectors larger than STREAM_ALIGNMENT refuse the read.
static bool reads_directly(HANDLE handle)
{
    DWORD n, error;
    void *block = VirtualAlloc(NULL, STREAM_ALIGNMENT, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (block == NULL)
        return false;
    const bool reads = read_at(handle, 0, block, STREAM_ALIGNMENT, &n, &error);
    VirtualFree(block, 0, MEM_RELEASE);
    return reads;
}

enum chord_status os_stream_open(struct os_stream *stream, const struct os_file *file, const char *path,
                                 bool want_direct, struct chord_error *err)
{
    *stream = (struct os_stream){.size = file->size};
    HANDLE handle = INVALID_HANDLE_VALUE;
    if (want_direct)
        handle = ReOpenFile((HANDLE)file->fd, GENERIC_READ, SHARE_ALL, FILE_FLAG_NO_BUFFERING);
    if (handle != INVALID_HANDLE_VALUE && !reads_directly(handle)) {
        CloseHandle(handle);
        handle = INVALID_HANDLE_VALUE;
    }
    stream->is_direct = handle != INVALID_HANDLE_VALUE;
    if (!stream->is_direct)
        handle = ReOpenFile((HANDLE)file->fd, GENERIC_READ, SHARE_ALL, FILE_FLAG_SEQUENTIAL_SCAN);
    if (handle == INVALID_HANDLE_VALUE)
        return chord_fail(err, CHORD_IO, "%s: cannot open the file a second time: error %lu", path,
                          (unsigned long)GetLastError());
    stream->fd = (intptr_t)handle;
    stream->is_open = true;
    return CHORD_OK;
}

void os_stream_close(struct os_stream *stream)
{
    if (stream->is_open)
        CloseHandle((HANDLE)stream->fd);
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
        DWORD n, error;
        if (!read_at((HANDLE)stream->fd, from, (char *)out + (from - offset), offset + n_bytes - from, &n, &error))
            return chord_fail(err, CHORD_IO, "reading %" PRIu64 " bytes at %" PRIu64 " failed: error %lu", end - from,
                              from, (unsigned long)error);
        if (n > 0 && from + n <= at && ++n_idle < STREAM_MOST_IDLE_READS)
            continue;
        if (from + n <= at)
            return chord_fail(err, CHORD_IO,
                              "the file ends at %" PRIu64 ", %" PRIu64 " bytes short of what was to be read", from + n,
                              end - from - n);
        at = from + n;
    }
    return CHORD_OK;
}

void os_stream_forget(const struct os_stream *stream, uint64_t offset, uint64_t n_bytes)
{
    (void)stream, (void)offset, (void)n_bytes; // the system has no such call
}

#else
typedef int stream_win32_is_empty; // a translation unit may not be empty
#endif
