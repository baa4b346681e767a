// Opening models, plans, budgets, tensors, inspection and tokenizing through chord.h, and the fixtures' known results.

#include "engine_helpers.h"
#include "quick.h"

#include "os/cpu.h"

static void write_tiny(struct tiny_options options)
{
    tiny_init(&m, options);
    tiny_write(&m, test_path("engine.gguf"));
}

// Opening fails with `code`, and the message holds `text`.
static void expect(struct chord_model_options options, enum chord_status code, const char *text)
{
    struct chord_model *opened;
    struct chord_error err = {0};
    options.n_threads = 1;
    const enum chord_status status = chord_model_open(test_path("engine.gguf"), &options, &opened, &err);
    if (status == CHORD_OK)
        chord_model_close(opened);
    if (status != code || err.code != code || strstr(err.message, text) == NULL)
        fail_msg("%s: '%s'; expected %s and '%s'", chord_status_name(status), err.message, chord_status_name(code),
                 text);
}

// ---- Opening -------------------------------------------------------------------------------------------------------------

static void info_is_of_the_file(void **state)
{
    (void)state;
    struct chord_model_info info;
    uint64_t n_params = 0;
    open_tiny((struct tiny_options){.arch = "qwen3", .head_dim = 12, .n_ctx = 512},
              (struct chord_model_options){.n_ctx = 200, .n_threads = 3});
    chord_model_info(model, &info);
    for (uint32_t i = 0; i < m.n_tensors; i++)
        n_params += m.tensors[i].ne[0] * m.tensors[i].ne[1];
    assert_string_equal(info.architecture, "qwen3");
    assert_string_equal(info.name, "tiny");
    assert_string_equal(info.quantization, "F32");
    assert_string_equal(info.mode, "mapped");
    assert_int_equal(info.n_params, n_params);
    assert_int_equal(info.n_ctx, 200);
    assert_int_equal(info.n_ctx_train, 512);
    assert_int_equal(info.n_vocab, 300);
    assert_int_equal(info.n_embd, 32);
    assert_int_equal(info.n_layer, 2);
    assert_int_equal(info.n_head, 4);
    assert_int_equal(info.n_head_kv, 2);
    assert_int_equal(info.n_ff, 48);
    assert_int_equal(info.n_threads, 3);
    assert_int_equal(stats().mapped_bytes, info.file_bytes);
    close_tiny();
}

static void quantization_is_named(void **state)
{
    (void)state;
    struct chord_model_info info;
    for (int by_type = 0; by_type < 3; by_type++) {
        write_tiny((struct tiny_options){.type = QUANT_Q8_0, .n_ff = 64});
        if (by_type > 0)
            tiny_set_u32(&m, "general.file_type", by_type == 1 ? 15 : 9999);
        tiny_write(&m, test_path("engine.gguf"));
        model = open_path(test_path("engine.gguf"), (struct chord_model_options){0});
        chord_model_info(model, &info);
        assert_string_equal(info.quantization, by_type == 1 ? "Q4_K_M" : "Q8_0");
        close_tiny();
    }
}

static void every_tier_can_be_forced(void **state)
{
    (void)state;
    struct chord_system_info system;
    struct chord_model_info info;
    uint32_t ignored;
    chord_system_info(&system);
    assert_true(strlen(system.cpu_name) > 0);
    assert_int_equal(system.n_processors, cpu_count());
    assert_true(system.memory_free > 0);
    write_tiny((struct tiny_options){0});
    for (const char *const *tier = system.tiers; *tier != NULL; tier++) {
        if (!kernels_features_of_tier(*tier, cpu_features(), &ignored)) {
            expect((struct chord_model_options){.cpu = *tier, .memory = 1u << 30}, CHORD_INVALID_ARGUMENT, *tier);
            continue;
        }
        model = open_path(test_path("engine.gguf"), (struct chord_model_options){.cpu = *tier});
        chord_model_info(model, &info);
        assert_string_equal(info.cpu, *tier);
        chord_model_close(model);
    }
    expect((struct chord_model_options){.cpu = "abacus", .memory = 1u << 30}, CHORD_INVALID_ARGUMENT, "'abacus'");
    expect((struct chord_model_options){.cpu = "abacus", .memory = 1u << 30}, CHORD_INVALID_ARGUMENT, "scalar");
    expect((struct chord_model_options){.cpu = "scala", .memory = 1u << 30}, CHORD_INVALID_ARGUMENT, "'scala'");
    tiny_free(&m);
}

