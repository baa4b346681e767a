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
            .not_prefix = UNICODE_LETTER | UNICODE_NUMBER,   \
            .newlines = true,                                \
            .letters = UNICODE_LETTER | (MORE_LETTERS),      \
            .not_symbol = NOT_SYMBOL | (MORE_LETTERS),       \
            .n_digits = DIGITS,                              \
            .symbol_tail = TAIL                              \
        }                                                    \
    }

// The same with words that break where lower case turns to upper case.
#define GPT4O_WORDS(SUFFIX_CONTRACTIONS, DIGITS)           \
    {                                                      \
        .kind = SPLIT_WORDS, .words = {                    \
            .suffix_contractions = SUFFIX_CONTRACTIONS,    \
            .not_prefix = UNICODE_LETTER | UNICODE_NUMBER, \
            .newlines = true,                              \
            .cased = true,                                 \
            .letters = UNICODE_LETTER,                     \
            .not_symbol = NOT_SYMBOL,                      \
            .n_digits = DIGITS,                            \
            .symbol_tail = "\r\n/"                         \
        }                                                  \
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

// DeepSeek's sets of characters, as ranges. Letters with case, as the expression lists them:
static const struct code_range cased_letters[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},       {0xd8, 0xf6},
    {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},     {0x295, 0x2af},     {0x370, 0x373},
    {0x376, 0x376},     {0x377, 0x377},     {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},
    {0x388, 0x38a},     {0x38c, 0x38c},     {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},
    {0x48a, 0x52f},     {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},
    {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},
    {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},
    {0x1f59, 0x1f59},   {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},
    {0x1fb6, 0x1fbc},   {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},   {0x2102, 0x2102},
    {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},   {0x2124, 0x2124},
    {0x2126, 0x2126},   {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},
    {0x213c, 0x213f},   {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2183},   {0x2184, 0x2184},
    {0x2c00, 0x2c7b},   {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf2},   {0x2cf3, 0x2cf3},
    {0xa640, 0xa66d},   {0xa680, 0xa69b},   {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},   {0xff21, 0xff3a},   {0xff41, 0xff5a},
    {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2},
    {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};
// [!-/:-~！-／：-～‘-‟　-。]
static const struct code_range wide_punctuation[] = {
    {0x21, 0x2f}, {0x3a, 0x7e}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e},
};
// [一-龥ࠀ-一가-퟿]
static const struct code_range asian[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}};
// [一-龥぀-ゟ゠-ヿ]
static const struct code_range chinese_and_kana[] = {{0x3040, 0x30ff}, {0x4e00, 0x9fa5}};

// [RANGES]+, with a \s? before it where SPACE
#define RANGES(SPACE, TABLE)                          \
    {                                                 \
        .kind = SPLIT_ISOLATE, .isolate = {           \
            .space_before = SPACE,                    \
            .extra = "",                              \
            .ranges = TABLE,                          \
            .n_ranges = sizeof TABLE / sizeof *TABLE, \
            .least = 1                                \
        }                                             \
    }

// \s?[CLASSES]+
#define SPACED(CLASSES)                                                                                        \
    {                                                                                                          \
        .kind = SPLIT_ISOLATE, .isolate = {.classes = CLASSES, .space_before = true, .extra = "", .least = 1 } \
    }

// [\r\n]
#define LINE_BREAK                                                                  \
    {                                                                               \
        .kind = SPLIT_ISOLATE, .isolate = {.extra = "\r\n", .least = 1, .most = 1 } \
    }

// [!-/:-@[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
#define MARKED_WORDS                                                             \
    {                                                                            \
        .kind = SPLIT_WORDS, .words = {                                          \
            .marked_ascii = true,                                                \
            .not_prefix = UNICODE_LETTER | UNICODE_PUNCTUATION | UNICODE_SYMBOL, \
            .newlines = true,                                                    \
            .letters = UNICODE_LETTER | UNICODE_MARK,                            \
            .symbols = UNICODE_PUNCTUATION | UNICODE_SYMBOL,                     \
            .no_digits = true,                                                   \
            .symbol_tail = "\r\n"                                                \
        }                                                                        \
    }

static const struct pretokenizer pretokenizers[] = {
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "mellum",
               "a.x-4.0", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert"},
     .stages = {GPT2_WORDS}},
    {.names = {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
               "jina-v5-nano"},
     .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 3, "\r\n")},
     .ignore_merges = true,
     .add_bos = true},
    {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 3, "\r\n")}},
    {.names = {"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open", "kormo",
               "bailingmoe", "bailingmoe2", "llada-moe", "f2llmv2"},
     .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 1, "\r\n")}},
    {.names = {"qwen35"}, .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, UNICODE_MARK, 1, "\r\n")}},
    {.names = {"seed-coder"}, .stages = {GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 1, "")}},
    {.names = {"minicpm5"},
     .stages = {NUMBERS(1, 3), GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 0, "\r\n")},
     .ignore_merges = true},
    {.names = {"gpt-4o", "llama4", "kanana2", "minimax-m2", "talkie"}, .stages = {GPT4O_WORDS(CONTRACTIONS_FOLDED, 3)}},
    {.names = {"tekken"}, .stages = {GPT4O_WORDS(CONTRACTIONS_NONE, 1)}, .ignore_merges = true, .add_bos = true},
    {.names = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
     .stages = {NUMBERS(1, 1), GPT2_WORDS}},
    {.names = {"deepseek-llm"},
     .stages = {LINE_BREAK,
                RANGES(true, cased_letters),
                RANGES(true, wide_punctuation),
                {.kind = SPLIT_TAIL},
                RANGES(false, asian),
                NUMBERS(1, 0)}},
    {.names = {"deepseek-coder"},
     .stages = {LINE_BREAK, SPACED(UNICODE_LETTER), SPACED(UNICODE_PUNCTUATION), RANGES(false, asian), NUMBERS(1, 1)}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm"},
     .stages = {NUMBERS(1, 3), RANGES(false, chinese_and_kana), MARKED_WORDS}},
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
    if (rules->not_prefix != 0)
        prefix = first.c != '\r' && first.c != '\n' && (first.class & rules->not_prefix) == 0;
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

