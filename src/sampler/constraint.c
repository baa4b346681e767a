#include "sampler/constraint.h"

#include "sampler/recognizer.h"

#include <math.h>
#include <string.h>

#define N_MASKS 64u // remembered, those used last

struct mask {
    struct recognizer_key key;
    uint64_t used;   // when, by the cache's clock; 0: never
    uint64_t *words; // NULL: not made
};

struct constraint_cache {
    struct memory_account *account;
    const struct token_trie *trie;
    struct recognizer *recognizer; // its errors are handed to the constraint that had them
    uint32_t n_vocab, n_words;
    struct constraint *first; // those that share it
    uint32_t *path;           // [max_depth + 1]: states on the way down the trie
    struct mask masks[N_MASKS];
    uint64_t clock;
};

struct constraint {
    struct constraint_cache *cache;
    struct constraint *next; // of the same cache
    uint32_t state;          // of the text so far
    struct chord_error error;
};

enum chord_status constraint_cache_create(struct constraint_cache **out, const struct grammar *grammar,
                                          const struct token_trie *trie, uint32_t n_vocab,
                                          struct memory_account *account, struct chord_error *err)
{
    struct constraint_cache *k = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *k);
    *out = NULL;
    if (k == NULL)
        return memory_account_fail(account, err, sizeof *k, "a constraint");
    *k = (struct constraint_cache){
        .account = account, .trie = trie, .n_vocab = n_vocab, .n_words = (uint32_t)(((uint64_t)n_vocab + 63) / 64)};
    k->path = memory_zalloc(account, MEMORY_SCRATCH, (uint64_t)trie->max_depth + 1, sizeof *k->path);
    enum chord_status status = CHORD_OK;
    if (k->path == NULL)
        status = memory_account_fail(account, err, ((uint64_t)trie->max_depth + 1) * sizeof *k->path, "a constraint");
    if (status == CHORD_OK)
        status = recognizer_create(&k->recognizer, grammar, trie->max_depth, account, err);
    if (status != CHORD_OK) {
        constraint_cache_free(k);
        return status;
    }
    *out = k;
    return CHORD_OK;
}

void constraint_cache_free(struct constraint_cache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < N_MASKS; i++)
        memory_free(cache->account, cache->masks[i].words);
    recognizer_free(cache->recognizer);
    memory_free(cache->account, cache->path);
    memory_free(cache->account, cache);
}

uint64_t constraint_cache_bytes(const struct constraint_cache *cache)
{
    uint64_t bytes = sizeof *cache + ((uint64_t)cache->trie->max_depth + 1) * sizeof *cache->path;
    for (uint32_t i = 0; i < N_MASKS; i++)
        bytes += cache->masks[i].words != NULL ? (uint64_t)cache->n_words * sizeof *cache->masks[i].words : 0;
    return bytes + recognizer_bytes(cache->recognizer);
}

// The recognizer forgets all but the states of the constraints and path[0..n_path). False: no memory.
static bool forget(struct constraint_cache *k, uint32_t n_path, struct chord_error *err)
{
    uint32_t n = 0;
    for (const struct constraint *c = k->first; c != NULL; c = c->next)
        n++;
    uint32_t *kept = memory_zalloc(k->account, MEMORY_SCRATCH, (uint64_t)n + n_path, sizeof *kept), at = 0;
    if (kept == NULL) {
        memory_account_fail(k->account, err, ((uint64_t)n + n_path) * sizeof *kept, "the state of a grammar");
        return false;
    }
    for (const struct constraint *c = k->first; c != NULL; c = c->next)
        kept[at++] = c->state;
    memcpy(kept + n, k->path, n_path * sizeof *kept);
    const bool done = recognizer_forget(k->recognizer, kept, n + n_path);
    if (!done) {
        *err = *recognizer_error(k->recognizer);
        recognizer_recover(k->recognizer);
    }
    at = 0;
    for (struct constraint *c = k->first; done && c != NULL; c = c->next)
        c->state = kept[at++];
    if (done)
        memcpy(k->path, kept + n, n_path * sizeof *kept);
    memory_free(k->account, kept);
    return done;
}

void constraint_cache_forget_states(struct constraint_cache *cache)
{
    struct chord_error error; // then they stay
    forget(cache, 0, &error);
}

