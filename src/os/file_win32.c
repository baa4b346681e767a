// os/file.h for Windows.
#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#ifndef UNICODE
#define UNICODE
#endif

#include "os/file.h"

#include "base/checked.h"

#include <windows.h>

#include <inttypes.h>
#include <stdio.h>

#define MAX_PATH_UNITS 4096 // UTF-16 units, with the terminator
#define MAX_READ_BYTES (UINT64_C(1) << 30)
#define UNIX_EPOCH_TICKS INT64_C(116444736000000000) // 1601 to 1970 in units of 100 ns

static HANDLE handle_of(const struct os_file *file)
{
    return (HANDLE)file->fd;
}

static const char *reason(DWORD error, char *out, size_t out_bytes)
{
    WCHAR wide[256];
    DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, wide,
                             sizeof wide / sizeof *wide - 1, NULL);
    while (n > 0 && (wide[n - 1] <= L' ' || wide[n - 1] == L'.')) // system messages end in ".\r\n"
        n--;
    wide[n] = 0;
    if (n == 0 || WideCharToMultiByte(CP_UTF8, 0, wide, -1, out, (int)out_bytes, NULL, NULL) == 0)
        snprintf(out, out_bytes, "error %lu", (unsigned long)error);
    return out;
}

static bool widen(const char *path, WCHAR out[MAX_PATH_UNITS])
{
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, out, MAX_PATH_UNITS) > 0;
}

static int64_t modified_ns(const BY_HANDLE_FILE_INFORMATION *info)
{
    const int64_t ticks =
        (int64_t)((uint64_t)info->ftLastWriteTime.dwHighDateTime << 32 | info->ftLastWriteTime.dwLowDateTime);
    return (ticks - UNIX_EPOCH_TICKS) * 100;
}

static uint64_t size_of(const BY_HANDLE_FILE_INFORMATION *info)
{
    return (uint64_t)info->nFileSizeHigh << 32 | info->nFileSizeLow;
}

enum chord_status os_file_open(struct os_file *file, const char *path, struct chord_error *err)
{
    char text[256];
    WCHAR wide[MAX_PATH_UNITS];
    BY_HANDLE_FILE_INFORMATION info;
    *file = (struct os_file){0};
    if (!widen(path, wide))
        return chord_fail(err, CHORD_IO, "%s: cannot open the file: its path is not UTF-8, or too long", path);
    const DWORD attributes = GetFileAttributesW(wide);
    if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY))
        return chord_fail(err, CHORD_IO, "%s: is a directory, not a file", path);
    HANDLE handle = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                                OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (handle == INVALID_HANDLE_VALUE) {
        const DWORD error = GetLastError();
        const bool absent = error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND;
        return chord_fail(err, absent ? CHORD_FILE_NOT_FOUND : CHORD_IO, "%s: cannot open the file: %s", path,
                          reason(error, text, sizeof text));
    }
    if (GetFileType(handle) != FILE_TYPE_DISK) {
        CloseHandle(handle);
        return chord_fail(err, CHORD_IO, "%s: is a pipe or device, not a file", path);
    }
    if (!GetFileInformationByHandle(handle, &info)) {
        const DWORD error = GetLastError();
        CloseHandle(handle);
        return chord_fail(err, CHORD_IO, "%s: cannot examine the file: %s", path, reason(error, text, sizeof text));
    }
    *file = (struct os_file){
        .fd = (intptr_t)handle, .is_open = true, .size = size_of(&info), .modified_ns = modified_ns(&info)};
    return CHORD_OK;
}

