#include "weights/expert_routes.h"

#include <math.h>
#include <string.h>

#define SIMULATED_LAYERS 8u // of more layers as many, evenly spaced, with their share of the frames
#define SIMULATED_TOKENS 256u

// Parts of a score, in standard deviations.
struct skew {
    float first_popularity, last_popularity; // of the first layer, and of the last; between them it grows evenly
    float drift, keep;                       // keep: of the liking, from token to token
    float noise;
};

static struct skew skew_of(enum expert_routes_kind kind)
{
    return kind == EXPERT_ROUTES_REPEATING ? (struct skew){0.93f, 0.93f, .drift = 1, .keep = 0.9f, .noise = 0.55f}
                                           : (struct skew){0.05f, 0.5f, .noise = 1};
}

struct replay {
    const struct expert_routes *routes;
    const struct expert_shape *shape;
    struct expert_cache *cache;
    uint32_t n_layers;       // replayed
    float *popular, *liking; // [n_layers, n_experts]
    float *scores;           // [n_experts]
    uint32_t *chosen;        // [n_used]
    uint64_t random, n_hits, n_uses;
};

static uint64_t next_random(struct replay *replay)
{
    uint64_t x = replay->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

// Nearly normal, of variance 1: the sum of eight uniform numbers.
static float next_normal(struct replay *replay)
{
    const uint64_t a = next_random(replay), b = next_random(replay);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 4; i++)
        sum += (uint32_t)(a >> (16 * i) & 0xffff) + (uint32_t)(b >> (16 * i) & 0xffff);
    return ((float)sum / 65536 - 4) * 1.2247449f;
}

static void draw_likings(struct replay *replay, const struct skew *skew)
{
    const uint32_t n_experts = replay->shape->n_experts;
    const float n_steps = replay->n_layers > 1 ? (float)(replay->n_layers - 1) : 1;
    for (uint32_t l = 0; l < replay->n_layers; l++) {
        const float depth = (float)l / n_steps;
        const float popularity = skew->first_popularity + depth * (skew->last_popularity - skew->first_popularity);
        for (uint32_t e = 0; e < n_experts; e++) {
            replay->popular[l * n_experts + e] = popularity * next_normal(replay);
            replay->liking[l * n_experts + e] = skew->drift * next_normal(replay);
        }
    }
}

static void choose(struct replay *replay, const struct skew *skew, uint32_t layer)
{
    const uint32_t n = replay->shape->n_experts;
    const float change = skew->drift * sqrtf(1 - skew->keep * skew->keep);
    float *liking = replay->liking + layer * n;
    for (uint32_t e = 0; e < n; e++) {
        if (skew->drift != 0)
            liking[e] = skew->keep * liking[e] + change * next_normal(replay);
        replay->scores[e] = replay->popular[layer * n + e] + liking[e] + skew->noise * next_normal(replay);
    }
    for (uint32_t k = 0; k < replay->shape->n_used; k++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < n; e++)
            best = replay->scores[e] > replay->scores[best] ? e : best;
        replay->chosen[k] = best;
        replay->scores[best] = -INFINITY;
    }
}

// As the pager does it: those that are there are held before any is evicted. Where there are fewer frames than experts used, waves
// follow each other.
static void use_layer(struct replay *replay, uint32_t layer, const uint32_t *experts, bool counts)
{
    const uint32_t n_used = replay->shape->n_used;
    uint32_t frame, n_held = 0;
    expert_cache_begin_layer(replay->cache, layer);
    for (uint32_t k = 0; k < n_used; k++)
        if (expert_cache_find(replay->cache, layer, experts[k]) != EXPERT_CACHE_NONE) {
            expert_cache_use(replay->cache, layer, experts[k], &frame);
            n_held++;
        }
    replay->n_hits += counts ? n_held : 0;
    replay->n_uses += counts ? n_used : 0;
    for (uint32_t k = 0; k < n_used; k++) {
        if (expert_cache_find(replay->cache, layer, experts[k]) != EXPERT_CACHE_NONE)
            continue;
        if (n_held == replay->shape->n_frames) {
            for (uint32_t i = 0; i < n_used; i++)
                expert_cache_release(replay->cache, layer, experts[i]);
            n_held = 0;
        }
        expert_cache_use(replay->cache, layer, experts[k], &frame);
        n_held++;
    }
    for (uint32_t k = 0; k < n_used; k++)
        expert_cache_release(replay->cache, layer, experts[k]);
}

static void replay_simulated(struct replay *replay)
{
    const struct skew skew = skew_of(replay->routes->kind);
    draw_likings(replay, &skew);
    for (uint32_t token = 0; token < SIMULATED_TOKENS; token++)
        for (uint32_t layer = 0; layer < replay->n_layers; layer++) {
            choose(replay, &skew, layer);
            use_layer(replay, layer, replay->chosen, token >= SIMULATED_TOKENS / 2);
        }
}

static void replay_recorded(struct replay *replay)
{
    const struct expert_routes *routes = replay->routes;
    const uint32_t *experts = routes->experts;
    for (uint32_t token = 0; token < routes->n_tokens; token++)
        for (uint32_t layer = 0; layer < replay->n_layers; layer++, experts += replay->shape->n_used)
            use_layer(replay, layer, experts, token >= routes->n_tokens / 2);
}

static enum chord_status allocate(struct replay *replay, struct memory_account *account, struct chord_error *err)
{
    const struct expert_shape *shape = replay->shape;
    const uint64_t n = (uint64_t)replay->n_layers * shape->n_experts;
    replay->popular = memory_zalloc(account, MEMORY_METADATA, n, sizeof *replay->popular);
    replay->liking = memory_zalloc(account, MEMORY_METADATA, n, sizeof *replay->liking);
    replay->scores = memory_zalloc(account, MEMORY_METADATA, shape->n_experts, sizeof *replay->scores);
    replay->chosen = memory_zalloc(account, MEMORY_METADATA, shape->n_used, sizeof *replay->chosen);
    if (replay->popular == NULL || replay->liking == NULL || replay->scores == NULL || replay->chosen == NULL)
        return memory_account_fail(account, err, 2 * n * sizeof *replay->popular, "routes of experts");
    return expert_cache_create(&replay->cache, replay->n_layers, shape->n_experts, shape->n_frames, shape->policy,
                               account, err);
}

enum chord_status expert_routes_hit_share(const struct expert_routes *routes, const struct expert_shape *shape,
                                          double *share, struct memory_account *account, struct chord_error *err)
{
    const bool is_recorded = routes->kind == EXPERT_ROUTES_RECORDED;
    struct expert_shape replayed = *shape;
    struct replay replay = {.routes = routes, .shape = &replayed, .n_layers = shape->n_layers, .random = 1};
    if (!is_recorded && replay.n_layers > SIMULATED_LAYERS) {
        replay.n_layers = SIMULATED_LAYERS;
        replayed.n_frames = (uint32_t)((uint64_t)shape->n_frames * replay.n_layers / shape->n_layers);
        replayed.n_frames = replayed.n_frames == 0 ? 1 : replayed.n_frames;
    }
    enum chord_status status = allocate(&replay, account, err);
    if (status == CHORD_OK) {
        if (is_recorded)
            replay_recorded(&replay);
        else
            replay_simulated(&replay);
        *share = (double)replay.n_hits / (double)replay.n_uses;
    }
    expert_cache_free(replay.cache);
    memory_free(account, replay.chosen);
    memory_free(account, replay.scores);
    memory_free(account, replay.liking);
    memory_free(account, replay.popular);
    return status;
}
