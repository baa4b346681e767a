// Architectures: hyperparameters good and bad, frequencies of RoPE, what the graphs of files with odd parts look like.

#include "test_folder.h"
#include "tiny_graph.h"
#include "account_helpers.h"

static struct tiny_model m;

static const char *const arch_names[] = {"llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe"};
#define N_ARCHS (sizeof arch_names / sizeof *arch_names)

static enum chord_status load(struct hparams *h, const struct arch **arch, struct chord_error *err)
{
    struct maker made = {0};
    struct gguf *gguf;
    tiny_encode(&m, &made);
    const struct gguf_source source = maker_source(&made, "tiny.gguf");
    *err = (struct chord_error){0};
    enum chord_status status = gguf_open_source(&gguf, &source, false, &account, err);
    free(made.bytes);
    assert_int_equal(status, CHORD_OK);
    status = hparams_load(gguf, h, arch, err);
    gguf_close(gguf);
    return status;
}

static struct hparams load_well(void)
{
    struct hparams h;
    const struct arch *arch;
    struct chord_error err;
    if (load(&h, &arch, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    assert_string_equal(arch->name, m.options.arch);
    return h;
}

// Loading fails with `code`, and the message holds `text`.
static void expect(enum chord_status code, const char *text)
{
    struct hparams h;
    const struct arch *arch;
    struct chord_error err;
    const enum chord_status status = load(&h, &arch, &err);
    if (status != code || err.code != code || strstr(err.message, text) == NULL)
        fail_msg("%s: '%s'; expected %s and '%s'", chord_status_name(status), err.message, chord_status_name(code),
                 text);
}

// ---- Hyperparameters -----------------------------------------------------------------------------------------------------

static void every_value_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++) {
        tiny_init(&m, (struct tiny_options){.arch = arch_names[i],
                                            .n_vocab = 311,
                                            .n_embd = 40,
                                            .n_layer = 3,
                                            .n_head = 6,
                                            .n_head_kv = 3,
                                            .head_dim = 12,
                                            .n_ff = 50,
                                            .n_ctx = 777,
                                            .n_rot = 8});
        tiny_set_f32(&m, tiny_key(&m, "attention.layer_norm_rms_epsilon"), 0.25f);
        tiny_set_f32(&m, tiny_key(&m, "rope.freq_base"), 500000);
        const struct hparams h = load_well();
        assert_string_equal(h.arch, arch_names[i]);
        assert_int_equal(h.n_vocab, 311);
        assert_int_equal(h.n_embd, 40);
        assert_int_equal(h.n_layer, 3);
        assert_int_equal(h.n_head, 6);
        assert_int_equal(h.n_head_kv, 3);
        assert_int_equal(h.head_dim, 12);
        assert_int_equal(h.n_ff, 50);
        assert_int_equal(h.n_ctx_train, 777);
        assert_int_equal(h.n_rot, 8);
        assert_true(h.norm_rms_eps == 0.25f);
        assert_true(h.rope_base == 500000);
        assert_int_equal(h.rope_scaling, ROPE_SCALING_NONE);
        assert_true(h.rope_factor == 1 && h.rope_attn_factor == 1);
        tiny_free(&m);
    }
}

static void absent_values_have_defaults(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){.n_embd = 48, .n_head = 6});
    tiny_drop(&m, "llama.attention.head_count_kv");
    tiny_drop(&m, "llama.attention.key_length");
    tiny_drop(&m, "llama.attention.value_length");
    tiny_drop(&m, "llama.rope.dimension_count");
    tiny_drop(&m, "llama.rope.freq_base");
    tiny_drop(&m, "llama.attention.layer_norm_rms_epsilon");
    const struct hparams h = load_well();
    assert_int_equal(h.n_head_kv, 6);
    assert_int_equal(h.head_dim, 8);
    assert_int_equal(h.n_rot, 8);
    assert_true(h.rope_base == 10000);
    assert_true(h.norm_rms_eps == 1e-5f);
    tiny_free(&m);
}

