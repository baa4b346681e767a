// chord.h's tokenizer functions. What they give to the caller is the caller's memory, in no account.
#include "engine/model.h"

#include <stdlib.h>
#include <string.h>

enum chord_status chord_tokenizer_open(const char *path, struct chord_tokenizer **out, struct chord_error *err)
{
    struct chord_tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left for a tokenizer");
    memory_account_init(&t->own_account, UINT64_MAX);
    enum chord_status status = gguf_open(&t->own_gguf, path, &t->own_account, err);
    if (status == CHORD_OK)
        status = tokenizer_create(&t->tokenizer, t->own_gguf, &t->own_account, err);
    if (status != CHORD_OK) {
        chord_tokenizer_close(t);
        return status;
    }
    *out = t;
    return CHORD_OK;
}

void chord_tokenizer_close(struct chord_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    tokenizer_free(tokenizer->tokenizer);
    gguf_close(tokenizer->own_gguf);
    free(tokenizer);
}

void chord_tokenizer_info(const struct chord_tokenizer *tokenizer, struct chord_tokenizer_info *out)
{
    struct tokenizer_info info;
    tokenizer_info(tokenizer->tokenizer, &info);
    *out = (struct chord_tokenizer_info){
        .model = info.model,
        .pretokenizer = info.pretokenizer,
        .n_vocab = info.n_vocab,
        .bos = info.bos,
        .eos = info.eos,
        .eot = info.eot,
        .unk = info.unk,
        .pad = info.pad,
        .sep = info.sep,
        .infill_prefix = info.infill_prefix,
        .infill_suffix = info.infill_suffix,
        .infill_middle = info.infill_middle,
        .add_bos = info.add_bos,
        .add_eos = info.add_eos,
    };
}

// A malloc'ed copy of n_bytes bytes; of nothing, too, a pointer that can be freed.
static void *copy_for_caller(const void *bytes, uint64_t n_bytes)
{
    void *copy = malloc(n_bytes != 0 ? (size_t)n_bytes : 1);
    if (copy != NULL && n_bytes != 0)
        memcpy(copy, bytes, (size_t)n_bytes);
    return copy;
}

static enum chord_status encode(const struct chord_tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                struct encode_options options, uint32_t **ids, uint64_t *n_ids, struct chord_error *err)
{
    struct memory_account account;
    memory_account_init(&account, UINT64_MAX);
    struct token_list list = {.account = &account};
    enum chord_status status = tokenizer_encode(tokenizer->tokenizer, text, n_bytes, options, &list, err);
    if (status == CHORD_OK) {
        *ids = copy_for_caller(list.ids, list.n * sizeof **ids);
        *n_ids = list.n;
        if (*ids == NULL)
            status = chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left for %llu tokens",
                                (unsigned long long)list.n);
    }
    token_list_free(&list);
    return status;
}

enum chord_status chord_tokenize(const struct chord_tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                 bool parse_special, int bos, uint32_t **ids, uint64_t *n_ids, struct chord_error *err)
{
    const struct encode_options options = {
        .parse_special = parse_special,
        .bos = bos < 0    ? TOKENIZER_BOS_AS_METADATA
               : bos == 0 ? TOKENIZER_BOS_NEVER
                          : TOKENIZER_BOS_ALWAYS,
    };
    return encode(tokenizer, text, n_bytes, options, ids, n_ids, err);
}

enum chord_status chord_tokenize_part(const struct chord_tokenizer *tokenizer, const char *text, uint64_t n_bytes,
                                      bool parse_special, bool continues, const uint64_t *cuts, uint64_t n_cuts,
                                      uint32_t **ids, uint64_t *n_ids, struct chord_error *err)
{
    const struct encode_options options = {
        .parse_special = parse_special,
        .bos = TOKENIZER_BOS_NEVER,
        .continues = continues,
        .cuts = cuts,
        .n_cuts = n_cuts,
    };
    return encode(tokenizer, text, n_bytes, options, ids, n_ids, err);
}

enum chord_status chord_detokenize(const struct chord_tokenizer *tokenizer, const uint32_t *ids, uint64_t n_ids,
                                   bool special, char **text, uint64_t *n_bytes, struct chord_error *err)
{
    struct tokenizer_info info;
    struct detokenizer detokenizer;
    const uint64_t most = detokenizer_max_bytes(tokenizer->tokenizer);
    uint64_t capacity = most + n_ids * 4, used = 0;
    char *out = malloc((size_t)capacity);
    tokenizer_info(tokenizer->tokenizer, &info);
    detokenizer_init(&detokenizer, tokenizer->tokenizer, special, true);
    for (uint64_t i = 0; i <= n_ids && out != NULL; i++) {
        if (capacity - used < most) {
            capacity = capacity * 2 + most;
            char *grown = realloc(out, (size_t)capacity);
            if (grown == NULL)
                free(out);
            out = grown;
            if (out == NULL)
                break;
        }
        used += i < n_ids ? detokenizer_push(&detokenizer, ids[i], out + used)
                          : detokenizer_finish(&detokenizer, out + used);
    }
    if (out == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left for the text of %llu tokens",
                          (unsigned long long)n_ids);
    *text = out;
    *n_bytes = used;
    return CHORD_OK;
}

void chord_free(void *pointer)
{
    free(pointer);
}
