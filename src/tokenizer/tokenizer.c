#include "tokenizer/tokenizer.h"

#include "base/checked.h"
#include "tokenizer/bpe.h"
#include "tokenizer/special.h"
#include "tokenizer/spm.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unigram.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/wordpiece.h"

#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define MAX_TEXT_BYTES ((uint64_t)1 << 30) // offsets within a text fit 32 bits, also when every space becomes "▁"

struct tokenizer {
    struct memory_account *account;
    struct vocabulary vocabulary;
    struct special_matcher special;
    struct bpe bpe;
    struct spm spm;
    struct wordpiece wordpiece;
    struct unigram unigram;
    const char *pretokenizer_name;
    bool add_bos, add_eos, add_sep, add_space_prefix;
};

bool token_list_append(struct token_list *list, uint32_t id)
{
    if (list->n == list->capacity) {
        const uint64_t capacity = list->capacity < 16 ? 16 : list->capacity * 2;
        uint64_t n_bytes;
        if (!checked_mul(capacity, sizeof *list->ids, &n_bytes))
            return false;
        uint32_t *ids = memory_resize(list->account, MEMORY_TOKENIZER, list->ids, n_bytes);
        if (ids == NULL)
            return false;
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return true;
}

void token_list_free(struct token_list *list)
{
    if (list->account != NULL)
        memory_free(list->account, list->ids);
    *list = (struct token_list){.account = list->account};
}

static bool equals(struct gguf_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.bytes, text, (size_t)s.n_bytes) == 0;
}

static enum chord_status find_model(const struct gguf *gguf, enum vocabulary_model *model, struct chord_error *err)
{
    struct gguf_string name;
    const enum chord_status status = gguf_get_string(gguf, KEY("model"), &name, NULL);
    if (status == CHORD_NOT_FOUND)
        return chord_fail(err, CHORD_GGUF_METADATA,
                          KEY("model") " is missing: the file has no vocabulary; convert the model again");
    if (status != CHORD_OK)
        return gguf_get_string(gguf, KEY("model"), &name, err);
    if (equals(name, "llama")) {
        *model = VOCABULARY_SPM;
    } else if (equals(name, "gpt2")) {
        *model = VOCABULARY_BPE;
    } else if (equals(name, "bert")) {
        *model = VOCABULARY_WORDPIECE;
    } else if (equals(name, "t5")) {
        *model = VOCABULARY_UNIGRAM;
    } else {
        char shown[TOKEN_NAME_BYTES];
        return chord_fail(err, CHORD_UNSUPPORTED_TOKENIZER,
                          KEY("model") " is '%s'; chord knows 'llama' (SentencePiece), 'gpt2' (byte-level BPE), "
                                       "'bert' (WordPiece) and 't5' (Unigram)",
                          vocabulary_name(shown, name.bytes, name.n_bytes));
    }
    return CHORD_OK;
}

static enum chord_status find_pretokenizer(const struct gguf *gguf, const struct pretokenizer **out,
                                           const char **canonical, struct chord_error *err)
{
    static const char absent[] = "default"; // files from before the key existed
    struct gguf_string name = {.bytes = absent, .n_bytes = sizeof absent - 1};
    const enum chord_status status = gguf_get_string(gguf, KEY("pre"), &name, NULL);
    if (status != CHORD_OK && status != CHORD_NOT_FOUND)
        return gguf_get_string(gguf, KEY("pre"), &name, err);
    *out = pretokenizer_find(name.bytes, name.n_bytes, canonical);
    if (*out == NULL) {
        char shown[TOKEN_NAME_BYTES];
        return chord_fail(err, CHORD_UNSUPPORTED_TOKENIZER,
                          "the pre-tokenizer '%s' (" KEY("pre") ") is not one that chord knows; with another one the "
                                                                "model would read its prompts wrongly",
                          vocabulary_name(shown, name.bytes, name.n_bytes));
    }
    return CHORD_OK;
}

// add_bos_token, add_eos_token and their kin: *out as it was where the key is absent.
static enum chord_status load_flag(const struct gguf *gguf, const char *key, bool *out, struct chord_error *err)
{
    return gguf_get_bool_or(gguf, key, *out, out, err);
}

