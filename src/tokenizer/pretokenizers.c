#include "tokenizer/pretokenizers.h"

#include "tokenizer/unicode.h"

#include <string.h>

// Expressions as published with the models (tokenizer.json), in the words of struct word_rules.
#define NOT_SYMBOL (UNICODE_SPACE | UNICODE_LETTER | UNICODE_NUMBER)

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
#define GPT2_WORDS                              \
    {                                           \
        .kind = SPLIT_WORDS, .words = {         \
            .contractions = CONTRACTIONS_EXACT, \
            .space_before_digits = true,        \
            .letters = UNICODE_LETTER,          \
            .not_symbol = NOT_SYMBOL,           \
            .symbol_tail = ""                   \
        }                                       \
    }

// (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}| ?[^\s\p{L}\p{N}]+[TAIL]*|\s*[\r\n]+|\s+(?!\S)|\s+
#define GPT4_WORDS(CONTRACTIONS, MORE_LETTERS, DIGITS, TAIL) \
    {                                                        \
        .kind = SPLIT_WORDS, .words = {                      \
            .contractions = CONTRACTIONS,                    \
            .any_prefix = true,                              \
            .newlines = true,                                \
            .letters = UNICODE_LETTER | (MORE_LETTERS),      \
            .not_symbol = NOT_SYMBOL | (MORE_LETTERS),       \
            .n_digits = DIGITS,                              \
            .symbol_tail = TAIL                              \
        }                                                    \
    }

// The same with words that break where lower case turns to upper case.
#define GPT4O_WORDS(SUFFIX_CONTRACTIONS, DIGITS)        \
    {                                                   \
        .kind = SPLIT_WORDS, .words = {                 \
            .suffix_contractions = SUFFIX_CONTRACTIONS, \
            .any_prefix = true,                         \
            .newlines = true,                           \
            .cased = true,                              \
            .letters = UNICODE_LETTER,                  \
            .not_symbol = NOT_SYMBOL,                   \
            .n_digits = DIGITS,                         \
            .symbol_tail = "\r\n/"                      \
        }                                               \
    }

// [\p{N}]{LEAST,MOST}
#define NUMBERS(LEAST, MOST)                                                                                      \
    {                                                                                                             \
        .kind = SPLIT_ISOLATE, .isolate = {.classes = UNICODE_NUMBER, .extra = "", .least = LEAST, .most = MOST } \
    }

// [0-9][0-9][0-9]
#define ASCII_TRIPLES                       \
    {                                       \
        .kind = SPLIT_ISOLATE, .isolate = { \
            .classes = UNICODE_NUMBER,      \
            .ascii = true,                  \
            .extra = "",                    \
            .least = 3,                     \
            .most = 3                       \
        }                                   \
    }

// [\p{P}EXTRA]+
#define PUNCTUATION(EXTRA)                                                                              \
    {                                                                                                   \
        .kind = SPLIT_ISOLATE, .isolate = {.classes = UNICODE_PUNCTUATION, .extra = EXTRA, .least = 1 } \
    }

static const struct pretokenizer pretokenizers[] = {
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "mellum",
               "a.x-4.0", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert"},
     .stages = {GPT2_WORDS}},
    {.names = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 3, "\r\n")},
     .ignore_merges = true,
     .add_bos = true},
    {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 3, "\r\n")}},
    {.names = {"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open", "kormo",
               "bailingmoe", "bailingmoe2", "llada-moe"},
     .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 1, "\r\n")}},
    {.names = {"qwen35"}, .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, UNICODE_MARK, 1, "\r\n")}},
    {.names = {"seed-coder"}, .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 1, "")}},
    {.names = {"minicpm5"},
     .stages = {NUMBERS(1, 3), GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 0, "\r\n")},
     .ignore_merges = true},
    {.names = {"gpt-4o", "llama4", "kanana2", "minimax-m2"}, .stages = {GPT4O_WORDS(CONTRACTIONS_FOLDED, 3)}},
    {.names = {"tekken"}, .stages = {GPT4O_WORDS(CONTRACTIONS_NONE, 1)}, .ignore_merges = true, .add_bos = true},
    {.names = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
     .stages = {NUMBERS(1, 1), GPT2_WORDS}},
    {.names = {"falcon"}, .stages = {PUNCTUATION("$+<=>^~|`"), GPT2_WORDS, ASCII_TRIPLES}},
    {.names = {"default"}, .stages = {PUNCTUATION("$+<=>^~|"), GPT2_WORDS, NUMBERS(1, 0), ASCII_TRIPLES}},
};

