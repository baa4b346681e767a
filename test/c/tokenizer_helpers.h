// What the tests of the tokenizer share: tokenizers over small vocabularies, random text, encoding and decoding.
#ifndef CHORD_TEST_TOKENIZER_HELPERS_H
#define CHORD_TEST_TOKENIZER_HELPERS_H

#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"
#include "vocabulary_maker.h"
#include "account_helpers.h"

#include <stdlib.h>
#include <string.h>

// A tokenizer with the file it reads from.
struct made {
    struct vocabulary_maker v;
    struct maker file;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct token_list list;
};

static inline void made_open(struct made *m, const char *model, unsigned parts)
{
    struct chord_error err = {0};
    make_file(&m->v, model, parts, &m->file);
    m->gguf = open_made(&m->file, &account);
    m->list = (struct token_list){.account = &account};
    if (tokenizer_create(&m->tokenizer, m->gguf, &account, &err) != CHORD_OK)
        fail_msg("%s", err.message);
}

static inline void made_close(struct made *m)
{
    token_list_free(&m->list);
    tokenizer_free(m->tokenizer);
    gguf_close(m->gguf);
    free(m->file.bytes);
    free(m->v.values.bytes);
}

static inline struct made *open_spm(bool with_bytes)
{
    struct made *m = calloc(1, sizeof *m);
    make_spm(&m->v, with_bytes);
    made_open(m, "llama", MADE_SPM);
    return m;
}

static inline struct made *open_wordpiece(void)
{
    struct made *m = calloc(1, sizeof *m);
    make_wordpiece(&m->v);
    made_open(m, "bert", MADE_SPM);
    return m;
}

static inline struct made *open_unigram(void)
{
    struct made *m = calloc(1, sizeof *m);
    make_unigram(&m->v);
    made_open(m, "t5", MADE_SPM);
    return m;
}

static inline struct made *open_bpe(const char *pre)
{
    struct made *m = calloc(1, sizeof *m);
    make_bpe(&m->v);
    put_key_string(&m->v.values, "tokenizer.ggml.pre", pre);
    m->v.n_values = 1;
    made_open(m, "gpt2", MADE_BPE);
    return m;
}

static inline void done(struct made *m)
{
    made_close(m);
    free(m);
}

static inline void encode(struct made *m, const char *text, uint64_t n, struct encode_options options)
{
    m->list.n = 0;
    assert_int_equal(tokenizer_encode(m->tokenizer, text, n, options, &m->list, NULL), CHORD_OK);
}

static const struct encode_options plain = {.bos = TOKENIZER_BOS_NEVER};
static const struct encode_options with_special = {.bos = TOKENIZER_BOS_NEVER, .parse_special = true};

// The tokens of `text` are those spelled so, separated by spaces ("" ends the list).
static inline void check_spelled(struct made *m, const char *text, struct encode_options options,
                                 const char *const *expected)
{
    encode(m, text, strlen(text), options);
    uint64_t n = 0;
    for (; expected[n] != NULL; n++) {
        if (n >= m->list.n)
            fail_msg("'%s': %llu tokens only", text, (unsigned long long)m->list.n);
        const struct gguf_string got = tokenizer_token_text(m->tokenizer, m->list.ids[n]);
        if (got.n_bytes != strlen(expected[n]) || memcmp(got.bytes, expected[n], got.n_bytes) != 0)
            fail_msg("'%s', token %llu: '%.*s' instead of '%s'", text, (unsigned long long)n, (int)got.n_bytes,
                     got.bytes, expected[n]);
    }
    assert_int_equal(m->list.n, n);
}
#define CHECK_SPELLED(m, text, options, ...) check_spelled(m, text, options, (const char *const[]){__VA_ARGS__, NULL})

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % n);
}

static inline uint64_t random_text(uint64_t *state, const char *const *parts, uint32_t n_parts, uint32_t n, char *out)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char *part = parts[random_below(state, n_parts)];
        memcpy(out + at, part, strlen(part));
        at += strlen(part);
    }
    return at;
}

static inline bool is_utf8(const char *text, uint64_t n)
{
    uint32_t used;
    for (uint64_t at = 0; at < n; at += used)
        if (unicode_decode((const unsigned char *)text + at, n - at, &used) == UNICODE_INVALID)
            return false;
    return true;
}

// The text of ids; every push must give whole characters. To be freed.
static inline char *decode(const struct tokenizer *tokenizer, const uint32_t *ids, uint64_t n, bool special, bool strip,
                           uint64_t *n_out)
{
    struct detokenizer d;
    const uint64_t most = detokenizer_max_bytes(tokenizer);
    char *text = malloc((n + 1) * most + 1), *piece = malloc(most);
    detokenizer_init(&d, tokenizer, special, strip);
    *n_out = 0;
    for (uint64_t i = 0; i <= n; i++) {
        const uint64_t n_piece = i < n ? detokenizer_push(&d, ids[i], piece) : detokenizer_finish(&d, piece);
        assert_true(n_piece <= most && is_utf8(piece, n_piece));
        memcpy(text + *n_out, piece, n_piece);
        *n_out += n_piece;
    }
    free(piece);
    text[*n_out] = '\0';
    return text;
}

static inline void check_round_trip(struct made *m, const char *text, uint64_t n)
{
    uint64_t n_back;
    encode(m, text, n, plain);
    char *back = decode(m->tokenizer, m->list.ids, m->list.n, false, true, &n_back);
    assert_int_equal(n_back, n);
    assert_memory_equal(back, text, n);
    free(back);
}

// Any characters, of one to four bytes, ASCII and its neighbours more often than others.
static inline uint64_t random_characters(uint64_t *state, uint32_t n, char *out)
{
    static const uint32_t limits[] = {0x80, 0x80, 0x100, 0x800, 0x3100, 0x10000, 0x110000};
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = random_below(state, limits[random_below(state, 7)]);
        if ((c >= 0xd800 && c <= 0xdfff) || c == 0x2581) // surrogates; SentencePiece's sign for a space
            c = ' ';
        at += unicode_encode(c, out + at);
    }
    return at;
}

#endif
