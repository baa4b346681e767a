// Equal prefixes: a job takes the KV blocks of a prompt's beginning from a job that has computed them, instead of computing them
// again.
//
// Shared are rows of prompts only. Such a row follows from the tokens up to it, all of prompts, whoever's job computes it and in
// whatever chunks; a generated token's row has other bits, those of the matvec family, and stays with its job. KV type, RoPE and tier are
// one for all jobs of a model. So a job reads what it would have computed itself, bit for bit.
#include "engine/job.h"

#include <stdatomic.h>
#include <string.h>

// How many of its first tokens a job may leave to others: those whose logits nobody wants, in whole blocks.
static uint64_t most_shared(const struct chord_job *job)
{
    const uint64_t first_output = job->kind == JOB_SCORE ? job->first_scored - 1 : job->n_prompt - 1;
    return first_output - first_output % KV_BLOCK_TOKENS;
}

// The longest prefix of whole blocks, at most `limit` tokens, that both prompts have, if it is longer than `known`; else
// `known`. All are multiples of a block's tokens.
static uint64_t common_prefix(const struct chord_job *job, const struct chord_job *other, uint64_t known,
                              uint64_t limit)
{
    uint64_t n = known;
    if (limit > other->n_prompt)
        limit = other->n_prompt - other->n_prompt % KV_BLOCK_TOKENS;
    if (limit <= known || memcmp(job->tokens, other->tokens, known * sizeof *job->tokens) != 0)
        return known;
    while (n < limit && memcmp(job->tokens + n, other->tokens + n, KV_BLOCK_TOKENS * sizeof *job->tokens) == 0)
        n += KV_BLOCK_TOKENS;
    return n;
}

static bool take_blocks(struct chord_job *job, struct chord_job *from, uint64_t n_tokens)
{
    const uint32_t first = (uint32_t)(job->n_done / KV_BLOCK_TOKENS);
    if (kv_cache_share(&job->kv, &from->kv, first, (uint32_t)(n_tokens / KV_BLOCK_TOKENS), NULL) != CHORD_OK)
        return false;
    atomic_fetch_add(&job->model->n_reused_tokens, n_tokens - job->n_done);
    job->n_done = n_tokens;
    job_progress(job);
    return true;
}

bool job_share_prefix(struct chord_job *job, struct chord_job *active)
{
    const uint64_t limit = most_shared(job);
    if (job->n_done >= limit || job->n_done % KV_BLOCK_TOKENS != 0)
        return true;
    struct chord_job *best = NULL;
    uint64_t n_best = job->n_done, n_expected = job->n_done;
    bool is_earlier = true; // than `job`
    for (struct chord_job *other = active; other != NULL; other = other->next) {
        if (other == job)
            is_earlier = false;
        if (other == job || other->finish != CHORD_RUNNING)
            continue;
        const uint64_t n = common_prefix(job, other, job->n_done, limit);
        const uint64_t n_done = other->n_done - other->n_done % KV_BLOCK_TOKENS;
        const uint64_t n_ready = n < n_done ? n : n_done;
        if (n_ready > n_best) {
            best = other;
            n_best = n_ready;
        }
        // Waited for is only who came before, so that no two wait for each other.
        if (is_earlier && n > n_expected)
            n_expected = n;
    }
    // Without memory for its table of blocks the job fails or waits as any other.
    return (best != NULL && !take_blocks(job, best, n_best)) || n_expected <= job->n_done;
}
