// The CPU backend: forward passes of tiny models against a reference in double precision, and results that do not depend on
// batches, threads or neighbours.

#include "backend/backend.h"
#include "backend/tuning.h"
#include "os/cpu.h"
#include "test_folder.h"
#include "tiny_graph.h"
#include "tiny_reference.h"
#include "account_helpers.h"
#include "quick.h"

static struct tiny_model m;

// A backend with all it stands on.
struct rig {
    struct built built;
    struct kernels kernels;
    struct kv_layout layout;
    struct pool *pool;
    struct backend *backend;
};

static void rig_open(struct rig *rig, const char *tier, uint32_t n_threads)
{
    struct chord_error err;
    uint32_t features;
    *rig = (struct rig){0};
    if (build_mapped(&rig->built, &m, test_path("backend.gguf"), &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    assert_true(kernels_features_of_tier(tier, cpu_features(), &features));
    kernels_init(&rig->kernels, features);
    const struct graph *graph = rig->built.graph;
    kv_layout_init(&rig->layout, KV_F16, graph->n_kv_layers, graph->n_head_kv, graph->head_dim);
    assert_int_equal(pool_create(&rig->pool, n_threads, &account, &err), CHORD_OK);
    assert_int_equal(backend_create(&rig->backend, graph, rig->built.weights, &rig->kernels, rig->pool, &rig->layout,
                                    &account, &err),
                     CHORD_OK);
}

static void rig_close(struct rig *rig)
{
    backend_free(rig->backend);
    pool_free(rig->pool);
    built_free(&rig->built);
}

static const char *best_tier(void)
{
    struct kernels kernels;
    kernels_init(&kernels, cpu_features());
    return kernels.tier;
}

#define MOST_TOKENS 200

static void random_tokens(uint32_t *tokens, uint32_t n, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)(tiny_random(&seed) % m.options.n_vocab);
}

// Runs rows[n_rows] and copies their logits, in groups of at most `group`, to out [n_rows, n_vocab].
static void run_rows(struct rig *rig, const struct batch_row *rows, uint32_t n_rows, uint32_t group, float *out)
{
    struct chord_error err;
    assert_int_equal(backend_reserve(rig->backend, n_rows, group < n_rows ? group : n_rows, &err), CHORD_OK);
    assert_int_equal(backend_run_trunk(rig->backend, rows, n_rows, NULL, NULL, &err), CHORD_OK);
    for (uint32_t first = 0; first < n_rows; first += group) {
        uint32_t wanted[MOST_TOKENS];
        float *logits;
        const uint32_t n = n_rows - first < group ? n_rows - first : group;
        for (uint32_t i = 0; i < n; i++)
            wanted[i] = first + i;
        assert_int_equal(backend_run_head(rig->backend, wanted, n, &logits, &err), CHORD_OK);
        memcpy(out + (size_t)first * m.options.n_vocab, logits, (size_t)n * m.options.n_vocab * sizeof *out);
    }
}

// Logits after each of tokens[n], of which the first n_prompt are a prompt, in batches of `batch` tokens of one kind: malloc'd
// [n, n_vocab].
static float *run_sequence(struct rig *rig, const uint32_t *tokens, uint32_t n, uint32_t n_prompt, uint32_t batch,
                           uint32_t group)
{
    struct kv_cache kv;
    struct batch_row rows[MOST_TOKENS];
    float *logits = malloc((size_t)n * m.options.n_vocab * sizeof *logits);
    assert_non_null(logits);
    kv_cache_init(&kv, &rig->layout, &account, NULL);
    for (uint32_t first = 0, count; first < n; first += count) {
        const uint32_t end = first < n_prompt ? n_prompt : n;
        count = end - first < batch ? end - first : batch;
        assert_int_equal(kv_cache_reserve(&kv, first + count, NULL), CHORD_OK);
        for (uint32_t i = 0; i < count; i++)
            rows[i] = (struct batch_row){
                .token = tokens[first + i], .position = first + i, .in_prompt = first < n_prompt, .kv = &kv};
        run_rows(rig, rows, count, group, logits + (size_t)first * m.options.n_vocab);
    }
    kv_cache_free(&kv);
    return logits;
}

// ---- Against the reference -----------------------------------------------------------------------------------------------

// How far logits are from the reference, relative to the reference's spread.
struct distance {
    double worst;
    double typical; // root of the mean square
};

static struct distance difference(const float *actual, const double *reference, uint64_t n)
{
    double least = INFINITY, most = -INFINITY, worst = 0, squares = 0;
    for (uint64_t i = 0; i < n; i++) {
        least = fmin(least, reference[i]);
        most = fmax(most, reference[i]);
        const double distance = fabs((double)actual[i] - reference[i]);
        worst = distance > worst || isnan(distance) ? distance : worst;
        squares += distance * distance;
    }
    return (struct distance){worst / (most - least), sqrt(squares / (double)n) / (most - least)};
}

// Runs the model with every tier of this machine, as generated tokens and as a prompt, and compares with the reference: no logit further
// than `bound` from its true values, and typically within `tight_bound` of one that rounds where chord rounds.
static void compare(double bound, double tight_bound)
{
    enum { most = 100 };
    const uint32_t n = quick() ? 36 : most; // more than two panels of columns
    uint32_t tokens[most], ignored;
    const uint64_t n_logits = (uint64_t)n * m.options.n_vocab;
    const bool neox = strcmp(m.options.arch, "llama") != 0;
    double *exact = malloc(n_logits * sizeof *exact);
    double *rounded[] = {malloc(n_logits * sizeof **rounded), malloc(n_logits * sizeof **rounded)}; // 8 bits, bfloat16
    random_tokens(tokens, n, 7);
    reference_run(&m, tokens, n, (struct reference_options){.neox = neox}, exact);
    for (int i = 0; i < 2; i++)
        reference_run(&m, tokens, n,
                      (struct reference_options){
                          .neox = neox, .round_kv = true, .products = i == 0 ? PRODUCTS_8_BITS : PRODUCTS_BF16},
                      rounded[i]);
    for (const char *const *tier = kernels_tier_names(); *tier != NULL; tier++)
        for (uint32_t n_prompt = 0; n_prompt <= n; n_prompt += n) {
            struct rig rig;
            if (!kernels_features_of_tier(*tier, cpu_features(), &ignored))
                continue;
            rig_open(&rig, *tier, 2);
            float *logits = run_sequence(&rig, tokens, n, n_prompt, n_prompt != 0 ? n : 1, 16);
            const bool bf16 = n_prompt != 0 && rig.kernels.gemm.rounds_to_bf16;
            const struct distance d = difference(logits, exact, n_logits);
            const struct distance r = difference(logits, rounded[bf16], n_logits);
            if (getenv("CHORD_TEST_NUMBERS") != NULL)
                print_message("%s type %u, %s, prompt of %u: %.2e (%.2e), rounded %.2e (%.2e)\n", m.options.arch,
                              m.options.type, *tier, n_prompt, d.worst, d.typical, r.worst, r.typical);
            if (!(d.worst <= bound) || !(r.typical <= tight_bound))
                fail_msg("%s, type %u, %s, prompt of %u: off by %.2e (at most %.2e), rounded by %.2e (at most %.2e)",
                         m.options.arch, m.options.type, *tier, n_prompt, d.worst, bound, r.typical, tight_bound);
            free(logits);
            rig_close(&rig);
        }
    free(exact);
    free(rounded[0]);
    free(rounded[1]);
}

static void compare_model(struct tiny_options options, double bound, double tight_bound)
{
    tiny_init(&m, options);
    compare(bound, tight_bound);
    tiny_free(&m);
}

// Halves in the cache move a key or value by 2^-12 (2.4e-4) of itself at most. Of the comparison with halves in the reference
// too the typical distance counts: what single precision leaves is some 1e-7, and a key or value in a thousand rounds to the
// other half.
#define F32_BOUND 5e-4
#define F32_TIGHT_BOUND 1e-5

static void llama(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.arch = "llama"}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.n_head = 4, .n_head_kv = 4, .tied = true, .seed = 2}, F32_BOUND,
                  F32_TIGHT_BOUND);
    compare_model(
        (struct tiny_options){.n_head = 8, .n_head_kv = 1, .n_embd = 64, .n_layer = 3, .biases = true, .seed = 3},
        F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.head_dim = 20, .n_rot = 12, .n_ff = 77, .rope_freqs = true, .seed = 4},
                  F32_BOUND, F32_TIGHT_BOUND);
    compare_model(
        (struct tiny_options){
            .n_head = 1, .n_head_kv = 1, .n_embd = 3, .head_dim = 2, .n_ff = 1, .n_layer = 1, .seed = 5},
        F32_BOUND, F32_TIGHT_BOUND);
}