static const char *const counts[] = {
    "context_length",          "embedding_length",     "block_count",
    "feed_forward_length",
    "attention.head_count", // up to here required
    "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "rope.dimension_count",
};
#define N_REQUIRED 5
#define N_COUNTS (sizeof counts / sizeof *counts)

static void a_missing_value_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++)
        for (size_t k = 0; k < N_REQUIRED; k++) {
            char key[96];
            tiny_init(&m, (struct tiny_options){.arch = arch_names[i]});
            snprintf(key, sizeof key, "%s", tiny_key(&m, counts[k]));
            tiny_drop(&m, key);
            expect(CHORD_MODEL_HPARAMS, key);
            tiny_free(&m);
        }
}

static void an_absurd_count_is_named(void **state)
{
    (void)state;
    static const uint32_t absurd[] = {0, UINT32_MAX, 1u << 31, (1u << 28) + 1};
    for (size_t k = 0; k < N_COUNTS; k++)
        for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
            tiny_init(&m, (struct tiny_options){0});
            tiny_set_u32(&m, tiny_key(&m, counts[k]), absurd[i]);
            expect(CHORD_MODEL_HPARAMS, tiny_key(&m, counts[k]));
            tiny_free(&m);
        }
}

static void a_value_of_another_type_is_named(void **state)
{
    (void)state;
    static const char *const numbers[] = {"attention.layer_norm_rms_epsilon", "rope.freq_base"};
    for (size_t k = 0; k < N_COUNTS + 2; k++) {
        const char *name = k < N_COUNTS ? counts[k] : numbers[k - N_COUNTS];
        for (int kind = 0; kind < 3; kind++) {
            tiny_init(&m, (struct tiny_options){0});
            const char *key = tiny_key(&m, name);
            if (kind == 0)
                tiny_set_string(&m, key, "8");
            else if (kind == 1)
                put_u32(tiny_set_array(&m, key, GGUF_UINT32, 1), 8);
            else if (k < N_COUNTS)
                put_u64(tiny_set(&m, key, GGUF_INT64), (uint64_t)-8);
            else
                put_u8(tiny_set(&m, key, GGUF_BOOL), 1);
            expect(CHORD_GGUF_METADATA, key);
            tiny_free(&m);
        }
    }
}

static void a_bad_number_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        float value;
    } bad[] = {
        {"attention.layer_norm_rms_epsilon", -1e-6f},
        {"attention.layer_norm_rms_epsilon", 1.5f},
        {"attention.layer_norm_rms_epsilon", NAN},
        {"rope.freq_base", 0},
        {"rope.freq_base", -10000},
        {"rope.freq_base", INFINITY},
        {"rope.freq_base", NAN},
        {"rope.scale_linear", 0},
        {"rope.scale_linear", NAN},
        {"rope.scale_linear", -4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiny_init(&m, (struct tiny_options){0});
        tiny_set_f32(&m, tiny_key(&m, bad[i].name), bad[i].value);
        expect(CHORD_MODEL_HPARAMS, tiny_key(&m, bad[i].name));
        tiny_free(&m);
    }
}

static void contradictions_are_told(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){.n_head = 6, .n_head_kv = 4, .n_embd = 48});
    expect(CHORD_MODEL_HPARAMS, "6 query heads cannot share 4 KV heads");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){.n_head = 2, .n_head_kv = 4, .n_embd = 48});
    expect(CHORD_MODEL_HPARAMS, "2 query heads cannot share 4 KV heads");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){.head_dim = 8});
    tiny_set_u32(&m, "llama.attention.value_length", 16);
    expect(CHORD_MODEL_HPARAMS, "keys of 8 and values of 16");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){.head_dim = 8, .n_rot = 7});
    expect(CHORD_MODEL_HPARAMS, "RoPE over 7 elements");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){.head_dim = 8, .n_rot = 10});
    expect(CHORD_MODEL_HPARAMS, "llama.rope.dimension_count");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){.n_embd = 4, .n_head = 8, .n_head_kv = 8, .head_dim = 4});
    tiny_drop(&m, "llama.attention.key_length");
    expect(CHORD_MODEL_HPARAMS, "llama.attention.key_length"); // 4 elements for 8 heads
    tiny_free(&m);
}

