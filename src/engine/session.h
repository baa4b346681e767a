// A session: a text whose KV cache lives on between the generations that continue it.
//
// While a job of the session runs, the cache is the job's; the scheduler lends it when the job comes in and the job gives it back when it
// ends. Between jobs, the session rests: only then is it forked, saved or read by others.
//
// Each row of the cache was computed as one of a prompt (by the GEMM) or of a generated token (by the matvec family), and which
// decides its bits. A session remembers this of every token, and what has to be computed again is computed the same way. So a text
// follows from its tokens and from which of them were generated, however it came to be in the cache.
#ifndef CHORD_ENGINE_SESSION_H
#define CHORD_ENGINE_SESSION_H

#include "engine/job.h"

// What a text holds: in a session that rests, and saved in a file.
struct session_text {
    uint32_t *tokens;   // [n_tokens]
    uint8_t *generated; // [n_tokens]: 1: its row is that of a generated token
    uint64_t n_tokens;
    uint64_t n_done; // of them, the first ones, whose keys and values are in the cache
    uint64_t n_pure; // of them, the first ones, before any that was generated
};

enum session_use { SESSION_RESTS, SESSION_GENERATES, SESSION_SAVES };

struct chord_session {
    struct chord_model *model;
    struct chord_session *next; // in the scheduler's list; guarded by its mutex, as is all that follows but `kv`
    enum session_use use;
    bool released;         // by the caller: goes as soon as it rests
    struct chord_job *job; // of SESSION_GENERATES, borrowed; NULL until it is submitted
    struct session_text text;
    // Of the thread in chord_model_run, or of who may not run beside it (chord.h).
    struct kv_cache kv;
};

// Run thread. Gives a new job the cache of its session, cut to the longest prefix that both texts have, but for the last token of the
// prompt: job->is_lent. What of it is in the spill file is read back, some at a time: until then the call has to be repeated. On failure the
// session is as before.
enum chord_status session_lend(struct chord_job *job, struct chord_error *err);
// Run thread, of a job that finishes: the session takes back its cache, and the job's text, if the job had been lent the cache.
void session_take_back(struct chord_job *job);

// Frees sessions that were released and rest; run thread. `all`: every session, when the model closes.
void sessions_sweep(struct chord_model *model, bool all);

// Adds what sessions that rest hold to the counts of the scheduler's sweep.
void sessions_count(struct chord_model *model, uint32_t stamp, uint64_t *n_tokens, uint64_t *n_blocks);

// A session that rests and holds nothing yet, in the model's list. It takes over the arrays of `text` and the blocks of `kv`, unless
// it fails.
enum chord_status session_create(struct chord_model *model, const struct session_text *text, struct kv_cache *kv,
                                 struct chord_session **out, struct chord_error *err);

// Takes a session that rests into use; BUSY when it does not rest. session_rest ends it.
enum chord_status session_begin_use(struct chord_session *session, enum session_use use, struct chord_error *err);
void session_rest(struct chord_session *session);

#endif
