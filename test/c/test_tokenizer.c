// Tokenizers over small vocabularies: merges against a naive merger, special tokens, detokenizing, hostile
// vocabularies, failing allocations and long words.

#include "quick.h"
#include "tokenizer_helpers.h"

#include "tokenizer/pretokenizers.h"

#include <math.h>
#include <time.h>

// ---- Merging ------------------------------------------------------------------------------------------------------

static const char *const text_parts[] = {
    "a", "a", "a",  "b",  "ab", " ",  " ", "  ", "the", "he", "t", "in", "g",     "this", ".",        "..", "1",
    "2", "3", "中", "文", "é",  "\n", "’", "l",  "s>",  "</", "😀", "'s", "there", "\xff", "\xe4\xb8", "o",
};

// The best pair again and again, by looking at all of them: what SentencePiece means by merging. Texts are spans
// of `text`.
static uint64_t merge_naively(const struct made *m, const char *text, uint64_t n, uint32_t *ids)
{
    struct {
        uint64_t at, n;
        uint32_t with_next; // id of the token it makes with the next symbol
    } s[2048];
    uint64_t n_symbols = 0;
    uint32_t used;
    for (uint64_t at = 0; at < n; at += used) {
        unicode_decode((const unsigned char *)text + at, n - at, &used);
        s[n_symbols].at = at;
        s[n_symbols++].n = used;
    }
    bool fresh = true;
    uint64_t best = 0;
    for (;;) {
        for (uint64_t i = fresh ? 0 : best > 0 ? best - 1 : 0; i + 1 < n_symbols && (fresh || i <= best); i++) {
            const uint32_t id = tokenizer_find(m->tokenizer, text + s[i].at, s[i].n + s[i + 1].n);
            const enum token_type type = tokenizer_token_type(m->tokenizer, id);
            s[i].with_next = type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED ? id : TOKEN_NONE;
        }
        fresh = false;
        best = UINT64_MAX;
        for (uint64_t i = 0; i + 1 < n_symbols; i++)
            if (s[i].with_next != TOKEN_NONE &&
                (best == UINT64_MAX || m->v.tokens[s[i].with_next].score > m->v.tokens[s[best].with_next].score))
                best = i;
        if (best == UINT64_MAX)
            break;
        s[best].n += s[best + 1].n;
        memmove(&s[best + 1], &s[best + 2], (n_symbols - best - 2) * sizeof *s);
        n_symbols--;
    }
    uint64_t n_ids = 0;
    for (uint64_t i = 0; i < n_symbols; i++) {
        const uint32_t id = tokenizer_find(m->tokenizer, text + s[i].at, s[i].n);
        if (id != TOKEN_NONE)
            ids[n_ids++] = id;
        for (uint64_t b = 0; b < s[i].n && id == TOKEN_NONE; b++)
            ids[n_ids++] = 3 + (unsigned char)text[s[i].at + b]; // make_spm puts the bytes there
    }
    return n_ids;
}

static void test_spm_merges(void **state)
{
    (void)state;
    struct made *m = open_spm(true);
    static char text[8192], normalized[3 * 8192];
    static uint32_t ids[8192];
    uint64_t seed = 7;
    for (int round = 0; round < 600; round++) {
        const uint32_t n_parts = round % 3 == 0 ? 3 : sizeof text_parts / sizeof *text_parts;
        const uint64_t n = random_text(&seed, text_parts, n_parts, 1 + random_below(&seed, 120), text);
        uint64_t at = 3;
        memcpy(normalized, "▁", 3);
        for (uint64_t i = 0; i < n; i++) {
            const char *c = text[i] == ' ' ? "▁" : &text[i];
            const uint64_t width = text[i] == ' ' ? 3 : 1;
            memcpy(normalized + at, c, width);
            at += width;
        }
        const uint64_t n_ids = merge_naively(m, normalized, at, ids);
        encode(m, text, n, plain);
        assert_int_equal(m->list.n, n_ids);
        assert_memory_equal(m->list.ids, ids, n_ids * sizeof *ids);
    }
    done(m);
}

// Merges by rank within one piece, by looking at all pairs.
static uint64_t merge_piece_naively(const struct made *m, const unsigned char *piece, uint64_t n, uint32_t *ids)
{
    for (uint64_t i = 0; i < n; i++) {
        char spelled[4];
        const bool printable = (piece[i] >= 0x21 && piece[i] <= 0x7e) || (piece[i] >= 0xa1 && piece[i] != 0xad);
        uint32_t c = piece[i];
        for (uint32_t b = 0, next = 0x100; b <= piece[i] && !printable; b++)
            if (!((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad)))
                c = next++;
        ids[i] = tokenizer_find(m->tokenizer, spelled, unicode_encode(c, spelled));
    }
    for (;;) {
        uint32_t best_rank = UINT32_MAX, best_id = 0;
        uint64_t best = 0;
        for (uint64_t i = 0; i + 1 < n; i++) {
            char pair[64], joined[64];
            const char *left = m->v.tokens[ids[i]].text, *right = m->v.tokens[ids[i + 1]].text;
            snprintf(pair, sizeof pair, "%s %s", left, right);
            for (uint32_t rank = 0; rank < m->v.n_merges && rank < best_rank; rank++)
                if (strcmp(m->v.merges[rank], pair) == 0) {
                    best_rank = rank;
                    best = i;
                    snprintf(joined, sizeof joined, "%s%s", left, right);
                    best_id = tokenizer_find(m->tokenizer, joined, strlen(joined));
                }
        }
        if (best_rank == UINT32_MAX)
            return n;
        ids[best] = best_id;
        memmove(&ids[best + 1], &ids[best + 2], (n - best - 2) * sizeof *ids);
        n--;
    }
}

