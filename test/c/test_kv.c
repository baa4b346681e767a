// The KV cache: where keys and values lie in a block, growth, failures.

#include "graph/kv.h"
#include "account_helpers.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t shapes[][3] = {{1, 1, 1}, {1, 1, 64}, {2, 3, 5}, {5, 4, 8}, {3, 8, 128}, {1, 2, 512}, {7, 1, 80}};

// Marks a range of a block's bytes; each byte may be marked once.
static void mark(unsigned char *marks, uint64_t n_marks, uint64_t at, uint64_t n)
{
    assert_true(at <= n_marks && n <= n_marks - at);
    for (uint64_t i = at; i < at + n; i++)
        assert_int_equal(marks[i]++, 0);
}

static void keys_and_values_fill_the_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct kv_layout layout;
        const uint32_t n_layer = shapes[i][0], n_head_kv = shapes[i][1], head_dim = shapes[i][2];
        kv_layout_init(&layout, KV_F16, n_layer, n_head_kv, head_dim);
        const uint64_t half_bytes = (uint64_t)KV_BLOCK_TOKENS * head_dim * 2;
        assert_int_equal(layout.block_bytes, 2 * half_bytes * n_layer * n_head_kv);
        assert_int_equal(kv_token_bytes(&layout), 4ull * n_layer * n_head_kv * head_dim);
        unsigned char *marks = calloc(layout.block_bytes, 1);
        for (uint32_t layer = 0; layer < n_layer; layer++)
            for (uint32_t head = 0; head < n_head_kv; head++) {
                mark(marks, layout.block_bytes, kv_keys_at(&layout, layer, head), half_bytes);
                mark(marks, layout.block_bytes, kv_values_at(&layout, layer, head), half_bytes);
            }
        assert_null(memchr(marks, 0, layout.block_bytes));
        free(marks);
    }
}

// What a token stores is gone from where the block is cleared, and no other's.
static void clearing_takes_whole_positions(void **state)
{
    (void)state;
    struct kernels kernels;
    float ones[70];
    kernels_init(&kernels, 0);
    for (int i = 0; i < 70; i++)
        ones[i] = 1;
    for (uint32_t type = 0; type < N_KV_TYPES; type++) {
        struct kv_layout layout;
        kv_layout_init(&layout, (enum kv_type)type, 2, 3, 70);
        for (uint32_t first = 0; first < KV_BLOCK_TOKENS; first += first < 4 ? 1 : 13) {
            unsigned char *all = calloc(layout.block_bytes, 1), *some = calloc(layout.block_bytes, 1);
            for (uint32_t token = 0; token < KV_BLOCK_TOKENS; token++)
                for (uint32_t layer = 0; layer < 2; layer++)
                    for (uint32_t head = 0; head < 3; head++)
                        for (int only_first = 0; only_first < 2; only_first++)
                            if (only_first == 0 || token < first) {
                                unsigned char *block = only_first == 0 ? all : some;
                                kernels.kv_store[type](ones, ones, 70, token, block + kv_keys_at(&layout, layer, head),
                                                       block + kv_values_at(&layout, layer, head));
                            }
            assert_memory_not_equal(all, some, layout.block_bytes);
            kv_block_clear(&layout, all, first);
            assert_memory_equal(all, some, layout.block_bytes);
            free(all);
            free(some);
        }
    }
}

static void bytes_are_of_whole_blocks(void **state)
{
    (void)state;
    struct kv_layout layout;
    kv_layout_init(&layout, KV_F16, 2, 2, 8);
    assert_int_equal(kv_bytes(&layout, 0), 0);
    assert_int_equal(kv_bytes(&layout, 1), layout.block_bytes);
    assert_int_equal(kv_bytes(&layout, 64), layout.block_bytes);
    assert_int_equal(kv_bytes(&layout, 65), 2 * layout.block_bytes);
    assert_int_equal(kv_bytes(&layout, 1000), 16 * layout.block_bytes);
}

