// The pager against a model of it: whatever is asked in whatever order, each tile holds the file's bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "os/thread.h"
#include "test_folder.h"
#include "weights/pager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TILES 37u
#define N_THREADS 3u
#define N_LAYERS 4u
#define N_PARTS 3u // of a tile, used by any thread each

struct world {
    struct os_file file;
    struct os_stream stream;
    uint8_t *bytes; // the file's
    uint64_t size;
    struct pager_tile tiles[N_TILES];
    struct memory_account account;
    uint64_t random;
};

static uint64_t next_random(struct world *world)
{
    uint64_t z = world->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t below(struct world *world, uint64_t n)
{
    return next_random(world) % n;
}

static void make_world(struct world *world)
{
    memset(world, 0, sizeof *world);
    memory_account_init(&world->account, UINT64_MAX);
    world->random = 7;
    uint64_t at = 100; // tiles begin anywhere
    for (uint32_t i = 0; i < N_TILES; i++) {
        world->tiles[i] = (struct pager_tile){
            .offset = at, .n_bytes = N_PARTS + (uint32_t)below(world, 40000), .layer = (uint16_t)(i % N_LAYERS)};
        at += world->tiles[i].n_bytes + below(world, 64);
    }
    world->size = at;
    world->bytes = malloc(at);
    assert_non_null(world->bytes);
    for (uint64_t i = 0; i < at; i++)
        world->bytes[i] = (uint8_t)next_random(world);
    const char *path = test_path("tiles.bin");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(world->bytes, 1, at, f), at);
    fclose(f);
    assert_int_equal(os_file_open(&world->file, path, NULL), CHORD_OK);
    assert_int_equal(os_stream_open(&world->stream, &world->file, path, true, NULL), CHORD_OK);
}

static void free_world(struct world *world)
{
    os_stream_close(&world->stream);
    os_file_close(&world->file);
    free(world->bytes);
    assert_int_equal(atomic_load(&world->account.total), 0);
}

// A pass in several threads: each tile is used in a few parts, by whoever comes first.
struct pass {
    struct world *world;
    struct pager *pager;
    uint32_t first, end;
    _Atomic uint32_t next_part;
    _Atomic uint32_t n_wrong, n_failed;
    bool copies; // tiles are also looked at by others
};

// A look at a tile by one who is not part of the pass. False: it is not in memory.
static bool copy_tile(struct world *world, struct pager *pager, uint32_t tile, uint64_t begin)
{
    uint8_t copy[40000 + N_PARTS];
    const struct pager_tile *t = &world->tiles[tile];
    if (!pager_copy(pager, tile, begin, t->n_bytes - begin, copy))
        return false;
    assert_memory_equal(copy, world->bytes + t->offset + begin, t->n_bytes - begin);
    return true;
}

static void use_part(struct pass *pass, uint32_t part)
{
    const uint32_t tile = pass->first + part / N_PARTS;
    const struct pager_tile *t = &pass->world->tiles[tile];
    const uint64_t share = t->n_bytes / N_PARTS;
    const uint64_t begin = part % N_PARTS * share;
    const uint64_t n = part % N_PARTS == N_PARTS - 1 ? t->n_bytes - begin : share;
    const void *bytes;
    if (pager_acquire(pass->pager, tile, &bytes, NULL) != CHORD_OK) {
        atomic_fetch_add(&pass->n_failed, 1);
        return;
    }
    if (memcmp((const uint8_t *)bytes + begin, pass->world->bytes + t->offset + begin, n) != 0)
        atomic_fetch_add(&pass->n_wrong, 1);
    if (pass->copies && !copy_tile(pass->world, pass->pager, tile, 1)) // it is in use
        atomic_fetch_add(&pass->n_wrong, 1);
    pager_release(pass->pager, tile, n);
    if (pass->copies)
        copy_tile(pass->world, pass->pager, (tile * 7 + part) % N_TILES, 0);
}

