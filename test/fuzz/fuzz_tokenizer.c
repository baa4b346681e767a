// Any bytes as a text, over small vocabularies of each kind. The first byte of the input chooses the vocabulary, the
// second the options. CHORD_FUZZ_KIND keeps to vocabularies of one kind: spm, bpe, wordpiece or unigram, or a
// pre-tokenizer's name. CHORD_FUZZ_MS=N looks for texts that take more than N ms (build without sanitizers, run with
// -max_len=65536 -len_control=0). What must hold:
//   - the ids are ids; byte-level ones stand for the very bytes of the text, SentencePiece ones too but for
//     spaces; WordPiece folds, Unigram normalizes;
//   - text without special tokens is never given control tokens;
//   - the detokenizer gives whole characters only, the same as a decoder that sees all bytes at once;
//   - all memory is given back, also when an allocation fails.
#include "../c/vocabulary_maker.h"
#include "tokenizer/unicode.h"
#include "target.h"

#include <time.h>

#define N_KINDS 20
#define SPM "spm"
#define WORDPIECE "wordpiece"
#define UNIGRAM "unigram"
// Of byte-level vocabularies, the pre-tokenizer. The second SentencePiece one has no byte tokens.
static const char *const kinds[N_KINDS] = {
    SPM,           SPM,       "gpt-2",  "llama-bpe",    "qwen2",
    "default",     "gpt-4o",  "qwen35", "deepseek-llm", "deepseek-coder",
    "deepseek-v3", WORDPIECE, UNIGRAM,  "kimi-k2",      "tiny_aya",
    "superbpe",    "viking",  "jais-2", "exaone-moe",   "laguna",
};

static bool is_byte_level(int kind)
{
    return strcmp(kinds[kind], SPM) != 0 && strcmp(kinds[kind], WORDPIECE) != 0 && strcmp(kinds[kind], UNIGRAM) != 0;
}

static struct memory_account account;
static struct gguf *files[N_KINDS]; // stay open: the tokenizers read from them
static struct tokenizer *tokenizers[N_KINDS];
static int chosen[N_KINDS], n_chosen;
static double most_seconds = 1e9;

static void make_tokenizers(void)
{
    static struct vocabulary_maker v;
    memory_account_init(&account, UINT64_MAX);
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct maker file;
        struct chord_error err = {0};
        if (strcmp(kinds[kind], SPM) == 0) {
            make_spm(&v, kind == 0);
            make_file(&v, "llama", MADE_SPM, &file);
        } else if (strcmp(kinds[kind], WORDPIECE) == 0) {
            make_wordpiece(&v);
            make_file(&v, "bert", MADE_SPM, &file);
        } else if (strcmp(kinds[kind], UNIGRAM) == 0) {
            make_unigram(&v);
            make_file(&v, "t5", MADE_SPM, &file);
        } else {
            make_bpe(&v);
            put_key_string(&v.values, "tokenizer.ggml.pre", kinds[kind]);
            v.n_values = 1;
            make_file(&v, "gpt2", MADE_BPE, &file);
        }
        free(v.values.bytes);
        files[kind] = open_made(&file, &account);
        free(file.bytes);
        REQUIRE(tokenizer_create(&tokenizers[kind], files[kind], &account, &err) == CHORD_OK);
    }
    const char *only = getenv("CHORD_FUZZ_KIND");
    for (int kind = 0; kind < N_KINDS; kind++)
        if (only == NULL || strcmp(only, kinds[kind]) == 0 || (strcmp(only, "bpe") == 0 && is_byte_level(kind)))
            chosen[n_chosen++] = kind;
    REQUIRE(n_chosen > 0);
    if (getenv("CHORD_FUZZ_MS") != NULL)
        most_seconds = atof(getenv("CHORD_FUZZ_MS")) / 1000;
}

// Length of the longest beginning of text[0 .. n) that is the beginning of some character; 1 where none is.
static uint64_t maximal_part(const unsigned char *text, uint64_t n)
{
    static const unsigned char tails[] = {0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf};
    for (uint64_t part = n < 3 ? n : 3; part > 1; part--) {
        unsigned char whole[4] = {text[0], text[1], part > 2 ? text[2] : 0x80, 0x80};
        for (size_t i = 0; i < sizeof tails; i++) { // some third and fourth byte completes it, if any does
            uint32_t used;
            if (part == 2)
                whole[2] = tails[i];
            whole[3] = tails[i];
            if (unicode_decode(whole, 4, &used) != UNICODE_INVALID && used > part)
                return part;
        }
    }
    return 1;
}

// What a WHATWG decoder makes of the bytes.
static uint64_t decode_at_once(const unsigned char *text, uint64_t n, char *out)
{
    uint64_t n_out = 0;
    for (uint64_t at = 0; at < n;) {
        uint32_t used;
        if (unicode_decode(text + at, n - at, &used) == UNICODE_INVALID) {
            memcpy(out + n_out, "\xef\xbf\xbd", 3);
            n_out += 3;
            at += maximal_part(text + at, n - at);
        } else {
            memcpy(out + n_out, text + at, used);
            n_out += used;
            at += used;
        }
    }
    return n_out;
}