static void qwen2(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.arch = "qwen2", .biases = true}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model(
        (struct tiny_options){
            .arch = "qwen2", .biases = true, .tied = true, .n_head = 6, .n_embd = 96, .n_rot = 8, .seed = 6},
        F32_BOUND, F32_TIGHT_BOUND);
}

static void qwen3(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.arch = "qwen3"}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model(
        (struct tiny_options){
            .arch = "qwen3", .head_dim = 32, .n_head = 5, .n_head_kv = 5, .n_embd = 40, .tied = true, .seed = 8},
        F32_BOUND, F32_TIGHT_BOUND);
}

// Seeds are such that no two experts at the border of a route are so close in their logits that rounding decides.
static void mixtral(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.n_expert = 8}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.n_expert = 5, .n_expert_used = 3, .n_ff = 33, .n_layer = 1, .seed = 3},
                  F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.n_expert = 1, .n_expert_used = 1, .seed = 2}, F32_BOUND, F32_TIGHT_BOUND);
}

static void qwen2moe(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.arch = "qwen2moe", .biases = true}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.arch = "qwen2moe",
                                        .biases = true,
                                        .n_expert = 12,
                                        .n_expert_used = 4,
                                        .n_ff_expert = 51,
                                        .n_ff_shared = 7,
                                        .n_layer = 1,
                                        .seed = 2},
                  F32_BOUND, F32_TIGHT_BOUND);
}