static void use_parts(void *arg)
{
    struct pass *pass = arg;
    const uint32_t n = (pass->end - pass->first) * N_PARTS;
    for (uint32_t part; (part = atomic_fetch_add(&pass->next_part, 1)) < n;)
        use_part(pass, part);
}

static struct pager_totals totals(struct pager *pager)
{
    struct pager_totals out;
    pager_get_totals(pager, &out);
    return out;
}

// By one thread, so that tiles are used in order: a thread among others may be held up.
static void run_ordered_pass(struct pass *pass, uint32_t first, uint32_t end)
{
    pass->first = first;
    pass->end = end;
    atomic_store(&pass->next_part, 0);
    pager_begin_pass(pass->pager, first, end);
    use_parts(pass);
    pager_end_pass(pass->pager);
    assert_int_equal(atomic_load(&pass->n_wrong), 0);
    assert_true(pager_sane(pass->pager));
}

static void run_pass(struct pass *pass, uint32_t first, uint32_t end)
{
    uv_thread_t threads[N_THREADS];
    pass->first = first;
    pass->end = end;
    atomic_store(&pass->next_part, 0);
    pager_begin_pass(pass->pager, first, end);
    for (uint32_t i = 0; i < N_THREADS; i++)
        assert_int_equal(uv_thread_create(&threads[i], use_parts, pass), 0);
    for (uint32_t i = 0; i < N_THREADS; i++)
        uv_thread_join(&threads[i]);
    pager_end_pass(pass->pager);
    assert_int_equal(atomic_load(&pass->n_wrong), 0);
    assert_true(pager_sane(pass->pager));
}

static struct pager *make_pager(struct world *world, enum pager_policy policy, uint64_t pinned_bytes, uint64_t n_frames)
{
    struct pager *pager;
    const uint64_t ring = n_frames * pager_frame_bytes(world->tiles, N_TILES);
    const struct pager_options options = {
        .policy = policy,
        .memory = pinned_bytes + ring,
        .ring_bytes = ring,
        .n_readers = 2,
        .n_layers = N_LAYERS,
    };
    assert_int_equal(pager_create(&pager, world->tiles, N_TILES, &world->stream, 1, &options, &world->account, NULL),
                     CHORD_OK);
    assert_true(pager_sane(pager));
    return pager;
}

static void passes_see_the_bytes_of_the_file(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    for (uint64_t pinned = 0; pinned <= 3; pinned++)
        for (uint64_t n_frames = N_THREADS + 1; n_frames < N_TILES; n_frames += 9)
            for (int policy = PAGER_PIN; policy <= PAGER_LRU; policy++) {
                struct pager *pager = make_pager(&world, (enum pager_policy)policy, pinned * world.size / 3, n_frames);
                struct pass pass = {.world = &world, .pager = pager, .copies = true};
                for (int i = 0; i < 4; i++) {
                    run_pass(&pass, 0, N_TILES - 4);
                    if (i != 2) // prompts do not always want logits
                        run_pass(&pass, N_TILES - 4, N_TILES);
                }
                assert_int_equal(atomic_load(&pass.n_failed), 0);
                pager_free(pager);
            }
    free_world(&world);
}

// What is pinned is read once; of the rest every pass reads every byte.
static void hits_are_what_is_pinned(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    struct pager *pager = make_pager(&world, PAGER_PIN, world.size / 2, 6);
    struct pass pass = {.world = &world, .pager = pager};
    run_pass(&pass, 0, N_TILES);
    const struct pager_totals before = totals(pager);
    assert_int_equal(before.all.hits, 0);
    assert_int_equal(before.all.misses, N_TILES);
    run_pass(&pass, 0, N_TILES);
    const struct pager_totals after = totals(pager);
    assert_int_equal(after.all.hits, after.n_pinned);
    assert_int_equal(after.all.misses - before.all.misses, N_TILES - after.n_pinned);
    assert_true(after.pinned_bytes <= world.size / 2 && after.pinned_bytes > world.size / 2 - 2 * 49152);
    struct pager_stats sum = {0}, layer;
    for (uint32_t i = 0; i < N_LAYERS; i++) {
        pager_get_layer(pager, i, &layer);
        sum.hits += layer.hits;
        sum.misses += layer.misses;
    }
    assert_int_equal(sum.hits, after.all.hits);
    assert_int_equal(sum.misses, after.all.misses);
    pager_free(pager);
    free_world(&world);
}

