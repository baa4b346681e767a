#include "engine/draft.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

// Rows of one batch that brings a text into the cache.
#define CATCH_UP_ROWS 128u
// Generated tokens not yet in the cache, up to which they come with the first guess, by the matvec family as in the text itself.
#define MOST_BEHIND 15u

// ---- The host --------------------------------------------------------------------------------------------------------------

enum chord_status draft_host_create(struct chord_model *model, struct chord_error *err)
{
    struct memory_account account; // it outlives the model's
    memory_account_init(&account, UINT64_MAX);
    struct draft_host *host = memory_zalloc(&account, MEMORY_METADATA, 1, sizeof *host);
    if (host == NULL)
        return chord_fail(err, CHORD_OUT_OF_MEMORY, "the system has no memory left for a model");
    const bool has_mutex = uv_mutex_init(&host->mutex) == 0;
    if (!has_mutex || uv_mutex_init(&host->running) != 0) {
        if (has_mutex)
            uv_mutex_destroy(&host->mutex);
        memory_free(&account, host);
        return chord_fail(err, CHORD_THREAD, "the system refused a lock for a model");
    }
    atomic_init(&host->n_references, 1);
    host->model = model;
    model->host = host;
    return CHORD_OK;
}

static void host_release(struct draft_host *host)
{
    struct memory_account account;
    if (atomic_fetch_sub(&host->n_references, 1) != 1)
        return;
    uv_mutex_destroy(&host->running);
    uv_mutex_destroy(&host->mutex);
    memory_account_init(&account, UINT64_MAX);
    memory_free(&account, host);
}

// Under host->mutex.
static void unlist(struct draft *draft)
{
    struct draft_host *host = draft->host;
    kv_cache_free(&draft->kv);
    atomic_fetch_sub(&host->kv_tokens, draft->counted_tokens);
    atomic_fetch_sub(&host->kv_blocks, draft->counted_blocks);
    *draft->at = draft->next;
    if (draft->next != NULL)
        draft->next->at = draft->at;
    draft->ended = true;
}

void draft_host_close(struct draft_host *host)
{
    if (host == NULL)
        return;
    atomic_store(&host->closing, true);
    uv_mutex_lock(&host->running);
    uv_mutex_lock(&host->mutex);
    while (host->drafts != NULL)
        unlist(host->drafts);
    host->model = NULL;
    uv_mutex_unlock(&host->mutex);
    uv_mutex_unlock(&host->running);
    host_release(host);
}

bool draft_host_try_lock(struct draft_host *host)
{
    if (uv_mutex_trylock(&host->running) != 0)
        return false;
    if (host->model != NULL && !atomic_load(&host->closing))
        return true;
    uv_mutex_unlock(&host->running);
    return false;
}

void draft_host_unlock(struct draft_host *host)
{
    uv_mutex_unlock(&host->running);
}

// ---- Vocabularies ----------------------------------------------------------------------------------------------------------

// Writes token `id` for a message.
static char *name_of(const struct tokenizer *tokenizer, uint32_t id, char out[64])
{
    const struct gguf_string text = tokenizer_token_text(tokenizer, id);
    return chord_printable(out, 64, text.bytes, text.n_bytes);
}

