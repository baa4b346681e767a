// os/output.h for Windows.
#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#ifndef UNICODE
#define UNICODE
#endif

#include "os/output.h"

#include "os/thread.h"

#include <windows.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_PATH_UNITS 4096 // UTF-16 units, with the terminator
#define MAX_WRITE_BYTES (UINT64_C(1) << 30)
#define N_NAMES 16

static enum chord_status refused(struct chord_error *err, const struct os_output *output, const char *what, DWORD error)
{
    WCHAR wide[256];
    char text[256];
    DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, wide,
                             sizeof wide / sizeof *wide - 1, NULL);
    while (n > 0 && (wide[n - 1] <= L' ' || wide[n - 1] == L'.')) // system messages end in ".\r\n"
        n--;
    wide[n] = 0;
    if (n == 0 || WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, (int)sizeof text, NULL, NULL) == 0)
        snprintf(text, sizeof text, "error %lu", (unsigned long)error);
    return chord_fail(err, CHORD_IO, "%s: %s: %s", output->path, what, text);
}

static bool widen(const char *path, WCHAR out[MAX_PATH_UNITS])
{
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, MAX_PATH_UNITS) > 0;
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

static void remove_temporary(const struct os_output *output)
{
    WCHAR wide[MAX_PATH_UNITS];
    if (widen(output->temporary_path, wide))
        DeleteFileW(wide);
}

enum chord_status os_output_open(struct os_output *output, const char *path, uint64_t n_bytes,
                                 struct memory_account *account, struct chord_error *err)
{
    WCHAR wide[MAX_PATH_UNITS];
    *output = (struct os_output){0};
    enum chord_status status = copy_paths(output, path, account, err);
    if (status != CHORD_OK) {
        free_paths(output);
        return status;
    }
    HANDLE handle = INVALID_HANDLE_VALUE;
    DWORD error = ERROR_INVALID_NAME;
    for (int i = 0; i < N_NAMES && handle == INVALID_HANDLE_VALUE; i++) {
        snprintf(output->temporary_path, strlen(path) + 33, "%s.%08" PRIx32 ".part", path, (uint32_t)os_random_u64());
        if (!widen(output->temporary_path, wide))
            break;
        handle = CreateFileW(wide, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
        error = handle == INVALID_HANDLE_VALUE ? GetLastError() : 0;
        if (error != ERROR_FILE_EXISTS)
            break;
    }
    if (handle == INVALID_HANDLE_VALUE) {
        status = refused(err, output, "cannot make the file", error);
        free_paths(output);
        return status;
    }
    output->fd = (intptr_t)handle;
    output->is_open = true;
    FILE_ALLOCATION_INFO room;
    room.AllocationSize.QuadPart = (LONGLONG)n_bytes;
    if (n_bytes > INT64_MAX || (!SetFileInformationByHandle(handle, FileAllocationInfo, &room, sizeof room) &&
                                GetLastError() == ERROR_DISK_FULL)) {
        char what[96];
        snprintf(what, sizeof what, "cannot make room for its %" PRIu64 " bytes", n_bytes);
        status = refused(err, output, what, ERROR_DISK_FULL);
        os_output_discard(output);
    }
    return status;
}

enum chord_status os_output_restrict(const struct os_output *output, struct chord_error *err)
{
    (void)output, (void)err; // the folder's rules hold
    return CHORD_OK;
}

enum chord_status os_output_write(const struct os_output *output, uint64_t offset, const void *bytes, uint64_t n_bytes,
                                  struct chord_error *err)
{
    const unsigned char *from = bytes;
    while (n_bytes > 0) {
        const uint64_t n = n_bytes < MAX_WRITE_BYTES ? n_bytes : MAX_WRITE_BYTES;
        DWORD n_written = 0;
        OVERLAPPED at = {0}; // carries the offset, so that threads do not share a file position
        at.Offset = (DWORD)offset;
        at.OffsetHigh = (DWORD)(offset >> 32);
        if (!WriteFile((HANDLE)output->fd, from, (DWORD)n, &n_written, &at))
            return refused(err, output, "cannot write to the file", GetLastError());
        if (n_written == 0)
            return refused(err, output, "cannot write to the file", ERROR_DISK_FULL);
        from += n_written;
        offset += n_written;
        n_bytes -= n_written;
    }
    return CHORD_OK;
}

enum chord_status os_output_sync(const struct os_output *output, struct chord_error *err)
{
    return FlushFileBuffers((HANDLE)output->fd) ? CHORD_OK
                                                : refused(err, output, "cannot write to the disk", GetLastError());
}

enum chord_status os_output_finish(struct os_output *output, struct chord_error *err)
{
    WCHAR from[MAX_PATH_UNITS], to[MAX_PATH_UNITS];
    enum chord_status status = os_output_sync(output, err);
    output->is_open = false;
    if (!CloseHandle((HANDLE)output->fd) && status == CHORD_OK)
        status = refused(err, output, "cannot close the file", GetLastError());
    if (status == CHORD_OK && (!widen(output->temporary_path, from) || !widen(output->path, to)))
        status = refused(err, output, "cannot give the file its name", ERROR_INVALID_NAME);
    else if (status == CHORD_OK && !MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
        status = refused(err, output, "cannot give the file its name", GetLastError());
    if (status != CHORD_OK)
        remove_temporary(output);
    free_paths(output);
    return status;
}

void os_output_discard(struct os_output *output)
{
    if (output->is_open) {
        CloseHandle((HANDLE)output->fd);
        remove_temporary(output);
    }
    free_paths(output);
}

#else
typedef int output_win32_is_empty; // a translation unit may not be empty
#endif