// Over a scan that repeats itself the least recently used tile is always the one that is wanted next.
static void lru_hits_nothing_over_a_scan(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    struct pager *pager = make_pager(&world, PAGER_LRU, (N_TILES - 12) * pager_frame_bytes(world.tiles, N_TILES), 6);
    struct pass pass = {.world = &world, .pager = pager};
    for (int i = 0; i < 5; i++)
        run_ordered_pass(&pass, 0, N_TILES);
    assert_int_equal(totals(pager).all.hits, 0);
    assert_int_equal(totals(pager).all.misses, 5 * N_TILES);
    pager_free(pager);
    pager = make_pager(&world, PAGER_LRU, N_TILES * pager_frame_bytes(world.tiles, N_TILES), 6); // all of them fit
    pass.pager = pager;
    for (int i = 0; i < 5; i++)
        run_ordered_pass(&pass, 0, N_TILES);
    assert_int_equal(totals(pager).all.misses, N_TILES);
    pager_free(pager);
    free_world(&world);
}

static void tiles_in_memory_are_copied(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    struct pager *pager = make_pager(&world, PAGER_PIN, world.size / 2, 6);
    struct pass pass = {.world = &world, .pager = pager};
    for (uint32_t tile = 0; tile < N_TILES; tile++)
        assert_false(copy_tile(&world, pager, tile, 0));
    run_pass(&pass, 0, N_TILES);
    const struct pager_totals before = totals(pager);
    uint64_t n_copied = 0;
    for (uint32_t tile = 0; tile < N_TILES; tile++)
        n_copied += copy_tile(&world, pager, tile, tile % 3);
    assert_true(n_copied >= before.n_pinned && n_copied <= before.n_pinned + 6);
    const struct pager_totals after = totals(pager);
    assert_int_equal(after.all.hits + after.all.misses, before.all.hits + before.all.misses);
    pager_clear(pager);
    for (uint32_t tile = 0; tile < N_TILES; tile++)
        assert_false(copy_tile(&world, pager, tile, 0));
    pager_free(pager);
    free_world(&world);
}

// Random passes, passes given up half-way, pins given back, everything dropped: in any order.
static void any_order_of_calls(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    for (int round = 0; round < 6; round++) {
        const enum pager_policy policy = below(&world, 3) == 0 ? PAGER_LRU : PAGER_PIN;
        struct pager *pager = make_pager(&world, policy, below(&world, world.size), N_THREADS + 1 + below(&world, 9));
        struct pass pass = {.world = &world, .pager = pager, .copies = true};
        for (int i = 0; i < 60; i++) {
            const uint32_t first = (uint32_t)below(&world, N_TILES);
            const uint32_t end = first + 1 + (uint32_t)below(&world, N_TILES - first);
            switch (below(&world, 8)) {
            case 0:
                pager_clear(pager);
                break;
            case 1: // given up after a few tiles, one of them half used
                pager_begin_pass(pager, first, end);
                pass.first = first;
                for (uint32_t part = 0; part < (end - first) * N_PARTS && part < 7; part++)
                    use_part(&pass, part);
                pager_end_pass(pager);
                break;
            case 2: {
                const uint64_t wanted = below(&world, world.size / 8), held = atomic_load(&world.account.total);
                const uint64_t freed = pager_shrink(pager, wanted);
                assert_int_equal(held - freed, atomic_load(&world.account.total));
                break;
            }
            case 3: {
                const uint64_t wanted = below(&world, world.size / 8), held = atomic_load(&world.account.total);
                const uint64_t taken = pager_grow(pager, wanted);
                assert_true(taken <= wanted);
                assert_int_equal(held + taken, atomic_load(&world.account.total));
                break;
            }
            default:
                run_pass(&pass, first, end);
                break;
            }
            assert_true(pager_sane(pager));
        }
        assert_int_equal(atomic_load(&pass.n_wrong) + atomic_load(&pass.n_failed), 0);
        pager_free(pager);
    }
    free_world(&world);
}