static void architectures_are_looked_up(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){0});
    tiny_drop(&m, "general.architecture");
    expect(CHORD_MODEL_HPARAMS, "general.architecture");
    tiny_set_u32(&m, "general.architecture", 3);
    expect(CHORD_GGUF_METADATA, "general.architecture");
    static const char *const unknown[] = {"mamba", "llama2", "lla", "LLAMA", ""};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char quoted[32];
        snprintf(quoted, sizeof quoted, "'%s'", unknown[i]);
        tiny_set_string(&m, "general.architecture", unknown[i]);
        expect(CHORD_UNSUPPORTED_ARCHITECTURE, quoted);
        for (uint32_t k = 0; arch_at(k) != NULL; k++)
            expect(CHORD_UNSUPPORTED_ARCHITECTURE, arch_at(k)->name);
    }
    tiny_free(&m);
    for (uint32_t i = 0; i < N_ARCHS; i++) {
        assert_string_equal(arch_at(i)->name, arch_names[i]);
        assert_ptr_equal(arch_find(arch_names[i], strlen(arch_names[i])), arch_at(i));
    }
    uint32_t n = 0;
    for (; arch_at(n) != NULL; n++)
        assert_ptr_equal(arch_find(arch_at(n)->name, strlen(arch_at(n)->name)), arch_at(n));
    assert_true(n > N_ARCHS);
    assert_null(arch_find("llam", 4));
}

static void experts_are_read(void **state)
{
    (void)state;
    tiny_init(
        &m,
        (struct tiny_options){
            .arch = "qwen2moe", .n_expert = 60, .n_expert_used = 4, .n_ff_expert = 24, .n_ff_shared = 40, .n_ff = 128});
    struct hparams h = load_well();
    assert_int_equal(h.n_expert, 60);
    assert_int_equal(h.n_expert_used, 4);
    assert_int_equal(h.n_ff_expert, 24);
    assert_int_equal(h.n_ff_shared, 40);
    tiny_drop(&m, "qwen2moe.expert_feed_forward_length");
    tiny_drop(&m, "qwen2moe.expert_shared_feed_forward_length");
    h = load_well();
    assert_int_equal(h.n_ff_expert, 32);
    assert_int_equal(h.n_ff_shared, 128);
    tiny_set_u32(&m, "qwen2moe.expert_gating_func", 1);
    load_well();
    tiny_set_u32(&m, "qwen2moe.expert_gating_func", 2);
    expect(CHORD_MODEL_HPARAMS, "expert_gating_func");
    tiny_free(&m);

    tiny_init(&m, (struct tiny_options){.n_expert = 8});
    h = load_well();
    assert_int_equal(h.n_ff_expert, h.n_ff);
    tiny_set_u32(&m, "llama.expert_count", 0);
    assert_int_equal(load_well().n_expert, 0);
    tiny_free(&m);
}

static void bad_experts_are_told(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "qwen2moe", "qwen3moe"};
    for (size_t i = 0; i < 3; i++) {
        tiny_init(&m, (struct tiny_options){.arch = archs[i], .n_expert = 8});
        tiny_set_u32(&m, tiny_key(&m, "expert_used_count"), 9);
        expect(CHORD_MODEL_HPARAMS, "expert_used_count");
        tiny_set_u32(&m, tiny_key(&m, "expert_used_count"), 0);
        expect(CHORD_MODEL_HPARAMS, "expert_used_count");
        tiny_drop(&m, tiny_key(&m, "expert_used_count"));
        expect(CHORD_MODEL_HPARAMS, "expert_used_count");
        tiny_set_u32(&m, tiny_key(&m, "expert_count"), 1025);
        expect(CHORD_MODEL_HPARAMS, "expert_count");
        tiny_set_string(&m, tiny_key(&m, "expert_count"), "8");
        expect(CHORD_GGUF_METADATA, "expert_count");
        tiny_drop(&m, tiny_key(&m, "expert_count"));
        if (i != 0)
            expect(CHORD_MODEL_HPARAMS, "expert_count");
        tiny_free(&m);
    }
}

