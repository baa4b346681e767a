#include "engine/grammars.h"

#include "sampler/gbnf.h"
#include "sampler/grammar_form.h"
#include "sampler/json_schema.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// Compiling a grammar that is as large as a builder takes stays below this.
#define MOST_GRAMMAR_BYTES (UINT64_C(512) << 20)

struct chord_grammar {
    struct memory_account account;
    _Atomic uint32_t n_references;
    struct grammar *grammar;
};

enum chord_status grammar_object_create(grammar_compiler *compile, const char *text, uint64_t n_bytes,
                                        struct chord_grammar **out, struct chord_error *err)
{
    struct chord_grammar *grammar = calloc(1, sizeof *grammar);
    *out = NULL;
    if (grammar == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left for a grammar");
    memory_account_init(&grammar->account, MOST_GRAMMAR_BYTES);
    atomic_init(&grammar->n_references, 1);
    const enum chord_status status = compile(text, n_bytes, &grammar->account, &grammar->grammar, err);
    if (status != CHORD_OK) {
        free(grammar);
        return status;
    }
    *out = grammar;
    return CHORD_OK;
}

enum chord_status chord_grammar_compile_gbnf(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                             struct chord_error *err)
{
    return grammar_object_create(gbnf_compile, text, n_bytes, out, err);
}

enum chord_status chord_grammar_compile_form(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                             struct chord_error *err)
{
    return grammar_object_create(grammar_form_compile, text, n_bytes, out, err);
}

enum chord_status chord_grammar_compile_schema(const char *text, uint64_t n_bytes, struct chord_grammar **out,
                                               struct chord_error *err)
{
    return grammar_object_create(json_schema_compile, text, n_bytes, out, err);
}

struct chord_grammar *grammar_object_keep(struct chord_grammar *grammar)
{
    if (grammar != NULL)
        atomic_fetch_add(&grammar->n_references, 1);
    return grammar;
}

void chord_grammar_free(struct chord_grammar *grammar)
{
    if (grammar == NULL || atomic_fetch_sub(&grammar->n_references, 1) > 1)
        return;
    grammar_free(grammar->grammar);
    free(grammar);
}

// ---- A model's tokens ------------------------------------------------------------------------------------------------

enum token_role grammar_token_role(void *user, uint32_t token, char *out, uint64_t capacity, uint64_t *n_bytes)
{
    const struct tokenizer *tokenizer = user;
    const enum token_type type = tokenizer_token_type(tokenizer, token);
    *n_bytes = 0;
    if (tokenizer_is_end_of_generation(tokenizer, token))
        return TOKEN_ROLE_END;
    if (type == TOKEN_CONTROL) {
        unsigned char spelling[GRAMMAR_TOKEN_BYTES];
        grammar_spell_token(token, spelling);
        *n_bytes = sizeof spelling;
        if (capacity >= sizeof spelling)
            memcpy(out, spelling, sizeof spelling);
        return TOKEN_ROLE_TEXT;
    }
    if (type == TOKEN_UNKNOWN)
        return TOKEN_ROLE_NEVER;
    *n_bytes = tokenizer_token_bytes(tokenizer, token, false, out, capacity);
    // The byte that special tokens are spelled with is in no UTF-8: the token that stands for it alone must not begin one.
    char byte;
    if (*n_bytes == 1 && tokenizer_token_bytes(tokenizer, token, false, &byte, 1) == 1 && (unsigned char)byte == 0xff)
        return TOKEN_ROLE_NEVER;
    return TOKEN_ROLE_TEXT;
}

static enum chord_status create_trie(struct chord_model *model, struct chord_error *err)
{
    struct tokenizer_info info;
    tokenizer_info(model->tokenizer.tokenizer, &info);
    const struct token_source source = {
        .n_tokens = info.n_vocab < model->hparams.n_vocab ? info.n_vocab : model->hparams.n_vocab,
        .token = grammar_token_role,
        .user = model->tokenizer.tokenizer,
    };
    return token_trie_create(&model->trie, &source, &model->account, err);
}

// ---- What is known of grammars ---------------------------------------------------------------------------------------

// Of those that no generation has at the time, all together; and a small part of what the model may take.
#define MOST_IDLE_BYTES (UINT64_C(32) << 20)
#define IDLE_PART 32u

static uint64_t idle_bytes(const struct chord_model *model)
{
    const uint64_t scratch = model->account.region_ceiling[MEMORY_SCRATCH];
    const uint64_t ceiling = scratch < model->account.ceiling ? scratch : model->account.ceiling;
    return ceiling / IDLE_PART < MOST_IDLE_BYTES ? ceiling / IDLE_PART : MOST_IDLE_BYTES;
}

static void free_known(struct chord_model *model, struct known_grammar *known)
{
    constraint_cache_free(known->cache);
    memory_unreserve(&model->account, MEMORY_SCRATCH, known->grammar_bytes);
    chord_grammar_free(known->grammar);
    memory_free(&model->account, known);
}

static enum chord_status create_known(struct chord_model *model, struct chord_grammar *grammar,
                                      struct known_grammar **out, struct chord_error *err)
{
    struct memory_account *account = &model->account;
    struct known_grammar *known = memory_zalloc(account, MEMORY_SCRATCH, 1, sizeof *known);
    const uint64_t bytes = atomic_load(&grammar->account.total);
    *out = NULL;
    if (known == NULL)
        return memory_account_fail(account, err, sizeof *known, "a grammar");
    known->grammar = grammar_object_keep(grammar);
    enum chord_status status = CHORD_OK;
    if (memory_reserve(account, MEMORY_SCRATCH, bytes))
        known->grammar_bytes = bytes;
    else
        status = memory_account_fail(account, err, bytes, "a grammar");
    if (status == CHORD_OK)
        status =
            constraint_cache_create(&known->cache, grammar->grammar, model->trie, model->hparams.n_vocab, account, err);
    if (status != CHORD_OK) {
        free_known(model, known);
        return status;
    }
    known->next = model->grammars;
    *out = model->grammars = known;
    return CHORD_OK;
}

static struct known_grammar *find_known(struct chord_model *model, const struct chord_grammar *grammar)
{
    for (struct known_grammar **at = &model->grammars; *at != NULL; at = &(*at)->next) {
        struct known_grammar *known = *at;
        if (known->grammar != grammar)
            continue;
        *at = known->next;
        known->next = model->grammars;
        return model->grammars = known;
    }
    return NULL;
}

bool model_forget_grammars(struct chord_model *model, uint64_t most_bytes)
{
    uint64_t bytes = 0;
    bool dropped = false;
    for (struct known_grammar **at = &model->grammars; *at != NULL;) {
        struct known_grammar *known = *at;
        const uint64_t more =
            known->n_jobs > 0 ? 0 : sizeof *known + known->grammar_bytes + constraint_cache_bytes(known->cache);
        if (more <= most_bytes - bytes) {
            bytes += more;
            at = &known->next;
            continue;
        }
        *at = known->next;
        free_known(model, known);
        dropped = true;
    }
    return dropped;
}

// ---- Jobs ------------------------------------------------------------------------------------------------------------

enum chord_status job_create_constraint(struct chord_job *job, struct chord_error *err)
{
    struct chord_model *model = job->model;
    if (job->grammar == NULL || job->constraint != NULL)
        return CHORD_OK;
    enum chord_status status = model->trie == NULL ? create_trie(model, err) : CHORD_OK;
    if (status != CHORD_OK)
        return status;
    struct known_grammar *known = find_known(model, job->grammar);
    if (known == NULL)
        status = create_known(model, job->grammar, &known, err);
    if (status == CHORD_OK)
        status = constraint_create(&job->constraint, known->cache, err);
    if (status == CHORD_OK) {
        job->known = known;
        known->n_jobs++;
    }
    return status;
}

void job_free_constraint(struct chord_job *job)
{
    struct known_grammar *known = job->known;
    if (known == NULL)
        return;
    constraint_free(job->constraint);
    job->constraint = NULL;
    job->known = NULL;
    known->n_jobs--;
    const uint64_t most = idle_bytes(job->model);
    // Many states are quickly found again; masks are what takes time.
    if (known->n_jobs == 0 && constraint_cache_bytes(known->cache) > most / 4)
        constraint_cache_forget_states(known->cache);
    model_forget_grammars(job->model, most);
}

void job_explain_constraint(const struct chord_job *job, struct chord_error *err)
{
    const struct chord_error *cause = constraint_error(job->constraint);
    if (cause->code != CHORD_OK)
        *err = *cause;
    else
        chord_fail(err, CHORD_INVALID_ARGUMENT,
                   "no token can be chosen after %llu tokens: the grammar, the logit bias and the vocabulary together "
                   "leave none; the text so far is not whole",
                   (unsigned long long)job->n_generated);
}
