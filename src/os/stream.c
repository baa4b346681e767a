#include "os/stream.h"

#include "os/pages.h"
#include "os/thread.h"

// A look at both ways: enough reads to tell a file system that is slow in one of them, few enough that loading stays quick.
#define LOOK_READS 6u
#define LOOK_BYTES (UINT64_C(2) << 20)
// Files that are worth it.
#define LEAST_FILE_BYTES (LOOK_BYTES * LOOK_READS * 16)
// Direct reads leave the page cache to others: buffered ones have to be so much faster.
#define CLEARLY_FASTER 1.5

// Bytes per second; 0: a read failed. `phase`: 0 or 1, two sets of places.
static double look(const struct os_stream *stream, void *block, uint32_t phase)
{
    const uint64_t step = stream->size / (2 * LOOK_READS) / STREAM_ALIGNMENT * STREAM_ALIGNMENT;
    for (uint32_t i = phase; i < 2 * LOOK_READS; i += 2)
        os_stream_forget(stream, i * step, LOOK_BYTES);
    const uint64_t begin = os_now_ns();
    for (uint32_t i = phase; i < 2 * LOOK_READS; i += 2)
        if (os_stream_read(stream, i * step, block, LOOK_BYTES, NULL) != CHORD_OK)
            return 0;
    return (double)(LOOK_READS * LOOK_BYTES) / ((double)(os_now_ns() - begin) * 1e-9);
}

enum chord_status os_stream_open_faster(struct os_stream *stream, const struct os_file *file, const char *path,
                                        struct chord_error *err)
{
    struct os_stream buffered;
    const enum chord_status status = os_stream_open(stream, file, path, true, err);
    if (status != CHORD_OK || !stream->is_direct || stream->size < LEAST_FILE_BYTES)
        return status;
    void *block = os_pages_reserve(LOOK_BYTES);
    if (block == NULL || os_stream_open(&buffered, file, path, false, NULL) != CHORD_OK) {
        os_pages_free(block, LOOK_BYTES);
        return CHORD_OK;
    }
    const double direct_rate = look(stream, block, 0), buffered_rate = look(&buffered, block, 1);
    os_pages_free(block, LOOK_BYTES);
    if (buffered_rate > direct_rate * CLEARLY_FASTER) {
        os_stream_close(stream);
        *stream = buffered;
    } else {
        os_stream_close(&buffered);
    }
    return CHORD_OK;
}