static void check_detokenizer(const struct tokenizer *tokenizer, const struct token_list *list, bool special,
                              const unsigned char *bytes, uint64_t n_bytes)
{
    struct detokenizer d;
    char *text = malloc(3 * n_bytes + 4), *expected = malloc(3 * n_bytes + 4);
    char *piece = malloc(detokenizer_max_bytes(tokenizer));
    uint64_t n = 0;
    detokenizer_init(&d, tokenizer, special, false);
    for (uint64_t i = 0; i <= list->n; i++) {
        const uint64_t n_piece =
            i < list->n ? detokenizer_push(&d, list->ids[i], piece) : detokenizer_finish(&d, piece);
        uint32_t used;
        REQUIRE(n_piece <= detokenizer_max_bytes(tokenizer));
        for (uint64_t at = 0; at < n_piece; at += used)
            REQUIRE(unicode_decode((unsigned char *)piece + at, n_piece - at, &used) != UNICODE_INVALID);
        REQUIRE(n + n_piece <= 3 * n_bytes + 4);
        memcpy(text + n, piece, n_piece);
        n += n_piece;
    }
    REQUIRE(n == decode_at_once(bytes, n_bytes, expected) && memcmp(text, expected, n) == 0);
    free(text);
    free(expected);
    free(piece);
}

// `text` with what the SentencePiece tokenizer writes for it: "▁" is a space.
static uint64_t normalize(const uint8_t *text, uint64_t n, bool prefix, unsigned char *out)
{
    uint64_t n_out = 0;
    if (prefix && n > 0)
        out[n_out++] = ' ';
    for (uint64_t at = 0; at < n;) {
        if (n - at >= 3 && memcmp(text + at, "▁", 3) == 0) {
            out[n_out++] = ' ';
            at += 3;
        } else {
            out[n_out++] = text[at++];
        }
    }
    return n_out;
}

static void check_bytes(int kind, const struct token_list *list, const uint8_t *text, uint64_t n, bool parse_special)
{
    const struct tokenizer *tokenizer = tokenizers[kind];
    const uint64_t most = tokenizer_max_token_bytes(tokenizer);
    unsigned char *bytes = malloc(list->n * most + 1), *expected = malloc(n + 2);
    uint64_t n_bytes = 0;
    bool user_defined = false;
    struct tokenizer_info info;
    tokenizer_info(tokenizer, &info);
    for (uint64_t i = 0; i < list->n; i++) {
        REQUIRE(list->ids[i] < info.n_vocab);
        const enum token_type type = tokenizer_token_type(tokenizer, list->ids[i]);
        REQUIRE(parse_special || type != TOKEN_CONTROL);
        user_defined |= type == TOKEN_USER_DEFINED || type == TOKEN_CONTROL || (parse_special && type == TOKEN_UNKNOWN);
        const uint64_t n_token = tokenizer_token_bytes(tokenizer, list->ids[i], true, (char *)bytes + n_bytes, most);
        REQUIRE(n_token <= most);
        n_bytes += n_token;
    }
    if (is_byte_level(kind)) {
        REQUIRE(n_bytes == n && memcmp(bytes, text, n) == 0);
    } else if (kind == 0 && !user_defined) { // special tokens take a space each, as the text's beginning does
        const uint64_t n_expected = normalize(text, n, true, expected);
        // What is not a character may become one beside a space that was three bytes: compare what has no such bytes.
        uint32_t used;
        bool valid = true;
        for (uint64_t at = 0; at < n; at += used)
            valid &= unicode_decode(text + at, n - at, &used) != UNICODE_INVALID;
        REQUIRE(!valid || (n_bytes == n_expected && memcmp(bytes, expected, n_bytes) == 0));
    }
    check_detokenizer(tokenizer, list, true, bytes, n_bytes);
    free(bytes);
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (tokenizers[0] == NULL)
        make_tokenizers();
    if (n < 2)
        return 0;
    const int kind = chosen[data[0] % n_chosen];
    struct encode_options options = {.parse_special = data[1] & 1, .bos = TOKENIZER_BOS_NEVER};
    uint64_t cuts[16], cut = 0;
    if (data[1] & 64) { // the text's own bytes say where it is cut
        for (uint32_t i = 0; i < 16; i++)
            cuts[i] = cut += i + 2 < n ? data[i + 2] % 8 : 1;
        options.cuts = cuts;
        options.n_cuts = 16;
    }
    const uint64_t held = atomic_load(&account.total);
    struct token_list list = {.account = &account};
    if (data[1] & 2) // an allocation fails
        atomic_store(&account.fail_after, data[1] >> 2 & 15);
    const clock_t start = clock();
    const enum chord_status status =
        tokenizer_encode(tokenizers[kind], (const char *)data + 2, n - 2, options, &list, NULL);
    REQUIRE((double)(clock() - start) / CLOCKS_PER_SEC <= most_seconds);
    REQUIRE(status == CHORD_OK || (data[1] & 2));
    atomic_store(&account.fail_after, -1);
    if (status == CHORD_OK)
        check_bytes(kind, &list, data + 2, n - 2, options.parse_special);
    else
        REQUIRE(list.n == 0);
    token_list_free(&list);
    REQUIRE(atomic_load(&account.total) == held);
    return 0;
}
