// Reads past the page cache, for files that are read again and again and must not fill it.
//
// A stream is a second way to an open file: direct reads (O_DIRECT, F_NOCACHE, FILE_FLAG_NO_BUFFERING) where the file
// system takes them, else buffered reads whose pages are dropped behind the reader. Any number of threads may read.
#ifndef CHORD_OS_STREAM_H
#define CHORD_OS_STREAM_H

#include "base/status.h"
#include "os/file.h"

#include <stdbool.h>
#include <stdint.h>

// Of offsets, lengths and addresses of reads: a multiple of what any file system asks for.
#define STREAM_ALIGNMENT 4096u
// A read that ends early is gone on with; so many in a row that bring nothing new mean the end of the file.
#define STREAM_MOST_IDLE_READS 32u

struct os_stream {
    intptr_t fd;
    bool is_open;
    bool is_direct;
    uint64_t size; // of the file when it was opened
};

// Opens a stream on the file behind *file, which was opened from `path` (for messages). Direct when wanted and possible.
enum chord_status os_stream_open(struct os_stream *stream, const struct os_file *file, const char *path,
                                 bool want_direct, struct chord_error *err);
// The same, direct unless buffered reads turn out to be much faster; large files are looked at for some tens of milliseconds.
enum chord_status os_stream_open_faster(struct os_stream *stream, const struct os_file *file, const char *path,
                                        struct chord_error *err);
void os_stream_close(struct os_stream *stream); // may be called on a zeroed or closed stream

// Reads n_bytes at offset into out: all three multiples of STREAM_ALIGNMENT. Where the file ends before offset + n_bytes, what
// exists of it is read; a file that ends earlier than when it was opened is an error (IO), as is whatever the system refuses.
enum chord_status os_stream_read(const struct os_stream *stream, uint64_t offset, void *out, uint64_t n_bytes,
                                 struct chord_error *err);

// Drops what the page cache holds of these bytes, where the system has a call for it.
void os_stream_forget(const struct os_stream *stream, uint64_t offset, uint64_t n_bytes);

#endif