struct progress {
    char phases[256];
    struct chord_cancel cancel;
    const char *cancel_at;
};

static void note_progress(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    const size_t n = strlen(p->phases);
    snprintf(p->phases + n, sizeof p->phases - n, "%s %u/%u;", phase, (unsigned)done, (unsigned)total);
    if (p->cancel_at != NULL && strstr(p->phases, p->cancel_at) != NULL)
        chord_cancel_request(&p->cancel);
}

static void loading_reports_and_can_be_cancelled(void **state)
{
    (void)state;
    static const char *const points[] = {"header 0/1", "header 1/1", "tokenizer 0/1", "tokenizer 1/1", "weights 0/1"};
    struct progress p = {0};
    write_tiny((struct tiny_options){0});
    model = open_path(test_path("engine.gguf"),
                      (struct chord_model_options){.progress = note_progress, .progress_user = &p});
    assert_string_equal(p.phases, "header 0/1;header 1/1;tokenizer 0/1;tokenizer 1/1;weights 0/1;weights 1/1;");
    chord_model_close(model);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        p = (struct progress){.cancel_at = points[i]};
        expect(
            (struct chord_model_options){
                .memory = 1u << 30, .progress = note_progress, .progress_user = &p, .cancel = &p.cancel},
            CHORD_CANCELLED, "cancelled");
    }
    p = (struct progress){.cancel = {true}};
    expect((struct chord_model_options){.memory = 1u << 30, .cancel = &p.cancel}, CHORD_CANCELLED, "cancelled");
    tiny_free(&m);
}

static void bad_files_are_told(void **state)
{
    (void)state;
    const struct chord_model_options options = {.memory = 1u << 30};
    unlink(test_path("engine.gguf"));
    expect(options, CHORD_FILE_NOT_FOUND, "engine.gguf");
    write_tiny((struct tiny_options){0});
    assert_int_equal(truncate(test_path("engine.gguf"), 1000), 0);
    expect(options, CHORD_GGUF_TRUNCATED, "engine.gguf");
    tiny_free(&m);
    write_tiny((struct tiny_options){.arch = "qwen3"});
    tiny_set_string(&m, "general.architecture", "elephant");
    tiny_write(&m, test_path("engine.gguf"));
    expect(options, CHORD_UNSUPPORTED_ARCHITECTURE, "elephant");
    tiny_free(&m);
    write_tiny((struct tiny_options){0});
    tiny_set_string(&m, "tokenizer.ggml.model", "elephant");
    tiny_write(&m, test_path("engine.gguf"));
    expect(options, CHORD_UNSUPPORTED_TOKENIZER, "elephant");
    tiny_free(&m);
    write_tiny((struct tiny_options){0});
    tiny_reshape(tiny_tensor(&m, "token_embd.weight"), 32, 290); // ten tokens more than rows
    tiny_reshape(tiny_tensor(&m, "output.weight"), 32, 290);
    tiny_write(&m, test_path("engine.gguf"));
    expect(options, CHORD_MODEL_TENSOR, "290");
    tiny_free(&m);
}

// ---- Budgets -------------------------------------------------------------------------------------------------------------