// Whether the recognizer gave a state, if a dead one; otherwise why not is the constraint's error.
static bool check(struct constraint *c, uint32_t state)
{
    struct recognizer *r = c->cache->recognizer;
    if (recognizer_error(r)->code != CHORD_OK)
        c->error = *recognizer_error(r);
    else if (state == RECOGNIZER_FULL && c->error.code == CHORD_OK)
        chord_fail(&c->error, CHORD_INVALID_ARGUMENT,
                   "the grammar is too ambiguous: one token can be read in more ways than %u bytes hold",
                   RECOGNIZER_MAX_BYTES);
    recognizer_recover(r);
    return c->error.code == CHORD_OK;
}

enum chord_status constraint_create(struct constraint **out, struct constraint_cache *cache, struct chord_error *err)
{
    struct constraint *c = memory_zalloc(cache->account, MEMORY_SCRATCH, 1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return memory_account_fail(cache->account, err, sizeof *c, "a constraint");
    c->cache = cache;
    c->state = recognizer_start(cache->recognizer);
    if (c->state == RECOGNIZER_FULL && forget(cache, 0, &c->error))
        c->state = recognizer_start(cache->recognizer);
    if (!check(c, c->state)) {
        const enum chord_status status = c->error.code;
        if (err != NULL)
            *err = c->error;
        memory_free(cache->account, c);
        return status;
    }
    c->next = cache->first;
    cache->first = c;
    *out = c;
    return CHORD_OK;
}

void constraint_free(struct constraint *constraint)
{
    if (constraint == NULL)
        return;
    struct constraint **at = &constraint->cache->first;
    while (*at != constraint)
        at = &(*at)->next;
    *at = constraint->next;
    memory_free(constraint->cache->account, constraint);
}

const struct chord_error *constraint_error(const struct constraint *constraint)
{
    return &constraint->error;
}

// path[n] after `byte`, to path[n + 1]. Where the recognizer is full, it forgets all but the path and what others are at, and tries again.
static bool go_down(struct constraint *c, uint32_t n, unsigned char byte)
{
    struct constraint_cache *k = c->cache;
    if (c->error.code != CHORD_OK) // soon noticed, and all ways down until then would only fail again
        return false;
    uint32_t next = recognizer_next(k->recognizer, k->path[n], byte);
    if (next == RECOGNIZER_FULL && forget(k, n + 1, &c->error))
        next = recognizer_next(k->recognizer, k->path[n], byte);
    k->path[n + 1] = next;
    return check(c, next) && next != RECOGNIZER_DEAD;
}

// The state after the token's bytes, or DEAD.
static uint32_t state_after(struct constraint *c, uint32_t token)
{
    const struct token_trie *t = c->cache->trie;
    const uint32_t start = t->starts[token], n = t->starts[token + 1] - start;
    c->cache->path[0] = c->state;
    for (uint32_t i = 0; i < n; i++)
        if (!go_down(c, i, t->bytes[start + i]))
            return RECOGNIZER_DEAD;
    return c->cache->path[n];
}

bool constraint_allows(struct constraint *constraint, uint32_t token)
{
    struct constraint *c = constraint;
    if (token >= c->cache->trie->n_tokens || constraint_error(c)->code != CHORD_OK)
        return false;
    if (c->cache->trie->roles[token] == TOKEN_ROLE_END)
        return constraint_can_end(c);
    return c->cache->trie->roles[token] == TOKEN_ROLE_TEXT && state_after(c, token) != RECOGNIZER_DEAD;
}

bool constraint_accept(struct constraint *constraint, uint32_t token)
{
    struct constraint *c = constraint;
    if (token >= c->cache->trie->n_tokens || c->cache->trie->roles[token] != TOKEN_ROLE_TEXT ||
        constraint_error(c)->code != CHORD_OK)
        return false;
    const uint32_t next = state_after(c, token);
    if (next == RECOGNIZER_DEAD)
        return false;
    c->state = next;
    return true;
}

bool constraint_can_end(const struct constraint *constraint)
{
    return recognizer_can_end(constraint->cache->recognizer, constraint->state);
}

bool constraint_must_end(const struct constraint *constraint)
{
    return constraint_can_end(constraint) && !recognizer_can_go_on(constraint->cache->recognizer, constraint->state);
}

// ---- Masks -----------------------------------------------------------------------------------------------------------

static struct mask *find_mask(struct constraint_cache *k, struct recognizer_key key)
{
    for (uint32_t i = 0; i < N_MASKS; i++) {
        struct mask *mask = &k->masks[i];
        if (mask->used > 0 && mask->key.bits[0] == key.bits[0] && mask->key.bits[1] == key.bits[1])
            return mask;
    }
    return NULL;
}

// Trie and grammar side by side: what no text of the grammar begins with is skipped with all below it.
static void walk(struct constraint *c, uint64_t *words)
{
    const struct token_trie *t = c->cache->trie;
    const struct token_trie_node *nodes = t->nodes;
    c->cache->path[0] = c->state;
    for (uint32_t i = 0; i < t->n_nodes;) {
        const struct token_trie_node node = nodes[i];
        if (!go_down(c, node.depth - 1, (unsigned char)node.byte)) {
            i = node.skip;
            continue;
        }
        i++;
        for (uint32_t k = node.first_token; k < nodes[i].first_token; k++)
            words[t->sorted[k] / 64] |= UINT64_C(1) << t->sorted[k] % 64;
    }
    if (constraint_can_end(c))
        for (uint32_t k = 0; k < t->n_ends; k++)
            words[t->ends[k] / 64] |= UINT64_C(1) << t->ends[k] % 64;
}

const uint64_t *constraint_mask(struct constraint *constraint)
{
    struct constraint *c = constraint;
    struct constraint_cache *k = c->cache;
    if (constraint_error(c)->code != CHORD_OK)
        return NULL;
    const struct recognizer_key key = recognizer_key(k->recognizer, c->state);
    struct mask *mask = find_mask(k, key);
    if (mask != NULL) {
        mask->used = ++k->clock;
        return mask->words;
    }
    mask = &k->masks[0];
    for (uint32_t i = 1; i < N_MASKS; i++)
        if (k->masks[i].used < mask->used)
            mask = &k->masks[i];
    if (mask->words == NULL)
        mask->words = memory_zalloc(k->account, MEMORY_SCRATCH, k->n_words, sizeof *mask->words);
    if (mask->words == NULL) {
        memory_account_fail(k->account, &c->error, k->n_words * sizeof *mask->words, "a mask of the vocabulary");
        return NULL;
    }
    memset(mask->words, 0, k->n_words * sizeof *mask->words);
    mask->used = 0;
    walk(c, mask->words);
    if (constraint_error(c)->code != CHORD_OK)
        return NULL;
    mask->key = key;
    mask->used = ++k->clock;
    return mask->words;
}

bool constraint_has_mask(struct constraint *constraint)
{
    struct constraint *c = constraint;
    return constraint_error(c)->code == CHORD_OK &&
           find_mask(c->cache, recognizer_key(c->cache->recognizer, c->state)) != NULL;
}

// Takes out of logits[n], n <= 64, those whose bit is not set: by what there is less of.
static void apply_word(uint64_t word, float *logits, uint32_t n)
{
    float kept[64];
    uint32_t n_kept = 0;
    if (__builtin_popcountll(word) > 32) {
        for (uint64_t rest = ~word; rest != 0; rest &= rest - 1) {
            const uint32_t i = (uint32_t)__builtin_ctzll(rest);
            if (i < n)
                logits[i] = -INFINITY;
        }
        return;
    }
    for (uint64_t rest = word; rest != 0; rest &= rest - 1)
        kept[n_kept++] = logits[__builtin_ctzll(rest)];
    for (uint32_t i = 0; i < n; i++)
        logits[i] = -INFINITY;
    n_kept = 0;
    for (; word != 0; word &= word - 1)
        logits[__builtin_ctzll(word)] = kept[n_kept++];
}

bool constraint_apply(struct constraint *constraint, float *logits)
{
    const struct constraint_cache *k = constraint->cache;
    const uint64_t *words = constraint_mask(constraint);
    if (words == NULL)
        return false;
    for (uint32_t i = 0; i < k->n_words; i++)
        apply_word(words[i], logits + (uint64_t)i * 64, k->n_vocab - i * 64 < 64 ? k->n_vocab - i * 64 : 64);
    return true;
}
