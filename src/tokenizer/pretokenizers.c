#include "tokenizer/pretokenizers.h"

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

// The same with words that break where lower case turns to upper case, and where a set begins or ends.
#define CASED_WORDS(SUFFIX_CONTRACTIONS, DIGITS, TAIL, ALONE) \
    {                                                         \
        .kind = SPLIT_WORDS, .words = {                       \
            .suffix_contractions = SUFFIX_CONTRACTIONS,       \
            .not_prefix = UNICODE_LETTER | UNICODE_NUMBER,    \
            .newlines = true,                                 \
            .cased = true,                                    \
            .alone = ALONE,                                   \
            .letters = UNICODE_LETTER,                        \
            .not_symbol = NOT_SYMBOL,                         \
            .n_digits = DIGITS,                               \
            .symbol_tail = TAIL                               \
        }                                                     \
    }
#define GPT4O_WORDS(SUFFIX_CONTRACTIONS, DIGITS) CASED_WORDS(SUFFIX_CONTRACTIONS, DIGITS, "\r\n/", NULL)

// As GPT4_WORDS with one digit, but words go on over single spaces: \p{L}\p{M}*(?: ?\p{L}\p{M}*)*, and behind symbols
// stands at most one of the tail.
#define PHRASES                                            \
    {                                                      \
        .kind = SPLIT_WORDS, .words = {                    \
            .contractions = CONTRACTIONS_FOLDED,           \
            .not_prefix = UNICODE_LETTER | UNICODE_NUMBER, \
            .newlines = true,                              \
            .phrases = true,                               \
            .letters = UNICODE_LETTER,                     \
            .not_symbol = NOT_SYMBOL,                      \
            .n_digits = 1,                                 \
            .symbol_tail = "\r\n/",                        \
            .one_tail = true                               \
        }                                                  \
    }

