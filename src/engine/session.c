#include "engine/session.h"

#include <stdatomic.h>
#include <string.h>

enum chord_status session_create(struct chord_model *model, const struct session_text *text, struct kv_cache *kv,
                                 struct chord_session **out, struct chord_error *err)
{
    struct scheduler *s = &model->scheduler;
    struct chord_session *session = memory_zalloc(&model->account, MEMORY_SCRATCH, 1, sizeof *session);
    if (session == NULL)
        return memory_account_fail(&model->account, err, sizeof *session, "a session");
    session->model = model;
    session->text = *text;
    session->kv = *kv;
    kv_cache_rest(&session->kv);
    uv_mutex_lock(&s->mutex);
    session->next = s->sessions;
    s->sessions = session;
    uv_mutex_unlock(&s->mutex);
    *out = session;
    return CHORD_OK;
}

enum chord_status chord_session_open(struct chord_model *model, struct chord_session **out, struct chord_error *err)
{
    struct kv_cache kv;
    kv_cache_init(&kv, &model->kv_layout, &model->account, model->kv_spill);
    return session_create(model, &(struct session_text){0}, &kv, out, err);
}

static void destroy(struct chord_session *session)
{
    struct memory_account *account = &session->model->account;
    kv_cache_free(&session->kv);
    memory_free(account, session->text.tokens);
    memory_free(account, session->text.generated);
    memory_free(account, session);
}

void sessions_sweep(struct chord_model *model, bool all)
{
    struct scheduler *s = &model->scheduler;
    struct chord_session *gone = NULL;
    uv_mutex_lock(&s->mutex);
    for (struct chord_session **at = &s->sessions; *at != NULL;) {
        struct chord_session *session = *at;
        if (!all && !(session->released && session->use == SESSION_RESTS)) {
            at = &session->next;
            continue;
        }
        *at = session->next;
        session->next = gone;
        gone = session;
    }
    uv_mutex_unlock(&s->mutex);
    while (gone != NULL) {
        struct chord_session *next = gone->next;
        destroy(gone);
        gone = next;
    }
}

void sessions_count(struct chord_model *model, uint32_t stamp, uint64_t *n_tokens, uint64_t *n_blocks)
{
    uv_mutex_lock(&model->scheduler.mutex);
    for (struct chord_session *session = model->scheduler.sessions; session != NULL; session = session->next) {
        *n_tokens += session->kv.n_blocks > 0 ? session->text.n_done : 0; // else it is lent
        *n_blocks += kv_cache_count(&session->kv, stamp);
    }
    uv_mutex_unlock(&model->scheduler.mutex);
}

void chord_session_free(struct chord_session *session)
{
    if (session == NULL)
        return;
    // Behind the unlock the session may be gone.
    uv_mutex_t *mutex = &session->model->scheduler.mutex;
    uv_mutex_lock(mutex);
    session->released = true;
    if (session->job != NULL)
        chord_job_cancel(session->job);
    uv_mutex_unlock(mutex);
}

// ---- Use -------------------------------------------------------------------------------------------------------------

enum chord_status session_begin_use(struct chord_session *session, enum session_use use, struct chord_error *err)
{
    uv_mutex_t *mutex = &session->model->scheduler.mutex;
    uv_mutex_lock(mutex);
    const enum session_use before = session->use;
    if (before == SESSION_RESTS)
        session->use = use;
    uv_mutex_unlock(mutex);
    if (before == SESSION_RESTS)
        return CHORD_OK;
    return chord_fail(err, CHORD_BUSY, "the session is %s: wait until that has ended, or fork the session before it",
                      before == SESSION_SAVES ? "being saved" : "generating a text");
}

void session_rest(struct chord_session *session)
{
    uv_mutex_t *mutex = &session->model->scheduler.mutex;
    uv_mutex_lock(mutex);
    session->use = SESSION_RESTS;
    session->job = NULL;
    uv_mutex_unlock(mutex);
}

uint64_t chord_session_tokens(const struct chord_session *session, uint32_t *out, uint64_t n_most)
{
    uv_mutex_t *mutex = &session->model->scheduler.mutex;
    uv_mutex_lock(mutex);
    const uint64_t n = session->text.n_tokens;
    if (n > 0 && n_most > 0)
        memcpy(out, session->text.tokens, (n < n_most ? n : n_most) * sizeof *out);
    uv_mutex_unlock(mutex);
    return n;
}

enum chord_status chord_session_generate(struct chord_session *session, const uint32_t *prompt, uint64_t n_prompt,
                                         const struct chord_generate_options *options, struct chord_job **out,
                                         struct chord_error *err)
{
    enum chord_status status = session_begin_use(session, SESSION_GENERATES, err);
    if (status != CHORD_OK)
        return status;
    struct chord_job *job;
    status = job_create_generation(session->model, prompt, n_prompt, options, &job, err);
    if (status == CHORD_OK) {
        job->generated = memory_zalloc(&session->model->account, MEMORY_SCRATCH, job->capacity, 1);
        if (job->generated == NULL) {
            status = memory_account_fail(&session->model->account, err, job->capacity, "a generation's tokens");
            job_release(job);
        }
    }
    if (status != CHORD_OK) {
        session_rest(session);
        return status;
    }
    job->session = session;
    uv_mutex_lock(&session->model->scheduler.mutex);
    session->job = job;
    if (session->released)
        chord_job_cancel(job);
    uv_mutex_unlock(&session->model->scheduler.mutex);
    scheduler_submit(session->model, job);
    *out = job;
    return CHORD_OK;
}

