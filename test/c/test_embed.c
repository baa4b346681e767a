// Vectors of texts: an encoder against a reference in double precision, pooling, and that a vector depends on its text alone.

#include "engine_helpers.h"
#include "engine/job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_EMBD 32u
#define N_FF 48u
#define N_HEAD 4u
#define HEAD_DIM 8u
#define MOST_ROWS 80u
#define EPS 1e-5

// ---- Models --------------------------------------------------------------------------------------------------------------

static void add_norm(const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%.50s.weight", name);
    tiny_add(&m, full, QUANT_F32, N_EMBD, 1, 1, 0.3);
    snprintf(full, sizeof full, "%.50s.bias", name);
    tiny_add(&m, full, QUANT_F32, N_EMBD, 1, 0, 0.3);
}

static void init_encoder(uint32_t pooling, uint32_t n_ctx)
{
    char name[64];
    tiny_init(&m, (struct tiny_options){.arch = "nomic-bert", .n_head_kv = N_HEAD, .tied = true, .n_ctx = n_ctx});
    tiny_set_f32(&m, "nomic-bert.attention.layer_norm_epsilon", (float)EPS);
    tiny_set_u32(&m, "nomic-bert.pooling_type", pooling);
    tiny_drop_tensor(&m, "output_norm.weight");
    tiny_add(&m, "token_types.weight", QUANT_F32, N_EMBD, 2, 0, 0.5);
    add_norm("token_embd_norm");
    for (uint32_t layer = 0; layer < m.options.n_layer; layer++) {
        snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
        tiny_drop_tensor(&m, name);
        snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
        tiny_drop_tensor(&m, name);
        snprintf(name, sizeof name, "blk.%u.attn_output_norm", layer);
        add_norm(name);
        snprintf(name, sizeof name, "blk.%u.layer_output_norm", layer);
        add_norm(name);
    }
}

static void open_encoder(uint32_t pooling, uint32_t n_ctx, uint32_t n_threads)
{
    init_encoder(pooling, n_ctx);
    tiny_write(&m, test_path("embed.gguf"));
    model = open_path(test_path("embed.gguf"), (struct chord_model_options){.n_threads = n_threads});
}

static struct chord_job *embed(const uint32_t *tokens, uint64_t n, struct chord_embed_options options)
{
    struct chord_job *job;
    struct chord_error err;
    if (chord_embed(model, tokens, n, &options, &job, &err) != CHORD_OK)
        fail_msg("%s", err.message);
    return job;
}

// Runs the job to its end: its vector goes to out[n].
static void take_vector(struct chord_job *job, float *out, uint64_t n)
{
    struct chord_output taken;
    do {
        chord_model_run(model, 0, NULL);
        chord_job_take(job, &taken);
    } while (taken.finish == CHORD_RUNNING);
    assert_int_equal(taken.finish, CHORD_FINISH_STOP);
    assert_int_equal(taken.n_embedding, n);
    memcpy(out, taken.embedding, n * sizeof *out);
    chord_job_free(job);
}

// ---- The reference -------------------------------------------------------------------------------------------------------

typedef double matrix[MOST_ROWS][N_FF];

static const float *values_of(uint32_t layer, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s", layer, suffix);
    return tiny_values(&m, name);
}

static void multiply(const float *weights, uint32_t n_in, uint32_t n_out, uint32_t n_rows, const matrix in, matrix out)
{
    for (uint32_t r = 0; r < n_rows; r++)
        for (uint32_t o = 0; o < n_out; o++) {
            out[r][o] = 0;
            for (uint32_t i = 0; i < n_in; i++)
                out[r][o] += (double)weights[o * n_in + i] * in[r][i];
        }
}

static void norm(const float *weight, const float *bias, uint32_t n_rows, matrix x)
{
    for (uint32_t r = 0; r < n_rows; r++) {
        double mean = 0, variance = 0;
        for (uint32_t i = 0; i < N_EMBD; i++)
            mean += x[r][i] / N_EMBD;
        for (uint32_t i = 0; i < N_EMBD; i++)
            variance += (x[r][i] - mean) * (x[r][i] - mean) / N_EMBD;
        for (uint32_t i = 0; i < N_EMBD; i++)
            x[r][i] = (x[r][i] - mean) / sqrt(variance + EPS) * (double)weight[i] + (double)bias[i];
    }
}