// Under every ceiling opening succeeds within it or fails by name, and loses nothing (as LeakSanitizer sees).
static void every_budget_is_kept(void **state)
{
    (void)state;
    bool opened_once = false;
    write_tiny((struct tiny_options){.n_ctx = 128});
    for (uint64_t budget = 1000; budget < 4000000; budget += budget / 60 + 1) {
        struct chord_error err;
        const struct chord_model_options options = {.memory = budget, .n_threads = 2};
        const enum chord_status status = chord_model_open(test_path("engine.gguf"), &options, &model, &err);
        if (status != CHORD_OK) {
            assert_int_equal(status, CHORD_MEMORY_BUDGET);
            assert_false(opened_once);
            continue;
        }
        opened_once = true;
        assert_true(stats().memory_held <= budget && stats().memory_peak <= budget);
        assert_int_equal(stats().memory_budget, budget);
        chord_model_close(model);
    }
    assert_true(opened_once);
    tiny_free(&m);
}

// The context that a budget gives can be filled to its end by a prompt of any length.
static void the_context_that_fits_can_be_filled(void **state)
{
    (void)state;
    static uint32_t prompt[4096];
    const uint64_t step = quick() ? 300001 : 150001;
    uint32_t n_cut = 0, before = 0;
    write_tiny((struct tiny_options){.n_ctx = 4096, .n_embd = 64});
    random_tokens(prompt, 4096, 1);
    // In a hurry up to the first that gives the model's own context.
    for (uint64_t budget = 1000000; budget < 4200000 && !(quick() && before == 4096); budget += step) {
        struct chord_model_info info;
        struct chord_error err;
        const struct chord_model_options options = {.memory = budget, .n_threads = 1, .mode = CHORD_MODE_MAPPED};
        if (chord_model_open(test_path("engine.gguf"), &options, &model, &err) != CHORD_OK) {
            assert_int_equal(err.code, CHORD_MEMORY_BUDGET);
            continue;
        }
        chord_model_info(model, &info);
        assert_true(info.n_ctx >= 64 && info.n_ctx <= 4096 && info.n_ctx >= before);
        before = info.n_ctx;
        n_cut += info.n_ctx < 4096;
        struct result *r = finish_job(start(prompt, info.n_ctx - 10, sampling(1, UINT64_MAX)));
        if (r->end.finish != CHORD_FINISH_LENGTH || r->n_tokens != 10)
            fail_msg("budget %u, context %u: %s", (unsigned)budget, info.n_ctx, r->end.error.message);
        assert_true(stats().memory_peak <= budget);
        result_free(r);
        chord_model_close(model);
    }
    assert_true(n_cut >= (quick() ? 3 : 5));
    tiny_free(&m);
}

static void a_context_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct chord_model_info info;
    write_tiny((struct tiny_options){.n_ctx = 4096, .n_embd = 64});
    expect((struct chord_model_options){.memory = 3000000, .n_ctx = 1u << 20}, CHORD_MEMORY_BUDGET,
           "context of 1048576 tokens");
    expect((struct chord_model_options){.memory = 700000}, CHORD_MEMORY_BUDGET, "MiB");
    model = open_path(test_path("engine.gguf"),
                      (struct chord_model_options){.n_ctx = 10000}); // longer than trained on: allowed
    chord_model_info(model, &info);
    assert_int_equal(info.n_ctx, 10000);
    chord_model_close(model);
    tiny_free(&m);
}

// ---- Plans ---------------------------------------------------------------------------------------------------------------

