#include "sampler/token_trie.h"

#include <string.h>

#define MAX_TRIE_BYTES (1u << 30)

static uint32_t length_of(const struct token_trie *t, uint32_t token)
{
    return t->starts[token + 1] - t->starts[token];
}

// By bytes, then by number.
static bool is_before(const struct token_trie *t, uint32_t a, uint32_t b)
{
    const uint32_t n_a = length_of(t, a), n_b = length_of(t, b);
    const int order = memcmp(t->bytes + t->starts[a], t->bytes + t->starts[b], n_a < n_b ? n_a : n_b);
    if (order != 0)
        return order < 0;
    return n_a != n_b ? n_a < n_b : a < b;
}

// A merge sort: runs of `width` become runs of twice that.
static void sort_tokens(struct token_trie *t, uint32_t *other)
{
    const uint32_t n = t->n_sorted;
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t low = 0; low < n; low += 2 * width) {
            const uint64_t middle = low + width < n ? low + width : n, high = middle + width < n ? middle + width : n;
            uint64_t a = low, b = middle;
            for (uint64_t at = low; at < high; at++) {
                const bool takes_b = a == middle || (b < high && is_before(t, t->sorted[b], t->sorted[a]));
                other[at] = takes_b ? t->sorted[b++] : t->sorted[a++];
            }
        }
        memcpy(t->sorted, other, n * sizeof *other);
    }
}

static uint32_t common_bytes(const struct token_trie *t, uint32_t a, uint32_t b)
{
    const uint32_t n = length_of(t, a) < length_of(t, b) ? length_of(t, a) : length_of(t, b);
    uint32_t i = 0;
    while (i < n && t->bytes[t->starts[a] + i] == t->bytes[t->starts[b] + i])
        i++;
    return i;
}

// The nodes of the sorted tokens; `path` [max_depth + 1] holds the open nodes by their depth.
static void make_nodes(struct token_trie *t, uint32_t *path)
{
    uint32_t depth = 0;
    for (uint32_t i = 0; i < t->n_sorted; i++) {
        const uint32_t token = t->sorted[i], length = length_of(t, token);
        const uint32_t common = i == 0 ? 0 : common_bytes(t, t->sorted[i - 1], token);
        for (; depth > common; depth--)
            t->nodes[path[depth]].skip = t->n_nodes;
        while (depth < length) {
            path[++depth] = t->n_nodes;
            t->nodes[t->n_nodes++] = (struct token_trie_node){
                .first_token = i, .depth = depth, .byte = t->bytes[t->starts[token] + depth - 1]};
        }
    }
    for (; depth > 0; depth--)
        t->nodes[path[depth]].skip = t->n_nodes;
    t->nodes[t->n_nodes] = (struct token_trie_node){.skip = t->n_nodes, .first_token = t->n_sorted};
}

// How many nodes there will be.
static uint64_t count_nodes(const struct token_trie *t)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->n_sorted; i++)
        n += length_of(t, t->sorted[i]) - (i == 0 ? 0 : common_bytes(t, t->sorted[i - 1], t->sorted[i]));
    return n;
}

// Roles, and how many bytes each text token has (in starts[token + 1]).
static bool count_bytes(struct token_trie *t, const struct token_source *source, uint64_t *n_bytes)
{
    *n_bytes = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        uint64_t n = 0;
        t->roles[i] = (uint8_t)source->token(source->user, i, NULL, 0, &n);
        if (t->roles[i] != TOKEN_ROLE_TEXT)
            n = 0;
        else if (n == 0)
            t->roles[i] = TOKEN_ROLE_NEVER;
        *n_bytes += n;
        if (n >= 1u << 24 || *n_bytes > MAX_TRIE_BYTES)
            return false;
        t->starts[i + 1] = (uint32_t)*n_bytes;
        t->n_sorted += t->roles[i] == TOKEN_ROLE_TEXT;
        t->n_ends += t->roles[i] == TOKEN_ROLE_END;
        t->max_depth = n > t->max_depth ? (uint32_t)n : t->max_depth;
    }
    return true;
}

static void list_tokens(struct token_trie *t, const struct token_source *source)
{
    uint32_t n_sorted = 0, n_ends = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        uint64_t n = 0;
        if (t->roles[i] == TOKEN_ROLE_END)
            t->ends[n_ends++] = i;
        if (t->roles[i] != TOKEN_ROLE_TEXT)
            continue;
        source->token(source->user, i, (char *)t->bytes + t->starts[i], length_of(t, i), &n);
        t->sorted[n_sorted++] = i;
    }
}

enum chord_status token_trie_create(struct token_trie **out, const struct token_source *source,
                                    struct memory_account *account, struct chord_error *err)
{
    const uint64_t n = source->n_tokens;
    uint64_t n_bytes = 0, n_nodes = 0;
    uint32_t *scratch = NULL;
    struct token_trie *t = memory_zalloc(account, MEMORY_TOKENIZER, 1, sizeof *t);
    *out = NULL;
    if (t == NULL)
        return memory_account_fail(account, err, sizeof *t, "the trie of the vocabulary");
    t->n_tokens = (uint32_t)n;
    t->roles = memory_zalloc(account, MEMORY_TOKENIZER, n, sizeof *t->roles);
    t->starts = memory_zalloc(account, MEMORY_TOKENIZER, n + 1, sizeof *t->starts);
    if (t->roles == NULL || t->starts == NULL)
        goto no_memory;
    if (!count_bytes(t, source, &n_bytes)) {
        token_trie_free(t, account);
        return chord_fail(err, CHORD_TOKENIZER,
                          "the tokens of the vocabulary are too long for a trie: more than 1 GiB");
    }
    t->bytes = memory_alloc(account, MEMORY_TOKENIZER, n_bytes, 1);
    t->sorted = memory_zalloc(account, MEMORY_TOKENIZER, t->n_sorted, sizeof *t->sorted);
    t->ends = memory_zalloc(account, MEMORY_TOKENIZER, t->n_ends, sizeof *t->ends);
    const uint64_t n_scratch = t->n_sorted > t->max_depth ? t->n_sorted : t->max_depth + 1;
    scratch = memory_zalloc(account, MEMORY_TOKENIZER, n_scratch, sizeof *scratch);
    if (t->bytes == NULL || t->sorted == NULL || t->ends == NULL || scratch == NULL)
        goto no_memory;
    list_tokens(t, source);
    sort_tokens(t, scratch);
    n_nodes = count_nodes(t);
    t->nodes = memory_alloc(account, MEMORY_TOKENIZER, (n_nodes + 1) * sizeof *t->nodes, 16);
    if (t->nodes == NULL)
        goto no_memory;
    make_nodes(t, scratch);
    memory_free(account, scratch);
    *out = t;
    return CHORD_OK;

no_memory:
    memory_free(account, scratch);
    token_trie_free(t, account);
    return memory_account_fail(account, err, n * 9 + n_bytes + n_nodes * sizeof(struct token_trie_node),
                               "the trie of the vocabulary");
}

void token_trie_free(struct token_trie *trie, struct memory_account *account)
{
    if (trie == NULL)
        return;
    memory_free(account, trie->nodes);
    memory_free(account, trie->sorted);
    memory_free(account, trie->ends);
    memory_free(account, trie->bytes);
    memory_free(account, trie->starts);
    memory_free(account, trie->roles);
    memory_free(account, trie);
}
