#include "weights/expert_cache.h"

#define N_CANDIDATES 64u
#define FORGOTTEN 0.2f // share of the average that a token forgets
#define LEAST_USE 1e-4f
#define N_POWERS 64u     // 0.8^64 is below LEAST_USE
#define PASSING_PART 16u // of all frames, lent to experts that pass through
#define LEAST_PASSING 2u

struct item {
    uint32_t frame;
    uint32_t last_token;
    float use; // the average, as of last_token
};

enum frame_state { FRAME_FREE, FRAME_TAKEN, FRAME_RETIRED };

struct frame {
    uint32_t item;
    uint8_t state;
    bool is_held;
    bool is_passing;
    uint64_t last_use;
};

struct expert_cache {
    struct memory_account *account;
    enum expert_cache_policy policy;
    uint32_t n_layers, n_experts, n_frames;
    struct item *items;    // [n_layers * n_experts]
    struct frame *frames;  // [n_frames]
    uint32_t *free_frames; // [n_frames], the first n_free count
    uint32_t n_free, n_retired;
    uint32_t *passing; // [n_frames / PASSING_PART + LEAST_PASSING]: frames with is_passing, the first n_passing count
    uint32_t *layer_frames; // [n_layers]: how many hold an expert of the layer
    uint32_t n_passing;
    uint32_t layer, token;
    bool token_begins; // with the next use
    uint64_t n_uses, n_evictions, random;
    float powers[N_POWERS]; // (1 - FORGOTTEN)^i
};

uint64_t expert_cache_bytes(uint32_t n_layers, uint32_t n_experts, uint32_t n_frames)
{
    return sizeof(struct expert_cache) + (uint64_t)n_layers * n_experts * sizeof(struct item) +
           (uint64_t)n_frames * (sizeof(struct frame) + sizeof(uint32_t)) +
           ((uint64_t)n_layers + n_frames / PASSING_PART + LEAST_PASSING) * sizeof(uint32_t);
}

enum chord_status expert_cache_create(struct expert_cache **out, uint32_t n_layers, uint32_t n_experts,
                                      uint32_t n_frames, enum expert_cache_policy policy,
                                      struct memory_account *account, struct chord_error *err)
{
    const uint64_t n_items = (uint64_t)n_layers * n_experts;
    struct expert_cache *cache = memory_zalloc(account, MEMORY_METADATA, 1, sizeof *cache);
    if (cache != NULL) {
        cache->account = account;
        cache->items = memory_zalloc(account, MEMORY_METADATA, n_items, sizeof *cache->items);
        cache->frames = memory_zalloc(account, MEMORY_METADATA, n_frames, sizeof *cache->frames);
        cache->free_frames = memory_zalloc(account, MEMORY_METADATA, n_frames, sizeof *cache->free_frames);
        cache->passing =
            memory_zalloc(account, MEMORY_METADATA, n_frames / PASSING_PART + LEAST_PASSING, sizeof *cache->passing);
        cache->layer_frames = memory_zalloc(account, MEMORY_METADATA, n_layers, sizeof *cache->layer_frames);
    }
    if (cache == NULL || cache->items == NULL || cache->frames == NULL || cache->free_frames == NULL ||
        cache->passing == NULL || cache->layer_frames == NULL) {
        expert_cache_free(cache);
        return memory_account_fail(account, err, expert_cache_bytes(n_layers, n_experts, n_frames),
                                   "the list of experts");
    }
    cache->policy = policy;
    cache->n_layers = n_layers;
    cache->n_experts = n_experts;
    cache->n_frames = n_frames;
    cache->layer = n_layers - 1;
    cache->random = 1;
    cache->powers[0] = 1;
    for (uint32_t i = 1; i < N_POWERS; i++)
        cache->powers[i] = cache->powers[i - 1] * (1 - FORGOTTEN);
    for (uint64_t i = 0; i < n_items; i++)
        cache->items[i].frame = EXPERT_CACHE_NONE;
    for (uint32_t i = n_frames; i-- > 0;)
        cache->free_frames[cache->n_free++] = i;
    *out = cache;
    return CHORD_OK;
}

void expert_cache_free(struct expert_cache *cache)
{
    if (cache == NULL)
        return;
    memory_free(cache->account, cache->layer_frames);
    memory_free(cache->account, cache->passing);
    memory_free(cache->account, cache->free_frames);
    memory_free(cache->account, cache->frames);
    memory_free(cache->account, cache->items);
    memory_free(cache->account, cache);
}

void expert_cache_begin_layer(struct expert_cache *cache, uint32_t layer)
{
    cache->token_begins = cache->token_begins || layer <= cache->layer;
    cache->layer = layer;
}

static uint32_t item_of(const struct expert_cache *cache, uint32_t layer, uint32_t expert)
{
    return layer * cache->n_experts + expert;
}

