// The policy that chooses which experts stay: hits where they must be, holds respected, frames never lost.

#include "weights/expert_cache.h"
#include "account_helpers.h"

#include <string.h>

static struct expert_cache *cache;

static void create(uint32_t n_layers, uint32_t n_experts, uint32_t n_frames, enum expert_cache_policy policy)
{
    struct chord_error err;
    if (expert_cache_create(&cache, n_layers, n_experts, n_frames, policy, &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    assert_true(expert_cache_sane(cache));
}

static void destroy(void)
{
    assert_true(expert_cache_sane(cache));
    expert_cache_free(cache);
}

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((random_state >> 33) * below) >> 31);
}

// Uses an expert and lets go of it: whether it was a hit.
static bool touch(uint32_t layer, uint32_t expert)
{
    uint32_t frame;
    const bool is_hit = expert_cache_use(cache, layer, expert, &frame);
    assert_int_not_equal(frame, EXPERT_CACHE_NONE);
    assert_int_equal(expert_cache_find(cache, layer, expert), frame);
    expert_cache_release(cache, layer, expert);
    return is_hit;
}

static void least_recently_used_goes(void **state)
{
    (void)state;
    create(1, 8, 3, EXPERT_CACHE_LRU);
    static const struct {
        uint32_t expert;
        bool is_hit;
    } uses[] = {{0, false}, {1, false}, {2, false}, {0, true}, {3, false},
                {0, true},  {1, false}, {3, true},  {2, false}};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        expert_cache_begin_layer(cache, 0);
        assert_int_equal(touch(0, uses[i].expert), uses[i].is_hit);
    }
    assert_int_equal(expert_cache_n_evictions(cache), 3);
    destroy();
}

// Every token uses the same experts, two of each layer, and there are frames for fewer: least recently used hits nothing. What
// looks ahead keeps some.
static void no_cliff_below_a_token(void **state)
{
    (void)state;
    enum { n_layers = 30, n_tokens = 60 };
    for (int policy = EXPERT_CACHE_PREDICTED; policy <= EXPERT_CACHE_LRU; policy++) {
        uint32_t n_hits = 0;
        create(n_layers, 16, 45, (enum expert_cache_policy)policy);
        for (uint32_t token = 0; token < n_tokens; token++)
            for (uint32_t layer = 0; layer < n_layers; layer++) {
                expert_cache_begin_layer(cache, layer);
                n_hits += touch(layer, 3) + touch(layer, 11);
            }
        if (policy == EXPERT_CACHE_LRU)
            assert_int_equal(n_hits, 0);
        else // Belady: (45 - 1) / (60 - 1) = 74.6 %
            assert_true(n_hits > 60 * n_tokens / 2);
        destroy();
    }
}

// One expert of each layer in every token, three others at random: once known, the first is not evicted for a passer-by.
static void frequent_experts_stay(void **state)
{
    (void)state;
    enum { n_layers = 12, n_experts = 64, n_tokens = 200 };
    uint32_t n_misses = 0;
    random_state = 5;
    create(n_layers, n_experts, 120, EXPERT_CACHE_PREDICTED);
    for (uint32_t token = 0; token < n_tokens; token++)
        for (uint32_t layer = 0; layer < n_layers; layer++) {
            expert_cache_begin_layer(cache, layer);
            n_misses += !touch(layer, 7) && token >= 10;
            for (int i = 0; i < 3; i++)
                touch(layer, 8 + draw(n_experts - 8));
        }
    assert_in_range(n_misses, 0, n_layers * n_tokens / 100);
    destroy();
}

// Passes an expert of a prompt through and lets go of it: its frame.
static uint32_t pass(uint32_t layer, uint32_t expert)
{
    uint32_t frame;
    const bool was_there = expert_cache_find(cache, layer, expert) != EXPERT_CACHE_NONE;
    assert_int_equal(expert_cache_pass(cache, layer, expert, &frame), was_there);
    assert_int_not_equal(frame, EXPERT_CACHE_NONE);
    expert_cache_release(cache, layer, expert);
    return frame;
}