static void test_bpe_merges(void **state)
{
    static const char *const names[] = {"gpt-2", "qwen2", "default"};
    static char text[8192];
    static uint32_t ids[8192];
    (void)state;
    uint64_t seed = 3;
    for (int row = 0; row < 3; row++) {
        struct made *m = open_bpe(names[row]);
        const char *name;
        const struct pretokenizer *p = pretokenizer_find(names[row], strlen(names[row]), &name);
        for (int round = 0; round < 150; round++) {
            const uint32_t n_parts = round % 2 == 0 ? 5 : sizeof text_parts / sizeof *text_parts;
            const uint64_t n = random_text(&seed, text_parts, n_parts, 1 + random_below(&seed, 120), text);
            struct piece_walk walk;
            uint64_t from, to, n_ids = 0;
            piece_walk_init(&walk, p, text, n);
            while (piece_walk_next(&walk, &from, &to))
                n_ids += merge_piece_naively(m, (unsigned char *)text + from, to - from, ids + n_ids);
            encode(m, text, n, plain);
            assert_int_equal(m->list.n, n_ids);
            assert_memory_equal(m->list.ids, ids, n_ids * sizeof *ids);
        }
        done(m);
    }
}

// Byte-level vocabularies give back any bytes, not only UTF-8.
static void test_bpe_keeps_bytes(void **state)
{
    (void)state;
    struct made *m = open_bpe("llama-bpe");
    uint64_t seed = 11;
    char text[4 * 200], piece[64];
    for (int round = 0; round < 500; round++) {
        uint64_t n = random_characters(&seed, random_below(&seed, 100), text);
        check_round_trip(m, text, n);
        for (uint64_t i = 0; i < n; i++)
            if (random_below(&seed, 3) == 0)
                text[i] = (char)random_below(&seed, 256);
        encode(m, text, n, plain);
        uint64_t at = 0;
        for (uint64_t i = 0; i < m->list.n; i++) {
            const uint64_t n_piece = tokenizer_token_bytes(m->tokenizer, m->list.ids[i], false, piece, sizeof piece);
            assert_true(n_piece <= tokenizer_max_token_bytes(m->tokenizer) && at + n_piece <= n);
            assert_memory_equal(piece, text + at, n_piece);
            at += n_piece;
        }
        assert_int_equal(at, n);
    }
    done(m);
}

static void test_spm_spellings(void **state)
{
    (void)state;
    struct made *m = open_spm(true);
    CHECK_SPELLED(m, "the thing", plain, "▁the", "▁t", "h", "ing");
    CHECK_SPELLED(m, " \xe2\x82\xac\x80", plain, "▁▁", "<0xE2>", "<0x82>", "<0xAC>", "<0x80>");
    CHECK_SPELLED(m, "</s>", plain, "▁", "</", "s>"); // text never becomes a control token
    CHECK_SPELLED(m, "</s>x", plain, "▁", "</", "s>", "x");
    CHECK_SPELLED(m, "<0x41>", plain, "▁", "<", "0", "x", "4", "1", ">");
    encode(m, "", 0, plain);
    assert_int_equal(m->list.n, 0);
    done(m);
    m = open_spm(false); // one unknown token for each character the vocabulary lacks
    CHECK_SPELLED(m, "a\xe2\x82\xac\x80é", plain, "▁a", "<unk>", "<unk>", "é");
    done(m);
}

static void test_ignore_merges(void **state)
{
    (void)state;
    struct made *m = open_bpe("gpt-2");
    CHECK_SPELLED(m, " there", plain, "Ġthe", "r", "e");
    done(m);
    m = open_bpe("llama-bpe");
    CHECK_SPELLED(m, " there", plain, "Ġthere");
    CHECK_SPELLED(m, " theres", plain, "Ġthe", "r", "e", "s");
    done(m);
}

// ---- Special tokens, BOS and EOS ----------------------------------------------------------------------------------