static void qwen3moe(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.arch = "qwen3moe"}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.arch = "qwen3moe",
                                        .n_expert = 40,
                                        .n_expert_used = 8,
                                        .n_ff_expert = 16,
                                        .head_dim = 32,
                                        .n_layer = 1,
                                        .seed = 4},
                  F32_BOUND, F32_TIGHT_BOUND);
}

static void types_of_floats(void **state)
{
    (void)state;
    compare_model((struct tiny_options){.type = QUANT_F16}, F32_BOUND, F32_TIGHT_BOUND);
    compare_model((struct tiny_options){.type = QUANT_BF16, .arch = "qwen2"}, F32_BOUND, F32_TIGHT_BOUND);
}

// Activations of 8 bits are off by 1/254 (4e-3) of the largest of their block at most, evenly spread, in each of a layer's four
// inputs and the output's. Rounded alike in the reference, what is left is an integer in a thousand that rounds to its
// neighbour, so that typically the distance is a fraction of the 1.2e-3 that it is without.
#define Q8_BOUND 2e-2
#define Q8_TIGHT_BOUND 7e-4

static void quantized_types(void **state)
{
    (void)state;
    static const uint32_t types[] = {QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1, QUANT_Q2_K,
                                     QUANT_Q3_K, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K, QUANT_I2_S};
    // In a hurry few: the kernels' own tests see every type.
    for (size_t i = 0; i < (quick() ? 2 : sizeof types / sizeof *types); i++)
        compare_model((struct tiny_options){.type = types[i],
                                            .arch = i % 2 == 0 ? "llama" : "qwen3",
                                            .n_embd = 256,
                                            .n_head = 4,
                                            .n_ff = 256,
                                            .n_layer = 1},
                      Q8_BOUND, Q8_TIGHT_BOUND);
}

// All experts are chosen, so that rounding changes weights and no route.
static void quantized_experts(void **state)
{
    (void)state;
    static const uint32_t types[] = {QUANT_Q6_K, QUANT_Q8_0, QUANT_Q4_K, QUANT_Q5_0, QUANT_F16, QUANT_I2_S};
    const uint32_t n_expert = quick() ? 2 : 4;
    for (size_t i = 0; i < (quick() ? 2 : sizeof types / sizeof *types); i++)
        compare_model((struct tiny_options){.type = types[i],
                                            .arch = i % 2 == 0 ? "qwen3moe" : "qwen2moe",
                                            .n_embd = 256,
                                            .n_head = 4,
                                            .n_ff_expert = 256,
                                            .n_ff_shared = i % 2 == 0 ? 0 : 256,
                                            .n_expert = n_expert,
                                            .n_expert_used = n_expert,
                                            .n_layer = 1},
                      Q8_BOUND, Q8_TIGHT_BOUND);
}

