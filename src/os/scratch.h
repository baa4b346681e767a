// Scratch files: bytes put aside on a disk and read back with os_file_read, by this process alone.
//
// Paths are UTF-8. A scratch file is private to the user and not inherited by child processes; any number of threads may read and write
// it at different places. Errors are IO, with the system's reason.
#ifndef CHORD_OS_SCRATCH_H
#define CHORD_OS_SCRATCH_H

#include "os/file.h"

// Creates the file `path`, which must not exist. Its bytes go with os_file_close or with the process, whatever ends it; where the
// system allows, its name goes at once.
enum chord_status os_scratch_create(struct os_file *file, const char *path, struct chord_error *err);

// Writes all n_bytes at `offset`; the file grows as needed.
enum chord_status os_scratch_write(const struct os_file *file, uint64_t offset, const void *bytes, uint64_t n_bytes,
                                   struct chord_error *err);

// Gives the disk space of a span back where the system can. Its bytes are then unspecified.
void os_scratch_forget(const struct os_file *file, uint64_t offset, uint64_t n_bytes);

#endif
