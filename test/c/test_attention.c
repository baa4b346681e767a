// kernels: attention and the KV cache's layout, every tier that this CPU has, against a reference in double precision; results
// that do not depend on tiles, heads or spans. Cached keys and values stand against guard pages, slots that no row may see
// hold NaN. SEED=number replays a run.
#include "checkkern.h"
#include "quick.h"

#include "base/half.h"
#include "kernels/kernels.h"
#include "os/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define UNIT 0x1p-24 // largest relative error of one rounding to f32
#define MAX_BLOCKS 18
#define MAX_TOKENS (MAX_BLOCKS * KV_BLOCK_TOKENS)
#define MAX_HEAD_DIM 512
#define MAX_SPANS (MAX_TOKENS / KV_SPAN_TOKENS + 1)

static void for_each_tier(void (*test)(const struct kernels *k))
{
    const char *only = getenv("CHORD_CPU");
    for (const char *const *name = kernels_tier_names(); *name != NULL; name++) {
        uint32_t features;
        struct kernels k;
        if (only != NULL && strcmp(only, *name) != 0)
            continue;
        if (!kernels_features_of_tier(*name, cpu_features(), &features)) {
            print_message("this CPU has no %s: not tested\n", *name);
            continue;
        }
        kernels_init(&k, features);
        test(&k);
    }
}

// ---- the cache -------------------------------------------------------------------------------------------------------

struct cache {
    struct guarded memory[MAX_BLOCKS];
    const void *blocks[MAX_BLOCKS]; // keys against the leading guard page, values against the trailing one
    uint64_t v_offset;
    enum kv_type type;
    uint32_t head_dim, end;
    float *k, *v; // as stored: [MAX_TOKENS, head_dim]
};

static void cache_create(struct cache *c)
{
    for (int b = 0; b < MAX_BLOCKS; b++)
        c->memory[b] = guarded_create(2 * (size_t)kv_part_bytes(KV_F16, MAX_HEAD_DIM));
    c->k = malloc(sizeof(float) * MAX_TOKENS * MAX_HEAD_DIM);
    c->v = malloc(sizeof(float) * MAX_TOKENS * MAX_HEAD_DIM);
}

static void cache_free(struct cache *c)
{
    for (int b = 0; b < MAX_BLOCKS; b++)
        guarded_free(&c->memory[b]);
    free(c->k);
    free(c->v);
}

// Element d of a slot, by the definition of the layouts: at `element` of the codes, `scale` of the scales.
static float stored(enum kv_type type, const uint8_t *part, uint32_t head_dim, size_t element, size_t scale)
{
    if (type == KV_F16)
        return block_half(part + 2 * element);
    return (float)(int8_t)part[element] * block_half(part + (size_t)64 * head_dim + 2 * scale);
}

static void check_stored(enum kv_type type, float got, float x, float largest)
{
    if (type == KV_F16)
        assert_int_equal(half_from_float(got), half_from_float(x));
    else // half a step of largest / 127, or the error of a step that is subnormal as a half
        assert_true(fabsf(got - x) <= 0.5001f * largest / 127.0f * (1.0f + 0x1p-10f) + 0x1p-18f);
}