uint32_t expert_cache_find(const struct expert_cache *cache, uint32_t layer, uint32_t expert)
{
    return cache->items[item_of(cache, layer, expert)].frame;
}

static float use_of(const struct expert_cache *cache, const struct item *item)
{
    const uint32_t age = cache->token - item->last_token;
    return age < N_POWERS ? item->use * cache->powers[age] : 0;
}

// Layers until the next use, as expected.
static float distance_of(const struct expert_cache *cache, uint32_t index)
{
    const uint32_t n = cache->n_layers, layer = index / cache->n_experts;
    const uint32_t ahead = (layer + n - cache->layer - 1) % n + 1;
    float use = use_of(cache, &cache->items[index]);
    use = use < LEAST_USE ? LEAST_USE : use;
    return (float)ahead + (float)n * (1 - use) / use;
}

static uint32_t next_random(struct expert_cache *cache, uint32_t below)
{
    cache->random = cache->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((cache->random >> 33) * below) >> 31);
}

// Frames of passing experts are found by their list.
static bool can_go(const struct frame *frame)
{
    return frame->state == FRAME_TAKEN && !frame->is_held && !frame->is_passing;
}

// Whether the expert in `frame` is the one to evict rather than that in `other`.
static bool goes_before(const struct expert_cache *cache, uint32_t frame, uint32_t other)
{
    const struct frame *a = &cache->frames[frame], *b = &cache->frames[other];
    if (cache->policy == EXPERT_CACHE_LRU)
        return a->last_use < b->last_use;
    return distance_of(cache, a->item) > distance_of(cache, b->item);
}

static uint32_t choose_victim(struct expert_cache *cache)
{
    uint32_t victim = EXPERT_CACHE_NONE, n_seen = 0;
    const bool sample = cache->policy == EXPERT_CACHE_PREDICTED && cache->n_frames > 2 * N_CANDIDATES;
    // Some frames drawn cannot go; as many draws again make up for that.
    for (uint32_t i = 0; sample && i < 2 * N_CANDIDATES && n_seen < N_CANDIDATES; i++) {
        const uint32_t frame = next_random(cache, cache->n_frames);
        if (!can_go(&cache->frames[frame]))
            continue;
        n_seen++;
        if (victim == EXPERT_CACHE_NONE || goes_before(cache, frame, victim))
            victim = frame;
    }
    for (uint32_t frame = 0; victim == EXPERT_CACHE_NONE && frame < cache->n_frames; frame++)
        if (can_go(&cache->frames[frame])) {
            victim = frame;
            for (uint32_t other = frame + 1; other < cache->n_frames; other++)
                if (can_go(&cache->frames[other]) && goes_before(cache, other, victim))
                    victim = other;
        }
    return victim;
}

// The frame is no passing expert's any more.
static void end_passing(struct expert_cache *cache, uint32_t frame)
{
    uint32_t i = 0;
    if (!cache->frames[frame].is_passing)
        return;
    while (cache->passing[i] != frame)
        i++;
    cache->passing[i] = cache->passing[--cache->n_passing];
    cache->frames[frame].is_passing = false;
}

// The frame loses its expert.
static void vacate(struct expert_cache *cache, uint32_t frame)
{
    const uint32_t item = cache->frames[frame].item;
    end_passing(cache, frame);
    cache->items[item].frame = EXPERT_CACHE_NONE;
    cache->layer_frames[item / cache->n_experts]--;
    cache->frames[frame] = (struct frame){.state = FRAME_FREE};
}

static uint32_t evict(struct expert_cache *cache, uint32_t frame)
{
    if (frame == EXPERT_CACHE_NONE)
        return frame;
    vacate(cache, frame);
    cache->n_evictions++;
    return frame;
}

static uint32_t find_passing(const struct expert_cache *cache)
{
    for (uint32_t i = 0; i < cache->n_passing; i++)
        if (!cache->frames[cache->passing[i]].is_held)
            return cache->passing[i];
    return EXPERT_CACHE_NONE;
}

static uint32_t take_frame(struct expert_cache *cache)
{
    if (cache->n_free > 0)
        return cache->free_frames[--cache->n_free];
    const uint32_t passing = find_passing(cache);
    return evict(cache, passing != EXPERT_CACHE_NONE ? passing : choose_victim(cache));
}

static uint32_t most_passing(const struct expert_cache *cache)
{
    const uint32_t part = (cache->n_frames - cache->n_retired) / PASSING_PART;
    return part < LEAST_PASSING ? LEAST_PASSING : part;
}

// A frame for an expert that passes through.
static uint32_t lend_frame(struct expert_cache *cache)
{
    uint32_t frame = EXPERT_CACHE_NONE;
    if (cache->n_passing < most_passing(cache))
        frame = cache->n_free > 0 ? cache->free_frames[--cache->n_free] : evict(cache, choose_victim(cache));
    return frame != EXPERT_CACHE_NONE ? frame : evict(cache, find_passing(cache));
}