// Building fails with MODEL_TENSOR, and the message holds `text`.
static void expect_tensor(const char *text)
{
    struct built shapes;
    struct chord_error err;
    const enum chord_status status = build_shapes(&shapes, &m, &account, &err);
    if (status != CHORD_MODEL_TENSOR || strstr(err.message, text) == NULL)
        fail_msg("%s: '%s'; expected '%s'", chord_status_name(status), err.message, text);
}

static void shapes_of_experts_are_checked(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.1.ffn_gate_exps.weight",      "blk.1.ffn_up_exps.weight",
                                        "blk.1.ffn_down_exps.weight",      "blk.1.ffn_gate_inp.weight",
                                        "blk.1.ffn_gate_inp_shexp.weight", "blk.1.ffn_up_shexp.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tiny_init(&m, (struct tiny_options){.arch = "qwen2moe"});
        struct tiny_tensor *t = tiny_tensor(&m, names[i]);
        t->ne[t->n_dimensions - 1]--; // the file is as long as before: its last rows belong to no tensor
        t->n_bytes = t->n_bytes / (t->ne[t->n_dimensions - 1] + 1) * t->ne[t->n_dimensions - 1];
        expect_tensor(names[i]);
        tiny_drop_tensor(&m, names[i]);
        expect_tensor(names[i]);
        tiny_free(&m);
    }
    tiny_init(&m, (struct tiny_options){.n_expert = 8});
    tiny_add(&m, "blk.0.ffn_gate.0.weight", QUANT_F32, 32, 48, 0, 1);
    expect_tensor("convert the model again");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){0}); // dense tensors beside the word that there are experts
    tiny_set_u32(&m, "llama.expert_count", 8);
    tiny_set_u32(&m, "llama.expert_used_count", 2);
    expect_tensor("ffn_gate_inp.weight");
    tiny_free(&m);
}

static void a_file_without_weights_is_told(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){0});
    tiny_drop_tensor(&m, "token_embd.weight");
    expect(CHORD_MODEL_TENSOR, "token_embd.weight");
    while (m.n_tensors > 0)
        tiny_drop_tensor(&m, m.tensors[0].name);
    expect(CHORD_MODEL_TENSOR, "vocabulary");
    tiny_free(&m);
}

// ---- RoPE ----------------------------------------------------------------------------------------------------------------

static struct built built;