static void a_plan_is_what_opening_does(void **state)
{
    (void)state;
    static const uint64_t budgets[] = {2000000, 2700000, 1u << 30};
    uint32_t prompt[600];
    write_tiny((struct tiny_options){.n_ctx = 4096, .n_embd = 64, .n_ff = 64, .type = QUANT_Q8_0});
    random_tokens(prompt, 600, 1);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        struct chord_plan plan;
        struct chord_model_info info;
        struct chord_error err;
        uint64_t weights_bytes = 0, step_bytes = 0;
        const struct chord_model_options options = {.memory = budgets[i], .n_threads = 2, .mode = CHORD_MODE_MAPPED};
        if (chord_model_plan(test_path("engine.gguf"), &options, NULL, &plan, &err) != CHORD_OK)
            fail_msg("%s", err.message);
        model = open_path(test_path("engine.gguf"), options);
        chord_model_info(model, &info);
        for (uint32_t t = 0; t < m.n_tensors; t++) {
            weights_bytes += m.tensors[t].n_bytes;
            if (m.tensors[t].n_dimensions == 2 && strcmp(m.tensors[t].name, "token_embd.weight") != 0)
                step_bytes += m.tensors[t].n_bytes;
        }
        assert_string_equal(plan.architecture, "llama");
        assert_int_equal(plan.memory_budget, budgets[i]);
        assert_int_equal(plan.weights_bytes, weights_bytes);
        assert_int_equal(plan.step_bytes, step_bytes);
        assert_int_equal(plan.n_ctx, info.n_ctx);
        assert_int_equal(plan.n_ctx_train, 4096);
        assert_int_equal(plan.n_layer, 2);
        assert_int_equal(plan.n_threads, 2);
        assert_int_equal(plan.kv_bytes_per_token, 2 * 2 * 2 * 16 * 2);
        assert_int_equal(plan.kv_bytes, (plan.n_ctx + 63) / 64 * 64 * plan.kv_bytes_per_token);
        assert_true(plan.read_bandwidth > 1e8 && plan.read_bandwidth < 1e13);
        assert_true(plan.seconds_per_token > 0);
        const uint64_t sum = plan.weights_bytes + plan.kv_bytes + plan.scratch_bytes + plan.metadata_bytes;
        assert_int_equal(plan.fits, sum <= budgets[i]);
        assert_int_equal(plan.warnings[0][0] != '\0', plan.n_ctx < 4096 || !plan.fits);

        const struct chord_stats opened = stats();
        const uint64_t metadata = opened.held_metadata + opened.held_tokenizer + opened.held_weights;
        assert_true(metadata >= plan.metadata_bytes && metadata <= plan.metadata_bytes + 2048);
        // A full batch, and the most logits at once, take the scratch that was planned.
        const uint32_t n_tokens = info.n_ctx < 600 ? info.n_ctx - 2 : 600;
        if (n_tokens == 600) {
            struct chord_job *job;
            assert_int_equal(chord_score(model, prompt, 600, 1, &job, &err), CHORD_OK);
            result_free(finish_job(job));
            const uint64_t scratch = stats().held_scratch;
            if (scratch < plan.scratch_bytes || scratch > plan.scratch_bytes + 4096)
                fail_msg("scratch of %u bytes planned, %u taken", (unsigned)plan.scratch_bytes, (unsigned)scratch);
        }
        struct result *r = finish_job(start(prompt, n_tokens, sampling(1, 1)));
        assert_int_equal(r->end.finish, CHORD_FINISH_LENGTH);
        result_free(r);
        chord_model_close(model);
    }
    tiny_free(&m);
}

static void kv_is_held_by_the_block(void **state)
{
    (void)state;
    uint32_t prompt[130];
    open_tiny((struct tiny_options){.n_ctx = 512}, (struct chord_model_options){0});
    random_tokens(prompt, 130, 1);
    const struct chord_stats before = stats();
    struct chord_job *job = start(prompt, 130, sampling(1, 10));
    chord_model_run(model, 0, NULL);
    const struct chord_stats during = stats();
    assert_int_equal(before.kv_blocks, 0);
    assert_int_equal(during.kv_blocks, 3);
    assert_int_equal(during.kv_block_bytes, 64 * 2 * 2 * 2 * 8 * 2);
    assert_int_equal(during.kv_tokens, 130);
    assert_true(during.held_kv >= 3 * during.kv_block_bytes);
    assert_int_equal(during.n_jobs, 1);
    assert_int_equal(during.n_steps, 1);
    assert_int_equal(during.n_prompt_tokens, 130);
    assert_int_equal(during.n_generated_tokens, 0);
    assert_int_equal(during.weight_bytes_used, model->graph->weight_bytes);
    assert_true(during.compute_seconds > 0);
    assert_int_equal(during.memory_held, during.held_metadata + during.held_tokenizer + during.held_weights +
                                             during.held_kv + during.held_scratch);
    assert_int_equal(during.memory_held, chord_model_held(model));
    result_free(finish_job(job));
    assert_int_equal(stats().n_generated_tokens, 9); // the tenth was chosen, not computed
    assert_int_equal(stats().n_steps, 10);
    assert_idle();
    close_tiny();
}

