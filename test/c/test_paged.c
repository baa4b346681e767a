// Models in less memory than they take: the same numbers, within the budget, at the reads that were promised.
#include "engine_helpers.h"
#include "quick.h"
#include "quant/quant.h"
#include "weights/pager.h"

#include <stdio.h>
#include <string.h>

// 7 MB of weights in tiles of 64 KiB.
static const struct tiny_options large = {
    .n_layer = 12, .n_embd = 256, .n_head_kv = 1, .n_ff = 512, .n_ctx = 2048, .type = QUANT_Q8_0};

static struct pager_totals totals(void)
{
    struct pager_totals out;
    pager_get_totals(weights_pager(model->weights), &out);
    return out;
}

static struct chord_model *try_to_open(uint64_t memory, struct chord_model_options options, struct chord_error *err)
{
    struct chord_model *opened = NULL;
    options.memory = memory;
    options.n_threads = options.n_threads != 0 ? options.n_threads : 2;
    return chord_model_open(test_path("engine.gguf"), &options, &opened, err) == CHORD_OK ? opened : NULL;
}

// The number that an error says would do.
static uint64_t promised(const struct chord_error *err)
{
    const char *at = strstr(err->message, "llow at least ");
    double mib = 0;
    assert_non_null(at);
    assert_int_equal(sscanf(at, "llow at least %lf MiB", &mib), 1);
    return (uint64_t)(mib * 0x1p20);
}

static uint64_t find_floor(struct chord_model_options options)
{
    struct chord_error err;
    assert_null(try_to_open(100000, options, &err)); // not even the header
    uint64_t memory = 1u << 20;
    for (int i = 0; i < 5; i++) {
        struct chord_model *opened = try_to_open(memory, options, &err);
        if (opened != NULL) {
            chord_model_close(opened);
            return memory;
        }
        assert_int_equal(err.code, CHORD_MEMORY_BUDGET);
        memory = promised(&err);
    }
    fail_msg("the memory that was promised to do did not");
    return 0;
}

// A prompt of two chunks and some tokens.
static struct result *run(uint32_t n_prompt, uint64_t seed)
{
    static uint32_t prompt[1024];
    random_tokens(prompt, n_prompt, seed);
    return finish_job(start(prompt, n_prompt, sampling(seed, 4)));
}

static void every_budget_gives_the_same_text(void **state)
{
    (void)state;
    open_tiny(large, (struct chord_model_options){.mode = CHORD_MODE_MAPPED});
    struct result *expected = run(530, 1), *expected_short = run(3, 2);
    chord_model_close(model);
    const uint64_t floor = find_floor((struct chord_model_options){.n_ctx = 600});
    assert_true(floor < 8u << 20); // less than weights and scratch
    for (int policy = CHORD_POLICY_PIN; policy <= CHORD_POLICY_LRU; policy++)
        for (uint64_t memory = floor; memory < floor + 5000000; memory += quick() ? 4800000 : 1600000) {
            const struct chord_model_options options = {
                .mode = CHORD_MODE_PAGED, .policy = (enum chord_policy)policy, .n_ctx = 600};
            struct chord_error err;
            model = try_to_open(memory, options, &err);
            if (model == NULL)
                fail_msg("%s", err.message);
            for (int round = 0; round < 2; round++) {
                struct result *got = run(530, 1), *got_short = run(3, 2);
                if (got->end.finish == CHORD_FINISH_ERROR)
                    fail_msg("%s", got->end.error.message);
                assert_same(got, expected);
                assert_same(got_short, expected_short);
                result_free(got);
                result_free(got_short);
            }
            assert_true(stats().memory_peak <= memory);
            assert_int_equal(stats().memory_budget, memory);
            assert_true(pager_sane(weights_pager(model->weights)));
            assert_idle();
            chord_model_close(model);
        }
    result_free(expected);
    result_free(expected_short);
    tiny_free(&m);
}

// Tiles hold rows; the scale behind a tensor's last row is the store's.
static void scales_of_tensors_stay(void **state)
{
    (void)state;
    struct tiny_options ternary = large;
    ternary.type = QUANT_I2_S;
    open_tiny(ternary, (struct chord_model_options){.mode = CHORD_MODE_MAPPED});
    struct result *expected = run(70, 3);
    chord_model_close(model);
    struct chord_error err;
    const struct chord_model_options options = {.mode = CHORD_MODE_PAGED, .n_ctx = 200};
    model =
        try_to_open(find_floor((struct chord_model_options){.mode = CHORD_MODE_PAGED, .n_ctx = 200}), options, &err);
    if (model == NULL)
        fail_msg("%s", err.message);
    struct result *got = run(70, 3);
    assert_same(got, expected);
    assert_int_equal(weights_mode(model->weights), WEIGHTS_PAGED);
    chord_model_close(model);
    result_free(got);
    result_free(expected);
    tiny_free(&m);
}

