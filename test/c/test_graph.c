// Graphs: the scratch plan, the demands on tensors, errors of building.

#include "tiny_graph.h"
#include "account_helpers.h"

static const struct tiny_options models[] = {
    {.arch = "llama"},
    {.arch = "llama", .n_layer = 1, .n_embd = 8, .n_head = 1, .n_head_kv = 1, .n_ff = 3, .tied = true},
    {.arch = "llama",
     .n_layer = 5,
     .n_embd = 64,
     .n_head = 8,
     .n_head_kv = 2,
     .n_ff = 200,
     .biases = true,
     .rope_freqs = true},
    {.arch = "qwen2", .n_layer = 3, .n_embd = 48, .n_head = 6, .n_head_kv = 3, .n_ff = 20, .biases = true},
    {.arch = "qwen3", .n_layer = 3, .n_embd = 32, .n_head = 4, .n_head_kv = 2, .head_dim = 24, .n_ff = 31},
    {.arch = "qwen3",
     .n_layer = 4,
     .n_embd = 64,
     .n_head = 2,
     .n_head_kv = 1,
     .head_dim = 16,
     .n_ff = 128,
     .tied = true},
};
#define N_MODELS (sizeof models / sizeof *models)

static struct tiny_model m;

static void build(struct built *built, struct tiny_options options)
{
    struct chord_error err;
    tiny_init(&m, options);
    if (build_shapes(built, &m, &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
}

static void finish(struct built *built)
{
    built_free(built);
    tiny_free(&m);
}

// ---- Scratch -------------------------------------------------------------------------------------------------------------

struct life {
    uint32_t first, last; // nodes, both included
    bool defined;
};

// Lifetimes from the nodes alone. What the trunk leaves for the head and the embedding lives until all is over, logits until the head is.
static void find_lives(const struct graph *g, struct life *lives)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        for (uint32_t k = 0; k < node->n_in; k++) {
            assert_true(lives[node->in[k]].defined);
            const bool crosses = i >= g->head_begin && lives[node->in[k]].first < g->head_begin;
            lives[node->in[k]].last = crosses ? g->n_nodes : i;
        }
        for (uint32_t k = 0; k < node->n_out; k++) {
            assert_false(lives[node->out[k]].defined);
            lives[node->out[k]] = (struct life){.first = i, .last = i, .defined = true};
        }
    }
    lives[g->logits].last = g->embedding_begin - 1;
    if (g->embedding_begin < g->n_nodes)
        lives[g->embedding].last = g->n_nodes;
}

static void check_scratch(const struct graph *g)
{
    struct life *lives = calloc(g->n_values, sizeof *lives);
    uint64_t ends[2] = {0, 0};
    find_lives(g, lives);
    for (uint32_t a = 0; a < g->n_values; a++) {
        const struct graph_value_info *x = &g->values[a];
        assert_true(lives[a].defined && x->width > 0);
        assert_int_equal(x->rows, lives[a].first < g->head_begin ? GRAPH_TOKEN_ROWS : GRAPH_OUTPUT_ROWS);
        ends[x->rows] = x->offset + x->width > ends[x->rows] ? x->offset + x->width : ends[x->rows];
        for (uint32_t b = 0; b < a; b++) {
            const struct graph_value_info *y = &g->values[b];
            const bool meet = lives[a].first <= lives[b].last && lives[b].first <= lives[a].last;
            if (x->rows == y->rows && meet && x->offset < y->offset + y->width && y->offset < x->offset + x->width)
                fail_msg("values %u and %u lie in one place at one time", b, a);
        }
    }
    assert_int_equal(g->token_floats, ends[GRAPH_TOKEN_ROWS]);
    assert_int_equal(g->output_floats, ends[GRAPH_OUTPUT_ROWS]);
    free(lives);
}

static void values_alive_together_lie_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        struct built built;
        build(&built, models[i]);
        check_scratch(built.graph);
        finish(&built);
    }
}

static void scratch_does_not_grow_with_layers(void **state)
{
    (void)state;
    uint64_t floats = 0;
    for (uint32_t n_layer = 2; n_layer <= 6; n_layer += 2) {
        struct built built;
        build(&built, (struct tiny_options){.n_layer = n_layer});
        assert_true(n_layer == 2 || built.graph->token_floats == floats);
        floats = built.graph->token_floats;
        // No more than the residual stream, a norm of it, and the two wide values of the feed-forward with their product.
        assert_true(floats <= 2 * 32 + 3 * 48);
        finish(&built);
    }
}

// ---- Contents ------------------------------------------------------------------------------------------------------------

