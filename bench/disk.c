// What the disk gives to direct reads of a file: pieces spread evenly over it, read by a few threads into large pages.
//
//     bench_disk FILE [--threads N] [--mb N] [--piece-mb N]
//
// Prints one JSON object. Where the file system refuses direct reads "direct" is false, and what the page cache held counts.
#include "os/file.h"
#include "os/pages.h"
#include "os/stream.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 16u
#define MIB (UINT64_C(1) << 20)

static struct {
    uint64_t threads, mb, piece_mb;
} options = {.threads = 2, .mb = 1024, .piece_mb = 2};

static struct os_stream stream;
static uint64_t piece_bytes, piece_stride;
static uint64_t n_pieces;
static _Atomic uint64_t next_piece;
static _Atomic bool failed;

static int fail(const char *why)
{
    fprintf(stderr, "bench_disk: %s\n", why);
    return 1;
}

static void read_pieces(void *buffer)
{
    for (uint64_t i = atomic_fetch_add(&next_piece, 1); i < n_pieces; i = atomic_fetch_add(&next_piece, 1)) {
        struct chord_error err;
        if (os_stream_read(&stream, i * piece_stride, buffer, piece_bytes, &err) == CHORD_OK)
            continue;
        if (!atomic_exchange(&failed, true))
            fail(err.message);
        return;
    }
}

static bool read_options(int n, char **words)
{
    for (int i = 0; i < n; i += 2) {
        if (i + 1 == n)
            return false;
        const uint64_t value = strtoull(words[i + 1], NULL, 10);
        if (strcmp(words[i], "--threads") == 0)
            options.threads = value;
        else if (strcmp(words[i], "--mb") == 0)
            options.mb = value;
        else if (strcmp(words[i], "--piece-mb") == 0)
            options.piece_mb = value;
        else
            return false;
    }
    return options.threads >= 1 && options.threads <= MAX_THREADS && options.piece_mb >= 1 && options.piece_mb <= 64 &&
           options.mb >= options.piece_mb;
}

// Seconds until `threads` threads have read all pieces; below zero when they could not.
static double measure(uint8_t *buffers)
{
    uv_thread_t threads[MAX_THREADS];
    uint64_t n_started = 0;
    memset(buffers, 1, options.threads * piece_bytes); // there from the start
    const double begin = os_now_seconds();
    while (n_started < options.threads &&
           uv_thread_create(&threads[n_started], read_pieces, buffers + n_started * piece_bytes) == 0)
        n_started++;
    for (uint64_t i = 0; i < n_started; i++)
        uv_thread_join(&threads[i]);
    const double seconds = os_now_seconds() - begin;
    return n_started == options.threads && !atomic_load(&failed) ? seconds : -1;
}

int main(int n, char **words)
{
    struct os_file file = {0};
    struct chord_error err;
    if (n < 2 || !read_options(n - 2, words + 2))
        return fail("usage: bench_disk FILE [--threads N] [--mb N] [--piece-mb N]");
    piece_bytes = options.piece_mb * MIB;
    if (os_file_open(&file, words[1], &err) != CHORD_OK ||
        os_stream_open(&stream, &file, words[1], true, &err) != CHORD_OK)
        return fail(err.message);
    n_pieces = file.size / piece_bytes < options.mb / options.piece_mb ? file.size / piece_bytes
                                                                       : options.mb / options.piece_mb;
    if (n_pieces == 0)
        return fail("the file is smaller than a piece");
    piece_stride = file.size / n_pieces / STREAM_ALIGNMENT * STREAM_ALIGNMENT;
    uint8_t *buffers = os_pages_reserve(options.threads * piece_bytes);
    const double seconds = buffers == NULL ? -1 : measure(buffers);
    if (seconds > 0)
        printf("{\"direct\":%s,\"threads\":%llu,\"pieceBytes\":%llu,\"bytes\":%llu,\"seconds\":%.6f}\n",
               stream.is_direct ? "true" : "false", (unsigned long long)options.threads,
               (unsigned long long)piece_bytes, (unsigned long long)(n_pieces * piece_bytes), seconds);
    os_pages_free(buffers, options.threads * piece_bytes);
    os_stream_close(&stream);
    os_file_close(&file);
    return seconds > 0 ? 0 : fail("nothing was measured");
}
