#include "tokenizer/unigram.h"

#include "base/checked.h"
#include "tokenizer/unicode.h"

#include <float.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define SPACE_MARK "\xe2\x96\x81" // U+2581
#define MARK_BYTES (sizeof SPACE_MARK - 1)
#define UNKNOWN_PENALTY 10.0
// Keys of character maps are a few characters; the walk of a map that means harm ends here.
#define MOST_KEY_BYTES 256

// ---- The character map --------------------------------------------------------------------------------------------------

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static enum chord_status load_map(struct unigram *unigram, const struct gguf *gguf, struct chord_error *err)
{
    const char *key = KEY("precompiled_charsmap");
    const struct gguf_value *value = gguf_find(gguf, key);
    if (value == NULL || value->n_elements == 0)
        return CHORD_OK;
    if (value->type != GGUF_ARRAY || (value->element != GGUF_UINT8 && value->element != GGUF_INT8))
        return chord_fail(err, CHORD_GGUF_METADATA, "%s should be an array of bytes", key);
    const uint64_t n = value->n_data_bytes, n_units = n < 4 ? 0 : read_u32(value->data) / 4;
    if (n < 4 || read_u32(value->data) % 4 != 0 || n_units > (n - 4) / 4)
        return chord_fail(err, CHORD_TOKENIZER, "%s does not hold the array it announces: convert the model again",
                          key);
    unigram->units = value->data + 4;
    unigram->n_units = n_units;
    unigram->texts = (const char *)value->data + 4 + 4 * n_units;
    unigram->n_text_bytes = n - 4 - 4 * n_units;
    if (n_units != 0 && (unigram->n_text_bytes == 0 || unigram->texts[unigram->n_text_bytes - 1] != '\0'))
        return chord_fail(err, CHORD_TOKENIZER, "the texts of %s do not end: convert the model again", key);
    return CHORD_OK;
}

// A unit of the array: where the children of its node begin, relative to it; what byte leads to it (for units that are no nodes but
// values, none: bit 31); whether it ends a key.
static uint64_t unit_children(uint32_t unit)
{
    return (uint64_t)(unit >> 10) << ((unit & 0x200) >> 6);
}

// The longest beginning of the text that the map has: returns its length, or 0, and what stands for it.
static uint64_t find_mapped(const struct unigram *unigram, const unsigned char *text, uint64_t n_bytes,
                            const char **replacement)
{
    uint64_t longest = 0;
    if (unigram->n_units == 0)
        return 0;
    uint64_t node = unit_children(read_u32(unigram->units));
    for (uint64_t i = 0; i < n_bytes && i < MOST_KEY_BYTES && text[i] != 0; i++) {
        node ^= text[i];
        if (node >= unigram->n_units)
            break;
        const uint32_t unit = read_u32(unigram->units + 4 * node);
        if ((unit & 0x800000ffu) != text[i])
            break;
        node ^= unit_children(unit);
        if ((unit & 0x100) == 0)
            continue;
        const uint32_t at = node < unigram->n_units ? read_u32(unigram->units + 4 * node) & 0x7fffffff : UINT32_MAX;
        if (at < unigram->n_text_bytes) {
            longest = i + 1;
            *replacement = unigram->texts + at;
        }
    }
    return longest;
}

// ---- Normalization ------------------------------------------------------------------------------------------------------

struct text {
    struct memory_account *account;
    char *bytes;
    uint64_t n, capacity;
};

static bool append(struct text *text, const char *bytes, uint64_t n)
{
    if (n > text->capacity - text->n) {
        uint64_t capacity;
        if (!checked_add(text->n, n, &capacity) || !checked_mul(capacity, 2, &capacity))
            return false;
        char *larger = memory_resize(text->account, MEMORY_TOKENIZER, text->bytes, capacity);
        if (larger == NULL)
            return false;
        text->bytes = larger;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->n, bytes, (size_t)n);
    text->n += n;
    return true;
}

struct normalizing {
    struct text out;
    bool prefix, merge_spaces;
    bool in_word, had_prefix;
};

static bool append_normalized(struct normalizing *state, const char *bytes, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (bytes[i] == ' ') {
            state->in_word = false;
            if (!state->merge_spaces && !append(&state->out, SPACE_MARK, MARK_BYTES))
                return false;
            continue;
        }
        if (!state->in_word && ((state->prefix && !state->had_prefix) || state->merge_spaces)) {
            state->had_prefix = true;
            if (!append(&state->out, SPACE_MARK, MARK_BYTES))
                return false;
        }
        state->in_word = true;
        if (!append(&state->out, &bytes[i], 1))
            return false;
    }
    return true;
}

static bool normalize(const struct unigram *unigram, const char *text, uint64_t n_bytes, struct normalizing *state)
{
    uint32_t used;
    for (uint64_t at = 0; at < n_bytes;) {
        const unsigned char *here = (const unsigned char *)text + at;
        const char *replacement = NULL;
        const uint64_t n_mapped = find_mapped(unigram, here, n_bytes - at, &replacement);
        bool done;
        if (n_mapped != 0) {
            done = append_normalized(state, replacement, strlen(replacement));
            at += n_mapped;
        } else if (unicode_decode(here, n_bytes - at, &used) == UNICODE_INVALID) {
            done = append_normalized(state, "\xef\xbf\xbd", 3);
            at++;
        } else {
            done = append_normalized(state, text + at, used);
            at += used;
        }
        if (!done)
            return false;
    }
    return true;
}

