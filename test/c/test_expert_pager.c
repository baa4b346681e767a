// The expert pager: whatever is chosen in whatever order and memory, each tile holds the file's bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "os/thread.h"
#include "test_folder.h"
#include "weights/expert_pager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_LAYERS 4u
#define N_EXPERTS 9u
#define N_THREADS 3u

struct world {
    const char *path;
    struct os_file file;
    struct os_stream stream;
    uint8_t *bytes; // the file's
    uint64_t size;
    struct expert_layer layers[N_LAYERS];
    struct memory_account account;
    struct expert_pager *pager;
    uint64_t random;
};

static uint32_t below(struct world *world, uint32_t n)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((world->random >> 33) * n) >> 31);
}

static void write_file(const struct world *world, uint64_t size)
{
    FILE *f = fopen(world->path, "r+b");
    if (f == NULL)
        f = fopen(world->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(world->bytes, 1, size, f), size);
    fclose(f);
}

static void make_world(struct world *world)
{
    *world = (struct world){.path = test_path("experts.bin"), .random = 7, .size = 100}; // parts begin anywhere
    memory_account_init(&world->account, UINT64_MAX);
    for (uint32_t l = 0; l < N_LAYERS; l++) {
        world->layers[l].layer = 2 * l;
        for (uint32_t p = 0; p < EXPERT_PARTS; p++) {
            struct expert_part *part = &world->layers[l].parts[p];
            *part = (struct expert_part){
                .offset = world->size, .tile_bytes = 1 + below(world, 9000), .n_tiles = 1 + below(world, 3)};
            world->size += (uint64_t)part->tile_bytes * part->n_tiles * N_EXPERTS + below(world, 64);
        }
    }
    world->bytes = malloc(world->size);
    assert_non_null(world->bytes);
    for (uint64_t i = 0; i < world->size; i++)
        world->bytes[i] = (uint8_t)below(world, 256);
    write_file(world, world->size);
    assert_int_equal(os_file_open(&world->file, world->path, NULL), CHORD_OK);
    assert_int_equal(os_stream_open(&world->stream, &world->file, world->path, true, NULL), CHORD_OK);
}

static void free_world(struct world *world)
{
    expert_pager_free(world->pager);
    os_stream_close(&world->stream);
    os_file_close(&world->file);
    free(world->bytes);
    assert_int_equal(atomic_load(&world->account.total), 0);
}

static uint64_t frame_bytes(const struct world *world)
{
    return expert_pager_frame_bytes(world->layers, N_LAYERS);
}

static enum chord_status create(struct world *world, uint32_t n_frames, enum expert_cache_policy policy)
{
    struct chord_error err;
    const struct expert_pager_options options = {.policy = policy,
                                                 .n_layers = N_LAYERS,
                                                 .n_experts = N_EXPERTS,
                                                 .n_model_layers = 2 * N_LAYERS,
                                                 .memory = n_frames * frame_bytes(world) + 17,
                                                 .n_readers = 2};
    return expert_pager_create(&world->pager, world->layers, &world->stream, &options, &world->account, &err);
}

// All tiles of the experts of a wave, by several threads, in the order in which a backend uses them.
struct use {
    struct world *world;
    uint32_t layer, n_experts;
    const uint32_t *experts;
    _Atomic uint32_t next, n_wrong, n_failed;
};

static void use_tile(struct use *use, uint32_t expert, uint32_t p, uint32_t tile)
{
    const struct expert_part *part = &use->world->layers[use->layer].parts[p];
    const uint8_t *expected =
        use->world->bytes + part->offset + ((uint64_t)expert * part->n_tiles + tile) * part->tile_bytes;
    const void *bytes;
    if (expert_pager_acquire(use->world->pager, expert, p, tile, &bytes, NULL) != CHORD_OK)
        atomic_fetch_add(&use->n_failed, 1);
    else if (memcmp(bytes, expected, part->tile_bytes) != 0)
        atomic_fetch_add(&use->n_wrong, 1);
}

static void use_experts(void *arg)
{
    struct use *use = arg;
    for (uint32_t i; (i = atomic_fetch_add(&use->next, 1)) < use->n_experts * EXPERT_PARTS;) {
        const uint32_t part = i / use->n_experts;
        for (uint32_t tile = 0; tile < use->world->layers[use->layer].parts[part].n_tiles; tile++)
            use_tile(use, use->experts[i % use->n_experts], part, tile);
    }
}