static enum chord_status load_flags(struct tokenizer *tokenizer, const struct gguf *gguf, struct chord_error *err)
{
    enum chord_status status = load_flag(gguf, KEY("add_bos_token"), &tokenizer->add_bos, err);
    // BERT's [SEP] ends a text and so parts it from another; RoBERTa and its kin put a </s> more between two.
    const bool sep_ends = tokenizer->vocabulary.model == VOCABULARY_WORDPIECE;
    if (status == CHORD_OK)
        status = load_flag(gguf, KEY("add_sep_token"), sep_ends ? &tokenizer->add_eos : &tokenizer->add_sep, err);
    if (status == CHORD_OK)
        status = load_flag(gguf, KEY("add_eos_token"), &tokenizer->add_eos, err);
    if (status == CHORD_OK)
        status = load_flag(gguf, KEY("add_space_prefix"), &tokenizer->add_space_prefix, err);
    if (status != CHORD_OK)
        return status;
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (tokenizer->add_bos && vocabulary->bos == TOKEN_NONE && gguf_find(gguf, KEY("add_bos_token")) != NULL)
        return chord_fail(
            err, CHORD_TOKENIZER,
            KEY("add_bos_token") " is true, but " KEY("bos_token_id") " is missing: convert the model again");
    if (tokenizer->add_eos && vocabulary->eos == TOKEN_NONE)
        return chord_fail(
            err, CHORD_TOKENIZER,
            KEY("add_eos_token") " is true, but " KEY("eos_token_id") " is missing: convert the model again");
    tokenizer->add_bos = tokenizer->add_bos && vocabulary->bos != TOKEN_NONE;
    if (vocabulary->model == VOCABULARY_WORDPIECE)
        tokenizer->add_space_prefix = true; // its words have one, whatever a converter writes for the others
    return CHORD_OK;
}

static bool contains_phi3(struct gguf_string name)
{
    for (uint64_t i = 0; i + 4 <= name.n_bytes; i++) {
        const char *s = name.bytes + i;
        if ((s[0] | 32) != 'p' || (s[1] | 32) != 'h' || (s[2] | 32) != 'i')
            continue;
        if (s[3] == '3' || (s[3] == '-' && i + 5 <= name.n_bytes && s[4] == '3'))
            return true;
    }
    return false;
}

// GGUF does not carry the attribute "rstrip" of special tokens. Phi-3 is the family whose chat format leans on
// it: all its special tokens have it but three.
static void mark_strips_right(struct vocabulary *vocabulary, const struct gguf *gguf)
{
    struct gguf_string name;
    if (gguf_get_string(gguf, "general.name", &name, NULL) != CHORD_OK || !contains_phi3(name))
        return;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        struct vocabulary_token *token = &vocabulary->tokens[id];
        const struct gguf_string text = {.bytes = token->text, .n_bytes = token->n_bytes};
        token->strips_right =
            (token->type == TOKEN_CONTROL || token->type == TOKEN_UNKNOWN || token->type == TOKEN_USER_DEFINED) &&
            !equals(text, "<unk>") && !equals(text, "<s>") && !equals(text, "<|endoftext|>");
    }
}

static enum chord_status load_spm(struct tokenizer *tokenizer, struct chord_error *err)
{
    tokenizer->add_bos = true;
    tokenizer->add_space_prefix = true;
    tokenizer->pretokenizer_name = "";
    if (!spm_load(&tokenizer->spm, &tokenizer->vocabulary))
        return memory_account_fail(tokenizer->account, err, sizeof(struct spm), "the tokenizer");
    return CHORD_OK;
}

static enum chord_status load_wordpiece(struct tokenizer *tokenizer, const struct gguf *gguf, struct chord_error *err)
{
    tokenizer->add_bos = true;
    tokenizer->add_eos = tokenizer->vocabulary.eos != TOKEN_NONE;
    tokenizer->pretokenizer_name = "";
    return wordpiece_load(&tokenizer->wordpiece, &tokenizer->vocabulary, gguf, err);
}