static void test_special_tokens(void **state)
{
    (void)state;
    struct made *m = open_spm(true);
    CHECK_SPELLED(m, "a<|user|>a", plain, "▁a", "<", "|", "u", "s", "er", "|", ">", "a");
    CHECK_SPELLED(m, "a<|user|>a", with_special, "▁a", "<|user|>", "▁a");
    CHECK_SPELLED(m, "<|user|>s<|user|>", with_special, "<|user|>s", "<|user|>"); // the longest
    CHECK_SPELLED(m, "[TOOL]a", plain, "[TOOL]", "▁a");
    CHECK_SPELLED(m, "[TOOL][TOOL][TOOL]!", plain, "[TOOL]", "[TOOL][TOOL]!");
    CHECK_SPELLED(m, "[TOOL][TOOL]?", plain, "[TOOL]", "[TOOL]", "▁", "?");
    CHECK_SPELLED(m, "<|user|", with_special, "▁", "<", "|", "u", "s", "er", "|");
    uint64_t n;
    encode(m, "a<|user|>a[TOOL]", 16, with_special);
    char *text = decode(m->tokenizer, m->list.ids, m->list.n, false, true, &n);
    assert_string_equal(text, "a a[TOOL]");
    free(text);
    text = decode(m->tokenizer, m->list.ids, m->list.n, true, false, &n);
    assert_string_equal(text, " a<|user|> a[TOOL]");
    free(text);
    done(m);
    m = open_bpe("gpt-2");
    CHECK_SPELLED(m, "a   [TOOL]a", plain, "a", "Ġ", "  [TOOL]", "a"); // the leftmost
    CHECK_SPELLED(m, "<|im_start|>a<|im_end|>", with_special, "<|im_start|>", "a", "<|im_end|>");
    done(m);
}

static struct encode_options cut_at(const uint64_t *cuts, uint64_t n)
{
    return (struct encode_options){.parse_special = true, .bos = TOKENIZER_BOS_NEVER, .cuts = cuts, .n_cuts = n};
}

// Words of a user between the special tokens of a template.
static void test_cuts_and_parts(void **state)
{
    (void)state;
    struct made *m = open_spm(true);
    const uint64_t within[] = {9}, at_ends[] = {0, 8, 9, 17, 40}, all[] = {1, 2, 3, 4, 5, 6, 7};
    CHECK_SPELLED(m, "<|user|><|user|>a", with_special, "<|user|>", "<|user|>", "▁a");
    CHECK_SPELLED(m, "<|user|><|user|>a", cut_at(within, 1), "<|user|>", "▁", "<", "|", "u", "s", "er", "|", ">", "a");
    CHECK_SPELLED(m, "<|user|> <|user|>a", cut_at(at_ends, 5), "<|user|>", "▁▁", "<|user|>", "▁a");
    CHECK_SPELLED(m, "<|user|>s<|user|>", cut_at(all, 7), "▁", "<", "|", "u", "s", "er", "|", ">", "s", "<|user|>");
    const uint64_t longest[] = {8};
    CHECK_SPELLED(m, "<|user|>s", cut_at(longest, 1), "<|user|>", "▁", "s"); // then the shorter one
    // A part that goes on gets no space in front, but behind a special token it does.
    struct encode_options part = cut_at(NULL, 0);
    part.continues = true;
    CHECK_SPELLED(m, "a<|user|>a", part, "a", "<|user|>", "▁a");
    done(m);
    m = open_bpe("gpt-2");
    const uint64_t word[] = {2};
    CHECK_SPELLED(m, " there", plain, "Ġthe", "r", "e");
    CHECK_SPELLED(m, " there", cut_at(word, 1), "Ġthe", "r", "e"); // ordinary tokens reach across
    done(m);
}

static struct made *open_with_flags(const char *const *flags, const bool *values, uint32_t n)
{
    struct made *m = calloc(1, sizeof *m);
    make_spm(&m->v, true);
    for (uint32_t i = 0; i < n; i++) {
        put_key(&m->v.values, flags[i], GGUF_BOOL);
        put_u8(&m->v.values, values[i]);
        m->v.n_values++;
    }
    made_open(m, "llama", MADE_SPM);
    return m;
}

static void test_bos_and_eos(void **state)
{
    (void)state;
    const struct encode_options as_metadata = {.bos = TOKENIZER_BOS_AS_METADATA},
                                always = {.bos = TOKENIZER_BOS_ALWAYS};
    struct made *m = open_spm(true);
    CHECK_SPELLED(m, "a", as_metadata, "<s>", "▁a");
    CHECK_SPELLED(m, "a", plain, "▁a");
    CHECK_SPELLED(m, "", as_metadata, "<s>");
    done(m);
    const char *const flags[] = {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
                                 "tokenizer.ggml.add_space_prefix"};
    m = open_with_flags(flags, (bool[]){false, true, false}, 3);
    CHECK_SPELLED(m, "a", as_metadata, "a", "</s>");
    CHECK_SPELLED(m, "a", always, "<s>", "a");
    uint64_t n;
    encode(m, " a", 2, plain);
    char *text = decode(m->tokenizer, m->list.ids, m->list.n, false, true, &n);
    assert_string_equal(text, " a"); // nothing was put in front, nothing is taken away
    free(text);
    done(m);
    m = open_bpe("gpt-2");
    CHECK_SPELLED(m, "a", as_metadata, "a");
    CHECK_SPELLED(m, "a", always, "a"); // there is no BOS
    done(m);
}