// Every matrix divided by a power of two, which its X.scale makes up for: one for all of it, or one for each expert. Not a bit of
// the results changes.
static void scale_tensors(void **state)
{
    (void)state;
    enum { n = 40, n_prompt = 33, n_expert = 4 };
    uint32_t tokens[n];
    struct rig rig;
    tiny_init(&m, (struct tiny_options){.n_expert = n_expert});
    random_tokens(tokens, n, 7);
    rig_open(&rig, best_tier(), 2);
    float *expected = run_sequence(&rig, tokens, n, n_prompt, n, n);
    rig_close(&rig);
    const uint32_t n_tensors = m.n_tensors;
    for (uint32_t i = 0; i < n_tensors; i++) {
        struct tiny_tensor *t = &m.tensors[i];
        char name[64];
        float scales[n_expert];
        const size_t stem = strlen(t->name) - strlen("weight");
        if (t->ne[1] == 1)
            continue;
        for (uint32_t k = 0; k < t->ne[2]; k++)
            scales[k] = ldexpf(1, (int)((i + k) % 7) - 3);
        for (uint64_t e = 0; e < t->ne[0] * t->ne[1] * t->ne[2]; e++)
            t->values[e] /= scales[e / (t->ne[0] * t->ne[1])];
        memcpy(t->bytes, t->values, t->n_bytes);
        assert_true(stem + sizeof "input_scale" < sizeof name);
        memcpy(name, t->name, stem);
        strcpy(name + stem, "scale");
        struct tiny_tensor *scale = tiny_add(&m, name, QUANT_F32, t->ne[2], 1, 0, 0);
        memcpy(scale->bytes, scales, scale->n_bytes);
        if (i % 2 == 0) { // which says nothing here
            strcpy(name + stem, "input_scale");
            tiny_add(&m, name, QUANT_F32, 1, 1, 0, 1);
        }
    }
    rig_open(&rig, best_tier(), 2);
    float *got = run_sequence(&rig, tokens, n, n_prompt, n, n);
    assert_memory_equal(got, expected, (size_t)n * m.options.n_vocab * sizeof *got);
    rig_close(&rig);
    free(got);
    free(expected);
    tiny_free(&m);
}

// Matrices of several types in one node, as mixtures such as Q4_K_M have them.
static void mixed_types(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t type;
    } changes[] = {{"blk.0.attn_v.weight", QUANT_Q6_K}, {"blk.0.attn_k.weight", QUANT_F16},
                   {"blk.0.ffn_up.weight", QUANT_Q8_0}, {"blk.0.ffn_down.weight", QUANT_F32},
                   {"output.weight", QUANT_Q6_K},       {"token_embd.weight", QUANT_Q5_0}};
    tiny_init(&m, (struct tiny_options){.type = QUANT_Q4_K, .n_embd = 256, .n_head = 4, .n_ff = 256, .n_layer = 1});
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct tiny_tensor *t = tiny_tensor(&m, changes[i].name);
        t->type = changes[i].type;
        tiny_quantize(t);
    }
    compare(Q8_BOUND, Q8_TIGHT_BOUND);
    tiny_free(&m);
}

// ---- Independence --------------------------------------------------------------------------------------------------------

static void make_wide(uint32_t type)
{
    tiny_init(&m,
              (struct tiny_options){.type = type, .n_embd = 256, .n_head = 4, .n_ff = 512, .n_layer = quick() ? 1 : 2});
}

// Dense models of three types, and one with experts.
#define N_TO_COMPARE 4

static void make_one_to_compare(size_t index)
{
    static const uint32_t types[] = {QUANT_F32, QUANT_Q8_0, QUANT_Q4_K};
    if (index < 3)
        make_wide(types[index]);
    else
        tiny_init(&m, (struct tiny_options){.arch = "qwen2moe",
                                            .type = QUANT_Q4_K,
                                            .n_embd = 256,
                                            .n_head = 4,
                                            .n_expert = 12,
                                            .n_expert_used = 3,
                                            .n_ff_expert = 256,
                                            .n_ff_shared = 256,
                                            .n_layer = quick() ? 1 : 2});
}

