// A file that is being written, and takes its name only when it is whole.
//
// It grows under a temporary name in the folder of the one it is meant for. os_output_finish puts its bytes on the disk and
// renames it, which is one step for whoever looks at the folder: at any time the name stands for the file that was there
// before, or for all of the new one. os_output_discard removes what was written.
//
// Opening, finishing and discarding are for one thread; any number write at once.
#ifndef CHORD_OS_OUTPUT_H
#define CHORD_OS_OUTPUT_H

#include "base/alloc.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct os_output {
    intptr_t fd; // file descriptor; on Windows the HANDLE. Meaningful only while is_open
    bool is_open;
    char *path, *temporary_path;
    struct memory_account *account;
};

// Makes the temporary file "<path>.<digits>.part" for a file of `n_bytes`, with room on the disk for them where the system can
// tell. IO with the path and the system's reason: no such folder, no permission, no space left. On failure nothing is left.
enum chord_status os_output_open(struct os_output *output, const char *path, uint64_t n_bytes,
                                 struct memory_account *account, struct chord_error *err);

// Takes the rights to the file from all but the user, where files have them. Before anything is written.
enum chord_status os_output_restrict(const struct os_output *output, struct chord_error *err);

// Writes all of `n_bytes` at `offset`, or fails with IO.
enum chord_status os_output_write(const struct os_output *output, uint64_t offset, const void *bytes, uint64_t n_bytes,
                                  struct chord_error *err);

// Waits until what has been written is on the disk: in between, so that os_output_finish need not wait for all of it.
enum chord_status os_output_sync(const struct os_output *output, struct chord_error *err);

// Writes through to the disk, closes, and renames; a file of that name is replaced. On failure nothing is left, and what
// the name stood for is as it was.
enum chord_status os_output_finish(struct os_output *output, struct chord_error *err);

// Closes and removes the file unless it was finished. May be called on a zeroed one, and more than once.
void os_output_discard(struct os_output *output);

#endif
