// Small vocabularies as GGUF files in memory, for the tests and the fuzz target of the tokenizer.
//
// Both kinds have all bytes, some letters that merge to words, user-defined and control tokens. A test may change
// what it likes before it makes the file.
#ifndef CHORD_TEST_VOCABULARY_MAKER_H
#define CHORD_TEST_VOCABULARY_MAKER_H

#include "../malformed/maker.h"
#include "tokenizer/tokenizer.h"

#include <stdio.h>

struct made_token {
    char text[24];
    int type;
    float score;
};

struct vocabulary_maker {
    struct made_token tokens[1024];
    uint32_t n_tokens;
    const char *merges[256];
    uint32_t n_merges;
    struct maker values; // key-value pairs after the vocabulary's own
    uint32_t n_values;
};

static inline uint32_t made_add(struct vocabulary_maker *v, const char *text, int type, float score)
{
    struct made_token *token = &v->tokens[v->n_tokens];
    assert(v->n_tokens < 1024 && strlen(text) < sizeof token->text);
    memcpy(token->text, text, strlen(text) + 1);
    token->type = type;
    token->score = score;
    return v->n_tokens++;
}

// Words that the SentencePiece vocabulary knows, best first; each is reached through its beginnings.
static const char *const made_words[] = {
    "▁t",   "he",       "▁the", "▁▁", "▁▁▁▁", "in",    "▁a",   "er",   "an", "th",    "ing", "aa",
    "aaaa", "aaaaaaaa", "ab",   "ba", "aab",  "abab",  "中文", "文中", "é",  "éa",    "l’",  "..",
    "....", "\n\n",     "12",   "▁1", "his",  "▁this", "is",   "</",   "s>", "</s>x",
};

// 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then characters, words, "<|user|>" (control), "[TOOL]" (user-defined).
static inline void make_spm(struct vocabulary_maker *v, bool with_bytes)
{
    char text[24];
    memset(v, 0, sizeof *v);
    made_add(v, "<unk>", TOKEN_UNKNOWN, 0);
    made_add(v, "<s>", TOKEN_CONTROL, 0);
    made_add(v, "</s>", TOKEN_CONTROL, 0);
    for (int byte = 0; byte < 256 && with_bytes; byte++) {
        snprintf(text, sizeof text, "<0x%02X>", byte);
        made_add(v, text, TOKEN_BYTE, 0);
    }
    for (uint32_t i = 0; i < sizeof made_words / sizeof *made_words; i++)
        made_add(v, made_words[i], TOKEN_NORMAL, -(float)(i / 2)); // equal scores in pairs
    const char *characters[] = {"▁", "中", "é", "文", "’", "\n"};
    for (uint32_t i = 0; i < sizeof characters / sizeof *characters; i++)
        if (i != 2)
            made_add(v, characters[i], TOKEN_NORMAL, -1000);
    for (char c = '!'; c <= '~'; c++)
        made_add(v, (char[]){c, '\0'}, TOKEN_NORMAL, -1000 - (float)c);
    made_add(v, "<|user|>", TOKEN_CONTROL, 0);
    made_add(v, "<|user|>s", TOKEN_CONTROL, 0);
    made_add(v, "[TOOL]", TOKEN_USER_DEFINED, 0);
    made_add(v, "[TOOL][TOOL]!", TOKEN_USER_DEFINED, 0);
}

static const char *const made_merges[] = {
    "Ġ t", "h e",  "Ġt he",   "a a", "aa aa", "Ġ Ġ",   "ĠĠ ĠĠ", "i n", "in g", "Ġ a", "1 2",   "12 3", "ä ¸", "ä¸ Ń",
    "æ ĸ", "æĸ ĩ", "ä¸Ń æĸĩ", "Ã ©", ". .",   ".. ..", "' s",   "Ċ Ċ", "a b",  "b a", "ab ab", "aa b", "o o", "Ġt he",
};