// Made once: quantizing takes longer than what the tests do with the model. m is a copy that is not freed by its user.
static void make_to_compare(size_t index)
{
    static struct tiny_model made[N_TO_COMPARE];
    if (made[index].n_tensors == 0) {
        make_one_to_compare(index);
        made[index] = m;
    }
    m = made[index];
}

// The same logits to the last bit, whatever the threads.
static void threads_change_nothing(void **state)
{
    (void)state;
    enum { n = 70 };
    uint32_t tokens[n];
    for (size_t i = 0; i < N_TO_COMPARE; i++) {
        float *first = NULL;
        make_to_compare(i);
        random_tokens(tokens, n, 1);
        for (uint32_t n_threads = 1; n_threads <= 5; n_threads += 1 + (n_threads == 3)) {
            struct rig rig;
            rig_open(&rig, best_tier(), n_threads);
            float *logits = run_sequence(&rig, tokens, n, n / 2, n, 16);
            if (first == NULL)
                first = logits;
            else {
                assert_memory_equal(logits, first, (size_t)n * m.options.n_vocab * sizeof *logits);
                free(logits);
            }
            rig_close(&rig);
        }
        free(first);
    }
}

// Contexts of several spans: generated tokens one by one or many at once (more spans than there are slots for partial
// results), prompts in small and large batches, any number of threads, both types of cache.
static void long_contexts_change_nothing(void **state)
{
    (void)state;
    enum { n = 1045, n_prompt = 1030 };
    static const uint32_t runs[][2] = {{1, 200}, {2, 1}, {4, 37}, {1, 15}}; // threads, rows of a batch
    static uint32_t tokens[n];
    tiny_init(&m, (struct tiny_options){
                      .type = QUANT_F32, .n_embd = 64, .n_head = 4, .n_ff = 64, .n_layer = 1, .n_vocab = 64});
    random_tokens(tokens, n, 3);
    for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++) {
        float *first = NULL;
        for (size_t i = 0; i < (quick() ? 2 : sizeof runs / sizeof *runs); i++) {
            struct rig rig;
            rig_open(&rig, best_tier(), runs[i][0]);
            kv_layout_init(&rig.layout, type, rig.layout.n_layer, rig.layout.n_head_kv, rig.layout.head_dim);
            float *logits = run_sequence(&rig, tokens, n, n_prompt, runs[i][1], 16);
            if (first == NULL) {
                first = logits;
            } else {
                for (size_t k = 0; k < (size_t)n * m.options.n_vocab; k++)
                    if (logits[k] != first[k])
                        fail_msg("%u threads, batches of %u: logit %zu is %a, not %a", runs[i][0], runs[i][1], k,
                                 (double)logits[k], (double)first[k]);
                free(logits);
            }
            rig_close(&rig);
        }
        free(first);
    }
    tiny_free(&m);
}

static void batches_change_nothing(void **state)
{
    (void)state;
    enum { n = 70 };
    static const uint32_t batches[][2] = {{n, 16}, {n, 1}, {n, n}, {1, 1}, {3, 2}, {64, 5}, {65, 16}};
    uint32_t tokens[n];
    for (size_t i = 0; i < 2 * N_TO_COMPARE; i++) {
        struct rig rig;
        const uint32_t n_prompt = i % 2 == 0 ? 0 : n;
        make_to_compare(i / 2);
        random_tokens(tokens, n, 2);
        rig_open(&rig, best_tier(), 2);
        float *first = run_sequence(&rig, tokens, n, n_prompt, n, 16);
        for (size_t b = 1; b < sizeof batches / sizeof *batches; b++) {
            float *logits = run_sequence(&rig, tokens, n, n_prompt, batches[b][0], batches[b][1]);
            assert_memory_equal(logits, first, (size_t)n * m.options.n_vocab * sizeof *logits);
            free(logits);
        }
        free(first);
        rig_close(&rig);
    }
}

