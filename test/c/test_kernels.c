// kernels: every slot of every tier that this CPU has, against double-precision references (checkasm style).
// Inputs stand between guard pages, outputs between canaries. SEED=number replays a run.
#include "kernel_inputs.h"
#include "quick.h"

#include "base/half.h"
#include "kernels/kernels.h"
#if defined(__aarch64__)
#include "kernels/layout_neon.h"
#else
#include "kernels/layout_x86.h"
#endif
#include "os/cpu.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define UNIT 0x1p-24 // largest relative error of one rounding to f32
#define CANARY 0x7fc0dead
#define N_CANARIES 16

// ---- outputs between canaries ----------------------------------------------------------------------------------------

struct output {
    float *all;
    uint64_t n;
};

static struct output output_create(uint64_t n)
{
    struct output o = {malloc((n + 2 * N_CANARIES) * sizeof(float)), n};
    const uint32_t canary = CANARY;
    for (uint64_t i = 0; i < n + 2 * N_CANARIES; i++)
        memcpy(&o.all[i], &canary, sizeof canary);
    return o;
}

static float *output_at(struct output o)
{
    return o.all + N_CANARIES;
}

static bool is_canary(float f)
{
    return bits_from_float(f) == CANARY;
}

static void output_check_free(struct output o, bool written)
{
    for (uint64_t i = 0; i < o.n + 2 * N_CANARIES; i++) {
        const bool inside = i >= N_CANARIES && i < N_CANARIES + o.n;
        if (!inside || !written)
            assert_true(is_canary(o.all[i]));
    }
    free(o.all);
}

// ---- ladder ----------------------------------------------------------------------------------------------------------

static void ladder(void **state)
{
    (void)state;
    const uint32_t all = UINT32_MAX;
    uint32_t features = 1, below = 0;
    struct kernels k;
    assert_true(kernels_features_of_tier("scalar", 0, &features));
    assert_int_equal(features, 0);
    assert_false(kernels_features_of_tier("avx1024", all, &features));
    assert_false(kernels_features_of_tier("", all, &features));
    for (const char *const *name = kernels_tier_names(); *name != NULL; name++) {
        assert_true(kernels_features_of_tier(*name, all, &features));
        assert_true(*name == kernels_tier_names()[0] ||
                    (features & ~below) != 0); // something that the step below lacks
        if (features != 0)
            assert_false(kernels_features_of_tier(*name, features & (features - 1), &below));
        below = features;
        if ((features & ~cpu_features()) != 0)
            continue; // the tier's own init function may not run here
        kernels_init(&k, features);
        assert_string_equal(k.tier, *name);
        for (uint32_t id = 0; id < N_QUANT_TYPE_IDS; id++)
            assert_int_equal(k.matvec[id] != NULL, quant_traits(id) != NULL);
    }
}

