#include "tokenizer/spm.h"

#include "base/half.h"
#include "tokenizer/unicode.h"

#include <string.h>

#define SPACE_MARK "\xe2\x96\x81" // U+2581
#define NEIGHBOUR_BITS 18

static uint32_t neighbours_hash(const struct spm *spm, uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 32 | b) ^ spm->seed;
    h *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> (64 - NEIGHBOUR_BITS));
}

// A merge across the border between two characters makes a token in which they stand side by side. Where no token
// has that, the text can be cut there and each part merged by itself, with the same result: mostly, at every word.
static bool can_be_neighbours(const struct spm *spm, uint32_t a, uint32_t b)
{
    const uint32_t h = neighbours_hash(spm, a, b);
    return spm->neighbours[h / 64] >> (h % 64) & 1;
}

static void add_neighbours(struct spm *spm, const struct vocabulary_token *token)
{
    const unsigned char *text = (const unsigned char *)token->text;
    uint32_t n, last = unicode_decode(text, token->n_bytes, &n);
    for (uint32_t at = n; at < token->n_bytes; at += n) {
        const uint32_t c = unicode_decode(text + at, token->n_bytes - at, &n);
        const uint32_t h = neighbours_hash(spm, last, c);
        spm->neighbours[h / 64] |= (uint64_t)1 << (h % 64);
        last = c;
    }
}

// The token of text that is spelled so.
static uint32_t find_text(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes)
{
    const uint32_t id = vocabulary_find(vocabulary, text, n_bytes);
    return id != TOKEN_NONE && token_is_text(&vocabulary->tokens[id]) ? id : TOKEN_NONE;
}

bool spm_load(struct spm *spm, const struct vocabulary *vocabulary)
{
    *spm = (struct spm){.vocabulary = vocabulary, .seed = vocabulary->seed};
    spm->neighbours =
        memory_zalloc(vocabulary->account, MEMORY_TOKENIZER, (1u << NEIGHBOUR_BITS) / 64, sizeof *spm->neighbours);
    if (spm->neighbours == NULL)
        return false;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++)
        if (vocabulary->tokens[id].n_bytes > 1 && token_is_text(&vocabulary->tokens[id]))
            add_neighbours(spm, &vocabulary->tokens[id]);
    for (int c = 0; c < 128; c++) {
        const char text = (char)c;
        spm->ascii_ids[c] = find_text(vocabulary, &text, 1);
    }
    return true;
}

void spm_free(struct spm *spm)
{
    if (spm->neighbours != NULL)
        memory_free(spm->vocabulary->account, spm->neighbours);
    spm->neighbours = NULL;
}

// Higher scores are lower ranks. MERGE_NONE would be a NaN.
static uint32_t rank_of_score(float score)
{
    const uint32_t bits = bits_from_float(score + 0.0f); // + 0: -0 and 0 are equal
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

static struct merge_pair find_pair(const void *context, uint32_t left, uint32_t right, const char *from,
                                   uint32_t n_bytes)
{
    const struct vocabulary *vocabulary = context;
    (void)left; // a character that is no token may be part of one: only the text counts
    (void)right;
    const uint32_t id = find_text(vocabulary, from, n_bytes);
    if (id == TOKEN_NONE)
        return (struct merge_pair){.rank = MERGE_NONE, .result = TOKEN_NONE};
    return (struct merge_pair){.rank = rank_of_score(vocabulary->scores[id]), .result = id};
}

// Symbols that became no token: their bytes, or one unknown token where the vocabulary lacks one of these.
static bool append_bytes(const struct vocabulary *vocabulary, const unsigned char *text, uint32_t n,
                         struct token_list *list)
{
    for (uint32_t i = 0; i < n; i++)
        if (vocabulary->byte_ids[text[i]] == TOKEN_NONE)
            return vocabulary->unk == TOKEN_NONE || token_list_append(list, vocabulary->unk);
    for (uint32_t i = 0; i < n; i++)
        if (!token_list_append(list, vocabulary->byte_ids[text[i]]))
            return false;
    return true;
}

// Encodes `n` characters that may merge with each other and with no other.
static bool encode_run(const struct spm *spm, const char *text, uint32_t n_bytes, uint32_t n,
                       struct merge_scratch *scratch, struct token_list *list)
{
    const struct vocabulary *vocabulary = spm->vocabulary;
    const unsigned char *bytes = (const unsigned char *)text;
    uint32_t short_ids[MERGE_SHORT], short_starts[MERGE_SHORT + 1];
    uint32_t *ids = short_ids, *starts = short_starts;
    if (n > MERGE_SHORT) {
        if (!merge_scratch_reserve(scratch, n))
            return false;
        ids = scratch->ids;
        starts = scratch->starts;
    }
    uint32_t used;
    for (uint32_t i = 0, at = 0; i < n; i++, at += used) {
        unicode_decode(bytes + at, n_bytes - at, &used);
        starts[i] = at;
        ids[i] = bytes[at] < 0x80 ? spm->ascii_ids[bytes[at]] : find_text(vocabulary, text + at, used);
    }
    starts[n] = n_bytes;
    const uint32_t n_left = n > MERGE_SHORT ? merge_long(vocabulary, find_pair, text, scratch, n)
                                            : merge_short(vocabulary, find_pair, text, ids, starts, n);
    for (uint32_t i = 0; i < n_left; i++)
        if (!(ids[i] != TOKEN_NONE ? token_list_append(list, ids[i])
                                   : append_bytes(vocabulary, bytes + starts[i], starts[i + 1] - starts[i], list)))
            return false;
    return true;
}

static bool encode_normalized(const struct spm *spm, const char *text, uint64_t n_bytes, struct merge_scratch *scratch,
                              struct token_list *list)
{
    const unsigned char *bytes = (const unsigned char *)text;
    uint64_t at = 0;
    while (at < n_bytes) {
        uint32_t used, n = 1;
        const uint64_t from = at;
        uint32_t last = unicode_decode(bytes + at, n_bytes - at, &used);
        for (at += used; at < n_bytes; at += used, n++) {
            const uint32_t c = unicode_decode(bytes + at, n_bytes - at, &used);
            if (!can_be_neighbours(spm, last, c))
                break;
            last = c;
        }
        if (!encode_run(spm, text + from, (uint32_t)(at - from), n, scratch, list))
            return false;
    }
    return true;
}

bool spm_encode(const struct spm *spm, const char *text, uint64_t n_bytes, bool prefix, struct merge_scratch *scratch,
                struct token_list *list)
{
    const uint64_t n_mark = sizeof SPACE_MARK - 1;
    struct memory_account *account = spm->vocabulary->account;
    uint64_t n_normalized = n_bytes + (prefix ? n_mark : 0);
    for (uint64_t i = 0; i < n_bytes; i++)
        n_normalized += text[i] == ' ' ? n_mark - 1 : 0;
    char *normalized = memory_alloc(account, MEMORY_TOKENIZER, n_normalized, 16);
    if (normalized == NULL)
        return false;
    uint64_t n = 0;
    for (uint64_t i = 0; i < n_bytes + (prefix ? 1 : 0); i++) {
        const char c = !prefix ? text[i] : i == 0 ? ' ' : text[i - 1];
        if (c == ' ') {
            memcpy(normalized + n, SPACE_MARK, (size_t)n_mark);
            n += n_mark;
        } else {
            normalized[n++] = c;
        }
    }
    const bool done = encode_normalized(spm, normalized, n, scratch, list);
    memory_free(account, normalized);
    return done;
}