static void seat(struct expert_cache *cache, uint32_t item, uint32_t frame, bool is_passing)
{
    cache->items[item].frame = frame;
    if (frame == EXPERT_CACHE_NONE)
        return;
    cache->frames[frame] = (struct frame){.item = item, .state = FRAME_TAKEN, .is_passing = is_passing};
    cache->layer_frames[item / cache->n_experts]++;
    if (is_passing)
        cache->passing[cache->n_passing++] = frame;
}

bool expert_cache_use(struct expert_cache *cache, uint32_t layer, uint32_t expert, uint32_t *frame)
{
    const uint32_t index = item_of(cache, layer, expert);
    struct item *item = &cache->items[index];
    const bool is_hit = item->frame != EXPERT_CACHE_NONE;
    cache->token += cache->token_begins;
    cache->token_begins = false;
    item->use = use_of(cache, item) + FORGOTTEN;
    item->last_token = cache->token;
    if (is_hit)
        end_passing(cache, item->frame);
    else
        seat(cache, index, take_frame(cache), false);
    *frame = item->frame;
    if (item->frame != EXPERT_CACHE_NONE) {
        cache->frames[item->frame].is_held = true;
        cache->frames[item->frame].last_use = ++cache->n_uses;
    }
    return is_hit;
}

bool expert_cache_pass(struct expert_cache *cache, uint32_t layer, uint32_t expert, uint32_t *frame)
{
    const uint32_t index = item_of(cache, layer, expert);
    const struct item *item = &cache->items[index];
    const bool is_hit = item->frame != EXPERT_CACHE_NONE;
    if (cache->policy == EXPERT_CACHE_LRU)
        return expert_cache_use(cache, layer, expert, frame);
    if (!is_hit) {
        const bool stays = cache->n_free > 0 && cache->layer_frames[layer] < cache->n_frames / cache->n_layers;
        seat(cache, index, stays ? take_frame(cache) : lend_frame(cache), !stays);
    }
    *frame = item->frame;
    if (item->frame != EXPERT_CACHE_NONE)
        cache->frames[item->frame].is_held = true;
    return is_hit;
}

void expert_cache_release(struct expert_cache *cache, uint32_t layer, uint32_t expert)
{
    const uint32_t frame = expert_cache_find(cache, layer, expert);
    if (frame != EXPERT_CACHE_NONE)
        cache->frames[frame].is_held = false;
}

void expert_cache_drop(struct expert_cache *cache, uint32_t layer, uint32_t expert)
{
    struct item *item = &cache->items[item_of(cache, layer, expert)];
    if (item->frame == EXPERT_CACHE_NONE)
        return;
    const uint32_t frame = item->frame;
    vacate(cache, frame);
    cache->free_frames[cache->n_free++] = frame;
}

uint32_t expert_cache_retire(struct expert_cache *cache)
{
    const uint32_t frame = take_frame(cache);
    if (frame == EXPERT_CACHE_NONE)
        return frame;
    cache->frames[frame] = (struct frame){.state = FRAME_RETIRED};
    cache->n_retired++;
    return frame;
}

void expert_cache_restore(struct expert_cache *cache, uint32_t frame)
{
    cache->frames[frame].state = FRAME_FREE;
    cache->free_frames[cache->n_free++] = frame;
    cache->n_retired--;
}

uint64_t expert_cache_n_evictions(const struct expert_cache *cache)
{
    return cache->n_evictions;
}

bool expert_cache_sane(const struct expert_cache *cache)
{
    uint32_t n_taken = 0, n_retired = 0, n_with_frame = 0, n_passing = 0, n_of_layers = 0;
    for (uint32_t i = 0; i < cache->n_frames; i++) {
        const struct frame *frame = &cache->frames[i];
        n_taken += frame->state == FRAME_TAKEN;
        n_retired += frame->state == FRAME_RETIRED;
        n_passing += frame->is_passing;
        if (frame->state == FRAME_TAKEN ? cache->items[frame->item].frame != i : frame->is_held || frame->is_passing)
            return false;
    }
    for (uint32_t i = 0; i < cache->n_passing; i++)
        if (!cache->frames[cache->passing[i]].is_passing)
            return false;
    for (uint32_t i = 0; i < cache->n_layers; i++)
        n_of_layers += cache->layer_frames[i];
    for (uint32_t i = 0; i < cache->n_layers * cache->n_experts; i++)
        n_with_frame += cache->items[i].frame != EXPERT_CACHE_NONE;
    for (uint32_t i = 0; i < cache->n_free; i++)
        if (cache->frames[cache->free_frames[i]].state != FRAME_FREE)
            return false;
    return n_with_frame == n_taken && n_of_layers == n_taken && n_passing == cache->n_passing &&
           n_retired == cache->n_retired && n_taken + n_retired + cache->n_free == cache->n_frames;
}