static void test_ends_of_generation(void **state)
{
    (void)state;
    struct made *m = open_bpe("qwen2");
    struct tokenizer_info info;
    tokenizer_info(m->tokenizer, &info);
    assert_true(tokenizer_is_end_of_generation(m->tokenizer, made_find(&m->v, "<|im_end|>")));
    assert_true(tokenizer_is_end_of_generation(m->tokenizer, made_find(&m->v, "<|endoftext|>")));
    assert_false(tokenizer_is_end_of_generation(m->tokenizer, made_find(&m->v, "<|im_start|>")));
    assert_false(tokenizer_is_end_of_generation(m->tokenizer, info.n_vocab));
    assert_int_equal(info.eot, made_find(&m->v, "<|im_end|>"));
    assert_int_equal(info.eos, TOKEN_NONE);
    assert_int_equal(tokenizer_token_type(m->tokenizer, info.n_vocab), TOKEN_UNUSED);
    assert_int_equal(tokenizer_token_text(m->tokenizer, info.n_vocab).n_bytes, 0);
    assert_int_equal(tokenizer_token_bytes(m->tokenizer, info.n_vocab, true, NULL, 0), 0);
    done(m);
}

// ---- Detokenizer --------------------------------------------------------------------------------------------------

// Bytes, one token each, and what a WHATWG decoder makes of them ('?' is U+FFFD).
static void test_detokenizer(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"\xc0\x80", "??"},
        {"\xe2\x82", "?"},
        {"\xe2\x82"
         "A",
         "?A"},
        {"\xf0\x9f\x98", "?"},
        {"\xf0\x9f\x98"
         "A",
         "?A"},
        {"\xed\xa0\x80", "???"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xe0\x80\x80", "???"},
        {"\xf0\x80\x80\x80", "????"},
        {"\x80", "?"},
        {"\xff", "?"},
        {"\xf0\x9f\xe2\x82\xac", "?€"},
        {"\xe2\x82\xac\xe2", "€?"},
        {"é😀", "é😀"},
        {"\xe1\xa0\xc0", "??"},
        {"A\xc3", "A?"},
        {"", ""},
    };
    (void)state;
    struct made *m = open_spm(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t ids[16];
        char expected[64] = "";
        uint64_t n = strlen(cases[i].bytes), n_text, at = 0;
        for (uint64_t b = 0; b < n; b++)
            ids[b] = 3 + (unsigned char)cases[i].bytes[b];
        for (const char *c = cases[i].text; *c != '\0'; c++)
            at += (uint64_t)snprintf(expected + at, sizeof expected - at, *c == '?' ? "\xef\xbf\xbd" : "%c", *c);
        char *text = decode(m->tokenizer, ids, n, false, true, &n_text);
        assert_string_equal(text, expected);
        free(text);
    }
    // Only one leading space goes, of the first token that shows; and none where a prompt is continued.
    uint64_t n;
    const uint32_t spaces[] = {1, made_find(&m->v, "▁▁"), made_find(&m->v, "▁a")};
    char *text = decode(m->tokenizer, spaces, 3, false, true, &n);
    assert_string_equal(text, "  a");
    free(text);
    text = decode(m->tokenizer, spaces, 3, false, false, &n);
    assert_string_equal(text, "   a");
    free(text);
    char two[2] = "xx";
    assert_int_equal(tokenizer_token_bytes(m->tokenizer, made_find(&m->v, "▁the"), false, two, 2), 4);
    assert_memory_equal(two, " t", 2);
    done(m);
}

// ---- What may go wrong --------------------------------------------------------------------------------------------

static void refuse(struct vocabulary_maker *v, const char *model, unsigned parts, enum chord_status code,
                   const char *says)
{
    struct maker file;
    struct chord_error err = {0};
    struct tokenizer *tokenizer = NULL;
    make_file(v, model, parts, &file);
    struct gguf *gguf = open_made(&file, &account);
    const uint64_t held = atomic_load(&account.total);
    const enum chord_status status = tokenizer_create(&tokenizer, gguf, &account, &err);
    if (status != code || err.code != code || strstr(err.message, says) == NULL)
        fail_msg("status %s, '%s' instead of %s, '...%s...'", chord_status_name(status), err.message,
                 chord_status_name(code), says);
    assert_null(tokenizer);
    assert_int_equal(atomic_load(&account.total), held);
    gguf_close(gguf);
    free(file.bytes);
    free(v->values.bytes);
    v->values = (struct maker){0};
    v->n_values = 0;
}

static void refuse_value(struct vocabulary_maker *v, const char *model, unsigned parts, const char *key, uint32_t value,
                         enum chord_status code, const char *says)
{
    put_key_u32(&v->values, key, value);
    v->n_values = 1;
    refuse(v, model, parts, code, says);
}

