#include "tokenizer/vocabulary.h"

#include "base/hash.h"
#include "tokenizer/unicode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

char *vocabulary_name(char out[TOKEN_NAME_BYTES], const char *text, uint64_t n_bytes)
{
    return chord_printable(out, TOKEN_NAME_BYTES, text, (size_t)n_bytes);
}

// GPT-2 keeps the printable bytes of Latin-1 and moves the others, in order, to U+0100 and following.
static bool is_printable_byte(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

uint32_t byte_level_from_byte(unsigned char byte)
{
    if (is_printable_byte(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    return byte == 0xad ? 0x143u : 0x121u + byte - 0x7fu; // 0x7f..0xa0, and 0xad at the end
}

int byte_level_to_byte(uint32_t c)
{
    if (c < 0x100)
        return is_printable_byte(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int byte_of_token_name(const char *text, uint64_t n_bytes)
{
    if (n_bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// The slot that holds this text, or the empty one where it would go.
static struct vocabulary_slot *slot_of(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes,
                                       uint64_t hash)
{
    const uint64_t mask = vocabulary->n_slots - 1;
    const uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t at = hash & mask;; at = (at + 1) & mask) {
        struct vocabulary_slot *slot = &vocabulary->slots[at];
        if (slot->id == TOKEN_NONE)
            return slot;
        const struct vocabulary_token *token = &vocabulary->tokens[slot->id];
        if (slot->tag == tag && token->n_bytes == n_bytes && memcmp(token->text, text, (size_t)n_bytes) == 0)
            return slot;
    }
}

uint64_t vocabulary_hash(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes)
{
    return hash_bytes(text, n_bytes, vocabulary->seed);
}

void vocabulary_prefetch(const struct vocabulary *vocabulary, uint64_t hash, int step)
{
    const struct vocabulary_slot *slot = &vocabulary->slots[hash & (vocabulary->n_slots - 1)];
    if (step == 0)
        __builtin_prefetch(slot);
    else if (slot->id != TOKEN_NONE && step == 1)
        __builtin_prefetch(&vocabulary->tokens[slot->id]);
    else if (slot->id != TOKEN_NONE)
        __builtin_prefetch(vocabulary->tokens[slot->id].text);
}

uint32_t vocabulary_find_hashed(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes, uint64_t hash)
{
    if (n_bytes == 0 || n_bytes > vocabulary->max_bytes)
        return TOKEN_NONE;
    return slot_of(vocabulary, text, n_bytes, hash)->id;
}

uint32_t vocabulary_find(const struct vocabulary *vocabulary, const char *text, uint64_t n_bytes)
{
    if (n_bytes == 0 || n_bytes > vocabulary->max_bytes)
        return TOKEN_NONE;
    return vocabulary_find_hashed(vocabulary, text, n_bytes, vocabulary_hash(vocabulary, text, n_bytes));
}

static enum chord_status missing(struct chord_error *err, const char *key)
{
    return chord_fail(err, CHORD_GGUF_METADATA,
                      "%s is missing: the file has no complete vocabulary; convert the model again", key);
}

// *out = the array at `key`, or NULL where it is absent and may be.
static enum chord_status find_array(const struct gguf *gguf, const char *key, bool required, uint64_t n,
                                    const struct gguf_value **out, struct chord_error *err)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    *out = value;
    if (value == NULL)
        return required ? missing(err, key) : CHORD_OK;
    if (value->type != GGUF_ARRAY)
        return chord_fail(err, CHORD_GGUF_METADATA, "%s is of type %s, it should be an array", key,
                          gguf_value_type_name(value->type));
    if (value->n_elements != n && n != 0)
        return chord_fail(err, CHORD_TOKENIZER,
                          "%s has %llu elements for %llu tokens: the vocabulary is malformed, convert the model again",
                          key, (unsigned long long)value->n_elements, (unsigned long long)n);
    return CHORD_OK;
}

static enum chord_status load_tokens(struct vocabulary *vocabulary, const struct gguf *gguf, struct chord_error *err)
{
    const struct gguf_value *array;
    enum chord_status status = find_array(gguf, KEY("tokens"), true, 0, &array, err);
    if (status != CHORD_OK)
        return status;
    if (array->element != GGUF_STRING)
        return chord_fail(err, CHORD_GGUF_METADATA, KEY("tokens") " is an array of %s, it should be one of strings",
                          gguf_value_type_name(array->element));
    if (array->n_elements == 0 || array->n_elements > INT32_MAX)
        return chord_fail(err, CHORD_TOKENIZER, KEY("tokens") " has %llu elements; a vocabulary has 1 to 2147483647",
                          (unsigned long long)array->n_elements);
    vocabulary->n_tokens = (uint32_t)array->n_elements;
    vocabulary->n_slots = 16;
    while (vocabulary->n_slots < 2 * array->n_elements)
        vocabulary->n_slots *= 2;
    vocabulary->tokens =
        memory_zalloc(vocabulary->account, MEMORY_TOKENIZER, vocabulary->n_tokens, sizeof *vocabulary->tokens);
    const uint64_t slot_bytes = vocabulary->n_slots * sizeof *vocabulary->slots;
    vocabulary->slots = memory_alloc(vocabulary->account, MEMORY_TOKENIZER, slot_bytes, 64);
    if (vocabulary->tokens == NULL || vocabulary->slots == NULL)
        return memory_account_fail(vocabulary->account, err, slot_bytes, "the vocabulary");
    memset(vocabulary->slots, 0xff, (size_t)slot_bytes);

    struct gguf_string_walk walk = gguf_strings(array);
    struct gguf_string s;
    for (uint32_t id = 0; id < vocabulary->n_tokens && gguf_next_string(&walk, &s); id++) {
        if (s.n_bytes > MAX_TOKEN_BYTES)
            return chord_fail(err, CHORD_TOKENIZER, "token %u has %llu bytes; chord takes at most %u", id,
                              (unsigned long long)s.n_bytes, MAX_TOKEN_BYTES);
        vocabulary->tokens[id] =
            (struct vocabulary_token){.text = s.bytes, .n_bytes = (uint32_t)s.n_bytes, .type = TOKEN_NORMAL};
        if (s.n_bytes > vocabulary->max_bytes)
            vocabulary->max_bytes = (uint32_t)s.n_bytes;
        if (s.n_bytes == 0)
            continue; // no text becomes an empty token
        const uint64_t hash = hash_bytes(s.bytes, s.n_bytes, vocabulary->seed);
        struct vocabulary_slot *slot = slot_of(vocabulary, s.bytes, s.n_bytes, hash);
        if (slot->id != TOKEN_NONE) {
            char name[TOKEN_NAME_BYTES];
            return chord_fail(err, CHORD_TOKENIZER,
                              "tokens %u and %u are both '%s': the vocabulary is malformed, convert the model again",
                              slot->id, id, vocabulary_name(name, s.bytes, s.n_bytes));
        }
        *slot = (struct vocabulary_slot){.tag = (uint32_t)(hash >> 32), .id = id};
    }
    return CHORD_OK;
}

static enum chord_status load_types(struct vocabulary *vocabulary, const struct gguf *gguf, struct chord_error *err)
{
    const struct gguf_value *array;
    const enum chord_status status = find_array(gguf, KEY("token_type"), false, vocabulary->n_tokens, &array, err);
    if (status != CHORD_OK)
        return status;
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        struct vocabulary_token *token = &vocabulary->tokens[id];
        int64_t type = TOKEN_NORMAL;
        if (array == NULL) { // files of the first days: the names have to tell
            if (vocabulary->model == VOCABULARY_SPM && byte_of_token_name(token->text, token->n_bytes) >= 0)
                type = TOKEN_BYTE;
        } else if (!gguf_element_i64(array, id, &type)) {
            return chord_fail(err, CHORD_GGUF_METADATA,
                              KEY("token_type") " is an array of %s, it should be one of integers",
                              gguf_value_type_name(array->element));
        }
        if (type < 0 || type > TOKEN_BYTE)
            return chord_fail(err, CHORD_TOKENIZER, "token %u has the type %lld; there are types 1 to 6", id,
                              (long long)type);
        token->type = type == 0 ? TOKEN_UNUSED : (uint8_t)type;
    }
    return CHORD_OK;
}

static enum chord_status load_scores(struct vocabulary *vocabulary, const struct gguf *gguf, struct chord_error *err)
{
    const struct gguf_value *array;
    const enum chord_status status = find_array(gguf, KEY("scores"), true, vocabulary->n_tokens, &array, err);
    if (status != CHORD_OK)
        return status;
    const uint64_t n_bytes = (uint64_t)vocabulary->n_tokens * sizeof(float);
    vocabulary->scores = memory_alloc(vocabulary->account, MEMORY_TOKENIZER, n_bytes, 16);
    if (vocabulary->scores == NULL)
        return memory_account_fail(vocabulary->account, err, n_bytes, "the scores of the vocabulary");
    for (uint32_t id = 0; id < vocabulary->n_tokens; id++) {
        double score;
        if (!gguf_element_f64(array, id, &score))
            return chord_fail(err, CHORD_GGUF_METADATA, KEY("scores") " is an array of %s, it should be one of floats",
                              gguf_value_type_name(array->element));
        if (isnan(score))
            return chord_fail(err, CHORD_TOKENIZER, "the score of token %u is not a number", id);
        vocabulary->scores[id] = (float)score;
    }
    return CHORD_OK;
}

// *id = the special token that `key` names, or as it was where the key is absent or says "none" (all ones).
static enum chord_status load_special_id(const struct vocabulary *vocabulary, const struct gguf *gguf, const char *key,
                                         uint32_t *id, struct chord_error *err)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    int64_t wanted;
    if (value == NULL)
        return CHORD_OK;
    if (value->type == GGUF_ARRAY || value->type == GGUF_BOOL || !gguf_element_i64(value, 0, &wanted))
        return chord_fail(err, CHORD_GGUF_METADATA, "%s is of type %s, it should be a token id", key,
                          gguf_value_type_name(value->type));
    if (wanted == -1 || wanted == UINT32_MAX) {
        *id = TOKEN_NONE;
        return CHORD_OK;
    }
    if (wanted < 0 || wanted >= vocabulary->n_tokens)
        return chord_fail(err, CHORD_TOKENIZER, "%s is %lld, but the vocabulary has %u tokens: convert the model again",
                          key, (long long)wanted, vocabulary->n_tokens);
    *id = (uint32_t)wanted;
    return CHORD_OK;
}

static void mark_end(struct vocabulary *vocabulary, uint32_t id)
{
    if (id != TOKEN_NONE)
        vocabulary->tokens[id].is_end = true;
}

// Spellings of tokens that end a turn or a text, and of fill-in-the-middle tokens after which nothing sensible can
// follow. The metadata often names only one of them. The first N_TURN_SPELLINGS can be the vocabulary's EOT.
static const char *const end_spellings[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "▁<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
    "<|eom_id|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "</s>",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    "<|file_separator|>",
};
#define N_TURN_SPELLINGS 12

static uint32_t find_spelled(const struct vocabulary *vocabulary, const char *spelling)
{
    return vocabulary_find(vocabulary, spelling, strlen(spelling));
}

// Converters forget to mark a token as a control token; some vocabularies have the same letters as plain text
// ("</s>" from web pages). Only what nobody writes is taken for a control token against its type.
static bool is_unmistakable(const char *spelling)
{
    return strncmp(spelling, "<|", 2) == 0 || strncmp(spelling, "<｜", 4) == 0 || strncmp(spelling, "<end_of_", 8) == 0;
}

static void find_ends(struct vocabulary *vocabulary, bool typed)
{
    for (size_t i = 0; i < sizeof end_spellings / sizeof *end_spellings; i++) {
        const uint32_t id = find_spelled(vocabulary, end_spellings[i]);
        if (id == TOKEN_NONE ||
            (typed && vocabulary->tokens[id].type == TOKEN_NORMAL && !is_unmistakable(end_spellings[i])))
            continue;
        if (i < N_TURN_SPELLINGS && vocabulary->eot == TOKEN_NONE)
            vocabulary->eot = id;
        mark_end(vocabulary, id);
        vocabulary->tokens[id].type = TOKEN_CONTROL;
    }
    // In the formats with <|return|> and <|call|> the token <|end|> ends a part of the answer only.
    const uint32_t end = find_spelled(vocabulary, "<|end|>");
    const bool parts =
        (find_spelled(vocabulary, "<|return|>") != TOKEN_NONE && find_spelled(vocabulary, "<|call|>") != TOKEN_NONE) ||
        (find_spelled(vocabulary, "<|calls|>") != TOKEN_NONE && find_spelled(vocabulary, "<|flush|>") != TOKEN_NONE);
    if (end != TOKEN_NONE && parts) {
        vocabulary->tokens[end].is_end = false;
        if (vocabulary->eot == end)
            vocabulary->eot = TOKEN_NONE;
    }
    mark_end(vocabulary, vocabulary->eos);
    mark_end(vocabulary, vocabulary->eot);
}

// Infill tokens as code models spell them: prefix, suffix, middle.
static const char *const infill_spellings[][3] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},
    {"▁<PRE>", "▁<SUF>", "▁<MID>"},
    {"<PRE>", "<SUF>", "<MID>"},
    {"[PREFIX]", "[SUFFIX]", "[MIDDLE]"},
    {"<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"},
};

static void find_infill(struct vocabulary *vocabulary)
{
    for (size_t i = 0; i < sizeof infill_spellings / sizeof *infill_spellings; i++)
        for (int part = 0; part < 3; part++)
            if (vocabulary->infill[part] == TOKEN_NONE)
                vocabulary->infill[part] = find_spelled(vocabulary, infill_spellings[i][part]);
}

static enum chord_status load_special_ids(struct vocabulary *vocabulary, const struct gguf *gguf,
                                          struct chord_error *err)
{
    const bool spm = vocabulary->model == VOCABULARY_SPM;
    const uint32_t n = vocabulary->n_tokens;
    // The defaults of SentencePiece models; byte-level vocabularies have none.
    vocabulary->unk = spm ? 0 : TOKEN_NONE;
    vocabulary->bos = spm && n > 1 ? 1 : TOKEN_NONE;
    vocabulary->eos = spm && n > 2 ? 2 : TOKEN_NONE;
    vocabulary->eot = vocabulary->pad = vocabulary->sep = TOKEN_NONE;
    if (vocabulary->model == VOCABULARY_WORDPIECE && n > 102) { // the places that BERT gave them
        vocabulary->unk = 100;
        vocabulary->bos = 101;
        vocabulary->eos = 102;
        vocabulary->pad = 0;
    }
    if (vocabulary->model == VOCABULARY_UNIGRAM && n > 2) { // those of T5
        vocabulary->pad = 0;
        vocabulary->eos = 1;
        vocabulary->unk = 2;
    }
    for (int part = 0; part < 3; part++)
        vocabulary->infill[part] = TOKEN_NONE;
    uint32_t eom = TOKEN_NONE, fim_pad = TOKEN_NONE, fim_rep = TOKEN_NONE, fim_sep = TOKEN_NONE;
    const struct {
        const char *key;
        uint32_t *id;
    } keys[] = {
        {KEY("cls_token_id"), &vocabulary->bos},
        {KEY("seperator_token_id"), &vocabulary->eos}, // spelled so
        {KEY("seperator_token_id"), &vocabulary->sep},
        {KEY("bos_token_id"), &vocabulary->bos},
        {KEY("eos_token_id"), &vocabulary->eos},
        {KEY("eot_token_id"), &vocabulary->eot},
        {KEY("eom_token_id"), &eom},
        {KEY("unknown_token_id"), &vocabulary->unk},
        {KEY("padding_token_id"), &vocabulary->pad},
        {KEY("fim_pad_token_id"), &fim_pad},
        {KEY("fim_rep_token_id"), &fim_rep},
        {KEY("fim_sep_token_id"), &fim_sep},
        {KEY("prefix_token_id"), &vocabulary->infill[0]},
        {KEY("suffix_token_id"), &vocabulary->infill[1]},
        {KEY("middle_token_id"), &vocabulary->infill[2]},
        {KEY("fim_pre_token_id"), &vocabulary->infill[0]},
        {KEY("fim_suf_token_id"), &vocabulary->infill[1]},
        {KEY("fim_mid_token_id"), &vocabulary->infill[2]},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const enum chord_status status = load_special_id(vocabulary, gguf, keys[i].key, keys[i].id, err);
        if (status != CHORD_OK)
            return status;
    }
    mark_end(vocabulary, eom);
    mark_end(vocabulary, fim_pad);
    mark_end(vocabulary, fim_rep);
    mark_end(vocabulary, fim_sep);
    find_infill(vocabulary);
    find_ends(vocabulary, gguf_find(gguf, KEY("token_type")) != NULL);
    return CHORD_OK;
}

static void find_bytes(struct vocabulary *vocabulary)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        uint32_t n = 0;
        if (vocabulary->model == VOCABULARY_UNIGRAM) {
            vocabulary->byte_ids[byte] = TOKEN_NONE; // what begins no token is unknown
            continue;
        }
        if (vocabulary->model == VOCABULARY_SPM)
            n = (uint32_t)snprintf(text, sizeof text, "<0x%02X>", byte);
        else
            n = unicode_encode(byte_level_from_byte((unsigned char)byte), text);
        uint32_t id = vocabulary_find(vocabulary, text, n);
        if (id == TOKEN_NONE && vocabulary->model == VOCABULARY_SPM && byte < 0x80) {
            text[0] = (char)byte; // a vocabulary without byte tokens may still have the character
            id = vocabulary_find(vocabulary, text, 1);
        }
        if (id != TOKEN_NONE && vocabulary->tokens[id].type != TOKEN_BYTE && !token_is_text(&vocabulary->tokens[id]))
            id = TOKEN_NONE; // text never becomes a control token
        vocabulary->byte_ids[byte] = id;
    }
}

enum chord_status vocabulary_load(struct vocabulary *vocabulary, enum vocabulary_model model, const struct gguf *gguf,
                                  uint64_t seed, struct memory_account *account, struct chord_error *err)
{
    *vocabulary = (struct vocabulary){.account = account, .model = model, .seed = seed};
    enum chord_status status = load_tokens(vocabulary, gguf, err);
    if (status == CHORD_OK)
        status = load_types(vocabulary, gguf, err);
    if (status == CHORD_OK && (model == VOCABULARY_SPM || model == VOCABULARY_UNIGRAM))
        status = load_scores(vocabulary, gguf, err);
    if (status == CHORD_OK)
        status = load_special_ids(vocabulary, gguf, err);
    if (status != CHORD_OK) {
        vocabulary_free(vocabulary);
        return status;
    }
    find_bytes(vocabulary);
    return CHORD_OK;
}

void vocabulary_free(struct vocabulary *vocabulary)
{
    memory_free(vocabulary->account, vocabulary->tokens);
    memory_free(vocabulary->account, vocabulary->slots);
    memory_free(vocabulary->account, vocabulary->scores);
    vocabulary->tokens = NULL;
    vocabulary->slots = NULL;
    vocabulary->scores = NULL;
}