const struct pretokenizer *pretokenizer_find(const char *text, uint64_t n_bytes, const char **name)
{
    for (size_t row = 0; row < sizeof pretokenizers / sizeof *pretokenizers; row++)
        for (size_t i = 0; i < MAX_PRETOKENIZER_NAMES && pretokenizers[row].names[i] != NULL; i++)
            if (strlen(pretokenizers[row].names[i]) == n_bytes &&
                memcmp(pretokenizers[row].names[i], text, (size_t)n_bytes) == 0) {
                *name = pretokenizers[row].names[i];
                return &pretokenizers[row];
            }
    return NULL;
}

// One character of a piece. Past the end of the piece: UNICODE_INVALID, no class, no bytes.
struct character {
    uint32_t c;
    uint32_t n_bytes;
    unsigned class;
};

static struct character character_at(const unsigned char *text, uint64_t at, uint64_t end)
{
    struct character x = {.c = UNICODE_INVALID};
    if (at < end) {
        x.c = unicode_decode(text + at, end - at, &x.n_bytes);
        x.class = unicode_class_of(x.c);
    }
    return x;
}

// End of the run of characters at `at` of which one of `classes` is a class.
static uint64_t end_of_run(const unsigned char *text, uint64_t at, uint64_t end, unsigned classes)
{
    while (at < end) {
        const struct character x = character_at(text, at, end);
        if ((x.class & classes) == 0)
            break;
        at += x.n_bytes;
    }
    return at;
}

// End of the run of characters of none of `classes`.
static uint64_t end_of_run_without(const unsigned char *text, uint64_t at, uint64_t end, unsigned classes)
{
    while (at < end) {
        const struct character x = character_at(text, at, end);
        if ((x.class & classes) != 0)
            break;
        at += x.n_bytes;
    }
    return at;
}

// End of a contraction at `at`, or `at` where there is none.
static uint64_t end_of_contraction(const unsigned char *text, uint64_t at, uint64_t end, enum contractions contractions)
{
    if (contractions == CONTRACTIONS_NONE || at >= end || text[at] != '\'')
        return at;
    struct character first = character_at(text, at + 1, end);
    struct character second = character_at(text, at + 1 + first.n_bytes, end);
    if (contractions == CONTRACTIONS_FOLDED) {
        first.c = unicode_fold_to_ascii(first.c);
        second.c = unicode_fold_to_ascii(second.c);
    }
    if (first.c == 's' || first.c == 't' || first.c == 'm' || first.c == 'd')
        return at + 1 + first.n_bytes;
    if ((first.c == 'r' && second.c == 'e') || (first.c == 'v' && second.c == 'e') ||
        (first.c == 'l' && second.c == 'l'))
        return at + 1 + first.n_bytes + second.n_bytes;
    return at;
}

#define CASED_BOTH (UNICODE_OTHER_LETTER | UNICODE_MARK)
#define CASED_UPPER (UNICODE_UPPER | CASED_BOTH)
#define CASED_LOWER (UNICODE_LOWER | CASED_BOTH)

// upper* lower+ at `at`; `at` where that does not match. Where no lower follows the run of uppers, the run
// gives back what stands behind its last character that is both.
static uint64_t end_of_upper_lower(const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t after_both = at;
    uint64_t here = at;
    while (here < end) {
        const struct character x = character_at(text, here, end);
        if (x.class & UNICODE_LOWER)
            return end_of_run(text, here, end, CASED_LOWER);
        if ((x.class & CASED_UPPER) == 0)
            break;
        here += x.n_bytes;
        if (x.class & CASED_BOTH)
            after_both = here;
    }
    return after_both;
}

// upper+ lower* at `at`; `at` where that does not match.
static uint64_t end_of_upper(const unsigned char *text, uint64_t at, uint64_t end)
{
    const uint64_t after = end_of_run(text, at, end, CASED_UPPER);
    return after == at ? at : end_of_run(text, after, end, CASED_LOWER);
}

static uint64_t end_of_cased_word(const unsigned char *text, uint64_t at, uint64_t end, bool prefix,
                                  uint64_t after_prefix)
{
    uint64_t to;
    if (prefix && (to = end_of_upper_lower(text, after_prefix, end)) != after_prefix)
        return to;
    if ((to = end_of_upper_lower(text, at, end)) != at)
        return to;
    if (prefix && (to = end_of_upper(text, after_prefix, end)) != after_prefix)
        return to;
    return end_of_upper(text, at, end);
}

// End of the word at `at`, or `at` where there is none.
static uint64_t end_of_word(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                            struct character first)
{
    const uint64_t after_first = at + first.n_bytes;
    bool prefix = first.c == ' ';
    if (rules->any_prefix)
        prefix = first.c != '\r' && first.c != '\n' && (first.class & (UNICODE_LETTER | UNICODE_NUMBER)) == 0;
    if (rules->cased) {
        const uint64_t to = end_of_cased_word(text, at, end, prefix, after_first);
        return to == at ? at : end_of_contraction(text, to, end, rules->suffix_contractions);
    }
    if (first.class & rules->letters)
        return end_of_run(text, after_first, end, rules->letters);
    if (prefix) {
        const uint64_t to = end_of_run(text, after_first, end, rules->letters);
        return to == after_first ? at : to;
    }
    return at;
}