static void cpu(void **state)
{
    (void)state;
    char name[64], tiny[3];
    memset(name, 1, sizeof name);
    cpu_name(name, sizeof name);
    assert_true(strlen(name) > 0 && strlen(name) < sizeof name);
    cpu_name(tiny, sizeof tiny);
    assert_true(strlen(tiny) < sizeof tiny);
    assert_true(cpu_count() >= 1);
    assert_true(cpu_count() <= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
    const uint32_t features = cpu_features();
    const char *expected = getenv("CHORD_EXPECT_TIER"); // who emulates a processor knows which tier it must get
    if (expected != NULL) {
        struct kernels k;
        kernels_init(&k, features);
        assert_string_equal(k.tier, expected);
    }
    assert_true((features & CPU_AVX512_VNNI) == 0 || (features & CPU_AVX512) != 0);
    assert_true((features & CPU_AVX512) == 0 || (features & CPU_AVX2) != 0);
}

// ---- activations -----------------------------------------------------------------------------------------------------

static void assert_float_bits(float a, float b)
{
    if (bits_from_float(a) != bits_from_float(b) && !(isnan(a) && isnan(b)))
        fail_msg("%a differs from %a", (double)a, (double)b);
}

// The tier's prepared column holds exactly the natural one's integers and scales.

#if defined(__aarch64__)

static void check_group_32(const struct activation_group_32 *y, const struct activation_q8_32 *natural, uint64_t n)
{
    for (uint64_t b = 0; b < (n / 32 + 3) / 4 * 4; b++) {
        static const struct activation_q8_32 padding;
        const struct activation_q8_32 *x = b < n / 32 ? &natural[b] : &padding;
        assert_memory_equal(y[b / 4].q[b % 4], x->q, 32);
        assert_int_equal(y[b / 4].sum[b % 4], x->sum);
        assert_float_bits(y[b / 4].scale[b % 4], x->scale);
    }
}

static void check_group_256(const struct activation_block_256 *y, const struct activation_q8_256 *x, uint64_t n)
{
    for (uint64_t b = 0; b < n / 256; b++) {
        assert_memory_equal(y[b].q, x[b].q, 256);
        assert_memory_equal(y[b].sums_16, x[b].sums, sizeof x[b].sums);
        for (int s = 0; s < 8; s++)
            assert_int_equal(y[b].sums_32[s], x[b].sums[2 * s] + x[b].sums[2 * s + 1]);
        assert_float_bits(y[b].scale, x[b].scale);
    }
}

#else

static void check_group_32(const struct activation_group_32 *y, const struct activation_q8_32 *natural, uint64_t n)
{
    for (uint64_t b = 0; b < (n / 32 + 3) / 4 * 4; b++) {
        static const struct activation_q8_32 padding;
        const struct activation_q8_32 *x = b < n / 32 ? &natural[b] : &padding;
        assert_memory_equal(y[b / 4].low[b % 4], x->q, 16);
        assert_memory_equal(y[b / 4].high[b % 4], x->q + 16, 16);
        for (uint64_t l = 4 * (b % 4); l < 4 * (b % 4) + 4; l++) {
            assert_int_equal(y[b / 4].zero[l], -2 * x->sum);
            assert_float_bits(y[b / 4].scale[l], x->scale);
        }
    }
}

static void check_group_256(const struct activation_group_256 *y, const struct activation_q8_256 *natural, uint64_t n)
{
    for (uint64_t b = 0; b < (n / 256 + 3) / 4 * 4; b++) {
        static const struct activation_q8_256 padding;
        const struct activation_q8_256 *x = b < n / 256 ? &natural[b] : &padding;
        assert_memory_equal(y[b / 4].q[b % 4], x->q, 256);
        assert_memory_equal(y[b / 4].sums_16[0][b % 4], x->sums, 8 * sizeof *x->sums);
        assert_memory_equal(y[b / 4].sums_16[1][b % 4], x->sums + 8, 8 * sizeof *x->sums);
        for (int l = 0; l < 16; l++) {
            int sum = 0;
            for (int i = 0; i < 16; i++)
                sum += x->q[i / 4 * 64 + 4 * l + i % 4];
            assert_int_equal(y[b / 4].zero[b % 4][l], -128 * sum);
        }
        for (int s = 0; s < 8; s++)
            assert_int_equal(y[b / 4].sums_32[b % 4][s], x->sums[2 * s] + x->sums[2 * s + 1]);
        for (uint64_t l = 4 * (b % 4); l < 4 * (b % 4) + 4; l++)
            assert_float_bits(y[b / 4].scale[l], x->scale);
    }
}

#endif

static void check_prepared(const struct kernels *k, enum activation_type type, const void *prepared, const float *x,
                           uint64_t n)
{
    struct kernels scalar;
    kernels_init(&scalar, 0);
    void *natural = malloc(activation_bytes(type, n) + 1);
    activation_quantize(type, x, natural, n);
    if (k->activation[type].quantize == scalar.activation[type].quantize || type == ACTIVATION_F32)
        assert_memory_equal(prepared, natural, activation_bytes(type, n));
    else if (type == ACTIVATION_Q8_PER_32)
        check_group_32(prepared, natural, n);
    else
        check_group_256(prepared, natural, n);
    free(natural);
}

static void activations_of_tier(const struct kernels *k)
{
    static const uint64_t blocks[] = {1, 2, 3, 4, 5, 7, 8, 11, 43};
    static const uint64_t units[] = {1, 32, 256}; // of the types by number; per row: test_i2_s.c
    struct guarded gx = guarded_create(43 * 256 * sizeof(float));
    struct guarded gy = guarded_create(43 * 256 * 8);
    for (int type = 0; type < (int)LENGTH(units); type++) {
        for (size_t i = 0; i < LENGTH(blocks); i++) {
            for (int fill = 0; fill < N_X_FILLS + 3; fill++) {
                const uint64_t n = blocks[i] * units[type];
                float *x = guarded_place(&gx, n * sizeof *x, fill % 2 == 0 ? PLACE_END : PLACE_START);
                fill_activations(x, n, fill < N_X_FILLS ? (enum activation_fill)fill : X_RANDOM);
                // Blocks that count as zero, blocks that are not finite.
                if (fill == N_X_FILLS)
                    x[random_bits() % n] = NAN;
                if (fill == N_X_FILLS + 1)
                    x[random_bits() % n] = -INFINITY;
                if (fill == N_X_FILLS + 2)
                    for (uint64_t e = 0; e < n; e++)
                        x[e] = ldexpf(x[e], -121);
                const uint64_t bytes = k->activation[type].bytes(n);
                assert_int_equal(bytes % ACTIVATION_ALIGNMENT, 0);
                void *y = guarded_place(&gy, bytes, PLACE_END);
                k->activation[type].quantize(x, y, n);
                check_prepared(k, (enum activation_type)type, y, x, n);
                assert_true(guarded_untouched(&gy, y, bytes));
            }
        }
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

static void activations(void **state)
{
    (void)state;
    for_each_tier(activations_of_tier);
}

// ---- matrix times vector ---------------------------------------------------------------------------------------------

struct reference {
    double value;
    double terms; // sum of what was added, by magnitude, zero points apart
};

static struct reference dot_reference(const struct element *w, const int8_t *q, const float *scales, const float *x,
                                      uint64_t n, uint64_t per_scale)
{
    struct reference r = {0.0, 0.0};
    for (uint64_t e = 0; e < n; e++) {
        const double y = x != NULL ? (double)x[e] : (double)scales[e / per_scale] * q[e];
        r.value += y * (w[e].step * (w[e].code - w[e].zero) - w[e].min);
        r.terms += fabs(y) * (fabs(w[e].step) * (w[e].code + w[e].zero) + fabs(w[e].min));
    }
    return r;
}

struct matvec_case {
    uint32_t type;
    uint64_t n, n_rows;
    enum weight_fill w_fill;
    enum activation_fill x_fill;
    enum place place;
};

static void fail_case(const struct kernels *k, const struct matvec_case *m, uint64_t row, uint32_t column, double got,
                      struct reference want, double bound)
{
    fail_msg(
        "%s %s n=%llu rows=%llu weights=%d activations=%d place=%d, row %llu column %u: %.9g, expected %.9g +- %.3g",
        k->tier, quant_traits(m->type)->name, (unsigned long long)m->n, (unsigned long long)m->n_rows, m->w_fill,
        m->x_fill, m->place, (unsigned long long)row, column, got, want.value, bound);
}

// Roundings on the way of one product to the result, at most: one per addition of its chain, and a few for its factors,
// conversion and the sum of lanes. The scalar tier has one chain, the others at least 8.
static double rounding_bound(const struct kernels *k, const struct matvec_case *m)
{
    const struct quant_traits *traits = quant_traits(m->type);
    const double steps = (double)m->n / (traits->activation == ACTIVATION_Q8_PER_32 ? 32 : traits->block_size);
    const bool one_chain = traits->block_size > 1 || strcmp(k->tier, "scalar") == 0;
    return (steps / (one_chain ? 1 : 8) + 16) * UNIT;
}

static struct guarded weights_memory, column_memory[MATVEC_MAX_COLUMNS];

static void check_matvec(const struct kernels *k, const struct matvec_case *m)
{
    const struct quant_traits *traits = quant_traits(m->type);
    const struct activation_kernel *prepare = &k->activation[traits->activation];
    const uint64_t row_bytes = m->n / traits->block_size * traits->block_bytes;
    const uint64_t per_scale = traits->activation == ACTIVATION_Q8_PER_32 ? 32 : 256;
    uint8_t *w = guarded_place(&weights_memory, m->n_rows * row_bytes, m->place);
    fill_weights(m->type, w, m->n_rows * row_bytes, m->w_fill);

    float *x[MATVEC_MAX_COLUMNS], *scales[MATVEC_MAX_COLUMNS];
    int8_t *q[MATVEC_MAX_COLUMNS];
    const void *columns[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++) {
        x[c] = malloc(m->n * sizeof(float));
        q[c] = malloc(m->n);
        scales[c] = malloc(m->n * sizeof(float));
        fill_activations(x[c], m->n, m->x_fill);
        plain_activations(traits->activation, x[c], m->n, q[c], scales[c]);
        void *column =
            guarded_place(&column_memory[c], prepare->bytes(m->n), m->place == PLACE_START ? PLACE_START : PLACE_END);
        prepare->quantize(x[c], column, m->n);
        columns[c] = column;
    }

    // One column at a time first: what all other calls must repeat bit for bit.
    float *alone[MATVEC_MAX_COLUMNS];
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++) {
        struct output out = output_create(m->n_rows);
        float *at = output_at(out);
        k->matvec[m->type](w, row_bytes, m->n_rows, m->n, &columns[c], 1, &at, PREFETCH_DEFAULT);
        alone[c] = malloc(m->n_rows * sizeof(float));
        memcpy(alone[c], at, m->n_rows * sizeof(float));
        output_check_free(out, true);
    }
    struct element *row = malloc(m->n * sizeof *row);
    for (uint64_t r = 0; r < m->n_rows; r++) {
        decode_row(m->type, w + r * row_bytes, m->n, row);
        for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++) {
            const struct reference want = dot_reference(
                row, q[c], scales[c], traits->activation == ACTIVATION_F32 ? x[c] : NULL, m->n, per_scale);
            // Sums of quarters (mins) below 2^22 are exact in any order, and so are sums of integers.
            const bool integers = m->w_fill == W_UNIT && m->x_fill != X_RANDOM && m->x_fill != X_WILD;
            const bool exact = want.terms == 0.0 || (integers && want.terms < 0x1p22);
            const double bound = exact ? 0.0 : rounding_bound(k, m) * want.terms + FLT_MIN;
            if (!(fabs((double)alone[c][r] - want.value) <= bound))
                fail_case(k, m, r, c, (double)alone[c][r], want, bound);
        }
        // A row by itself.
        float one;
        float *at = &one;
        k->matvec[m->type](w + r * row_bytes, row_bytes, 1, m->n, columns, 1, &at, PREFETCH_DEFAULT);
        assert_float_bits(one, alone[0][r]);
    }
    for (uint32_t n_columns = 2; n_columns <= MATVEC_MAX_COLUMNS; n_columns++) {
        struct output out[MATVEC_MAX_COLUMNS];
        float *at[MATVEC_MAX_COLUMNS];
        for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++) {
            out[c] = output_create(m->n_rows);
            at[c] = output_at(out[c]);
        }
        k->matvec[m->type](w, row_bytes, m->n_rows, m->n, columns, n_columns, at, PREFETCH_DEFAULT);
        for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++) {
            for (uint64_t r = 0; c < n_columns && r < m->n_rows; r++)
                assert_float_bits(at[c][r], alone[c][r]);
            output_check_free(out[c], c < n_columns);
        }
    }
    assert_true(guarded_untouched(&weights_memory, w, m->n_rows * row_bytes));
    free(row);
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++) {
        free(alone[c]);
        free(x[c]);
        free(q[c]);
        free(scales[c]);
    }
}