static void check_contents(const struct kv_cache *cache)
{
    for (uint32_t b = 0; b < cache->n_blocks; b++)
        for (uint64_t i = 0; i < cache->layout->block_bytes; i++)
            if (((unsigned char *)cache->blocks[b])[i] != (unsigned char)(b + 1))
                fail_msg("block %u changed at byte %u", b, (unsigned)i);
}

static void fill_from(const struct kv_cache *cache, uint32_t first)
{
    for (uint32_t b = first; b < cache->n_blocks; b++)
        memset(cache->blocks[b], (int)(b + 1), cache->layout->block_bytes);
}

static void growth_keeps_what_is_there(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 2, 63, 64, 65, 65, 10, 128, 129, 640, 700, 1300, 0, 5000};
    struct kv_layout layout;
    struct kv_cache cache;
    uint64_t most = 0;
    kv_layout_init(&layout, KV_F16, 2, 1, 4);
    kv_cache_init(&cache, &layout, &account, NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const uint32_t before = cache.n_blocks;
        void *first = before > 0 ? cache.blocks[0] : NULL;
        most = sizes[i] > most ? sizes[i] : most;
        assert_int_equal(kv_cache_reserve(&cache, sizes[i], NULL), CHORD_OK);
        assert_int_equal(cache.n_blocks, (most + 63) / 64);
        assert_true(before == 0 || cache.blocks[0] == first);
        for (uint32_t b = 0; b < cache.n_blocks; b++)
            assert_int_equal((uintptr_t)cache.blocks[b] % 64, 0);
        fill_from(&cache, before);
        check_contents(&cache);
    }
    assert_true(atomic_load(&account.held[MEMORY_KV]) >= kv_bytes(&layout, most));
    assert_int_equal(atomic_load(&account.held[MEMORY_KV]), atomic_load(&account.total));
    kv_cache_free(&cache);
    assert_int_equal(cache.n_blocks, 0);
    assert_int_equal(kv_cache_reserve(&cache, 1, NULL), CHORD_OK); // and may be used again
    kv_cache_free(&cache);
    kv_cache_free(&cache);
}

static void a_zeroed_cache_can_be_freed(void **state)
{
    (void)state;
    struct kv_cache cache = {0};
    kv_cache_free(&cache);
}

static void every_failed_allocation_leaves_the_cache(void **state)
{
    (void)state;
    struct kv_layout layout;
    kv_layout_init(&layout, KV_F16, 1, 2, 8);
    for (int64_t n = 0;; n++) {
        struct kv_cache cache;
        struct chord_error err;
        kv_cache_init(&cache, &layout, &account, NULL);
        assert_int_equal(kv_cache_reserve(&cache, 500, NULL), CHORD_OK);
        fill_from(&cache, 0);
        atomic_store(&account.fail_after, n);
        const enum chord_status status = kv_cache_reserve(&cache, 1200, &err);
        atomic_store(&account.fail_after, -1);
        if (status == CHORD_OK) {
            assert_int_equal(cache.n_blocks, 19);
            assert_true(n >= 11); // blocks and a larger table
            kv_cache_free(&cache);
            break;
        }
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
        assert_int_equal(cache.n_blocks, 8);
        check_contents(&cache);
        assert_int_equal(kv_cache_reserve(&cache, 1200, NULL), CHORD_OK);
        kv_cache_free(&cache);
        assert_int_equal(atomic_load(&account.total), 0);
    }
}

// Whichever block it is that does not fit, and however many it took with it, the budget is named as the cause.
static void the_budget_is_a_ceiling(void **state)
{
    (void)state;
    struct kv_layout layout;
    kv_layout_init(&layout, KV_F16, 4, 2, 32);
    for (uint64_t n_fit = 0; n_fit < 6; n_fit++) {
        struct kv_cache cache;
        struct chord_error err;
        memory_account_init(&account, n_fit * (layout.block_bytes + 256) + 512);
        kv_cache_init(&cache, &layout, &account, NULL);
        assert_int_equal(kv_cache_reserve(&cache, 64 * (n_fit + 1), &err), CHORD_MEMORY_BUDGET);
        assert_int_equal(err.code, CHORD_MEMORY_BUDGET);
        assert_int_equal(cache.n_blocks, 0);
        assert_int_equal(kv_cache_reserve(&cache, 64 * n_fit, &err), CHORD_OK);
        assert_true(atomic_load(&account.peak) <= account.ceiling);
        kv_cache_free(&cache);
    }
}