// Chooses n different experts.
static void choose(struct world *world, uint32_t *experts, uint32_t n)
{
    for (uint32_t i = 0; i < N_EXPERTS; i++)
        experts[i] = i;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t other = i + below(world, N_EXPERTS - i), kept = experts[i];
        experts[i] = experts[other];
        experts[other] = kept;
    }
}

// Uses the experts of a layer wave by wave. Returns how many tiles could not be had.
static uint32_t use_layer(struct world *world, uint32_t layer, uint32_t *experts, uint32_t n, bool is_prompt)
{
    uint32_t n_failed = 0;
    expert_pager_begin_layer(world->pager, layer);
    for (uint32_t done = 0; done < n;) {
        struct use use = {.world = world, .layer = layer, .experts = experts + done};
        uv_thread_t threads[N_THREADS];
        use.n_experts = expert_pager_begin_wave(world->pager, experts + done, n - done, is_prompt);
        assert_in_range(use.n_experts, 1, n - done);
        for (uint32_t i = 0; i < N_THREADS; i++)
            assert_int_equal(uv_thread_create(&threads[i], use_experts, &use), 0);
        for (uint32_t i = 0; i < N_THREADS; i++)
            uv_thread_join(&threads[i]);
        expert_pager_end_wave(world->pager);
        assert_int_equal(use.n_wrong, 0);
        n_failed += use.n_failed;
        done += use.n_experts;
    }
    assert_true(expert_pager_sane(world->pager));
    return n_failed;
}

static struct pager_stats stats_of(struct world *world)
{
    struct pager_stats sum = {0};
    for (uint32_t l = 0; l < 2 * N_LAYERS; l++)
        expert_pager_add_layer(world->pager, l, &sum);
    return sum;
}

static void any_order_and_memory(void **state)
{
    (void)state;
    struct world world;
    make_world(&world);
    for (uint32_t round = 0; round < 8; round++) {
        const uint32_t n_frames = EXPERT_PAGER_LEAST_FRAMES + below(&world, N_LAYERS * N_EXPERTS + 4);
        assert_int_equal(create(&world, n_frames, (enum expert_cache_policy)(round % 2)), CHORD_OK);
        const uint64_t most = expert_pager_memory(world.pager);
        assert_true(most <= n_frames * frame_bytes(&world));
        for (uint32_t step = 0; step < 40; step++) {
            uint32_t experts[N_EXPERTS];
            const uint32_t n = 1 + below(&world, step % 10 == 0 ? N_EXPERTS : 3);
            choose(&world, experts, n);
            assert_int_equal(use_layer(&world, step % N_LAYERS, experts, n, below(&world, 3) == 0), 0);
            const uint32_t kind = below(&world, 12);
            if (kind == 0)
                expert_pager_shrink(world.pager, below(&world, (uint32_t)most));
            else if (kind < 3)
                expert_pager_grow(world.pager, below(&world, (uint32_t)most));
            else if (kind == 3)
                expert_pager_clear(world.pager);
            assert_in_range(expert_pager_memory(world.pager), EXPERT_PAGER_LEAST_FRAMES * frame_bytes(&world), most);
            assert_true(expert_pager_sane(world.pager));
        }
        expert_pager_free(world.pager);
        world.pager = NULL;
    }
    free_world(&world);
}

// What is in memory is not read again; each byte that is not is read once.
static void bytes_are_read_once(void **state)
{
    (void)state;
    struct world world;
    uint32_t experts[N_EXPERTS];
    make_world(&world);
    assert_int_equal(create(&world, N_LAYERS * N_EXPERTS, EXPERT_CACHE_PREDICTED), CHORD_OK);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t l = 0; l < N_LAYERS; l++) {
            choose(&world, experts, 0);
            use_layer(&world, l, experts, N_EXPERTS, false);
        }
    const struct pager_stats stats = stats_of(&world);
    assert_int_equal(stats.hits, 2 * stats.misses);
    assert_int_equal(stats.hit_bytes, 2 * stats.miss_bytes);
    assert_int_equal(stats.evictions, 0);
    assert_true(stats.read_bytes >= stats.miss_bytes && stats.read_bytes < stats.miss_bytes + stats.misses * 8192);
    free_world(&world);
}