void os_file_close(struct os_file *file)
{
    if (file->is_open)
        CloseHandle(handle_of(file));
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
        DWORD n_read = 0;
        OVERLAPPED at = {0}; // carries the offset, so that threads do not share a file position
        at.Offset = (DWORD)offset;
        at.OffsetHigh = (DWORD)(offset >> 32);
        if (!ReadFile(handle_of(file), to, (DWORD)(left < MAX_READ_BYTES ? left : MAX_READ_BYTES), &n_read, &at) &&
            GetLastError() != ERROR_HANDLE_EOF) {
            char text[256];
            return chord_fail(err, CHORD_IO, "reading %" PRIu64 " bytes at %" PRIu64 " failed: %s", left, offset,
                              reason(GetLastError(), text, sizeof text));
        }
        if (n_read == 0)
            return chord_fail(err, CHORD_IO,
                              "the file ends at %" PRIu64 ", %" PRIu64 " bytes short of what was to be read", offset,
                              left);
        to += n_read;
        offset += n_read;
    }
    return CHORD_OK;
}

enum chord_status os_file_check_unchanged(const struct os_file *file, const char *path, struct chord_error *err)
{
    BY_HANDLE_FILE_INFORMATION info;
    if (!GetFileInformationByHandle(handle_of(file), &info)) {
        char text[256];
        return chord_fail(err, CHORD_IO, "%s: cannot examine the file: %s", path,
                          reason(GetLastError(), text, sizeof text));
    }
    if (size_of(&info) != file->size)
        return chord_fail(err, CHORD_FILE_CHANGED,
                          "%s: had %" PRIu64 " bytes when it was opened and has %" PRIu64 " now; load the model again",
                          path, file->size, size_of(&info));
    if (modified_ns(&info) != file->modified_ns)
        return chord_fail(err, CHORD_FILE_CHANGED, "%s: was written to after it had been opened; load the model again",
                          path);
    return CHORD_OK;
}

enum chord_status os_file_map(const struct os_file *file, const void **out, struct chord_error *err)
{
    char text[256];
    *out = NULL;
    if (file->size == 0)
        return chord_fail(err, CHORD_IO, "an empty file cannot be mapped");
    if (file->size > SIZE_MAX)
        return chord_fail(err, CHORD_IO, "%" PRIu64 " bytes are more than an address space holds", file->size);
    HANDLE mapping = CreateFileMappingW(handle_of(file), NULL, PAGE_READONLY, 0, 0, NULL);
    if (mapping == NULL)
        return chord_fail(err, CHORD_IO, "mapping %" PRIu64 " bytes failed: %s", file->size,
                          reason(GetLastError(), text, sizeof text));
    const void *view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, (SIZE_T)file->size);
    const DWORD error = GetLastError();
    CloseHandle(mapping); // the view keeps it alive
    if (view == NULL)
        return chord_fail(err, CHORD_IO, "mapping %" PRIu64 " bytes failed: %s", file->size,
                          reason(error, text, sizeof text));
    *out = view;
    return CHORD_OK;
}

void os_file_unmap(const void *map, uint64_t n_bytes)
{
    (void)n_bytes;
    if (map != NULL)
        UnmapViewOfFile(map);
}

// Windows tells only what is in this process's working set, not what lies in the cache.
void os_file_forget(const struct os_file *file, const void *map)
{
    // Unlocking pages that were never locked takes them out of the working set.
    VirtualUnlock((void *)(uintptr_t)map, (size_t)file->size);
}

uint64_t os_file_resident_bytes(const void *map, uint64_t n_bytes)
{
    (void)map;
    (void)n_bytes;
    return UINT64_MAX;
}

static bool identify(const char *path, BY_HANDLE_FILE_INFORMATION *info)
{
    WCHAR wide[MAX_PATH_UNITS];
    if (!widen(path, wide))
        return false;
    HANDLE handle = CreateFileW(wide, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                                FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (handle == INVALID_HANDLE_VALUE)
        return false;
    const bool known = GetFileInformationByHandle(handle, info) != 0;
    CloseHandle(handle);
    return known;
}

bool os_file_same(const char *a, const char *b)
{
    BY_HANDLE_FILE_INFORMATION of_a, of_b;
    return identify(a, &of_a) && identify(b, &of_b) && of_a.dwVolumeSerialNumber == of_b.dwVolumeSerialNumber &&
           of_a.nFileIndexHigh == of_b.nFileIndexHigh && of_a.nFileIndexLow == of_b.nFileIndexLow;
}

#else
typedef int file_win32_is_empty; // a translation unit may not be empty
#endif