static void every_weight_is_counted_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        struct built built;
        uint64_t bytes = 0;
        build(&built, models[i]);
        for (uint32_t t = 0; t < m.n_tensors; t++) {
            const bool embedding = strcmp(m.tensors[t].name, "token_embd.weight") == 0;
            if (m.tensors[t].n_dimensions == 2 && (!embedding || models[i].tied))
                bytes += m.tensors[t].n_bytes;
        }
        assert_int_equal(built.graph->weight_bytes, bytes);
        assert_int_equal(built.graph->n_layer, m.options.n_layer);
        assert_int_equal(built.graph->n_head_kv, m.options.n_head_kv);
        assert_int_equal(built.graph->head_dim, m.options.head_dim);
        assert_int_equal(built.graph->values[built.graph->logits].width, m.options.n_vocab);
        finish(&built);
    }
}

// Layers follow each other, and their keys and values are stored before they are attended to.
static void nodes_stand_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        struct built built;
        build(&built, models[i]);
        const struct graph *g = built.graph;
        uint32_t layer = 0, n_stored = 0, n_attended = 0;
        assert_int_equal(g->nodes[0].op, GRAPH_EMBED);
        assert_int_equal(g->nodes[g->head_begin].op, GRAPH_GATHER);
        for (uint32_t n = 1; n < g->head_begin; n++) {
            assert_true(g->nodes[n].layer == layer || g->nodes[n].layer == layer + 1);
            layer = g->nodes[n].layer;
            n_stored += g->nodes[n].op == GRAPH_KV_STORE;
            n_attended += g->nodes[n].op == GRAPH_ATTENTION;
            if (g->nodes[n].op == GRAPH_ATTENTION) {
                assert_int_equal(n_stored, layer + 1);
                assert_int_equal(n_attended, layer + 1);
            }
        }
        assert_int_equal(layer + 1, m.options.n_layer);
        assert_int_equal(n_attended, m.options.n_layer);
        for (uint32_t n = g->head_begin; n < g->n_nodes; n++)
            assert_int_equal(g->nodes[n].layer, GRAPH_NO_LAYER);
        finish(&built);
    }
}

// ---- Errors --------------------------------------------------------------------------------------------------------------

static void expect_tensor_error(const char *name)
{
    struct built built;
    struct chord_error err = {0};
    assert_int_equal(build_shapes(&built, &m, &account, &err), CHORD_MODEL_TENSOR);
    assert_int_equal(err.code, CHORD_MODEL_TENSOR);
    if (strstr(err.message, name) == NULL)
        fail_msg("'%s' does not name %s", err.message, name);
    assert_int_equal(atomic_load(&account.total), 0);
}

static bool is_optional(const char *name)
{
    return strstr(name, ".bias") != NULL || strcmp(name, "output.weight") == 0 ||
           strcmp(name, "rope_freqs.weight") == 0;
}

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        uint32_t n_tensors = UINT32_MAX;
        for (uint32_t t = 0; t < n_tensors; t++) {
            char name[64];
            struct built built;
            tiny_init(&m, models[i]);
            n_tensors = m.n_tensors;
            snprintf(name, sizeof name, "%s", m.tensors[t].name);
            tiny_drop_tensor(&m, name);
            if (is_optional(name)) {
                assert_int_equal(build_shapes(&built, &m, &account, NULL), CHORD_OK);
                built_free(&built);
            } else {
                expect_tensor_error(name);
            }
            tiny_free(&m);
        }
    }
}

static void a_wrong_shape_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        uint32_t n_tensors = UINT32_MAX;
        for (uint32_t t = 0; t < n_tensors; t++)
            for (int change = 0; change < 4; change++) {
                tiny_init(&m, models[i]);
                n_tensors = m.n_tensors;
                struct tiny_tensor *tensor = &m.tensors[t];
                const uint64_t n = tensor->ne[0], n_rows = tensor->ne[1];
                if (change == 0)
                    tiny_reshape(tensor, n + 1, n_rows);
                else if (change == 1 && n > 1)
                    tiny_reshape(tensor, n - 1, n_rows);
                else if (change == 2)
                    tiny_reshape(tensor, n, n_rows + 1);
                else if (n != n_rows)
                    tiny_reshape(tensor, n_rows, n);
                const bool changed = tensor->ne[0] != n || tensor->ne[1] != n_rows;
                // More rows of the embedding are a larger vocabulary, which the output matrix then lacks.
                const bool embedding = strcmp(tensor->name, "token_embd.weight") == 0;
                if (changed && !(embedding && change == 2))
                    expect_tensor_error(embedding && change == 3 ? "token_embd.weight" : tensor->name);
                else if (changed && !models[i].tied)
                    expect_tensor_error("output.weight");
                tiny_free(&m);
            }
    }
}

