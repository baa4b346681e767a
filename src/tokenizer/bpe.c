#include "tokenizer/bpe.h"

#include "tokenizer/unicode.h"

#include <string.h>

#define MERGES_KEY "tokenizer.ggml.merges"
#define WHOLE_PIECE_BYTES 512 // a longer piece is not looked up as a token

static uint64_t slot_at(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) ^ bpe->seed;
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return (h ^ h >> 32) & (bpe->n_slots - 1);
}

// The slot of this pair, or the empty one where it would go.
static struct bpe_merge *find_slot(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    for (uint64_t at = slot_at(bpe, left, right);; at = (at + 1) & (bpe->n_slots - 1)) {
        struct bpe_merge *slot = &bpe->slots[at];
        if (slot->pair.rank == MERGE_NONE || (slot->left == left && slot->right == right))
            return slot;
    }
}

static struct merge_pair find_merge(const void *context, uint32_t left, uint32_t right, const char *from,
                                    uint32_t n_bytes)
{
    (void)from;
    (void)n_bytes;
    return find_slot(context, left, right)->pair;
}

static enum chord_status bad_merge(struct chord_error *err, uint64_t index, struct gguf_string merge, const char *why)
{
    char name[TOKEN_NAME_BYTES];
    return chord_fail(err, CHORD_TOKENIZER, "merge %llu of " MERGES_KEY ", '%s', %s: convert the model again",
                      (unsigned long long)index, vocabulary_name(name, merge.bytes, merge.n_bytes), why);
}

static bool is_spelled(const struct vocabulary *vocabulary, uint32_t id, const char *text, uint64_t n_bytes)
{
    return id < vocabulary->n_tokens && vocabulary->tokens[id].n_bytes == n_bytes &&
           memcmp(vocabulary->tokens[id].text, text, (size_t)n_bytes) == 0;
}

// The token spelled so. Merges mostly come in the order of the tokens they give: `last`, what the merge before
// gave, and the one after it are tried first, which spares the cache misses of a search.
static uint32_t find_result(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes, uint32_t last)
{
    if (is_spelled(vocabulary, last, text, n_bytes))
        return last;
    if (is_spelled(vocabulary, last + 1, text, n_bytes))
        return last + 1;
    return vocabulary_find(vocabulary, text, n_bytes);
}

// A merge on its way into the table.
struct pending_merge {
    struct gguf_string text;
    uint64_t n_left;                // bytes before the space
    uint64_t left_hash, right_hash; // of the two tokens' texts
    uint32_t left, right, result;
};

// Two tokens with a space between them.
static enum chord_status parse_merge(const struct vocabulary *vocabulary, uint64_t index, struct pending_merge *merge,
                                     struct chord_error *err)
{
    const struct gguf_string text = merge->text;
    const char *space = text.n_bytes < 3 ? NULL : memchr(text.bytes + 1, ' ', (size_t)text.n_bytes - 2);
    if (space == NULL)
        return bad_merge(err, index, text, "is not two tokens with a space between them");
    merge->n_left = (uint64_t)(space - text.bytes);
    merge->left_hash = vocabulary_hash(vocabulary, text.bytes, merge->n_left);
    merge->right_hash = vocabulary_hash(vocabulary, space + 1, text.n_bytes - merge->n_left - 1);
    return CHORD_OK;
}

// Finds the ids. *last: in, what the merge before gives; out, what this one gives. `joined` has room for any token.
static enum chord_status resolve_merge(const struct vocabulary *vocabulary, uint64_t index, struct pending_merge *merge,
                                       char *joined, uint32_t *last, struct chord_error *err)
{
    const char *left = merge->text.bytes, *right = left + merge->n_left + 1;
    const uint64_t n_left = merge->n_left, n_right = merge->text.n_bytes - n_left - 1;
    merge->left = vocabulary_find_hashed(vocabulary, left, n_left, merge->left_hash);
    merge->right = vocabulary_find_hashed(vocabulary, right, n_right, merge->right_hash);
    if (merge->left == TOKEN_NONE || merge->right == TOKEN_NONE)
        return bad_merge(err, index, merge->text, "names a text that is no token");
    merge->result = TOKEN_NONE;
    if (n_left + n_right <= vocabulary->max_bytes) {
        memcpy(joined, left, (size_t)n_left);
        memcpy(joined + n_left, right, (size_t)n_right);
        merge->result = find_result(vocabulary, joined, n_left + n_right, *last);
    }
    if (merge->result == TOKEN_NONE)
        return bad_merge(err, index, merge->text, "gives a text that is no token");
    *last = merge->result;
    return CHORD_OK;
}

static void insert_merge(struct bpe *bpe, uint32_t rank, const struct pending_merge *merge)
{
    if (!token_is_text(&bpe->vocabulary->tokens[merge->result]))
        return; // text never becomes a control token
    struct bpe_merge *slot = find_slot(bpe, merge->left, merge->right);
    if (slot->pair.rank == MERGE_NONE) // of equal ones the first counts
        *slot = (struct bpe_merge){
            .left = merge->left, .right = merge->right, .pair = {.rank = rank, .result = merge->result}};
}

#define MERGE_BATCH 32