static const uint64_t *sizes_of(uint32_t block_size, size_t *count)
{
    static const uint64_t floats[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 300, 1024};
    static const uint64_t blocks_32[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 28, 61};
    static const uint64_t blocks_256[] = {1, 2, 3, 4, 5, 6, 7, 8, 11};
    *count = block_size == 1 ? LENGTH(floats) : block_size < 256 ? LENGTH(blocks_32) : LENGTH(blocks_256);
    return block_size == 1 ? floats : block_size < 256 ? blocks_32 : blocks_256;
}

static void matvec_of_tier(const struct kernels *k)
{
    for (size_t t = 0; t < LENGTH(all_types); t++) {
        const struct quant_traits *traits = quant_traits(all_types[t]);
        // The coded types go through the same few kernels: a part for each.
        const int every = (quick() ? 7 : 1) * (is_coded(all_types[t]) ? 4 : 1);
        size_t n_sizes;
        const uint64_t *sizes = sizes_of(traits->block_size, &n_sizes);
        for (size_t s = 0; s < n_sizes; s++) {
            for (int w_fill = 0; w_fill < N_W_FILLS; w_fill++) {
                for (int x_fill = 0; x_fill < N_X_FILLS; x_fill++) {
                    if ((w_fill + x_fill + (int)(s + t)) % every != 0)
                        continue;
                    const struct matvec_case m = {.type = all_types[t],
                                                  .n = sizes[s] * traits->block_size,
                                                  .n_rows = (uint64_t)random_int(1, 3),
                                                  .w_fill = (enum weight_fill)w_fill,
                                                  .x_fill = (enum activation_fill)x_fill,
                                                  .place = (enum place)random_int(0, N_PLACES - 1)};
                    check_matvec(k, &m);
                }
            }
        }
        static const uint64_t long_rows[] = {4096, 11008, 2816};
        for (size_t s = 0; s < LENGTH(long_rows); s++) {
            const struct matvec_case m = {.type = all_types[t], .n = long_rows[s], .n_rows = 3, .place = PLACE_END};
            check_matvec(k, &m);
        }
        const struct matvec_case long_rest = {.type = all_types[t], .n = 11008 - 32, .n_rows = 3, .place = PLACE_END};
        if (long_rest.n % traits->block_size == 0)
            check_matvec(k, &long_rest);
        const struct matvec_case many_rows = {.type = all_types[t], .n = 512, .n_rows = 33, .place = PLACE_ODD};
        check_matvec(k, &many_rows);
    }
}