// ---- Viterbi ------------------------------------------------------------------------------------------------------------

// The best way to write the text up to a byte: its sum of scores, its last token, and where that begins.
struct step {
    double score;
    uint32_t id, from;
};

static void offer(struct step *step, double score, uint32_t id, uint64_t from)
{
    if (score > step->score)
        *step = (struct step){.score = score, .id = id, .from = (uint32_t)from};
}

static double score_of(const struct vocabulary *vocabulary, uint32_t id)
{
    return vocabulary->tokens[id].type == TOKEN_USER_DEFINED ? 0 : (double)vocabulary->scores[id];
}

// steps [n_bytes + 1]
static void find_best(const struct unigram *unigram, const unsigned char *text, uint64_t n_bytes, struct step *steps)
{
    const struct vocabulary *vocabulary = unigram->vocabulary;
    for (uint64_t i = 0; i <= n_bytes; i++)
        steps[i] = (struct step){.score = i == 0 ? 0 : -DBL_MAX, .id = vocabulary->unk};
    uint32_t used;
    for (uint64_t at = 0; at < n_bytes; at += used) {
        unicode_decode(text + at, n_bytes - at, &used);
        const double before = steps[at].score;
        bool is_token = false;
        uint32_t node = 0;
        for (uint64_t end = at + 1; end <= n_bytes; end++) {
            node = trie_next(&unigram->trie, node, text[end - 1]);
            if (node == 0)
                break;
            const uint32_t id = unigram->trie.ids[node];
            if (id == TOKEN_NONE)
                continue;
            is_token |= end == at + used;
            offer(&steps[end], before + score_of(vocabulary, id), id, at);
        }
        if (!is_token)
            offer(&steps[at + used], before + unigram->unknown_score, vocabulary->unk, at);
    }
}

// The tokens of the best way, last to first, and then the other way round.
static bool append_best(const struct unigram *unigram, const struct step *steps, uint64_t n_bytes,
                        struct token_list *list)
{
    const uint32_t unk = unigram->vocabulary->unk;
    const uint64_t begin = list->n;
    bool was_unknown = false;
    for (uint64_t at = n_bytes; at != 0; at = steps[at].from) {
        const bool is_unknown = steps[at].id == unk;
        if (!(is_unknown && (was_unknown || unk == TOKEN_NONE)) && !token_list_append(list, steps[at].id))
            return false;
        was_unknown = is_unknown;
    }
    for (uint64_t i = begin, j = list->n; i + 1 < j; i++) {
        const uint32_t id = list->ids[i];
        list->ids[i] = list->ids[--j];
        list->ids[j] = id;
    }
    return true;
}

bool unigram_encode(const struct unigram *unigram, const char *text, uint64_t n_bytes, bool prefix,
                    struct token_list *list)
{
    struct memory_account *account = unigram->vocabulary->account;
    struct normalizing state = {.out = {.account = account}, .prefix = prefix, .merge_spaces = unigram->merge_spaces};
    struct step *steps = NULL;
    uint64_t n_steps_bytes;
    bool done = normalize(unigram, text, n_bytes, &state) && state.out.n < UINT32_MAX &&
                checked_mul(state.out.n + 1, sizeof *steps, &n_steps_bytes);
    if (done && state.out.n != 0) {
        steps = memory_alloc(account, MEMORY_TOKENIZER, n_steps_bytes, 16);
        done = steps != NULL;
        if (done) {
            find_best(unigram, (const unsigned char *)state.out.bytes, state.out.n, steps);
            done = append_best(unigram, steps, state.out.n, list);
        }
    }
    memory_free(account, steps);
    memory_free(account, state.out.bytes);
    return done;
}

// ---- Loading ------------------------------------------------------------------------------------------------------------

enum chord_status unigram_load(struct unigram *unigram, const struct vocabulary *vocabulary, const struct gguf *gguf,
                               struct chord_error *err)
{
    *unigram = (struct unigram){.vocabulary = vocabulary};
    double least = FLT_MAX;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++)
        if (vocabulary->tokens[id].type == TOKEN_NORMAL && (double)vocabulary->scores[id] < least)
            least = (double)vocabulary->scores[id];
    unigram->unknown_score = least - UNKNOWN_PENALTY;
    enum chord_status status = load_map(unigram, gguf, err);
    if (status == CHORD_OK)
        status = gguf_get_bool_or(gguf, KEY("remove_extra_whitespaces"), false, &unigram->merge_spaces, err);
    if (status == CHORD_OK && !trie_load(&unigram->trie, vocabulary))
        status = memory_account_fail(vocabulary->account, err, sizeof *unigram, "the tokenizer");
    return status;
}

void unigram_free(struct unigram *unigram)
{
    if (unigram->vocabulary != NULL)
        trie_free(&unigram->trie);
}