// A prompt that uses all experts reads those that are absent once, and leaves all but two frames as they were. Without anything to
// leave, as much of it as there is room for stays.
static void a_prompt_passes_through(void **state)
{
    (void)state;
    enum { n_frames = 3 * N_LAYERS };
    struct world world;
    uint32_t experts[N_EXPERTS];
    make_world(&world);
    assert_int_equal(create(&world, n_frames, EXPERT_CACHE_PREDICTED), CHORD_OK);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t l = 0; l < N_LAYERS; l++) {
            uint32_t generated[] = {(5 * l) % N_EXPERTS, (5 * l + 4) % N_EXPERTS, (5 * l + 8) % N_EXPERTS};
            use_layer(&world, l, generated, 3, false);
        }
    struct pager_stats before = stats_of(&world);
    assert_int_equal(before.evictions, 0);
    for (uint32_t l = 0; l < N_LAYERS; l++) {
        uint64_t tiles = 0;
        choose(&world, experts, N_EXPERTS);
        use_layer(&world, l, experts, N_EXPERTS, true);
        const struct pager_stats after = stats_of(&world);
        for (uint32_t p = 0; p < EXPERT_PARTS; p++)
            tiles += world.layers[l].parts[p].n_tiles;
        assert_int_equal(after.hits + after.misses - before.hits - before.misses, tiles * N_EXPERTS);
        assert_in_range(after.misses - before.misses, tiles * (N_EXPERTS - 3), tiles * (N_EXPERTS - 1));
        before = after;
    }
    uint32_t n_lost = 0;
    for (uint32_t l = 0; l < N_LAYERS; l++)
        for (uint32_t i = 0; i < 3; i++) {
            uint8_t byte;
            n_lost += !expert_pager_copy(world.pager, l, (5 * l + 4 * i) % N_EXPERTS, 0, 0, 0, 1, &byte);
        }
    assert_in_range(n_lost, 0, 2);
    expert_pager_clear(world.pager);
    for (uint32_t l = 0; l < N_LAYERS; l++) {
        choose(&world, experts, N_EXPERTS);
        use_layer(&world, l, experts, N_EXPERTS, true);
        const uint32_t kept[] = {experts[0], experts[1], experts[2]};
        uint8_t byte;
        if (l == 0) // an even share of every layer, the first of the list
            for (uint32_t i = 0; i < 3; i++)
                assert_true(expert_pager_copy(world.pager, l, kept[i], 0, 0, 0, 1, &byte));
    }
    free_world(&world);
}

// Bytes of an expert, any of them, while others are used: those of the file, as long as it is in memory.
static void copies_are_the_files_bytes(void **state)
{
    (void)state;
    struct world world;
    uint32_t experts[N_EXPERTS], n_copied = 0;
    uint8_t *out;
    make_world(&world);
    out = malloc(9001);
    assert_non_null(out);
    assert_int_equal(create(&world, 8, EXPERT_CACHE_PREDICTED), CHORD_OK);
    for (uint32_t step = 0; step < 200; step++) {
        const uint32_t used = step % N_LAYERS, layer = below(&world, N_LAYERS), expert = below(&world, N_EXPERTS);
        choose(&world, experts, 2);
        use_layer(&world, used, experts, 2, false);
        for (uint32_t i = 0; i < 3; i++) {
            const uint32_t l = i == 0 ? used : layer, e = i == 0 ? experts[step % 2] : expert;
            const uint32_t p = below(&world, EXPERT_PARTS);
            const struct expert_part *part = &world.layers[l].parts[p];
            const uint32_t tile = below(&world, part->n_tiles), begin = below(&world, part->tile_bytes);
            const uint32_t n = 1 + below(&world, part->tile_bytes - begin);
            const bool is_there = expert_pager_copy(world.pager, l, e, p, tile, begin, n, out);
            assert_true(is_there || i != 0);
            if (is_there)
                assert_memory_equal(
                    out, world.bytes + part->offset + ((uint64_t)e * part->n_tiles + tile) * part->tile_bytes + begin,
                    n);
            n_copied += is_there;
        }
    }
    assert_in_range(n_copied, 201, 599); // some were not there
    expert_pager_clear(world.pager);
    assert_false(expert_pager_copy(world.pager, 0, experts[0], 0, 0, 0, 1, out));
    free(out);
    free_world(&world);
}