// Writes slots 0..end-1 with the tier's kv_store, all bytes as the scalar tier's; the other slots stay NaN.
static void cache_fill(const struct kernels *k, struct cache *c, enum kv_type type, uint32_t head_dim, uint32_t end,
                       float magnitude)
{
    struct kernels scalar;
    kernels_init(&scalar, 0);
    const size_t bytes = (size_t)kv_part_bytes(type, head_dim);
    const uint32_t groups = (head_dim + 31) / 32;
    c->type = type;
    c->head_dim = head_dim;
    c->end = end;
    uint8_t *expected = malloc(2 * bytes);
    for (uint32_t b = 0; b < MAX_BLOCKS; b++) {
        uint8_t *values = guarded_place(&c->memory[b], bytes, PLACE_END);
        uint8_t *keys = c->memory[b].pages;
        c->blocks[b] = keys;
        c->v_offset = (uint64_t)(values - keys);
        memset(expected, 0xff, 2 * bytes);
        for (uint32_t t = b * KV_BLOCK_TOKENS; t < end && t < (b + 1) * KV_BLOCK_TOKENS; t++) {
            float key[MAX_HEAD_DIM], value[MAX_HEAD_DIM];
            const uint32_t slot = t % KV_BLOCK_TOKENS;
            for (uint32_t d = 0; d < head_dim; d++) {
                key[d] = random_float(-magnitude, magnitude);
                value[d] = t % 7 == 3 && d % 64 < 32 ? 0.0f : random_float(-2.0f, 2.0f);
            }
            k->kv_store[type](key, value, head_dim, slot, keys, values);
            scalar.kv_store[type](key, value, head_dim, slot, expected, expected + bytes);
            for (uint32_t d = 0; d < head_dim; d++) {
                const size_t at = ((size_t)(slot / 16) * head_dim + d) * 16 + slot % 16;
                const size_t scale = ((size_t)(slot / 16) * groups + d / 32) * 16 + slot % 16;
                float most_k = 0.0f, most_v = 0.0f;
                for (uint32_t i = d / 32 * 32; type == KV_Q8_0 && i < head_dim && i < d / 32 * 32 + 32; i++) {
                    most_k = fmaxf(most_k, fabsf(key[i]));
                    most_v = fmaxf(most_v, fabsf(value[i]));
                }
                const float got_k = stored(type, keys, head_dim, at, scale);
                const float got_v = stored(type, values, head_dim, (size_t)slot * head_dim + d, slot * groups + d / 32);
                check_stored(type, got_k, key[d], most_k);
                check_stored(type, got_v, value[d], most_v);
                c->k[(size_t)t * head_dim + d] = got_k;
                c->v[(size_t)t * head_dim + d] = got_v;
            }
        }
        assert_memory_equal(keys, expected, bytes);
        assert_memory_equal(values, expected + bytes, bytes);
    }
    free(expected);
}

// ---- the reference ---------------------------------------------------------------------------------------------------

// One query head in double precision over keys first..end-1. Returns the error that f32 may make, relative to the values'
// magnitude: e^(score - max) moves by the error of two scores, and a sum of n weights by n roundings, some more for each
// block and span. sink may be NULL.
static double reference(const struct cache *c, const float *q, const struct attention_args *args, const float *sink,
                        uint32_t first, uint32_t end, double *out, double *magnitude)
{
    const double scale = (double)args->scale, cap = (double)args->soft_cap;
    double max = sink != NULL ? (double)*sink : -INFINITY, largest_terms = 0.0, sum = 0.0;
    static double scores[MAX_TOKENS];
    for (uint32_t t = first; t < end; t++) {
        double s = 0.0, terms = 0.0;
        for (uint32_t d = 0; d < c->head_dim; d++) {
            const double product = (double)q[d] * (double)c->k[(size_t)t * c->head_dim + d] * scale;
            s += product;
            terms += fabs(product);
        }
        scores[t] = cap != 0 ? cap * tanh(s / cap) : s;
        max = fmax(max, scores[t]);
        largest_terms = fmax(largest_terms, terms);
    }
    for (uint32_t d = 0; d < c->head_dim; d++)
        out[d] = magnitude[d] = 0.0;
    for (uint32_t t = first; t < end; t++) {
        const double p = exp(scores[t] - max);
        sum += p;
        for (uint32_t d = 0; d < c->head_dim; d++) {
            out[d] += p * (double)c->v[(size_t)t * c->head_dim + d];
            magnitude[d] += p * fabs((double)c->v[(size_t)t * c->head_dim + d]);
        }
    }
    sum += sink != NULL ? exp((double)*sink - max) : 0;
    for (uint32_t d = 0; d < c->head_dim; d++) {
        out[d] /= sum;
        magnitude[d] /= sum;
    }
    // A soft cap is cap * (1 - 2 / (1 + e)), whose e has a relative error of a few units.
    const double score_error = (c->head_dim + 3) * UNIT * largest_terms + 10 * cap * UNIT;
    return 4 * score_error + 2 * ((end - first) + 8 * ((end - first) / KV_BLOCK_TOKENS + 2) + 16) * UNIT;
}

