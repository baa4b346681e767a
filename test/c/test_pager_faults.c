// The pager over a disk that does what disks do: reads that end early, are interrupted, or fail; and a million operations in random order
// against a model of the store. The disk is memory behind the system call that reads files.
#ifdef __linux__
#define _GNU_SOURCE // off64_t
#endif

#include "weights/pager.h"
#include "account_helpers.h"
#include "quick.h"

#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DISK_FD 31000 // no real file has it
#define N_TILES 24u
#define N_LAYERS 3u
#define MOST_TILE_BYTES 6000u

static struct {
    uint8_t *bytes;
    uint64_t size;
    // One of so many reads; 0: none.
    _Atomic uint32_t short_one_of, interrupted_one_of, failing_one_of;
    _Atomic uint64_t fails_from; // reads that reach beyond this byte: EIO
    _Atomic uint64_t n_reads, n_failed;
} disk;

static uint64_t scramble(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool happens(uint64_t n, uint32_t one_of)
{
    return one_of != 0 && scramble(n) % one_of == 0;
}

// What os_stream_read calls.
ssize_t pread64(int fd, void *out, size_t n_bytes, off64_t offset);
ssize_t pread64(int fd, void *out, size_t n_bytes, off64_t offset)
{
    if (fd != DISK_FD)
        return (ssize_t)syscall(SYS_pread64, fd, out, n_bytes, offset);
    const uint64_t n = atomic_fetch_add(&disk.n_reads, 1), at = (uint64_t)offset;
    if (happens(3 * n, atomic_load(&disk.interrupted_one_of))) {
        errno = EINTR;
        return -1;
    }
    if (happens(3 * n + 1, atomic_load(&disk.failing_one_of)) || at + n_bytes > atomic_load(&disk.fails_from)) {
        atomic_fetch_add(&disk.n_failed, 1);
        errno = EIO;
        return -1;
    }
    uint64_t count = at >= disk.size ? 0 : disk.size - at < n_bytes ? disk.size - at : n_bytes;
    if (happens(3 * n + 2, atomic_load(&disk.short_one_of)) && count > 1)
        count = 1 + scramble(n) % (count - 1);
    memcpy(out, disk.bytes + at, count);
    return (ssize_t)count;
}

static struct pager_tile tiles[N_TILES];
static struct os_stream stream;

static int set_up_disk(void **state)
{
    set_up(state);
    memset(&disk, 0, sizeof disk);
    atomic_store(&disk.fails_from, UINT64_MAX);
    uint64_t at = 77;
    for (uint32_t i = 0; i < N_TILES; i++) {
        tiles[i] = (struct pager_tile){.offset = at,
                                       .n_bytes = 2 + (uint32_t)(scramble(i) % (MOST_TILE_BYTES - 2)),
                                       .layer = (uint16_t)(i % N_LAYERS)};
        at += tiles[i].n_bytes;
    }
    disk.size = at;
    disk.bytes = malloc(at);
    if (disk.bytes == NULL)
        return -1;
    for (uint64_t i = 0; i < at; i++)
        disk.bytes[i] = (uint8_t)scramble(i + 1000);
    stream = (struct os_stream){.fd = DISK_FD, .is_open = true, .is_direct = true, .size = at};
    return 0;
}

static int tear_down_disk(void **state)
{
    free(disk.bytes);
    return tear_down(state);
}

static struct pager *make_pager(enum pager_policy policy, uint64_t memory)
{
    struct pager *pager;
    const struct pager_options options = {.policy = policy,
                                          .memory = memory,
                                          .ring_bytes = PAGER_LEAST_FRAMES * pager_frame_bytes(tiles, N_TILES),
                                          .n_readers = 2,
                                          .n_layers = N_LAYERS};
    assert_int_equal(pager_create(&pager, tiles, N_TILES, &stream, 1, &options, &account, NULL), CHORD_OK);
    return pager;
}

// Uses a tile whole, in two parts. False: it could not be read.
static bool use(struct pager *pager, uint32_t tile, struct chord_error *err)
{
    const void *bytes;
    const uint32_t half = tiles[tile].n_bytes / 2;
    if (pager_acquire(pager, tile, &bytes, err) != CHORD_OK)
        return false;
    if (memcmp(bytes, disk.bytes + tiles[tile].offset, tiles[tile].n_bytes) != 0)
        fail_msg("tile %u does not hold the file's bytes", tile);
    pager_release(pager, tile, half);
    pager_release(pager, tile, tiles[tile].n_bytes - half);
    return true;
}

static bool run_pass(struct pager *pager, struct chord_error *err)
{
    bool complete = true;
    pager_begin_pass(pager, 0, N_TILES);
    for (uint32_t i = 0; i < N_TILES && complete; i++)
        complete = use(pager, i, err);
    pager_end_pass(pager);
    return complete;
}

static void short_and_interrupted_reads_are_gone_on_with(void **state)
{
    (void)state;
    struct pager *pager = make_pager(PAGER_PIN, 150000);
    atomic_store(&disk.short_one_of, 4);
    atomic_store(&disk.interrupted_one_of, 3);
    for (int i = 0; i < 50; i++)
        assert_true(run_pass(pager, NULL));
    struct pager_totals totals;
    pager_get_totals(pager, &totals);
    assert_true(atomic_load(&disk.n_reads) > 50);
    assert_int_equal(totals.all.hits + totals.all.misses, 50 * N_TILES);
    pager_free(pager);
}

// One failure is got over; one that stays is an error of the pass, and of no later one.
static void a_disk_that_fails_for_a_while(void **state)
{
    (void)state;
    struct chord_error err;
    for (int policy = PAGER_PIN; policy <= PAGER_LRU; policy++) {
        struct pager *pager = make_pager((enum pager_policy)policy, 100000);
        assert_true(run_pass(pager, &err));
        atomic_store(&disk.fails_from, tiles[N_TILES / 2].offset);
        pager_clear(pager);
        assert_false(run_pass(pager, &err));
        assert_int_equal(err.code, CHORD_IO);
        assert_non_null(strstr(err.message, "Input/output error"));
        assert_true(pager_sane(pager));
        assert_false(run_pass(pager, &err)); // as long as it lasts
        atomic_store(&disk.fails_from, UINT64_MAX);
        for (int i = 0; i < 5; i++)
            assert_true(run_pass(pager, &err));
        assert_true(pager_sane(pager));
        pager_free(pager);
    }
}

// A pin that cannot be read: told by preloading, and tried again by the next.
static void preloading_tells_what_fails(void **state)
{
    (void)state;
    struct chord_error err;
    uint64_t done = 0, total = 0;
    struct pager *pager = make_pager(PAGER_PIN, 200000);
    atomic_store(&disk.fails_from, tiles[2].offset);
    assert_int_equal(pager_preload(pager, 10, NULL, &done, &total, &err), CHORD_IO);
    assert_true(done < total);
    atomic_store(&disk.fails_from, UINT64_MAX);
    assert_int_equal(pager_preload(pager, 10, NULL, &done, &total, &err), CHORD_OK);
    assert_true(done == total && total > 0);
    assert_true(run_pass(pager, &err));
    pager_free(pager);
}

// ---- A million operations ----------------------------------------------------------------------------------------------

// What the store must be like, whatever was done to it.
struct model {
    struct pager *pager;
    uint64_t random, n_operations;
    uint64_t n_uses, n_bytes;  // of tiles used whole
    uint32_t first, end, next; // the pass, and its tile that is next; next == end: no pass
    bool may_fail;             // faults are, or were in this pass
    uint64_t others;           // bytes that somebody else holds of the account
};

static uint64_t below(struct model *m, uint64_t n)
{
    return scramble(m->random++) % n;
}

static void check(struct model *m)
{
    struct pager_totals totals;
    pager_get_totals(m->pager, &totals);
    assert_true(pager_sane(m->pager));
    const uint64_t held = atomic_load(&account.held[MEMORY_WEIGHTS]);
    assert_int_equal(held, totals.pinned_bytes + totals.frame_bytes_held);
    assert_true(atomic_load(&account.total) <= account.ceiling);
    assert_int_equal(totals.all.hits + totals.all.misses, m->n_uses);
    assert_int_equal(totals.all.hit_bytes + totals.all.miss_bytes, m->n_bytes);
    m->n_operations++;
}

static void begin_some_pass(struct model *m)
{
    const bool whole = below(m, 2) == 0;
    m->first = m->next = whole ? 0 : (uint32_t)below(m, N_TILES);
    m->end = whole ? N_TILES : m->first + 1 + (uint32_t)below(m, N_TILES - m->first);
    m->may_fail = atomic_load(&disk.failing_one_of) != 0;
    pager_begin_pass(m->pager, m->first, m->end);
}

static void end_pass(struct model *m)
{
    pager_end_pass(m->pager);
    m->next = m->end;
}

static void use_next(struct model *m)
{
    struct chord_error err;
    if (!use(m->pager, m->next, &err)) {
        if (!m->may_fail)
            fail_msg("tile %u: %s", m->next, err.message);
        assert_int_equal(err.code, CHORD_IO);
        end_pass(m);
        return;
    }
    m->n_uses++;
    m->n_bytes += tiles[m->next].n_bytes;
    if (++m->next == m->end)
        end_pass(m);
}

// Somebody else allocates or frees: the account takes memory of tiles for it.
static void allocate_elsewhere(struct model *m)
{
    const uint64_t n = below(m, 30000);
    if (below(m, 2) == 0 && m->others > 0) {
        memory_unreserve(&account, MEMORY_KV, m->others);
        m->others = 0;
    } else if (memory_reserve(&account, MEMORY_KV, n)) {
        m->others += n;
    }
}

static void change_weather(struct model *m)
{
    atomic_store(&disk.short_one_of, below(m, 2) == 0 ? 0 : 5);
    atomic_store(&disk.interrupted_one_of, below(m, 2) == 0 ? 0 : 7);
    atomic_store(&disk.failing_one_of, below(m, 3) == 0 ? 40 : 0);
    m->may_fail = true; // of the pass under way: tiles may have been read before
}

static void do_something(struct model *m)
{
    uint64_t done, total;
    const bool in_pass = m->next < m->end;
    const uint64_t what = below(m, 1000);
    if (what < 4)
        allocate_elsewhere(m);
    else if (what < 5)
        change_weather(m);
    else if (what < 7)
        pager_shrink(m->pager, below(m, 20000));
    else if (what < 8)
        pager_clear(m->pager);
    else if (what < 9 && in_pass)
        end_pass(m); // in the middle
    else if (what < 12 && !in_pass)
        pager_grow(m->pager, below(m, 60000));
    else if (what < 13 && !in_pass)
        (void)pager_preload(m->pager, 0, NULL, &done, &total, NULL); // fails only if a read does, which others find too
    else if (in_pass)
        use_next(m);
    else
        begin_some_pass(m);
    check(m);
}

static void a_million_operations(void **state)
{
    (void)state;
    const uint64_t n_wanted = quick() ? 60000 : 1000000;
    struct model m = {.random = 1};
    while (m.n_operations < n_wanted) {
        memory_account_init(&account, 160000 + below(&m, 100000));
        m.pager = make_pager(below(&m, 4) == 0 ? PAGER_LRU : PAGER_PIN, 70000 + below(&m, 80000));
        m.n_uses = m.n_bytes = m.others = 0;
        m.first = m.end = m.next = 0;
        for (int i = 0; i < 20000; i++)
            do_something(&m);
        if (m.next < m.end)
            end_pass(&m);
        memory_unreserve(&account, MEMORY_KV, m.others);
        pager_free(m.pager);
        assert_int_equal(atomic_load(&account.total), 0);
    }
}

int main(void)
{
#define TEST_ON_DISK(name) cmocka_unit_test_setup_teardown(name, set_up_disk, tear_down_disk)
    const struct CMUnitTest tests[] = {
        TEST_ON_DISK(short_and_interrupted_reads_are_gone_on_with),
        TEST_ON_DISK(a_disk_that_fails_for_a_while),
        TEST_ON_DISK(preloading_tells_what_fails),
        TEST_ON_DISK(a_million_operations),
    };
#undef TEST_ON_DISK
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else // the system call has another name elsewhere

int main(void)
{
    return 0;
}

#endif