// However small the blocks are beside what stands around them, they are counted one by one.
static void small_blocks_are_counted(void **state)
{
    (void)state;
    uint32_t prompt[1000];
    open_tiny(
        (struct tiny_options){.n_ctx = 1024, .n_layer = 1, .n_head = 1, .n_head_kv = 1, .n_embd = 8, .head_dim = 2},
        (struct chord_model_options){0});
    random_tokens(prompt, 1000, 1);
    struct chord_job *job = start(prompt, 1000, sampling(1, 10));
    chord_model_run(model, 0, NULL);
    chord_model_run(model, 0, NULL);
    assert_int_equal(stats().kv_blocks, 16);
    result_free(finish_job(job));
    close_tiny();
}

// ---- Tensors -------------------------------------------------------------------------------------------------------------

static void tensors_are_read(void **state)
{
    (void)state;
    struct chord_tensor_info info;
    struct chord_error err;
    struct chord_cancel cancel = {false};
    float *values = malloc(300 * 256 * sizeof *values);
    open_tiny((struct tiny_options){.type = QUANT_Q4_K, .n_embd = 256, .n_ff = 256}, (struct chord_model_options){0});
    for (uint32_t i = 0; i < m.n_tensors; i++) {
        const struct tiny_tensor *t = &m.tensors[i];
        const uint64_t n = t->ne[0] * t->ne[1];
        assert_int_equal(chord_model_tensor(model, t->name, &info, &err), CHORD_OK);
        assert_string_equal(info.name, t->name);
        assert_string_equal(info.type, t->type == QUANT_F32 ? "F32" : "Q4_K");
        assert_int_equal(info.n_dimensions, t->n_dimensions);
        assert_memory_equal(info.ne, t->ne, sizeof info.ne);
        assert_int_equal(info.n_elements, n);
        assert_int_equal(chord_model_tensor_read(model, t->name, values, &cancel, &err), CHORD_OK);
        assert_memory_equal(values, t->values, n * sizeof *values);
    }
    assert_int_equal(chord_model_tensor(model, "blk.9.attn_q.weight", &info, &err), CHORD_NOT_FOUND);
    assert_non_null(strstr(err.message, "'blk.9.attn_q.weight'"));
    assert_int_equal(chord_model_tensor_read(model, "a\x02z", values, NULL, &err), CHORD_NOT_FOUND);
    assert_non_null(strstr(err.message, "'a?z'"));
    chord_cancel_request(&cancel);
    assert_int_equal(chord_model_tensor_read(model, "output.weight", values, &cancel, &err), CHORD_CANCELLED);
    free(values);
    close_tiny();
}

static void weights_are_preloaded(void **state)
{
    (void)state;
    uint64_t done = 0, total = 0;
    struct chord_error err;
    struct chord_cancel cancel = {true};
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    assert_int_equal(chord_model_preload(model, 1, &cancel, &done, &total, &err), CHORD_CANCELLED);
    done = 0;
    do
        assert_int_equal(chord_model_preload(model, 0.1, NULL, &done, &total, &err), CHORD_OK);
    while (done < total);
    assert_int_equal(total, stats().mapped_bytes);
    assert_true(stats().resident_bytes == UINT64_MAX || stats().resident_bytes > 0);
    chord_model_clear_cache(model);
    const uint32_t prompt[] = {1, 270};
    result_free(finish_job(start(prompt, 2, sampling(1, 3))));
    FILE *file = fopen(test_path("engine.gguf"), "ab");
    assert_non_null(file);
    fputc(0, file);
    fclose(file);
    done = 0;
    assert_int_equal(chord_model_preload(model, 1, NULL, &done, &total, &err), CHORD_FILE_CHANGED);
    close_tiny();
}