// 0..255 bytes, then what the merges give, "Ġthere" (reached by no merge), control and user-defined tokens.
static inline void make_bpe(struct vocabulary_maker *v)
{
    static const unsigned ranges[][2] = {{0x21, 0x7e}, {0xa1, 0xac}, {0xae, 0xff}, {0x100, 0x143}};
    memset(v, 0, sizeof *v);
    for (int r = 0; r < 4; r++)
        for (unsigned c = ranges[r][0]; c <= ranges[r][1]; c++) {
            char text[3] = {(char)c};
            if (c >= 0x80) {
                text[0] = (char)(0xc0 | c >> 6);
                text[1] = (char)(0x80 | (c & 0x3f));
            }
            made_add(v, text, TOKEN_NORMAL, 0);
        }
    for (uint32_t i = 0; i < sizeof made_merges / sizeof *made_merges; i++) {
        char text[24] = "";
        const char *space = strchr(made_merges[i], ' ');
        bool known = false;
        snprintf(text, sizeof text, "%.*s%s", (int)(space - made_merges[i]), made_merges[i], space + 1);
        for (uint32_t id = 0; id < v->n_tokens; id++)
            known |= strcmp(v->tokens[id].text, text) == 0;
        if (!known)
            made_add(v, text, TOKEN_NORMAL, 0);
        v->merges[v->n_merges++] = made_merges[i];
    }
    made_add(v, "Ġthere", TOKEN_NORMAL, 0);
    made_add(v, "<|endoftext|>", TOKEN_CONTROL, 0);
    made_add(v, "<|im_start|>", TOKEN_CONTROL, 0);
    made_add(v, "<|im_end|>", TOKEN_CONTROL, 0);
    made_add(v, "[TOOL]", TOKEN_USER_DEFINED, 0);
    made_add(v, "  [TOOL]", TOKEN_USER_DEFINED, 0);
}

// 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], then words, letters and what continues words, "[TOOL]" (user-defined).
static inline void make_wordpiece(struct vocabulary_maker *v)
{
    static const char *const texts[] = {"▁the", "▁play", "ing", "ed",  "▁un", "▁a", "a",  "b", "▁b",
                                        "ab",   "▁中",   "文",  "▁文", "▁!",  "▁$", "▁'", "s", "▁s",
                                        "▁é",   "é",     "e",   "▁e",  "▁ᄒ", "▁1", "1",  "12"};
    memset(v, 0, sizeof *v);
    made_add(v, "[PAD]", TOKEN_CONTROL, 0);
    made_add(v, "[UNK]", TOKEN_UNKNOWN, 0);
    made_add(v, "[CLS]", TOKEN_CONTROL, 0);
    made_add(v, "[SEP]", TOKEN_CONTROL, 0);
    for (uint32_t i = 0; i < sizeof texts / sizeof *texts; i++)
        made_add(v, texts[i], TOKEN_NORMAL, 0);
    made_add(v, "[TOOL]", TOKEN_USER_DEFINED, 0);
    put_key_u32(&v->values, "tokenizer.ggml.unknown_token_id", 1);
    put_key_u32(&v->values, "tokenizer.ggml.cls_token_id", 2);
    put_key_u32(&v->values, "tokenizer.ggml.seperator_token_id", 3);
    v->n_values = 3;
}

// A character map as SentencePiece compiles it: n keys of one to few bytes, each with what replaces it. Each node's children stand in
// 256 units of their own, its value in one more.
static inline void put_character_map(struct maker *values, const char *const (*pairs)[2], uint32_t n)
{
    enum { MOST_NODES = 64, BLOCK = 512 };
    static uint32_t units[(MOST_NODES + 1) * BLOCK];
    uint32_t n_nodes = 1, place[MOST_NODES] = {0}, n_texts = 0;
    char texts[256];
    memset(units, 0, sizeof units);
    // Node k has its children in units BLOCK * (k + 1) + byte, and its value in unit BLOCK * (k + 1), which no byte but 0 leads to. A
    // unit's offset is relative to its own place by exclusive or.
    for (uint32_t i = 0; i < n; i++) {
        uint32_t node = 0;
        for (const unsigned char *c = (const unsigned char *)pairs[i][0]; *c != 0; c++) {
            const uint32_t at = BLOCK * (node + 1) + *c;
            uint32_t child = 0;
            for (uint32_t k = 1; k < n_nodes; k++)
                if (place[k] == at)
                    child = k;
            if (child == 0) {
                assert(n_nodes < MOST_NODES);
                child = n_nodes++;
                place[child] = at;
                units[at] = (at ^ (BLOCK * (child + 1))) << 10 | *c;
            }
            node = child;
        }
        units[place[node]] |= 0x100;
        units[BLOCK * (node + 1)] = 0x80000000u | n_texts;
        memcpy(texts + n_texts, pairs[i][1], strlen(pairs[i][1]) + 1);
        n_texts += (uint32_t)strlen(pairs[i][1]) + 1;
    }
    units[0] = BLOCK << 10;
    const uint32_t n_units = BLOCK * (n_nodes + 1);
    put_string(values, "tokenizer.ggml.precompiled_charsmap");
    put_u32(values, 9);
    put_u32(values, 0); // u8
    put_u64(values, 4 + 4 * (uint64_t)n_units + n_texts);
    put_u32(values, 4 * n_units);
    for (uint32_t i = 0; i < n_units; i++)
        put_u32(values, units[i]);
    put(values, texts, n_texts);
}