static enum chord_status load_unigram(struct tokenizer *tokenizer, const struct gguf *gguf, struct chord_error *err)
{
    tokenizer->add_eos = tokenizer->vocabulary.eos != TOKEN_NONE;
    tokenizer->add_sep = true;
    tokenizer->pretokenizer_name = "";
    return unigram_load(&tokenizer->unigram, &tokenizer->vocabulary, gguf, err);
}

static enum chord_status load_bpe(struct tokenizer *tokenizer, const struct gguf *gguf, struct chord_error *err)
{
    const struct pretokenizer *pretokenizer;
    const enum chord_status status = find_pretokenizer(gguf, &pretokenizer, &tokenizer->pretokenizer_name, err);
    if (status != CHORD_OK)
        return status;
    tokenizer->add_bos = pretokenizer->add_bos;
    tokenizer->add_sep = pretokenizer->add_sep;
    return bpe_load(&tokenizer->bpe, &tokenizer->vocabulary, pretokenizer, gguf, err);
}

enum chord_status tokenizer_create(struct tokenizer **out, const struct gguf *gguf, struct memory_account *account,
                                   struct chord_error *err)
{
    enum vocabulary_model model = VOCABULARY_SPM;
    *out = NULL;
    enum chord_status status = find_model(gguf, &model, err);
    if (status != CHORD_OK)
        return status;
    struct tokenizer *tokenizer = memory_zalloc(account, MEMORY_TOKENIZER, 1, sizeof *tokenizer);
    if (tokenizer == NULL)
        return memory_account_fail(account, err, sizeof *tokenizer, "the tokenizer");
    tokenizer->account = account;
    tokenizer->vocabulary.account = account;
    // Address-space randomisation makes the seed one that the author of a file cannot foresee.
    const uint64_t seed = (uint64_t)(uintptr_t)tokenizer * 0x9e3779b97f4a7c15u;
    status = vocabulary_load(&tokenizer->vocabulary, model, gguf, seed, account, err);
    if (status == CHORD_OK)
        status = model == VOCABULARY_SPM         ? load_spm(tokenizer, err)
                 : model == VOCABULARY_WORDPIECE ? load_wordpiece(tokenizer, gguf, err)
                 : model == VOCABULARY_UNIGRAM   ? load_unigram(tokenizer, gguf, err)
                                                 : load_bpe(tokenizer, gguf, err);
    if (status == CHORD_OK)
        status = load_flags(tokenizer, gguf, err);
    if (status == CHORD_OK) {
        mark_strips_right(&tokenizer->vocabulary, gguf);
        status = special_load(&tokenizer->special, &tokenizer->vocabulary, err);
    }
    if (status != CHORD_OK) {
        tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return CHORD_OK;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    special_free(&tokenizer->special);
    bpe_free(&tokenizer->bpe);
    spm_free(&tokenizer->spm);
    wordpiece_free(&tokenizer->wordpiece);
    unigram_free(&tokenizer->unigram);
    vocabulary_free(&tokenizer->vocabulary);
    memory_free(tokenizer->account, tokenizer);
}

void tokenizer_info(const struct tokenizer *tokenizer, struct tokenizer_info *out)
{
    static const char *const names[] = {[VOCABULARY_SPM] = "llama",
                                        [VOCABULARY_BPE] = "gpt2",
                                        [VOCABULARY_WORDPIECE] = "bert",
                                        [VOCABULARY_UNIGRAM] = "t5"};
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    *out = (struct tokenizer_info){
        .model = names[vocabulary->model],
        .pretokenizer = tokenizer->pretokenizer_name,
        .n_vocab = vocabulary->n_tokens,
        .bos = vocabulary->bos,
        .eos = vocabulary->eos,
        .eot = vocabulary->eot,
        .unk = vocabulary->unk,
        .pad = vocabulary->pad,
        .sep = tokenizer->add_sep ? vocabulary->sep : TOKEN_NONE,
        .infill_prefix = vocabulary->infill[0],
        .infill_suffix = vocabulary->infill[1],
        .infill_middle = vocabulary->infill[2],
        .add_bos = tokenizer->add_bos,
        .add_eos = tokenizer->add_eos,
        .add_space_prefix = tokenizer->add_space_prefix,
    };
}

// What one call to tokenizer_encode works with.
struct encoding {
    const struct tokenizer *tokenizer;
    struct token_list *list;
    struct merge_scratch scratch;
    struct special_matches matches;
    bool after_special; // also at the start
};

static bool encode_plain(struct encoding *encoding, const char *text, uint64_t n_bytes)
{
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if (n_bytes == 0)
        return true;
    const bool prefix = tokenizer->add_space_prefix && encoding->after_special;
    encoding->after_special = false;
    if (tokenizer->vocabulary.model == VOCABULARY_SPM)
        return spm_encode(&tokenizer->spm, text, n_bytes, prefix, &encoding->scratch, encoding->list);
    if (tokenizer->vocabulary.model == VOCABULARY_WORDPIECE)
        return wordpiece_encode(&tokenizer->wordpiece, text, n_bytes, encoding->list);
    if (tokenizer->vocabulary.model == VOCABULARY_UNIGRAM)
        return unigram_encode(&tokenizer->unigram, text, n_bytes, prefix, encoding->list);
    return bpe_encode(&tokenizer->bpe, text, n_bytes, &encoding->scratch, encoding->list);
}

static bool is_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// Matches in falling order, as one search gives them, but within what lies between two cuts.
static bool search_between_cuts(struct encoding *encoding, const char *text, uint64_t n_bytes,
                                const struct encode_options *options)
{
    struct special_matches *matches = &encoding->matches;
    uint64_t end = n_bytes;
    for (uint64_t i = options->n_cuts + 1; i-- > 0;) {
        const uint64_t cut = i > 0 ? options->cuts[i - 1] : 0;
        if (cut >= end && i > 0)
            continue;
        const uint64_t n_before = matches->n;
        if (!special_search(&encoding->tokenizer->special, text + cut, end - cut, options->parse_special, matches))
            return false;
        for (uint64_t k = n_before; k < matches->n; k++)
            matches->items[k].at += cut;
        end = cut;
    }
    return true;
}

static bool encode_text(struct encoding *encoding, const char *text, uint64_t n_bytes,
                        const struct encode_options *options)
{
    struct special_matches *matches = &encoding->matches;
    if (!search_between_cuts(encoding, text, n_bytes, options))
        return false;
    uint64_t at = 0;
    for (uint64_t i = matches->n; i-- > 0;) {
        const struct special_match match = matches->items[i];
        if (match.at < at)
            continue; // inside the one before
        const struct vocabulary_token *token = &encoding->tokenizer->vocabulary.tokens[match.id];
        if (!encode_plain(encoding, text + at, match.at - at) || !token_list_append(encoding->list, match.id))
            return false;
        encoding->after_special = true;
        at = match.at + token->n_bytes;
        while (token->strips_right && at < n_bytes && is_ascii_space(text[at]))
            at++;
    }
    return encode_plain(encoding, text + at, n_bytes - at);
}

enum chord_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                   struct encode_options options, struct token_list *list, struct chord_error *err)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    const uint64_t n_before = list->n;
    if (n_bytes > MAX_TEXT_BYTES)
        return chord_fail(err, CHORD_INVALID_ARGUMENT, "the text has %llu bytes; at most %llu can be tokenized at once",
                          (unsigned long long)n_bytes, (unsigned long long)MAX_TEXT_BYTES);
    struct encoding encoding = {
        .tokenizer = tokenizer,
        .list = list,
        .scratch = {.account = tokenizer->account},
        .matches = {.account = tokenizer->account},
        .after_special = !options.continues,
    };
    const bool bos =
        vocabulary->bos != TOKEN_NONE &&
        (options.bos == TOKENIZER_BOS_ALWAYS || (options.bos == TOKENIZER_BOS_AS_METADATA && tokenizer->add_bos));
    const bool eos = options.bos == TOKENIZER_BOS_AS_METADATA && tokenizer->add_eos;
    const bool done = (!bos || token_list_append(list, vocabulary->bos)) &&
                      encode_text(&encoding, text, n_bytes, &options) &&
                      (!eos || token_list_append(list, vocabulary->eos));
    merge_scratch_free(&encoding.scratch);
    special_matches_free(&encoding.matches);
    if (!done) {
        list->n = n_before;
        return memory_account_fail(tokenizer->account, err, 4 * n_bytes, "tokenizing a text");
    }
    return CHORD_OK;
}