// ---- one call --------------------------------------------------------------------------------------------------------

struct shape {
    uint32_t n_q, n_rows, position, window, n_keys;
    float soft_cap;
    bool sinks;
};

// Row `row` and head `head` of `all` by itself, its spans by calls of their own, merged.
static void check_alone(const struct kernels *k, const struct attention_args *all, enum kv_type type, uint32_t row,
                        uint32_t head)
{
    struct attention_args args = *all;
    const uint64_t at = row * all->row_stride + (uint64_t)head * all->head_dim;
    const uint32_t end = all->n_keys != 0 ? all->n_keys : all->position + row + 1;
    const uint32_t floats = attention_partial_floats(all->head_dim);
    const uint32_t first = all->window != 0 && end > all->window ? end - all->window : 0;
    float out[MAX_HEAD_DIM], merged[MAX_HEAD_DIM];
    args.q = all->q + at;
    args.out = out;
    args.sinks = all->sinks == NULL ? NULL : all->sinks + head;
    args.n_rows = args.n_q = 1;
    args.position = all->position + row;
    args.next = (const char *)args.blocks[0] + args.k_offset;
    k->attention[type](&args);
    float *partials = malloc(MAX_SPANS * floats * sizeof *partials);
    uint32_t n = 0;
    for (uint32_t span = first / KV_SPAN_TOKENS; span <= (end - 1) / KV_SPAN_TOKENS; span++, n++) {
        args.partials = partials + (size_t)n * floats;
        args.partial_stride = floats;
        args.span = span;
        k->attention[type](&args);
    }
    // In two steps, as a long context is merged.
    float *last = partials;
    if (n > 2) {
        k->attention_merge(partials, 2, all->head_dim, NULL);
        memmove(partials + floats, partials, floats * sizeof *partials);
        last += floats;
        n--;
    }
    if (args.sinks != NULL) {
        k->attention_merge(last, n, all->head_dim, NULL);
        attention_add_sink(last, all->head_dim, *args.sinks);
        n = 1;
    }
    k->attention_merge(last, n, all->head_dim, merged);
    for (uint32_t d = 0; d < all->head_dim; d++) {
        if (out[d] != all->out[at + d])
            fail_msg("%s: row %u head %u [%u] alone: %a, in a tile %a", k->tier, row, head, d, (double)out[d],
                     (double)all->out[at + d]);
        if (merged[d] != out[d])
            fail_msg("%s: row %u head %u [%u] of %u spans: %a, at once %a", k->tier, row, head, d, n, (double)merged[d],
                     (double)out[d]);
    }
    free(partials);
}

// Some rows of the tile as a tile of their own.
static void check_part(const struct kernels *k, const struct attention_args *all, enum kv_type type)
{
    struct attention_args args = *all;
    const uint32_t first = (uint32_t)random_int(0, (int)all->n_rows - 1);
    const uint64_t floats = all->n_rows * all->row_stride;
    float *out = malloc(floats * sizeof *out);
    args.n_rows = (uint32_t)random_int(1, (int)(all->n_rows - first));
    args.position = all->position + first;
    args.q = all->q + first * all->row_stride;
    args.out = out;
    k->attention[type](&args);
    for (uint32_t r = 0; r < args.n_rows; r++)
        for (uint32_t i = 0; i < all->n_q * all->head_dim; i++)
            assert_true(out[r * all->row_stride + i] == all->out[(first + r) * all->row_stride + i]);
    free(out);
}