static uint64_t end_of_digits(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                              struct character first)
{
    uint64_t to = at;
    if (first.class & UNICODE_NUMBER) {
        for (uint32_t n = 0; rules->n_digits == 0 || n < rules->n_digits; n++) {
            const struct character x = character_at(text, to, end);
            if ((x.class & UNICODE_NUMBER) == 0)
                break;
            to += x.n_bytes;
        }
    } else if (rules->space_before_digits && first.c == ' ') {
        const uint64_t after = end_of_run(text, at + 1, end, UNICODE_NUMBER);
        if (after != at + 1)
            to = after;
    }
    return to;
}

static uint64_t end_of_symbols(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                               struct character first)
{
    uint64_t to = end_of_run_without(text, at, end, rules->not_symbol);
    if (to == at && first.c == ' ') {
        to = end_of_run_without(text, at + 1, end, rules->not_symbol);
        if (to == at + 1)
            return at;
    }
    if (to != at)
        while (to < end && text[to] != 0 && text[to] < 0x80 && strchr(rules->symbol_tail, text[to]) != NULL)
            to++;
    return to;
}

// End of the white space at `at` (there is some): up to its last line break where the rules know line breaks, all
// of it at the end of the piece, and otherwise all but its last character, which belongs to what follows.
static uint64_t end_of_spaces(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at, last = at, after_newline = at;
    while (to < end) {
        const struct character x = character_at(text, to, end);
        if ((x.class & UNICODE_SPACE) == 0)
            break;
        last = to;
        to += x.n_bytes;
        if (x.c == '\r' || x.c == '\n')
            after_newline = to;
    }
    if (rules->newlines && after_newline != at)
        return after_newline;
    return to == end || last == at ? to : last;
}

static uint64_t next_word(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    const struct character first = character_at(text, at, end);
    uint64_t to = end_of_contraction(text, at, end, rules->contractions);
    if (to == at)
        to = end_of_word(rules, text, at, end, first);
    if (to == at)
        to = end_of_digits(rules, text, at, end, first);
    if (to == at)
        to = end_of_symbols(rules, text, at, end, first);
    if (to == at && (first.class & UNICODE_SPACE))
        to = end_of_spaces(rules, text, at, end);
    return to == at ? at + first.n_bytes : to;
}

// End of [set]{least,most} at `at`, or `at` where that does not match.
static uint64_t end_of_isolated(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at;
    uint32_t n = 0;
    while (to < end && (rules->most == 0 || n < rules->most)) {
        const struct character x = character_at(text, to, end);
        const bool in_class = (x.class & rules->classes) != 0 && (x.c < 0x80 || !rules->ascii);
        if (!in_class && (x.c == 0 || x.c >= 0x80 || strchr(rules->extra, (int)x.c) == NULL))
            break;
        to += x.n_bytes;
        n += n < UINT32_MAX;
    }
    return n >= rules->least ? to : at;
}

static uint64_t next_isolated(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = end_of_isolated(rules, text, at, end);
    if (to != at)
        return to;
    do
        to += character_at(text, to, end).n_bytes;
    while (to < end && end_of_isolated(rules, text, to, end) == to);
    return to;
}

void piece_walk_init(struct piece_walk *walk, const struct pretokenizer *pretokenizer, const char *text,
                     uint64_t n_bytes)
{
    *walk = (struct piece_walk){.pretokenizer = pretokenizer, .text = (const unsigned char *)text};
    walk->end[0] = n_bytes;
    while (walk->n_stages < MAX_SPLIT_STAGES && pretokenizer->stages[walk->n_stages].kind != SPLIT_NONE)
        walk->n_stages++;
}

bool piece_walk_next(struct piece_walk *walk, uint64_t *from, uint64_t *to)
{
    if (walk->at >= walk->end[0])
        return false;
    for (uint32_t i = 0; i < walk->n_stages; i++) {
        if (walk->end[i + 1] > walk->at)
            continue; // the inner stages are still at work within this stage's piece
        const struct split_stage *stage = &walk->pretokenizer->stages[i];
        walk->end[i + 1] = stage->kind == SPLIT_WORDS
                               ? next_word(&stage->words, walk->text, walk->at, walk->end[i])
                               : next_isolated(&stage->isolate, walk->text, walk->at, walk->end[i]);
    }
    *from = walk->at;
    *to = walk->end[walk->n_stages];
    walk->at = *to;
    return true;
}