enum chord_status chord_model_check_draft(const struct chord_model *model, const struct chord_model *drafter,
                                          struct chord_error *err)
{
    const struct tokenizer *ours = model->tokenizer.tokenizer, *theirs = drafter->tokenizer.tokenizer;
    struct tokenizer_info our, their;
    char our_name[64], their_name[64];
    if (model == drafter)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "a model can't draft for itself: load a smaller one with the same vocabulary");
    if (!model_has_head(drafter))
        return chord_fail(
            err, CHORD_INVALID_ARGUMENT,
            "the draft model is an encoder ('%s'), which foretells no tokens: load a smaller model of the "
            "kind of the one it drafts for",
            drafter->arch->name);
    tokenizer_info(ours, &our);
    tokenizer_info(theirs, &their);
    if (strcmp(our.model, their.model) != 0)
        return chord_fail(err, CHORD_INVALID_ARGUMENT,
                          "the draft model has another tokenizer, '%s' where the model has '%s': a draft model needs "
                          "the vocabulary of the model it drafts for",
                          their.model, our.model);
    const uint32_t n_common = our.n_vocab < their.n_vocab ? our.n_vocab : their.n_vocab;
    for (uint32_t id = 0; id < n_common; id++) {
        const struct gguf_string a = tokenizer_token_text(ours, id), b = tokenizer_token_text(theirs, id);
        if (a.n_bytes != b.n_bytes || memcmp(a.bytes, b.bytes, a.n_bytes) != 0)
            return chord_fail(err, CHORD_INVALID_ARGUMENT,
                              "the draft model has another vocabulary: its token %u is '%s', the model's '%s'", id,
                              name_of(theirs, id, their_name), name_of(ours, id, our_name));
    }
    const bool ours_is_longer = our.n_vocab > n_common;
    const struct tokenizer *longer = ours_is_longer ? ours : theirs;
    for (uint32_t id = n_common; id < (ours_is_longer ? our.n_vocab : their.n_vocab); id++)
        if (tokenizer_token_type(longer, id) != TOKEN_UNUSED)
            return chord_fail(
                err, CHORD_INVALID_ARGUMENT,
                "the draft model has another vocabulary: %u tokens, the model %u; only %s has token %u, '%s'",
                their.n_vocab, our.n_vocab, ours_is_longer ? "the model" : "the draft model", id,
                name_of(longer, id, our_name));
    return CHORD_OK;
}

// ---- A draft ---------------------------------------------------------------------------------------------------------------

void draft_init(struct draft *draft, struct chord_model *drafter)
{
    struct draft_host *host = drafter->host;
    *draft = (struct draft){.host = host};
    kv_cache_init(&draft->kv, &drafter->kv_layout, &drafter->account, NULL);
    atomic_fetch_add(&host->n_references, 1);
    uv_mutex_lock(&host->mutex);
    draft->next = host->drafts;
    draft->at = &host->drafts;
    if (draft->next != NULL)
        draft->next->at = &draft->next;
    host->drafts = draft;
    uv_mutex_unlock(&host->mutex);
}

void draft_end(struct draft *draft)
{
    if (draft->host == NULL)
        return;
    uv_mutex_lock(&draft->host->mutex);
    if (!draft->ended)
        unlist(draft);
    uv_mutex_unlock(&draft->host->mutex);
}

void draft_free(struct draft *draft)
{
    if (draft->host == NULL)
        return;
    draft_end(draft);
    host_release(draft->host);
    draft->host = NULL;
}

bool draft_is_alive(struct draft *draft, const uint32_t *tokens, uint64_t n_tokens, uint64_t *n_behind)
{
    if (draft->ended)
        return false;
    // What was guessed and came true has been computed. The last token is computed in any case: its logits are wanted.
    uint32_t i = 0;
    if (draft->n_done >= n_tokens)
        draft->n_done = n_tokens - 1;
    while (i < draft->n_ahead && draft->n_done + 1 < n_tokens && draft->ahead[i] == tokens[draft->n_done]) {
        draft->n_done++;
        i++;
    }
    draft->n_ahead = 0;
    *n_behind = n_tokens - 1 - draft->n_done;
    return true;
}

// ---- Steps of the draft model ------------------------------------------------------------------------------------------------

struct draft_step {
    struct draft_host *host;
    bool (*abort_requested)(void *user);
    void *user;
    struct batch_row
        rows[CATCH_UP_ROWS > DRAFT_MAX_TEXTS *(MOST_BEHIND + 1) ? CATCH_UP_ROWS : DRAFT_MAX_TEXTS *(MOST_BEHIND + 1)];
    uint32_t n_rows;
    uint32_t outputs[DRAFT_MAX_TEXTS]; // rows whose logits are wanted
    uint32_t n_outputs;
    float *logits;
    uint64_t ns;
};

static bool is_to_abort(void *user)
{
    const struct draft_step *step = user;
    return atomic_load_explicit(&step->host->closing, memory_order_relaxed) || step->abort_requested(step->user);
}