// ---- Inspection ----------------------------------------------------------------------------------------------------------

static bool string_is(struct chord_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.bytes, text, s.n_bytes) == 0;
}

static void files_are_inspected(void **state)
{
    (void)state;
    struct chord_file *file;
    struct chord_error err;
    uint64_t n_bytes, n_part_bytes = 0;
    uint32_t version;
    char path[512];
    tiny_init(&m, (struct tiny_options){0});
    put_u64(tiny_set(&m, "test.u64", GGUF_UINT64), UINT64_MAX - 1);
    put_u8(tiny_set(&m, "test.bool", GGUF_BOOL), 1);
    put_u64(tiny_set(&m, "test.i64", GGUF_INT64), (uint64_t)-5);
    put_f64(tiny_set(&m, "test.f64", GGUF_FLOAT64), 0.1);
    struct maker *list = tiny_set_array(&m, "test.list", GGUF_INT16, 3);
    for (int i = -1; i <= 1; i++)
        put_number(list, (uint64_t)i, 2);
    tiny_write_split(&m, test_path("inspected"), 3, path, sizeof path);
    if (chord_file_open(path, &file, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    assert_int_equal(chord_file_n_parts(file), 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_non_null(strstr(chord_file_part(file, i, &n_bytes, &version), "inspected-0000"));
        assert_int_equal(version, 3);
        n_part_bytes += n_bytes;
    }
    uint64_t n_tensor_bytes = 0;
    assert_int_equal(chord_file_n_tensors(file), m.n_tensors);
    for (uint32_t i = 0; i < m.n_tensors; i++) {
        struct chord_file_tensor t;
        chord_file_tensor(file, i, &t);
        assert_true(string_is(t.name, m.tensors[i].name));
        assert_string_equal(t.type, "F32");
        assert_int_equal(t.n_dimensions, m.tensors[i].n_dimensions);
        assert_memory_equal(t.ne, m.tensors[i].ne, sizeof t.ne);
        assert_int_equal(t.n_bytes, m.tensors[i].n_bytes);
        assert_int_equal(t.file, i < m.n_tensors / 3 ? 0 : i < m.n_tensors * 2 / 3 ? 1 : 2);
        n_tensor_bytes += t.n_bytes;
    }
    assert_true(n_tensor_bytes < n_part_bytes);
    uint32_t n_found = 0;
    for (uint64_t i = 0; i < chord_file_n_values(file); i++) {
        struct chord_value value;
        struct chord_element_value e[300];
        chord_file_value(file, i, &value);
        assert_true(value.n_elements <= 300);
        chord_value_elements(&value, value.n_elements, e);
        n_found++;
        if (string_is(value.key, "test.u64"))
            assert_true(e[0].kind == CHORD_ELEMENT_UINT && e[0].u == UINT64_MAX - 1);
        else if (string_is(value.key, "test.bool"))
            assert_true(e[0].kind == CHORD_ELEMENT_BOOL && e[0].i == 1 && strcmp(value.type, "bool") == 0);
        else if (string_is(value.key, "test.i64"))
            assert_true(e[0].kind == CHORD_ELEMENT_INT && e[0].i == -5);
        else if (string_is(value.key, "test.f64"))
            assert_true(e[0].kind == CHORD_ELEMENT_FLOAT && e[0].f == 0.1);
        else if (string_is(value.key, "test.list"))
            assert_true(value.n_elements == 3 && e[0].i == -1 && e[2].i == 1 && strcmp(value.type, "array") == 0 &&
                        strcmp(value.element, "int16") == 0);
        else if (string_is(value.key, "general.name"))
            assert_true(e[0].kind == CHORD_ELEMENT_STRING && string_is(e[0].s, "tiny"));
        else if (string_is(value.key, "tokenizer.ggml.tokens"))
            assert_true(value.n_elements == 300 && string_is(e[2].s, "</s>") && string_is(e[260].s, "b"));
        else
            n_found--;
    }
    assert_int_equal(n_found, 7);
    chord_file_close(file);
    chord_file_close(NULL);
    assert_int_equal(chord_file_open(test_path("no such file"), &file, &err), CHORD_FILE_NOT_FOUND);
    tiny_free(&m);
}

// ---- Tokenizing ----------------------------------------------------------------------------------------------------------

static void texts_are_tokenized(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "a", "hello world.", "caf\xc3\xa9 \xe4\xb8\xad", "a  b\n\tc", "\xff\xfe"};
    struct chord_tokenizer *own;
    struct chord_tokenizer_info info, own_info;
    struct chord_error err;
    open_tiny((struct tiny_options){0}, (struct chord_model_options){0});
    assert_int_equal(chord_tokenizer_open(test_path("engine.gguf"), &own, &err), CHORD_OK);
    chord_tokenizer_info(chord_model_tokenizer(model), &info);
    chord_tokenizer_info(own, &own_info);
    assert_string_equal(info.model, "llama");
    assert_int_equal(info.n_vocab, 300);
    assert_int_equal(info.bos, 1);
    assert_int_equal(info.eos, 2);
    assert_true(info.add_bos && own_info.add_bos && own_info.n_vocab == 300);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int bos = -1; bos <= 1; bos++) {
            uint32_t *ids, *own_ids;
            uint64_t n, n_own, n_text;
            char *text;
            assert_int_equal(
                chord_tokenize(chord_model_tokenizer(model), texts[i], strlen(texts[i]), false, bos, &ids, &n, &err),
                CHORD_OK);
            assert_int_equal(chord_tokenize(own, texts[i], strlen(texts[i]), false, bos, &own_ids, &n_own, &err),
                             CHORD_OK);
            assert_int_equal(n, n_own);
            assert_memory_equal(ids, own_ids, n * sizeof *ids);
            assert_int_equal(n > 0 && ids[0] == 1, bos != 0);
            assert_int_equal(chord_detokenize(own, ids, n, false, &text, &n_text, &err), CHORD_OK);
            if (i + 1 < sizeof texts / sizeof *texts) {
                assert_int_equal(n_text, strlen(texts[i]));
                assert_memory_equal(text, texts[i], n_text);
            } else {
                assert_int_equal(n_text, 6); // two U+FFFD
            }
            chord_free(ids);
            chord_free(own_ids);
            chord_free(text);
        }
    chord_tokenizer_close(own);
    chord_tokenizer_close(NULL);
    assert_int_equal(chord_tokenizer_open(test_path("no such file"), &own, &err), CHORD_FILE_NOT_FOUND);
    close_tiny();
}