static void test_malformed_vocabularies(void **state)
{
    (void)state;
    struct vocabulary_maker *v = malloc(sizeof *v);
    make_spm(v, true);
    refuse(v, "llama", MADE_SPM & ~MADE_MODEL, CHORD_GGUF_METADATA, "tokenizer.ggml.model is missing");
    refuse(v, "bert\n", MADE_SPM, CHORD_UNSUPPORTED_TOKENIZER, "'bert?'");
    refuse(v, "llama", MADE_SPM & ~MADE_TOKENS, CHORD_GGUF_METADATA, "tokenizer.ggml.tokens is missing");
    refuse(v, "llama", MADE_SPM & ~MADE_SCORES, CHORD_GGUF_METADATA, "tokenizer.ggml.scores is missing");
    refuse_value(v, "llama", MADE_SPM, "tokenizer.ggml.bos_token_id", v->n_tokens, CHORD_TOKENIZER, "bos_token_id is");
    refuse_value(v, "llama", MADE_SPM, "tokenizer.ggml.add_bos_token", 1, CHORD_GGUF_METADATA, "add_bos_token");
    refuse_value(v, "llama", MADE_SPM & ~MADE_SCORES, "tokenizer.ggml.scores", 1, CHORD_GGUF_METADATA, "uint32");
    refuse_value(v, "llama", MADE_SPM & ~MADE_TYPES, "tokenizer.ggml.token_type", 1, CHORD_GGUF_METADATA, "uint32");
    put_key_string(&v->values, "tokenizer.ggml.eos_token_id", "2");
    v->n_values = 1;
    refuse(v, "llama", MADE_SPM, CHORD_GGUF_METADATA, "eos_token_id is of type string");
    put_key_array(&v->values, "tokenizer.ggml.scores", GGUF_FLOAT32, 1);
    put_f32(&v->values, 0);
    v->n_values = 1;
    refuse(v, "llama", MADE_SPM & ~MADE_SCORES, CHORD_TOKENIZER, "has 1 elements for");
    put_key_array(&v->values, "tokenizer.ggml.tokens", GGUF_UINT8, 1);
    put_u8(&v->values, 0);
    v->n_values = 1;
    refuse(v, "llama", MADE_SPM & ~MADE_TOKENS, CHORD_GGUF_METADATA, "array of uint8");
    put_key_array(&v->values, "tokenizer.ggml.tokens", GGUF_STRING, 0);
    v->n_values = 1;
    refuse(v, "llama", MADE_SPM & ~MADE_TOKENS, CHORD_TOKENIZER, "0 elements");
    v->tokens[5].score = NAN;
    refuse(v, "llama", MADE_SPM, CHORD_TOKENIZER, "score of token 5");
    v->tokens[5].score = 0;
    v->tokens[7].type = 9;
    refuse(v, "llama", MADE_SPM, CHORD_TOKENIZER, "token 7 has the type 9");
    v->tokens[7].type = TOKEN_BYTE;
    memcpy(v->tokens[300].text, v->tokens[299].text, sizeof v->tokens[300].text);
    refuse(v, "llama", MADE_SPM, CHORD_TOKENIZER, "tokens 299 and 300 are both");

    make_bpe(v);
    refuse(v, "gpt2", MADE_BPE & ~MADE_MERGES, CHORD_GGUF_METADATA, "tokenizer.ggml.merges is missing");
    put_key_string(&v->values, "tokenizer.ggml.pre", "of-tomorrow");
    v->n_values = 1;
    refuse(v, "gpt2", MADE_BPE, CHORD_UNSUPPORTED_TOKENIZER, "'of-tomorrow'");
    refuse_value(v, "gpt2", MADE_BPE, "tokenizer.ggml.pre", 1, CHORD_GGUF_METADATA, "tokenizer.ggml.pre");
    const char *const bad[][2] = {
        {"ab", "'ab', is not two"}, {"a ", "is not two"}, {" b", "is not two"}, {" ", "is not two"},
        {"", "is not two"},         {"a zzz", "names a"}, {"q q", "gives a"},   {"a b c", "names a"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        v->merges[3] = bad[i][0];
        refuse(v, "gpt2", MADE_BPE, CHORD_TOKENIZER, bad[i][1]);
        refuse(v, "gpt2", MADE_BPE, CHORD_TOKENIZER, "merge 3 ");
    }
    free(v);
}

// Names of byte tokens are not trusted; special ids of all ones mean "none"; types may be missing.
static void test_odd_vocabularies(void **state)
{
    (void)state;
    struct made *m = calloc(1, sizeof *m);
    make_spm(&m->v, true);
    strcpy(m->v.tokens[3].text, "<0x-1>");
    strcpy(m->v.tokens[4].text, "");
    strcpy(m->v.tokens[5].text, "<0xZZ>");
    put_key_u32(&m->v.values, "tokenizer.ggml.padding_token_id", UINT32_MAX);
    m->v.n_values = 1;
    made_open(m, "llama", MADE_SPM);
    struct tokenizer_info info;
    tokenizer_info(m->tokenizer, &info);
    assert_int_equal(info.pad, TOKEN_NONE);
    for (uint32_t id = 3; id < 6; id++)
        assert_int_equal(tokenizer_token_bytes(m->tokenizer, id, true, NULL, 0), 0);
    encode(m, "\0\1\3", 3, plain);
    assert_int_equal(m->list.n, 4);
    assert_int_equal(m->list.ids[1], 0);
    assert_int_equal(m->list.ids[2], 0);
    assert_int_equal(m->list.ids[3], 6);
    done(m);
    m = calloc(1, sizeof *m);
    make_spm(&m->v, true);
    made_open(m, "llama", MADE_SPM & ~MADE_TYPES);
    assert_int_equal(tokenizer_token_type(m->tokenizer, 3 + 'A'), TOKEN_BYTE);
    assert_int_equal(tokenizer_token_type(m->tokenizer, 2), TOKEN_CONTROL);
    done(m);
}

// The tokens of a text, separated by spaces.
static void expect_tokens(struct made *m, const char *text, const char *tokens)
{
    char spelled[256] = "";
    encode(m, text, strlen(text), plain);
    for (uint64_t k = 0; k < m->list.n; k++) {
        strcat(spelled, k > 0 ? " " : "");
        strcat(spelled, m->v.tokens[m->list.ids[k]].text);
    }
    assert_string_equal(spelled, tokens);
}

// The best sum of scores, not the longest token; spaces merge; what the character map has is replaced.
static void test_unigram(void **state)
{
    static const struct {
        const char *text, *tokens;
    } rows[] = {
        {"the", "▁the"},
        {"  the \t aba  ", "▁the ▁ aba"},
        {"bab", "▁ bab"},
        {"sing in", "▁s ing ▁in"},
        {"the[TOOL] ing", "▁the [TOOL] ▁ ing"},
        {"ﬁ", "▁ fi"},
        {"Ａ　！", "▁a ▁ !"},
        {"e\xcc\x81…", "▁ é ..."},
        {"xyz a", "▁ <unk> ▁a"},
        {"x中文y", "▁ <unk> 中文 <unk>"},
        {"th\xff"
         "e",
         "▁ t h <unk> e"},
        {"   ", ""},
        {"", ""},
    };
    (void)state;
    struct made *m = open_unigram();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_tokens(m, rows[i].text, rows[i].tokens);
    struct tokenizer_info info;
    tokenizer_info(m->tokenizer, &info);
    assert_string_equal(info.model, "t5");
    assert_true(info.eos == 1 && info.unk == 2 && info.pad == 0 && info.bos == TOKEN_NONE);
    assert_true(info.add_eos && !info.add_bos);
    assert_int_equal(info.sep, TOKEN_NONE);
    done(m);
}

static void put_flag(struct vocabulary_maker *v, const char *key, bool value)
{
    put_key(&v->values, key, 7);
    put_u8(&v->values, value);
    v->n_values++;
}

// Of two texts read as one, RoBERTa and its kin have a </s> more between them; BERT only the end of the first, which is its [SEP].
static void test_what_stands_between_two_texts(void **state)
{
    (void)state;
    for (int added = -1; added < 2; added++) {
        struct tokenizer_info info;
        struct made *m = calloc(1, sizeof *m);
        make_unigram(&m->v);
        put_key_u32(&m->v.values, "tokenizer.ggml.seperator_token_id", 1);
        m->v.n_values++;
        if (added >= 0)
            put_flag(&m->v, "tokenizer.ggml.add_sep_token", added);
        made_open(m, "t5", MADE_SPM);
        tokenizer_info(m->tokenizer, &info);
        assert_int_equal(info.sep, added != 0 ? 1 : TOKEN_NONE);
        assert_int_equal(info.eos, 1);
        done(m);

        m = calloc(1, sizeof *m);
        make_wordpiece(&m->v);
        if (added >= 0)
            put_flag(&m->v, "tokenizer.ggml.add_sep_token", added);
        made_open(m, "bert", MADE_MODEL | MADE_TOKENS | MADE_TYPES);
        tokenizer_info(m->tokenizer, &info);
        assert_int_equal(info.sep, TOKEN_NONE);
        assert_int_equal(info.eos, 3);
        assert_int_equal(info.add_eos, added != 0);
        done(m);

        // Byte-level: where the file says so, or else the pre-tokenizer; a single text ends as before.
        for (int roberta = 0; roberta < 2; roberta++) {
            m = calloc(1, sizeof *m);
            make_bpe(&m->v);
            const uint32_t end = made_find(&m->v, "<|endoftext|>");
            put_key_u32(&m->v.values, "tokenizer.ggml.eos_token_id", end);
            put_key_u32(&m->v.values, "tokenizer.ggml.seperator_token_id", end);
            put_key_string(&m->v.values, "tokenizer.ggml.pre", roberta ? "roberta-bpe" : "gpt-2");
            m->v.n_values += 3;
            if (added >= 0)
                put_flag(&m->v, "tokenizer.ggml.add_sep_token", added);
            made_open(m, "gpt2", MADE_BPE);
            tokenizer_info(m->tokenizer, &info);
            assert_int_equal(info.sep, added > 0 || (added < 0 && roberta) ? end : TOKEN_NONE);
            assert_false(info.add_eos);
            done(m);
        }
    }
}

// Any bytes as a character map: it is refused, or a text is normalized by it in some way.
static void test_character_maps_that_mean_harm(void **state)
{
    (void)state;
    static const char text[] = "the ﬁ Ａ！ e\xcc\x81…\xff";
    uint64_t random = 1;
    for (int turn = 0; turn < 300; turn++) {
        struct made *m = calloc(1, sizeof *m);
        make_unigram(&m->v);
        const uint64_t n = m->v.values.n;
        for (int change = 0; change < 200 && turn > 0; change++) {
            uint64_t at;
            // The array's own bytes, behind its key, types and length and before the two flags; most are zeros.
            do {
                random = random * 6364136223846793005u + 1442695040888963407u;
                at = 8 + 35 + 4 + 4 + 8 + (random >> 33) % (n - 200);
            } while (m->v.values.bytes[at] == 0 && (random >> 20) % 256 != 0);
            m->v.values.bytes[at] = (unsigned char)(random >> 20);
        }
        struct chord_error err = {0};
        make_file(&m->v, "t5", MADE_SPM, &m->file);
        m->gguf = open_made(&m->file, &account);
        m->list = (struct token_list){.account = &account};
        const enum chord_status status = tokenizer_create(&m->tokenizer, m->gguf, &account, &err);
        assert_true(turn == 0 ? status == CHORD_OK : status == CHORD_OK || status == CHORD_TOKENIZER);
        if (status == CHORD_OK)
            encode(m, text, sizeof text - 1, plain);
        done(m);
    }
}

static struct made *open_wordpiece_with_case(bool lowers_case, int strips_accents) // -1: not said
{
    struct made *m = calloc(1, sizeof *m);
    make_wordpiece(&m->v);
    made_add(&m->v, "▁The", TOKEN_NORMAL, 0);
    made_add(&m->v, "É", TOKEN_NORMAL, 0);
    made_add(&m->v, "▁E", TOKEN_NORMAL, 0);
    made_add(&m->v, "\xcc\x81", TOKEN_NORMAL, 0);
    put_flag(&m->v, "tokenizer.ggml.normalizer.lowercase", lowers_case);
    if (strips_accents >= 0)
        put_flag(&m->v, "tokenizer.ggml.normalizer.strip_accents", strips_accents);
    made_open(m, "bert", MADE_MODEL | MADE_TOKENS | MADE_TYPES);
    return m;
}

// Vocabularies with case: accents stay where case does, if nothing else is said of them.
static void test_wordpiece_with_case(void **state)
{
    static const struct {
        bool lowers_case;
        int strips_accents;
        const char *text, *tokens;
    } rows[] = {
        {false, -1, "The the", "▁The ▁the"},
        {false, -1, "éÉ e\xcc\x81", "▁é É ▁e \xcc\x81"},
        {false, 0, "éÉ", "▁é É"},
        {false, 1, "É e\xcc\x81", "▁E ▁e"},
        {true, 0, "The Éé", "▁the ▁é é"},
        {true, -1, "The é", "▁the ▁e"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made *m = open_wordpiece_with_case(rows[i].lowers_case, rows[i].strips_accents);
        expect_tokens(m, rows[i].text, rows[i].tokens);
        done(m);
    }
}

// Words by their longest beginnings; case, accents, marks and control characters go; what no tokens make is unknown.
static void test_wordpiece(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tokens;
    } rows[] = {
        {"the", "▁the"},
        {"The PLAYING", "▁the ▁play ing"},
        {"  played\t\n the  ", "▁play ed ▁the"},
        {"unplayed", "[UNK]"},
        {"the xyz the", "▁the [UNK] ▁the"},
        {"a!b", "▁a ▁! ▁b"},
        {"bab's $", "▁b ab ▁' ▁s ▁$"},
        {"中文文", "▁中 ▁文 ▁文"},
        {"É e\xcc\x81 \xc2\xad\x01the\x7f", "▁e ▁e ▁the"},
        {"한", "▁ᄒ"},
        {"th\xff"
         "e \xf0\x9f",
         "▁the"},
        {"112", "▁1 12"},
        {"the[TOOL]ing", "▁the [TOOL] [UNK]"},
        {"", ""},
    };
    struct made *m = open_wordpiece();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char spelled[256] = "";
        encode(m, rows[i].text, strlen(rows[i].text), plain);
        for (uint64_t k = 0; k < m->list.n; k++) {
            strcat(spelled, k > 0 ? " " : "");
            strcat(spelled, m->v.tokens[m->list.ids[k]].text);
        }
        assert_string_equal(spelled, rows[i].tokens);
    }
    struct tokenizer_info info;
    tokenizer_info(m->tokenizer, &info);
    assert_string_equal(info.model, "bert");
    assert_true(info.add_bos && info.add_eos && info.bos == 2 && info.eos == 3 && info.unk == 1);
    encode(m, "the", 3, (struct encode_options){.bos = TOKENIZER_BOS_AS_METADATA});
    assert_int_equal(m->list.n, 3);
    assert_int_equal(m->list.ids[0], 2);
    assert_int_equal(m->list.ids[2], 3);
    // There and back, as far as folding lets it.
    struct detokenizer d;
    char text[64], *piece = malloc(detokenizer_max_bytes(m->tokenizer));
    uint64_t n = 0;
    encode(m, "The PLAYing!", 12, plain);
    detokenizer_init(&d, m->tokenizer, false, true);
    for (uint64_t i = 0; i < m->list.n; i++) {
        const uint64_t n_piece = detokenizer_push(&d, m->list.ids[i], piece);
        memcpy(text + n, piece, n_piece);
        n += n_piece;
    }
    free(piece);
    assert_int_equal(n, 13);
    assert_memory_equal(text, "the playing !", 13);
    done(m);
}