// As GPT4_WORDS with three digits, but white space is cut into lengths of powers of two.
#define HALVED_SPACES                                      \
    {                                                      \
        .kind = SPLIT_WORDS, .words = {                    \
            .contractions = CONTRACTIONS_FOLDED,           \
            .not_prefix = UNICODE_LETTER | UNICODE_NUMBER, \
            .newlines = true,                              \
            .halved_spaces = true,                         \
            .letters = UNICODE_LETTER,                     \
            .not_symbol = NOT_SYMBOL,                      \
            .n_digits = 3,                                 \
            .symbol_tail = "\r\n"                          \
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
static const struct unicode_range cased_letters[] = {
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
static const struct unicode_range wide_punctuation[] = {
    {0x21, 0x2f}, {0x3a, 0x7e}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e},
};
// [一-龥ࠀ-一가-퟿]
static const struct unicode_range asian[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}};
// [一-龥぀-ゟ゠-ヿ]
static const struct unicode_range chinese_and_kana[] = {{0x3040, 0x30ff}, {0x4e00, 0x9fa5}};

// Korean, punctuation, Bopomofo, and Chinese with kana, as Youtu's expression lists them.
static const struct unicode_range korean[] = {{0x3131, 0x318e}, {0xac00, 0xd7a3}};
static const struct unicode_range chinese_punctuation[] = {
    {0x2014, 0x2014}, {0x2018, 0x2019}, {0x201c, 0x201d}, {0x2026, 0x2026}, {0x3001, 0x303f},
    {0xfe30, 0xfe4f}, {0xff01, 0xff01}, {0xff0c, 0xff0c}, {0xff1a, 0xff1b},
};
static const struct unicode_range bopomofo[] = {{0x3105, 0x312f}};
static const struct unicode_range youtu_chinese[] = {{0x3040, 0x309f}, {0x30a0, 0x30ff}, {0x4e00, 0x9fa5}};
// …。，、।۔،, which end words for BLOOM and its kin.
static const struct unicode_range bloom_stops[] = {
    {0x60c, 0x60c}, {0x6d4, 0x6d4}, {0x964, 0x964}, {0x2026, 0x2026}, {0x3001, 0x3002}, {0xff0c, 0xff0c},
};

// [RANGES]+, with a \s? before it where SPACE
#define RANGES(SPACE, TABLE)                              \
    {                                                     \
        .kind = SPLIT_ISOLATE, .isolate = {               \
            .space_before = SPACE,                        \
            .extra = "",                                  \
            .set = {TABLE, sizeof TABLE / sizeof *TABLE}, \
            .least = 1                                    \
        }                                                 \
    }

//  ?[^(\s|.,!?…。，、।۔،)]+
#define BLOOM_WORDS                                                         \
    {                                                                       \
        .kind = SPLIT_ISOLATE, .isolate = {                                 \
            .negated = true,                                                \
            .blank_before = true,                                           \
            .classes = UNICODE_SPACE,                                       \
            .extra = "(|.,!?)",                                             \
            .set = {bloom_stops, sizeof bloom_stops / sizeof *bloom_stops}, \
            .least = 1                                                      \
        }                                                                   \
    }

// [^\n]+|[\n]+
#define LINES                                                                           \
    {                                                                                   \
        .kind = SPLIT_ISOLATE, .isolate = {.negated = true, .extra = "\n", .least = 1 } \
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

// \d{1,3}(?=(?:\d{3})*\b)
#define WHOLE_NUMBERS_BY_THREES                                    \
    {                                                              \
        .kind = SPLIT_THREES, .threes = {.before_boundary = true } \
    }
// (?=(\d{3})+(?!\d))
#define BEFORE_THREES                                          \
    {                                                          \
        .kind = SPLIT_THREES, .threes = {.only_before = true } \
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

// The same with ` ?[\p{P}\p{S}]+|[\r\n]` for ` ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+`
#define MARKED_WORDS_AND_LINE_BREAKS                                             \
    {                                                                            \
        .kind = SPLIT_WORDS, .words = {                                          \
            .marked_ascii = true,                                                \
            .not_prefix = UNICODE_LETTER | UNICODE_PUNCTUATION | UNICODE_SYMBOL, \
            .lone_newlines = true,                                               \
            .letters = UNICODE_LETTER | UNICODE_MARK,                            \
            .symbols = UNICODE_PUNCTUATION | UNICODE_SYMBOL,                     \
            .no_digits = true,                                                   \
            .symbol_tail = ""                                                    \
        }                                                                        \
    }

static const struct pretokenizer pretokenizers[] = {
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "mellum",
               "a.x-4.0", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert"},
     .stages = {GPT2_WORDS}},
    {.names = {"roberta-bpe", "jina-v1-en", "jina-v2-code"}, .stages = {GPT2_WORDS}, .add_sep = true},
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
    {.names = {"granite-embed-multi-97m"}, .stages = {GPT4O_WORDS(CONTRACTIONS_FOLDED, 3)}, .ignore_merges = true},
    {.names = {"tiny_aya", "cohere2moe"}, .stages = {WHOLE_NUMBERS_BY_THREES, GPT4O_WORDS(CONTRACTIONS_FOLDED, 3)}},
    {.names = {"kimi-k2"}, .stages = {CASED_WORDS(CONTRACTIONS_FOLDED, 3, "\r\n", &unicode_han)}},
    {.names = {"youtu"},
     .stages = {RANGES(false, korean), RANGES(false, chinese_punctuation), RANGES(false, bopomofo),
                RANGES(false, youtu_chinese), GPT4O_WORDS(CONTRACTIONS_FOLDED, 1)},
     .ignore_merges = true},
    {.names = {"tekken"}, .stages = {GPT4O_WORDS(CONTRACTIONS_NONE, 1)}, .ignore_merges = true, .add_bos = true},
    {.names = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
     .stages = {NUMBERS(1, 1), GPT2_WORDS}},
    {.names = {"ufakzeka"}, .stages = {GPT4_WORDS(CONTRACTIONS_NONE, 0, 1, "\r\n")}},
    {.names = {"laguna"}, .stages = {LINES, GPT4_WORDS(CONTRACTIONS_FOLDED, 0, 1, "\r\n")}},
    {.names = {"exaone-moe"}, .stages = {PHRASES}},
    {.names = {"jais-2"}, .stages = {HALVED_SPACES}},
    {.names = {"bloom", "poro-chat", "gpt3-finnish"}, .stages = {BLOOM_WORDS}},
    {.names = {"viking"}, .stages = {BLOOM_WORDS, NUMBERS(1, 1)}},
    {.names = {"superbpe"}, .stages = {NUMBERS(1, 0), BEFORE_THREES}},
    {.names = {"deepseek-llm"},
     .stages = {LINE_BREAK,
                RANGES(true, cased_letters),
                RANGES(true, wide_punctuation),
                {.kind = SPLIT_TAIL},
                RANGES(false, asian),
                NUMBERS(1, 0)}},
    {.names = {"deepseek-coder"},
     .stages = {LINE_BREAK, SPACED(UNICODE_LETTER), SPACED(UNICODE_PUNCTUATION), RANGES(false, asian), NUMBERS(1, 1)}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
     .stages = {NUMBERS(1, 3), RANGES(false, chinese_and_kana), MARKED_WORDS}},
    {.names = {"spark2_5"},
     .stages = {NUMBERS(1, 3), RANGES(false, chinese_and_kana), MARKED_WORDS_AND_LINE_BREAKS, NUMBERS(1, 1)}},
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