// ---- Fixtures ------------------------------------------------------------------------------------------------------------

static const char *fixture_or_skip(const char *name)
{
    const char *path = fixture_path(name);
    if (path == NULL) {
        print_message("skipped: no %s; set CHORD_FIXTURES\n", name);
        skip();
    }
    return path;
}

static struct chord_generate_options greedy(uint64_t max_tokens)
{
    struct chord_generate_options options;
    chord_generate_options_init(&options);
    options.temperature = 0;
    options.max_tokens = max_tokens;
    return options;
}

static bool tier_runs_here(const char *tier)
{
    uint32_t ignored;
    return kernels_features_of_tier(tier, cpu_features(), &ignored);
}

// The text that llama2.c's own test expects of this model.
static const char story[] = "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
                            "park. One day, she saw a big, "
                            "red ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, "
                            "let's go to the park.\" Lily was sad "
                            "and didn't know what to do. She said, \"I want to play with your ball, but I can't find "
                            "it.\"\nLily was sad and didn't "
                            "know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\nLily didn't "
                            "want to help her mom, so she";

static void stories_are_told(void **state)
{
    (void)state;
    const char *path = fixture_or_skip("models/stories260K-f32.gguf");
    static const struct {
        uint32_t token;
        double logit;
    } top[] = {{403, 17.0235}, {385, 15.4062}, {410, 13.1083}, {317, 12.7692}, {407, 12.4181}};
    const uint32_t bos[] = {1};
    for (const char *const *tier = kernels_tier_names(); *tier != NULL; tier++) {
        if (!tier_runs_here(*tier))
            continue;
        model = open_path(path, (struct chord_model_options){.cpu = *tier});
        struct result *r = finish_job(start(bos, 1, greedy(200)));
        if (r->n_text < sizeof story - 1 || memcmp(r->text, story, sizeof story - 1) != 0)
            fail_msg("%s: %.*s", *tier, (int)r->n_text, r->text);
        result_free(r);
        r = finish_job(evaluate(bos, 1));
        for (size_t i = 0; i < sizeof top / sizeof *top; i++)
            assert_true(fabs((double)r->logits[top[i].token] - top[i].logit) < 5e-3);
        for (uint32_t id = 0; id < r->end.n_logits; id++)
            assert_true(r->logits[id] <= r->logits[403]);
        result_free(r);
        chord_model_close(model);
    }
}