// Infill tokens: by the metadata, then by how code models spell them; part of a set is not one.
static void test_infill(void **state)
{
    (void)state;
    struct tokenizer_info info;
    struct made *m = calloc(1, sizeof *m);
    make_bpe(&m->v);
    const uint32_t prefix = made_add(&m->v, "<fim_prefix>", TOKEN_CONTROL, 0);
    const uint32_t suffix = made_add(&m->v, "<fim_suffix>", TOKEN_CONTROL, 0);
    const uint32_t middle = made_add(&m->v, "<fim_middle>", TOKEN_CONTROL, 0);
    made_open(m, "gpt2", MADE_BPE);
    tokenizer_info(m->tokenizer, &info);
    assert_int_equal(info.infill_prefix, prefix);
    assert_int_equal(info.infill_suffix, suffix);
    assert_int_equal(info.infill_middle, middle);
    assert_false(tokenizer_is_end_of_generation(m->tokenizer, middle));
    done(m);
    m = calloc(1, sizeof *m);
    make_bpe(&m->v);
    made_add(&m->v, "<fim_suffix>", TOKEN_CONTROL, 0);
    put_key_u32(&m->v.values, "tokenizer.ggml.fim_pre_token_id", 5);
    put_key_u32(&m->v.values, "tokenizer.ggml.suffix_token_id", 6);
    m->v.n_values = 2;
    made_open(m, "gpt2", MADE_BPE);
    tokenizer_info(m->tokenizer, &info);
    assert_int_equal(info.infill_prefix, 5);
    assert_int_equal(info.infill_suffix, 6);
    assert_int_equal(info.infill_middle, TOKEN_NONE);
    done(m);
}

