// Equal prefixes: a job takes the KV blocks of a prompt's beginning from a job that has computed them, or from a session that rests
// and holds them, instead of computing them again.
//
// Shared are rows of prompts only. Such a row follows from the tokens up to it, all of prompts, whoever's job computes it and in
// whatever chunks; a generated token's row has other bits, those of the matvec family, and stays with its job. KV type, RoPE and tier are
// one for all jobs of a model. So a job reads what it would have computed itself, bit for bit.
#include "engine/session.h"

#include <stdatomic.h>
#include <string.h>

// How many of its first tokens a job may leave to others: those whose logits nobody wants, in whole blocks.
static uint64_t most_shared(const struct chord_job *job)
{
    if (job->kind == JOB_EMBED && (job->pooling != CHORD_POOLING_LAST || job->model->graph->is_encoder))
        return 0;
    const uint64_t first_output = job->kind == JOB_SCORE ? job->first_scored - 1 : job->n_prompt - 1;
    const uint64_t most = first_output < job->n_pure ? first_output : job->n_pure;
    return most - most % KV_BLOCK_TOKENS;
}

// The longest prefix of whole blocks, at most `limit` tokens, that the job's prompt has in common with the first n_pure of other
// tokens, if it is longer than what the job has computed; else that. All are multiples of a block's tokens.
static uint64_t common_prefix(const struct chord_job *job, const uint32_t *tokens, uint64_t n_pure, uint64_t limit)
{
    const uint64_t known = job->n_done;
    uint64_t n = known;
    if (limit > n_pure)
        limit = n_pure - n_pure % KV_BLOCK_TOKENS;
    if (limit <= known || memcmp(job->tokens, tokens, known * sizeof *tokens) != 0)
        return known;
    while (n < limit && memcmp(job->tokens + n, tokens + n, KV_BLOCK_TOKENS * sizeof *tokens) == 0)
        n += KV_BLOCK_TOKENS;
    return n;
}

// Who has the most of it so far.
struct offer {
    struct kv_cache *kv; // NULL: nobody
    uint64_t n_tokens;
};

static void consider(struct offer *best, struct kv_cache *kv, uint64_t n_common, uint64_t n_done)
{
    const uint64_t n_whole = n_done - n_done % KV_BLOCK_TOKENS, n_ready = n_common < n_whole ? n_common : n_whole;
    if (n_ready > best->n_tokens)
        *best = (struct offer){kv, n_ready};
}

static void consider_sessions(struct offer *best, const struct chord_job *job, uint64_t limit)
{
    struct scheduler *s = &job->model->scheduler;
    uv_mutex_lock(&s->mutex);
    for (struct chord_session *session = s->sessions; session != NULL; session = session->next) {
        const struct session_text *text = &session->text;
        if (session->kv.n_blocks > 0)
            consider(best, &session->kv, common_prefix(job, text->tokens, text->n_pure, limit), text->n_done);
    }
    uv_mutex_unlock(&s->mutex);
}

static bool take_blocks(struct chord_job *job, const struct offer *offer)
{
    const uint32_t first = (uint32_t)(job->n_done / KV_BLOCK_TOKENS);
    const uint32_t n_blocks = (uint32_t)(offer->n_tokens / KV_BLOCK_TOKENS);
    if (kv_cache_share(&job->kv, offer->kv, first, n_blocks, NULL) != CHORD_OK)
        return false;
    atomic_fetch_add(&job->model->n_reused_tokens, offer->n_tokens - job->n_done);
    job->n_reused += offer->n_tokens - job->n_done;
    job->n_done = offer->n_tokens;
    job_progress(job);
    return true;
}

bool job_share_prefix(struct chord_job *job, struct chord_job *active)
{
    const uint64_t limit = most_shared(job);
    if (job->n_done >= limit || job->n_done % KV_BLOCK_TOKENS != 0)
        return true;
    struct offer best = {NULL, job->n_done};
    uint64_t n_expected = job->n_done;
    bool is_earlier = true; // than `job`
    for (struct chord_job *other = active; other != NULL; other = other->next) {
        if (other == job)
            is_earlier = false;
        if (other == job || other->finish != CHORD_RUNNING)
            continue;
        const uint64_t n = common_prefix(job, other->tokens, other->n_pure, limit);
        consider(&best, &other->kv, n, other->n_done);
        // Waited for is only who came before, so that no two wait for each other.
        if (is_earlier && n > n_expected)
            n_expected = n;
    }
    consider_sessions(&best, job, limit);
    // Without memory for its table of blocks the job fails or waits as any other.
    return (best.kv != NULL && !take_blocks(job, &best)) || n_expected <= job->n_done;
}