static enum chord_status run(struct draft_step *step)
{
    struct chord_model *model = step->host->model;
    enum chord_status status = weights_check_unchanged(model->weights, NULL);
    if (status == CHORD_OK)
        status = backend_reserve(model->backend, step->n_rows, step->n_outputs > 0 ? step->n_outputs : 1, NULL);
    const uint64_t begin = os_now_ns();
    if (status == CHORD_OK)
        status = backend_run_trunk(model->backend, step->rows, step->n_rows, is_to_abort, step, NULL);
    if (status == CHORD_OK && step->n_outputs > 0)
        status = backend_run_head(model->backend, step->outputs, step->n_outputs, &step->logits, NULL);
    step->ns = os_now_ns() - begin;
    return status;
}

// What the host says of the draft's cache.
static void count(struct draft *draft)
{
    struct draft_host *host = draft->host;
    atomic_fetch_add(&host->kv_tokens, draft->n_done - draft->counted_tokens);
    atomic_fetch_add(&host->kv_blocks, draft->kv.n_blocks - draft->counted_blocks);
    draft->counted_tokens = draft->n_done;
    draft->counted_blocks = draft->kv.n_blocks;
}

static void add_row(struct draft_step *step, struct draft *draft, uint32_t token, uint64_t position, bool in_prompt)
{
    step->rows[step->n_rows++] =
        (struct batch_row){.token = token, .position = (uint32_t)position, .in_prompt = in_prompt, .kv = &draft->kv};
}

// Tokens of the text that are to be brought into the cache before any is guessed.
static uint64_t catch_up_end(const struct draft_text *text)
{
    const uint64_t n_known = text->n_tokens - 1, n_done = text->draft->n_done;
    return n_known - (n_done > text->n_prompt ? n_done : text->n_prompt) > MOST_BEHIND ? n_known : text->n_prompt;
}

// False: it has not, or the draft has ended.
static bool catch_up(struct draft_step *step, struct draft_text *text, uint64_t deadline)
{
    struct draft *draft = text->draft;
    const uint64_t end = catch_up_end(text);
    while (draft->n_done < end) {
        const uint64_t left = end - draft->n_done;
        const uint64_t n = left < CATCH_UP_ROWS ? left : CATCH_UP_ROWS;
        step->n_rows = step->n_outputs = 0;
        for (uint64_t i = draft->n_done; i < draft->n_done + n; i++)
            add_row(step, draft, text->tokens[i], i, true);
        enum chord_status status = kv_cache_reserve(&draft->kv, draft->n_done + n, NULL);
        if (status == CHORD_OK)
            status = run(step);
        if (status != CHORD_OK) {
            if (status != CHORD_CANCELLED)
                draft_end(draft);
            return false;
        }
        draft->n_done += n;
        const double row_ns = (double)step->ns / (double)n;
        double *known = &step->host->prompt_row_ns;
        if (n >= CATCH_UP_ROWS / 4)
            *known = *known == 0 ? row_ns : *known + (row_ns - *known) * 0.3;
        if (os_now_ns() >= deadline && draft->n_done < end)
            return false;
    }
    return true;
}

// The most likely of the tokens that may be guessed; TOKEN_NONE where there is none.
static uint32_t best_token(const struct chord_model *model, const struct draft_text *text, float *logits)
{
    const uint32_t n = text->n_vocab;
    for (;;) {
        const float max = model->kernels.max(logits, n);
        uint32_t best = 0;
        while (best < n && logits[best] != max)
            best++;
        if (best == n || max == -INFINITY)
            return TOKEN_NONE;
        if (!tokenizer_is_end_of_generation(model->tokenizer.tokenizer, best))
            return best;
        if (!text->never_ends)
            return TOKEN_NONE;
        logits[best] = -INFINITY;
    }
}