static void a_surplus_tensor_is_named(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.attn_qkv.weight", "blk.99.attn_q.weight", "blk.0.attn_norm.weight2",
                                        "output_norm.bias", "a\x01"};
    for (size_t i = 0; i < N_MODELS; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            tiny_init(&m, models[i]);
            tiny_add(&m, names[k], QUANT_F32, 32, 1, 0, 1);
            expect_tensor_error(strcmp(names[k], "a\x01") == 0 ? "'a?'" : names[k]);
            tiny_free(&m);
        }
    // What one architecture uses another may not.
    tiny_init(&m, (struct tiny_options){.arch = "llama"});
    tiny_add(&m, "blk.0.attn_q_norm.weight", QUANT_F32, 8, 1, 0, 1);
    expect_tensor_error("blk.0.attn_q_norm.weight");
    tiny_free(&m);
    tiny_init(&m, (struct tiny_options){.arch = "qwen3"});
    tiny_add(&m, "blk.1.attn_q.bias", QUANT_F32, 32, 1, 0, 1);
    expect_tensor_error("blk.1.attn_q.bias");
    tiny_free(&m);
}

static void begin_builder(struct graph_builder *b, struct built *built, struct chord_error *err)
{
    struct maker made = {0};
    *built = (struct built){0};
    tiny_encode(&m, &made);
    const struct gguf_source source = maker_source(&made, "tiny.gguf");
    assert_int_equal(gguf_open_source(&built->gguf, &source, false, &account, err), CHORD_OK);
    free(made.bytes);
    assert_int_equal(weights_open(&built->weights, built->gguf, WEIGHTS_DIRECTORY, &account, err), CHORD_OK);
    assert_int_equal(graph_begin(b, built->weights, built->gguf, &account, err), CHORD_OK);
}

// After an error a builder takes every call and does nothing, and the error is the first.
static void the_first_error_stays(void **state)
{
    (void)state;
    struct built built;
    struct chord_error err;
    struct graph_builder b;
    tiny_init(&m, (struct tiny_options){0});
    begin_builder(&b, &built, &err);
    graph_build_fail(&b, CHORD_UNSUPPORTED_ARCHITECTURE, "the first %d", 1);
    graph_build_fail(&b, CHORD_MODEL_TENSOR, "the second");
    assert_null(graph_matrix(&b, "no.such.tensor", 1, 1));
    assert_null(graph_matrix(&b, "token_embd.weight", 32, 300));
    assert_null(graph_vector(&b, "output_norm.weight", 32));
    assert_null(graph_optional_vector(&b, "output_norm.weight", 32));
    const struct graph_linear linears[3] = {{0}};
    graph_value values[3];
    graph_value x = graph_embed(&b, NULL);
    graph_linear(&b, x, linears, 3, values);
    x = graph_linear1(&b, x, linears[0]);
    x = graph_rms_norm(&b, x, NULL, 32, 0.1f);
    graph_rope(&b, x, 1, 32, 0, 0);
    x = graph_attention(&b, x, x, x, &(struct graph_attention){.n_head = 1, .n_head_kv = 1, .head_dim = 32});
    x = graph_add(&b, x, graph_glu(&b, x, x, GLU_SILU));
    x = graph_begin_head(&b, x);
    graph_add_rope(&b, ROPE_NEOX, 32, NULL, 1);
    struct graph *graph = NULL;
    assert_int_equal(graph_finish(&b, x, &graph), CHORD_UNSUPPORTED_ARCHITECTURE);
    assert_null(graph);
    assert_int_equal(err.code, CHORD_UNSUPPORTED_ARCHITECTURE);
    assert_string_equal(err.message, "the first 1");
    built_free(&built);
    tiny_free(&m);
}

// What a layer and the head of the usual model come down to.
static void operations_are_joined(void **state)
{
    (void)state;
    static const struct {
        enum graph_op op;
        bool has_norm;
        enum graph_epilogue epilogue;
    } expected[] = {
        {GRAPH_EMBED, false, 0},
        {GRAPH_LINEAR, true, GRAPH_EPILOGUE_NONE},
        {GRAPH_ROPE, false, 0},
        {GRAPH_ROPE, false, 0},
        {GRAPH_KV_STORE, false, 0},
        {GRAPH_ATTENTION, false, 0},
        {GRAPH_LINEAR, false, GRAPH_EPILOGUE_ADD},
        {GRAPH_LINEAR, true, GRAPH_EPILOGUE_GLU},
        {GRAPH_LINEAR, false, GRAPH_EPILOGUE_ADD},
        {GRAPH_GATHER, false, 0},
        {GRAPH_LINEAR, true, GRAPH_EPILOGUE_NONE},
        {GRAPH_GATHER, false, 0},
        {GRAPH_RMS_NORM, false, 0},
    };
    struct built built;
    build(&built, (struct tiny_options){.n_layer = 1});
    const struct graph *g = built.graph;
    assert_int_equal(g->n_nodes, sizeof expected / sizeof *expected);
    assert_int_equal(g->head_begin, 9);
    assert_int_equal(g->embedding_begin, 11);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        assert_int_equal(node->op, expected[i].op);
        if (node->op != GRAPH_LINEAR)
            continue;
        assert_int_equal(node->linear.has_norm, expected[i].has_norm);
        assert_int_equal(node->linear.epilogue, expected[i].epilogue);
        assert_int_equal(node->n_in, node->linear.epilogue == GRAPH_EPILOGUE_ADD ? 2 : 1);
    }
    assert_int_equal(g->nodes[6].in[1], g->nodes[0].out[0]); // the residual is the embedding
    assert_int_equal(g->nodes[7].in[0], g->nodes[6].out[0]);
    assert_int_equal(g->nodes[8].in[0], g->nodes[7].out[0]);
    assert_int_equal(g->nodes[8].in[1], g->nodes[6].out[0]);
    assert_non_null(g->nodes[1].linear.norm_weight);
    finish(&built);
}