static const struct graph_rope *build_rope_of(void)
{
    struct chord_error err;
    if (build_mapped(&built, &m, test_path("rope.gguf"), &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return &built.graph->ropes[0];
}

static void close_rope(void)
{
    built_free(&built);
    tiny_free(&m);
}

static void assert_near(double actual, double expected)
{
    if (!(fabs(actual - expected) <= 1e-6 * fabs(expected)))
        fail_msg("%.9g instead of %.9g", actual, expected);
}

static double plain_frequency(double base, uint32_t i, uint32_t n_rot)
{
    return 1 / pow(base, 2.0 * i / n_rot);
}

static void plain_and_linear_frequencies(void **state)
{
    (void)state;
    static const struct {
        const char *type, *factor_key;
        double factor;
    } scalings[] = {
        {NULL, NULL, 1},
        {"none", NULL, 1},
        {"none", "rope.scaling.factor", 1}, // a factor that belongs to no scaling
        {"linear", "rope.scaling.factor", 4},
        {"linear", NULL, 1},
        {NULL, "rope.scale_linear", 8}, // files of 2023
        {NULL, "rope.scale_linear", 1},
    };
    for (size_t s = 0; s < sizeof scalings / sizeof *scalings; s++)
        for (size_t a = 0; a < N_ARCHS; a++) {
            tiny_init(&m, (struct tiny_options){.arch = arch_names[a], .head_dim = 64, .n_rot = 40});
            tiny_set_f32(&m, tiny_key(&m, "rope.freq_base"), 12345);
            if (scalings[s].type != NULL)
                tiny_set_string(&m, tiny_key(&m, "rope.scaling.type"), scalings[s].type);
            if (scalings[s].factor_key != NULL)
                tiny_set_f32(&m, tiny_key(&m, scalings[s].factor_key), s == 2 ? 7 : (float)scalings[s].factor);
            const struct graph_rope *rope = build_rope_of();
            assert_int_equal(rope->kind, a == 0 ? ROPE_NORMAL : ROPE_NEOX);
            assert_int_equal(rope->n_rot, 40);
            assert_true(rope->magnitude == 1);
            for (uint32_t i = 0; i < 20; i++)
                assert_near(rope->inverse_frequency[i], plain_frequency(12345, i, 40) / scalings[s].factor);
            close_rope();
        }
}

// YaRN (arXiv 2309.00071): waves that turn more than 32 times over the original context stay, those that turn less than once are
// interpolated, and between them the blend is linear in the index of the pair, as in the authors' code. Attention is scaled by
// sqrt(1/t) = 0.1 ln(s) + 1 on queries and keys.
static void check_yarn(double base, uint32_t n_rot, uint32_t n_ctx_orig, double factor, double attn_factor)
{
    const struct graph_rope *rope = build_rope_of();
    const uint32_t half = n_rot / 2;
    int low = -1, high = -1; // last pair that turns 32 times, first that turns no more than once
    for (uint32_t i = 0; i < n_rot; i++) {
        const double turns = n_ctx_orig * plain_frequency(base, i, n_rot) / (2 * acos(-1));
        low = turns >= 32 ? (int)i : low;
        high = turns <= 1 && high < 0 ? (int)i : high;
    }
    low = low < 0 ? 0 : low;
    high = high < 0 ? (int)n_rot - 1 : high;
    for (uint32_t i = 0; i < half; i++) {
        const double plain = plain_frequency(base, i, n_rot);
        const double ramp = (int)i <= low ? 0 : (int)i >= high ? 1 : ((double)i - low) / (high - low);
        assert_near(rope->inverse_frequency[i], plain * (1 - ramp) + plain / factor * ramp);
    }
    assert_near(rope->magnitude, attn_factor * (0.1 * log(factor) + 1));
    close_rope();
}

static void yarn_frequencies(void **state)
{
    (void)state;
    static const struct {
        double base;
        uint32_t n_rot, n_ctx_orig;
        double factor;
    } cases[] = {
        {10000, 128, 4096, 16}, {1000000, 128, 32768, 4}, {10000, 64, 2048, 2.5},
        {10000, 32, 100, 8},    {500000, 80, 8192, 32},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_init(&m, (struct tiny_options){.arch = "qwen2", .head_dim = 128, .n_rot = cases[i].n_rot, .n_ctx = 40000});
        tiny_set_f32(&m, "qwen2.rope.freq_base", (float)cases[i].base);
        tiny_set_string(&m, "qwen2.rope.scaling.type", "yarn");
        tiny_set_f32(&m, "qwen2.rope.scaling.factor", (float)cases[i].factor);
        tiny_set_u32(&m, "qwen2.rope.scaling.original_context_length", cases[i].n_ctx_orig);
        if (i % 2 == 1)
            tiny_set_f32(&m, "qwen2.rope.scaling.attn_factor", 1.25f);
        check_yarn(cases[i].base, cases[i].n_rot, cases[i].n_ctx_orig, cases[i].factor, i % 2 == 1 ? 1.25 : 1);
    }
    // Without an original context length, the model's own.
    tiny_init(&m, (struct tiny_options){.head_dim = 64, .n_ctx = 3000});
    tiny_set_string(&m, "llama.rope.scaling.type", "yarn");
    tiny_set_f32(&m, "llama.rope.scaling.factor", 3);
    check_yarn(10000, 64, 3000, 3, 1);
}

static void bad_scalings_are_told(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){0});
    tiny_set_string(&m, "llama.rope.scaling.type", "su");
    expect(CHORD_MODEL_HPARAMS, "'su'");
    tiny_set_u32(&m, "llama.rope.scaling.type", 1);
    expect(CHORD_GGUF_METADATA, "llama.rope.scaling.type");
    tiny_set_string(&m, "llama.rope.scaling.type", "linear");
    tiny_set_f32(&m, "llama.rope.scaling.factor", 0);
    expect(CHORD_MODEL_HPARAMS, "llama.rope.scaling.factor");
    tiny_set_string(&m, "llama.rope.scaling.type", "yarn");
    tiny_set_f32(&m, "llama.rope.scaling.factor", NAN);
    expect(CHORD_MODEL_HPARAMS, "llama.rope.scaling.factor");
    tiny_set_f32(&m, "llama.rope.scaling.factor", 2);
    tiny_set_u32(&m, "llama.rope.scaling.original_context_length", 0);
    expect(CHORD_MODEL_HPARAMS, "llama.rope.scaling.original_context_length");
    tiny_set_u32(&m, "llama.rope.scaling.original_context_length", 2048);
    tiny_set_f32(&m, "llama.rope.scaling.attn_factor", -1);
    expect(CHORD_MODEL_HPARAMS, "llama.rope.scaling.attn_factor");
    tiny_set_f32(&m, "llama.rope.scaling.attn_factor", 1);
    load_well();
    // Waves of one length all: where the blend begins and ends is nowhere.
    tiny_set_f32(&m, "llama.rope.freq_base", 1);
    expect(CHORD_MODEL_HPARAMS, "llama.rope.freq_base");
    tiny_free(&m);
}

