// One piece of work in a model's scheduler: a generation, an evaluation or a scoring.
//
// Owned twice: by the caller until chord_job_free, and by the scheduler until the job has finished. Fields are the run
// thread's (the one in chord_model_run) unless marked otherwise.
#ifndef CHORD_ENGINE_JOB_H
#define CHORD_ENGINE_JOB_H

#include "engine/lookup.h"
#include "engine/model.h"
#include "sampler/sampler.h"
#include "sampler/stop.h"

enum job_kind { JOB_GENERATE, JOB_EVALUATE, JOB_SCORE };

// What has been produced and not yet taken.
struct job_output {
    char *text;
    uint64_t n_text_bytes, text_capacity;
    struct chord_token_event *events; // .top is an index into `tops` until the take
    uint64_t n_events, event_capacity;
    struct chord_token_logprob *tops;
    uint64_t n_tops, top_capacity;
};

// What a generation knows of its own future.
struct job_guesses {
    struct chord_speculation options;
    struct lookup lookup;
    struct guess_rates rates; // of this text, from its first guess on
    bool has_rates;
    uint32_t tokens[CHORD_MAX_GUESSES]; // what may follow the last known token
    enum guess_class classes[CHORD_MAX_GUESSES];
    uint32_t n;         // of them
    uint32_t n_in_step; // of them, the first ones, that the step under way computes
    uint32_t n_true;    // of them, the first ones, that have come true
    bool wrong;         // the next one has not
};

struct chord_job {
    struct chord_model *model;
    struct chord_job *next; // in the scheduler's list
    _Atomic uint32_t n_references;
    _Atomic bool cancelled; // set from any thread

    enum job_kind kind;
    uint32_t *tokens; // [capacity]: prompt, then what was generated
    uint64_t n_tokens, n_prompt, capacity;
    uint64_t n_done; // tokens whose keys and values are in the cache
    struct kv_cache kv;

    uint64_t max_tokens;
    struct sampler *sampler;
    struct stop_matcher *stop;
    struct detokenizer detokenizer;
    char *piece;    // [detokenizer_max_bytes]
    char *released; // what the stop matcher gives for one piece
    struct sampler_choice *choice;
    bool wants_logprobs;
    struct job_guesses *guesses;    // NULL: none are made
    uint64_t n_guessed, n_accepted; // written before the finish is published

    uint64_t first_scored;
    double nll;
    uint64_t n_scored;
    float *logits; // [n_vocab] of an evaluation

    uint64_t started_ns, prompt_done_ns, finished_ns; // 0: not yet

    uv_mutex_t mutex; // guards what follows
    struct job_output pending;
    struct job_output taken; // the taker's between two takes
    enum chord_finish finish;
    struct chord_error error;
    uint64_t n_prompt_done, n_generated;
    bool out_of_memory; // output could not be stored: the job fails
};

// The job computes its prompt (or what is to be evaluated or scored) still.
static inline bool job_in_prompt(const struct chord_job *job)
{
    return job->n_done < job->n_prompt;
}

// Logits after `position`: chooses the next token, keeps them, or scores the token that follows. May finish the job.
void job_accept_logits(struct chord_job *job, uint64_t position, float *logits);

// In guesses.c. Sees to it that the job makes guesses, if the options ask for any.
enum chord_status job_create_guesses(struct chord_job *job, const struct chord_speculation *options,
                                     struct chord_error *err);
void job_free_guesses(struct chord_job *job);
// Guesses for the next step of jobs[n_jobs], which all generate: sets what of it is to be computed (n_in_step).
void jobs_choose_guesses(struct step_costs *costs, struct chord_job *const *jobs, uint32_t n_jobs, bool beside_prompts);
// `token` was chosen: was it the one guessed?
void job_check_guess(struct chord_job *job, uint32_t token);

// In prefix.c. Gives the job the KV blocks that another job of the list `active` has computed for an equal beginning of its prompt,
// as far as the job has none. False: an earlier job of the list is about to compute more of them, and this one does best to wait.
bool job_share_prefix(struct chord_job *job, struct chord_job *active);

// Ends the job: gives out held text, frees its cache, publishes the finish. `error` only with CHORD_FINISH_ERROR.
void job_finish(struct chord_job *job, enum chord_finish finish, const struct chord_error *error);

// Publishes how far the prompt is.
void job_progress(struct chord_job *job);

void job_release(struct chord_job *job); // gives up one of the two ownerships

// In scheduler.c: hands a new job to the scheduler, which then owns it too.
void scheduler_submit(struct chord_model *model, struct chord_job *job);

#endif