// Experts in memory come first, the others in the order in which they were given.
static void what_is_at_hand_comes_first(void **state)
{
    (void)state;
    struct world world;
    uint32_t first[] = {6, 2}, then[] = {8, 6, 1, 2, 0};
    static const uint32_t expected[] = {6, 2, 8, 1, 0};
    make_world(&world);
    assert_int_equal(create(&world, 5, EXPERT_CACHE_PREDICTED), CHORD_OK);
    use_layer(&world, 1, first, 2, false);
    expert_pager_begin_layer(world.pager, 1);
    assert_int_equal(expert_pager_begin_wave(world.pager, then, 5, false), 5);
    assert_memory_equal(then, expected, sizeof expected);
    expert_pager_end_wave(world.pager); // before anything was used: what is being read is waited for
    assert_true(expert_pager_sane(world.pager));
    assert_int_equal(use_layer(&world, 1, then, 5, false), 0);
    free_world(&world);
}

// A file that has become shorter: an error for this wave, no wrong bytes; when it is whole again, so is everything.
static void a_file_cut_short(void **state)
{
    (void)state;
    struct world world;
    uint32_t experts[N_EXPERTS];
    make_world(&world);
    assert_int_equal(create(&world, 3, EXPERT_CACHE_PREDICTED), CHORD_OK);
    for (uint32_t round = 0; round < 3; round++) {
        choose(&world, experts, N_EXPERTS);
        assert_int_equal(use_layer(&world, N_LAYERS - 1, experts, N_EXPERTS, round % 2 == 0), 0);
        assert_int_equal(truncate(world.path, 5000), 0);
        choose(&world, experts, N_EXPERTS);
        assert_true(use_layer(&world, N_LAYERS - 1, experts, N_EXPERTS, round % 2 == 0) > 0);
        write_file(&world, world.size);
    }
    free_world(&world);
}

static void memory_is_counted(void **state)
{
    (void)state;
    struct world world;
    make_world(&world);
    for (int64_t n = 0;; n++) {
        atomic_store(&world.account.fail_after, n);
        const enum chord_status status = create(&world, 7, EXPERT_CACHE_PREDICTED);
        atomic_store(&world.account.fail_after, -1);
        if (status == CHORD_OK)
            break;
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
        assert_int_equal(atomic_load(&world.account.total), 0);
    }
    const uint64_t metadata = expert_pager_metadata_bytes(world.layers, N_LAYERS, N_EXPERTS);
    assert_int_equal(atomic_load(&world.account.held[MEMORY_WEIGHTS]), 7 * frame_bytes(&world));
    assert_true(atomic_load(&world.account.held[MEMORY_METADATA]) <= metadata + 1024); // heads of blocks
    assert_int_equal(expert_pager_shrink(world.pager, 2 * frame_bytes(&world) - 1), 2 * frame_bytes(&world));
    assert_int_equal(atomic_load(&world.account.held[MEMORY_WEIGHTS]), 5 * frame_bytes(&world));
    assert_int_equal(expert_pager_shrink(world.pager, UINT64_MAX), 3 * frame_bytes(&world));
    assert_int_equal(expert_pager_grow(world.pager, 4 * frame_bytes(&world)), 4 * frame_bytes(&world));
    assert_int_equal(expert_pager_grow(world.pager, 4 * frame_bytes(&world)), frame_bytes(&world));
    expert_pager_free(world.pager);
    world.pager = NULL;
    world.account.ceiling = metadata + 6 * frame_bytes(&world);
    assert_int_equal(create(&world, 7, EXPERT_CACHE_PREDICTED), CHORD_MEMORY_BUDGET);
    expert_pager_free(NULL);
    free_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_and_memory),        cmocka_unit_test(bytes_are_read_once),
        cmocka_unit_test(a_prompt_passes_through),     cmocka_unit_test(copies_are_the_files_bytes),
        cmocka_unit_test(what_is_at_hand_comes_first), cmocka_unit_test(a_file_cut_short),
        cmocka_unit_test(memory_is_counted),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