// Several sequences in one batch, some in their prompt and some generating: each as if it were alone.
static void neighbours_change_nothing(void **state)
{
    (void)state;
    enum { n_sequences = 5, n = 30, n_prompt = 14 };
    uint32_t tokens[n_sequences][n];
    for (size_t i = 0; i < N_TO_COMPARE; i++) {
        struct rig rig;
        struct kv_cache kv[n_sequences];
        uint32_t done[n_sequences] = {0};
        float *alone[n_sequences];
        make_to_compare(i);
        rig_open(&rig, best_tier(), 2);
        for (uint32_t s = 0; s < n_sequences; s++) {
            random_tokens(tokens[s], n, 100 + s);
            alone[s] = run_sequence(&rig, tokens[s], n, n_prompt, n, 16);
            kv_cache_init(&kv[s], &rig.layout, &account, NULL);
            assert_int_equal(kv_cache_reserve(&kv[s], n, NULL), CHORD_OK);
        }
        for (uint32_t step = 0;; step++) { // a step begins with another sequence each time
            struct batch_row rows[MOST_TOKENS];
            uint32_t owner[MOST_TOKENS], n_rows = 0;
            for (uint32_t k = 0; k < 2 * n_sequences; k++) { // generated tokens stand before prompts
                const uint32_t s = (k + step) % n_sequences, count = 1 + (s * 3 + step) % 4;
                const bool in_prompt = k >= n_sequences;
                const uint32_t end = in_prompt ? n_prompt : n;
                if (!in_prompt && done[s] < n_prompt)
                    continue;
                for (uint32_t c = 0; c < count && done[s] < end; c++, n_rows++) {
                    owner[n_rows] = s;
                    rows[n_rows] = (struct batch_row){
                        .token = tokens[s][done[s]], .position = done[s], .in_prompt = in_prompt, .kv = &kv[s]};
                    done[s]++;
                }
            }
            if (n_rows == 0)
                break;
            float *logits = malloc((size_t)n_rows * m.options.n_vocab * sizeof *logits);
            run_rows(&rig, rows, n_rows, 7, logits);
            for (uint32_t r = 0; r < n_rows; r++)
                assert_memory_equal(logits + (size_t)r * m.options.n_vocab,
                                    alone[owner[r]] + (size_t)rows[r].position * m.options.n_vocab,
                                    m.options.n_vocab * sizeof *logits);
            free(logits);
        }
        for (uint32_t s = 0; s < n_sequences; s++) {
            kv_cache_free(&kv[s]);
            free(alone[s]);
        }
        rig_close(&rig);
    }
}

// ---- Tuning --------------------------------------------------------------------------------------------------------------

// Time per byte as a machine might have it, by choice; now and then a step is disturbed.
static double simulated(struct tuning_choice choice, uint32_t best_far, double gain, uint32_t enough_threads,
                        uint32_t step)
{
    const uint32_t n = choice.n_threads < enough_threads ? choice.n_threads : enough_threads;
    const double time = (choice.prefetch.far == best_far ? 1 - gain : 1) / n;
    return step * 7 % 13 < 3 ? time * (step % 3 == 0 ? 9 : 1.3) : time;
}

static struct tuning_choice tuned(uint32_t n_threads, uint32_t best_far, double gain, uint32_t enough_threads)
{
    struct tuning tuning;
    uint32_t step = 0;
    tuning_init(&tuning, n_threads);
    for (; tuning.stage != TUNING_SETTLED && step < 1000; step++)
        tuning_step_done(&tuning,
                         (uint64_t)(1e9 * simulated(tuning_current(&tuning), best_far, gain, enough_threads, step)),
                         1000000);
    assert_true(step <= 2 * TUNING_MAX_CHOICES * (TUNING_SAMPLES + 1));
    const struct tuning_choice best = tuning_current(&tuning);
    tuning_step_done(&tuning, 1, 1000000); // changes nothing any more
    assert_memory_equal(&best, &tuning.best, sizeof best);
    return best;
}

static void tuning_finds_the_best(void **state)
{
    (void)state;
    const uint32_t usual = PREFETCH_DEFAULT.far;
    for (uint32_t far = 1024; far <= 8192; far *= 2) {
        assert_int_equal(tuned(2, far, 0.05, 2).prefetch.far, far);
        assert_int_equal(tuned(2, far, 0.005, 2).prefetch.far, usual); // too little to be sure
        assert_int_equal(tuned(2, far, -0.3, 2).prefetch.far, usual);
    }
    assert_int_equal(tuned(1, usual, 0, 1).n_threads, 1);
    assert_int_equal(tuned(2, usual, 0, 1).n_threads, 2); // two are left alone
    assert_int_equal(tuned(3, usual, 0, 3).n_threads, 3);
    assert_int_equal(tuned(3, usual, 0, 2).n_threads, 2);
    assert_int_equal(tuned(16, 4096, 0.1, 16).n_threads, 16);
    assert_int_equal(tuned(16, 4096, 0.1, 15).n_threads, 15);
    assert_int_equal(tuned(16, 4096, 0.1, 10).n_threads, 12);
    assert_int_equal(tuned(16, 4096, 0.1, 4).n_threads, 8);
    assert_int_equal(tuned(16, 4096, 0.1, 4).prefetch.far, 4096);
}