// Hits of tokens that draw from four favourites of each layer and from others, a prompt of all experts before every n-th token.
static uint32_t hits_beside_prompts(uint32_t tokens_per_prompt)
{
    enum { n_layers = 12, n_experts = 64, n_tokens = 200 };
    uint32_t n_hits = 0;
    random_state = 5;
    create(n_layers, n_experts, 160, EXPERT_CACHE_PREDICTED);
    for (uint32_t token = 0; token < n_tokens; token++) {
        for (uint32_t layer = 0; token % tokens_per_prompt == tokens_per_prompt - 1 && layer < n_layers; layer++) {
            expert_cache_begin_layer(cache, layer);
            for (uint32_t e = 0; e < n_experts; e++)
                pass(layer, e);
        }
        for (uint32_t layer = 0; layer < n_layers; layer++) {
            expert_cache_begin_layer(cache, layer);
            for (uint32_t i = 0; i < 3; i++)
                n_hits += touch(layer, 10 * i + draw(4));
            n_hits += touch(layer, 40 + draw(24));
        }
    }
    destroy();
    return n_hits;
}

static void prompts_leave_generated_tokens_their_hits(void **state)
{
    (void)state;
    const uint32_t without = hits_beside_prompts(UINT32_MAX), with = hits_beside_prompts(5);
    assert_true(without > 5500); // of 9600
    assert_true(with >= without * 98 / 100);
}

// Frames lent to experts that pass are lent again, and given up before any other; one that is used stays.
static void what_passes_goes_first(void **state)
{
    (void)state;
    create(2, 40, 40, EXPERT_CACHE_PREDICTED);
    for (uint32_t layer = 0; layer < 2; layer++) {
        expert_cache_begin_layer(cache, layer);
        for (uint32_t e = 0; e < 20; e++)
            pass(layer, e); // stay: an even share of free frames
    }
    assert_int_equal(expert_cache_n_evictions(cache), 0);
    expert_cache_begin_layer(cache, 0);
    const uint32_t first = pass(0, 30), second = pass(0, 31);
    assert_int_equal(expert_cache_n_evictions(cache), 2);
    for (uint32_t e = 32; e < 40; e++) {
        const uint32_t frame = pass(0, e);
        assert_true(frame == first || frame == second);
    }
    assert_true(touch(0, 39)); // used: stays
    const uint32_t kept = expert_cache_find(cache, 0, 39);
    assert_false(touch(0, 30));
    assert_true(expert_cache_find(cache, 0, 30) == (kept == first ? second : first));
    assert_int_equal(expert_cache_find(cache, 0, 39), kept);
    const uint64_t n_evictions = expert_cache_n_evictions(cache);
    uint32_t a, b, c;
    assert_false(expert_cache_pass(cache, 0, 33, &a));
    assert_false(expert_cache_pass(cache, 0, 34, &b));
    assert_false(expert_cache_pass(cache, 0, 35, &c)); // both frames are held
    assert_int_not_equal(a, b);
    assert_int_equal(c, EXPERT_CACHE_NONE);
    assert_int_equal(expert_cache_n_evictions(cache), n_evictions + 2);
    const uint32_t retired = expert_cache_retire(cache);
    assert_true(retired != a && retired != b);
    destroy();
}

static void held_experts_stay(void **state)
{
    (void)state;
    for (int policy = EXPERT_CACHE_PREDICTED; policy <= EXPERT_CACHE_LRU; policy++) {
        uint32_t frames[4], frame;
        create(2, 8, 4, (enum expert_cache_policy)policy);
        expert_cache_begin_layer(cache, 0);
        for (uint32_t e = 0; e < 4; e++)
            assert_false(expert_cache_use(cache, 0, e, &frames[e]));
        expert_cache_begin_layer(cache, 1);
        assert_false(expert_cache_use(cache, 1, 0, &frame));
        assert_int_equal(frame, EXPERT_CACHE_NONE);
        assert_int_equal(expert_cache_retire(cache), EXPERT_CACHE_NONE);
        expert_cache_release(cache, 0, 2);
        assert_false(expert_cache_use(cache, 1, 0, &frame));
        assert_int_equal(frame, frames[2]);
        assert_int_equal(expert_cache_find(cache, 0, 2), EXPERT_CACHE_NONE);
        expert_cache_drop(cache, 0, 1); // though held
        assert_false(expert_cache_use(cache, 1, 5, &frame));
        assert_int_equal(frame, frames[1]);
        destroy();
    }
}