static void a_random_llama_babbles_as_known(void **state)
{
    (void)state;
    const char *path = fixture_or_skip("models/llama-2-tiny-random.gguf");
    static const uint32_t expected[] = {16768, 5815, 17433, 357, 16021, 3852, 26270, 16404, 9069, 21352};
    static const uint32_t prompt[] = {1, 1619, 1024, 338, 4702, 345, 322, 590, 25448};
    const char text[] = "My name is Merve and my favorite";
    for (const char *const *tier = kernels_tier_names(); *tier != NULL; tier++) {
        uint32_t *ids;
        uint64_t n;
        if (!tier_runs_here(*tier))
            continue;
        model = open_path(path, (struct chord_model_options){.cpu = *tier});
        assert_int_equal(chord_tokenize(chord_model_tokenizer(model), text, strlen(text), false, -1, &ids, &n, NULL),
                         CHORD_OK);
        assert_int_equal(n, 9);
        assert_memory_equal(ids, prompt, sizeof prompt);
        chord_free(ids);
        struct result *r = finish_job(start(prompt, 9, greedy(10)));
        assert_int_equal(r->n_tokens, 10);
        assert_memory_equal(r->tokens, expected, sizeof expected);
        result_free(r);
        chord_model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_is_of_the_file),
        cmocka_unit_test(quantization_is_named),
        cmocka_unit_test(every_tier_can_be_forced),
        cmocka_unit_test(loading_reports_and_can_be_cancelled),
        cmocka_unit_test(bad_files_are_told),
        cmocka_unit_test(every_budget_is_kept),
        cmocka_unit_test(the_context_that_fits_can_be_filled),
        cmocka_unit_test(a_context_that_does_not_fit_is_refused),
        cmocka_unit_test(a_plan_is_what_opening_does),
        cmocka_unit_test(kv_is_held_by_the_block),
        cmocka_unit_test(small_blocks_are_counted),
        cmocka_unit_test(tensors_are_read),
        cmocka_unit_test(weights_are_preloaded),
        cmocka_unit_test(files_are_inspected),
        cmocka_unit_test(texts_are_tokenized),
        cmocka_unit_test(stories_are_told),
        cmocka_unit_test(a_random_llama_babbles_as_known),
    };
    unsetenv("CHORD_CPU"); // it would force a tier
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