static bool is_ascii_letter(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// End of an ASCII punctuation mark and the ASCII letters behind it, or `at` where there is none.
static uint64_t end_of_marked(const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at + 1;
    if (text[at] <= ' ' || text[at] >= 0x7f || is_ascii_letter(text[at]) || (text[at] >= '0' && text[at] <= '9'))
        return at;
    while (to < end && is_ascii_letter(text[to]))
        to++;
    return to == at + 1 ? at : to;
}

static uint64_t end_of_digits(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                              struct character first)
{
    uint64_t to = at;
    if (rules->no_digits)
        return at;
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
    const uint64_t from = at + (first.c == ' ');
    uint64_t to = rules->symbols != 0 ? end_of_run(text, from, end, rules->symbols)
                                      : end_of_run_without(text, from, end, rules->not_symbol);
    if (to == from)
        return at;
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

// End of the match at `at`, or `at` where no alternative matches.
static uint64_t end_of_match(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end,
                             struct character first)
{
    uint64_t to = end_of_contraction(text, at, end, rules->contractions);
    if (to == at && rules->marked_ascii)
        to = end_of_marked(text, at, end);
    if (to == at)
        to = end_of_word(rules, text, at, end, first);
    if (to == at)
        to = end_of_digits(rules, text, at, end, first);
    if (to == at)
        to = end_of_symbols(rules, text, at, end, first);
    if (to == at && (first.class & UNICODE_SPACE))
        to = end_of_spaces(rules, text, at, end);
    return to;
}

static uint64_t next_word(const struct word_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    struct character first = character_at(text, at, end);
    uint64_t to = end_of_match(rules, text, at, end, first);
    if (to != at)
        return to;
    do {
        to += first.n_bytes;
        first = character_at(text, to, end);
    } while (to < end && end_of_match(rules, text, to, end, first) == to);
    return to;
}

static bool is_in_ranges(const struct isolate_rules *rules, uint32_t c)
{
    uint32_t low = 0, high = rules->n_ranges;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (rules->ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rules->n_ranges && rules->ranges[low].first <= c;
}

static bool is_isolated(const struct isolate_rules *rules, struct character x)
{
    if ((x.class & rules->classes) != 0 && (x.c < 0x80 || !rules->ascii))
        return true;
    if (x.c != 0 && x.c < 0x80 && strchr(rules->extra, (int)x.c) != NULL)
        return true;
    return rules->n_ranges > 0 && is_in_ranges(rules, x.c);
}

// End of [set]{least,most} at `at`, or `at` where that does not match.
static uint64_t end_of_set(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t to = at;
    uint32_t n = 0;
    while (to < end && (rules->most == 0 || n < rules->most)) {
        const struct character x = character_at(text, to, end);
        if (!is_isolated(rules, x))
            break;
        to += x.n_bytes;
        n += n < UINT32_MAX;
    }
    return n >= rules->least ? to : at;
}

static uint64_t end_of_isolated(const struct isolate_rules *rules, const unsigned char *text, uint64_t at, uint64_t end)
{
    const struct character first = character_at(text, at, end);
    if (rules->space_before && (first.class & UNICODE_SPACE)) {
        const uint64_t from = at + first.n_bytes;
        const uint64_t to = end_of_set(rules, text, from, end);
        if (to != from)
            return to;
    }
    return end_of_set(rules, text, at, end);
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

// Up to the white space at the end of the piece; that, where there is nothing before it.
static uint64_t next_before_tail(const unsigned char *text, uint64_t at, uint64_t end)
{
    uint64_t after_text = at;
    for (uint64_t to = at; to < end;) {
        const struct character x = character_at(text, to, end);
        to += x.n_bytes;
        if ((x.class & UNICODE_SPACE) == 0)
            after_text = to;
    }
    return after_text == at ? end : after_text;
}

static uint64_t next_of_stage(const struct split_stage *stage, const unsigned char *text, uint64_t at, uint64_t end)
{
    switch (stage->kind) {
    case SPLIT_WORDS:
        return next_word(&stage->words, text, at, end);
    case SPLIT_ISOLATE:
        return next_isolated(&stage->isolate, text, at, end);
    case SPLIT_TAIL:
        return next_before_tail(text, at, end);
    case SPLIT_NONE:
        break;
    }
    return end;
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
        walk->end[i + 1] = next_of_stage(&walk->pretokenizer->stages[i], walk->text, walk->at, walk->end[i]);
    }
    *from = walk->at;
    *to = walk->end[walk->n_stages];
    walk->at = *to;
    return true;
}
