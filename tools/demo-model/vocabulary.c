#include "vocabulary.h"

#include "tokenizer/pretokenizers.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t count, size_t bytes)
{
    void *p = calloc(count, bytes);
    if (p == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", count * bytes);
        exit(1);
    }
    return p;
}

static const struct pretokenizer *gpt2(void)
{
    const char *name;
    const struct pretokenizer *row = pretokenizer_find("gpt-2", 5, &name);
    if (row == NULL)
        abort(); // the table of pre-tokenizers has lost its first row
    return row;
}

// ---- Distinct pieces ------------------------------------------------------------------------------------------------

struct piece {
    const char *bytes;
    size_t n_bytes;
    uint64_t count;
    uint32_t *tokens; // what the merges so far make of it
    size_t n_tokens;
};

struct pieces {
    struct piece *slots; // open addressing; n_bytes 0: empty
    size_t n_slots, n;
};

static uint64_t hash(const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static struct piece *slot_of(struct pieces *pieces, const char *bytes, size_t n)
{
    size_t at = hash(bytes, n) & (pieces->n_slots - 1);
    while (pieces->slots[at].n_bytes != 0 &&
           (pieces->slots[at].n_bytes != n || memcmp(pieces->slots[at].bytes, bytes, n) != 0))
        at = (at + 1) & (pieces->n_slots - 1);
    return &pieces->slots[at];
}

static void grow(struct pieces *pieces)
{
    struct pieces larger = {.slots = allocate(pieces->n_slots * 2, sizeof *larger.slots),
                            .n_slots = pieces->n_slots * 2,
                            .n = pieces->n};
    for (size_t i = 0; i < pieces->n_slots; i++)
        if (pieces->slots[i].n_bytes != 0)
            *slot_of(&larger, pieces->slots[i].bytes, pieces->slots[i].n_bytes) = pieces->slots[i];
    free(pieces->slots);
    *pieces = larger;
}

static void count_piece(struct pieces *pieces, const char *bytes, size_t n)
{
    if (pieces->n * 2 >= pieces->n_slots)
        grow(pieces);
    struct piece *piece = slot_of(pieces, bytes, n);
    if (piece->n_bytes == 0) {
        *piece = (struct piece){.bytes = bytes, .n_bytes = n, .n_tokens = n};
        piece->tokens = allocate(n, sizeof *piece->tokens);
        for (size_t i = 0; i < n; i++)
            piece->tokens[i] = FIRST_BYTE_TOKEN + (unsigned char)bytes[i];
        pieces->n++;
    }
    piece->count++;
}

// Calls visit for every document of the text.
static void for_each_document(const char *text, size_t n_bytes,
                              void (*visit)(void *context, const char *document, size_t n), void *context)
{
    for (size_t from = 0; from <= n_bytes;) {
        const char *end = memchr(text + from, DOCUMENT_SEPARATOR, n_bytes - from);
        const size_t to = end != NULL ? (size_t)(end - text) : n_bytes;
        if (to > from)
            visit(context, text + from, to - from);
        from = to + 1;
    }
}

static void count_document(void *context, const char *document, size_t n)
{
    struct piece_walk walk;
    uint64_t from, to;
    piece_walk_init(&walk, gpt2(), document, n);
    while (piece_walk_next(&walk, &from, &to))
        count_piece(context, document + from, to - from);
}

// ---- Learning --------------------------------------------------------------------------------------------------------

struct pair_counts {
    uint32_t n_tokens;
    int64_t *counts;   // [n_tokens, n_tokens]
    bool *listed;      // the same: the pair stands in `pairs`
    uint32_t *pairs;   // indices into counts of the pairs ever seen
    size_t n_pairs, capacity;
};

static void add_count(struct pair_counts *p, uint32_t a, uint32_t b, int64_t n)
{
    const uint32_t index = a * p->n_tokens + b;
    p->counts[index] += n;
    if (p->listed[index])
        return;
    p->listed[index] = true;
    if (p->n_pairs == p->capacity) {
        p->capacity *= 2;
        p->pairs = realloc(p->pairs, p->capacity * sizeof *p->pairs);
        if (p->pairs == NULL)
            exit(1);
    }
    p->pairs[p->n_pairs++] = index;
}

static uint32_t most_frequent(const struct pair_counts *p)
{
    uint32_t best = p->pairs[0];
    for (size_t i = 1; i < p->n_pairs; i++) {
        const uint32_t index = p->pairs[i];
        if (p->counts[index] > p->counts[best] || (p->counts[index] == p->counts[best] && index < best))
            best = index;
    }
    return best;
}

// Joins the pair wherever the piece has it, and keeps the counts of all pairs true.
static void merge_piece(struct pair_counts *p, struct piece *piece, uint32_t a, uint32_t b, uint32_t token)
{
    const int64_t n = (int64_t)piece->count;
    bool has = false;
    for (size_t i = 0; i + 1 < piece->n_tokens && !has; i++)
        has = piece->tokens[i] == a && piece->tokens[i + 1] == b;
    if (!has)
        return;
    for (size_t i = 0; i + 1 < piece->n_tokens; i++)
        add_count(p, piece->tokens[i], piece->tokens[i + 1], -n);
    size_t kept = 0;
    for (size_t i = 0; i < piece->n_tokens; i++) {
        const bool joined = i + 1 < piece->n_tokens && piece->tokens[i] == a && piece->tokens[i + 1] == b;
        piece->tokens[kept++] = joined ? token : piece->tokens[i];
        i += joined;
    }
    piece->n_tokens = kept;
    for (size_t i = 0; i + 1 < piece->n_tokens; i++)
        add_count(p, piece->tokens[i], piece->tokens[i + 1], n);
}

struct vocabulary *vocabulary_learn(const char *text, size_t n_bytes, uint32_t n_tokens)
{
    struct vocabulary *v = allocate(1, sizeof *v);
    const size_t n_all = (size_t)n_tokens * n_tokens;
    struct pieces pieces = {.slots = allocate(1024, sizeof *pieces.slots), .n_slots = 1024};
    struct pair_counts p = {.n_tokens = n_tokens,
                            .counts = allocate(n_all, sizeof *p.counts),
                            .listed = allocate(n_all, sizeof *p.listed),
                            .pairs = allocate(1024, sizeof *p.pairs),
                            .capacity = 1024};
    *v = (struct vocabulary){.n_tokens = n_tokens,
                             .merges = allocate(n_tokens - FIRST_MERGE_TOKEN, sizeof *v->merges),
                             .merged = allocate(n_all, sizeof *v->merged)};
    for_each_document(text, n_bytes, count_document, &pieces);
    for (size_t s = 0; s < pieces.n_slots; s++)
        for (size_t i = 0; i + 1 < pieces.slots[s].n_tokens; i++)
            add_count(&p, pieces.slots[s].tokens[i], pieces.slots[s].tokens[i + 1], (int64_t)pieces.slots[s].count);
    for (uint32_t token = FIRST_MERGE_TOKEN; token < n_tokens; token++) {
        const uint32_t best = most_frequent(&p), a = best / n_tokens, b = best % n_tokens;
        v->merges[token - FIRST_MERGE_TOKEN][0] = a;
        v->merges[token - FIRST_MERGE_TOKEN][1] = b;
        v->merged[best] = token;
        for (size_t s = 0; s < pieces.n_slots; s++)
            if (pieces.slots[s].n_bytes != 0)
                merge_piece(&p, &pieces.slots[s], a, b, token);
    }
    for (size_t s = 0; s < pieces.n_slots; s++)
        free(pieces.slots[s].tokens);
    free(pieces.slots);
    free(p.counts);
    free(p.listed);
    free(p.pairs);
    return v;
}

void vocabulary_free(struct vocabulary *vocabulary)
{
    free(vocabulary->merges);
    free(vocabulary->merged);
    free(vocabulary);
}

// ---- Encoding --------------------------------------------------------------------------------------------------------

struct encoding {
    const struct vocabulary *vocabulary;
    uint32_t *tokens; // one per byte and two per document suffice
    size_t n;
};

static void encode_piece(struct encoding *e, const char *bytes, size_t n)
{
    const struct vocabulary *v = e->vocabulary;
    uint32_t *tokens = e->tokens + e->n;
    for (size_t i = 0; i < n; i++)
        tokens[i] = FIRST_BYTE_TOKEN + (unsigned char)bytes[i];
    for (;;) {
        // Merges are learnt in the order of their ids, so the lowest id is the one that comes first.
        uint32_t lowest = UINT32_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const uint32_t token = v->merged[(size_t)tokens[i] * v->n_tokens + tokens[i + 1]];
            if (token != 0 && token < lowest) {
                lowest = token;
                at = i;
            }
        }
        if (lowest == UINT32_MAX)
            break;
        tokens[at] = lowest;
        memmove(tokens + at + 1, tokens + at + 2, (n - at - 2) * sizeof *tokens);
        n--;
    }
    e->n += n;
}