static void check_failing_allocations(struct made *m)
{
    char text[600];
    const uint64_t before = atomic_load(&account.total);
    struct chord_error err;
    memset(text, 'a', sizeof text);
    memcpy(text + 200, "<|im_end|>[TOOL]<|user|>\xff the", 28);
    for (int64_t n = 0;; n++) {
        struct tokenizer *tokenizer;
        atomic_store(&account.fail_after, n);
        const enum chord_status status = tokenizer_create(&tokenizer, m->gguf, &account, &err);
        const bool all_held = atomic_load(&account.fail_after) >= 0;
        atomic_store(&account.fail_after, -1);
        tokenizer_free(tokenizer);
        assert_int_equal(atomic_load(&account.total), before);
        assert_int_equal(status, all_held ? CHORD_OK : CHORD_OUT_OF_MEMORY);
        if (all_held)
            break;
    }
    for (int64_t n = 0;; n++) {
        struct token_list list = {.account = &account};
        token_list_append(&list, 42);
        atomic_store(&account.fail_after, n);
        const enum chord_status status = tokenizer_encode(m->tokenizer, text, sizeof text,
                                                          (struct encode_options){.parse_special = true}, &list, &err);
        const bool all_held = atomic_load(&account.fail_after) >= 0;
        atomic_store(&account.fail_after, -1);
        assert_int_equal(status, all_held ? CHORD_OK : CHORD_OUT_OF_MEMORY);
        assert_true(all_held ? list.n > 1 : list.n == 1);
        assert_int_equal(list.ids[0], 42);
        token_list_free(&list);
        assert_int_equal(atomic_load(&account.total), before);
        if (all_held)
            break;
    }
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct made *m = open_spm(true);
    check_failing_allocations(m);
    done(m);
    m = open_bpe("llama-bpe");
    check_failing_allocations(m);
    done(m);
    m = open_wordpiece();
    check_failing_allocations(m);
    done(m);
    m = open_unigram();
    check_failing_allocations(m);
    done(m);
}