// The texts that another guess is to be made for, and a row for each, behind what is not yet in its cache.
static uint32_t gather(struct draft_step *step, struct draft_text *const *texts, uint32_t n_texts,
                       struct draft_text **going)
{
    uint32_t n_going = 0;
    step->n_rows = step->n_outputs = 0;
    for (uint32_t i = 0; i < n_texts; i++) {
        struct draft_text *text = texts[i];
        struct draft *draft = text->draft;
        const uint64_t n_known = text->n_tokens + text->n_made;
        if (text->n_made == text->n_wanted)
            continue;
        if (kv_cache_reserve(&draft->kv, n_known, NULL) != CHORD_OK) {
            draft_end(draft);
            continue;
        }
        if (text->n_made > 0)
            add_row(step, draft, text->guesses[text->n_made - 1], n_known - 1, false);
        else
            for (uint64_t at = draft->n_done; at < n_known; at++)
                add_row(step, draft, text->tokens[at], at, false);
        step->outputs[step->n_outputs++] = step->n_rows - 1;
        going[n_going++] = text;
    }
    return n_going;
}

// Makes guesses for texts that have caught up.
static void guess_on(struct draft_step *step, struct draft_text *const *texts, uint32_t n_texts)
{
    struct chord_model *model = step->host->model;
    struct draft_text *going[2][DRAFT_MAX_TEXTS];
    uint32_t n_going = n_texts;
    memcpy(going[0], texts, n_texts * sizeof *texts);
    for (uint32_t round = 0; n_going > 0; round++) {
        struct draft_text **now = going[(round + 1) % 2];
        n_going = gather(step, going[round % 2], n_going, now);
        const enum chord_status status = n_going > 0 ? run(step) : CHORD_CANCELLED;
        for (uint32_t i = 0; i < n_going && status != CHORD_OK && status != CHORD_CANCELLED; i++)
            draft_end(now[i]->draft);
        if (status != CHORD_OK)
            return;
        step_costs_learn(&model->scheduler.costs, step->n_rows, step->ns);
        uint32_t n_left = 0;
        for (uint32_t i = 0; i < n_going; i++) {
            struct draft_text *text = now[i];
            struct draft *draft = text->draft;
            const uint32_t best = best_token(model, text, step->logits + (uint64_t)i * model->hparams.n_vocab);
            if (text->n_made == 0)
                draft->n_done = text->n_tokens;
            else
                draft->ahead[draft->n_ahead++] = text->guesses[text->n_made - 1];
            if (best == TOKEN_NONE)
                continue;
            text->guesses[text->n_made++] = best;
            now[n_left++] = text;
        }
        n_going = n_left;
    }
}

// The guesses that the draft model's context has room for; 0: the text is longer, or holds what the model does not know.
static uint32_t room_for(const struct chord_model *model, const struct draft_text *text)
{
    if (text->n_tokens > model->n_ctx)
        return 0;
    for (uint64_t i = text->draft->n_done; i < text->n_tokens; i++)
        if (text->tokens[i] >= model->hparams.n_vocab)
            return 0;
    const uint64_t room = model->n_ctx - text->n_tokens + 1;
    return room < text->n_wanted ? (uint32_t)room : text->n_wanted;
}

void draft_run(struct draft_host *host, struct draft_text *texts, uint32_t n_texts, double catch_up_ns,
               bool (*abort_requested)(void *user), void *user)
{
    struct draft_step step = {.host = host, .abort_requested = abort_requested, .user = user};
    struct chord_model *model = host->model;
    struct draft_text *ready[DRAFT_MAX_TEXTS];
    uint32_t n_ready = 0;
    const uint64_t deadline = os_now_ns() + (uint64_t)catch_up_ns;
    struct tokenizer_info info;
    tokenizer_info(model->tokenizer.tokenizer, &info);
    weights_settle(model->weights, model->spare);
    for (uint32_t i = 0; i < n_texts; i++) {
        uint64_t n_behind;
        texts[i].n_made = 0;
        if (texts[i].n_vocab > info.n_vocab)
            texts[i].n_vocab = info.n_vocab;
        if (!draft_is_alive(texts[i].draft, texts[i].tokens, texts[i].n_tokens, &n_behind))
            continue;
        texts[i].n_wanted = room_for(model, &texts[i]);
        if (texts[i].n_wanted == 0)
            draft_end(texts[i].draft);
        else if (catch_up(&step, &texts[i], deadline))
            ready[n_ready++] = &texts[i];
    }
    guess_on(&step, ready, n_ready);
    for (uint32_t i = 0; i < n_texts; i++)
        if (!texts[i].draft->ended)
            count(texts[i].draft);
}