// Any order of calls: what the cache says is what a list of its frames says.
static void any_order_of_calls(void **state)
{
    (void)state;
    enum { n_layers = 5, n_experts = 13, most_frames = 80 };
    random_state = 11;
    for (uint32_t round = 0; round < 24; round++) {
        bool held[n_layers][n_experts] = {{false}}, retired[most_frames] = {false};
        const uint32_t n_frames = 1 + draw(most_frames);
        uint32_t layer = 0, n_held = 0, n_retired = 0;
        create(n_layers, n_experts, n_frames, (enum expert_cache_policy)(round % 2));
        for (uint32_t step = 0; step < 2000; step++) {
            const uint32_t expert = draw(n_experts), kind = draw(20), l = kind < 10 ? layer : draw(n_layers);
            const uint32_t before = expert_cache_find(cache, l, expert);
            if (kind < 10) {
                uint32_t frame;
                const bool passes = draw(4) == 0;
                const bool is_hit =
                    passes ? expert_cache_pass(cache, l, expert, &frame) : expert_cache_use(cache, l, expert, &frame);
                assert_int_equal(is_hit, before != EXPERT_CACHE_NONE);
                assert_true(!is_hit || frame == before);
                if (!passes || n_held + n_retired == n_frames)
                    assert_int_equal(frame == EXPERT_CACHE_NONE, !is_hit && n_held + n_retired == n_frames);
                else if (n_held == 0)
                    assert_int_not_equal(frame, EXPERT_CACHE_NONE);
                if (frame != EXPERT_CACHE_NONE) {
                    assert_false(retired[frame]);
                    n_held += !held[l][expert];
                    held[l][expert] = true;
                }
            } else if (kind < 15) {
                expert_cache_release(cache, l, expert);
                n_held -= held[l][expert];
                held[l][expert] = false;
            } else if (kind == 15) {
                expert_cache_drop(cache, l, expert);
                n_held -= held[l][expert];
                held[l][expert] = false;
                assert_int_equal(expert_cache_find(cache, l, expert), EXPERT_CACHE_NONE);
            } else if (kind == 16) {
                const uint32_t frame = expert_cache_retire(cache);
                assert_int_equal(frame == EXPERT_CACHE_NONE, n_held + n_retired == n_frames);
                if (frame != EXPERT_CACHE_NONE) {
                    assert_false(retired[frame]);
                    retired[frame] = true;
                    n_retired++;
                }
            } else if (kind == 17) {
                const uint32_t frame = draw(n_frames);
                if (retired[frame])
                    expert_cache_restore(cache, frame);
                n_retired -= retired[frame];
                retired[frame] = false;
            } else {
                layer = (layer + 1) % n_layers;
                expert_cache_begin_layer(cache, layer);
            }
            for (uint32_t a = 0; a < n_layers; a++)
                for (uint32_t e = 0; e < n_experts; e++)
                    assert_true(!held[a][e] || expert_cache_find(cache, a, e) != EXPERT_CACHE_NONE);
            assert_true(expert_cache_sane(cache));
        }
        destroy();
    }
}

static void nothing_is_allocated_after_the_creation(void **state)
{
    (void)state;
    create(6, 20, 30, EXPERT_CACHE_PREDICTED);
    assert_in_range(atomic_load(&account.total), expert_cache_bytes(6, 20, 30), expert_cache_bytes(6, 20, 30) + 512);
    const uint64_t n = atomic_load(&account.n_allocations);
    for (uint32_t i = 0; i < 600; i++) {
        expert_cache_begin_layer(cache, i % 6);
        touch(i % 6, draw(20));
        pass(i % 6, draw(20));
    }
    assert_int_equal(atomic_load(&account.n_allocations), n);
    destroy();
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        struct chord_error err;
        fail_allocation(n);
        const enum chord_status status = expert_cache_create(&cache, 3, 4, 5, EXPERT_CACHE_PREDICTED, &account, &err);
        if (!allocation_failed(status))
            break;
    }
    destroy();
    expert_cache_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(least_recently_used_goes),
        TEST(no_cliff_below_a_token),
        TEST(frequent_experts_stay),
        TEST(prompts_leave_generated_tokens_their_hits),
        TEST(what_passes_goes_first),
        TEST(held_experts_stay),
        TEST(any_order_of_calls),
        TEST(nothing_is_allocated_after_the_creation),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