// ---- The cache of a job ----------------------------------------------------------------------------------------------

enum chord_status session_lend(struct chord_job *job, struct chord_error *err)
{
    struct chord_session *session = job->session;
    const struct session_text *text = &session->text;
    uint64_t n_equal = 0;
    while (n_equal < text->n_tokens && n_equal < job->n_prompt && text->tokens[n_equal] == job->tokens[n_equal])
        n_equal++;
    uint64_t n_kept = text->n_done < n_equal ? text->n_done : n_equal;
    if (n_kept == job->n_prompt) // the logits after the prompt's last token are wanted
        n_kept--;
    const uint32_t n_blocks = (uint32_t)((n_kept + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS);
    enum chord_status status = kv_cache_wake(&session->kv, n_blocks, model_kv_reads(job->model), err);
    if (status == CHORD_OK && session->kv.n_used < n_blocks)
        return CHORD_OK;
    if (status == CHORD_OK)
        status = kv_cache_truncate(&session->kv, n_kept, err);
    if (status != CHORD_OK) {
        kv_cache_rest(&session->kv);
        return status;
    }
    job->kv = session->kv;
    kv_cache_init(&session->kv, &session->model->kv_layout, &session->model->account, session->model->kv_spill);
    job->is_lent = true;
    if (n_equal > 0)
        memcpy(job->generated, text->generated, n_equal);
    if (text->n_pure < n_equal)
        job->n_pure = text->n_pure;
    job->n_done = n_kept;
    job->n_reused = n_kept;
    atomic_fetch_add(&job->model->n_reused_tokens, n_kept);
    job_progress(job);
    return CHORD_OK;
}

// Gives back what was reserved for tokens that did not come.
static void *fit(struct chord_model *model, void *list, uint64_t bytes)
{
    void *fitting = memory_resize(&model->account, MEMORY_SCRATCH, list, bytes);
    return fitting != NULL ? fitting : list;
}

void session_take_back(struct chord_job *job)
{
    struct chord_session *session = job->session;
    struct chord_model *model = job->model;
    if (job->is_lent) {
        kv_cache_drop(&job->kv, (uint32_t)((job->n_done + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS));
        kv_cache_rest(&job->kv);
        memset(job->generated + job->n_prompt, 1, job->n_tokens - job->n_prompt);
        const uint64_t n_pure = job->n_pure;
        const struct session_text text = {
            .tokens = fit(model, job->tokens, job->n_tokens * sizeof *job->tokens),
            .generated = fit(model, job->generated, job->n_tokens),
            .n_tokens = job->n_tokens,
            .n_done = job->n_done,
            .n_pure = n_pure,
        };
        job->tokens = NULL;
        job->generated = NULL;
        uv_mutex_lock(&model->scheduler.mutex);
        struct session_text before = session->text;
        session->text = text;
        session->kv = job->kv;
        uv_mutex_unlock(&model->scheduler.mutex);
        kv_cache_init(&job->kv, &model->kv_layout, &model->account, model->kv_spill);
        memory_free(&model->account, before.tokens);
        memory_free(&model->account, before.generated);
    } else {
        kv_cache_rest(&session->kv);
    }
    job->session = NULL;
    session_rest(session);
}

// ---- Forks -----------------------------------------------------------------------------------------------------------

static enum chord_status copy_text(struct chord_model *model, const struct session_text *from, struct session_text *to,
                                   struct chord_error *err)
{
    struct memory_account *account = &model->account;
    *to = *from;
    to->tokens = memory_alloc(account, MEMORY_SCRATCH, from->n_tokens * sizeof *to->tokens, 16);
    to->generated = memory_alloc(account, MEMORY_SCRATCH, from->n_tokens, 16);
    if (to->tokens == NULL || to->generated == NULL)
        return memory_account_fail(account, err, from->n_tokens * 5, "a session's tokens");
    if (from->n_tokens > 0) {
        memcpy(to->tokens, from->tokens, from->n_tokens * sizeof *to->tokens);
        memcpy(to->generated, from->generated, from->n_tokens);
    }
    return CHORD_OK;
}

enum chord_status chord_session_fork(struct chord_session *session, struct chord_session **out, struct chord_error *err)
{
    struct chord_model *model = session->model;
    struct session_text text = {0};
    struct kv_cache kv;
    enum chord_status status = session_begin_use(session, SESSION_SAVES, err);
    if (status != CHORD_OK)
        return status;
    kv_cache_init(&kv, &model->kv_layout, &model->account, model->kv_spill);
    status = copy_text(model, &session->text, &text, err);
    if (status == CHORD_OK && session->kv.n_blocks > 0)
        status = kv_cache_share(&kv, &session->kv, 0, session->kv.n_blocks, err);
    if (status == CHORD_OK)
        status = session_create(model, &text, &kv, out, err);
    if (status != CHORD_OK) {
        kv_cache_free(&kv);
        memory_free(&model->account, text.tokens);
        memory_free(&model->account, text.generated);
    }
    session_rest(session);
    return status;
}
