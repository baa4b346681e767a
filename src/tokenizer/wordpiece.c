#include "tokenizer/wordpiece.h"

#include "tokenizer/unicode.h"

#include <string.h>

#define WORD_MARK "\xe2\x96\x81" // U+2581
#define MARK_BYTES (sizeof WORD_MARK - 1)

enum chord_status wordpiece_load(struct wordpiece *wordpiece, const struct vocabulary *vocabulary,
                                 const struct gguf *gguf, struct chord_error *err)
{
    enum chord_status status =
        gguf_get_bool_or(gguf, "tokenizer.ggml.normalizer.lowercase", true, &wordpiece->lowers_case, err);
    if (status == CHORD_OK)
        status = gguf_get_bool_or(gguf, "tokenizer.ggml.normalizer.strip_accents", wordpiece->lowers_case,
                                  &wordpiece->strips_accents, err);
    if (status != CHORD_OK)
        return status;
    wordpiece->vocabulary = vocabulary;
    if (!trie_load(&wordpiece->trie, vocabulary))
        return memory_account_fail(vocabulary->account, err, sizeof *wordpiece, "the tokenizer");
    return CHORD_OK;
}

void wordpiece_free(struct wordpiece *wordpiece)
{
    if (wordpiece->vocabulary != NULL)
        trie_free(&wordpiece->trie);
}

// Ideographs, of which each is a word. The gap before U+2B920 is in the reference too.
static bool is_ideograph(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

// A word under way: the mark, then its folded characters.
struct word {
    unsigned char *bytes;
    uint64_t n;
};

// The tokens of a word; none of them stays if a part of it has none.
static bool append_word(const struct wordpiece *wordpiece, struct word *word, struct token_list *list)
{
    const uint64_t n_before = list->n;
    const uint32_t unk = wordpiece->vocabulary->unk;
    if (word->n == MARK_BYTES)
        return true;
    for (uint64_t at = 0; at < word->n;) {
        uint64_t n;
        const uint32_t id = trie_longest(&wordpiece->trie, word->bytes + at, word->n - at, &n);
        if (id == TOKEN_NONE) {
            list->n = n_before;
            break;
        }
        if (!token_list_append(list, id))
            return false;
        at += n;
    }
    word->n = MARK_BYTES;
    return list->n != n_before || unk == TOKEN_NONE || token_list_append(list, unk);
}

bool wordpiece_encode(const struct wordpiece *wordpiece, const char *text, uint64_t n_bytes, struct token_list *list)
{
    struct memory_account *account = wordpiece->vocabulary->account;
    // A character of two bytes may fold to one of three.
    struct word word = {.n = MARK_BYTES};
    word.bytes = memory_alloc(account, MEMORY_TOKENIZER, MARK_BYTES + n_bytes + n_bytes / 2 + 4, 16);
    if (word.bytes == NULL)
        return false;
    memcpy(word.bytes, WORD_MARK, MARK_BYTES);
    bool done = true;
    uint32_t used;
    for (uint64_t at = 0; at < n_bytes && done; at += used) {
        const uint32_t original = unicode_decode((const unsigned char *)text + at, n_bytes - at, &used);
        if (original == UNICODE_INVALID)
            continue;
        const uint32_t c = wordpiece->strips_accents ? unicode_without_accent(original) : original;
        const unsigned class = unicode_class_of(c);
        if (class & UNICODE_SPACE) {
            done = append_word(wordpiece, &word, list);
            continue;
        }
        if (c == 0 || c == 0xfffd || unicode_is_control(c) ||
            (wordpiece->strips_accents && (class & UNICODE_MARK) != 0))
            continue;
        const bool alone =
            (class & UNICODE_PUNCTUATION) != 0 || (c < 0x7f && (class & UNICODE_SYMBOL) != 0) || is_ideograph(c);
        if (alone)
            done = append_word(wordpiece, &word, list);
        word.n += unicode_encode(wordpiece->lowers_case ? unicode_lower(c) : c, (char *)word.bytes + word.n);
        if (alone)
            done = done && append_word(wordpiece, &word, list);
    }
    done = done && append_word(wordpiece, &word, list);
    memory_free(account, word.bytes);
    return done;
}