static void matvec(void **state)
{
    (void)state;
    weights_memory = guarded_create(64 * 11008);
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++)
        column_memory[c] = guarded_create(8 * 11008);
    for_each_tier(matvec_of_tier);
    guarded_free(&weights_memory);
    for (uint32_t c = 0; c < MATVEC_MAX_COLUMNS; c++)
        guarded_free(&column_memory[c]);
}

// A NaN among the activations reaches the result instead of being taken for a number.
static void matvec_nan_of_tier(const struct kernels *k)
{
    for (size_t t = 0; t < LENGTH(all_types); t++) {
        const struct quant_traits *traits = quant_traits(all_types[t]);
        const uint64_t n = 768;
        const uint64_t row_bytes = n / traits->block_size * traits->block_bytes;
        const struct activation_kernel *prepare = &k->activation[traits->activation];
        float x[768];
        fill_activations(x, n, X_RANDOM);
        x[random_bits() % n] = NAN;
        uint8_t *w = malloc(row_bytes);
        void *column = aligned_alloc(ACTIVATION_ALIGNMENT, prepare->bytes(n));
        fill_weights(all_types[t], w, row_bytes, W_RANDOM);
        prepare->quantize(x, column, n);
        float out = 0.0f;
        float *at = &out;
        const void *columns[] = {column};
        k->matvec[all_types[t]](w, row_bytes, 1, n, columns, 1, &at, PREFETCH_DEFAULT);
        assert_true(isnan(out));
        free(column);
        free(w);
    }
}