static void turn(uint32_t n_rows, matrix x)
{
    for (uint32_t r = 0; r < n_rows; r++)
        for (uint32_t h = 0; h < N_HEAD; h++)
            for (uint32_t i = 0; i < HEAD_DIM / 2; i++) {
                const double angle = r * pow(10000, -2.0 * i / HEAD_DIM);
                double *a = &x[r][h * HEAD_DIM + i], *b = a + HEAD_DIM / 2, before = *a;
                *a = before * cos(angle) - *b * sin(angle);
                *b = before * sin(angle) + *b * cos(angle);
            }
}

static void attend(uint32_t n_rows, const matrix q, const matrix k, const matrix v, matrix out)
{
    memset(out, 0, sizeof(matrix));
    for (uint32_t r = 0; r < n_rows; r++)
        for (uint32_t h = 0; h < N_HEAD; h++) {
            double weights[MOST_ROWS], sum = 0;
            for (uint32_t t = 0; t < n_rows; t++) {
                double score = 0;
                for (uint32_t d = h * HEAD_DIM; d < (h + 1) * HEAD_DIM; d++)
                    score += q[r][d] * k[t][d];
                sum += weights[t] = exp(score / sqrt(HEAD_DIM));
            }
            for (uint32_t t = 0; t < n_rows; t++)
                for (uint32_t d = h * HEAD_DIM; d < (h + 1) * HEAD_DIM; d++)
                    out[r][d] += weights[t] / sum * v[t][d];
        }
}

static void add(uint32_t n_rows, matrix x, const matrix y)
{
    for (uint32_t r = 0; r < n_rows; r++)
        for (uint32_t i = 0; i < N_EMBD; i++)
            x[r][i] += y[r][i];
}

// The rows behind the last norm. Tokens from `second_part` on are of type 1.
static void encode(const uint32_t *tokens, uint32_t n, uint32_t second_part, matrix x)
{
    static matrix q, k, v, mixed, update;
    const float *embedding = tiny_values(&m, "token_embd.weight"), *types = tiny_values(&m, "token_types.weight");
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < N_EMBD; i++)
            x[r][i] = (double)embedding[tokens[r] * N_EMBD + i] + (double)types[(r >= second_part) * N_EMBD + i];
    norm(tiny_values(&m, "token_embd_norm.weight"), tiny_values(&m, "token_embd_norm.bias"), n, x);
    for (uint32_t layer = 0; layer < m.options.n_layer; layer++) {
        multiply(values_of(layer, "attn_q.weight"), N_EMBD, N_EMBD, n, x, q);
        multiply(values_of(layer, "attn_k.weight"), N_EMBD, N_EMBD, n, x, k);
        multiply(values_of(layer, "attn_v.weight"), N_EMBD, N_EMBD, n, x, v);
        turn(n, q);
        turn(n, k);
        attend(n, q, k, v, mixed);
        multiply(values_of(layer, "attn_output.weight"), N_EMBD, N_EMBD, n, mixed, update);
        add(n, x, update);
        norm(values_of(layer, "attn_output_norm.weight"), values_of(layer, "attn_output_norm.bias"), n, x);
        multiply(values_of(layer, "ffn_gate.weight"), N_EMBD, N_FF, n, x, q);
        multiply(values_of(layer, "ffn_up.weight"), N_EMBD, N_FF, n, x, k);
        for (uint32_t r = 0; r < n; r++)
            for (uint32_t i = 0; i < N_FF; i++)
                q[r][i] *= k[r][i] / (1 + exp(-q[r][i]));
        multiply(values_of(layer, "ffn_down.weight"), N_FF, N_EMBD, n, q, update);
        add(n, x, update);
        norm(values_of(layer, "layer_output_norm.weight"), values_of(layer, "layer_output_norm.bias"), n, x);
    }
}

// Keys and values are f16, of a relative error of 2^-11; all else is much more exact.
#define TOLERANCE 2e-3

static void assert_near(const float *got, const double *expected, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - expected[i]) <= TOLERANCE))
            fail_msg("element %u: %.9g, expected %.9g", i, (double)got[i], expected[i]);
}

// ---- Tests ---------------------------------------------------------------------------------------------------------------