static void check_shape(const struct kernels *k, const struct cache *c, struct shape s, float q_magnitude)
{
    const uint32_t width = s.n_q * c->head_dim, gap = (uint32_t)random_int(0, 5);
    const uint64_t stride = width + gap, floats = (s.n_rows - 1) * stride + width;
    struct guarded memory = guarded_create(floats * sizeof(float)), out_memory = guarded_create(floats * sizeof(float));
    float *q = guarded_place(&memory, floats * sizeof *q, random_bits() & 1 ? PLACE_END : PLACE_START);
    float *out = guarded_place(&out_memory, floats * sizeof *out, random_bits() & 1 ? PLACE_END : PLACE_START);
    for (uint32_t r = 0; r < s.n_rows; r++)
        for (uint32_t i = 0; i < width; i++)
            q[r * stride + i] = random_float(-q_magnitude, q_magnitude);
    float sinks[ATTENTION_MAX_HEADS];
    for (int h = 0; h < ATTENTION_MAX_HEADS; h++)
        sinks[h] = random_float(-4.0f, 8.0f);
    const size_t scratch_bytes = (size_t)attention_scratch_bytes(c->head_dim);
    uint8_t *scratch = aligned_alloc(64, scratch_bytes + 64);
    memset(scratch, 0xff, scratch_bytes + 64);
    struct attention_args args = {.q = q,
                                  .out = out,
                                  .row_stride = stride,
                                  .n_rows = s.n_rows,
                                  .n_q = s.n_q,
                                  .head_dim = c->head_dim,
                                  .scale = 1.0f / sqrtf((float)c->head_dim),
                                  .soft_cap = s.soft_cap,
                                  .sinks = s.sinks ? sinks : NULL,
                                  .position = s.position,
                                  .window = s.window,
                                  .n_keys = s.n_keys,
                                  .blocks = c->blocks,
                                  .v_offset = c->v_offset,
                                  .scratch = scratch};
    k->attention[c->type](&args);
    for (uint32_t r = 0; r < s.n_rows; r++) {
        const uint32_t end = s.n_keys != 0 ? s.n_keys : s.position + r + 1,
                       first = s.window != 0 && end > s.window ? end - s.window : 0;
        for (uint32_t i = width; r + 1 < s.n_rows && i < stride; i++)
            assert_int_equal(bits_from_float(out[r * stride + i]), 0xffffffff);
        for (uint32_t h = 0; h < s.n_q; h++) {
            const uint64_t at = r * stride + (uint64_t)h * c->head_dim;
            // The reference is slow: the rows at the ends, and some between.
            if (r == 0 || r + 1 == s.n_rows || random_bits() % 8 == 0) {
                double want[MAX_HEAD_DIM], magnitude[MAX_HEAD_DIM];
                const double error =
                    reference(c, q + at, &args, s.sinks ? &sinks[h] : NULL, first, end, want, magnitude);
                for (uint32_t d = 0; d < c->head_dim; d++)
                    if (!(fabs((double)out[at + d] - want[d]) <= error * magnitude[d] + 0x1p-120))
                        fail_msg("%s type=%d head_dim=%u n_q=%u rows=%u position=%u window=%u, row %u head %u [%u]: "
                                 "%.9g, expected %.9g +- %.3g",
                                 k->tier, (int)c->type, c->head_dim, s.n_q, s.n_rows, s.position, s.window, r, h, d,
                                 (double)out[at + d], want[d], error * magnitude[d]);
            }
            if (h == 0 || random_bits() % 4 == 0)
                check_alone(k, &args, c->type, r, h);
        }
    }
    check_part(k, &args, c->type);
    for (size_t i = scratch_bytes; i < scratch_bytes + 64; i++)
        assert_int_equal(scratch[i], 0xff);
    free(scratch);
    guarded_free(&memory);
    guarded_free(&out_memory);
}

static struct cache cache;