static void encode_document(void *context, const char *document, size_t n)
{
    struct encoding *e = context;
    struct piece_walk walk;
    uint64_t from, to;
    e->tokens[e->n++] = TOKEN_BOS;
    piece_walk_init(&walk, gpt2(), document, n);
    while (piece_walk_next(&walk, &from, &to))
        encode_piece(e, document + from, to - from);
    e->tokens[e->n++] = TOKEN_EOS;
}

size_t vocabulary_encode(const struct vocabulary *vocabulary, const char *text, size_t n_bytes, uint32_t **out)
{
    // A document of one byte takes three tokens and, but for the last, a separator.
    struct encoding e = {.vocabulary = vocabulary, .tokens = allocate(2 * n_bytes + 4, sizeof *e.tokens)};
    for_each_document(text, n_bytes, encode_document, &e);
    *out = e.tokens;
    return e.n;
}

size_t vocabulary_bytes(const struct vocabulary *vocabulary, uint32_t token, unsigned char *out)
{
    if (token < FIRST_BYTE_TOKEN)
        return 0;
    if (token < FIRST_MERGE_TOKEN) {
        out[0] = (unsigned char)(token - FIRST_BYTE_TOKEN);
        return 1;
    }
    const uint32_t *pair = vocabulary->merges[token - FIRST_MERGE_TOKEN];
    const size_t n = vocabulary_bytes(vocabulary, pair[0], out);
    return n + vocabulary_bytes(vocabulary, pair[1], out + n);
}
