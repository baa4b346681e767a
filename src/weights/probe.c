#include "weights/probe.h"

#include "os/pages.h"
#include "os/stream.h"
#include "os/thread.h"
#include "weights/pager.h"

#include <stdatomic.h>

#define BLOCK_BYTES (UINT64_C(2) << 20)
#define MOST_FILES 8u

struct probe {
    struct os_stream streams[MOST_FILES];
    uint64_t deadline;
    _Atomic uint64_t n_bytes;
    _Atomic uint64_t next; // place
    uint32_t n_files;
    _Atomic bool failed;
};

struct probe_thread {
    struct probe *probe;
    uint8_t *block;
    uv_thread_t id;
};

// The i-th of places that lie all over the file (the golden ratio's multiples, modulo 1).
static uint64_t place(uint64_t i, uint64_t size)
{
    const uint64_t n_blocks = size / BLOCK_BYTES + 1;
    const uint64_t share = (i * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
    return (share * n_blocks >> 32) * BLOCK_BYTES;
}

static void read_blocks(void *arg)
{
    const struct probe_thread *thread = arg;
    struct probe *probe = thread->probe;
    while (os_now_ns() < probe->deadline && !atomic_load(&probe->failed)) {
        const uint64_t i = atomic_fetch_add(&probe->next, 1);
        const struct os_stream *stream = &probe->streams[i % probe->n_files];
        const uint64_t at = place(i, stream->size);
        const uint64_t left = stream->size > at ? stream->size - at : 0;
        if (left < STREAM_ALIGNMENT)
            continue;
        if (os_stream_read(stream, at, thread->block, BLOCK_BYTES, NULL) != CHORD_OK)
            atomic_store(&probe->failed, true);
        atomic_fetch_add(&probe->n_bytes, left < BLOCK_BYTES ? left : BLOCK_BYTES);
    }
}

static double run(struct probe *probe, double seconds)
{
    struct probe_thread threads[MOST_FILES * PAGER_READERS_PER_FILE];
    const uint32_t most = probe->n_files * PAGER_READERS_PER_FILE;
    uint32_t n = 0;
    uint8_t *blocks = os_pages_reserve(most * BLOCK_BYTES);
    if (blocks == NULL)
        return 0;
    const uint64_t begin = os_now_ns();
    probe->deadline = begin + (uint64_t)(seconds * 1e9);
    for (; n < most; n++) {
        threads[n] = (struct probe_thread){.probe = probe, .block = blocks + n * BLOCK_BYTES};
        if (uv_thread_create(&threads[n].id, read_blocks, &threads[n]) != 0)
            break;
    }
    for (uint32_t i = 0; i < n; i++)
        uv_thread_join(&threads[i].id);
    const double took = (double)(os_now_ns() - begin) * 1e-9;
    os_pages_free(blocks, most * BLOCK_BYTES);
    return atomic_load(&probe->failed) ? 0 : (double)atomic_load(&probe->n_bytes) / took;
}

double probe_disk(const struct gguf *gguf, double seconds)
{
    struct probe probe = {0};
    const uint32_t n_files = gguf_n_files(gguf) < MOST_FILES ? gguf_n_files(gguf) : MOST_FILES;
    bool is_open = true;
    for (; is_open && probe.n_files < n_files; probe.n_files += is_open) {
        const struct gguf_file *file = gguf_file(gguf, probe.n_files);
        is_open = os_stream_open_faster(&probe.streams[probe.n_files], &file->os, file->path, NULL) == CHORD_OK;
    }
    const double rate = is_open ? run(&probe, seconds) : 0;
    for (uint32_t i = 0; i < probe.n_files; i++)
        os_stream_close(&probe.streams[i]);
    return rate;
}