// ---- Aborting, memory ----------------------------------------------------------------------------------------------------

static bool count_down(void *user)
{
    uint32_t *left = user;
    return (*left)-- == 0;
}

// Given up at any node and run again, a batch gives the same.
static void an_aborted_batch_can_be_repeated(void **state)
{
    (void)state;
    enum { n = 20 };
    uint32_t tokens[n];
    struct rig rig;
    struct kv_cache kv;
    struct batch_row rows[n];
    tiny_init(&m, (struct tiny_options){0});
    random_tokens(tokens, n, 3);
    rig_open(&rig, best_tier(), 2);
    float *expected = run_sequence(&rig, tokens, n, 0, n, n);
    float *logits = malloc((size_t)n * m.options.n_vocab * sizeof *logits);
    for (uint32_t stop_at = 0;; stop_at++) {
        struct chord_error err;
        uint32_t left = stop_at;
        kv_cache_init(&kv, &rig.layout, &account, NULL);
        assert_int_equal(kv_cache_reserve(&kv, n, NULL), CHORD_OK);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = (struct batch_row){.token = tokens[i], .position = i, .kv = &kv};
        const enum chord_status status = backend_run_trunk(rig.backend, rows, n, count_down, &left, &err);
        if (status == CHORD_OK) {
            assert_true(stop_at >= m.options.n_layer); // it was asked before every layer
            kv_cache_free(&kv);
            break;
        }
        assert_int_equal(status, CHORD_CANCELLED);
        run_rows(&rig, rows, n, n, logits);
        assert_memory_equal(logits, expected, (size_t)n * m.options.n_vocab * sizeof *logits);
        kv_cache_free(&kv);
    }
    free(logits);
    free(expected);
    rig_close(&rig);
    tiny_free(&m);
}

static uint64_t held_scratch(void)
{
    return atomic_load(&account.held[MEMORY_SCRATCH]);
}

// What backend_scratch_bytes says is what is taken, but for the few bytes around each block.
static void scratch_is_what_was_planned(void **state)
{
    (void)state;
    for (size_t model = 0; model < N_TO_COMPARE; model++) {
        struct rig rig;
        make_to_compare(model);
        rig_open(&rig, best_tier(), 1);
        const uint32_t rows[] = {1, 7, 3, 512, 100};
        uint32_t most = 0;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            most = rows[i] > most ? rows[i] : most;
            const uint64_t n_allocations = atomic_load(&account.n_allocations);
            assert_int_equal(backend_reserve(rig.backend, rows[i], most < 16 ? most : 16, NULL), CHORD_OK);
            const uint64_t planned =
                backend_scratch_bytes(rig.built.graph, &rig.kernels, 1, most, most < 16 ? most : 16);
            const uint64_t taken = held_scratch();
            if (taken < planned || taken > planned + 2048)
                fail_msg("%u rows: %u bytes planned, %u taken", rows[i], (unsigned)planned, (unsigned)taken);
            assert_true(rows[i] == most || atomic_load(&account.n_allocations) == n_allocations);
        }
        rig_close(&rig);
    }
}

static void a_failed_reserve_leaves_what_was(void **state)
{
    (void)state;
    enum { n = 10 };
    uint32_t tokens[n];
    struct rig rig;
    make_wide(QUANT_Q4_K);
    random_tokens(tokens, n, 4);
    rig_open(&rig, best_tier(), 1);
    float *expected = run_sequence(&rig, tokens, n, 0, n, n);
    for (int64_t at = 0;; at++) {
        struct chord_error err;
        atomic_store(&account.fail_after, at);
        const enum chord_status status = backend_reserve(rig.backend, 100, 100, &err);
        atomic_store(&account.fail_after, -1);
        float *logits = run_sequence(&rig, tokens, n, 0, n, n); // which reserves no more than before
        assert_memory_equal(logits, expected, (size_t)n * m.options.n_vocab * sizeof *logits);
        free(logits);
        if (status == CHORD_OK) {
            assert_true(at >= 1);
            break;
        }
        assert_int_equal(status, CHORD_OUT_OF_MEMORY);
    }
    free(expected);
    rig_close(&rig);
    backend_free(NULL);
    tiny_free(&m);
}