static void an_encoder_is_the_reference(void **state)
{
    (void)state;
    static matrix x;
    static const uint32_t lengths[] = {1, 2, 17, 64, 65, MOST_ROWS};
    uint32_t tokens[MOST_ROWS];
    float got[N_EMBD];
    open_encoder(1, 256, 2);
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const uint32_t n = lengths[k], second_part = n / 2;
        double mean[N_EMBD] = {0};
        random_tokens(tokens, n, k + 1);
        encode(tokens, n, second_part == 0 ? n : second_part, x);
        for (uint32_t r = 0; r < n; r++)
            for (uint32_t i = 0; i < N_EMBD; i++)
                mean[i] += x[r][i] / n;
        take_vector(embed(tokens, n, (struct chord_embed_options){.second_part = second_part}), got, N_EMBD);
        assert_near(got, mean, N_EMBD);
        const struct chord_embed_options cls = {.pooling = CHORD_POOLING_CLS, .second_part = second_part};
        take_vector(embed(tokens, n, cls), got, N_EMBD);
        assert_near(got, x[0], N_EMBD);
        const struct chord_embed_options last = {.pooling = CHORD_POOLING_LAST, .second_part = second_part};
        take_vector(embed(tokens, n, last), got, N_EMBD);
        assert_near(got, x[n - 1], N_EMBD);
    }
    close_tiny();
}

// A classifier of one label with its hidden layer, of a pair of texts: BERT was trained with pairs whose second text is of type 1.
static void a_classifier_is_the_reference(void **state)
{
    (void)state;
    static matrix x;
    static const uint32_t lengths[] = {2, 17, 64, MOST_ROWS};
    uint32_t tokens[MOST_ROWS];
    float got, of_one_type;
    init_encoder(4, 256);
    tiny_add(&m, "cls.weight", QUANT_F32, N_EMBD, N_EMBD, 0, 0.2);
    tiny_add(&m, "cls.bias", QUANT_F32, N_EMBD, 1, 0, 0.3);
    tiny_add(&m, "cls.output.weight", QUANT_F32, N_EMBD, 1, 0, 1);
    tiny_add(&m, "cls.output.bias", QUANT_F32, 1, 1, 0, 0.3);
    tiny_write(&m, test_path("embed.gguf"));
    model = open_path(test_path("embed.gguf"), (struct chord_model_options){.n_threads = 2});
    const float *hidden = tiny_values(&m, "cls.weight"), *bias = tiny_values(&m, "cls.bias");
    const float *output = tiny_values(&m, "cls.output.weight");
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const uint32_t n = lengths[k], second_part = (n + 1) / 2;
        random_tokens(tokens, n, k + 1);
        encode(tokens, n, second_part, x);
        double score = (double)tiny_values(&m, "cls.output.bias")[0];
        for (uint32_t o = 0; o < N_EMBD; o++) {
            double sum = (double)bias[o];
            for (uint32_t i = 0; i < N_EMBD; i++)
                sum += (double)hidden[o * N_EMBD + i] * x[0][i];
            score += (double)output[o] * tanh(sum);
        }
        take_vector(embed(tokens, n, (struct chord_embed_options){.second_part = second_part}), &got, 1);
        assert_near(&got, &score, 1);
        take_vector(embed(tokens, n, (struct chord_embed_options){0}), &of_one_type, 1);
        assert_true(fabs((double)of_one_type - score) > 10 * TOLERANCE);
    }
    close_tiny();
}

// A text alone, among others in one batch, in a batch of its own size, and with other threads.
static void batch_mates_do_not_matter(void **state)
{
    (void)state;
    enum { N = 7 };
    static const uint32_t lengths[N] = {3, 130, 1, 600, 64, 200, 400};
    static uint32_t tokens[N][600];
    float alone[N][N_EMBD], got[N_EMBD];
    struct chord_job *jobs[N];
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        open_encoder(2, 640, n_threads);
        for (uint32_t i = 0; i < N; i++) {
            random_tokens(tokens[i], lengths[i], i);
            take_vector(embed(tokens[i], lengths[i], (struct chord_embed_options){0}), got, N_EMBD);
            if (n_threads == 1)
                memcpy(alone[i], got, sizeof got);
            assert_memory_equal(got, alone[i], sizeof got);
        }
        const uint64_t before = stats().n_steps;
        for (uint32_t i = 0; i < N; i++)
            jobs[i] = embed(tokens[i], lengths[i], (struct chord_embed_options){0});
        for (uint32_t i = 0; i < N; i++) {
            take_vector(jobs[i], got, N_EMBD);
            assert_memory_equal(got, alone[i], sizeof got);
        }
        // 3 + 130 + 1; 600; 64 + 200; 400.
        assert_int_equal(stats().n_steps - before, 4);
        assert_int_equal(stats().held_kv, 0);
        close_tiny();
    }
}