static void matvec_nan(void **state)
{
    (void)state;
    for_each_tier(matvec_nan_of_tier);
}

// ---- vectors ---------------------------------------------------------------------------------------------------------

static const uint64_t vector_sizes[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1000, 4096};
#define MAX_VECTOR 4096

static struct guarded vector_memory[3];

static float *place_random(int which, uint64_t n, float low, float high)
{
    float *x = guarded_place(&vector_memory[which], n * sizeof *x, random_bits() & 1 ? PLACE_END : PLACE_START);
    for (uint64_t i = 0; i < n; i++)
        x[i] = random_float(low, high);
    return x;
}

static void assert_near(const char *what, const struct kernels *k, uint64_t n, uint64_t i, float got, double want,
                        double bound)
{
    if (!(fabs((double)got - want) <= bound))
        fail_msg("%s %s n=%llu [%llu]: %.9g, expected %.9g +- %.3g", what, k->tier, (unsigned long long)n,
                 (unsigned long long)i, (double)got, want, bound);
}

static void rms_norm_of_tier(const struct kernels *k)
{
    for (size_t s = 0; s < LENGTH(vector_sizes); s++) {
        const uint64_t n = vector_sizes[s];
        for (int form = 0; form < 3; form++) { // with weights, without, in place
            float *x = place_random(0, n, -4.0f, 4.0f);
            const float *w = form == 1 ? NULL : place_random(1, n, 0.5f, 1.5f);
            double sum = 0.0;
            double *want = malloc(n * sizeof *want);
            for (uint64_t i = 0; i < n; i++)
                sum += (double)x[i] * x[i];
            const float eps = 1e-5f;
            for (uint64_t i = 0; i < n; i++)
                want[i] = x[i] / sqrt(sum / (double)n + (double)eps) * (w != NULL ? (double)w[i] : 1.0);
            struct output out = output_create(n);
            float *at = form == 2 ? x : output_at(out);
            k->rms_norm(x, w, eps, at, n);
            // Half the relative error of the sum of squares, at most n / 8 additions, plus five roundings.
            for (uint64_t i = 0; i < n; i++)
                assert_near("rms_norm", k, n, i, at[i], want[i], ((double)n / 16 + 8) * UNIT * fabs(want[i]));
            output_check_free(out, form != 2);
            assert_true(guarded_untouched(&vector_memory[0], x, n * sizeof *x));
            free(want);
        }
    }
}

