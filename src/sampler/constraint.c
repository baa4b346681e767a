#include "sampler/constraint.h"

#include "sampler/recognizer.h"

#include <math.h>
#include <string.h>

#define N_MASKS 64u // remembered, those used last

struct mask {
    struct recognizer_key key;
    uint64_t used;   // when, by the constraint's clock; 0: never
    uint64_t *words; // NULL: not made
};

struct constraint {
    struct memory_account *account;
    const struct token_trie *trie;
    struct recognizer *recognizer;
    uint32_t n_vocab, n_words;
    uint32_t state; // of the text so far
    uint32_t *path; // [max_depth + 1]: states on the way down the trie
    struct mask masks[N_MASKS];
    uint64_t clock;
    struct chord_error error; // beside the recognizer's
};

enum chord_status constraint_create(struct constraint **out, const struct grammar *grammar,
                                    const struct token_trie *trie, uint32_t n_vocab, struct memory_account *account,
                                    struct chord_error *err)
{
    struct constraint *c = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return memory_account_fail(account, err, sizeof *c, "a constraint");
    *c = (struct constraint){
        .account = account, .trie = trie, .n_vocab = n_vocab, .n_words = (uint32_t)(((uint64_t)n_vocab + 63) / 64)};
    c->path = memory_zalloc(account, MEMORY_SCRATCH, (uint64_t)trie->max_depth + 1, sizeof *c->path);
    enum chord_status status = CHORD_OK;
    if (c->path == NULL)
        status = memory_account_fail(account, err, ((uint64_t)trie->max_depth + 1) * sizeof *c->path, "a constraint");
    if (status == CHORD_OK)
        status = recognizer_create(&c->recognizer, grammar, trie->max_depth, account, err);
    if (status == CHORD_OK) {
        c->state = recognizer_start(c->recognizer);
        status = recognizer_error(c->recognizer)->code;
        if (status != CHORD_OK && err != NULL)
            *err = *recognizer_error(c->recognizer);
    }
    if (status != CHORD_OK) {
        constraint_free(c);
        return status;
    }
    *out = c;
    return CHORD_OK;
}

void constraint_free(struct constraint *constraint)
{
    if (constraint == NULL)
        return;
    for (uint32_t i = 0; i < N_MASKS; i++)
        memory_free(constraint->account, constraint->masks[i].words);
    recognizer_free(constraint->recognizer);
    memory_free(constraint->account, constraint->path);
    memory_free(constraint->account, constraint);
}

const struct chord_error *constraint_error(const struct constraint *constraint)
{
    return constraint->error.code != CHORD_OK ? &constraint->error : recognizer_error(constraint->recognizer);
}

// path[n] after `byte`, to path[n + 1]. Where the recognizer is full, it forgets all but the path and tries again. path[0] is the
// text's state.
static bool go_down(struct constraint *c, uint32_t n, unsigned char byte)
{
    uint32_t next = recognizer_next(c->recognizer, c->path[n], byte);
    if (next == RECOGNIZER_FULL) {
        if (!recognizer_forget(c->recognizer, c->path, n + 1))
            return false;
        c->state = c->path[0];
        next = recognizer_next(c->recognizer, c->path[n], byte);
    }
    if (next == RECOGNIZER_FULL) {
        chord_fail(&c->error, CHORD_INVALID_ARGUMENT,
                   "the grammar is too ambiguous: one token can be read in more ways than %u bytes hold",
                   RECOGNIZER_MAX_BYTES);
        return false;
    }
    c->path[n + 1] = next;
    return next != RECOGNIZER_DEAD;
}

// The state after the token's bytes, or DEAD.
static uint32_t state_after(struct constraint *c, uint32_t token)
{
    const uint32_t start = c->trie->starts[token], n = c->trie->starts[token + 1] - start;
    c->path[0] = c->state;
    for (uint32_t i = 0; i < n; i++)
        if (!go_down(c, i, c->trie->bytes[start + i]))
            return RECOGNIZER_DEAD;
    return c->path[n];
}

bool constraint_allows(struct constraint *constraint, uint32_t token)
{
    struct constraint *c = constraint;
    if (token >= c->trie->n_tokens || constraint_error(c)->code != CHORD_OK)
        return false;
    if (c->trie->roles[token] == TOKEN_ROLE_END)
        return constraint_can_end(c);
    return c->trie->roles[token] == TOKEN_ROLE_TEXT && state_after(c, token) != RECOGNIZER_DEAD;
}

bool constraint_accept(struct constraint *constraint, uint32_t token)
{
    struct constraint *c = constraint;
    if (token >= c->trie->n_tokens || c->trie->roles[token] != TOKEN_ROLE_TEXT || constraint_error(c)->code != CHORD_OK)
        return false;
    const uint32_t next = state_after(c, token);
    if (next == RECOGNIZER_DEAD)
        return false;
    c->state = next;
    return true;
}

bool constraint_can_end(const struct constraint *constraint)
{
    return recognizer_can_end(constraint->recognizer, constraint->state);
}

bool constraint_must_end(const struct constraint *constraint)
{
    return constraint_can_end(constraint) && !recognizer_can_go_on(constraint->recognizer, constraint->state);
}

// ---- Masks -----------------------------------------------------------------------------------------------------------

static struct mask *find_mask(struct constraint *c, struct recognizer_key key)
{
    for (uint32_t i = 0; i < N_MASKS; i++) {
        struct mask *mask = &c->masks[i];
        if (mask->used > 0 && mask->key.bits[0] == key.bits[0] && mask->key.bits[1] == key.bits[1])
            return mask;
    }
    return NULL;
}

// Trie and grammar side by side: what no text of the grammar begins with is skipped with all below it.
static void walk(struct constraint *c, uint64_t *words)
{
    const struct token_trie *t = c->trie;
    const struct token_trie_node *nodes = t->nodes;
    c->path[0] = c->state;
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
    if (constraint_error(c)->code != CHORD_OK)
        return NULL;
    const struct recognizer_key key = recognizer_key(c->recognizer, c->state);
    struct mask *mask = find_mask(c, key);
    if (mask != NULL) {
        mask->used = ++c->clock;
        return mask->words;
    }
    mask = &c->masks[0];
    for (uint32_t i = 1; i < N_MASKS; i++)
        if (c->masks[i].used < mask->used)
            mask = &c->masks[i];
    if (mask->words == NULL)
        mask->words = memory_zalloc(c->account, MEMORY_SCRATCH, c->n_words, sizeof *mask->words);
    if (mask->words == NULL) {
        memory_account_fail(c->account, &c->error, c->n_words * sizeof *mask->words, "a mask of the vocabulary");
        return NULL;
    }
    memset(mask->words, 0, c->n_words * sizeof *mask->words);
    mask->used = 0;
    walk(c, mask->words);
    if (constraint_error(c)->code != CHORD_OK)
        return NULL;
    mask->key = key;
    mask->used = ++c->clock;
    return mask->words;
}

bool constraint_has_mask(struct constraint *constraint)
{
    struct constraint *c = constraint;
    return constraint_error(c)->code == CHORD_OK && find_mask(c, recognizer_key(c->recognizer, c->state)) != NULL;
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
    const struct constraint *c = constraint;
    const uint64_t *words = constraint_mask(constraint);
    if (words == NULL)
        return false;
    for (uint32_t i = 0; i < c->n_words; i++)
        apply_word(words[i], logits + (uint64_t)i * 64, c->n_vocab - i * 64 < 64 ? c->n_vocab - i * 64 : 64);
    return true;
}
