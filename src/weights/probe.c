#include "weights/probe.h"

#include "os/pages.h"
#include "os/stream.h"
#include "os/thread.h"
#include "weights/pager.h"

#include <stdatomic.h>

#define MOST_FILES 8u

struct probe {
    struct os_stream streams[MOST_FILES];
    uint64_t deadline;
    uint64_t piece_bytes; // whole blocks of the disk
    double per_wave;      // 0: no waves
    _Atomic uint64_t n_bytes;
    _Atomic uint64_t next; // piece
    uint32_t n_files;
    _Atomic bool failed;
    uv_mutex_t mutex;
    uv_cond_t arrival;
    uint64_t n_done; // pieces; guarded by the mutex
};

struct probe_thread {
    struct probe *probe;
    uint8_t *block;
    uv_thread_t id;
};

// The i-th of places that lie all over the file (the golden ratio's multiples, modulo 1).
static uint64_t place(uint64_t i, uint64_t size, uint64_t piece_bytes)
{
    const uint64_t n_pieces = size / piece_bytes + 1;
    const uint64_t share = (i * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
    return (share * n_pieces >> 32) * piece_bytes;
}

// The pieces of all waves before that of piece i: those of wave w begin with floor(w * per_wave).
static uint64_t pieces_before(uint64_t i, double per_wave)
{
    uint64_t wave = (uint64_t)((double)i / per_wave);
    while ((uint64_t)((double)(wave + 1) * per_wave) <= i)
        wave++;
    return (uint64_t)((double)wave * per_wave);
}

static bool is_over(const struct probe *probe)
{
    return os_now_ns() >= probe->deadline || atomic_load(&probe->failed);
}

// Waits until all pieces of the waves before have been read. False: time is over.
static bool wait_for_wave(struct probe *probe, uint64_t i)
{
    if (!(probe->per_wave > 0))
        return true;
    const uint64_t before = pieces_before(i, probe->per_wave);
    uv_mutex_lock(&probe->mutex);
    while (probe->n_done < before && !is_over(probe))
        uv_cond_wait(&probe->arrival, &probe->mutex);
    uv_mutex_unlock(&probe->mutex);
    return !is_over(probe);
}

static void count_done(struct probe *probe, uint32_t n)
{
    uv_mutex_lock(&probe->mutex);
    probe->n_done += n;
    uv_cond_broadcast(&probe->arrival);
    uv_mutex_unlock(&probe->mutex);
}

static void read_blocks(void *arg)
{
    const struct probe_thread *thread = arg;
    struct probe *probe = thread->probe;
    while (!is_over(probe)) {
        const uint64_t i = atomic_fetch_add(&probe->next, 1), piece = probe->piece_bytes;
        const struct os_stream *stream = &probe->streams[i % probe->n_files];
        const uint64_t at = place(i, stream->size, piece);
        const uint64_t left = stream->size > at ? stream->size - at : 0;
        if (!wait_for_wave(probe, i))
            break;
        if (left >= STREAM_ALIGNMENT) {
            if (os_stream_read(stream, at, thread->block, piece, NULL) != CHORD_OK)
                atomic_store(&probe->failed, true);
            atomic_fetch_add(&probe->n_bytes, left < piece ? left : piece);
        }
        count_done(probe, 1);
    }
    count_done(probe, 0); // who waits looks at the clock
}

static double run(struct probe *probe, double seconds)
{
    struct probe_thread threads[MOST_FILES * PAGER_READERS_PER_FILE];
    const uint32_t most = probe->n_files * PAGER_READERS_PER_FILE;
    uint32_t n = 0;
    if (uv_mutex_init(&probe->mutex) != 0)
        return 0;
    if (uv_cond_init(&probe->arrival) != 0) {
        uv_mutex_destroy(&probe->mutex);
        return 0;
    }
    uint8_t *blocks = os_pages_reserve(most * probe->piece_bytes);
    const uint64_t begin = os_now_ns();
    probe->deadline = begin + (uint64_t)(seconds * 1e9);
    for (; blocks != NULL && n < most; n++) {
        threads[n] = (struct probe_thread){.probe = probe, .block = blocks + n * probe->piece_bytes};
        if (uv_thread_create(&threads[n].id, read_blocks, &threads[n]) != 0)
            break;
    }
    for (uint32_t i = 0; i < n; i++)
        uv_thread_join(&threads[i].id);
    const double took = (double)(os_now_ns() - begin) * 1e-9;
    os_pages_free(blocks, most * probe->piece_bytes);
    uv_cond_destroy(&probe->arrival);
    uv_mutex_destroy(&probe->mutex);
    return atomic_load(&probe->failed) ? 0 : (double)atomic_load(&probe->n_bytes) / took;
}

double probe_disk(const struct gguf *gguf, uint64_t piece_bytes, double per_wave, double seconds)
{
    struct probe probe = {.piece_bytes = (piece_bytes + STREAM_ALIGNMENT - 1) / STREAM_ALIGNMENT * STREAM_ALIGNMENT,
                          .per_wave = per_wave > 0 && per_wave < 1 ? 1 : per_wave};
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