static void rope_of_tier(const struct kernels *k)
{
    static const uint32_t head_dims[] = {2, 8, 48, 64, 80, 96, 128, 256};
    for (size_t s = 0; s < LENGTH(head_dims); s++) {
        for (int form = 0; form < 6; form++) {
            const uint32_t head_dim = head_dims[s], n_heads = 3, n = n_heads * head_dim;
            const uint32_t n_rot = form < 2 ? head_dim : form < 4 ? head_dim / 4 * 2 : 2;
            const enum rope_kind kind = form % 2 == 0 ? ROPE_NORMAL : ROPE_NEOX;
            float *x = place_random(0, n, -2.0f, 2.0f);
            float *cosines = place_random(1, n_rot / 2, -1.0f, 1.0f);
            float *sines = place_random(2, n_rot / 2, -1.0f, 1.0f);
            float *before = malloc(n * sizeof *before);
            memcpy(before, x, n * sizeof *before);
            k->rope(x, n_heads, head_dim, n_rot, kind, cosines, sines);
            for (uint32_t h = 0; h < n_heads; h++) {
                for (uint32_t e = 0; e < head_dim; e++) {
                    const float *b = before + (size_t)h * head_dim;
                    const float got = x[(size_t)h * head_dim + e];
                    if (e >= n_rot) {
                        assert_float_bits(got, b[e]);
                        continue;
                    }
                    const uint32_t half = n_rot / 2;
                    const uint32_t pair = kind == ROPE_NORMAL ? e / 2 : e % half;
                    const bool first = kind == ROPE_NORMAL ? e % 2 == 0 : e < half;
                    const uint32_t i0 = kind == ROPE_NORMAL ? 2 * pair : pair;
                    const uint32_t i1 = kind == ROPE_NORMAL ? 2 * pair + 1 : pair + half;
                    const double c = cosines[pair], sn = sines[pair];
                    const double want = first ? b[i0] * c - b[i1] * sn : b[i1] * c + b[i0] * sn;
                    assert_near("rope", k, n, e, got, want, 3 * UNIT * (fabs(b[i0]) + fabs(b[i1])));
                }
            }
            assert_true(guarded_untouched(&vector_memory[0], x, n * sizeof *x));
            free(before);
        }
    }
}