static void attention_of_tier(const struct kernels *k)
{
    static const uint32_t head_dims[] = {1, 3, 16, 40, 64, 80, 96, 128, 256, 512};
    // Position of the first row, rows, window; the last row's key is the last that is stored.
    static const uint32_t places[][3] = {
        {0, 1, 0},    {0, 24, 0},   {62, 3, 0},     {100, 30, 37},   {63, 70, 0}, {130, 9, 1},
        {255, 1, 64}, {511, 1, 0},  {510, 5, 0},    {512, 1, 0},     {513, 1, 2}, {520, 12, 16},
        {700, 6, 0},  {1023, 3, 0}, {1030, 1, 600}, {1090, 20, 513},
    };
    for (size_t d = 0; d < LENGTH(head_dims); d++) {
        for (size_t i = 0; i < LENGTH(places); i++) {
            if (quick() && (d + i) % 5 != 0) // odd, so that both types of cache remain
                continue;
            const enum kv_type type = (d + i) % 2 == 0 ? KV_F16 : KV_Q8_0;
            const bool large = i % 4 == 3; // scores in the thousands
            const bool long_one = places[i][0] > 256;
            if (long_one && head_dims[d] > 128 && i % 3 != 0)
                continue;
            struct shape s = {.n_q = 1 + (uint32_t)((3 * i + 5 * d) % 16),
                              .position = places[i][0],
                              .window = places[i][2],
                              .soft_cap = i % 3 == 1   ? 2.5f
                                          : i % 5 == 2 ? 50.0f
                                                       : 0.0f,
                              .sinks = (i + d) % 4 == 1};
            if (long_one && s.n_q > 4)
                s.n_q = 1 + s.n_q % 4;
            s.n_rows = places[i][1] < ATTENTION_MAX_COLUMNS / s.n_q ? places[i][1] : ATTENTION_MAX_COLUMNS / s.n_q;
            // Rows that see the keys behind them too.
            if (s.window == 0 && (i + d) % 2 == 0)
                s.n_keys = s.position + s.n_rows + (uint32_t)(7 * d + i);
            cache_fill(k, &cache, type, head_dims[d], s.n_keys != 0 ? s.n_keys : s.position + s.n_rows,
                       large ? 100.0f : 1.0f);
            check_shape(k, &cache, s, large ? 100.0f : 3.0f);
        }
    }
}

static void attention(void **state)
{
    (void)state;
    for_each_tier(attention_of_tier);
}

// Every number of heads and the fullest tiles.
static void heads_of_tier(const struct kernels *k)
{
    for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++) {
        cache_fill(k, &cache, type, 64, 200, 1.0f);
        for (uint32_t n_q = 1; n_q <= ATTENTION_MAX_HEADS; n_q += quick() ? 5 : 1) {
            const uint32_t n_rows = ATTENTION_MAX_COLUMNS / n_q;
            check_shape(k, &cache, (struct shape){.n_q = n_q, .n_rows = 1, .position = 199}, 3.0f);
            check_shape(k, &cache, (struct shape){.n_q = n_q, .n_rows = n_rows, .position = 200 - n_rows}, 3.0f);
        }
    }
}

static void heads(void **state)
{
    (void)state;
    for_each_tier(heads_of_tier);
}

// Equal scores: the mean of all values.
static void equal_scores_of_tier(const struct kernels *k)
{
    for (enum kv_type type = KV_F16; type < N_KV_TYPES; type++) {
        cache_fill(k, &cache, type, 128, 600, 1.0f);
        check_shape(k, &cache, (struct shape){.n_q = 4, .n_rows = 20, .position = 580}, 0.0f);
    }
}

static void equal_scores(void **state)
{
    (void)state;
    for_each_tier(equal_scores_of_tier);
}

int main(void)
{
    check_seed();
    cache_create(&cache);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention),
        cmocka_unit_test(heads),
        cmocka_unit_test(equal_scores),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cache_free(&cache);
    return failed;
}