// Between what everything needs and the floor: paged; below: refused; above: mapped.
static void the_budget_chooses_the_mode(void **state)
{
    (void)state;
    struct chord_model_info info;
    struct chord_error err;
    bool was_paged = false, was_mapped = false;
    tiny_init(&m, large);
    tiny_write(&m, test_path("engine.gguf"));
    const uint64_t floor = find_floor((struct chord_model_options){0});
    for (uint64_t memory = floor - 300000; memory < 24u << 20; memory += quick() ? 4500000 : 1500000) {
        model = try_to_open(memory, (struct chord_model_options){0}, &err);
        if (model == NULL) {
            assert_true(memory < floor && err.code == CHORD_MEMORY_BUDGET);
            continue;
        }
        chord_model_info(model, &info);
        struct chord_plan plan;
        const struct chord_model_options options = {.memory = memory, .n_threads = 2};
        assert_int_equal(chord_model_plan(test_path("engine.gguf"), &options, NULL, &plan, &err), CHORD_OK);
        assert_string_equal(plan.mode, info.mode);
        assert_int_equal(plan.n_ctx, info.n_ctx);
        if (strcmp(info.mode, "paged") == 0) {
            assert_false(was_mapped);
            was_paged = true;
            assert_true(stats().held_weights > 500000 && stats().mapped_bytes == 0);
        } else {
            was_mapped = true;
            assert_true(plan.fits);
            assert_true(stats().held_weights < 100000); // norms
        }
        chord_model_close(model);
    }
    assert_true(was_paged && was_mapped);
    tiny_free(&m);
}

// Each region stays below its own ceiling, however much there is for all; what is too little is refused with what would do.
static void regions_have_ceilings(void **state)
{
    (void)state;
    struct chord_error err;
    struct chord_model_info info;
    open_tiny(large, (struct chord_model_options){.mode = CHORD_MODE_MAPPED});
    struct result *expected = run(530, 1);
    assert_true(stats().ceiling_weights == UINT64_MAX && stats().ceiling_kv == UINT64_MAX);
    chord_model_close(model);

    struct chord_model_options options = {
        .n_ctx = 1000, .memory_weights = 1000, .memory_kv = 1000, .memory_scratch = 1000};
    uint64_t *const ceilings[] = {&options.memory_scratch, &options.memory_weights, &options.memory_kv};
    static const char *const names[] = {"memory.scratch", "memory.weights", "memory.kv"};
    for (int i = 0; i < 3; i++) {
        assert_null(try_to_open(1u << 30, options, &err));
        assert_int_equal(err.code, CHORD_MEMORY_BUDGET);
        assert_non_null(strstr(err.message, names[i]));
        *ceilings[i] = (uint64_t)((double)strtod(strrchr(err.message, 't') + 1, NULL) * 0x1p20);
    }
    model = try_to_open(1u << 30, options, &err);
    if (model == NULL)
        fail_msg("%s", err.message);
    chord_model_info(model, &info);
    assert_string_equal(info.mode, "paged");
    assert_int_equal(stats().ceiling_kv, options.memory_kv);
    struct result *got = run(530, 1);
    if (got->end.finish == CHORD_FINISH_ERROR)
        fail_msg("%s", got->end.error.message);
    assert_same(got, expected);
    assert_true(stats().held_weights <= options.memory_weights && stats().held_weights > options.memory_weights / 2);

    uint32_t prompts[2][900]; // each of two fills the ceiling of keys and values, so one waits for the other
    random_tokens(prompts[0], 900, 3);
    random_tokens(prompts[1], 900, 4);
    struct chord_job *jobs[] = {start(prompts[0], 900, sampling(1, 50)), start(prompts[1], 900, sampling(2, 50))};
    uint64_t most_kv = 0;
    while (chord_model_run(model, 0, NULL)) {
        assert_true(stats().held_kv <= options.memory_kv);
        most_kv = stats().held_kv > most_kv ? stats().held_kv : most_kv;
    }
    assert_true(most_kv > options.memory_kv / 2);
    for (int i = 0; i < 2; i++) {
        struct result *r = finish_job(jobs[i]);
        assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
        result_free(r);
    }
    chord_model_close(model);

    options = (struct chord_model_options){.memory_kv = 2u << 20}; // without a context asked for, that of the ceiling
    model = try_to_open(1u << 30, options, &err);
    chord_model_info(model, &info);
    assert_string_equal(info.mode, "mapped");
    assert_true(info.n_ctx < 2048 && info.n_ctx >= 64);
    chord_model_close(model);
    result_free(expected);
    result_free(got);
    tiny_free(&m);
}