// A megabyte of one word, of white space, of special tokens: a quadratic way through it would take minutes or hours.
static void test_long_words(void **state)
{
    static const char *const parts[] = {
        "a", "ab", "中", " ", "\n", ".", "'", "\xff", "[TOOL]", "[TOOL", "<|user|>", "1", " \n", "aA",
    };
    (void)state;
    const uint64_t n = quick() ? 1 << 17 : 1 << 20;
    char *text = malloc(n);
    for (int kind = 0; kind < 7; kind++) {
        static const char *const names[] = {"llama-bpe", "default", "gpt-4o", "deepseek-llm"};
        struct made *m = kind == 6   ? open_unigram()
                         : kind == 5 ? open_wordpiece()
                         : kind == 4 ? open_spm(true)
                                     : open_bpe(names[kind]);
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            const uint64_t n_part = strlen(parts[p]);
            for (uint64_t i = 0; i < n; i++)
                text[i] = parts[p][i % n_part];
            const clock_t start = clock();
            encode(m, text, n, with_special);
            assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20.0);
            assert_true(m->list.n > 0 || kind >= 5); // nothing is left of white space
        }
        done(m);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spm_merges),
        TEST(test_bpe_merges),
        TEST(test_bpe_keeps_bytes),
        TEST(test_spm_spellings),
        TEST(test_ignore_merges),
        TEST(test_special_tokens),
        TEST(test_cuts_and_parts),
        TEST(test_bos_and_eos),
        TEST(test_ends_of_generation),
        TEST(test_detokenizer),
        TEST(test_malformed_vocabularies),
        TEST(test_odd_vocabularies),
        TEST(test_failing_allocations),
        TEST(test_long_words),
        TEST(test_infill),
        TEST(test_wordpiece),
        TEST(test_wordpiece_with_case),
        TEST(test_unigram),
        TEST(test_what_stands_between_two_texts),
        TEST(test_character_maps_that_mean_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