// The output matrix times the vector of the last token is what a generation chooses from.
static void the_last_row_is_what_the_head_reads(void **state)
{
    (void)state;
    uint32_t tokens[200];
    float vector[N_EMBD], prefix[N_EMBD];
    open_tiny((struct tiny_options){.n_ctx = 256}, (struct chord_model_options){0});
    random_tokens(tokens, 200, 3);
    take_vector(embed(tokens, 200, (struct chord_embed_options){0}), vector, N_EMBD);
    struct result *r = finish_job(evaluate(tokens, 200));
    const float *output = tiny_values(&m, "output.weight");
    for (uint32_t id = 0; id < m.options.n_vocab; id++) {
        double logit = 0;
        for (uint32_t i = 0; i < N_EMBD; i++)
            logit += (double)output[id * N_EMBD + i] * (double)vector[i];
        assert_true(fabs(logit - (double)r->logits[id]) < 1e-4);
    }
    result_free(r);
    // Beside another text with the same beginning, which is computed once.
    struct chord_job *jobs[2] = {embed(tokens, 150, (struct chord_embed_options){0}),
                                 embed(tokens, 200, (struct chord_embed_options){0})};
    float again[N_EMBD];
    take_vector(jobs[0], prefix, N_EMBD);
    take_vector(jobs[1], again, N_EMBD);
    assert_memory_equal(again, vector, sizeof vector);
    assert_int_equal(stats().n_reused_tokens, 128);
    // The mean needs all rows, so it shares none.
    take_vector(embed(tokens, 200, (struct chord_embed_options){.pooling = CHORD_POOLING_MEAN}), again, N_EMBD);
    struct chord_job *means[2] = {embed(tokens, 150, (struct chord_embed_options){.pooling = CHORD_POOLING_MEAN}),
                                  embed(tokens, 200, (struct chord_embed_options){.pooling = CHORD_POOLING_MEAN})};
    take_vector(means[0], prefix, N_EMBD);
    take_vector(means[1], vector, N_EMBD);
    assert_memory_equal(again, vector, sizeof vector);
    assert_int_equal(stats().n_reused_tokens, 128);
    close_tiny();
}

static void an_encoder_has_no_head(void **state)
{
    (void)state;
    const uint32_t tokens[3] = {5, 6, 7};
    struct chord_generate_options options = sampling(1, 3);
    struct chord_job *job;
    struct chord_error err;
    struct chord_model_info info;
    open_encoder(0, 64, 1);
    chord_model_info(model, &info);
    assert_true(info.is_encoder);
    assert_int_equal(info.pooling, CHORD_POOLING_MEAN);
    assert_int_equal(chord_generate(model, tokens, 3, &options, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "'nomic-bert' is an encoder"));
    assert_int_equal(chord_evaluate(model, tokens, 3, &job, &err), CHORD_INVALID_ARGUMENT);
    assert_int_equal(chord_score(model, tokens, 3, 1, &job, &err), CHORD_INVALID_ARGUMENT);
    uint32_t many[65] = {0};
    struct chord_model *other = open_path(test_path("embed.gguf"), (struct chord_model_options){0});
    assert_int_equal(chord_model_check_draft(other, model, &err), CHORD_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "the draft model is an encoder ('nomic-bert')"));
    chord_model_close(other);
    assert_int_equal(chord_embed(model, many, 65, &(struct chord_embed_options){0}, &job, &err), CHORD_CONTEXT_FULL);
    assert_non_null(strstr(err.message, "65 tokens do not fit the context of 64"));
    close_tiny();
}

static void a_cancelled_text_leaves_the_others(void **state)
{
    (void)state;
    uint32_t tokens[100];
    float alone[N_EMBD], got[N_EMBD];
    open_encoder(1, 256, 2);
    random_tokens(tokens, 100, 9);
    take_vector(embed(tokens, 100, (struct chord_embed_options){0}), alone, N_EMBD);
    struct chord_job *first = embed(tokens, 50, (struct chord_embed_options){0});
    struct chord_job *second = embed(tokens, 100, (struct chord_embed_options){0});
    chord_job_free(first);
    take_vector(second, got, N_EMBD);
    assert_memory_equal(got, alone, sizeof got);
    close_tiny();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encoder_is_the_reference),         cmocka_unit_test(batch_mates_do_not_matter),
        cmocka_unit_test(the_last_row_is_what_the_head_reads), cmocka_unit_test(an_encoder_has_no_head),
        cmocka_unit_test(a_cancelled_text_leaves_the_others),  cmocka_unit_test(a_classifier_is_the_reference),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