// A step reads what is not pinned, whoever shares it: a prompt's chunk, or a token of each of four texts.
static void a_pass_serves_all(void **state)
{
    (void)state;
    uint32_t prompts[4][512];
    struct chord_job *jobs[4];
    struct chord_error err;
    tiny_init(&m, large);
    tiny_write(&m, test_path("engine.gguf"));
    model = try_to_open(11u << 20, (struct chord_model_options){.mode = CHORD_MODE_PAGED}, &err);
    assert_non_null(model);
    for (int i = 0; i < 4; i++) {
        random_tokens(prompts[i], 512, (uint64_t)i + 1);
        jobs[i] = start(prompts[i], 2, sampling((uint64_t)i, 20));
    }
    chord_model_run(model, 0, NULL);
    const struct pager_totals before = totals();
    for (int i = 0; i < 10; i++)
        chord_model_run(model, 0, NULL);
    const struct pager_totals after = totals();
    assert_int_equal(stats().n_jobs, 4);
    const uint64_t used = after.all.hit_bytes + after.all.miss_bytes - before.all.hit_bytes - before.all.miss_bytes;
    assert_int_equal(used, 10 * after.tile_bytes); // of all weights once per step
    assert_int_equal(after.tile_bytes, model->graph->weight_bytes);
    assert_int_equal(after.all.hits - before.all.hits, 10 * after.n_pinned);
    for (int i = 0; i < 4; i++)
        result_free(finish_job(jobs[i]));

    const struct pager_totals idle = totals();
    struct chord_job *job = start(prompts[0], 512, sampling(1, 1)); // a chunk and its logits
    struct result *r = finish_job(job);
    if (r->end.finish != CHORD_FINISH_LENGTH)
        fail_msg("%s", r->end.error.message);
    result_free(r);
    const struct pager_totals prompted = totals();
    assert_int_equal(prompted.all.hits + prompted.all.misses - idle.all.hits - idle.all.misses, prompted.n_tiles);
    chord_model_close(model);
    tiny_free(&m);
}

// KV cache and scratch take memory of pins while they need it, and give it back.
static void pins_are_what_remains(void **state)
{
    (void)state;
    uint32_t prompt[1500];
    struct chord_error err;
    tiny_init(&m, large);
    tiny_write(&m, test_path("engine.gguf"));
    model = try_to_open(12u << 20, (struct chord_model_options){.mode = CHORD_MODE_PAGED}, &err);
    assert_non_null(model);
    result_free(run(3, 1));
    result_free(run(3, 1));
    const uint64_t at_rest = totals().pinned_bytes;
    const uint32_t n_prompt = model->n_ctx < 1540 ? model->n_ctx - 40 : 1500;
    assert_true(n_prompt > 600);
    random_tokens(prompt, n_prompt, 1);
    struct chord_job *job = start(prompt, n_prompt, sampling(1, 30));
    const uint64_t n_before = stats().n_generated_tokens;
    while (stats().n_generated_tokens < n_before + 20)
        chord_model_run(model, 0, NULL);
    assert_true(stats().held_kv >= n_prompt * model->kv_layout.block_bytes / KV_BLOCK_TOKENS);
    assert_true(totals().pinned_bytes + stats().held_kv / 4 < at_rest);
    struct result *r = finish_job(job);
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    result_free(r);
    result_free(run(3, 1));
    assert_true(totals().pinned_bytes >= at_rest - 200000);
    assert_true(stats().memory_peak <= 12u << 20);
    chord_model_close(model);
    tiny_free(&m);
}

static void pins_are_preloaded_and_dropped(void **state)
{
    (void)state;
    uint64_t done = 0, total = 0;
    struct chord_cancel cancel = {true};
    struct chord_error err;
    tiny_init(&m, large);
    tiny_write(&m, test_path("engine.gguf"));
    model = try_to_open(11u << 20, (struct chord_model_options){.mode = CHORD_MODE_PAGED}, &err);
    assert_non_null(model);
    assert_int_equal(chord_model_preload(model, 1, &cancel, &done, &total, &err), CHORD_CANCELLED);
    do
        assert_int_equal(chord_model_preload(model, 0.01, NULL, &done, &total, &err), CHORD_OK);
    while (done < total);
    assert_int_equal(total, totals().pinned_bytes);
    result_free(run(3, 1));
    chord_model_clear_cache(model);
    done = 1;
    struct result *r = run(3, 1);
    assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
    result_free(r);
    assert_true(pager_sane(weights_pager(model->weights)));
    chord_model_close(model);
    tiny_free(&m);
}

static void tensors_are_read_on_demand(void **state)
{
    (void)state;
    struct chord_error err;
    tiny_init(&m, large);
    tiny_write(&m, test_path("engine.gguf"));
    model = try_to_open(11u << 20, (struct chord_model_options){.mode = CHORD_MODE_PAGED}, &err);
    assert_non_null(model);
    for (uint32_t i = 0; i < m.n_tensors; i++) {
        struct chord_tensor_info info;
        assert_int_equal(chord_model_tensor(model, m.tensors[i].name, &info, &err), CHORD_OK);
        float *values = malloc(info.n_elements * sizeof *values);
        assert_int_equal(chord_model_tensor_read(model, m.tensors[i].name, values, NULL, &err), CHORD_OK);
        assert_memory_equal(values, m.tensors[i].values, info.n_elements * sizeof *values);
        free(values);
    }
    chord_model_close(model);
    tiny_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_budget_gives_the_same_text),
        cmocka_unit_test(scales_of_tensors_stay),
        cmocka_unit_test(the_budget_chooses_the_mode),
        cmocka_unit_test(regions_have_ceilings),
        cmocka_unit_test(a_pass_serves_all),
        cmocka_unit_test(pins_are_what_remains),
        cmocka_unit_test(pins_are_preloaded_and_dropped),
        cmocka_unit_test(tensors_are_read_on_demand),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
