// A resident draft model: a smaller model of the same vocabulary goes on with the texts of other models, greedily, and so guesses
// their next tokens (speculate.h).
//
// It is a chord_model like any other, which may generate texts of its own. What others hold of it is its draft_host, which outlives
// the model: once the model is closed its drafts have ended, and those who drew on them go on without. The keys and values of
// drafts are in the draft model's account. Whoever runs steps on a model's backend holds its host's `running`: for its own jobs by
// waiting for it, for drafts by trying only, so that models wait for each other nowhere in a circle and a draft model that is
// busy is simply not asked.
#ifndef CHORD_ENGINE_DRAFT_H
#define CHORD_ENGINE_DRAFT_H

#include "engine/model.h"

#define DRAFT_MAX_TOKENS CHORD_MAX_GUESSES
#define DRAFT_MAX_TEXTS SPECULATE_MAX_ROWS // that are gone on with at once

struct draft_host {
    _Atomic uint32_t n_references;
    _Atomic bool closing; // what is under way is to end
    uv_mutex_t running;
    uv_mutex_t mutex;          // guards `drafts`
    struct chord_model *model; // NULL: closed. Written with both locks held, so that either suffices to read it
    struct draft *drafts;
    double prompt_row_ns; // holder of `running`: what a row takes that is only to be known; 0: not measured
    _Atomic uint64_t kv_tokens, kv_blocks; // of all drafts
};

// One text in the draft model.
struct draft {
    struct draft_host *host;          // referenced; NULL: there is none
    struct draft *next, **at;         // in its list, under its mutex
    bool ended;                       // written under host->mutex
    struct kv_cache kv;               // its owner's with host->running held, as all below, until it has ended
    uint64_t n_done;                  // tokens of the text whose keys and values are in the cache
    uint32_t ahead[DRAFT_MAX_TOKENS]; // behind them, those of these guesses
    uint32_t n_ahead;
    uint64_t counted_tokens, counted_blocks;
};

// The host of a model that is being opened, and its end: waits until no draft is under way, at most for an operation.
enum chord_status draft_host_create(struct chord_model *model, struct chord_error *err);
void draft_host_close(struct draft_host *host); // NULL is fine

// A draft by the open model `drafter`, with nothing in its cache.
void draft_init(struct draft *draft, struct chord_model *drafter);
// Gives back what it holds; nothing is guessed any more. Any thread, but not while draft_run has it; may be called twice.
void draft_end(struct draft *draft);
void draft_free(struct draft *draft); // also ends it; may be called on a zeroed one

// True, and host->running held until draft_host_unlock, if the model is open and not busy.
bool draft_host_try_lock(struct draft_host *host);
void draft_host_unlock(struct draft_host *host);

// With host->running held from here on.

// Has the draft not ended? Then *n_behind tokens of the text of n_tokens, but for the last, are not in its cache.
bool draft_is_alive(struct draft *draft, const uint32_t *tokens, uint64_t n_tokens, uint64_t *n_behind);

// One text to go on with.
struct draft_text {
    struct draft *draft;
    const uint32_t *tokens; // [n_tokens], the first n_prompt of them prompt; n_prompt < n_tokens
    uint64_t n_tokens, n_prompt;
    uint32_t n_vocab;  // ids that a guess may have are below
    bool never_ends;   // no end-of-generation token is guessed; otherwise nothing is guessed behind one, nor it
    uint32_t n_wanted; // at most DRAFT_MAX_TOKENS
    uint32_t *guesses; // [n_wanted]
    uint32_t n_made;   // set
};

// Goes on with texts[n_texts] (at most DRAFT_MAX_TEXTS; all of one host), as far as they have been brought into the cache; what is behind is brought
// there first, for about `catch_up_ns` per call. `abort_requested` as in backend_run_trunk. What fails ends the drafts concerned.
void draft_run(struct draft_host *host, struct draft_text *texts, uint32_t n_texts, double catch_up_ns,
               bool (*abort_requested)(void *user), void *user);

#endif