// Each matrix once per step, however many rows; the embedding's rows and the output matrix for the head alone.
static void weight_bytes_are_counted(void **state)
{
    (void)state;
    enum { n = 9 };
    uint32_t tokens[n];
    struct rig rig;
    make_wide(QUANT_Q8_0);
    random_tokens(tokens, n, 5);
    rig_open(&rig, best_tier(), 2);
    free(run_sequence(&rig, tokens, n, n, n, n));
    assert_int_equal(backend_weight_bytes(rig.backend), rig.built.graph->weight_bytes);
    free(run_sequence(&rig, tokens, n, 0, 1, 1));
    assert_int_equal(backend_weight_bytes(rig.backend), (n + 1) * rig.built.graph->weight_bytes);
    rig_close(&rig);
    tiny_free(&m);
}

struct chosen {
    bool any[2][12]; // [layer][expert]
    uint32_t n_routes;
};

static void note_route(void *user, uint32_t layer, const uint32_t *experts, uint32_t n_used)
{
    struct chosen *chosen = user;
    assert_true(layer < 2 && n_used == 3);
    assert_true(experts[0] != experts[1] && experts[1] != experts[2] && experts[0] != experts[2]);
    for (uint32_t k = 0; k < n_used; k++) {
        assert_true(experts[k] < 12);
        chosen->any[layer][experts[k]] = true;
    }
    chosen->n_routes++;
}

// Of experts, those that some row of the batch chose, once each.
static void bytes_of_experts_are_counted(void **state)
{
    (void)state;
    enum { n = 40 };
    uint32_t tokens[n], n_chosen = 0;
    struct rig rig;
    struct chosen chosen = {0};
    uint64_t all = 0;
    make_to_compare(3);
    random_tokens(tokens, n, 5);
    rig_open(&rig, best_tier(), 2);
    for (uint32_t i = 0; i < m.n_tensors; i++)
        if (m.tensors[i].n_dimensions == 3)
            all += m.tensors[i].n_bytes;
    const uint64_t of_one = all / 12 / m.options.n_layer, step = rig.built.graph->weight_bytes;
    free(run_sequence(&rig, tokens, n, 0, 1, 1));
    assert_int_equal(backend_weight_bytes(rig.backend), n * step);
    backend_trace_routes(rig.backend, note_route, &chosen);
    free(run_sequence(&rig, tokens, n, n, n, n));
    backend_trace_routes(rig.backend, NULL, NULL);
    free(run_sequence(&rig, tokens, 1, 0, 1, 1));
    assert_int_equal(chosen.n_routes, n * m.options.n_layer);
    for (uint32_t layer = 0; layer < 2; layer++)
        for (uint32_t e = 0; e < 12; e++)
            n_chosen += chosen.any[layer][e];
    assert_in_range(n_chosen, 4, 12 * m.options.n_layer);
    assert_int_equal(backend_weight_bytes(rig.backend), (n + 2) * step + (n_chosen - 3 * m.options.n_layer) * of_one);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(llama),
        TEST(qwen2),
        TEST(qwen3),
        TEST(mixtral),
        TEST(qwen2moe),
        TEST(qwen3moe),
        TEST(types_of_floats),
        TEST(quantized_types),
        TEST(quantized_experts),
        TEST(scale_tensors),
        TEST(mixed_types),
        TEST(threads_change_nothing),
        TEST(long_contexts_change_nothing),
        TEST(batches_change_nothing),
        TEST(neighbours_change_nothing),
        TEST(tuning_finds_the_best),
        TEST(an_aborted_batch_can_be_repeated),
        TEST(scratch_is_what_was_planned),
        TEST(a_failed_reserve_leaves_what_was),
        TEST(weight_bytes_are_counted),
        TEST(bytes_of_experts_are_counted),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
