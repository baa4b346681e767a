// Mixtures of experts in less memory than they take: the same numbers, within the budget.
#include "engine_helpers.h"
#include "backend/backend.h"
#include "weights/expert_pager.h"
#include "weights/pager.h"

#include <stdio.h>
#include <string.h>

// 7 MB of experts and half a megabyte beside them.
static struct tiny_options shape_of(const char *arch)
{
    return (struct tiny_options){.arch = arch,
                                 .n_layer = 3,
                                 .n_embd = 256,
                                 .n_head_kv = 1,
                                 .n_ff = 128,
                                 .n_expert = 16,
                                 .n_expert_used = 3,
                                 .n_ff_expert = 128,
                                 .n_ff_shared = strcmp(arch, "qwen2moe") == 0 ? 256 : 0,
                                 .biases = strcmp(arch, "qwen2moe") == 0,
                                 .n_ctx = 1024,
                                 .type = QUANT_Q8_0};
}

static struct chord_model *try_to_open(uint64_t memory, struct chord_model_options options, struct chord_error *err)
{
    struct chord_model *opened = NULL;
    options.memory = memory;
    options.n_threads = 2;
    options.n_ctx = 200;
    return chord_model_open(test_path("engine.gguf"), &options, &opened, err) == CHORD_OK ? opened : NULL;
}

// The least memory with which the model opens.
static uint64_t find_floor(struct chord_model_options options)
{
    struct chord_error err;
    uint64_t memory = 1u << 20;
    for (int i = 0; i < 5; i++) {
        struct chord_model *opened = try_to_open(memory, options, &err);
        double mib = 0;
        if (opened != NULL) {
            chord_model_close(opened);
            return memory;
        }
        if (err.code != CHORD_MEMORY_BUDGET)
            fail_msg("%s", err.message);
        assert_non_null(strstr(err.message, "llow at least "));
        assert_int_equal(sscanf(strstr(err.message, "llow at least "), "llow at least %lf MiB", &mib), 1);
        memory = (uint64_t)(mib * 0x1p20);
    }
    fail_msg("the memory that was promised to do did not: %s", err.message);
    return 0;
}

static struct result *run(uint32_t n_prompt, uint64_t seed)
{
    static uint32_t prompt[200];
    random_tokens(prompt, n_prompt, seed);
    return finish_job(start(prompt, n_prompt, sampling(seed, 12)));
}

static void every_budget_gives_the_same_text(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "qwen2moe", "qwen3moe"};
    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++) {
        open_tiny(shape_of(archs[a]), (struct chord_model_options){.mode = CHORD_MODE_MAPPED});
        struct result *expected = run(150, 1), *expected_short = run(3, 2);
        chord_model_close(model);
        struct chord_model_options options = {.mode = CHORD_MODE_PAGED};
        const uint64_t floor = find_floor(options);
        for (uint64_t memory = floor; memory < floor + 6000000; memory += 1500000) {
            struct chord_error err;
            options.policy = memory % 2 == 0 ? CHORD_POLICY_AUTO : CHORD_POLICY_LRU;
            model = try_to_open(memory, options, &err);
            if (model == NULL)
                fail_msg("%s", err.message);
            for (int round = 0; round < 2; round++) {
                struct result *got = run(150, 1), *got_short = run(3, 2);
                if (got->end.finish == CHORD_FINISH_ERROR)
                    fail_msg("%s", got->end.error.message);
                assert_same(got, expected);
                assert_same(got_short, expected_short);
                result_free(got);
                result_free(got_short);
            }
            assert_true(stats().memory_peak <= memory);
            assert_true(pager_sane(weights_pager(model->weights)));
            assert_true(expert_pager_sane(weights_expert_pager(model->weights)));
            assert_idle();
            chord_model_close(model);
        }
        result_free(expected);
        result_free(expected_short);
        tiny_free(&m);
    }
}

static struct pager_stats expert_stats(void)
{
    struct pager_stats sum = {0};
    for (uint32_t layer = 0; layer <= model->hparams.n_layer; layer++)
        expert_pager_add_layer(weights_expert_pager(model->weights), layer, &sum);
    return sum;
}

// Which experts were chosen since the last look.
struct touched {
    bool is[8][16];
};

static void note_route(void *user, uint32_t layer, const uint32_t *experts, uint32_t n_used)
{
    struct touched *touched = user;
    for (uint32_t k = 0; k < n_used; k++)
        touched->is[layer][experts[k]] = true;
}

static uint64_t touched_bytes(const struct touched *touched)
{
    uint64_t of_layer = 0, n = 0;
    for (uint32_t i = 0; i < m.n_tensors; i++)
        of_layer += m.tensors[i].n_dimensions == 3 ? m.tensors[i].n_bytes : 0;
    for (uint32_t layer = 0; layer < 3; layer++)
        for (uint32_t e = 0; e < 16; e++)
            n += touched->is[layer][e];
    return n * (of_layer / 3 / 16);
}

static void open_with_room(uint64_t room)
{
    struct chord_error err;
    const struct chord_model_options options = {.mode = CHORD_MODE_PAGED};
    tiny_init(&m, shape_of("qwen3moe"));
    tiny_write(&m, test_path("engine.gguf"));
    model = try_to_open(find_floor(options) + room, options, &err);
    assert_non_null(model);
}

// A prompt's chunk uses each expert once, though many of its tokens choose it, and reads those that are not there once; what all
// tokens use is read before experts.
static void a_chunk_reads_an_expert_once(void **state)
{
    (void)state;
    uint32_t prompt[150];
    open_with_room(3000000);
    for (int round = 0; round < 4; round++) {
        struct touched touched = {{{false}}};
        if (round == 2)
            chord_model_clear_cache(model);
        random_tokens(prompt, 150, (uint64_t)round);
        backend_trace_routes(model->backend, note_route, &touched);
        const struct pager_stats before = expert_stats();
        result_free(finish_job(start(prompt, 150, sampling(1, 1))));
        const struct pager_stats after = expert_stats();
        const uint64_t missed = after.miss_bytes - before.miss_bytes, read = after.read_bytes - before.read_bytes;
        const uint64_t n_tiles = after.misses - before.misses;
        assert_int_equal(after.hit_bytes - before.hit_bytes + missed, touched_bytes(&touched));
        assert_in_range(read, missed, missed + n_tiles * 8192); // whole blocks of the disk
        if (round % 2 == 0)
            assert_int_equal(missed, touched_bytes(&touched));
        else // much was still there
            assert_true(missed < touched_bytes(&touched) * 8 / 10);
    }
    struct pager_totals totals;
    pager_get_totals(weights_pager(model->weights), &totals);
    assert_int_equal(totals.n_pinned, totals.n_tiles);
    backend_trace_routes(model->backend, NULL, NULL);
    chord_model_clear_cache(model);
    struct result *r = run(3, 1);
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    result_free(r);
    chord_model_close(model);
    tiny_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_budget_gives_the_same_text),
        cmocka_unit_test(a_chunk_reads_an_expert_once),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