static void shared_blocks_are_held_once(void **state)
{
    (void)state;
    struct kv_layout layout;
    struct kv_cache a, b;
    kv_layout_init(&layout, KV_F16, 2, 1, 4);
    kv_cache_init(&a, &layout, &account, NULL);
    kv_cache_init(&b, &layout, &account, NULL);
    assert_int_equal(kv_cache_reserve(&a, 1000, NULL), CHORD_OK);
    fill_from(&a, 0);
    assert_int_equal(kv_cache_reserve(&b, 64, NULL), CHORD_OK);
    assert_int_equal(kv_cache_share(&b, &a, 0, 5, NULL), CHORD_OK); // gives up its own
    assert_int_equal(b.n_blocks, 5);
    assert_int_equal(kv_cache_count(&a, 1) + kv_cache_count(&b, 1), 16);
    assert_int_equal(kv_cache_count(&b, 2) + kv_cache_count(&a, 2), 16);
    assert_int_equal(kv_cache_reserve(&b, 6 * 64, NULL), CHORD_OK);
    fill_from(&b, 5);
    assert_int_equal(kv_cache_count(&b, 3) + kv_cache_count(&a, 3), 17);
    assert_int_equal(kv_cache_share(&b, &a, 5, 12, NULL), CHORD_OK);
    assert_int_equal(kv_cache_count(&b, 4) + kv_cache_count(&a, 4), 16);
    for (uint32_t i = 0; i < 12; i++)
        assert_ptr_equal(a.blocks[i], b.blocks[i]);
    kv_cache_free(&a);
    assert_int_equal(kv_cache_count(&b, 5), 12);
    check_contents(&b);
    assert_true(atomic_load(&account.total) < 13 * (layout.block_bytes + 128));
    kv_cache_free(&b);
    assert_int_equal(atomic_load(&account.total), 0);
}

static void a_failed_share_leaves_both_caches(void **state)
{
    (void)state;
    struct kv_layout layout;
    struct kv_cache a, b;
    struct chord_error err;
    kv_layout_init(&layout, KV_F16, 1, 2, 8);
    kv_cache_init(&a, &layout, &account, NULL);
    kv_cache_init(&b, &layout, &account, NULL);
    assert_int_equal(kv_cache_reserve(&a, 1000, NULL), CHORD_OK);
    assert_int_equal(kv_cache_reserve(&b, 200, NULL), CHORD_OK);
    fill_from(&a, 0);
    fill_from(&b, 0);
    atomic_store(&account.fail_after, 0);
    assert_int_equal(kv_cache_share(&b, &a, 2, 16, &err), CHORD_OUT_OF_MEMORY); // a larger table
    atomic_store(&account.fail_after, -1);
    assert_int_equal(b.n_blocks, 4);
    assert_int_equal(kv_cache_count(&a, 1) + kv_cache_count(&b, 1), 20);
    check_contents(&a);
    check_contents(&b);
    kv_cache_free(&a);
    kv_cache_free(&b);
    assert_int_equal(atomic_load(&account.total), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_and_values_fill_the_block),    TEST(clearing_takes_whole_positions),
        TEST(bytes_are_of_whole_blocks),         TEST(growth_keeps_what_is_there),
        TEST(a_zeroed_cache_can_be_freed),       TEST(every_failed_allocation_leaves_the_cache),
        TEST(the_budget_is_a_ceiling),           TEST(shared_blocks_are_held_once),
        TEST(a_failed_share_leaves_both_caches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