// Frames that were given back are none to count on: tiles that a pass left in the others must not keep its first ones out.
static void a_pass_after_one_that_was_left(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    const uint64_t frame = pager_frame_bytes(world.tiles, N_TILES);
    struct pager *pager = make_pager(&world, PAGER_PIN, 0, 24);
    struct pass pass = {.world = &world, .pager = pager};
    assert_int_equal(pager_shrink(pager, 16 * frame), 16 * frame);
    pager_begin_pass(pager, 0, N_TILES);
    for (uint32_t part = 0; part < 12 * N_PARTS; part++)
        use_part(&pass, part);
    const void *bytes;
    assert_int_equal(pager_acquire(pager, 12 + PAGER_LEAST_FRAMES - 1, &bytes, NULL), CHORD_OK); // all frames are full
    pager_end_pass(pager);
    run_pass(&pass, 0, N_TILES);
    assert_int_equal(atomic_load(&pass.n_failed), 0);
    pager_free(pager);
    free_world(&world);
}

// The file becomes shorter: those tiles fail, with a reason; when it is whole again, so is the pager.
static void a_failed_read_fails_its_tile(void **state)
{
    struct world world;
    struct chord_error error;
    const void *bytes;
    (void)state;
    make_world(&world);
    struct pager *pager = make_pager(&world, PAGER_PIN, world.size / 3, 5);
    struct pass pass = {.world = &world, .pager = pager};
    const char *path = test_path("tiles.bin");
    assert_int_equal(truncate(path, (off_t)world.tiles[24].offset), 0);
    pager_begin_pass(pager, 0, N_TILES);
    pass.first = 0;
    for (uint32_t part = 0; part < 19 * N_PARTS; part++)
        use_part(&pass, part);
    assert_int_equal(pager_acquire(pager, 19, &bytes, NULL), CHORD_OK);
    pager_release(pager, 19, world.tiles[19].n_bytes);
    assert_int_equal(pager_acquire(pager, 24, &bytes, &error), CHORD_IO);
    assert_non_null(strstr(error.message, "ends"));
    pager_end_pass(pager);
    FILE *f = fopen(path, "r+b");
    assert_int_equal(fwrite(world.bytes, 1, world.size, f), world.size);
    fclose(f);
    run_pass(&pass, 0, N_TILES);
    assert_int_equal(atomic_load(&pass.n_failed), 0);
    pager_free(pager);
    free_world(&world);
}

static void memory_that_is_missing(void **state)
{
    struct world world;
    struct pager *pager = NULL;
    (void)state;
    make_world(&world);
    const struct pager_options options = {.memory = 500000, .ring_bytes = 400000, .n_readers = 1, .n_layers = N_LAYERS};
    for (int64_t n = 0;; n++) {
        atomic_store(&world.account.fail_after, n);
        const enum chord_status status =
            pager_create(&pager, world.tiles, N_TILES, &world.stream, 1, &options, &world.account, NULL);
        if (status == CHORD_OK)
            break;
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
        assert_int_equal(atomic_load(&world.account.total), 0);
    }
    pager_free(pager);
    atomic_store(&world.account.fail_after, -1);
    world.account.ceiling = 300000;
    assert_int_equal(pager_create(&pager, world.tiles, N_TILES, &world.stream, 1, &options, &world.account, NULL),
                     CHORD_MEMORY_BUDGET);
    free_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_see_the_bytes_of_the_file),
        cmocka_unit_test(hits_are_what_is_pinned),
        cmocka_unit_test(lru_hits_nothing_over_a_scan),
        cmocka_unit_test(tiles_in_memory_are_copied),
        cmocka_unit_test(any_order_of_calls),
        cmocka_unit_test(a_pass_after_one_that_was_left),
        cmocka_unit_test(a_failed_read_fails_its_tile),
        cmocka_unit_test(memory_that_is_missing),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
