// os/scratch.h for Windows.
#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#ifndef UNICODE
#define UNICODE
#endif

#include "os/scratch.h"

#include "base/checked.h"

#include <windows.h>

#include <inttypes.h>

#define MAX_PATH_UNITS 4096 // UTF-16 units, with the terminator
#define MAX_WRITE_BYTES (UINT64_C(1) << 30)

static HANDLE handle_of(const struct os_file *file)
{
    return (HANDLE)file->fd;
}

static bool widen(const char *path, WCHAR out[MAX_PATH_UNITS])
{
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, MAX_PATH_UNITS) > 0;
}

static enum chord_status fail(struct chord_error *err, const char *path, const char *what)
{
    return chord_fail(err, CHORD_IO, "%s%s%s: error %lu of the system", path, path[0] != '\0' ? ": " : "", what,
                      (unsigned long)GetLastError());
}

static bool create(struct os_file *file, const char *path)
{
    WCHAR wide[MAX_PATH_UNITS];
    *file = (struct os_file){0};
    if (!widen(path, wide)) {
        SetLastError(ERROR_INVALID_NAME);
        return false;
    }
    HANDLE handle = CreateFileW(wide, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_NEW,
                                FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    if (handle == INVALID_HANDLE_VALUE)
        return false;
    *file = (struct os_file){.fd = (intptr_t)handle, .is_open = true};
    return true;
}

enum chord_status os_scratch_create(struct os_file *file, const char *path, struct chord_error *err)
{
    if (!create(file, path))
        return fail(err, path, "cannot create the file");
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
        DWORD n = 0;
        OVERLAPPED at = {0};
        at.Offset = (DWORD)offset;
        at.OffsetHigh = (DWORD)(offset >> 32);
        if (!WriteFile(handle_of(file), from, (DWORD)(left < MAX_WRITE_BYTES ? left : MAX_WRITE_BYTES), &n, &at) ||
            n == 0)
            return fail(err, "", "writing failed");
        from += n;
        offset += n;
    }
    return CHORD_OK;
}

void os_scratch_forget(const struct os_file *file, uint64_t offset, uint64_t n_bytes)
{
    (void)file, (void)offset, (void)n_bytes;
}

#else
typedef int scratch_win32_is_empty; // a translation unit may not be empty
#endif