// Of the elementwise operations what they are called, what they give and how far off that may be. exp is good to 4 units and to
// as many of its argument's, addition, division and product to one each.
enum elementwise {
    OP_ADD,
    OP_SILU,
    OP_GELU,
    OP_CLAMPED,
    OP_RELU2,
    OP_SILU_ALONE,
    OP_GELU_ALONE,
    OP_RELU2_ALONE,
    N_ELEMENTWISE
};
static const struct {
    const char *name;
    enum glu_kind kind;
    bool alone;
} elementwise_ops[N_ELEMENTWISE] = {
    [OP_ADD] = {.name = "add"},
    [OP_SILU] = {"silu", GLU_SILU, false},
    [OP_GELU] = {"gelu", GLU_GELU, false},
    [OP_CLAMPED] = {"clamped", GLU_CLAMPED, false},
    [OP_RELU2] = {"relu2", GLU_RELU2, false},
    [OP_SILU_ALONE] = {"silu alone", GLU_SILU, true},
    [OP_GELU_ALONE] = {"gelu alone", GLU_GELU, true},
    [OP_RELU2_ALONE] = {"relu2 alone", GLU_RELU2, true},
};

static double elementwise(enum elementwise op, double a, double b, double *bound)
{
    double exponent = a, f;
    if (op == OP_ADD) {
        *bound = UNIT * fabs(a + b);
        return a + b;
    }
    switch (elementwise_ops[op].kind) {
    case GLU_GELU:
        exponent = 2 * sqrt(2 / 3.14159265358979323846) * (a + 0.044715 * a * a * a);
        break;
    case GLU_CLAMPED:
        a = fmin(a, 7);
        exponent = (double)1.702f * a;
        b = 1 + fmax(-7, fmin(b, 7));
        break;
    default:
        break;
    }
    f = elementwise_ops[op].kind == GLU_RELU2 ? (a > 0 ? a * a : 0) : a / (1 + exp(-exponent));
    f *= elementwise_ops[op].alone ? 1 : b;
    *bound = (8 + (elementwise_ops[op].kind == GLU_SILU ? 0 : 5 * fabs(exponent))) * UNIT * fabs(f) + 1e-35;
    if (op == OP_CLAMPED) // 1 + up may cancel
        *bound += 2 * UNIT * fabs(a);
    return f;
}

static void run_elementwise(const struct kernels *k, enum elementwise op, const float *a, const float *b, float *out,
                            uint64_t n)
{
    if (op == OP_ADD)
        k->add(a, b, out, n);
    else
        k->glu[elementwise_ops[op].kind](a, elementwise_ops[op].alone ? NULL : b, out, n);
}