enum token_type tokenizer_token_type(const struct tokenizer *tokenizer, uint32_t id)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    return id < vocabulary->n_tokens ? (enum token_type)vocabulary->tokens[id].type : TOKEN_UNUSED;
}

bool tokenizer_is_end_of_generation(const struct tokenizer *tokenizer, uint32_t id)
{
    return id < tokenizer->vocabulary.n_tokens && tokenizer->vocabulary.tokens[id].is_end;
}

struct gguf_string tokenizer_token_text(const struct tokenizer *tokenizer, uint32_t id)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    if (id >= vocabulary->n_tokens)
        return (struct gguf_string){.bytes = "", .n_bytes = 0};
    return (struct gguf_string){.bytes = vocabulary->tokens[id].text, .n_bytes = vocabulary->tokens[id].n_bytes};
}

uint32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text, uint64_t n_bytes)
{
    return vocabulary_find(&tokenizer->vocabulary, text, n_bytes);
}

// Bytes given so far, and where they go as far as there is room.
struct writer {
    char *out;
    uint64_t capacity, n;
};

static void write_bytes(struct writer *writer, const char *bytes, uint64_t n_bytes)
{
    if (writer->n < writer->capacity) {
        const uint64_t room = writer->capacity - writer->n;
        memcpy(writer->out + writer->n, bytes, (size_t)(n_bytes < room ? n_bytes : room));
    }
    writer->n += n_bytes;
}