// Results that something else reads too stay values of their own.
static void shared_results_are_not_joined(void **state)
{
    (void)state;
    struct built built;
    struct chord_error err;
    struct graph_builder b;
    struct graph *graph;
    graph_value gate_up[2];
    tiny_init(&m, (struct tiny_options){.n_layer = 1});
    begin_builder(&b, &built, &err);
    memset(b.tensor_used, 1, (size_t)gguf_n_tensors(built.gguf));
    const struct graph_linear to_ff = {.weight = weights_find(built.weights, "blk.0.ffn_gate.weight")};
    const struct graph_linear from_ff = {.weight = weights_find(built.weights, "blk.0.ffn_down.weight")};
    const struct graph_linear both[2] = {to_ff, to_ff};
    const graph_value x = graph_embed(&b, weights_find(built.weights, "token_embd.weight"));
    const uint32_t width = (uint32_t)to_ff.weight->n;
    const graph_value normed = graph_rms_norm(&b, x, NULL, width, 0.1f);
    graph_linear(&b, normed, both, 2, gate_up);
    const graph_value product = graph_glu(&b, gate_up[0], gate_up[1], GLU_SILU);
    const graph_value mixed = graph_add(&b, product, gate_up[1]); // a second reader of a matrix's result
    const graph_value down = graph_linear1(&b, mixed, from_ff);
    const graph_value sum = graph_add(&b, graph_add(&b, down, normed), down); // of the norm's and of another matrix's
    const graph_value in_halves = graph_rms_norm(&b, sum, NULL, width / 2, 0.1f); // not over whole rows
    const graph_value last = graph_linear1(&b, graph_begin_head(&b, in_halves), to_ff);
    assert_int_equal(graph_finish(&b, last, &graph), CHORD_OK);
    static const enum graph_op expected[] = {GRAPH_EMBED,    GRAPH_RMS_NORM, GRAPH_LINEAR, GRAPH_GLU,
                                             GRAPH_ADD,      GRAPH_LINEAR,   GRAPH_ADD,    GRAPH_ADD,
                                             GRAPH_RMS_NORM, GRAPH_GATHER,   GRAPH_LINEAR};
    assert_int_equal(graph->n_nodes, sizeof expected / sizeof *expected);
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        assert_int_equal(graph->nodes[i].op, expected[i]);
        if (graph->nodes[i].op == GRAPH_LINEAR)
            assert_true(!graph->nodes[i].linear.has_norm && graph->nodes[i].linear.epilogue == GRAPH_EPILOGUE_NONE);
    }
    check_scratch(graph);
    graph_free(graph);
    built_free(&built);
    tiny_free(&m);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    tiny_init(&m, (struct tiny_options){.arch = "qwen3", .n_layer = 6}); // lists that grow
    for (int64_t n = 0;; n++) {
        struct built built;
        struct chord_error err = {0};
        fail_allocation(n);
        const enum chord_status status = build_shapes(&built, &m, &account, &err);
        if (!allocation_failed(status)) {
            assert_true(n > 40);
            check_scratch(built.graph);
            built_free(&built);
            break;
        }
        assert_int_equal(err.code, CHORD_OUT_OF_MEMORY);
    }
    graph_free(NULL);
    tiny_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_alive_together_lie_apart),
        TEST(scratch_does_not_grow_with_layers),
        TEST(every_weight_is_counted_once),
        TEST(nodes_stand_in_order),
        TEST(a_missing_tensor_is_named),
        TEST(a_wrong_shape_is_named),
        TEST(a_surplus_tensor_is_named),
        TEST(the_first_error_stays),
        TEST(operations_are_joined),
        TEST(shared_results_are_not_joined),
        TEST(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
