// Files: open, size, positioned reads, read-only mappings.
// Paths are UTF-8. A file is read by any number of threads at once; opening and closing by one.
#ifndef CHORD_OS_FILE_H
#define CHORD_OS_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct os_file {
    intptr_t fd; // file descriptor; on Windows the HANDLE. Meaningful only while is_open
    bool is_open;
    uint64_t size;       // bytes, when opened
    int64_t modified_ns; // modification time when opened, nanoseconds since 1970
};

// Opens for reading. FILE_NOT_FOUND or IO, with the path and the system's reason. Only regular files are
// taken: directories, pipes and devices are refused without waiting on them. Not inherited by child processes.
// On failure *file is closed.
enum chord_status os_file_open(struct os_file *file, const char *path, struct chord_error *err);
void os_file_close(struct os_file *file); // may be called on a zeroed or closed file

// Reads exactly `n_bytes` at `offset`; a short read is an error (IO), as is a read past the end.
enum chord_status os_file_read(const struct os_file *file, uint64_t offset, void *out, uint64_t n_bytes,
                               struct chord_error *err);

// FILE_CHANGED when size or modification time of the open file are no longer those of the opening. `path` is
// for the message only: a file that was replaced by renaming another over it is still the one that was opened.
enum chord_status os_file_check_unchanged(const struct os_file *file, const char *path, struct chord_error *err);

// Maps the whole file read-only. An empty file cannot be mapped (IO). *out is page-aligned and valid until
// os_file_unmap(out, file->size), also after the file is closed.
enum chord_status os_file_map(const struct os_file *file, const void **out, struct chord_error *err);
void os_file_unmap(const void *map, uint64_t n_bytes); // NULL is fine

// How many bytes of a mapping lie in memory now (page cache), or UINT64_MAX where the system cannot tell.
// `map` is page-aligned: what os_file_map gave, or a page inside it.
uint64_t os_file_resident_bytes(const void *map, uint64_t n_bytes);

// Tells the system that the pages of a mapping of `file` are not needed for now: they leave this process and, where
// the system allows, the page cache. The contents stay readable.
void os_file_forget(const struct os_file *file, const void *map);

// True when both paths name the same existing file.
bool os_file_same(const char *a, const char *b);

#endif