// Hundreds of thousands of merges are looked up in tables larger than the caches: in batches, so that the waits overlap.
static enum chord_status add_merges(struct bpe *bpe, const struct gguf_value *array, char *joined,
                                    struct chord_error *err)
{
    const struct vocabulary *vocabulary = bpe->vocabulary;
    struct pending_merge batch[MERGE_BATCH];
    struct gguf_string_walk walk = gguf_strings(array);
    uint32_t rank = 0, n, last = 0;
    do {
        for (n = 0; n < MERGE_BATCH && gguf_next_string(&walk, &batch[n].text); n++) {
            const enum chord_status status = parse_merge(vocabulary, rank + n, &batch[n], err);
            if (status != CHORD_OK)
                return status;
        }
        for (int step = 0; step < 3; step++)
            for (uint32_t i = 0; i < n; i++) {
                vocabulary_prefetch(vocabulary, batch[i].left_hash, step);
                vocabulary_prefetch(vocabulary, batch[i].right_hash, step);
            }
        for (uint32_t i = 0; i < n; i++) {
            const enum chord_status status = resolve_merge(vocabulary, rank + i, &batch[i], joined, &last, err);
            if (status != CHORD_OK)
                return status;
            __builtin_prefetch(&bpe->slots[slot_at(bpe, batch[i].left, batch[i].right)]);
        }
        for (uint32_t i = 0; i < n; i++)
            insert_merge(bpe, rank + i, &batch[i]);
        rank += n;
    } while (n == MERGE_BATCH);
    return CHORD_OK;
}

enum chord_status bpe_load(struct bpe *bpe, const struct vocabulary *vocabulary,
                           const struct pretokenizer *pretokenizer, const struct gguf *gguf, struct chord_error *err)
{
    *bpe = (struct bpe){.vocabulary = vocabulary, .pretokenizer = pretokenizer, .seed = vocabulary->seed};
    const struct gguf_value *array = gguf_find(gguf, MERGES_KEY);
    if (array == NULL)
        return chord_fail(err, CHORD_GGUF_METADATA,
                          MERGES_KEY " is missing: the file has no complete vocabulary; convert the model again");
    if (array->type != GGUF_ARRAY || array->element != GGUF_STRING)
        return chord_fail(err, CHORD_GGUF_METADATA, MERGES_KEY " should be an array of strings");
    if (array->n_elements > INT32_MAX)
        return chord_fail(err, CHORD_TOKENIZER, MERGES_KEY " has %llu elements; chord takes at most 2147483647",
                          (unsigned long long)array->n_elements);
    bpe->n_slots = 16;
    while (bpe->n_slots < array->n_elements + array->n_elements / 2)
        bpe->n_slots *= 2;
    const uint64_t n_bytes = bpe->n_slots * sizeof *bpe->slots;
    bpe->slots = memory_alloc(vocabulary->account, MEMORY_TOKENIZER, n_bytes, 64);
    if (bpe->slots == NULL)
        return memory_account_fail(vocabulary->account, err, n_bytes, "the merges of the vocabulary");
    memset(bpe->slots, 0xff, (size_t)n_bytes);
    char *joined = memory_alloc(vocabulary->account, MEMORY_TOKENIZER, vocabulary->max_bytes, 16);
    const enum chord_status status =
        joined != NULL
            ? add_merges(bpe, array, joined, err)
            : memory_account_fail(vocabulary->account, err, vocabulary->max_bytes, "the merges of the vocabulary");
    memory_free(vocabulary->account, joined);
    if (status != CHORD_OK)
        bpe_free(bpe);
    return status;
}

void bpe_free(struct bpe *bpe)
{
    if (bpe->slots != NULL)
        memory_free(bpe->vocabulary->account, bpe->slots);
    bpe->slots = NULL;
}

// The token that a whole piece is, or TOKEN_NONE.
static uint32_t find_whole(const struct vocabulary *vocabulary, const unsigned char *piece, uint32_t n)
{
    char text[2 * WHOLE_PIECE_BYTES + 4];
    uint32_t n_text = 0;
    if (n > WHOLE_PIECE_BYTES || n > vocabulary->max_bytes)
        return TOKEN_NONE;
    for (uint32_t i = 0; i < n; i++)
        n_text += unicode_encode(byte_level_from_byte(piece[i]), text + n_text);
    const uint32_t id = vocabulary_find(vocabulary, text, n_text);
    return id != TOKEN_NONE && token_is_text(&vocabulary->tokens[id]) ? id : TOKEN_NONE;
}

static bool encode_piece(const struct bpe *bpe, const unsigned char *piece, uint32_t n, struct merge_scratch *scratch,
                         struct token_list *list)
{
    const struct vocabulary *vocabulary = bpe->vocabulary;
    uint32_t short_ids[MERGE_SHORT], short_starts[MERGE_SHORT + 1];
    uint32_t *ids = short_ids, *starts = short_starts;
    if (bpe->pretokenizer->ignore_merges) {
        const uint32_t id = find_whole(vocabulary, piece, n);
        if (id != TOKEN_NONE)
            return token_list_append(list, id);
    }
    if (n > MERGE_SHORT) {
        if (!merge_scratch_reserve(scratch, n))
            return false;
        ids = scratch->ids;
        starts = scratch->starts;
    }
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = vocabulary->byte_ids[piece[i]];
        starts[i] = i;
    }
    starts[n] = n;
    const uint32_t n_left = n > MERGE_SHORT ? merge_long(bpe, find_merge, (const char *)piece, scratch, n)
                                            : merge_short(bpe, find_merge, (const char *)piece, ids, starts, n);
    for (uint32_t i = 0; i < n_left; i++) {
        const uint32_t id = ids[i] == TOKEN_NONE ? vocabulary->unk : ids[i];
        if (id != TOKEN_NONE && !token_list_append(list, id))
            return false;
    }
    return true;
}

bool bpe_encode(const struct bpe *bpe, const char *text, uint64_t n_bytes, struct merge_scratch *scratch,
                struct token_list *list)
{
    struct piece_walk walk;
    uint64_t from, to;
    piece_walk_init(&walk, bpe->pretokenizer, text, n_bytes);
    while (piece_walk_next(&walk, &from, &to))
        if (!encode_piece(bpe, (const unsigned char *)text + from, (uint32_t)(to - from), scratch, list))
            return false;
    return true;
}