// 0 <pad>, 1 </s>, 2 <unk>, then words and letters, "[TOOL]" (user-defined).
static inline void make_unigram(struct vocabulary_maker *v)
{
    static const struct {
        const char *text;
        float score;
    } words[] = {{"▁", -2},       {"▁the", -3}, {"▁a", -3.5f}, {"the", -6}, {"▁in", -4}, {"ing", -4.5f}, {"in", -5},
                 {"g", -7},       {"a", -6},    {"b", -7},     {"ab", -8},  {"aba", -9}, {"bab", -9.5f}, {"t", -7},
                 {"h", -7.25f},   {"e", -6.5f}, {"i", -7},     {"n", -7},   {"s", -5},   {"▁s", -4.5f},  {"中", -9},
                 {"中文", -9.5f}, {"é", -8.5f}, {"fi", -6},    {"▁▁", -10}, {"!", -6},   {".", -5},      {"...", -7}};
    static const char *const map[][2] = {{"ﬁ", "fi"}, {"e\xcc\x81", "é"}, {"…", "..."}, {"\t", " "},
                                         {"Ａ", "a"}, {"！", "!"},        {"　", " "}};
    memset(v, 0, sizeof *v);
    made_add(v, "<pad>", TOKEN_CONTROL, 0);
    made_add(v, "</s>", TOKEN_CONTROL, 0);
    made_add(v, "<unk>", TOKEN_UNKNOWN, 0);
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++)
        made_add(v, words[i].text, TOKEN_NORMAL, words[i].score);
    made_add(v, "[TOOL]", TOKEN_USER_DEFINED, 0);
    put_character_map(&v->values, map, sizeof map / sizeof *map);
    put_key(&v->values, "tokenizer.ggml.add_space_prefix", 7);
    put_u8(&v->values, 1);
    put_key(&v->values, "tokenizer.ggml.remove_extra_whitespaces", 7);
    put_u8(&v->values, 1);
    v->n_values = 3;
}

static inline uint32_t made_find(const struct vocabulary_maker *v, const char *text)
{
    for (uint32_t id = 0; id < v->n_tokens; id++)
        if (strcmp(v->tokens[id].text, text) == 0)
            return id;
    return TOKEN_NONE;
}

// Parts of a file that a test may leave out.
enum {
    MADE_MODEL = 1,
    MADE_TOKENS = 2,
    MADE_TYPES = 4,
    MADE_SCORES = 8,
    MADE_MERGES = 16,
    MADE_SPM = MADE_MODEL | MADE_TOKENS | MADE_TYPES | MADE_SCORES,
    MADE_BPE = MADE_MODEL | MADE_TOKENS | MADE_TYPES | MADE_MERGES,
};

// The file; *m is to be freed with free(m->bytes).
static inline void make_file(const struct vocabulary_maker *v, const char *model, unsigned parts, struct maker *m)
{
    const uint64_t n = (uint64_t)__builtin_popcount(parts) + v->n_values;
    *m = (struct maker){0};
    put_head(m, 3, 0, n);
    if (parts & MADE_MODEL)
        put_key_string(m, "tokenizer.ggml.model", model);
    if (parts & MADE_TOKENS) {
        put_key_array(m, "tokenizer.ggml.tokens", GGUF_STRING, v->n_tokens);
        for (uint32_t i = 0; i < v->n_tokens; i++)
            put_string(m, v->tokens[i].text);
    }
    if (parts & MADE_TYPES) {
        put_key_array(m, "tokenizer.ggml.token_type", GGUF_INT32, v->n_tokens);
        for (uint32_t i = 0; i < v->n_tokens; i++)
            put_u32(m, (uint32_t)v->tokens[i].type);
    }
    if (parts & MADE_SCORES) {
        put_key_array(m, "tokenizer.ggml.scores", GGUF_FLOAT32, v->n_tokens);
        for (uint32_t i = 0; i < v->n_tokens; i++)
            put_f32(m, v->tokens[i].score);
    }
    if (parts & MADE_MERGES) {
        put_key_array(m, "tokenizer.ggml.merges", GGUF_STRING, v->n_merges);
        for (uint32_t i = 0; i < v->n_merges; i++)
            put_string(m, v->merges[i]);
    }
    put(m, v->values.bytes, v->values.n);
}

static inline struct gguf *open_made(const struct maker *m, struct memory_account *account)
{
    const struct gguf_source source = maker_source(m, "vocabulary");
    struct gguf *gguf;
    struct chord_error err = {0};
    if (gguf_open_source(&gguf, &source, false, account, &err) != CHORD_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    return gguf;
}

#endif