// Long factors from the first context on that is longer than the original one, the short ones up to it.
static void factors_go_by_the_context(void **state)
{
    (void)state;
    for (int is_long = 0; is_long < 2; is_long++) {
        tiny_init(&m, (struct tiny_options){.head_dim = 32, .n_ctx = is_long ? 129 : 128});
        tiny_add(&m, "rope_factors_short.weight", QUANT_F32, 16, 1, 1.5, 0.4);
        tiny_add(&m, "rope_factors_long.weight", QUANT_F32, 16, 1, 20, 5);
        tiny_set_string(&m, "llama.rope.scaling.type", "longrope");
        tiny_set_u32(&m, "llama.rope.scaling.original_context_length", 128);
        tiny_set_f32(&m, "llama.rope.scaling.attn_factor", 1.19f);
        const struct graph_rope *rope = build_rope_of();
        const float *factors = tiny_values(&m, is_long ? "rope_factors_long.weight" : "rope_factors_short.weight");
        for (uint32_t i = 0; i < 16; i++)
            assert_near(rope->inverse_frequency[i], plain_frequency(10000, i, 32) / (double)factors[i]);
        assert_true(rope->magnitude == 1.19f);
        close_rope();
    }
}

static void factors_of_the_file_divide(void **state)
{
    (void)state;
    for (int linear = 0; linear < 2; linear++) {
        tiny_init(&m, (struct tiny_options){.head_dim = 32, .rope_freqs = true});
        if (linear) {
            tiny_set_string(&m, "llama.rope.scaling.type", "linear");
            tiny_set_f32(&m, "llama.rope.scaling.factor", 2);
        }
        const struct graph_rope *rope = build_rope_of();
        const float *factors = tiny_values(&m, "rope_freqs.weight");
        for (uint32_t i = 0; i < 16; i++)
            assert_near(rope->inverse_frequency[i], plain_frequency(10000, i, 32) / factors[i] / (linear ? 2 : 1));
        close_rope();
    }
    static const float bad[] = {0, -1, INFINITY, NAN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct chord_error err;
        tiny_init(&m, (struct tiny_options){.rope_freqs = true});
        struct tiny_tensor *tensor = tiny_tensor(&m, "rope_freqs.weight");
        tensor->values[tensor->ne[0] - 1] = bad[i];
        tiny_quantize(tensor);
        assert_int_equal(build_mapped(&built, &m, test_path("rope.gguf"), &account, &err), CHORD_MODEL_TENSOR);
        assert_non_null(strstr(err.message, "rope_freqs.weight"));
        tiny_free(&m);
    }
}