static void write_spm(struct writer *writer, const struct vocabulary_token *token)
{
    for (uint32_t at = 0; at < token->n_bytes;) {
        const char *s = token->text + at;
        if (token->n_bytes - at >= 3 && memcmp(s, "\xe2\x96\x81", 3) == 0) {
            write_bytes(writer, " ", 1);
            at += 3;
        } else {
            write_bytes(writer, s, 1);
            at++;
        }
    }
}

// A token with a character that stands for no byte is taken as it is written.
static void write_byte_level(struct writer *writer, const struct vocabulary_token *token)
{
    const struct writer before = *writer;
    const unsigned char *text = (const unsigned char *)token->text;
    uint32_t used;
    for (uint32_t at = 0; at < token->n_bytes; at += used) {
        const int byte = byte_level_to_byte(unicode_decode(text + at, token->n_bytes - at, &used));
        if (byte < 0) {
            *writer = before;
            write_bytes(writer, token->text, token->n_bytes);
            return;
        }
        write_bytes(writer, &(char){(char)byte}, 1);
    }
}

uint64_t tokenizer_token_bytes(const struct tokenizer *tokenizer, uint32_t id, bool special, char *out,
                               uint64_t out_bytes)
{
    struct writer writer = {.out = out, .capacity = out_bytes};
    if (id >= tokenizer->vocabulary.n_tokens)
        return 0;
    const struct vocabulary_token *token = &tokenizer->vocabulary.tokens[id];
    switch ((enum token_type)token->type) {
    case TOKEN_NORMAL:
        if (tokenizer->vocabulary.model != VOCABULARY_BPE)
            write_spm(&writer, token);
        else
            write_byte_level(&writer, token);
        break;
    case TOKEN_UNKNOWN:
    case TOKEN_CONTROL:
        if (special)
            write_bytes(&writer, token->text, token->n_bytes);
        break;
    case TOKEN_USER_DEFINED:
        write_bytes(&writer, token->text, token->n_bytes);
        break;
    case TOKEN_BYTE: {
        const int byte = byte_of_token_name(token->text, token->n_bytes);
        if (byte >= 0)
            write_bytes(&writer, &(char){(char)byte}, 1);
        break;
    }
    case TOKEN_UNUSED:
        break;
    }
    return writer.n;
}

uint64_t tokenizer_max_token_bytes(const struct tokenizer *tokenizer)
{
    return tokenizer->vocabulary.max_bytes;
}