static void elementwise_of_tier(const struct kernels *k)
{
    for (size_t s = 0; s < LENGTH(vector_sizes); s++)
        for (int form = 0; form < 3; form++) // apart, onto the first, onto the second
            for (int op = 0; op < N_ELEMENTWISE; op++) {
                if (form == 2 && elementwise_ops[op].alone)
                    continue;
                const uint64_t n = vector_sizes[s];
                float *a = place_random(0, n, -20.0f, 20.0f), *b = place_random(1, n, -9.0f, 9.0f);
                for (uint64_t i = 0; i < n; i += 3)
                    a[i] *= 7.0f; // both ends of exp
                double *want = malloc(n * sizeof *want), *bound = malloc(n * sizeof *bound);
                for (uint64_t i = 0; i < n; i++)
                    want[i] = elementwise((enum elementwise)op, (double)a[i], (double)b[i], &bound[i]);
                struct output out = output_create(n);
                float *at = form == 0 ? output_at(out) : form == 1 ? a : b;
                run_elementwise(k, (enum elementwise)op, a, b, at, n);
                for (uint64_t i = 0; i < n; i++)
                    assert_near(elementwise_ops[op].name, k, n, i, at[i], want[i], bound[i]);
                output_check_free(out, form == 0);
                assert_true(guarded_untouched(&vector_memory[0], a, n * sizeof *a));
                assert_true(guarded_untouched(&vector_memory[1], b, n * sizeof *b));
                free(want);
                free(bound);
            }
}

static void reductions_of_tier(const struct kernels *k)
{
    for (size_t s = 0; s < LENGTH(vector_sizes); s++) {
        const uint64_t n = vector_sizes[s];
        for (int round = 0; round < 8; round++) {
            float *x = place_random(0, n, -30.0f, 5.0f);
            const uint64_t at = random_bits() % n;
            x[at] = 6.0f + (float)round;
            assert_float_bits(k->max(x, n), 6.0f + (float)round);
            double want = 0.0;
            for (uint64_t i = 0; i < n; i++)
                want += exp((double)(x[i] - x[at]));
            const double bound = ((double)(n < 1024 ? n : 1024) + 8) * UNIT * want;
            const double got = k->sum_exp(x, x[at], n);
            if (!(fabs(got - want) <= bound))
                fail_msg("sum_exp %s n=%llu: %.9g, expected %.9g", k->tier, (unsigned long long)n, got, want);
            for (uint64_t i = 0; i < n; i += 2) // NaNs, some before and some after the largest
                if (i != at)
                    x[i] = NAN;
            assert_float_bits(k->max(x, n), 6.0f + (float)round);
        }
        float *x = place_random(0, n, 0.0f, 1.0f);
        for (uint64_t i = 0; i < n; i++)
            x[i] = -INFINITY;
        assert_float_bits(k->max(x, n), -INFINITY);
        x[n - 1] = -FLT_MAX;
        assert_float_bits(k->max(x, n), -FLT_MAX);
    }
    // exp by itself.
    for (int i = 0; i < 20000; i++) {
        const float x = random_float(-87.0f, 0.0f);
        const double got = k->sum_exp(&x, 0.0f, 1), want = exp((double)x);
        if (!(fabs(got - want) <= 4 * UNIT * want))
            fail_msg("%s: exp(%a) = %a, expected %a", k->tier, (double)x, got, want);
    }
    static const float ends[] = {0.0f, -0.0f, -100.0f, -1e30f, -INFINITY};
    for (size_t i = 0; i < LENGTH(ends); i++) {
        const double got = k->sum_exp(&ends[i], 0.0f, 1);
        assert_true(i < 2 ? got == 1.0 : got >= 0.0 && got < 1e-37);
    }
}

static void vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(vector_memory); i++)
        vector_memory[i] = guarded_create(MAX_VECTOR * sizeof(float));
    for_each_tier(rms_norm_of_tier);
    for_each_tier(rope_of_tier);
    for_each_tier(elementwise_of_tier);
    for_each_tier(reductions_of_tier);
    for (size_t i = 0; i < LENGTH(vector_memory); i++)
        guarded_free(&vector_memory[i]);
}

int main(void)
{
    check_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ladder), cmocka_unit_test(cpu),        cmocka_unit_test(activations),
        cmocka_unit_test(matvec), cmocka_unit_test(matvec_nan), cmocka_unit_test(vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