// ---- Graphs --------------------------------------------------------------------------------------------------------------

static void output_is_tied_where_the_file_has_none(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++)
        for (size_t a = 0; a < N_ARCHS; a++) {
            tiny_init(&m, (struct tiny_options){.arch = arch_names[a], .tied = tied != 0});
            assert_int_equal(build_shapes(&built, &m, &account, NULL), CHORD_OK);
            const struct graph_node *last = &built.graph->nodes[built.graph->embedding_begin - 1];
            assert_int_equal(last->op, GRAPH_LINEAR);
            assert_int_equal(last->n_out, 1);
            assert_int_equal(last->out[0], built.graph->logits);
            assert_ptr_equal(last->weight[0],
                             weights_find(built.weights, tied ? "token_embd.weight" : "output.weight"));
            assert_ptr_equal(built.graph->nodes[0].weight[0], weights_find(built.weights, "token_embd.weight"));
            built_free(&built);
            tiny_free(&m);
        }
}

// A bias alone of q, k, v or the output is used where it stands.
static void biases_are_optional_one_by_one(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias",
                                        "blk.1.attn_output.bias"};
    for (size_t i = 0; i < 4; i++) {
        uint32_t n_biases = 0;
        tiny_init(&m, (struct tiny_options){.arch = "qwen2"});
        tiny_add(&m, names[i], QUANT_F32, i == 1 || i == 2 ? 16 : 32, 1, 0, 1);
        assert_int_equal(build_mapped(&built, &m, test_path("bias.gguf"), &account, NULL), CHORD_OK);
        for (uint32_t n = 0; n < built.graph->n_nodes; n++) {
            const struct graph_node *node = &built.graph->nodes[n];
            for (uint32_t k = 0; node->op == GRAPH_LINEAR && k < node->n_out; k++)
                if (node->vector[k] != NULL) {
                    assert_int_equal(node->layer, 1);
                    assert_string_equal(node->weight[k]->tensor->name.n_bytes == strlen(names[i]) + 2 ? "" : "?", "");
                    assert_memory_equal(node->weight[k]->tensor->name.bytes, names[i], strlen(names[i]) - 4);
                    assert_memory_equal(node->vector[k], tiny_values(&m, names[i]),
                                        node->weight[k]->n_rows * sizeof(float));
                    n_biases++;
                }
        }
        assert_int_equal(n_biases, 1);
        built_free(&built);
        tiny_free(&m);
    }
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){.arch = "llama", .biases = true, .rope_freqs = true});
    for (int64_t n = 0;; n++) {
        struct chord_error err = {0};
        fail_allocation(n);
        const enum chord_status status = build_mapped(&built, &m, test_path("failing.gguf"), &account, &err);
        if (!allocation_failed(status)) {
            assert_true(n > 20);
            built_free(&built);
            break;
        }
    }
    tiny_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_value_is_read),
        TEST(absent_values_have_defaults),
        TEST(a_missing_value_is_named),
        TEST(an_absurd_count_is_named),
        TEST(a_value_of_another_type_is_named),
        TEST(a_bad_number_is_named),
        TEST(contradictions_are_told),
        TEST(architectures_are_looked_up),
        TEST(experts_are_read),
        TEST(bad_experts_are_told),
        TEST(shapes_of_experts_are_checked),
        TEST(a_file_without_weights_is_told),
        TEST(plain_and_linear_frequencies),
        TEST(yarn_frequencies),
        TEST(bad_scalings_are_told),
        TEST(factors_go_by_the_context),
        TEST(factors_of_the_file_divide),
        TEST(output_is_tied_where_the_file_has_none),
        TEST(biases_are_optional_one_by_one),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
